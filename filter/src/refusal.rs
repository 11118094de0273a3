//! Refusals: one closed list of reasons, one table to HTTP.
//!
//! A refusal is no error: it is the filter's job. Its text is for the client's developer, and tells no more about
//! other tenants, keys or this machine than its code does.
pub mod shape;

pub use shape::LocalReply;

use weir_contract::SecurityKind;
pub use weir_vector_guard::Refused;

use crate::limit::{Standing, Unit};
use crate::plan::staged::RefusalStatus;
use crate::vault::KeyFault;

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The request has no credential that a source claims.
    MissingCredential,
    /// A claimed credential is invalid.
    InvalidCredential(Invalid),
    /// Two credentials name two tenants.
    ConflictingCredentials,
    /// The credential is valid, but its tenant is not known here.
    UnknownTenant,
    /// The same, where the configuration hides it behind a 404.
    UnknownTenantNotFound,
    /// The tenant is known, but the configuration does not have its plan.
    UnknownPlan,
    /// The tenant is suspended.
    SuspendedTenant,
    /// The tenant has used up what its plan grants.
    RateLimited(Standing),
    /// The quota of the provider account has nothing left for the tenant's tier.
    PoolSaturated(Standing),
    /// A budget is in a stage in which the plan refuses the request.
    Budget(OverBudget),
    /// The gateway's lease on a limit of the fleet has run out, and weir serve does not answer.
    LimitUnreachable(Standing),
    /// The client spells a header that only weir sets in a way that the upstream could take for it, or sends one that gives
    /// the request another method or path.
    ForbiddenHeader,
    /// A header that weir changes stands there more than once, and the gateway changes the first copy only.
    RepeatedHeader,
    /// More headers than the gateway hands over.
    TooManyHeaders,
    /// The plan does not allow the model.
    ModelNotAllowed,
    /// No model of the catalogue may serve the request.
    NoModelFits,
    /// The plan does not allow requests of this class.
    ClassNotAllowed,
    /// The API key is confined to other classes and routes.
    InsufficientScope,
    /// The body is larger than the plan allows.
    RequestTooLarge,
    /// The plan depends on something in the body that upstreams read differently.
    AmbiguousBody,
    /// The plan depends on the body, and it cannot be read.
    UnreadableBody(Unread),
    /// The path can be read in two ways.
    AmbiguousPath,
    /// The operation touches what tenants share at the provider, and no route permits it.
    Operation,
    /// It names an object that is not the tenant's own, or none.
    NotFound,
    /// It names an object in a place where none is expected.
    UnexpectedId,
    /// A request on a guarded route that cannot be proven to stay with its tenant.
    Unproven(weir_vector_guard::Refused),
    /// The tenant's own key at the provider does not serve the request.
    ProviderKey(KeyFault),
    /// An upgrade or tunnel that no route allows.
    Upgrade,
    /// An upgrade with a body.
    UpgradeBody,
    /// Tenants or keys are missing or too old.
    NotReady,
    /// There are more new tokens than the gateway verifies at a time.
    Busy,
}

/// A refusal for a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverBudget {
    /// The status that the plan says.
    pub status: RefusalStatus,
    /// How long the budget's period lasts, in milliseconds; None for a budget without periods.
    pub wait_ms: Option<u64>,
}

impl OverBudget {
    /// Stands for all of them.
    pub(crate) const ANY: OverBudget = OverBudget { status: RefusalStatus::PaymentRequired, wait_ms: None };
}

/// Why a body cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// It is larger than what is read, or the gateway has stored it in a file.
    TooLarge,
    /// It has a content encoding.
    Encoded,
    /// It is not JSON.
    NotJson,
    /// It cannot be held: an upgrade or a tunnel.
    Unheld,
    /// Nothing depends on it, or the configuration holds no bodies. Never a reason to refuse.
    Unasked,
}

/// Why a credential is invalid. The client only learns that it is, or that it has expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invalid {
    /// It cannot be read.
    Malformed,
    /// No key has that hash, or no issuer that name.
    Unknown,
    /// Its algorithm is not the key's.
    Algorithm,
    /// No key verifies its signature.
    Signature,
    /// The token has expired.
    Expired,
    /// The API key has expired.
    KeyExpired,
    /// It is not valid yet.
    NotYet,
    /// It is meant for another audience.
    Audience,
    /// A configured claim is missing or has the wrong type.
    Claims,
    /// It is revoked.
    Revoked,
    /// It is a header that only a trusted gateway may send.
    Untrusted,
    /// There are too many credentials.
    TooMany,
}

impl Refusal {
    /// One of every refusal that comes from a plan, and so of every one that a plan which only observes counts instead.
    pub const fn of_plans() -> [Refusal; 12] {
        [
            Refusal::RateLimited(Standing::ANY),
            Refusal::PoolSaturated(Standing::ANY),
            Refusal::LimitUnreachable(Standing::ANY),
            Refusal::ModelNotAllowed,
            Refusal::ClassNotAllowed,
            Refusal::RequestTooLarge,
            Refusal::AmbiguousBody,
            Refusal::AmbiguousPath,
            Refusal::UnreadableBody(Unread::TooLarge),
            Refusal::UnreadableBody(Unread::Encoded),
            Refusal::UnreadableBody(Unread::NotJson),
            Refusal::UnreadableBody(Unread::Unheld),
        ]
    }

    /// One refusal of every code: for metrics, and for the page that users read.
    pub const fn one_of_each_code() -> [Refusal; 38] {
        [
            Refusal::MissingCredential,
            Refusal::InvalidCredential(Invalid::Malformed),
            Refusal::InvalidCredential(Invalid::Expired),
            Refusal::ConflictingCredentials,
            Refusal::UnknownTenant,
            Refusal::UnknownPlan,
            Refusal::SuspendedTenant,
            Refusal::RateLimited(Standing::ANY),
            Refusal::PoolSaturated(Standing::ANY),
            Refusal::Budget(OverBudget::ANY),
            Refusal::LimitUnreachable(Standing::ANY),
            Refusal::ForbiddenHeader,
            Refusal::RepeatedHeader,
            Refusal::TooManyHeaders,
            Refusal::ModelNotAllowed,
            Refusal::NoModelFits,
            Refusal::ClassNotAllowed,
            Refusal::InsufficientScope,
            Refusal::RequestTooLarge,
            Refusal::AmbiguousBody,
            Refusal::UnreadableBody(Unread::TooLarge),
            Refusal::UnreadableBody(Unread::Encoded),
            Refusal::UnreadableBody(Unread::NotJson),
            Refusal::UnreadableBody(Unread::Unheld),
            Refusal::AmbiguousPath,
            Refusal::Operation,
            Refusal::Unproven(Refused::Body),
            Refusal::NotFound,
            Refusal::UnexpectedId,
            Refusal::ProviderKey(KeyFault::Missing),
            Refusal::ProviderKey(KeyFault::Unavailable),
            Refusal::ProviderKey(KeyFault::Expired),
            Refusal::ProviderKey(KeyFault::Refused),
            Refusal::ProviderKey(KeyFault::Misrouted),
            Refusal::Upgrade,
            Refusal::UpgradeBody,
            Refusal::NotReady,
            Refusal::Busy,
        ]
    }

    /// The stable code, in bodies, metrics and `weir.refused.v1`.
    pub const fn code(self) -> &'static str {
        match self {
            Refusal::MissingCredential => "missing_credential",
            Refusal::InvalidCredential(Invalid::Expired | Invalid::KeyExpired) => "expired_credential",
            Refusal::InvalidCredential(_) => "invalid_credential",
            Refusal::ConflictingCredentials => "conflicting_credentials",
            Refusal::UnknownTenant | Refusal::UnknownTenantNotFound => "unknown_tenant",
            Refusal::UnknownPlan => "unknown_plan",
            Refusal::SuspendedTenant => "suspended_tenant",
            Refusal::RateLimited(_) => "rate_limited",
            Refusal::PoolSaturated(_) => "pool_saturated",
            Refusal::Budget(_) => "budget_exceeded",
            Refusal::LimitUnreachable(_) => "limit_unreachable",
            Refusal::ForbiddenHeader => "forbidden_header",
            Refusal::RepeatedHeader => "repeated_header",
            Refusal::TooManyHeaders => "too_many_headers",
            Refusal::ModelNotAllowed => "model_not_allowed",
            Refusal::NoModelFits => "no_model_fits",
            Refusal::ClassNotAllowed => "class_not_allowed",
            Refusal::InsufficientScope => "insufficient_scope",
            Refusal::RequestTooLarge => "request_too_large",
            Refusal::AmbiguousBody => "ambiguous_body",
            Refusal::UnreadableBody(unread) => unread.code(),
            Refusal::AmbiguousPath => "ambiguous_path",
            Refusal::Operation => "operation_not_permitted",
            Refusal::NotFound => "not_found",
            Refusal::UnexpectedId => "unexpected_id",
            Refusal::Unproven(_) => "unprovable_request",
            Refusal::ProviderKey(fault) => fault.code(),
            Refusal::Upgrade => "upgrade_not_permitted",
            Refusal::UpgradeBody => "upgrade_with_body",
            Refusal::NotReady => "not_ready",
            Refusal::Busy => "busy",
        }
    }

    /// The HTTP status (RFC 9110, RFC 6585).
    pub const fn status(self) -> u16 {
        match self {
            Refusal::ForbiddenHeader | Refusal::RepeatedHeader | Refusal::TooManyHeaders => 400,
            Refusal::AmbiguousPath | Refusal::UpgradeBody | Refusal::AmbiguousBody | Refusal::NoModelFits => 400,
            Refusal::UnexpectedId | Refusal::Unproven(_) => 400,
            Refusal::UnreadableBody(Unread::NotJson | Unread::Unheld | Unread::Unasked) => 400,
            Refusal::UnreadableBody(Unread::Encoded) => 415,
            Refusal::RequestTooLarge | Refusal::UnreadableBody(Unread::TooLarge) => 413,
            Refusal::ModelNotAllowed | Refusal::ClassNotAllowed | Refusal::InsufficientScope => 403,
            Refusal::MissingCredential | Refusal::InvalidCredential(_) | Refusal::ConflictingCredentials => 401,
            Refusal::UnknownTenant | Refusal::UnknownPlan | Refusal::SuspendedTenant => 403,
            Refusal::Operation | Refusal::Upgrade | Refusal::ProviderKey(_) => 403,
            Refusal::UnknownTenantNotFound | Refusal::NotFound => 404,
            Refusal::Budget(OverBudget { status: RefusalStatus::PaymentRequired, .. }) => 402,
            Refusal::Budget(OverBudget { status: RefusalStatus::TooManyRequests, .. }) => 429,
            Refusal::RateLimited(_) | Refusal::PoolSaturated(_) => 429,
            Refusal::NotReady | Refusal::Busy | Refusal::LimitUnreachable(_) => 503,
        }
    }

    /// The text for the client's developer.
    pub const fn message(self) -> &'static str {
        match self {
            Refusal::MissingCredential => "No API key or token was sent. Send it as 'Authorization: Bearer …'.",
            Refusal::InvalidCredential(Invalid::Expired) => "The token has expired. Get a new one and try again.",
            Refusal::InvalidCredential(Invalid::KeyExpired) => "The API key has expired. Get a new one and try again.",
            Refusal::InvalidCredential(_) => "The API key or token is not valid.",
            Refusal::ConflictingCredentials => "The request carries credentials of two tenants. Send one.",
            Refusal::UnknownTenant | Refusal::UnknownTenantNotFound => {
                "The credential is valid, but its account is not known here."
            }
            Refusal::UnknownPlan => "The plan of this account is not set up here. Tell whoever runs this service.",
            Refusal::SuspendedTenant => "The account is suspended.",
            Refusal::RateLimited(Standing { unit: Unit::Tokens, .. }) => {
                "Too many tokens for your plan. Try again after the time in Retry-After."
            }
            Refusal::RateLimited(_) => "Too many requests for your plan. Try again after the time in Retry-After.",
            Refusal::PoolSaturated(_) => {
                "The provider's quota has no room for this request now. Try again after the time in Retry-After."
            }
            Refusal::Budget(OverBudget { wait_ms: Some(_), .. }) => {
                "The budget of your account has no room for this request. Its next period begins after the time in Retry-After."
            }
            Refusal::Budget(_) => "The budget of your account has no room for this request.",
            Refusal::LimitUnreachable(_) => {
                "The gateway cannot find out whether there is room for this request now. Try again shortly."
            }
            Refusal::ForbiddenHeader => {
                "The request carries a header that only the gateway may set, or one that asks for another method or path."
            }
            Refusal::RepeatedHeader => "The request repeats a header that the gateway changes. Send it once.",
            Refusal::TooManyHeaders => "The request has more headers than the gateway reads. Send at most 96.",
            Refusal::ModelNotAllowed => "Your plan does not include this model.",
            Refusal::NoModelFits => "No model that may serve this request takes it as it is.",
            Refusal::ClassNotAllowed => "Your plan does not include this kind of request.",
            Refusal::InsufficientScope => "This API key may not be used for this kind of request.",
            Refusal::RequestTooLarge => "The request is larger than your plan allows.",
            Refusal::AmbiguousBody => {
                "The body has a member twice, or in an unusual spelling, that your plan depends on. Send it once, as documented."
            }
            Refusal::UnreadableBody(unread) => unread.message(),
            Refusal::AmbiguousPath => "The path has dot segments or escaped separators. Send it in its plain form.",
            Refusal::Operation => "This operation is not offered here.",
            Refusal::NotFound => "There is no such object.",
            Refusal::UnexpectedId => "The request names an object in a place where none is expected.",
            Refusal::Unproven(refused) => unproven(refused),
            Refusal::ProviderKey(fault) => fault.message(),
            Refusal::Upgrade => "This path does not take upgraded connections.",
            Refusal::UpgradeBody => "A request that asks for an upgrade has no body.",
            Refusal::NotReady => "The gateway is not ready to decide about this request. Try again shortly.",
            Refusal::Busy => "The gateway is busy verifying tokens. Try again shortly.",
        }
    }

    /// Whether it keeps tenants and their keys apart, or a key within its scopes, and is no matter of plans: observing does not lift it.
    pub(crate) const fn is_of_borders(self) -> bool {
        let of_keys = matches!(self, Refusal::InsufficientScope | Refusal::ProviderKey(_));
        of_keys || matches!(self, Refusal::Operation | Refusal::Unproven(_) | Refusal::NoModelFits)
    }

    /// What the refusal says about the borders between tenants, where it says something.
    pub const fn finding(self) -> Option<SecurityKind> {
        match self {
            Refusal::ConflictingCredentials => Some(SecurityKind::ConflictingCredentials),
            Refusal::ForbiddenHeader | Refusal::InvalidCredential(Invalid::Untrusted) => {
                Some(SecurityKind::SpoofedHeader)
            }
            Refusal::Operation => Some(SecurityKind::RefusedOperation),
            Refusal::NotFound => Some(SecurityKind::ForeignId),
            Refusal::UnexpectedId => Some(SecurityKind::UnprovableRequest),
            Refusal::Unproven(_) => Some(SecurityKind::UnprovableRequest),
            Refusal::ProviderKey(KeyFault::Refused) => Some(SecurityKind::RefusedProviderKey),
            _ => None,
        }
    }

    /// Seconds after which another try makes sense, never 0.
    pub fn retry_after_secs(self) -> Option<u64> {
        match self {
            Refusal::RateLimited(standing) | Refusal::PoolSaturated(standing) => {
                Some(standing.wait_ms.div_ceil(1000).max(1))
            }
            Refusal::Budget(over) => over.wait_ms.map(|wait_ms| wait_ms.div_ceil(1000).max(1)),
            Refusal::NotReady | Refusal::Busy | Refusal::LimitUnreachable(_) => Some(1),
            _ => None,
        }
    }
}

impl KeyFault {
    /// The stable code.
    const fn code(self) -> &'static str {
        match self {
            KeyFault::Missing => "provider_key_missing",
            KeyFault::Unavailable => "provider_key_unavailable",
            KeyFault::Expired => "provider_key_expired",
            KeyFault::Refused => "provider_key_refused",
            KeyFault::Misrouted => "provider_key_misrouted",
        }
    }

    const fn message(self) -> &'static str {
        match self {
            KeyFault::Missing => {
                "Your account has stored no key of its own at this provider, and this service needs one."
            }
            KeyFault::Unavailable => {
                "The key that your account has stored for this provider cannot be used here. Tell whoever runs this service."
            }
            KeyFault::Expired => "The key that your account has stored for this provider has expired. Store a new one.",
            KeyFault::Refused => "The provider refuses the key that your account has stored for it. Store another one.",
            KeyFault::Misrouted => {
                "The key of your account is not sent where this request would go. Tell whoever runs this service."
            }
        }
    }
}

/// What a client's developer can do about a request that a guard refuses.
const fn unproven(refused: Refused) -> &'static str {
    match refused {
        Refused::Operation => "This operation is not offered here.",
        Refused::Query => "The query has a parameter that this operation does not take here, or takes once.",
        Refused::Body => {
            "The body must be there where the operation has one, as strict JSON without content-encoding and with each name once."
        }
        Refused::Member => {
            "The body has a member that this operation does not take here, lacks one, or has another type."
        }
        Refused::Filter => "The filter is not one of this store.",
        Refused::Id => "Records of a shared store cannot be named by their ids here. Send the vector instead.",
        Refused::Name => "This name cannot be used here. Use letters, digits, dots, hyphens and underscores.",
        Refused::Key => {
            "The primary key of a row is a text, or left to the store: a number may be the key of another tenant's row."
        }
        Refused::Mark => "The member that names a record's tenant cannot be removed, or hidden in another.",
        Refused::Header => "A header names another place than the path and body do.",
        Refused::Collection => "There is no such collection.",
    }
}

impl Unread {
    /// All of them.
    pub const ALL: [Unread; 5] = [Unread::TooLarge, Unread::Encoded, Unread::NotJson, Unread::Unheld, Unread::Unasked];

    /// The stable code.
    pub const fn code(self) -> &'static str {
        match self {
            Unread::TooLarge => "body_too_large",
            Unread::Encoded => "body_encoded",
            Unread::NotJson => "body_not_json",
            Unread::Unheld => "body_not_held",
            Unread::Unasked => "body_not_asked",
        }
    }

    const fn message(self) -> &'static str {
        match self {
            Unread::TooLarge => "The body is too large for the gateway to check it against your plan.",
            Unread::Encoded => "Your plan needs the gateway to read the body. Send it without content-encoding.",
            Unread::NotJson => {
                "Your plan needs the gateway to read the body, and it is neither valid JSON nor, for audio and images, a plain multipart form."
            }
            Unread::Unheld | Unread::Unasked => {
                "Your plan needs the gateway to read the body, and this kind of connection has none."
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    /// The refusal that stands for this one in the list. A new variant does not compile until it is named here.
    fn listed(refusal: Refusal) -> Refusal {
        use Refusal::*;
        match refusal {
            InvalidCredential(Invalid::Expired | Invalid::KeyExpired) => InvalidCredential(Invalid::Expired),
            InvalidCredential(_) => InvalidCredential(Invalid::Malformed),
            UnknownTenant | UnknownTenantNotFound => UnknownTenant,
            RateLimited(_) => RateLimited(Standing::ANY),
            PoolSaturated(_) => PoolSaturated(Standing::ANY),
            Budget(_) => Budget(OverBudget::ANY),
            LimitUnreachable(_) => LimitUnreachable(Standing::ANY),
            Unproven(_) => Unproven(Refused::Body),
            same @ (MissingCredential
            | ConflictingCredentials
            | UnknownPlan
            | SuspendedTenant
            | ForbiddenHeader
            | RepeatedHeader
            | TooManyHeaders
            | ModelNotAllowed
            | NoModelFits
            | ClassNotAllowed
            | InsufficientScope
            | RequestTooLarge
            | AmbiguousBody
            | UnreadableBody(_)
            | AmbiguousPath
            | Operation
            | NotFound
            | UnexpectedId
            | ProviderKey(_)
            | Upgrade
            | UpgradeBody
            | NotReady
            | Busy) => same,
        }
    }

    #[test]
    fn every_code_is_listed_once() {
        let list = Refusal::one_of_each_code();
        assert!(list.iter().all(|refusal| listed(*refusal) == *refusal));
        let mut codes: Vec<&str> = list.iter().map(|refusal| refusal.code()).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), list.len());
        for other in [Refusal::UnknownTenantNotFound, Refusal::InvalidCredential(Invalid::KeyExpired)] {
            assert!(list.contains(&listed(other)) && listed(other).code() == other.code(), "{other:?}");
        }
    }
}

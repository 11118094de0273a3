//! Events about the borders between tenants: attempts to cross them, and searches of vector stores.
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use crate::time::Timestamp;

/// The most findings of one event; the filter counts further ones under [`OTHER_OPERATIONS`].
pub const FINDINGS_MAX: usize = 32;
/// The most samples of one finding.
pub const SAMPLES_MAX: usize = 3;
/// The most owners that one finding or search names.
pub const OWNERS_MAX: usize = 8;
/// The longest name of an operation, route, collection or owner, in bytes; a longer one is cut.
pub const NAME_MAX_BYTES: usize = 128;
/// The operation of findings beyond [`FINDINGS_MAX`].
pub const OTHER_OPERATIONS: &str = "(other)";
/// The owner of a record that carries no mark.
pub const UNMARKED: &str = "(unmarked)";

/// `data` of `weir.security.v1`: what concerned the borders between tenants in one minute. It names operations and owners, and
/// never content.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecurityData {
    /// Each kind and operation once; at most [`FINDINGS_MAX`].
    pub findings: Vec<SecurityFinding>,
}

/// One kind of finding of one operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecurityFinding {
    /// What was found.
    pub kind: SecurityKind,
    /// How grave it is.
    pub severity: Severity,
    /// The operation, by the name that weir gives it: `points.search`. Never a path, which may carry content.
    pub operation: String,
    /// The configured route.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub route: Option<String>,
    /// How often in this minute; of records and ids, how many.
    pub count: u64,
    /// Whose records or ids they were, where that is known; at most [`OWNERS_MAX`].
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub owners: Vec<String>,
    /// The first requests; at most [`SAMPLES_MAX`].
    pub samples: Vec<SecuritySample>,
}

/// A request of a finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecuritySample {
    /// When.
    pub at: Timestamp,
    /// The gateway's id of the request.
    pub request_id: String,
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecurityKind {
    /// An answer held a record of another tenant; it was taken out.
    ForeignRecord,
    /// An answer held a record that names no tenant; it was taken out.
    UnmarkedRecord,
    /// A request named an id of another tenant, or one that was never given out.
    ForeignId,
    /// A request carried credentials of two tenants.
    ConflictingCredentials,
    /// A request carried a header that only the gateway may set.
    SpoofedHeader,
    /// A request asked for an operation that no route permits.
    RefusedOperation,
    /// A request on a guarded route could not be proven to stay with its tenant.
    UnprovableRequest,
    /// An answer on a guarded route could not be checked, and was withheld.
    UncheckedAnswer,
    /// An answer held an identifier of another tenant; it was redacted.
    ForeignIdentifier,
    /// The provider refused a tenant's own key.
    RefusedProviderKey,
}

/// How grave a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// A client's mistake, most likely.
    Info,
    /// Refused before anything was reached.
    Warning,
    /// Something of another tenant came as far as the gateway.
    Critical,
}

impl SecurityKind {
    /// All of them.
    pub const ALL: [SecurityKind; 10] = [
        SecurityKind::ForeignRecord,
        SecurityKind::UnmarkedRecord,
        SecurityKind::ForeignId,
        SecurityKind::ConflictingCredentials,
        SecurityKind::SpoofedHeader,
        SecurityKind::RefusedOperation,
        SecurityKind::UnprovableRequest,
        SecurityKind::UncheckedAnswer,
        SecurityKind::ForeignIdentifier,
        SecurityKind::RefusedProviderKey,
    ];

    /// As JSON writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            SecurityKind::ForeignRecord => "foreign_record",
            SecurityKind::UnmarkedRecord => "unmarked_record",
            SecurityKind::ForeignId => "foreign_id",
            SecurityKind::ConflictingCredentials => "conflicting_credentials",
            SecurityKind::SpoofedHeader => "spoofed_header",
            SecurityKind::RefusedOperation => "refused_operation",
            SecurityKind::UnprovableRequest => "unprovable_request",
            SecurityKind::UncheckedAnswer => "unchecked_answer",
            SecurityKind::ForeignIdentifier => "foreign_identifier",
            SecurityKind::RefusedProviderKey => "refused_provider_key",
        }
    }

    /// How grave it is.
    pub const fn severity(self) -> Severity {
        match self {
            SecurityKind::ForeignRecord | SecurityKind::UnmarkedRecord | SecurityKind::ForeignIdentifier => {
                Severity::Critical
            }
            SecurityKind::ForeignId | SecurityKind::ConflictingCredentials => Severity::Warning,
            SecurityKind::SpoofedHeader | SecurityKind::UncheckedAnswer | SecurityKind::RefusedProviderKey => {
                Severity::Warning
            }
            SecurityKind::RefusedOperation | SecurityKind::UnprovableRequest => Severity::Info,
        }
    }
}

impl Severity {
    /// As JSON writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Critical => "critical",
        }
    }
}

/// `data` of `weir.search.v1`: one search of a vector store, for the audit. It holds no query and no result.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SearchData {
    /// The gateway's id of the request.
    pub request_id: String,
    /// The store: `qdrant`, `chroma`, …
    pub store: String,
    /// The collection as the tenant names it.
    pub collection: String,
    /// The operation, by the name that weir gives it.
    pub operation: String,
    /// The status that the client saw.
    pub status: u16,
    /// The records that reached the client.
    pub results: u64,
    /// The records that were taken out, by owner; at most [`OWNERS_MAX`] owners.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub removed: BTreeMap<String, u64>,
}

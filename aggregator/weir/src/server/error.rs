//! Errors of the HTTP interface: one type, and one table of status codes.
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::config::tokens::kept::MakeError;
use crate::cost_events::EventCostsError;
use crate::finance::FinanceError;
use crate::forget::ForgetError;
use crate::forgotten::ForgottenError;
use crate::lookup::LookupError;
use crate::retry::RetryError;
use crate::store::StoreError;
use weir_billing::outbox::BillingError;
use weir_database::Failure;
use weir_event_log::writer::SubmitError;
use weir_event_log::{AppendError, LogError};
use weir_ledger::LedgerError;
use weir_ledger::cost_query::CostError;
use weir_ledger::intake::IntakeError;
use weir_ledger::validate::BatchError;
use weir_stripe::webhook::reports::SeenError;
use weir_tenants::store::change::ChangeError;

/// The value of `Retry-After` for a busy server, in seconds. Queues drain within one second; full disks need a person.
const RETRY_BUSY_SECS: u64 = 1;
const RETRY_STOPPED_SECS: u64 = 10;

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The token is missing or unknown.
    #[error("a bearer token is needed: Authorization: Bearer …")]
    Unauthorized,
    /// The token lacks the scope.
    #[error("the token has no scope {0}")]
    Forbidden(crate::config::tokens::Scope),
    /// A form of the dashboard comes from elsewhere, or from another session.
    #[error("{0}")]
    ForeignForm(&'static str),
    /// The token is bound to another gateway than the one whose events it brings. Nothing of the batch was taken.
    #[error("{0}; nothing of the batch was taken")]
    ForeignGateway(String),
    /// The signature that is the proof of a call does not hold.
    #[error("{0}")]
    BadSignature(&'static str),
    /// The dashboard does not let somebody in.
    #[error("{0}")]
    NotLetIn(String),
    /// Another system that the request needs cannot be used.
    #[error("{0}")]
    Unreachable(String),
    /// The data directory was deleted or moved.
    #[error("the data directory of the server was deleted or moved; nothing was taken")]
    Gone,
    /// The body is no batch.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// Another query or body is not valid.
    #[error("{0}")]
    Request(String),
    /// The body is too large.
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
    /// The body did not arrive in time.
    #[error("the body took too long to arrive")]
    Slow,
    /// The content type of events is not supported.
    #[error(
        "content-type must be application/cloudevents-batch+json, application/cloudevents+json, application/json or \
             application/x-ndjson, content-encoding gzip or none"
    )]
    MediaType,
    /// The content type of readings is not supported.
    #[error("content-type must be application/json or application/x-ndjson, content-encoding gzip or none")]
    ReadingsMediaType,
    /// The resource does not exist.
    #[error("{0}")]
    NotFound(&'static str),
    /// Something that the request names does not exist.
    #[error("{0}")]
    Unknown(String),
    /// The resource does not support this method.
    #[error("there is no such method here")]
    Method,
    /// The configuration lacks what the request needs.
    #[error("{0}")]
    NotConfigured(&'static str),
    /// The server is busy.
    #[error("busy; come again")]
    Busy,
    /// The event log accepts no more records.
    #[error("the event log takes no events at the moment")]
    Stopped,
    /// The event log cannot be written, for a reason that may pass.
    #[error("nothing was taken: {0}")]
    Unwritable(&'static str),
    /// The database of the ledger cannot be reached, or has no place.
    #[error("the ledger's database cannot be reached at the moment")]
    Away,
    /// The database of tenants cannot be reached: whether a change took effect is not known.
    #[error(
        "the database of tenants cannot be reached at the moment; after a change, read again whether it took effect"
    )]
    TenantsAway,
    /// Another weir writes tenants.
    #[error("another weir has taken over from this one, which changes nothing more: ask that one")]
    TakenOver,
    /// Fields of the body contradict each other.
    #[error("{0}")]
    Contradiction(String),
    /// No meter sums a reading of the body.
    #[error("{0}")]
    Unsummed(String),
    /// The report cannot continue.
    #[error("{0}")]
    Report(String),
    /// The caller knows an earlier version of what it changes.
    #[error("{0}")]
    Stale(String),
    /// The `Idempotency-Key` came with another request.
    #[error("{0}")]
    OtherRequest(String),
    /// An internal error; the server's log has the cause.
    #[error("an internal error; see the server's log")]
    Internal,
}

/// Reads a request's body, which is a JSON object. serde would take a list of the members' values for it, too.
pub(super) fn object<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(ApiError::Request("the body is not a JSON object".to_owned()));
    }
    serde_json::from_slice(body).map_err(|error| ApiError::Request(error.to_string()))
}

impl ApiError {
    /// Logs an internal error in full, and hides its detail from the client.
    pub fn internal(error: &dyn std::error::Error) -> Self {
        tracing::error!(%error, "a request failed");
        ApiError::Internal
    }

    /// What is said where the database of tenants fails.
    pub(super) fn of_tenants(error: &weir_database::Error) -> Self {
        use weir_database::Error::{Fenced, Owned};
        match error {
            Fenced | Owned(_) => ApiError::TakenOver,
            _ if matches!(error.failure(), Failure::Lost | Failure::Busy) => {
                tracing::warn!(%error, "the database of tenants cannot be asked");
                ApiError::TenantsAway
            }
            _ => ApiError::internal(error),
        }
    }

    /// What is said where an event that the log has taken may never be counted.
    pub(super) fn not_kept(error: &StoreError) -> Self {
        match error {
            StoreError::TakenOver => ApiError::Unwritable("another weir has taken over the ledger of this one"),
            _ => ApiError::Gone,
        }
    }

    pub(super) fn status(&self) -> StatusCode {
        match self {
            ApiError::Unauthorized => StatusCode::UNAUTHORIZED,
            ApiError::Forbidden(_)
            | ApiError::ForeignForm(_)
            | ApiError::ForeignGateway(_)
            | ApiError::BadSignature(_)
            | ApiError::NotLetIn(_) => StatusCode::FORBIDDEN,
            ApiError::Unreachable(_) => StatusCode::BAD_GATEWAY,
            ApiError::Batch(BatchError::Form { .. } | BatchError::Reading { .. }) | ApiError::Request(_) => {
                StatusCode::BAD_REQUEST
            }
            ApiError::Batch(BatchError::TooMany(_)) | ApiError::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            ApiError::Slow => StatusCode::REQUEST_TIMEOUT,
            ApiError::MediaType | ApiError::ReadingsMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            ApiError::NotFound(_) | ApiError::Unknown(_) => StatusCode::NOT_FOUND,
            ApiError::Method => StatusCode::METHOD_NOT_ALLOWED,
            ApiError::NotConfigured(_) | ApiError::Contradiction(_) | ApiError::Unsummed(_) | ApiError::Report(_) => {
                StatusCode::CONFLICT
            }
            ApiError::Busy
            | ApiError::Stopped
            | ApiError::Unwritable(_)
            | ApiError::Gone
            | ApiError::Away
            | ApiError::TenantsAway
            | ApiError::TakenOver => StatusCode::SERVICE_UNAVAILABLE,
            ApiError::Stale(_) => StatusCode::PRECONDITION_FAILED,
            ApiError::OtherRequest(_) => StatusCode::UNPROCESSABLE_ENTITY,
            ApiError::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Says when it is worth trying again, if it is.
    pub(super) fn tell_when(&self, headers: &mut HeaderMap) {
        let seconds = match self {
            ApiError::Busy | ApiError::Away | ApiError::TenantsAway => RETRY_BUSY_SECS,
            ApiError::Stopped | ApiError::Unwritable(_) | ApiError::Gone | ApiError::TakenOver => RETRY_STOPPED_SECS,
            _ => return,
        };
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
}

#[derive(Serialize)]
struct Body {
    error: String,
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status(), Json(Body { error: self.to_string() })).into_response();
        self.tell_when(response.headers_mut());
        if matches!(self, ApiError::Unauthorized) {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// What axum says before the field of a query that it cannot read.
const QUERY_PROBLEM: &str = "Failed to deserialize query string: ";

impl From<QueryRejection> for ApiError {
    fn from(error: QueryRejection) -> Self {
        let text = error.body_text();
        let field = text.strip_prefix(QUERY_PROBLEM).unwrap_or(&text);
        ApiError::Request(field.replace("invalid digit found in string", "a whole number is expected"))
    }
}

impl From<SubmitError> for ApiError {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Busy => ApiError::Busy,
            SubmitError::Stopped(_) => ApiError::Stopped,
        }
    }
}

impl From<AppendError> for ApiError {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Full(_) => {
                ApiError::Unwritable("the event log is full: its disk is, or `log_max_mb` is reached")
            }
            AppendError::Locked(_) => ApiError::Unwritable(
                "the event log does not answer, is locked by another program, or is read-only; send the same again in a moment",
            ),
            AppendError::Broken(_) | AppendError::Lost(_) | AppendError::TakenOver(_) => ApiError::Stopped,
            AppendError::Unsupported(_) => ApiError::Report(error.to_string()),
        }
    }
}

impl From<IntakeError> for ApiError {
    fn from(error: IntakeError) -> Self {
        match error {
            IntakeError::Batch(error) => error.into(),
            IntakeError::Unsummed { .. } => ApiError::Unsummed(error.to_string()),
            IntakeError::Foreign { .. } => ApiError::ForeignGateway(error.to_string()),
            IntakeError::Submit(error) => error.into(),
        }
    }
}

impl From<LedgerError> for ApiError {
    fn from(error: LedgerError) -> Self {
        match &error {
            LedgerError::Database(cause) if matches!(cause.failure(), Failure::Lost | Failure::Busy) => {
                tracing::warn!(%error, "the ledger cannot be asked");
                ApiError::Away
            }
            LedgerError::Behind(_) => {
                tracing::warn!(%error, "the ledger cannot be asked");
                ApiError::Away
            }
            _ => ApiError::internal(&error),
        }
    }
}

impl From<BillingError> for ApiError {
    fn from(error: BillingError) -> Self {
        match error {
            BillingError::OtherAccount { .. } | BillingError::WrongKey { .. } | BillingError::Fenced => {
                ApiError::Report(error.to_string())
            }
            BillingError::Adjustment(problem) => ApiError::Request(problem),
            BillingError::Settlement(problem) | BillingError::Unknown(problem) => ApiError::Report(problem),
            BillingError::Ledger(error) => error.into(),
        }
    }
}

impl From<LookupError> for ApiError {
    fn from(error: LookupError) -> Self {
        match error {
            LookupError::Batch(error) => error.into(),
            _ => ApiError::internal(&error),
        }
    }
}

impl From<SeenError> for ApiError {
    fn from(error: SeenError) -> Self {
        match error {
            SeenError::Why => ApiError::Request(error.to_string()),
            SeenError::Ledger(error) => error.into(),
        }
    }
}

impl From<ForgetError> for ApiError {
    fn from(error: ForgetError) -> Self {
        match error {
            ForgetError::NoUser(problem) => ApiError::Request(problem.to_owned()),
            ForgetError::List(error @ ForgottenError::TooMany(_)) => ApiError::Request(error.to_string()),
            ForgetError::List(error) => ApiError::internal(&error),
            ForgetError::NoKeys => ApiError::NotConfigured("there are no `user_keys` in the configuration"),
            ForgetError::Busy => ApiError::Busy,
            ForgetError::Log(error) => error.into(),
            ForgetError::Ledger(error) => error.into(),
        }
    }
}

impl From<CostError> for ApiError {
    fn from(error: CostError) -> Self {
        match error {
            CostError::Dimension => ApiError::Request(error.to_string()),
            // Each parameter is valid; together they ask for nothing, or for too much.
            CostError::Span | CostError::TooMany => ApiError::Report(error.to_string()),
        }
    }
}

impl From<EventCostsError> for ApiError {
    fn from(error: EventCostsError) -> Self {
        match error {
            EventCostsError::Question(problem) => ApiError::Request(problem),
            EventCostsError::Span => ApiError::Report(error.to_string()),
            EventCostsError::Lookup(error) => error.into(),
        }
    }
}

impl From<FinanceError> for ApiError {
    fn from(error: FinanceError) -> Self {
        match error {
            FinanceError::Question(problem) => ApiError::Request(problem),
            FinanceError::Unknown(problem) => ApiError::Unknown(problem),
            FinanceError::Conflict(problem) => ApiError::Report(problem),
            FinanceError::Ledger(error) => error.into(),
            FinanceError::Cost(error) => error.into(),
        }
    }
}

impl From<RetryError> for ApiError {
    fn from(error: RetryError) -> Self {
        match error {
            RetryError::Intake(error) => error.into(),
            RetryError::Log(error) => error.into(),
            RetryError::Ledger(error) => error.into(),
            RetryError::Closed => ApiError::Stopped,
        }
    }
}

impl From<ChangeError> for ApiError {
    fn from(error: ChangeError) -> Self {
        match &error {
            ChangeError::NoTenant(_) | ChangeError::NoKey { .. } | ChangeError::NoFlag(_) | ChangeError::NoAddress => {
                ApiError::Unknown(error.to_string())
            }
            ChangeError::Taken(_) | ChangeError::Full | ChangeError::Over(_) | ChangeError::Contradiction(_) => {
                ApiError::Report(error.to_string())
            }
            ChangeError::Stale { .. } | ChangeError::StaleFlag { .. } => ApiError::Stale(error.to_string()),
            ChangeError::Invalid(_) => ApiError::Request(error.to_string()),
            ChangeError::Unreadable | ChangeError::Rotated => ApiError::Report(error.to_string()),
            ChangeError::OtherRequest => ApiError::OtherRequest(error.to_string()),
            ChangeError::Database(cause) => ApiError::of_tenants(cause),
            ChangeError::Json(_) | ChangeError::Random(_) => ApiError::internal(&error),
        }
    }
}

impl From<MakeError> for ApiError {
    fn from(error: MakeError) -> Self {
        match error {
            MakeError::Change(error) => error.into(),
            MakeError::Random(error) => ApiError::internal(&error),
        }
    }
}

impl From<LogError> for ApiError {
    fn from(error: LogError) -> Self {
        ApiError::internal(&error)
    }
}

pub(super) async fn not_found() -> ApiError {
    ApiError::NotFound("there is nothing at this path")
}

pub(super) async fn method_not_allowed() -> ApiError {
    ApiError::Method
}

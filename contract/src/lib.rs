//! What crosses between the gateway and the aggregator.
//!
//! The filter writes these types, the aggregator reads them, and nothing else connects the two:
//!
//! * [`event`]: CloudEvents 1.0 envelopes and the kinds of data that weir puts in them;
//! * [`id`]: the identity of an event: its source, its number there, and the UUID derived from both;
//! * [`batch`]: how events travel over HTTP, and the answer that acknowledges them;
//! * [`signed`]: an event as one line of a log, signed so that nobody can forge it;
//! * [`user`]: how events name an end user;
//! * [`lease`]: how gateways divide a fleet-wide limit among them;
//! * [`directory`]: tenants, their state and the hashes of their keys, as the gateway learns them;
//! * [`catalogue`]: models and their live figures, as the directory hands them to a gateway;
//! * [`placement`]: where a tenant is kept apart from others;
//! * [`vault`]: providers' keys of tenants, as the directory hands them to a gateway;
//! * [`flags`]: feature flags, their rules, and how a request is decided by them;
//! * [`stage`]: how far the budgets of a tenant are used, as the directory tells it;
//! * [`tenant`] and [`time`]: value types that everything shares.
//!
//! The crate reads no clock and does no I/O; it compiles natively and to `wasm32-unknown-unknown`.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod batch;
pub mod catalogue;
mod class;
pub mod directory;
pub mod event;
pub mod flags;
pub mod glob;
pub mod hard;
pub mod id;
pub mod lease;
pub mod placeholder;
pub mod placement;
pub mod plans;
#[cfg(feature = "schema")]
mod schema;
pub mod scopes;
pub mod signed;
pub mod stage;
pub mod tenant;
pub mod text;
pub mod time;
pub mod user;
pub mod vault;
pub mod whole;
mod writer;

pub use event::{
    AttemptFailure, AttemptsData, BreakerChange, Class, Decision, Estimate, EstimateMethod, Event, EventError,
    EventRef, LastFailure, ModelAttempts, Outcome, PaidBy, Payload, PayloadRef, RefusedData, SearchData, SecurityData,
    SecurityFinding, SecurityKind, SecuritySample, Severity, SourceData, Usage, UsageData, UsageStatus,
};
pub use id::{EventId, IdSeed, Sequence, SourceId};
pub use tenant::TenantId;
pub use text::Text;
pub use time::Timestamp;

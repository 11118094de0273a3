//! Keeps apart the ids that a provider hands out to all tenants of one account.
//!
//! All tenants behind the gateway share one account at the provider, so a file, a batch or a stored answer of one tenant
//! is there for every tenant that knows its id. On routes that say `permit: {files: sealed}`, ids leave the gateway
//! sealed: encrypted and authenticated together with the tenant ([`Keys`], AES-SIV, RFC 5297). A request may name only
//! ids that open for its own tenant. There is no store and no look-up: the key decides.
//!
//! Safety rests on requests alone: an id that does not open never reaches the provider, wherever it stands. Sealing in
//! answers is what makes ids usable.
//!
//! 1. [`operation`] is the table of operations: what is not in it is refused.
//! 2. [`path`] opens the ids in a request's path and query.
//! 3. [`place`] is the table of members that hold ids; [`rewrite`] walks JSON as it streams by and replaces them, and
//!    [`sse`] does so in server-sent events. [`judge`] decides about each: it opens in requests and seals in answers
//!    ([`answer`]).
//! 4. [`owner`] marks what a tenant creates with the tenant, and [`list`] shows a tenant its own entries only.
//! 5. [`upload`] does the same for uploaded files.
//!
//! Ids of a vector store's collections, which are UUIDs, are sealed as such ([`Keys::seal_uuid`]).
//!
//! Nothing in here panics on any input: the lints below deny what could.
#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::unreachable)
)]

pub mod answer;
mod base32;
pub mod judge;
pub mod key;
pub mod kind;
pub mod list;
pub mod operation;
pub mod owner;
pub mod path;
mod percent;
pub mod place;
pub mod rewrite;
pub mod sse;
pub mod upload;
mod uuid;

pub use answer::Answer;
pub use judge::{Guard, Opener, Sealer};
pub use key::{Keys, Use};
pub use kind::{Dialect, Kinds};

/// Why a request cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// An id does not open for this tenant: another tenant's, a raw one, or one that was tampered with.
    NotOwn,
    /// An id stands where no table expects one.
    UnknownPlace,
    /// The operation is not in the table.
    Operation,
    /// The request cannot be read, so that nobody can tell which ids it names.
    Unreadable,
    /// A member stands there twice, or in another spelling, so that nobody can tell whose mark it carries.
    Ambiguous,
}

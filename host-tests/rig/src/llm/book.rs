//! One line for every answer: what a comparison request by request needs.

use super::Numbers;

/// How an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Sent to its last byte.
    Served,
    /// An error, which costs nothing.
    Failed,
    /// Cut off, here or by the client.
    Unfinished,
}

/// One request, as the provider's own records have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Booked {
    /// The `x-request-id` that arrived; empty without one.
    pub request_id: String,
    /// The `x-tenant-id` that arrived.
    pub tenant: String,
    /// The usage of the whole answer, even if only a part was sent.
    pub numbers: Numbers,
    /// How it ended.
    pub end: End,
}

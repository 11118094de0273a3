//! One request and its response on their way through a worker: what is held, what came out.

use std::collections::BTreeMap;

use crate::host::abi::Callback;
use crate::host::headers::Headers;
use crate::host::stream::{LocalReply, Side};
use crate::host::vm::Trap;

/// Names an exchange within its worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExchangeId(pub(super) u64);

/// What holds one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Held {
    /// Nothing.
    #[default]
    No,
    /// The filter paused in headers, and body callbacks go on coming.
    Head,
    /// The filter paused in headers, and nothing more is shown to it.
    Everything,
    /// The filter paused in a body callback.
    Body,
    /// The filter paused in trailers.
    Trailers,
}

/// What waits while nothing may be shown to the filter.
#[derive(Clone, Debug, Default)]
pub(super) struct Waiting {
    pub(super) body: Vec<u8>,
    pub(super) has_body: bool,
    pub(super) trailers: Option<Headers>,
}

/// What the next hop received.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Delivered {
    /// The head; `None` until it was let go.
    pub head: Option<Headers>,
    /// Body chunks, none empty, as they were let go.
    pub chunks: Vec<Vec<u8>>,
    /// Trailers.
    pub trailers: Option<Headers>,
    /// True when the message is complete.
    pub ended: bool,
}

impl std::fmt::Debug for Delivered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { head, trailers, ended, .. } = self;
        let body = self.body().escape_ascii().to_string();
        let mut shown = f.debug_struct("Delivered");
        shown.field("head", head).field("body", &body).field("trailers", trailers).field("ended", ended).finish()
    }
}

impl Delivered {
    /// The whole body.
    pub fn body(&self) -> Vec<u8> {
        self.chunks.concat()
    }
}

/// One direction of an exchange.
#[derive(Clone, Debug, Default)]
pub struct Flow {
    /// What holds it.
    pub held: Held,
    /// True when the sender has sent everything.
    pub sender_ended: bool,
    /// What came out.
    pub delivered: Delivered,
    pub(super) waiting: Waiting,
}

/// How a stream ended, as `response.code_details` tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamEnd {
    /// Both sides have sent everything, or the filter answered.
    Complete,
    /// The client went away.
    DownstreamGone,
    /// The upstream broke the connection.
    UpstreamReset,
    /// The route's time-out passed.
    TimedOut,
    /// The filter closed the stream.
    ClosedByFilter,
    /// The filter trapped.
    Trapped,
}

/// A request and its response.
#[derive(Clone, Debug, Default)]
pub struct Exchange {
    /// The context in the VM; 0 when no VM saw it.
    pub context: u32,
    /// The way to the upstream.
    pub request: Flow,
    /// The way to the downstream.
    pub response: Flow,
    /// What the filter answered itself.
    pub local_reply: Option<LocalReply>,
    /// How it ended; `None` while it goes on.
    pub end: Option<StreamEnd>,
    /// Why it can never end, where the host hangs.
    pub hang: Option<String>,
    /// The trap that ended it.
    pub trap: Option<Trap>,
    /// What the filter left with `set_property`.
    pub filter_state: BTreeMap<String, Vec<u8>>,
    /// Instructions executed for it, by callback.
    pub fuel: BTreeMap<Callback, u64>,
    /// True when the request passed unfiltered because the VM is dead.
    pub unfiltered: bool,
    pub(super) opened_ns: u64,
    pub(super) forwarded_ns: Option<u64>,
    pub(super) answered_ns: Option<u64>,
}

impl Exchange {
    /// One direction.
    pub fn flow(&mut self, side: Side) -> &mut Flow {
        match side {
            Side::Request => &mut self.request,
            Side::Response => &mut self.response,
        }
    }
}

//! One request and its response in a worker: what is held, and what was delivered.

use std::collections::BTreeMap;

use crate::host::abi::Callback;
use crate::host::headers::Headers;
use crate::host::stream::{LocalReply, Side};
use crate::host::vm::Trap;

/// Identifies an exchange in its worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExchangeId(pub(super) u64);

/// The reason why one direction is held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Held {
    /// Nothing.
    #[default]
    No,
    /// The filter paused in headers, and body callbacks continue.
    Head,
    /// The filter paused in headers, and sees nothing more.
    Everything,
    /// The filter paused in a body callback.
    Body,
    /// The filter paused in trailers.
    Trailers,
}

/// Parts that wait while the filter may see nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct Waiting {
    pub(super) body: Vec<u8>,
    pub(super) has_body: bool,
    pub(super) trailers: Option<Headers>,
}

/// The parts that the next hop received.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Delivered {
    /// The head; `None` until it was released.
    pub head: Option<Headers>,
    /// Body chunks as released; none is empty.
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
    /// The reason why it is held.
    pub held: Held,
    /// True when the sender has sent everything.
    pub sender_ended: bool,
    /// The parts delivered.
    pub delivered: Delivered,
    pub(super) waiting: Waiting,
}

/// The end of a stream, as `response.code_details` reports it.
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
    /// The context in the VM; 0 if no VM saw the exchange.
    pub context: u32,
    /// The direction to the upstream.
    pub request: Flow,
    /// The direction to the downstream.
    pub response: Flow,
    /// The filter's own answer.
    pub local_reply: Option<LocalReply>,
    /// The end; `None` while the stream is open.
    pub end: Option<StreamEnd>,
    /// Why it can never end, if the host hangs.
    pub hang: Option<String>,
    /// The trap that ended it.
    pub trap: Option<Trap>,
    /// Values that the filter stored with `set_property`.
    pub filter_state: BTreeMap<String, Vec<u8>>,
    /// Instructions executed for it, by callback.
    pub fuel: BTreeMap<Callback, u64>,
    /// True if the request passed unfiltered because the VM was dead.
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

//! One request and its response, in the form that the guest reads and edits.

use std::collections::BTreeMap;

use super::headers::Headers;

/// The two directions of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// Downstream to upstream.
    Request,
    /// Upstream to downstream.
    Response,
}

/// One direction, with the parts that the guest may see now.
#[derive(Clone, Debug, Default)]
pub struct Half {
    /// The head that the guest sees.
    pub headers: Headers,
    /// The head that the next hop receives; differs from `headers` only where edits are lost.
    pub outgoing: Headers,
    /// True while the guest may read and edit the head.
    pub headers_open: bool,
    /// True once the guest has said how long the body is.
    pub length_set: bool,
    /// The current chunk, or everything that is held.
    pub body: Vec<u8>,
    /// True while the guest may read and edit the body.
    pub body_open: bool,
    /// True if the body is in a file that the guest cannot read.
    pub body_spooled: bool,
    /// Trailers.
    pub trailers: Headers,
    /// True while the guest may read and edit the trailers.
    pub trailers_open: bool,
}

impl Half {
    /// Hides everything from the guest.
    pub fn close(&mut self) {
        self.headers_open = false;
        self.body_open = false;
        self.trailers_open = false;
    }
}

/// A response that the guest sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalReply {
    /// HTTP status.
    pub status: u16,
    /// Fields besides `:status`.
    pub headers: Headers,
    /// Body.
    pub body: Vec<u8>,
    /// Its name in access logs.
    pub details: String,
}

/// Requests of the guest during a callback, executed after the callback returns.
#[derive(Clone, Debug, Default)]
pub struct Wishes {
    /// Send this reply.
    pub local_reply: Option<LocalReply>,
    /// Continue the held request.
    pub continue_request: bool,
    /// Continue the held response.
    pub continue_response: bool,
    /// Reset the stream.
    pub close: bool,
    /// The host hangs on what the guest did, and why.
    pub hang: Option<String>,
}

/// The state that a stream's context can access.
#[derive(Clone, Debug, Default)]
pub struct HttpStream {
    /// The root context of its configuration.
    pub root: u32,
    /// Towards the upstream.
    pub request: Half,
    /// Towards the downstream.
    pub response: Half,
    /// True in `on_log`.
    pub logging: bool,
    /// The values of `get_property`, by the path's parts joined with NUL.
    pub properties: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The values stored by `set_property`, by name.
    pub filter_state: BTreeMap<String, Vec<u8>>,
    /// Pending requests of the guest.
    pub wishes: Wishes,
    /// True while the chunk that is shown is the last of the response.
    pub response_ends: bool,
    /// Chunks of the response that were replaced by nothing.
    pub emptied_chunks: usize,
}

impl HttpStream {
    /// One direction.
    pub fn half(&mut self, side: Side) -> &mut Half {
        match side {
            Side::Request => &mut self.request,
            Side::Response => &mut self.response,
        }
    }

    /// Sets a property that the guest can read.
    pub fn set_property(&mut self, path: &[&str], value: impl AsRef<[u8]>) {
        self.properties.insert(property_path(path), value.as_ref().to_vec());
    }
}

/// The format in which the guest passes a property's path.
pub(crate) fn property_path(path: &[&str]) -> Vec<u8> {
    path.join("\0").into_bytes()
}

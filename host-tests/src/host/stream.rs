//! One request and its response, as the host keeps them for the guest to read and edit.

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

/// One direction: what the guest may see of it now.
#[derive(Clone, Debug, Default)]
pub struct Half {
    /// The head as the guest sees it.
    pub headers: Headers,
    /// The head as the next hop will get it; differs from `headers` only where edits get lost.
    pub outgoing: Headers,
    /// True while the guest may read and edit the head.
    pub headers_open: bool,
    /// True once the guest has said how long the body is.
    pub length_set: bool,
    /// The chunk, or all that is held.
    pub body: Vec<u8>,
    /// True while the guest may read and edit the body.
    pub body_open: bool,
    /// True when the body lies in a file that the guest cannot read.
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

/// A response that the guest sends itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalReply {
    /// HTTP status.
    pub status: u16,
    /// Fields besides `:status`.
    pub headers: Headers,
    /// Body.
    pub body: Vec<u8>,
    /// What access logs call it.
    pub details: String,
}

/// What the guest asked for in a callback, to be done when the callback has returned.
#[derive(Clone, Debug, Default)]
pub struct Wishes {
    /// Send this instead of going on.
    pub local_reply: Option<LocalReply>,
    /// Let the held request go.
    pub continue_request: bool,
    /// Let the held response go.
    pub continue_response: bool,
    /// Reset the stream.
    pub close: bool,
    /// The host hangs on what the guest did, and why.
    pub hang: Option<String>,
}

/// Everything a stream's context can reach.
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
    /// What `get_property` finds, by the path's parts joined with NUL.
    pub properties: BTreeMap<Vec<u8>, Vec<u8>>,
    /// What `set_property` left, by name.
    pub filter_state: BTreeMap<String, Vec<u8>>,
    /// What the guest asked for.
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

/// The form in which a property's path crosses from the guest.
pub fn property_path(path: &[&str]) -> Vec<u8> {
    path.join("\0").into_bytes()
}

//! Requests of clients, responses of upstreams, and messages as delivered.

use std::time::Duration;

use serde_json::Value;

use crate::host::Headers;

/// An action of a peer after it sent a head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A chunk of body.
    Chunk(Vec<u8>),
    /// Trailers, which end the message.
    Trailers(Headers),
    /// Time passes.
    Wait(Duration),
    /// The client closes the connection.
    ClientGone,
    /// The upstream breaks the connection.
    Reset,
    /// The route's time-out passes.
    TimedOut,
}

/// How a message ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Ending {
    /// As HTTP/1 codecs report it: with an empty chunk behind the last one, or with the head if there are no chunks.
    #[default]
    Own,
    /// With the last chunk, as HTTP/2 allows.
    WithLastChunk,
    /// Not yet; the test continues by hand.
    Never,
}

/// A request of a client. Made by [`get`], [`post`] and their like.
#[derive(Clone, Debug)]
pub struct Request {
    pub(super) headers: Headers,
    pub(super) steps: Vec<Step>,
    pub(super) ending: Ending,
    pub(super) properties: Vec<(Vec<String>, Vec<u8>)>,
    pub(super) chain: usize,
}

/// A response of an upstream. Made by [`ok`] and [`status`].
#[derive(Clone, Debug)]
pub struct Response {
    pub(super) headers: Headers,
    pub(super) steps: Vec<Step>,
    pub(super) ending: Ending,
}

/// A GET request.
pub fn get(path: &str) -> Request {
    request("GET", path)
}

/// A POST request.
pub fn post(path: &str) -> Request {
    request("POST", path)
}

/// A PUT request.
pub fn put(path: &str) -> Request {
    request("PUT", path)
}

/// A DELETE request.
pub fn delete(path: &str) -> Request {
    request("DELETE", path)
}

/// A HEAD request.
pub fn head(path: &str) -> Request {
    request("HEAD", path)
}

/// A request of any method, to `api.example.com`.
pub fn request(method: &str, path: &str) -> Request {
    let pseudo = [(":method", method), (":path", path), (":scheme", "https"), (":authority", "api.example.com")];
    Request {
        headers: pseudo.into_iter().collect(),
        steps: Vec::new(),
        ending: Ending::Own,
        properties: Vec::new(),
        chain: 0,
    }
}

/// A 200 response.
pub fn ok() -> Response {
    status(200)
}

/// A response of any status.
pub fn status(code: u16) -> Response {
    let headers = [(":status", code.to_string())].into_iter().collect();
    Response { headers, steps: Vec::new(), ending: Ending::Own }
}

/// The methods that requests and responses share.
macro_rules! message_parts {
    ($message:ident) => {
        impl $message {
            /// Adds a field.
            #[must_use]
            pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
                self.headers.add(name, value);
                self
            }

            /// A body of known length, in one chunk.
            #[must_use]
            pub fn body(mut self, body: impl AsRef<[u8]>) -> Self {
                self.headers.set("content-length", body.as_ref().len().to_string());
                self.chunk(body)
            }

            /// A JSON body of known length, in one chunk.
            #[must_use]
            pub fn json(self, body: &Value) -> Self {
                self.header("content-type", "application/json").body(body.to_string())
            }

            /// Adds a chunk to a body of unknown length.
            #[must_use]
            pub fn chunk(mut self, chunk: impl AsRef<[u8]>) -> Self {
                self.steps.push(Step::Chunk(chunk.as_ref().to_vec()));
                self
            }

            /// Sets a body of known length that arrives in pieces of `bytes` bytes.
            #[must_use]
            pub fn body_in_chunks_of(mut self, bytes: usize, body: impl AsRef<[u8]>) -> Self {
                self.headers.set("content-length", body.as_ref().len().to_string());
                self.steps.extend(body.as_ref().chunks(bytes).map(|chunk| Step::Chunk(chunk.to_vec())));
                self
            }

            /// Adds a trailer, which ends the message.
            #[must_use]
            pub fn trailer(mut self, name: &str, value: &str) -> Self {
                if let Some(Step::Trailers(trailers)) = self.steps.last_mut() {
                    trailers.add(name, value);
                } else {
                    self.steps.push(Step::Trailers([(name, value)].into_iter().collect()));
                }
                self
            }

            /// Lets time pass before the next step.
            #[must_use]
            pub fn wait(mut self, time: Duration) -> Self {
                self.steps.push(Step::Wait(time));
                self
            }

            /// Closes the client's connection here.
            #[must_use]
            pub fn client_gone(mut self) -> Self {
                self.steps.push(Step::ClientGone);
                self
            }

            /// Ends the message with its last chunk, as HTTP/2 allows, instead of an empty one behind it.
            #[must_use]
            pub fn ending_with_last_chunk(mut self) -> Self {
                self.ending = Ending::WithLastChunk;
                self
            }

            /// Leaves the message open: a WebSocket, a CONNECT tunnel, or a test that continues by hand.
            #[must_use]
            pub fn open_ended(mut self) -> Self {
                self.ending = Ending::Never;
                self
            }
        }
    };
}

message_parts!(Request);
message_parts!(Response);

impl Request {
    /// Adds `authorization: Bearer …`.
    #[must_use]
    pub fn bearer(self, credential: &str) -> Self {
        self.header("authorization", format!("Bearer {credential}"))
    }

    /// Sets the host that the client asks for.
    #[must_use]
    pub fn authority(mut self, authority: &str) -> Self {
        self.headers.set(":authority", authority);
        self
    }

    /// Selects a further filter chain: see [`super::GatewayBuilder::also_config`].
    #[must_use]
    pub fn through_chain(mut self, chain: usize) -> Self {
        self.chain = chain;
        self
    }

    /// Adds a property of the gateway.
    #[must_use]
    pub fn property(mut self, path: &[&str], value: impl AsRef<[u8]>) -> Self {
        self.properties.push((path.iter().map(|part| (*part).to_owned()).collect(), value.as_ref().to_vec()));
        self
    }

    /// Sets the name of the route that the gateway chose.
    #[must_use]
    pub fn on_route(self, name: &str) -> Self {
        self.property(&["xds", "route_name"], name).property(&["kong", "route_name"], name)
    }

    /// Sets Envoy's metadata of the route: namespace, key, value.
    #[must_use]
    pub fn route_metadata(self, namespace: &str, key: &str, value: &str) -> Self {
        self.property(&["xds", "route_metadata", "filter_metadata", namespace, key], value)
    }

    /// Sets the client's address, with port.
    #[must_use]
    pub fn from_address(self, address: &str) -> Self {
        self.property(&["source", "address"], address)
    }
}

impl Response {
    /// Sends a stream of server-sent events, chunk by chunk.
    #[must_use]
    pub fn sse(mut self, chunks: &[&str]) -> Self {
        self.headers.set("content-type", "text/event-stream");
        self.steps.extend(chunks.iter().map(|chunk| Step::Chunk(chunk.as_bytes().to_vec())));
        self
    }

    /// Breaks the upstream's connection here.
    #[must_use]
    pub fn reset(mut self) -> Self {
        self.steps.push(Step::Reset);
        self
    }

    /// Lets the route's time-out pass here.
    #[must_use]
    pub fn timed_out(mut self) -> Self {
        self.steps.push(Step::TimedOut);
        self
    }
}

/// A message as the next hop received it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The head.
    pub headers: Headers,
    /// Body chunks as received; none is empty.
    pub chunks: Vec<Vec<u8>>,
    /// Trailers.
    pub trailers: Option<Headers>,
    /// True if the message is complete.
    pub ended: bool,
}

impl Message {
    /// The first value of a field.
    #[track_caller]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)
    }

    /// `:path` of a request.
    pub fn path(&self) -> &str {
        self.headers.get(":path").unwrap_or_default()
    }

    /// The whole body.
    pub fn body(&self) -> Vec<u8> {
        self.chunks.concat()
    }

    /// The body as text.
    ///
    /// # Panics
    /// When it is not UTF-8.
    #[track_caller]
    pub fn text(&self) -> String {
        String::from_utf8(self.body()).unwrap_or_else(|error| panic!("the body is not UTF-8: {error}"))
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is not JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        let text = self.text();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("the body is not JSON: {error}: {text}"))
    }
}

//! Many requests at once over kept-alive connections, every answer recorded.

use crate::clock;
use bytes::Bytes;
use futures::{StreamExt, stream};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::Value;
use std::time::Duration;

/// A request takes this long at most: above any delay that a scenario asks for.
const TIMEOUT: Duration = Duration::from_secs(60);

/// One request to send.
#[derive(Debug, Clone)]
pub struct Call {
    /// The method.
    pub method: Method,
    /// The whole URL.
    pub url: String,
    /// Headers beside those that the client sets itself.
    pub headers: HeaderMap,
    /// The body; empty for none.
    pub body: Bytes,
}

/// The outcome.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The HTTP status, or 0 if the connection failed before there was one.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body as it arrived, read by read.
    pub chunks: Vec<Bytes>,
    /// From the first byte sent to the head of the answer.
    pub head_after: Duration,
    /// From the first byte sent to the last one received.
    pub duration: Duration,
    /// Why it ended early, if it did.
    pub error: Option<String>,
}

/// A client that keeps connections open between requests.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
}

impl Call {
    /// `GET url`.
    #[must_use]
    pub fn get(url: impl Into<String>) -> Self {
        Self { method: Method::GET, url: url.into(), headers: HeaderMap::new(), body: Bytes::new() }
    }

    /// `POST url` with a JSON body.
    #[must_use]
    pub fn post(url: impl Into<String>, body: &Value) -> Self {
        let call = Self { method: Method::POST, url: url.into(), headers: HeaderMap::new(), body: Bytes::new() };
        Self { body: Bytes::from(body.to_string()), ..call }.header("content-type", "application/json")
    }

    /// The same with one more header.
    ///
    /// # Panics
    /// When name or value are no header: a mistake in the test itself.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let name: HeaderName = name.parse().expect("a header name");
        self.headers.append(name, HeaderValue::from_str(value).expect("a header value"));
        self
    }
}

impl Reply {
    /// The body in one piece, with bytes that are no text replaced.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.chunks.concat()).into_owned()
    }

    /// The body as JSON; null if it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.chunks.concat()).unwrap_or_default()
    }

    /// The payloads of its server-sent events, in order, `[DONE]` left out.
    #[must_use]
    pub fn events(&self) -> Vec<Value> {
        let text = self.text();
        text.lines().filter_map(|line| line.strip_prefix("data: ")).filter_map(|data| data.parse().ok()).collect()
    }

    /// The first value of a header as text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    fn failed(after: Duration, error: &reqwest::Error) -> Self {
        let error = Some(chain(error));
        let status = 0;
        Self { status, headers: HeaderMap::new(), chunks: Vec::new(), head_after: after, duration: after, error }
    }
}

impl Default for Client {
    fn default() -> Self {
        Self::new()
    }
}

impl Client {
    /// A client that uses no proxy and follows no redirect.
    ///
    /// # Panics
    /// When the TLS back end cannot be set up, which loopback traffic never uses.
    #[must_use]
    pub fn new() -> Self {
        let builder = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
        Self { http: builder.timeout(TIMEOUT).tcp_nodelay(true).build().expect("an HTTP client") }
    }

    /// Sends one request and reads its answer to the end.
    pub async fn send(&self, call: Call) -> Reply {
        let started = clock::instant();
        let request = self.http.request(call.method, call.url).headers(call.headers).body(call.body);
        let mut response = match request.send().await {
            Ok(response) => response,
            Err(error) => return Reply::failed(started.elapsed(), &error),
        };
        let head_after = started.elapsed();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let mut chunks = Vec::new();
        let error = loop {
            match response.chunk().await {
                Ok(Some(chunk)) => chunks.push(chunk),
                Ok(None) => break None,
                Err(error) => break Some(chain(&error)),
            }
        };
        Reply { status, headers, chunks, head_after, duration: started.elapsed(), error }
    }

    /// Sends all of `calls`, at most `concurrency` at a time; the replies are in the order of the calls.
    pub async fn send_all(&self, calls: impl IntoIterator<Item = Call>, concurrency: usize) -> Vec<Reply> {
        stream::iter(calls).map(|call| self.send(call)).buffered(concurrency.max(1)).collect().await
    }
}

/// An error with all its causes: the outermost alone says "error sending request".
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

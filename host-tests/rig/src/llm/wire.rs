//! From an answer to bytes on the connection: delays, odd splits and cuts happen here, whatever the API.

use super::tally::Bill;
use super::{Behaviour, Booked, End, State, lock};
use axum::body::Body;
use bytes::Bytes;
use futures::stream;
use http::{Response, StatusCode};
use serde_json::Value;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// A complete answer, not yet on its way.
#[derive(Debug)]
pub(super) struct Answer {
    status: StatusCode,
    content_type: &'static str,
    /// One element is one write.
    parts: Vec<Bytes>,
    bill: Option<Bill>,
    /// How it is booked once it has been sent whole.
    end: End,
}

impl Answer {
    pub(super) fn json(body: &Value) -> Self {
        let parts = vec![Bytes::from(body.to_string())];
        Self { status: StatusCode::OK, content_type: "application/json", parts, bill: None, end: End::Served }
    }

    pub(super) fn events(events: Vec<String>) -> Self {
        Self::parts("text/event-stream; charset=utf-8", events)
    }

    /// A body in parts, of any content type.
    pub(super) fn parts<P: Into<Vec<u8>>>(content_type: &'static str, parts: impl IntoIterator<Item = P>) -> Self {
        let parts = parts.into_iter().map(|part| Bytes::from(part.into())).collect();
        Self { status: StatusCode::OK, content_type, parts, bill: None, end: End::Served }
    }

    /// An answer that says what failed.
    pub(super) fn failed(status: u16, body: &Value) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { status, end: End::Failed, ..Self::json(body) }
    }

    pub(super) fn billed(self, bill: Bill) -> Self {
        Self { bill: Some(bill), ..self }
    }
}

/// Sends `answer` the way `behaviour` says, and books it when it has ended.
pub(super) fn respond(state: Arc<State>, answer: Answer, behaviour: Behaviour) -> Response<Body> {
    let mut parts = VecDeque::from(answer.parts);
    if let Some(size) = behaviour.split_bytes {
        parts = split(parts.into_iter().flatten().collect(), size.max(1));
    }
    let mut response = Response::builder().status(answer.status).header("content-type", answer.content_type);
    // A whole answer has a length, a stream has none; one that is to be cut must not end early and look whole.
    if parts.len() == 1 && behaviour.cut_after.is_none() {
        response = response.header("content-length", parts.iter().map(Bytes::len).sum::<usize>());
    }
    if answer.status == StatusCode::TOO_MANY_REQUESTS {
        response = response.header("retry-after", "1");
    }
    let booking = Booking { state, bill: answer.bill, end: answer.end };
    let writer = Writer { parts, written: 0, behaviour, booking };
    finish(response, Body::from_stream(stream::unfold(writer, Writer::next)))
}

pub(super) fn plain(status: StatusCode, text: &str) -> Response<Body> {
    finish(Response::builder().status(status), Body::from(text.to_owned()))
}

fn finish(builder: http::response::Builder, body: Body) -> Response<Body> {
    builder.body(body).unwrap_or_else(|error| {
        let mut response = Response::new(Body::from(error.to_string()));
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    })
}

fn split(bytes: Vec<u8>, size: usize) -> VecDeque<Bytes> {
    bytes.chunks(size).map(Bytes::copy_from_slice).collect()
}

/// Books an answer once; as unfinished when it goes out of scope before its last byte was handed over.
#[derive(Debug)]
struct Booking {
    state: Arc<State>,
    bill: Option<Bill>,
    end: End,
}

impl Booking {
    fn settle(&mut self, end: End) {
        if let Some(bill) = self.bill.take() {
            lock(&self.state.tally).book(&bill, end);
            if let Some(book) = &mut *lock(&self.state.book) {
                book.push(Booked { request_id: bill.request_id, tenant: bill.tenant, numbers: bill.numbers, end });
            }
        }
    }
}

impl Drop for Booking {
    fn drop(&mut self) {
        self.settle(End::Unfinished);
    }
}

#[derive(Debug)]
struct Writer {
    parts: VecDeque<Bytes>,
    written: usize,
    behaviour: Behaviour,
    booking: Booking,
}

/// The connection is reset in the middle of the body.
#[derive(Debug, thiserror::Error)]
#[error("the stand-in cuts this answer off")]
struct Cut;

impl Writer {
    async fn next(mut self) -> Option<(Result<Bytes, Cut>, Self)> {
        if self.behaviour.cut_after.is_some_and(|writes| self.written >= writes) {
            // Lets the proxy in between pass on what it has: a reset overtakes bytes that are still on their way.
            tokio::time::sleep(Duration::from_millis(50)).await;
            return Some((Err(Cut), self));
        }
        let part = self.parts.pop_front()?;
        if self.written > 0 {
            tokio::time::sleep(Duration::from_millis(self.behaviour.chunk_delay_ms)).await;
        }
        self.written += 1;
        if self.parts.is_empty() {
            // Books before the last bytes leave, so that a client that has read the end finds the answer in the sums.
            self.booking.settle(self.booking.end);
        }
        Some((Ok(part), self))
    }
}

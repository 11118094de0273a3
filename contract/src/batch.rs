//! How events travel: a `POST` of a CloudEvents batch, answered with what was accepted.
use serde::{Deserialize, Serialize};

/// Content type of a batch: a JSON array of events.
pub const BATCH_CONTENT_TYPE: &str = "application/cloudevents-batch+json";
/// Content type of a single event.
pub const EVENT_CONTENT_TYPE: &str = "application/cloudevents+json";
/// Content type of one event a line.
pub const LINES_CONTENT_TYPE: &str = "application/x-ndjson";

/// The most events in one batch. A worker that sends more in one call gains nothing and risks the receiver's limits.
pub const BATCH_MAX_EVENTS: usize = 1_000;
/// The most bytes of one batch, uncompressed: 1,000 events of a full kilobyte, four times over.
pub const BATCH_MAX_BYTES: usize = 4 * 1024 * 1024;
/// The most bytes of one event. Every text in it is bounded by the filter to less.
pub const EVENT_MAX_BYTES: usize = 64 * 1024;

/// The answer to a batch, with status `202`. Every event that is not listed in `rejected` is durable in the event
/// log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchAnswer {
    /// How many events were taken, including ones that were there already.
    pub accepted: u64,
    /// Events that are refused for good. They are kept, whole, in quarantine.
    #[serde(default)]
    pub rejected: Vec<RejectedEvent>,
}

/// One event of a batch that was refused for good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectedEvent {
    /// Its index in the batch, from 0.
    pub index: usize,
    /// What is wrong with it.
    pub reason: String,
}

/// Joins events, each already JSON, into the body of a batch.
pub fn join<'a>(events: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut body = vec![b'['];
    for event in events {
        if body.len() > 1 {
            body.push(b',');
        }
        body.extend_from_slice(event);
    }
    body.push(b']');
    body
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;
    #[test]
    fn a_batch_is_a_json_array() {
        assert_eq!(super::join([]), b"[]");
        assert_eq!(super::join([&b"{}"[..], b"{}"]), b"[{},{}]");
    }
}

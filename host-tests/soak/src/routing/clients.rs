//! Clients of two dialects, and whether what they got is an answer or an error that they can read.
use serde_json::{Value, json};
use weir_rig::load::{Call, Reply};
use weir_seeded::SplitMix64;

/// One request to send.
#[derive(Clone, Debug)]
pub(crate) struct Planned {
    pub(crate) number: u64,
    /// It speaks Messages, else Chat Completions.
    pub(crate) is_anthropic: bool,
    pub(crate) streams: bool,
    pub(crate) tenant: u64,
}

/// What a client got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Got {
    Answer,
    /// An error in its dialect, by status or within the stream.
    Error,
    /// Its connection broke off behind the first byte of a stream.
    BrokenOff,
    /// Something that its SDK could not read.
    Invalid(String),
}

impl Planned {
    pub(crate) fn draw(number: u64, tenants: u64, dice: &mut SplitMix64) -> Self {
        Planned { number, is_anthropic: dice.percent(50), streams: dice.percent(50), tenant: dice.below(tenants) }
    }

    pub(crate) fn call(&self, url: &str) -> Call {
        let path = if self.is_anthropic { "/v1/messages" } else { "/v1/chat/completions" };
        let messages = json!([{"role": "user", "content": format!("Please answer request {}.", self.number)}]);
        let body = json!({"model": "auto", "max_tokens": 300, "stream": self.streams, "messages": messages});
        Call::post(format!("{url}{path}"), &body).header("authorization", &format!("Bearer {}", key(self.tenant)))
    }

    pub(crate) fn judge(&self, reply: &Reply) -> Got {
        match (reply.status, &reply.error) {
            (0, error) => Got::Invalid(format!("no answer: {error:?}")),
            (400.., None) if is_error(&reply.json(), self.is_anthropic) => Got::Error,
            (200, Some(_)) if self.streams && !reply.chunks.is_empty() => Got::BrokenOff,
            (200, None) if self.streams => self.judge_stream(reply),
            (200, None) if self.is_answer(&reply.json()) => Got::Answer,
            (status, error) => Got::Invalid(format!("{status} {error:?} {}", reply.text())),
        }
    }

    fn is_answer(&self, body: &Value) -> bool {
        match self.is_anthropic {
            true => {
                body["type"] == "message"
                    && body["content"][0]["text"].is_string()
                    && body["usage"]["input_tokens"].is_u64()
            }
            false => {
                body["choices"][0]["message"]["content"].is_string() && body["usage"]["completion_tokens"].is_u64()
            }
        }
    }

    /// A stream ends with the event that ends it, or with an error.
    fn judge_stream(&self, reply: &Reply) -> Got {
        let (events, text) = (reply.events(), reply.text());
        let last = events.last().cloned().unwrap_or_default();
        let is_complete = match self.is_anthropic {
            true => last["type"] == "message_stop",
            false => text.trim_end().ends_with("data: [DONE]"),
        };
        let lines = text.lines().filter(|line| line.starts_with("data: ") && *line != "data: [DONE]").count();
        match () {
            () if lines != events.len() => Got::Invalid(format!("an event is no JSON: {text}")),
            () if is_complete => Got::Answer,
            () if is_error(&last, self.is_anthropic) => Got::Error,
            () => Got::Invalid(format!("a stream without an end: {text}")),
        }
    }
}

fn is_error(body: &Value, is_anthropic: bool) -> bool {
    body["error"]["message"].is_string() && (!is_anthropic || body["type"] == "error")
}

pub(crate) fn key(tenant: u64) -> String {
    format!("sk_weir_routing_{tenant}")
}

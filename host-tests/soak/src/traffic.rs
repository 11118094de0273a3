//! What clients send: every provider, whole and streamed; some leave early, some upstreams misbehave.

use serde_json::{Value, json};
use std::time::Duration;
use weir_rig::load::{Call, Client, Reply};
use weir_seeded::SplitMix64;

/// The tenant whose provider behaves: whatever its clients read to the end must be counted to the token.
pub const GOOD: &str = "acme";
/// The tenant whose provider breaks off, fails and keeps its numbers to itself.
pub(crate) const BAD: &str = "globex";

/// One request of the run.
#[derive(Debug, Clone)]
pub struct Planned {
    /// The request.
    pub call: Call,
    /// The client leaves after this long.
    pub leaves_after: Option<Duration>,
    /// Whose it is.
    pub tenant: &'static str,
}

/// What became of a request, as its client saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// A whole answer with this status.
    Whole(u16),
    /// It broke off.
    Broken,
    /// The client left.
    Left,
}

/// `count` requests to `gateway` (`http://…`).
#[must_use]
pub fn plan(gateway: &str, count: usize, dice: &mut SplitMix64) -> Vec<Planned> {
    (0..count).map(|index| planned(gateway, index, dice)).collect()
}

/// The key of a tenant.
#[must_use]
pub fn key(tenant: &str) -> String {
    format!("sk_weir_{tenant}")
}

fn planned(gateway: &str, index: usize, dice: &mut SplitMix64) -> Planned {
    let tenant = if dice.percent(20) { BAD } else { GOOD };
    let (path, body) = request(index, dice);
    let mut call =
        Call::post(format!("{gateway}{path}"), &body).header("authorization", &format!("Bearer {}", key(tenant)));
    let leaves = dice.percent(8);
    let mut behaviour = vec![format!("pieces={}", 1 + dice.below(12))];
    if dice.percent(30) {
        behaviour.push(format!("split_bytes={}", 7 + dice.below(200)));
    }
    if leaves {
        behaviour.push(format!("delay_ms={}, chunk_delay_ms={}", dice.below(30), dice.below(30)));
    }
    if tenant == BAD {
        behaviour.push(misbehaviour(dice));
    }
    call = call.header("x-rig-behaviour", &behaviour.join(", "));
    let leaves_after = leaves.then(|| Duration::from_millis(5 + dice.below(150)));
    Planned { call, leaves_after, tenant }
}

fn misbehaviour(dice: &mut SplitMix64) -> String {
    match dice.below(5) {
        0 => "no_usage".to_owned(),
        1 => format!("status={}", [400, 429, 500, 503][dice.index(4)]),
        2 => format!("cut_after={}", 1 + dice.below(4)),
        3 => "reset".to_owned(),
        _ => String::new(),
    }
}

fn request(index: usize, dice: &mut SplitMix64) -> (&'static str, Value) {
    let text = format!("Question {index}: {}", "when is high water? ".repeat(1 + dice.index(40)));
    let messages = json!([{"role": "user", "content": text}]);
    let mut chat = json!({"model": "gpt-4o", "messages": messages});
    let contents = json!({"contents": [{"role": "user", "parts": [{"text": text}]}]});
    match dice.below(16) {
        0 => ("/v1/chat/completions", chat),
        // Most streams do not ask for usage: the filter does.
        1 | 2 => {
            chat["stream"] = json!(true);
            ("/v1/chat/completions", chat)
        }
        3 => {
            (chat["stream"], chat["stream_options"]) = (json!(true), json!({"include_usage": dice.percent(50)}));
            ("/v1/chat/completions", chat)
        }
        4 => ("/v1/messages", json!({"model": "claude-sonnet-4-5", "max_tokens": 200, "messages": messages})),
        5 | 6 => (
            "/v1/messages",
            json!({"model": "claude-sonnet-4-5", "max_tokens": 200, "stream": true, "messages": messages}),
        ),
        7 => ("/v1/responses", json!({"model": "gpt-5", "input": text, "stream": dice.percent(70)})),
        8 => ("/v1/embeddings", json!({"model": "text-embedding-3-small", "input": [text]})),
        9 => ("/v1beta/models/gemini-2.5-pro:generateContent", contents),
        10 => ("/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse", contents),
        11 => ("/v1beta/models/gemini-2.5-pro:streamGenerateContent", contents),
        12 => (
            "/model/anthropic.claude-sonnet-4-5/converse",
            json!({"messages": [{"role": "user", "content": [{"text": text}]}]}),
        ),
        13 => (
            "/model/anthropic.claude-sonnet-4-5/converse-stream",
            json!({"messages": [{"role": "user", "content": [{"text": text}]}]}),
        ),
        14 => ("/v2/chat", json!({"model": "command-a-03-2025", "messages": messages, "stream": dice.percent(60)})),
        _ => ("/api/chat", json!({"model": "llama3.3", "messages": messages, "stream": dice.percent(60)})),
    }
}

/// Sends one request; a client that leaves closes its connection.
pub async fn send(client: &Client, planned: Planned) -> Seen {
    let Some(after) = planned.leaves_after else { return seen(&client.send(planned.call).await) };
    match tokio::time::timeout(after, client.send(planned.call)).await {
        Ok(reply) => seen(&reply),
        Err(_) => Seen::Left,
    }
}

fn seen(reply: &Reply) -> Seen {
    if reply.status == 0 || reply.error.is_some() { Seen::Broken } else { Seen::Whole(reply.status) }
}

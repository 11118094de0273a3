//! Messages about tenants that come and go, signed as Standard Webhooks says. Each has an id that repeats share.
use serde_json::{Value, json};
use weir_contract::Timestamp;
use weir_contract::placement::Placement;
use weir_provisioning::Answer;
use weir_steer::receiver::WebhookFile;

use super::App;

/// How long until an outside system is asked again, in milliseconds.
const ASK_AGAIN_MS: u64 = 3_000;
/// The longest answer of an outside system that is read, in bytes.
const ANSWER_MAX_BYTES: usize = 16 * 1024;

/// Stands for the status of an answer that is longer.
const TOO_LONG: u16 = 0;

/// A message.
pub(super) struct Message<'a> {
    /// Its id.
    pub(super) id: String,
    /// What it tells, such as `tenant.welcome`.
    pub(super) kind: &'static str,
    /// The rest.
    pub(super) data: &'a Value,
}

impl Message<'_> {
    /// Whether it says that something is gone.
    fn takes_back(&self) -> bool {
        matches!(self.kind, "tenant.environment.released" | "tenant.withdrawn" | "tenant.goodbye")
    }
}

/// An environment that is ready, with the endpoint that the receiver names. One that no tenant can have is refused before anybody is
/// told of it.
fn ready(endpoint: &Value) -> Answer {
    let endpoint = match endpoint {
        Value::Null => return Answer::Done(None),
        Value::String(endpoint) => endpoint,
        _ => return Answer::Refused("the receiver's `endpoint` is no text".to_owned()),
    };
    match (Placement { endpoint: Some(endpoint.as_str().into()), ..Placement::default() }).check() {
        Ok(()) => Answer::Done(Some(endpoint.clone())),
        Err(error) => Answer::Refused(format!("the receiver's answer: {error}")),
    }
}

/// Sends a message. For `asks`, the receiver answers 202 until it is ready, and 200 with an endpoint or without.
pub(super) async fn send(app: &App, to: &WebhookFile, message: Message<'_>, asks: bool, now: Timestamp) -> Answer {
    let body = json!({"type": message.kind, "timestamp": now, "data": message.data}).to_string();
    let call = match app.0.alerts.signed(to, &message.id, body, now) {
        Ok(call) => call,
        Err(why) => return Answer::Unsure(why),
    };
    let answered = async {
        let mut response = call.send().await?;
        let status = response.status().as_u16();
        let mut text = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            if text.len() + chunk.len() > ANSWER_MAX_BYTES {
                return Ok((TOO_LONG, text));
            }
            text.extend_from_slice(&chunk);
        }
        Ok::<_, reqwest::Error>((status, text))
    };
    match answered.await {
        Ok((TOO_LONG, _)) => Answer::Refused(format!("the receiver's answer has more than {ANSWER_MAX_BYTES} bytes")),
        Ok((202, _)) if asks => Answer::Later(now.plus_millis(ASK_AGAIN_MS)),
        Ok((200..=299, text)) => {
            let said: Value = serde_json::from_slice(&text).unwrap_or_default();
            if asks { ready(&said["endpoint"]) } else { Answer::Done(None) }
        }
        // There is nothing any more that this could be about.
        Ok((404 | 410, _)) if message.takes_back() => Answer::Done(None),
        Ok((status @ (408 | 425 | 429 | 500..), _)) => Answer::Unsure(format!("the receiver answered {status}")),
        Ok((status, _)) => Answer::Refused(format!("the receiver answered {status}")),
        // Without the address, which may hold a secret.
        Err(error) => Answer::Unsure(error.without_url().to_string()),
    }
}

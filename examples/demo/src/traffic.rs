//! Who asks for what: the same requests in the same order on every run.

use crate::credentials::Issuer;
use serde_json::{Value, json};
use weir_rig::load::Call;

/// One request of the demo.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) caller: Caller,
    /// Its request; the n-th request of a caller is always the same.
    pub(crate) index: usize,
    authorization: Option<String>,
}

/// Who sends a request, as far as the demo knows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Caller {
    /// A tenant with a good credential.
    Tenant(String),
    /// Nobody: the credential is missing, wrong, forged or too old.
    Nobody,
}

/// How many requests each caller sends. The starters' are more than their plan takes at once.
const CALLERS: [(Option<&str>, usize); 5] =
    [(Some("acme"), 180), (Some("globex"), 90), (Some("initech"), 90), (Some("hooli"), 12), (None, 28)];

/// All requests of the demo, those of different callers mixed as evenly as their numbers allow.
pub(crate) fn requests(issuer: &Issuer) -> Vec<Request> {
    let longest = CALLERS.iter().map(|(_, count)| *count).max().unwrap_or_default();
    let due = |round: usize, count: usize| (round * count / longest)..((round + 1) * count / longest);
    (0..longest)
        .flat_map(|round| {
            CALLERS.iter().flat_map(move |(tenant, count)| due(round, *count).map(move |at| (tenant, at)))
        })
        .map(|(tenant, index)| match tenant {
            Some(tenant) => of_tenant(issuer, tenant, index),
            None => of_nobody(issuer, index),
        })
        .collect()
}

impl Request {
    /// The request as it is sent to `gateway` (`http://…`).
    pub(crate) fn call(&self, gateway: &str) -> Call {
        let (path, body) = body(self.index);
        let call = Call::post(format!("{gateway}{path}"), &body);
        match &self.authorization {
            // Claims of a client about itself, which must have no effect.
            Some(value) => call.header("authorization", value).header("x-tenant-id", "somebody-else"),
            None => call,
        }
    }
}

fn of_tenant(issuer: &Issuer, tenant: &str, index: usize) -> Request {
    let credential = match (tenant, index % 2) {
        ("initech", _) | ("acme", 0) => issuer.token(tenant),
        _ => issuer.api_key(tenant),
    };
    Request { caller: Caller::Tenant(tenant.to_owned()), index, authorization: Some(format!("Bearer {credential}")) }
}

fn of_nobody(issuer: &Issuer, index: usize) -> Request {
    let credential = match index % 4 {
        0 => None,
        1 => Some("sk_weir_made_up".to_owned()),
        2 => Some(issuer.forged_token("acme")),
        _ => Some(issuer.expired_token("acme")),
    };
    let authorization = credential.map(|credential| format!("Bearer {credential}"));
    Request { caller: Caller::Nobody, index, authorization }
}

/// Path and body of the n-th request of a caller: every API, whole and streamed, short and long, with cached and reasoning
/// tokens, one choice and two.
fn body(index: usize) -> (&'static str, Value) {
    let text = format!("Question {index}: {}", "how do tides work? ".repeat(1 + index * 7 % 60));
    let chat = |model: &str| json!({"model": model, "messages": [{"role": "user", "content": text.clone()}]});
    let with = |mut body: Value, more: &[(&str, Value)]| {
        more.iter().for_each(|(name, value)| body[*name] = value.clone());
        body
    };
    let stream = ("stream", json!(true));
    let ask = ("stream_options", json!({"include_usage": true}));
    match index % 8 {
        0 => ("/v1/chat/completions", chat("gpt-4o")),
        // The filter asks for the usage that this client does not ask for.
        1 => ("/v1/chat/completions", with(chat("gpt-4o"), &[stream])),
        2 => ("/v1/chat/completions", with(chat("gpt-4o-mini"), &[stream, ask, ("n", json!(2))])),
        3 => ("/v1/messages", with(chat("claude-sonnet-4-5"), &[("max_tokens", json!(128))])),
        4 => ("/v1/messages", with(chat("claude-sonnet-4-5"), &[("max_tokens", json!(128)), stream])),
        5 => ("/v1/embeddings", json!({"model": "text-embedding-3-small", "input": [text, "tides"]})),
        6 => ("/v1/chat/completions", chat("o4-mini")),
        _ => ("/v1/rag/search", json!({"query": text})),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    #[test]
    fn every_request_of_every_caller_is_sent_once() {
        let requests = requests(&Issuer::new(Timestamp::UNIX_EPOCH).unwrap());
        for (tenant, count) in CALLERS {
            let caller = tenant.map_or(Caller::Nobody, |tenant| Caller::Tenant(tenant.to_owned()));
            let mut indices: Vec<usize> =
                requests.iter().filter(|request| request.caller == caller).map(|request| request.index).collect();
            indices.sort_unstable();
            assert_eq!(indices, (0..count).collect::<Vec<_>>());
        }
    }

    #[test]
    fn callers_are_mixed() {
        let requests = requests(&Issuer::new(Timestamp::UNIX_EPOCH).unwrap());
        let first_half = &requests[..requests.len() / 2];
        let of_globex = first_half.iter().filter(|request| request.caller == Caller::Tenant("globex".to_owned()));
        assert!((40..=50).contains(&of_globex.count()));
    }
}

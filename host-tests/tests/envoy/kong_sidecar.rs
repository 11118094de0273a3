//! The shipped files for a Kong without Wasm, as they stand, in the real Envoy: weir before Kong, and behind it.
mod before;
mod behind;
mod kong;

use std::net::SocketAddr;

use serde_json::{Value, json};
use weir_contract::directory::KeyHash;
use weir_rig::envoy::Bootstrap;
use weir_rig::llm::Seen;
use weir_rig::load::Call;
use weir_rig::workspace;

const KEY: &str = "Bearer sk_weir_acme";

/// Identities that a client may forge: another tenant of weir, another consumer of Kong.
const FORGED: [(&str, &str); 8] = [
    ("x-tenant-id", "globex"),
    ("x-tenant-plan", "gold"),
    ("x-request-class", "other"),
    ("x-consumer-custom-id", "globex"),
    ("x-consumer-username", "globex"),
    ("x-credential-identifier", "globex"),
    ("x-forwarded-host", "evil.example.com"),
    ("x-real-ip", "10.1.2.3"),
];

/// A shipped file on free ports, with acme in it on a plan of this much, and events that leave soon.
fn shipped(file: &str, plan: &Value, aggregator: SocketAddr) -> Bootstrap {
    let bootstrap = Bootstrap::from_file(&workspace::root().join("kong/sidecar").join(file)).expect("the shipped file");
    let bootstrap = bootstrap.on_free_ports().cluster("weir", aggregator).expect("the cluster");
    let bootstrap = bootstrap.code(&workspace::weir_wasm().expect("the built module")).expect("a filter");
    let hash = KeyHash::of(b"sk_weir_acme");
    let edit = |config: &mut Value| {
        let config = &mut config["configuration"]["value"];
        config["tenants"] = json!([{"id": "acme", "plan": "p", "keys": [{"id": "key_1", "sha256": hash}]},
                                   {"id": "globex", "plan": "p"}]);
        config["plans"] = json!({"p": plan});
        config["events"]["flush"] = json!("200ms");
    };
    bootstrap.each_wasm_filter(edit).expect("a filter")
}

fn chat(url: &str, stream: bool) -> Call {
    let body = json!({"model": "gpt-4o", "stream": stream, "max_tokens": 1000, "messages": [{"role": "user", "content": "How are you?"}]});
    Call::post(format!("{url}/v1/chat/completions"), &body)
}

fn forged(call: Call) -> Call {
    FORGED.iter().fold(call, |call, (name, value)| call.header(name, value))
}

fn values<'a>(seen: &'a Seen, name: &str) -> Vec<&'a str> {
    seen.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect()
}

fn counted(events: &[Value]) -> Vec<(&str, u64)> {
    let of = |event: &'_ Value| event["data"]["usage"]["output_tokens"].as_u64().unwrap_or_default();
    events.iter().map(|event| (event["subject"].as_str().unwrap_or_default(), of(event))).collect()
}

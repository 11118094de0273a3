//! What became of a case, flat: a path and a text for everything that can be compared.
use std::collections::BTreeMap;

use serde_json::Value;
use weir_host_tests::scenario::{Gateway, Message, secs};

use super::cases::Case;

/// By path, for example `upstream.x-tenant-id` or `event.usage.input_tokens`.
pub(crate) type Record = BTreeMap<String, String>;

/// What differs from one run to the next, wherever it runs.
const VOLATILE: [&str; 3] = ["request_id", "x-request-id", "config_version"];

/// Fields that a gateway adds by itself, and those of its own wire.
const OF_THE_GATEWAY: [&str; 3] = ["x-forwarded-proto", ":authority", "host"];

pub(crate) fn all(gateway: &Gateway, cases: Vec<Case>) -> Vec<(&'static str, Record)> {
    cases.into_iter().map(|case| (case.name, one(gateway, case))).collect()
}

fn one(gateway: &Gateway, case: Case) -> Record {
    let mut record = Record::new();
    let sent = gateway.send(case.request);
    let reply = match case.response {
        Some(response) => sent.upstream(response),
        None => sent.client_gone(),
    };
    note(&mut record, "reached the upstream", reply.reached_upstream());
    note(&mut record, "answered by the filter", reply.is_local());
    if reply.reached_upstream() {
        message(&mut record, "upstream", &reply.upstream_request());
    }
    if let Some(client) = sent.seen_downstream() {
        message(&mut record, "client", &client);
    }
    reply.forget();
    events(&mut record, gateway);
    record
}

fn message(record: &mut Record, side: &str, message: &Message) {
    for (name, _) in message.headers.iter() {
        let is_of = |names: &[&str]| names.iter().any(|known| name.eq_ignore_ascii_case(known));
        if !is_of(&VOLATILE) && !is_of(&OF_THE_GATEWAY) {
            let values: Vec<_> = message.headers.all(name).map(String::from_utf8_lossy).collect();
            note(record, &format!("{side}.{}", name.to_ascii_lowercase()), values.join(", "));
        }
    }
    note(record, &format!("{side} body"), message.text());
}

/// The events of this case. A minute's refusals are reported at its end.
fn events(record: &mut Record, gateway: &Gateway) {
    for _ in 0..3 {
        gateway.run_for(secs(1));
        for call in gateway.calls() {
            for event in call.json().as_array().cloned().unwrap_or_default() {
                if event["type"] == "weir.usage.v1" {
                    note(record, "event subject", &event["subject"]);
                    flatten(record, "event", &event["data"]);
                }
            }
            call.answer(202, r#"{"accepted":1,"rejected":[]}"#);
        }
    }
}

fn flatten(record: &mut Record, path: &str, value: &Value) {
    let Some(fields) = value.as_object() else { return note(record, path, value) };
    for (name, field) in fields.iter().filter(|(name, _)| !VOLATILE.contains(&name.as_str())) {
        flatten(record, &format!("{path}.{name}"), field);
    }
}

fn note(record: &mut Record, path: &str, value: impl ToString) {
    record.insert(path.to_owned(), value.to_string());
}

use super::*;
use crate::event::{Class, Estimate, Event, PaidBy, Routed};
use crate::stage::Stage;
use proptest::prelude::*;
use serde::Serialize;
use std::collections::BTreeMap;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const OUTCOMES: [Outcome; 6] = [
    Outcome::Ok,
    Outcome::ClientError,
    Outcome::UpstreamError,
    Outcome::ClientClosed,
    Outcome::UpstreamReset,
    Outcome::Timeout,
];
const STATUSES: [UsageStatus; 3] = [UsageStatus::Complete, UsageStatus::Estimated, UsageStatus::None];
const METHODS: [EstimateMethod; 5] = [
    EstimateMethod::Provider,
    EstimateMethod::RequestText,
    EstimateMethod::RequestUnread,
    EstimateMethod::AnswerText,
    EstimateMethod::Total,
];
const DECISIONS: [Decision; 2] = [Decision::Admitted, Decision::Observed];

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("JSON")
}

/// An event around this payload, and the JSON around its data.
fn written(payload: PayloadRef<'_>, sequence: Option<Sequence>, subject: Option<&TenantId>) -> (String, String) {
    let source = SourceId::new("gw-1", [0x6f; 16]).expect("a source");
    let time = Timestamp::from_millis(1_795_230_855_926);
    let id = EventId::derive(time, &source, Sequence(7));
    let event = EventRef { id, source: &source, sequence, subject, time, payload };
    let mut out = Vec::new();
    event.write(&mut out).expect("an event");
    let (kind, data) = match payload {
        PayloadRef::Usage(data) => (USAGE_TYPE, json(data)),
        PayloadRef::Refused(data) => (REFUSED_TYPE, json(data)),
        PayloadRef::Source(data) => (SOURCE_TYPE, json(data)),
        PayloadRef::Security(data) => (SECURITY_TYPE, json(data)),
        PayloadRef::Search(data) => (SEARCH_TYPE, json(data)),
        PayloadRef::Attempts(data) => (ATTEMPTS_TYPE, json(data)),
    };
    let sequence = sequence.map_or(String::new(), |sequence| format!("\"sequence\":{},", json(&sequence)));
    let subject = subject.map_or(String::new(), |subject| format!("\"subject\":{},", json(subject)));
    let expected = format!(
        r#"{{"specversion":"1.0","type":"{kind}","id":{},"source":{},{sequence}{subject}"time":{},"datacontenttype":"application/json","data":{data}}}"#,
        json(&id),
        json(&source),
        json(&time)
    );
    (String::from_utf8(out).expect("UTF-8"), expected)
}

proptest! {
    #[test]
    fn an_event_is_written_as_serde_writes_its_parts(
        texts in proptest::collection::vec(".{0,40}", 19), known: [bool; 24], numbers: [u64; 9], status: u16,
        details in proptest::collection::btree_map(".{0,20}", any::<u64>(), 0..4),
        class in 0..Class::ALL.len(), outcome in 0..6_usize, of_usage in 0..3_usize,
        of_method in 0..5_usize,
    ) {
        let text = |at: usize| Text::from(&*texts[at]);
        let some = |at: usize| known[at].then(|| text(at));
        let number = |at: usize| known[at + 11].then_some(numbers[at]);
        let data = UsageData {
            request_id: text(11), response_id: some(0), trace_id: known[1].then(|| text(17)),
            span_id: known[2].then(|| text(18)), credential_id: some(1), idempotency_key_hash: some(2), plan: text(12),
            class: Class::ALL[class], route: some(3), feature: some(4), prompt_version: some(5), environment: some(6),
            user: some(7), provider: some(8), request_model: some(9), response_model: some(10),
            service_tier: known[17].then(|| text(14)), stream: known[18], status, outcome: OUTCOMES[outcome],
            decision: DECISIONS[usize::from(known[19])],
            budget: known[22].then(|| text(15)), flags: known[22].then(|| text(16)), budget_stage: known[23].then_some(Stage::ALL[of_method]),
            paid_by: if known[23] { PaidBy::Tenant } else { PaidBy::House }, config_version: text(13),
            usage: Usage {
                status: STATUSES[of_usage], input_tokens: number(0), output_tokens: number(1), cache_read_tokens: number(2),
                cache_write_tokens: number(3), reasoning_tokens: number(4), details: details.clone(),
                estimate: known[20].then_some(Estimate { input: METHODS[of_method], output: METHODS[4 - of_method] }),
            },
            kept: known[21],
            duration_ms: numbers[5], time_to_first_token_ms: number(6), request_bytes: numbers[7], response_bytes: numbers[8],
            routed: known[0].then(|| Routed {
                chosen: text(1), reason: text(2), served: some(3), attempts: numbers[1], retry_refused: known[2],
                downgraded: known[1],
                dropped: details.keys().map(|model| (model.clone(), texts[4].clone())).collect(),
            }),
        };
        let tenant = TenantId::new("acme").expect("an id");
        let (written, expected) = written(PayloadRef::Usage(&data), Some(Sequence(numbers[0])), Some(&tenant));
        prop_assert_eq!(&written, &expected);
        prop_assert!(Event::parse(written.as_bytes()).is_ok());
    }
}

#[test]
fn the_other_kinds_are_written_as_serde_writes_them() {
    let refused = RefusedData { counts: BTreeMap::from([("rate_limited".to_owned(), 17), ("a \"b\"".to_owned(), 1)]) };
    let (out, expected) = written(PayloadRef::Refused(&refused), Some(Sequence(1)), None);
    assert_eq!(out, expected);
    let source = SourceData { first: 1, last: 9, spilled: 2, refused: 3, closed: true };
    let (out, expected) = written(PayloadRef::Source(&source), None, None);
    assert_eq!(out, expected);
}

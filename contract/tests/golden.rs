//! The golden samples are the contract: a change to them changes what other versions read.
use weir_contract::lease;
use weir_contract::stage::Stage;
use weir_contract::{
    AttemptFailure, Estimate, EstimateMethod, Event, EventId, PaidBy, Payload, SecurityKind, Sequence, Severity,
};

const USAGE: &str = include_str!("../golden/usage.json");
const BUDGET: &str = include_str!("../golden/usage_budget.json");
const OWN_KEY: &str = include_str!("../golden/usage_own_key.json");
const ESTIMATED: &str = include_str!("../golden/usage_estimated.json");
const REFUSED: &str = include_str!("../golden/refused.json");
const SOURCE: &str = include_str!("../golden/source.json");
const SECURITY: &str = include_str!("../golden/security.json");
const SEARCH: &str = include_str!("../golden/search.json");
const ATTEMPTS: &str = include_str!("../golden/attempts.json");

#[test]
fn every_golden_event_is_read_and_written_back_byte_for_byte() {
    for golden in [USAGE, BUDGET, OWN_KEY, ESTIMATED, REFUSED, SOURCE, SECURITY, SEARCH, ATTEMPTS] {
        let golden = golden.trim_end();
        let event = Event::parse(golden.as_bytes()).expect("a golden event");
        let mut written = Vec::new();
        event.write(&mut written).expect("written");
        assert_eq!(String::from_utf8_lossy(&written), golden);
    }
}

#[test]
fn the_golden_usage_holds_the_tokens() {
    let event = Event::parse(USAGE.as_bytes()).expect("a golden event");
    assert_eq!(event.sequence, Some(Sequence(184_467)));
    let Payload::Usage(data) = event.payload else { panic!("not a usage event") };
    assert_eq!((data.usage.input_tokens, data.usage.output_tokens), (Some(812), Some(143)));
    assert_eq!(data.usage.details.get("audio_input_tokens"), Some(&0));
}

#[test]
fn the_golden_event_of_a_budget_says_what_was_asked_what_served_and_why() {
    let event = Event::parse(BUDGET.as_bytes()).expect("a golden event");
    let Payload::Usage(data) = event.payload else { panic!("not a usage event") };
    assert_eq!((data.budget.as_deref(), data.budget_stage), (Some("monthly"), Some(Stage::Degrade)));
    assert_eq!(data.request_model.as_deref(), Some("gpt-4o"));
    assert_eq!(data.response_model.as_deref(), Some("gpt-4o-mini-2024-07-18"));
}

#[test]
fn the_golden_event_of_an_own_key_says_who_paid() {
    let paid_by = |golden: &'static str| match Event::parse(golden.as_bytes()).expect("a golden event").payload {
        Payload::Usage(data) => data.paid_by,
        other => panic!("{other:?}"),
    };
    assert_eq!((paid_by(OWN_KEY), paid_by(USAGE)), (PaidBy::Tenant, PaidBy::House));
}

#[test]
fn the_golden_estimate_says_how_it_was_found() {
    let event = Event::parse(ESTIMATED.as_bytes()).expect("a golden event");
    let Payload::Usage(data) = event.payload else { panic!("not a usage event") };
    let found = Estimate { input: EstimateMethod::RequestText, output: EstimateMethod::AnswerText };
    assert_eq!((data.usage.estimate, data.kept), (Some(found), true));
}

#[test]
fn the_golden_finding_is_as_grave_as_its_kind() {
    let event = Event::parse(SECURITY.as_bytes()).expect("a golden event");
    let Payload::Security(data) = event.payload else { panic!("not a security event") };
    assert_eq!((data.findings[0].kind, data.findings[0].severity), (SecurityKind::ForeignRecord, Severity::Critical));
    assert_eq!(data.findings[0].kind.severity(), Severity::Critical);
}

#[test]
fn the_golden_attempts_say_how_they_failed_and_which_breaker_is_open() {
    let event = Event::parse(ATTEMPTS.as_bytes()).expect("a golden event");
    let Payload::Attempts(data) = event.payload else { panic!("not about attempts") };
    assert_eq!(event.subject, None);
    assert_eq!(data.models[0].failed.get(&AttemptFailure::Overloaded), Some(&5));
    assert_eq!([data.models[0].retries_refused, data.models[1].retries_refused], [2, 0]);
    assert_eq!(
        data.models[0].last_failure.map(|last| (last.reason, last.status)),
        Some((AttemptFailure::Overloaded, Some(529)))
    );
    assert_eq!(data.breakers.iter().map(|breaker| breaker.open_until.is_some()).collect::<Vec<_>>(), [true, false]);
    for failure in AttemptFailure::ALL {
        assert_eq!(serde_json::to_string(&failure).expect("JSON"), format!("{:?}", failure.as_str()));
    }
}

#[test]
fn the_golden_leases_are_read_and_written_back_byte_for_byte() {
    fn again<T: serde::Serialize + serde::de::DeserializeOwned>(golden: &str) {
        let value: T = serde_json::from_str(golden).expect("a golden message");
        assert_eq!(serde_json::to_string(&value).expect("written"), golden.trim_end());
    }
    again::<lease::Call>(include_str!("../golden/lease_call.json"));
    again::<lease::Answer>(include_str!("../golden/lease_answer.json"));
    again::<lease::DrawCall>(include_str!("../golden/lease_draw.json"));
    again::<lease::DrawAnswer>(include_str!("../golden/lease_draw_answer.json"));
}

#[test]
fn fields_of_later_versions_are_passed_over() {
    let later = USAGE
        .replace(r#""plan":"#, r#""of_the_future":{"x":[1]},"plan":"#)
        .replace(r#""time":"#, r#""traceparent":"00-1","time":"#);
    assert!(Event::parse(later.as_bytes()).is_ok());
}

#[test]
fn what_is_no_event_says_why() {
    let cases = [
        (USAGE.replace("\"1.0\"", "\"0.3\""), "specversion"),
        (USAGE.replace("weir.usage.v1", "weir.usage.v9"), "weir.usage.v9"),
        (USAGE.replace("\"subject\":\"acme\",", ""), "subject"),
        (USAGE.replace("\"sequence\":\"00000000000000184467\",", ""), "sequence"),
        (USAGE.replace("00000000000000184467", "184467"), "20 digits"),
        (USAGE.replace("acme", "ac me"), "tenant id"),
        (USAGE.replace("2026-11-21T03:14:15.926Z", "noon"), "RFC 3339"),
        (USAGE.replace("\"input_tokens\":812", "\"input_tokens\":-1"), "-1"),
        (USAGE.replace("\"input_tokens\":812", "\"input_tokens\":1.5"), "1.5"),
        ("[]".to_owned(), "invalid length"),
    ];
    for (json, needle) in cases {
        let error = Event::parse(json.as_bytes()).map(|_| ()).expect_err(needle);
        let text = error.to_string();
        assert!(text.contains(needle), "{needle}: {text}");
    }
}

#[test]
fn every_golden_id_follows_from_time_source_and_number() {
    for golden in [USAGE, REFUSED, SECURITY, SEARCH, ATTEMPTS] {
        let event = Event::parse(golden.as_bytes()).expect("a golden event");
        let sequence = event.sequence.expect("numbered");
        assert_eq!(event.id, EventId::derive(event.time, &event.source, sequence), "of {golden}");
    }
}

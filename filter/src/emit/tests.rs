use super::queue::{BACKLOG_BYTES, BACKLOG_EVENTS, BATCH_BYTES};
use super::*;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;
use weir_contract::{Event, Text, Usage};

const START: Timestamp = Timestamp::from_secs(1_800_000_000);

fn destination(queue_max_events: usize, key: Option<&str>) -> Rc<Destination> {
    Rc::new(Destination {
        cluster: "weir".into(),
        path: "/v1/events".into(),
        authority: "weir".into(),
        authorization: "Bearer t".into(),
        flush_ms: 1_000,
        timeout_ms: 5_000,
        queue_max_events,
        queue_max_bytes: 1 << 20,
        queue_max_age_ms: 600_000,
        signing_key: key.map(|key| weir_contract::signed::SigningKey::new(key.as_bytes()).expect("a key")),
        access_log: false,
    })
}

fn emitter() -> Emitter {
    Emitter::new(SourceId::new("gw", [7; 16]).expect("a source"), 1, START)
}

fn push(emitter: &mut Emitter, destination: &Rc<Destination>) -> Pushed {
    let data = UsageData { request_id: Text::from("r"), usage: Usage::default(), ..UsageData::default() };
    emitter.usage(destination, &TenantId::new("acme").expect("an id"), START, &data).pushed
}

fn sequences(dispatch: &Dispatch) -> Vec<u64> {
    let events: Vec<serde_json::Value> = serde_json::from_slice(&dispatch.body).expect("a batch");
    events.iter().filter_map(|event| event["sequence"].as_str()?.parse().ok()).collect()
}

fn status(status: u16) -> Answer<'static> {
    Answer::Status { status, retry_after_secs: None, body: b"{\"accepted\":1}" }
}

fn after(ms: u64) -> Timestamp {
    START.plus_millis(ms)
}

#[test]
fn events_are_numbered_without_a_gap_and_leave_together_when_the_first_has_waited() {
    let (mut emitter, destination) = (emitter(), destination(10, None));
    for _ in 0..3 {
        assert_eq!(push(&mut emitter, &destination), Pushed::Queued);
    }
    assert!(emitter.dispatch(after(999)).is_none());
    let batch = emitter.dispatch(after(1_000)).expect("due");
    assert_eq!(sequences(&batch), [1, 2, 3]);
    assert_eq!(emitter.pending(), 3, "kept until acknowledged");
    assert!(emitter.answered(batch.batch, &status(202), after(1_001)).is_empty());
    assert_eq!((emitter.pending(), emitter.counters().acknowledged), (0, 3));
}

#[test]
fn batches_are_small_until_a_backlog_waits() {
    let (mut emitter, mut destination) = (emitter(), destination(usize::MAX, None));
    Rc::get_mut(&mut destination).expect("nobody else has it").queue_max_bytes = usize::MAX;
    for _ in 0..=BACKLOG_EVENTS {
        push(&mut emitter, &destination);
    }
    let large = emitter.dispatch(after(0)).expect("due").body.len();
    assert!(large > BATCH_BYTES && large <= BACKLOG_BYTES + 1, "{large}");
    let small = emitter.dispatch(after(0)).expect("due").body.len();
    assert!(small > BATCH_BYTES / 2 && small <= BATCH_BYTES + 1, "{small}");
}

#[test]
fn a_failed_batch_is_sent_again_after_a_pause_that_grows() {
    let (mut emitter, destination) = (emitter(), destination(10, None));
    push(&mut emitter, &destination);
    let mut now = after(1_000);
    for pause in [500, 1_000, 2_000] {
        let batch = emitter.dispatch(now).expect("due");
        emitter.answered(batch.batch, &Answer::Nothing, now);
        assert!(emitter.dispatch(now.plus_millis(pause / 2 - 1)).is_none(), "too soon after {pause}");
        now = now.plus_millis(pause);
    }
    let batch = emitter.dispatch(now).expect("due");
    assert_eq!(sequences(&batch), [1]);
    assert_eq!(emitter.counters().retried, 3);
}

#[test]
fn retry_after_is_honoured() {
    let (mut emitter, destination) = (emitter(), destination(10, None));
    push(&mut emitter, &destination);
    let batch = emitter.dispatch(after(1_000)).expect("due");
    let answer = Answer::Status { status: 503, retry_after_secs: Some(20), body: b"" };
    emitter.answered(batch.batch, &answer, after(1_000));
    assert!(emitter.dispatch(after(20_999)).is_none());
    assert!(emitter.dispatch(after(21_000)).is_some());
}

#[test]
fn at_the_bound_an_event_leaves_whole_as_a_signed_line() {
    let key = "a signing key of at least 32 bytes";
    let (mut emitter, destination) = (emitter(), destination(1, Some(key)));
    assert_eq!(push(&mut emitter, &destination), Pushed::Queued);
    let Pushed::Spilled(line) = push(&mut emitter, &destination) else { panic!("not spilled") };
    let opened = weir_contract::signed::SigningKey::new(key.as_bytes()).expect("a key").open(&line).expect("ours");
    assert_eq!(Event::parse(&opened).expect("an event").sequence, Some(Sequence(2)));
    assert_eq!(emitter.counters().spilled, 1);
}

#[test]
fn without_a_signing_key_what_finds_no_room_is_counted_as_lost() {
    let (mut emitter, destination) = (emitter(), destination(1, None));
    push(&mut emitter, &destination);
    assert_eq!(push(&mut emitter, &destination), Pushed::Lost);
    assert_eq!((emitter.counters().numbered, emitter.counters().lost), (2, 1));
}

#[test]
fn an_event_refused_for_good_is_handed_back_and_the_others_are_acknowledged() {
    let (mut emitter, destination) = (emitter(), destination(10, None));
    push(&mut emitter, &destination);
    push(&mut emitter, &destination);
    let batch = emitter.dispatch(after(1_000)).expect("due");
    let body = br#"{"accepted":1,"rejected":[{"index":1,"reason":"too old"}]}"#;
    let answer = Answer::Status { status: 202, retry_after_secs: None, body };
    let returned = emitter.answered(batch.batch, &answer, after(1_000));
    assert_eq!(returned.iter().map(|r| r.reason.as_str()).collect::<Vec<_>>(), ["too old"]);
    assert_eq!((emitter.pending(), emitter.counters().acknowledged, emitter.counters().refused), (0, 1, 1));
}

#[test]
fn a_refused_batch_is_halved_until_the_event_to_blame_is_alone() {
    let (mut emitter, destination) = (emitter(), destination(10, None));
    for _ in 0..4 {
        push(&mut emitter, &destination);
    }
    let (mut returned, mut calls) = (Vec::new(), 0);
    while let Some(batch) = emitter.dispatch(after(1_000)) {
        let bad = sequences(&batch).contains(&3);
        returned.extend(emitter.answered(batch.batch, &status(if bad { 400 } else { 202 }), after(1_000)));
        calls += 1;
        assert!(calls < 20, "it ends");
    }
    assert_eq!((returned.len(), emitter.counters().acknowledged, emitter.pending()), (1, 3, 0));
}

#[test]
fn an_answer_that_comes_twice_counts_once() {
    let (mut emitter, destination) = (emitter(), destination(10, None));
    push(&mut emitter, &destination);
    let batch = emitter.dispatch(after(1_000)).expect("due");
    emitter.answered(batch.batch, &status(202), after(1_000));
    emitter.answered(batch.batch, &status(500), after(1_000));
    assert_eq!((emitter.pending(), emitter.counters().acknowledged), (0, 1));
    assert!(emitter.dispatch(after(9_000)).is_none());
}

#[test]
fn a_source_announces_its_last_number_also_when_nothing_happens() {
    let (mut emitter, destination) = (emitter(), destination(10, None));
    push(&mut emitter, &destination);
    let batch = emitter.dispatch(after(1_000)).expect("due");
    emitter.answered(batch.batch, &status(202), after(1_000));
    emitter.tick(after(ANNOUNCE_EVERY_MS));
    let batch = emitter.dispatch(after(ANNOUNCE_EVERY_MS + 1_000)).expect("an announcement");
    let events: Vec<serde_json::Value> = serde_json::from_slice(&batch.body).expect("a batch");
    assert_eq!((&events[0]["type"], &events[0]["data"]["last"]), (&"weir.source.v1".into(), &1.into()));
    assert_eq!(events[0].get("sequence"), None, "it takes no number");
}

#[test]
fn refusals_leave_as_one_event_a_minute_and_tenant() {
    let (mut emitter, destination) = (emitter(), destination(10, None));
    let acme = TenantId::new("acme").expect("an id");
    for _ in 0..5 {
        emitter.refusal(Some(&destination), Some(&acme), "rate_limited", START);
    }
    emitter.refusal(Some(&destination), None, "invalid_credential", START);
    assert!(emitter.tick(after(59_000)).is_empty());
    assert_eq!(emitter.tick(after(60_000)), [Pushed::Queued, Pushed::Queued]);
    let batch = emitter.dispatch(after(61_000)).expect("due");
    let events: Vec<serde_json::Value> = serde_json::from_slice(&batch.body).expect("a batch");
    let counts = |subject: Option<&str>| {
        let of =
            |event: &&serde_json::Value| event["data"].get("counts").is_some() && event["subject"].as_str() == subject;
        events.iter().find(of).map(|event| event["data"]["counts"].clone())
    };
    assert_eq!(counts(Some("acme")), Some(serde_json::json!({"rate_limited": 5})));
    assert_eq!(counts(None), Some(serde_json::json!({"invalid_credential": 1})));
}

#[test]
fn what_has_waited_too_long_leaves_as_a_signed_line_and_without_a_key_it_waits_on() {
    for key in [Some("a signing key of at least 32 bytes"), None] {
        let (mut emitter, destination) = (emitter(), destination(10, key));
        push(&mut emitter, &destination);
        let batch = emitter.dispatch(after(1_000)).expect("due");
        emitter.answered(batch.batch, &Answer::Nothing, after(1_000));
        assert_eq!(emitter.tick(after(599_999)), []);
        let spilled = emitter.tick(after(600_000));
        assert_eq!(spilled.iter().any(|pushed| matches!(pushed, Pushed::Spilled(_))), key.is_some(), "{spilled:?}");
        assert_eq!((emitter.pending() == 0, emitter.counters().spilled == 1), (key.is_some(), key.is_some()));
        assert_eq!(emitter.counters().lost, 0);
    }
}

#[test]
fn a_flush_takes_the_refusals_of_the_minute_so_far_along() {
    let (mut emitter, destination) = (emitter(), destination(10, None));
    let acme = TenantId::new("acme").expect("an id");
    emitter.refusal(Some(&destination), Some(&acme), "rate_limited", START);
    assert_eq!(emitter.flush(after(100)), [Pushed::Queued]);
    let batch = emitter.dispatch(after(100)).expect("at once");
    let events: Vec<serde_json::Value> = serde_json::from_slice(&batch.body).expect("a batch");
    assert_eq!(events[0]["data"]["counts"], serde_json::json!({"rate_limited": 1}));
    assert_eq!(emitter.tick(after(70_000)), [], "they are told once");
}

#[test]
fn the_same_event_is_left_for_the_access_log_where_that_is_wanted() {
    let key = "a signing key of at least 32 bytes";
    let (mut emitter, queued) = (emitter(), destination(10, Some(key)));
    let mut spooled = Rc::into_inner(destination(10, Some(key))).expect("one");
    spooled.access_log = true;
    let data = || UsageData { request_id: Text::from("r"), ..UsageData::default() };
    let acme = || TenantId::new("acme").expect("an id");
    assert_eq!(emitter.usage(&queued, &acme(), START, &data()).spool, None);
    let made = emitter.usage(&Rc::new(spooled), &acme(), START, &data());
    let key = weir_contract::signed::SigningKey::new(key.as_bytes()).expect("a key");
    let opened = key.open(&made.spool.expect("a word")).expect("ours");
    assert_eq!((Event::parse(&opened).expect("an event").sequence, made.pushed), (Some(Sequence(2)), Pushed::Queued));
}

#[test]
fn a_success_acknowledges_by_the_aggregators_words_or_by_none() {
    let answer = serde_json::to_vec(&weir_contract::batch::BatchAnswer::default()).expect("JSON");
    assert!(queue::acknowledges(&answer) && queue::acknowledges(&answer[..12]) && queue::acknowledges(b" \n"));
    assert!(!queue::acknowledges(b"<html>") && !queue::acknowledges(b"{}") && !queue::acknowledges(b"OK"));
}

//! Whatever the texts of an admitted event hold, the ledger counts it and goes on: a database that refused one would stop the ledger for good.
use std::collections::BTreeMap;

use weir_contract::{
    Event, EventId, Payload, RefusedData, Sequence, SourceId, TenantId, Timestamp, Usage, UsageData, UsageStatus,
};
use weir_database::testing::place;
use weir_event_log::Record;
use weir_ledger::SqliteLedger;
use weir_ledger::meters::{self, Meters};
use weir_ledger::query::LedgerReader;
use weir_ledger::validate::Format;
use weir_ledger::view::UsageQuery;

const NOON: Timestamp = Timestamp::from_millis(1_795_262_400_000);

fn event(sequence: u64, payload: Payload<'_>) -> String {
    let source = SourceId::new("gw-1", [7; 16]).expect("a source");
    let event = Event {
        id: EventId::derive(NOON, &source, Sequence(sequence)),
        source,
        sequence: Some(Sequence(sequence)),
        subject: TenantId::new("acme").ok(),
        time: NOON,
        payload,
    };
    let mut out = Vec::new();
    event.write(&mut out).expect("written");
    String::from_utf8(out).expect("text")
}

/// An event of ten tokens in, with a text for every field that a client or a provider may choose.
fn usage(sequence: u64, text: &str, kept: bool) -> String {
    let usage = Usage { status: UsageStatus::Complete, input_tokens: Some(10), ..Usage::default() };
    let some = || Some(text.to_owned().into());
    let data = UsageData {
        request_id: text.to_owned().into(),
        response_id: some(),
        plan: text.to_owned().into(),
        route: some(),
        feature: some(),
        prompt_version: some(),
        user: some(),
        environment: some(),
        provider: some(),
        service_tier: some(),
        idempotency_key_hash: some(),
        request_model: some(),
        response_model: some(),
        credential_id: some(),
        status: 200,
        config_version: "c".into(),
        usage,
        kept,
        ..UsageData::default()
    };
    event(sequence, Payload::Usage(Box::new(data)))
}

/// A text that no compression makes short.
fn long(bytes: usize) -> String {
    let mut state = 17_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'!' + u8::try_from((state >> 33) % 90).expect("small"))
    };
    (0..bytes).map(|_| next()).filter(|c| !matches!(c, '"' | '\\')).collect()
}

fn refused(sequence: u64, reasons: &[&str]) -> String {
    let counts: BTreeMap<String, u64> = reasons.iter().map(|reason| ((*reason).to_owned(), 3)).collect();
    event(sequence, Payload::Refused(RefusedData { counts }))
}

#[test]
fn every_admitted_event_is_counted_whatever_its_texts_hold() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("ledger.sqlite");
    let meters = Meters::new(meters::defaults(), Vec::new()).expect("good meters");
    let mut ledger = SqliteLedger::open(place(&path), "a log", meters).expect("a ledger");
    let long = long(4_500);
    let batches = [
        vec![usage(1, &long, true), usage(2, "a\0b", true), usage(3, "a\u{2400}b", false), usage(4, "", true)],
        vec![usage(5, &long, true), usage(6, "a\0b", false), usage(7, "\u{10ffff}\u{7f}\u{85}", true)],
        vec![refused(8, &["x\0", "x\u{2400}", &"r".repeat(64)]), refused(9, &["x\0"])],
    ];
    let mut counted = 0;
    for (position, events) in (1..).zip(&batches) {
        let record = Record {
            position,
            follows: position - 1,
            received_at: NOON,
            format: Format::Batch,
            gateway: None,
            forgotten_before: 0,
            body: format!("[{}]", events.join(",")).into_bytes(),
        };
        counted += ledger.apply(&[record]).expect("applied").counted;
    }
    assert_eq!(counted, 9);
    let view = LedgerReader::open(place(&path)).expect("a reader").usage(&UsageQuery::default()).expect("usage");
    let of = |meter: &str| -> u64 {
        let rows = view.usage.iter().filter(|row| row.meter == meter);
        rows.map(|row| row.billable).sum()
    };
    assert_eq!((of("requests"), of("input_tokens")), (7, 60), "the long answer was read twice and counts once");
    assert_eq!(view.refused.iter().map(|row| row.count).sum::<u64>(), 12);
}

//! An answer that a provider keeps is counted once for a tenant, whoever reads it, however often.
use weir_contract::{Event, EventId, Payload, Sequence, SourceId, TenantId, Timestamp, Usage, UsageData, UsageStatus};
use weir_database::testing::place;
use weir_event_log::Record;
use weir_ledger::SqliteLedger;
use weir_ledger::meters::{self, Meters};
use weir_ledger::query::LedgerReader;
use weir_ledger::validate::Format;
use weir_ledger::view::UsageQuery;

const NOON: Timestamp = Timestamp::from_millis(1_795_262_400_000);

/// An event of ten tokens in and five out.
fn event(tenant: &str, sequence: u64, response_id: &str, kept: bool) -> String {
    let source = SourceId::new("gw-1", [7; 16]).expect("a source");
    let usage =
        Usage { status: UsageStatus::Complete, input_tokens: Some(10), output_tokens: Some(5), ..Usage::default() };
    let data = UsageData {
        request_id: "r".into(),
        response_id: Some(response_id.into()),
        plan: "starter".into(),
        status: 200,
        config_version: "c".into(),
        usage,
        kept,
        ..UsageData::default()
    };
    let event = Event {
        id: EventId::derive(NOON, &source, Sequence(sequence)),
        source,
        sequence: Some(Sequence(sequence)),
        subject: TenantId::new(tenant).ok(),
        time: NOON,
        payload: Payload::Usage(Box::new(data)),
    };
    let mut out = Vec::new();
    event.write(&mut out).expect("written");
    String::from_utf8(out).expect("text")
}

#[test]
fn a_kept_answer_counts_once_for_a_tenant_and_every_other_each_time() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("ledger.sqlite");
    let meters = Meters::new(meters::defaults(), Vec::new()).expect("good meters");
    let mut ledger = SqliteLedger::open(place(&path), "a log", meters).expect("a ledger");
    let batches = [
        [event("acme", 1, "resp_1", true), event("acme", 2, "resp_1", true)],
        [event("acme", 3, "resp_1", true), event("globex", 4, "resp_1", true)],
        [event("acme", 5, "resp_2", true), event("globex", 6, "chatcmpl-1", false)],
        [event("globex", 7, "chatcmpl-1", false), event("globex", 8, "chatcmpl-1", false)],
    ];
    for (position, events) in (1..).zip(&batches) {
        let body = format!("[{}]", events.join(",")).into_bytes();
        let record = Record {
            position,
            follows: position - 1,
            received_at: NOON,
            format: Format::Batch,
            gateway: None,
            forgotten_before: 0,
            body,
        };
        assert_eq!(ledger.apply(&[record]).expect("applied").counted, 2);
    }
    let usage = LedgerReader::open(place(&path)).expect("a reader").usage(&UsageQuery::default()).expect("usage").usage;
    let of = |tenant: &str, meter: &str| -> i64 {
        let rows = usage.iter().filter(|row| row.tenant == tenant && row.meter == meter);
        rows.map(|row| i64::try_from(row.billable).expect("a small number")).sum()
    };
    assert_eq!((of("acme", "input_tokens"), of("acme", "requests")), (20, 4), "two answers, read four times");
    assert_eq!((of("globex", "input_tokens"), of("globex", "requests")), (40, 4), "one kept answer, three others");
}

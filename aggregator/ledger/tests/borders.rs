//! Findings about the borders between tenants and searches of vector stores are kept, listed and dropped when their time is over.
use weir_contract::{
    Event, EventId, Payload, SearchData, SecurityData, SecurityFinding, SecurityKind, SecuritySample, Sequence,
    Severity, SourceId, TenantId, Timestamp,
};
use weir_database::testing::place;
use weir_event_log::Record;
use weir_ledger::SqliteLedger;
use weir_ledger::meters::{self, Meters};
use weir_ledger::query::LedgerReader;
use weir_ledger::validate::Format;
use weir_ledger::view::SecurityQuery;

const NOON: Timestamp = Timestamp::from_millis(1_795_262_400_000);

fn event(sequence: u64, tenant: Option<&str>, payload: Payload<'_>) -> String {
    let source = SourceId::new("gw-1", [7; 16]).expect("a source");
    let event = Event {
        id: EventId::derive(NOON, &source, Sequence(sequence)),
        source,
        sequence: Some(Sequence(sequence)),
        subject: tenant.and_then(|tenant| TenantId::new(tenant).ok()),
        time: NOON,
        payload,
    };
    let mut out = Vec::new();
    event.write(&mut out).expect("written");
    String::from_utf8(out).expect("text")
}

fn finding(kind: SecurityKind, severity: Severity) -> Payload<'static> {
    let finding = SecurityFinding {
        kind,
        severity,
        operation: "points.search".to_owned(),
        route: Some("vectors".to_owned()),
        count: 2,
        owners: vec!["globex".to_owned()],
        samples: vec![SecuritySample { at: NOON, request_id: "r-1".to_owned() }],
    };
    Payload::Security(SecurityData { findings: vec![finding] })
}

fn search(results: u64) -> Payload<'static> {
    Payload::Search(Box::new(SearchData {
        request_id: "r-2".to_owned(),
        store: "qdrant".to_owned(),
        collection: "docs".to_owned(),
        operation: "points.search".to_owned(),
        status: 200,
        results,
        removed: [("globex".to_owned(), 1)].into(),
    }))
}

/// A ledger that has counted these events.
fn ledger(dir: &tempfile::TempDir, events: &[String]) -> SqliteLedger {
    let meters = Meters::new(meters::defaults(), Vec::new()).expect("good meters");
    let mut ledger = SqliteLedger::open(place(&dir.path().join("l")), "a log", meters).expect("a ledger");
    let record = Record {
        position: 1,
        follows: 0,
        received_at: NOON,
        format: Format::Batch,
        gateway: None,
        forgotten_before: 0,
        body: format!("[{}]", events.join(",")).into_bytes(),
    };
    ledger.apply(&[record]).expect("applied");
    ledger
}

#[test]
fn what_a_sender_understates_is_as_grave_as_its_kind() {
    let dir = tempfile::tempdir().expect("a directory");
    let events = [
        event(1, Some("acme"), finding(SecurityKind::ForeignRecord, Severity::Info)),
        event(2, None, finding(SecurityKind::SpoofedHeader, Severity::Warning)),
    ];
    drop(ledger(&dir, &events));
    let mut reader = LedgerReader::open(place(&dir.path().join("l"))).expect("a reader");
    let rows = reader.findings(&SecurityQuery::default()).expect("rows");
    let shown: Vec<_> = rows.iter().map(|row| (&*row.tenant, &*row.kind, &*row.severity, row.count)).collect();
    assert_eq!(shown, [("", "spoofed_header", "warning", 2), ("acme", "foreign_record", "critical", 2)]);
    assert_eq!((&*rows[1].owners[0], &*rows[1].samples[0].request_id), ("globex", "r-1"));
    let of_acme = SecurityQuery { tenant: Some("acme".to_owned()), ..SecurityQuery::default() };
    assert_eq!(reader.findings(&of_acme).expect("rows").len(), 1);
    assert_eq!(reader.totals().expect("totals").security["foreign_record"], 2);
}

#[test]
fn searches_are_listed_by_tenant_and_expire_apart_from_findings() {
    let dir = tempfile::tempdir().expect("a directory");
    let events = [
        event(1, Some("acme"), search(3)),
        event(2, Some("globex"), search(5)),
        event(3, Some("acme"), finding(SecurityKind::ForeignId, Severity::Warning)),
    ];
    let mut ledger = ledger(&dir, &events);
    let mut reader = LedgerReader::open(place(&dir.path().join("l"))).expect("a reader");
    let of_acme = SecurityQuery { tenant: Some("acme".to_owned()), from: Some(NOON), to: None };
    let rows = reader.searches(&of_acme).expect("rows");
    assert_eq!((rows.len(), rows[0].results, rows[0].removed["globex"]), (1, 3, 1));
    let later = NOON.plus_millis(1);
    assert_eq!(ledger.expire_audit(NOON, later).expect("expired"), 2);
    assert_eq!(ledger.expire_audit(NOON, later).expect("expired"), 0);
    assert_eq!(reader.searches(&SecurityQuery::default()).expect("rows"), []);
    assert_eq!(reader.findings(&SecurityQuery::default()).expect("rows").len(), 1);
}

#[test]
fn an_event_beyond_the_bounds_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let Payload::Security(mut data) = finding(SecurityKind::ForeignId, Severity::Warning) else { panic!("another") };
    data.findings[0].operation = "x".repeat(129);
    let events = [event(1, Some("acme"), Payload::Security(data)), event(2, Some("acme"), search(u64::MAX))];
    drop(ledger(&dir, &events));
    let mut reader = LedgerReader::open(place(&dir.path().join("l"))).expect("a reader");
    assert_eq!(reader.totals().expect("totals").quarantine["value"], 2);
    assert_eq!(reader.findings(&SecurityQuery::default()).expect("rows"), []);
}

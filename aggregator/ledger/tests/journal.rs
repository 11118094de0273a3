//! SQLite's write-ahead log stays small, whoever writes.
use std::path::Path;
use std::time::Duration;

use weir_contract::Timestamp;
use weir_database::Place;
use weir_ledger::SqliteLedger;
use weir_ledger::meters::{Meters, defaults};

/// What no event causes: rows of the audit.
fn act(ledger: &mut SqliteLedger) {
    for _ in 0..50 {
        ledger.audit(Timestamp::default(), "Ada", "settle", "a reason").expect("written");
    }
}

fn size(path: &Path) -> u64 {
    std::fs::metadata(path.with_extension("sqlite-wal")).expect("a write-ahead log").len()
}

#[test]
fn what_no_event_causes_does_not_gather_in_the_write_ahead_log() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("ledger.sqlite");
    let meters = Meters::new(defaults(), Vec::new()).expect("good meters");
    let mut ledger = SqliteLedger::open(Place::Sqlite(path.clone()), "log", meters).expect("a ledger");
    let minute = |number: u64| Duration::from_secs(61 * number);
    act(&mut ledger);
    let first = size(&path);
    act(&mut ledger);
    assert!(size(&path) > first, "nobody has moved it");
    let most = size(&path);
    for number in 1..=5 {
        ledger.checkpoint(minute(number)).expect("moved");
        act(&mut ledger);
        assert!(size(&path) <= most, "minute {number}: {} bytes, {most} before", size(&path));
    }
}

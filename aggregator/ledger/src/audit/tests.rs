use std::path::Path;

use weir_database::testing::place;
use weir_event_log::Record;

use super::*;
use crate::meters::{self, Meters};
use crate::validate::Format;

const ANN: &str = "hmac:00000000000000000000000000000a11";
const BOB: &str = "hmac:00000000000000000000000000000b0b";
const NOBODY: &str = "hmac:00000000000000000000000000000000";

fn ledger(path: &Path) -> SqliteLedger {
    let meters = Meters::new(meters::defaults(), Vec::new()).expect("good meters");
    SqliteLedger::open(place(path), "a log", meters).expect("a ledger")
}

/// A record of events that no gateway sends, each of a user.
fn record(position: u64, users: &[&str]) -> Record {
    let events: Vec<String> = users.iter().map(|user| format!(r#"{{"user":"{user}"}}"#)).collect();
    Record {
        position,
        follows: position - 1,
        received_at: Timestamp::from_secs(1_795_867_200),
        format: Format::Batch,
        gateway: None,
        forgotten_before: 0,
        body: format!("[{}]", events.join(",")).into_bytes(),
    }
}

/// A refused event: position, item, how often it came, whether it was dropped, and its bytes.
type Refused = (u64, u64, u64, bool, Vec<u8>);

/// The refused events with their places, and the running totals of them.
fn kept(ledger: &SqliteLedger) -> (Vec<Refused>, Vec<(String, i64)>) {
    let sql = "SELECT position, item, times, dropped, body FROM quarantine ORDER BY position, item";
    let mut select = ledger.db.prepare(sql).expect("a statement");
    let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?)));
    let events = rows.expect("rows").collect::<Result<_, _>>().expect("events");
    let sql = "SELECT kind || ' ' || key, value FROM total WHERE kind IN ('refused', 'quarantine') ORDER BY 1";
    let mut select = ledger.db.prepare(sql).expect("a statement");
    let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
    (events, rows.expect("rows").collect::<Result<_, _>>().expect("totals"))
}

#[test]
fn refused_events_that_differ_in_a_forgotten_user_alone_are_one_as_in_a_ledger_that_counts_the_log_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut lived = ledger(&dir.path().join("lived.sqlite"));
    lived
        .apply(&[record(1, &[BOB]), record(2, &[ANN, "hmac:00000000000000000000000000000c0c"]), record(3, &[NOBODY])])
        .expect("counted");
    assert_eq!(kept(&lived).0.len(), 4);
    assert_eq!(lived.forget_users(&Users::new([ANN, BOB])).expect("forgotten"), 2);
    let mut again = ledger(&dir.path().join("again.sqlite"));
    again
        .apply(&[
            record(1, &[NOBODY]),
            record(2, &[NOBODY, "hmac:00000000000000000000000000000c0c"]),
            record(3, &[NOBODY]),
        ])
        .expect("counted");
    assert_eq!(kept(&lived), kept(&again));
    let (events, totals) = kept(&lived);
    assert_eq!(
        events.iter().map(|(position, item, times, ..)| (*position, *item, *times)).collect::<Vec<_>>(),
        [(1, 0, 3), (2, 1, 1)]
    );
    assert!(totals.contains(&("quarantine events".to_owned(), 2)), "{totals:?}");
}

#[test]
fn a_refused_event_that_nobody_let_go_stays_told_when_another_one_becomes_the_same() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut ledger = ledger(&dir.path().join("ledger.sqlite"));
    ledger.apply(&[record(1, &[ANN])]).expect("counted");
    let (query, now) = (crate::view::QuarantineQuery::default(), Timestamp::from_secs(1_795_867_200));
    assert_eq!(ledger.drop_refused(&query, "seen", "ann", now).expect("dropped"), 1);
    ledger.apply(&[record(2, &[BOB])]).expect("counted");
    ledger.forget_users(&Users::new([ANN, BOB])).expect("forgotten");
    let (events, totals) = kept(&ledger);
    assert_eq!(events, [(1, 0, 2, false, format!(r#"{{"user":"{NOBODY}"}}"#).into_bytes())]);
    let told = totals.iter().find(|(name, _)| name.starts_with("refused")).map(|(_, told)| *told);
    assert_eq!(told, Some(1), "{totals:?}");
}

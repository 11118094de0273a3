//! The ledger counts every event once.
use tempfile::TempDir;
use weir_contract::{Outcome, Timestamp, UsageStatus};
use weir_event_log::Record;
use weir_ledger::analysis::{COMBINATIONS_MAX, OTHER};
use weir_ledger::meters::{self, Meters};
use weir_ledger::quarantine::EVENTS_MAX;
use weir_ledger::query::LedgerReader;
use weir_ledger::sources::{LEAP_MAX, SOURCES_MAX};
use weir_ledger::validate::{Format, NUMBER_MAX};
use weir_ledger::view::{AnalysisQuery, LedgerView, UsageQuery, UsageRow, UsageView};
use weir_ledger::{Applied, LedgerError, SqliteLedger};

use super::events::{Worker, batch, noon};

const LOG: &str = "a log";

struct Books {
    dir: TempDir,
    ledger: SqliteLedger,
    now: Timestamp,
}

impl Books {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let ledger = open(&dir, meters());
        Books { dir, ledger, now: noon() }
    }

    /// Passes one more record to the ledger.
    fn take(&mut self, events: &[Vec<u8>]) -> Applied {
        let record = self.record(events);
        self.ledger.apply(&[record]).expect("applied")
    }

    fn record(&self, events: &[Vec<u8>]) -> Record {
        Record {
            position: self.ledger.position() + 1,
            follows: self.ledger.position(),
            received_at: self.now,
            format: Format::Batch,
            gateway: None,
            forgotten_before: 0,
            body: batch(events),
        }
    }

    fn reader(&self) -> LedgerReader {
        LedgerReader::open(&self.dir.path().join("ledger.sqlite")).expect("a reader")
    }

    fn usage(&self) -> UsageView {
        self.reader().usage(&UsageQuery::default()).expect("usage")
    }

    fn of(&self, meter: &str) -> UsageRow {
        self.usage().usage.into_iter().find(|row| row.meter == meter).expect("a row")
    }

    fn view(&self) -> LedgerView {
        self.reader().ledger().expect("a view")
    }
}

fn meters() -> Meters {
    Meters::new(meters::defaults(), vec!["test".to_owned()]).expect("good meters")
}

fn open(dir: &TempDir, meters: Meters) -> SqliteLedger {
    SqliteLedger::open(&dir.path().join("ledger.sqlite"), LOG, meters).expect("a ledger")
}

#[test]
fn a_repeated_event_is_counted_once() {
    let (mut books, worker) = (Books::new(), Worker::new(1, noon()));
    let events = [worker.usage(1), worker.usage(2)];
    assert_eq!(books.take(&events), Applied { counted: 2, ..Applied::default() });
    assert_eq!(books.take(&events), Applied { duplicates: 2, ..Applied::default() });
    assert_eq!((books.of("requests").billable, books.of("input_tokens").billable), (2, 20));
}

#[test]
fn an_event_repeated_within_one_batch_is_counted_once() {
    let (mut books, worker) = (Books::new(), Worker::new(1, noon()));
    let applied = books.take(&[worker.usage(1), worker.usage(1)]);
    assert_eq!((applied.counted, applied.duplicates), (1, 1));
}

#[test]
fn a_repeat_after_a_restart_is_still_a_repeat() {
    let (mut books, worker) = (Books::new(), Worker::new(1, noon()));
    books.take(&[worker.usage(1)]);
    books.ledger = open(&books.dir, meters());
    assert_eq!(books.ledger.position(), 1);
    assert_eq!(books.take(&[worker.usage(1)]).duplicates, 1);
    assert_eq!(books.of("requests").billable, 1);
}

#[test]
fn the_same_id_with_other_bytes_is_a_conflict_and_counts_nothing() {
    let (mut books, worker) = (Books::new(), Worker::new(1, noon()));
    books.take(&[worker.usage(1)]);
    let other = worker.usage_with(1, |data| data.usage.input_tokens = Some(999));
    assert_eq!(books.take(std::slice::from_ref(&other)).conflicts, 1);
    assert_eq!(books.take(&[other]).duplicates, 1, "kept once");
    assert_eq!(books.of("input_tokens").billable, 10);
    assert_eq!(books.view().quarantine["id_conflict"], 1);
}

#[test]
fn a_number_used_twice_is_a_conflict() {
    let (mut books, worker) = (Books::new(), Worker::new(1, noon()));
    let later = Worker { time: noon().plus_millis(1), ..worker.clone() };
    books.take(&[worker.usage(1), later.usage(1)]);
    let source = &books.view().sources[0];
    assert_eq!((source.accepted, source.conflicts, source.last), (1, 1, 1));
    assert_eq!(books.view().quarantine["number_conflict"], 1);
}

#[test]
fn missing_numbers_are_known_and_close_when_they_come() {
    let (mut books, worker) = (Books::new(), Worker::new(1, noon()));
    books.take(&[worker.usage(1), worker.usage(4), worker.announce(6)]);
    let source = &books.view().sources[0];
    assert_eq!((source.missing, source.missing_ranges.as_slice()), (4, &[(2, 3), (5, 6)][..]));
    books.take(&[worker.usage(3), worker.usage(2), worker.usage(6), worker.usage(5)]);
    let source = &books.view().sources[0];
    assert_eq!((source.missing, source.accepted, source.last), (0, 6, 6));
}

#[test]
fn a_refused_number_is_seen_and_not_missing() {
    let (mut books, worker) = (Books::new(), Worker::new(1, noon()));
    let absurd = worker.usage_with(2, |data| data.usage.output_tokens = Some(u64::MAX));
    let applied = books.take(&[worker.usage(1), absurd, b"{\"no\":\"event\"}".to_vec(), worker.usage(3)]);
    assert_eq!((applied.counted, applied.quarantined), (2, 2));
    let source = &books.view().sources[0];
    assert_eq!((source.accepted, source.quarantined, source.missing), (2, 1, 0));
    assert_eq!(books.view().quarantine, [("malformed".to_owned(), 1), ("value".to_owned(), 1)].into());
}

#[test]
fn what_is_measured_is_billed_or_excluded_for_a_reason() {
    let (mut books, worker) = (Books::new(), Worker::new(1, noon()));
    books.take(&[
        worker.usage(1),
        worker.usage_with(2, |data| data.outcome = Outcome::UpstreamError),
        worker.usage_with(3, |data| data.environment = Some("test".into())),
        worker.usage_with(4, |data| data.usage.status = UsageStatus::None),
        worker.usage_with(5, |data| data.usage.status = UsageStatus::Estimated),
    ]);
    let view = books.view();
    let meter = |name: &str| view.meters.iter().find(|m| m.meter == name).expect("a meter").clone();
    let (requests, tokens) = (meter("requests"), meter("input_tokens"));
    assert_eq!((requests.accepted, requests.billable), (5, 3));
    assert_eq!(requests.excluded, [("environment".to_owned(), 1), ("outcome".to_owned(), 1)].into());
    assert_eq!((tokens.accepted, tokens.billable), (50, 30));
    assert_eq!(tokens.excluded, [("environment".to_owned(), 10), ("usage_status".to_owned(), 10)].into());
    assert!(view.balanced);
}

#[test]
fn windows_are_utc_hours_of_the_events_own_time() {
    let mut books = Books::new();
    let before = Worker::new(1, Timestamp::parse("2026-11-21T11:59:59.999Z").expect("a time"));
    let after = Worker::new(2, Timestamp::parse("2026-11-21T12:00:00Z").expect("a time"));
    books.take(&[before.usage(1), after.usage(1)]);
    let hourly = UsageQuery { meter: Some("requests".to_owned()), hourly: true, ..UsageQuery::default() };
    let rows = books.reader().usage(&hourly).expect("usage").usage;
    let windows: Vec<String> = rows.iter().filter_map(|row| row.window).map(|w| w.to_string()).collect();
    assert_eq!(windows, ["2026-11-21T11:00:00.000Z", "2026-11-21T12:00:00.000Z"]);
}

#[test]
fn an_event_ahead_of_the_clock_waits_until_its_time_has_come() {
    let mut books = Books::new();
    let ahead = Worker::new(1, noon().plus_millis(10 * 60 * 1000));
    assert_eq!(books.take(&[ahead.usage(1)]), Applied { early: 1, ..Applied::default() });
    assert_eq!((books.usage().usage.len(), books.view().early), (0, 1));
    assert_eq!(books.take(&[ahead.usage(1)]).duplicates, 1, "it is known meanwhile");
    books.now = noon().plus_millis(6 * 60 * 1000);
    assert_eq!(books.take(&[]).counted, 1);
    assert_eq!((books.of("requests").billable, books.view().early), (1, 0));
}

#[test]
fn early_events_of_many_records_wait_together_and_are_counted_together() {
    let mut books = Books::new();
    let ahead = Worker::new(1, noon().plus_millis(10 * 60 * 1000));
    let events: Vec<Vec<u8>> = (1..=2_000).map(|number| ahead.usage(number)).collect();
    let early: u64 = events.chunks(500).map(|events| books.take(events).early).sum();
    assert_eq!((early, books.view().early, books.usage().usage.len()), (2_000, 2_000, 0));
    assert_eq!(books.take(&events[..500]).duplicates, 500);
    books.now = noon().plus_millis(20 * 60 * 1000);
    assert_eq!(books.take(&[]).counted, 2_000);
    assert_eq!((books.of("requests").billable, books.view().early), (2_000, 0));
}

#[test]
fn where_too_many_wait_already_an_early_event_is_counted_at_once_in_its_own_hour() {
    let mut books = Books::new();
    let full = "UPDATE total SET value = 100000 WHERE kind = 'early'";
    rusqlite::Connection::open(books.dir.path().join("ledger.sqlite")).expect("open").execute(full, []).expect("full");
    let ahead = Worker::new(1, books.now.plus_millis(2 * 3_600_000));
    let applied = books.take(&[ahead.usage(1)]);
    assert_eq!((applied.counted, applied.early), (1, 0));
    let rows = books.reader().usage(&UsageQuery { hourly: true, ..UsageQuery::default() }).expect("usage").usage;
    assert_eq!(rows[0].window, Some(books.now.plus_millis(2 * 3_600_000).hour()));
}

#[test]
fn a_source_that_is_silent_and_misses_nothing_is_dropped_and_its_events_stay_counted() {
    let mut books = Books::new();
    books.take(&[Worker::new(1, books.now).usage(1), Worker::new(2, books.now).usage(2)]);
    books.now = books.now.plus_millis(3_600_000);
    books.take(&[Worker::new(3, books.now).usage(1)]);
    assert_eq!(
        books.ledger.drop_silent_sources(books.now).expect("dropped"),
        1,
        "one is heard of, one misses a number"
    );
    assert_eq!(books.ledger.drop_silent_sources(books.now).expect("dropped"), 0);
    let view = books.view();
    assert_eq!((view.totals.sources, view.sources_dropped, view.totals.accepted), (2, 1, 3));
    assert_eq!((view.sources.len(), books.of("requests").billable), (2, 3));
    assert_eq!(books.take(&[Worker::new(1, noon()).usage(1)]).duplicates, 1, "and its ids are known as long as any");
}

#[test]
fn the_events_of_a_source_too_many_are_counted_without_books_of_it() {
    let mut books = Books::new();
    books.take(&[Worker::new(1, noon()).usage(1)]);
    let full = format!("UPDATE total SET value = {SOURCES_MAX} - 1 WHERE kind = 'source' AND key = 'sources'");
    rusqlite::Connection::open(books.dir.path().join("ledger.sqlite")).expect("open").execute(&full, []).expect("full");
    let (last, further) = (Worker::new(2, noon()), Worker::new(3, noon()));
    let applied = books.take(&[last.usage(1), further.usage(1), further.usage(9), further.announce(9)]);
    assert_eq!((applied.counted, applied.conflicts), (3, 0));
    assert_eq!(
        books.take(&[further.usage(9), Worker::new(1, noon()).usage(2)]),
        Applied { counted: 1, duplicates: 1, ..Applied::default() }
    );
    let view = books.view();
    assert_eq!((view.sources.len(), view.totals.sources, view.events_unbooked), (2, SOURCES_MAX, 2));
    assert_eq!((view.totals.accepted, view.totals.missing, books.of("requests").billable), (3, 0, 5));
}

#[test]
fn what_is_older_than_the_oldest_remembered_day_is_quarantined() {
    let mut books = Books::new();
    let worker = Worker::new(1, noon());
    let event = worker.usage(1);
    books.take(std::slice::from_ref(&event));
    books.now = noon().plus_millis(42 * 24 * 3_600_000);
    let applied = books.take(&[event]);
    assert_eq!((applied.counted, applied.quarantined), (0, 1), "its id is forgotten, so it must not count again");
    assert_eq!(books.of("requests").billable, 1, "sums are kept");
}

#[test]
fn refusals_are_summed_by_tenant_and_reason() {
    let (mut books, worker) = (Books::new(), Worker::new(1, noon()));
    books.take(&[worker.refused(1, "rate_limited", 17), worker.refused(2, "rate_limited", 3)]);
    let refused = books.usage().refused;
    assert_eq!(
        (refused[0].tenant.as_str(), refused[0].reason.as_str(), refused[0].count),
        ("acme", "rate_limited", 20)
    );
}

#[test]
fn records_are_applied_in_order_and_without_a_gap() {
    let (mut books, worker) = (Books::new(), Worker::new(1, noon()));
    let record = Record { position: 2, follows: 1, ..books.record(&[worker.usage(1)]) };
    let refused = books.ledger.apply(&[record]);
    assert!(matches!(refused, Err(LedgerError::Gap { position: 0, found: 2, follows: 1 })), "{refused:?}");
    let first = books.record(&[worker.usage(1)]);
    let apart = Record { position: 7, follows: 3, ..books.record(&[worker.usage(2)]) };
    assert!(books.ledger.apply(&[first, apart]).is_err(), "nor with a gap between them");
    assert_eq!(books.ledger.position(), 0, "wholly or not at all");
}

#[test]
fn positions_that_the_log_leaves_out_are_no_gap() {
    let (mut books, worker) = (Books::new(), Worker::new(1, noon()));
    let first = Record { position: 5, follows: 0, ..books.record(&[worker.usage(1)]) };
    let second = Record { position: 9, follows: 5, ..books.record(&[worker.usage(2)]) };
    assert_eq!(books.ledger.apply(&[first, second]).expect("applied").counted, 2);
    assert_eq!(books.ledger.position(), 9);
}

#[test]
fn a_ledger_follows_one_log_only() {
    let books = Books::new();
    let other = SqliteLedger::open(&books.dir.path().join("ledger.sqlite"), "another log", meters());
    assert!(matches!(other, Err(LedgerError::ForeignLog)));
}

#[test]
fn a_meter_whose_hours_are_counted_cannot_be_changed_in_place() {
    let (mut books, worker) = (Books::new(), Worker::new(1, noon()));
    books.take(&[worker.usage(1)]);
    let mut changed = meters::defaults();
    changed[0].conditions.outcome.push(Outcome::Timeout);
    let path = books.dir.path().join("ledger.sqlite");
    let refused = SqliteLedger::open(&path, LOG, Meters::new(changed.clone(), Vec::new()).expect("good"));
    assert!(matches!(refused, Err(LedgerError::MeterChanged(name)) if name == changed[0].name));

    let mut versioned = meters::defaults();
    versioned.push(meters::Meter { effective_from: Some(noon().hour().plus_millis(7_200_000)), ..changed[0].clone() });
    assert!(SqliteLedger::open(&path, LOG, Meters::new(versioned, Vec::new()).expect("good")).is_ok());
}

#[test]
fn a_new_version_of_a_meter_counts_from_its_hour_on() {
    let dir = tempfile::tempdir().expect("a directory");
    let from = noon().hour();
    let mut versions = meters::defaults();
    let mut all = versions[0].clone();
    all.conditions.outcome.clear();
    all.effective_from = Some(from);
    versions.push(all);
    let ledger = open(&dir, Meters::new(versions, Vec::new()).expect("good"));
    let mut books = Books { dir, ledger, now: noon() };
    let failed = |worker: Worker| worker.usage_with(1, |data| data.outcome = Outcome::Timeout);
    let before = Timestamp::from_millis(from.as_millis() - 1);
    books.take(&[failed(Worker::new(1, before)), failed(Worker::new(2, from))]);
    let requests = books.of("requests");
    assert_eq!((requests.billable, requests.excluded), (1, 1));
}

#[test]
fn usage_can_be_looked_at_by_dimensions_and_is_bounded() {
    let (mut books, worker) = (Books::new(), Worker::new(1, noon()));
    let prompt = |n: u64| worker.usage_with(n, |data| data.prompt_version = Some(format!("v{n}").into()));
    let most = u64::from(COMBINATIONS_MAX);
    books.take(&(1..=most + 5).map(prompt).collect::<Vec<_>>());
    books.take(&(most + 6..=most + 10).map(prompt).collect::<Vec<_>>());
    let by = |by: &str| AnalysisQuery { by: by.to_owned(), ..AnalysisQuery::default() };
    let rows = books.reader().analysis(&by("prompt_version")).expect("read").expect("known");
    assert_eq!(rows.len() as u64, most + 1);
    let other = rows.iter().find(|row| row.values == [OTHER]).expect("the rest");
    assert_eq!((other.requests, other.input_tokens), (10, 100));
    let all = books.reader().analysis(&by("class, model")).expect("read").expect("known");
    assert_eq!(all.iter().map(|row| row.requests).sum::<u64>(), most + 10);
    assert_eq!(books.reader().analysis(&by("tenant; DROP TABLE usage")).expect("read"), None);
}

#[test]
fn the_quarantine_is_bounded_and_the_oldest_go_first() {
    let mut books = Books::new();
    let most = EVENTS_MAX;
    for batch in 0..=most / 1_000 {
        let garbage = |n: u64| format!("{{\"n\":{}}}", batch * 1_000 + n).into_bytes();
        books.take(&(0..1_000).map(garbage).collect::<Vec<_>>());
    }
    let view = books.view();
    assert_eq!((view.quarantine["malformed"], view.quarantine_dropped), (most, 1_000));
    let db = rusqlite::Connection::open(books.dir.path().join("ledger.sqlite")).expect("open");
    let oldest: String = db
        .query_row("SELECT CAST(body AS TEXT) FROM quarantine ORDER BY position, item LIMIT 1", [], |row| row.get(0))
        .expect("read");
    assert_eq!(oldest, "{\"n\":1000}");
}

#[test]
fn what_was_refused_under_a_wrong_clock_counts_when_it_comes_again() {
    let (mut books, worker) = (Books::new(), Worker::new(1, noon()));
    books.now = Timestamp::from_millis(0);
    assert_eq!(books.take(&[worker.usage(1)]).quarantined, 1, "far ahead of a clock that stands at 1970");
    books.now = noon();
    assert_eq!(books.take(&[worker.usage(1)]).counted, 1);
    assert_eq!(books.take(&[worker.usage(1)]).duplicates, 1);
    let source = &books.view().sources[0];
    assert_eq!((source.accepted, source.quarantined, source.missing, source.conflicts), (1, 0, 0, 0));
    assert_eq!(books.view().quarantine, [].into());
}

#[test]
fn amounts_that_are_not_billed_add_up_over_batches() {
    let (mut books, worker) = (Books::new(), Worker::new(1, noon()));
    for n in 1..=3 {
        books.take(&[worker.usage_with(n, |data| data.environment = Some("test".into()))]);
    }
    assert_eq!((books.of("requests").excluded, books.of("input_tokens").excluded), (3, 30));
}

/// An earlier version accepted numbers up to 2^63, whose sum exceeds SQLite's integers.
const SPOILT: &str = "
UPDATE source SET missing = 9223372036854775000, announced = 9223372036854775000;
UPDATE total SET value = 1.8e19 WHERE kind = 'source' AND key = 'missing';
";

#[test]
fn a_number_no_worker_reaches_is_kept_and_breaks_no_total() {
    let mut books = Books::new();
    for life in 1..=3 {
        let worker = Worker::new(life, noon());
        books.take(&[worker.usage(1), worker.usage(i64::MAX as u64), worker.announce(i64::MAX as u64)]);
    }
    let view = books.view();
    assert_eq!((view.totals.accepted, view.totals.missing), (3, 0));
    assert_eq!(view.quarantine["sequence"], 6);
}

#[test]
fn a_leap_no_worker_makes_is_kept_and_leaves_nothing_missing() {
    let (mut books, worker) = (Books::new(), Worker::new(1, noon()));
    let applied = books.take(&[worker.usage(1), worker.usage(2 + LEAP_MAX), worker.announce(2 + LEAP_MAX)]);
    assert_eq!((applied.counted, applied.conflicts), (1, 2));
    assert_eq!(books.view().quarantine["number_leap"], 2);
    assert_eq!(books.take(&[worker.announce(1 + LEAP_MAX)]).conflicts, 0, "the furthest there is");
    assert_eq!(books.view().totals.missing, LEAP_MAX);
}

#[test]
fn totals_that_an_earlier_version_spoilt_are_summed_anew_at_the_start() {
    let mut books = Books::new();
    for life in 1..=2 {
        let worker = Worker::new(life, noon());
        books.take(&[worker.usage(1), worker.usage(3)]);
    }
    let path = books.dir.path().join("ledger.sqlite");
    rusqlite::Connection::open(path).expect("open").execute_batch(SPOILT).expect("spoilt");
    books.ledger = open(&books.dir, meters());
    let view = books.view();
    assert_eq!((view.totals.accepted, view.totals.missing), (4, 2 * NUMBER_MAX), "bounded, and readable");
    books.take(&[Worker::new(1, noon()).usage(2)]);
}

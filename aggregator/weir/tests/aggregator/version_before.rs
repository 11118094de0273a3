//! A data directory of the previous version opens and continues: all its counts stay, and repeats count once.
//!
//! `version_0_1/` is what weir 0.1.0 left behind after a batch of five (one of them no event), one reading and one report that
//! did not reach Stripe, as SQL text. `counted.json` is that batch, `new.json` one event more.
use rusqlite::Connection;
use weir::config::Config;
use weir::store::{DataDir, Store};
use weir_billing::Account;
use weir_billing::outbox::{Identity, view};
use weir_clock::{Clock, ManualClock};
use weir_contract::Timestamp;
use weir_event_log::Format;
use weir_event_log::sqlite::SqliteLogReader;
use weir_ledger::meters::Meters;
use weir_ledger::query::LedgerReader;
use weir_ledger::rebuild::rebuild;
use weir_ledger::view::UsageQuery;

const METERS: &str = "meters:
- {name: requests, sum: requests}
- {name: tokens_in, sum: input_tokens, weight: \"0.5\"}
- {name: storage, sum: {reading: storage}}
";
const COUNTED: [(&str, &str, u64); 5] = [
    ("acme", "requests", 3),
    ("acme", "storage", 2),
    ("acme", "tokens_in", 10),
    ("globex", "requests", 1),
    ("globex", "tokens_in", 3),
];

/// The directory as it was left behind.
fn left_behind() -> (tempfile::TempDir, DataDir) {
    let dir = tempfile::tempdir().expect("a directory");
    let home = DataDir::at(dir.path());
    let files = [
        (home.log(), include_str!("version_0_1/log.sql")),
        (home.ledger_file(), include_str!("version_0_1/ledger.sql")),
    ];
    for (path, sql) in files {
        Connection::open(path).expect("a file").execute_batch(sql).expect("the version before");
    }
    (dir, home)
}

fn meters() -> Meters {
    Config::parse("weir.yaml".as_ref(), METERS).expect("good").meters
}

fn usage(store: &Store) -> Vec<(String, String, u64)> {
    let view = store.reader().expect("a reader").usage(&UsageQuery::default()).expect("usage");
    view.usage.into_iter().map(|row| (row.tenant, row.meter, row.billable)).collect()
}

fn words(rows: &[(&str, &str, u64)]) -> Vec<(String, String, u64)> {
    rows.iter().map(|(tenant, meter, sum)| ((*tenant).to_owned(), (*meter).to_owned(), *sum)).collect()
}

#[tokio::test]
async fn a_data_directory_of_the_version_before_opens_and_goes_on() {
    let (dir, home) = left_behind();
    let clock = ManualClock::at(Timestamp::parse("2026-11-28T08:00:00Z").expect("a time"));
    let store = Store::open(home.clone(), meters(), clock.clone()).expect("it opens");
    store.catch_up().await.expect("nothing is left to count");
    assert_eq!(usage(&store), words(&COUNTED), "what it counted stands");
    let take = |body: &str| {
        let taken = store.intake.take(clock.now(), None, Format::Batch, body.as_bytes().to_vec()).expect("a batch");
        async { taken.synced.await.expect("answered").expect("synced") }
    };
    take(include_str!("version_0_1/counted.json")).await;
    store.catch_up().await.expect("counted");
    assert_eq!(usage(&store), words(&COUNTED), "what it counted is known");
    take(include_str!("version_0_1/new.json")).await;
    store.catch_up().await.expect("counted");
    let mut more = COUNTED;
    (more[0].2, more[2].2) = (4, 13);
    assert_eq!(usage(&store), words(&more), "half a token was carried, and two and a half came");
    let ledger = store.reader().expect("a reader").ledger().expect("a view");
    assert_eq!(
        (ledger.ledger.as_str(), ledger.position, ledger.balanced),
        ("5ed2add40d9deffaaebcc231a1511b15", 4, true)
    );
    store.close().finish();
    let mut log = SqliteLogReader::open(&home.log()).expect("a reader");
    let path = dir.path().join("rebuilt.sqlite");
    let mut rebuilt = rebuild(&path, home.ledger(), &mut log, meters(), clock.now(), |_| ()).expect("counted again");
    assert_eq!(rebuilt.compare(home.ledger()).expect("compared"), [], "the log says the same");
}

#[test]
fn rows_of_the_version_before_keep_their_identifiers() {
    let (_dir, home) = left_behind();
    let mut reader = LedgerReader::open(home.ledger()).expect("a reader");
    let rows = view::billing(reader.db()).expect("rows").rows;
    assert_eq!(rows.len(), 8);
    let account = Account { id: "acct_1".to_owned(), livemode: false };
    for row in rows.iter().filter(|row| row.customer.is_some()) {
        let identity = Identity {
            ledger: "5ed2add40d9deffaaebcc231a1511b15",
            account: &account,
            customer: "cus_1",
            tenant: &row.tenant,
            meter: &row.meter,
            event_name: &format!("weir_{}", row.meter),
            window: row.window,
            revision: row.revision,
        };
        assert_eq!(row.identifier.as_deref(), Some(identity.identifier().as_str()), "row {}", row.id);
    }
}

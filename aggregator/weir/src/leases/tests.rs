use super::*;
use std::time::Duration;
use weir_clock::ManualClock;
use weir_contract::Timestamp;

const CALL: &str = r#"{"gateway":"g","sent_ms":1,"draws":true,"leases":[{"key":{"owner":{"tenant":"acme"},
    "limit":"requests"},"definition":{"capacity":100,"refill":100,"period_ms":60000},"lease":1,"want":100,"largest":1}]}"#;

fn call() -> Call {
    serde_json::from_str(CALL).expect("a call")
}

fn clock() -> Arc<ManualClock> {
    ManualClock::at(Timestamp::from_millis(1_800_000_000_000))
}

fn start(path: &Path, new: bool, clock: Arc<ManualClock>) -> Leases {
    let home = Home { place: &Place::from(path), before: path, fence: &Fence::default() };
    Leases::start(home, Timing::default(), new, clock).expect("started")
}

#[tokio::test]
async fn a_center_that_starts_again_knows_what_it_granted() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("leases.sqlite");
    let clock = clock();
    let leases = start(&path, true, clock.clone());
    let first = leases.call(call()).await.expect("answered");
    assert_eq!(first.leases[0].granted, 50);
    drop(leases);
    let leases = start(&path, false, clock);
    let again = leases.call(call()).await.expect("answered");
    assert_eq!((again.epoch, again.leases[0]), (first.epoch, first.leases[0]));
}

#[tokio::test]
async fn a_center_without_its_file_grants_nothing_at_first() {
    let dir = tempfile::tempdir().expect("a directory");
    let clock = clock();
    let leases = start(&dir.path().join("leases.sqlite"), false, clock.clone());
    assert_eq!(leases.call(call()).await.expect("answered").leases[0].granted, 0);
    clock.advance(Duration::from_secs(60));
    assert!(leases.call(call()).await.expect("answered").leases[0].granted > 0);
}

#[tokio::test]
async fn a_damaged_file_is_put_aside() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("leases.sqlite");
    std::fs::write(&path, "this is no database, and long enough to be looked at").expect("written");
    let leases = start(&path, false, clock());
    assert_eq!(leases.call(call()).await.expect("answered").leases[0].granted, 0);
    assert!(dir.path().join("leases.damaged.sqlite").exists());
}

#[tokio::test]
async fn who_holds_what_is_shown_by_tenant() {
    let dir = tempfile::tempdir().expect("a directory");
    let leases = start(&dir.path().join("leases.sqlite"), true, clock());
    leases.call(call()).await.expect("answered");
    let of = |tenant: &str| LimitsQuery { tenant: Some(tenant.to_owned()), pool: None };
    let rows = leases.view(of("acme")).await.expect("rows");
    assert_eq!((rows.len(), rows[0].state.holders[0].holds, rows[0].state.tiers[0].level), (1, 50, 50));
    assert!(leases.view(of("globex")).await.expect("rows").is_empty());
    let totals = leases.totals().await.expect("totals");
    assert_eq!((totals.levels.high, totals.levels.leases, totals.levels.units, totals.counts.held), (1, 1, 50, 1));
}

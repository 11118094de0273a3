//! Pricing again, and counting again, killed at any moment.
//!
//! `WEIR_KILLS` sets the number of kills (default 10).
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::json;
use weir_clock::SystemClock;
use weir_contract::Timestamp;

use super::answering::run;
use super::commands::json as printed;
use super::events::{Worker, batch};
use super::killing::kills;
use super::server::{Running, config};

const HOUR_MS: u64 = 3_600_000;
/// Hours with usage, and so windows that are priced again one by one.
const HOURS: u64 = 60;
/// An event has ten tokens in and five out.
const CHEAP: &str = "prices: {shipped: false, entries: [{model: '*', per_million: {input: 1, output: 2}}]}\n";
const DEAR: &str = "prices: {shipped: false, entries: [{model: '*', per_million: {input: 2, output: 4}}]}\n";

/// Starts a command, and kills it after a while. Returns true if it was done before.
fn kill(dir: &Path, args: &[&str], after: Duration) -> bool {
    let mut child = Command::new(env!("CARGO_BIN_EXE_weir"))
        .args(args)
        .arg("--config")
        .arg(dir.join("weir.yaml"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("started");
    std::thread::sleep(after);
    let done = child.try_wait().expect("a status").is_some();
    let _ = child.kill();
    child.wait().expect("ended");
    done
}

/// The cost of all, by tenant; it also reads the ledger anew.
async fn costs(dir: &Path) -> Vec<String> {
    let rows = printed(&run(dir, &["cost", "--json"]).await);
    rows.as_array().expect("rows").iter().map(|row| row["cost"].as_str().expect("a cost").to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pricing_again_happens_as_a_whole_or_not_at_all() {
    let dir = tempfile::tempdir().expect("a directory");
    let server = Running::start_by(dir, SystemClock::start(), CHEAP).await;
    let now = SystemClock::start().now();
    let at = |hour: u64| Timestamp::from_millis(now.as_millis() - hour * HOUR_MS);
    for (life, tenant) in [(1, "acme"), (2, "globex")] {
        let event = |hour: u64| Worker { tenant, ..Worker::new(life, at(hour)) }.usage(HOURS - hour);
        let events: Vec<Vec<u8>> = (0..HOURS).map(event).collect();
        assert!(server.post(batch(&events)).await.status().is_success());
    }
    let dir = server.stop().await;
    let dir = dir.path();
    let (cheap, dear) = (vec!["0.0012".to_owned(); 2], vec!["0.0024".to_owned(); 2]);
    let from = at(HOURS + 1).to_string();
    let again = ["reprice", "--from", &from, "--why", "the list was wrong"];
    let (mut before, mut cut) = (cheap.clone(), 0);
    assert_eq!(costs(dir).await, before);
    for round in 0..kills() {
        let (after, prices) = if before == cheap { (&dear, DEAR) } else { (&cheap, CHEAP) };
        std::fs::write(dir.join("weir.yaml"), config(dir, prices)).expect("written");
        let moment = Duration::from_micros(20_000 + round * 37_199 % 200_000);
        let rebuild = round % 3 == 2;
        let args: &[&str] = if rebuild { &["ledger", "rebuild"] } else { &again };
        cut += u64::from(!kill(dir, args, moment));
        let found = costs(dir).await;
        assert!(found == before || !rebuild && found == *after, "round {round}: {found:?} is half of it");
        before = found;
    }
    assert!(cut > 0, "no command was killed in its work");
    let rebuilt = run(dir, &["ledger", "rebuild", "--json"]).await;
    assert_eq!((rebuilt.status.code(), printed(&rebuilt)), (Some(0), json!([])), "{rebuilt:?}");
    let checked = run(dir, &["reprice", "--from", &from, "--why", "the last word", "--json"]).await;
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");
    let prices = std::fs::read_to_string(dir.join("weir.yaml")).expect("read");
    assert_eq!(costs(dir).await, if prices.contains("input: 2") { dear } else { cheap });
}

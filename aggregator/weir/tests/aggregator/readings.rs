//! Readings: accepted all or none, durable, counted once, billed and explained to the unit.
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};
use weir::config::Config;
use weir_clock::{ManualClock, SystemClock};
use weir_contract::Timestamp;
use weir_event_log::Record;
use weir_ledger::SqliteLedger;
use weir_ledger::query::LedgerReader;
use weir_ledger::validate::Format;
use weir_rig::stripe::{Account, Limits, Stripe, StripeServer};

use super::answering::{run, sum};
use super::commands::json as printed;
use super::events::{Worker, batch, noon};
use super::killing::Process;
use super::server::{Running, TOKEN, config};

const HOUR_MS: u64 = 3_600_000;
pub(super) const METERS: &str = "meters:\n- {name: requests, sum: requests}\n\
                      - {name: storage, sum: {reading: storage_gb_hours}, weight: 0.1}\n";

pub(super) fn reading(id: &str, time: Timestamp, amount: &str) -> Value {
    json!({"id": id, "tenant": "acme", "name": "storage_gb_hours", "time": time, "amount": amount})
}

/// Posts readings; returns the status and the answer.
pub(super) async fn post(server: &Running, readings: &Value) -> (u16, Value) {
    let request = server.http.post(format!("{}/v1/readings", server.url)).bearer_auth(TOKEN);
    let answer = request.json(readings).send().await.expect("an answer");
    (answer.status().as_u16(), answer.json().await.expect("JSON"))
}

fn made(new: u64, duplicates: u64) -> Value {
    json!({"new": new, "duplicates": duplicates, "conflicts": []})
}

#[tokio::test]
async fn a_reading_is_counted_once_and_another_content_under_its_id_is_kept_apart() {
    let server = Running::start(noon(), METERS).await;
    let both = json!([reading("a/1", noon(), "12.5"), reading("a/2", noon(), "7.6")]);
    assert_eq!(post(&server, &both).await, (202, json!({"accepted": 2, "rejected": [], "ledger": made(2, 0)})));
    let again = json!([reading("a/1", noon(), "12.500"), reading("a/3", noon(), "0"), reading("a/3", noon(), "0")]);
    assert_eq!(post(&server, &again).await.1["ledger"], made(1, 2));
    let other = json!([reading("a/1", noon().plus_millis(1), "12.5"), reading("a/2", noon(), "9")]);
    for _ in 0..2 {
        let (status, answer) = post(&server, &other).await;
        let conflicts = answer["ledger"]["conflicts"].as_array().expect("conflicts").clone();
        assert_eq!((status, conflicts.len(), &conflicts[1]["index"]), (202, 2, &json!(1)), "{answer}");
        assert!(conflicts[0]["reason"].as_str().is_some_and(|why| why.contains("a/1")), "{answer}");
    }
    let view = server.json("/v1/ledger").await;
    assert_eq!((&view["quarantine"], &view["balanced"]), (&json!({"id_conflict": 2}), &json!(true)));
    // 20.1 times a tenth.
    assert_eq!((server.billable("storage").await, &view["meters"][1]["carried"]), (2, &json!("0.01")));
    let found = server.json("/v1/readings/a%2F1").await;
    assert_eq!((&found["reading"]["amount"], &found["item"]), (&json!("12.5"), &json!(0)), "{found}");
    assert_eq!(server.get("/v1/readings/a%2F9").await.status(), StatusCode::NOT_FOUND);
    let audit = server.json("/v1/audit").await;
    assert_eq!((&audit[3]["act"], &audit[3]["who"]), (&json!("readings"), &json!("all")), "{audit}");
    let metrics = server.get("/metrics").await.text().await.expect("text");
    for line in ["accepted\"} 9", "duplicate\"} 2", "conflict\"} 4", "rejected\"} 0"] {
        assert!(metrics.contains(&format!("weir_readings_total{{state=\"{line}")), "{line}\n{metrics}");
    }
    let dir = server.stop().await;
    let rebuilt = run(dir.path(), &["ledger", "rebuild", "--json"]).await;
    assert_eq!((rebuilt.status.code(), printed(&rebuilt)), (Some(0), json!([])), "{rebuilt:?}");
}

#[tokio::test]
async fn nothing_is_taken_of_readings_that_are_wrong_or_that_no_meter_sums() {
    let versions =
        "meters:\n- {name: storage, sum: {reading: storage_gb_hours}, effective_from: '2026-11-21T12:00:00Z'}\n";
    let server = Running::start(noon(), versions).await;
    let mut wrong = reading("a/2", noon(), "1");
    wrong["amount"] = json!(1.5);
    let mut unknown = reading("a/2", noon(), "1");
    unknown["name"] = json!("storage_gb_hour");
    let earlier = reading("a/2", Timestamp::from_millis(noon().as_millis() - HOUR_MS), "1");
    let cases = [
        (wrong, 400, "reading 1: invalid type: floating point `1.5`, expected amount: a decimal"),
        (reading("a/2", noon(), "-1"), 400, "reading 1: amount: \"-1\" is not a decimal"),
        (unknown, 409, "reading 1: name: no meter sums readings of \"storage_gb_hour\" in the hour 2026-11-21T12"),
        (earlier, 409, "in the hour 2026-11-21T11"),
    ];
    for (second, status, told) in cases {
        let (answered, answer) = post(&server, &json!([reading("a/1", noon(), "1"), second])).await;
        let error = answer["error"].as_str().expect("an error");
        assert!(answered == status && error.contains(told), "{answered} {error}");
    }
    assert_eq!(server.json("/v1/ledger").await["log_position"], 0);
    let lines = format!("{}\n{}\n", reading("a/1", noon(), "1"), reading("a/2", noon(), "2"));
    let send = async |token: &str, kind: &str| {
        let request = server.http.post(format!("{}/v1/readings", server.url)).bearer_auth(token);
        request.header("content-type", kind).body(lines.clone()).send().await.expect("an answer").status()
    };
    assert_eq!(send(TOKEN, "text/csv").await, 415);
    assert_eq!(send("nobody", "application/x-ndjson").await, 401);
    assert_eq!(send(TOKEN, "application/x-ndjson").await, 202);
    assert_eq!(server.billable("storage").await, 3);
}

#[tokio::test]
async fn readings_need_a_scope_of_their_own() {
    let dir = tempfile::tempdir().expect("a directory");
    let text = config(dir.path(), METERS).replace("readings, ", "");
    std::fs::write(dir.path().join("weir.yaml"), text).expect("written");
    let config = Config::load(&dir.path().join("weir.yaml")).expect("a good configuration");
    let server = weir::server::run::Server::start(config, ManualClock::at(noon())).await.expect("a server");
    let url = format!("http://{}/v1/readings", server.address());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let served = tokio::spawn(server.run(async move {
        let _ = stopped.await;
    }));
    let http = reqwest::Client::new();
    let request = http.post(url).bearer_auth(TOKEN).json(&json!([]));
    assert_eq!(request.send().await.expect("an answer").status(), StatusCode::FORBIDDEN);
    drop((http, stop));
    served.await.expect("joined").expect("served");
}

#[tokio::test]
async fn a_reading_ahead_waits_and_one_that_is_too_old_is_kept_uncounted() {
    let clock = ManualClock::at(noon());
    let server = Running::start_by(tempfile::tempdir().expect("a directory"), clock.clone(), METERS).await;
    let days = |days: u64| Timestamp::from_millis(noon().as_millis() - days * 24 * HOUR_MS);
    let ahead = noon().plus_millis(HOUR_MS);
    let sent = json!([
        reading("ahead", ahead, "100"),
        reading("old", days(41), "100"),
        reading("late", days(40), "50"),
        reading("far", noon().plus_millis(25 * HOUR_MS), "1"),
    ]);
    let (status, answer) = post(&server, &sent).await;
    assert_eq!((status, &answer["accepted"], &answer["ledger"]), (202, &json!(2), &made(2, 0)), "{answer}");
    let rejected = |n: usize| (answer["rejected"][n]["index"].as_u64(), answer["rejected"][n]["reason"].to_string());
    assert!(rejected(0).0 == Some(1) && rejected(0).1.contains("older than 40 days"), "{answer}");
    assert!(rejected(1).0 == Some(3) && rejected(1).1.contains("ahead"), "{answer}");
    let view = server.json("/v1/ledger").await;
    assert_eq!((&view["early"], &view["quarantine"]), (&json!(1), &json!({"too_old": 1, "too_far_ahead": 1})));
    assert_eq!(server.billable("storage").await, 5);
    clock.advance(Duration::from_millis(HOUR_MS));
    let repeat = post(&server, &json!([reading("ahead", ahead, "100"), reading("now", ahead, "0")])).await.1;
    assert_eq!((&repeat["ledger"], server.billable("storage").await), (&made(1, 1), 15));
    let hourly = server.json("/v1/usage?meter=storage&hourly=true&from=2026-10-01T00:00:00Z").await;
    assert_eq!(hourly["usage"][1]["window"], "2026-11-21T13:00:00.000Z", "{hourly}");
    let dir = server.stop().await;
    let rebuilt = run(dir.path(), &["ledger", "rebuild", "--json"]).await;
    assert_eq!(printed(&rebuilt), json!([]), "{rebuilt:?}");
}

#[test]
fn ids_are_forgotten_with_their_day_and_not_before() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("ledger.sqlite");
    let meters = Config::parse(Path::new("weir.yaml"), METERS).expect("good meters").meters;
    let mut ledger = SqliteLedger::open(&path, "log", meters).expect("a ledger");
    let today = noon().as_millis() / (24 * HOUR_MS);
    let mut take = |received_at: Timestamp, forgotten_before: u64, body: &Value| {
        let position = ledger.position() + 1;
        let (format, body) = (Format::Readings, body.to_string().into_bytes());
        let record =
            Record { position, follows: position - 1, received_at, format, gateway: None, forgotten_before, body };
        ledger.apply(&[record]).expect("applied")
    };
    let first = json!([reading("a", noon(), "10")]);
    assert_eq!(take(noon(), 0, &first).counted, 1);
    let later = noon().plus_millis(40 * 24 * HOUR_MS);
    assert_eq!(take(later, today, &first).duplicates, 1);
    let known = || LedgerReader::open(&path).expect("a reader").find_reading("a").expect("found").is_some();
    assert!(known());
    let gone = noon().plus_millis(42 * 24 * HOUR_MS);
    assert_eq!(take(gone, today + 2, &first).quarantined, 1, "too old to be told from a repeat");
    assert!(!known(), "so its id is needed no more");
}

fn write(dir: &Path, name: &str, text: &str) -> String {
    std::fs::write(dir.join(name), text).expect("written");
    dir.join(name).to_str().expect("text").to_owned()
}

#[tokio::test]
async fn a_bad_file_is_told_with_line_and_column_and_nothing_of_it_is_taken() {
    let now = SystemClock::start().now();
    let server = Running::start_by(tempfile::tempdir().expect("a directory"), SystemClock::start(), METERS).await;
    let dir = server.dir.path().to_owned();
    let csv = format!(
        "id,tenant,name,time,amount\na/1,acme,storage_gb_hours,{now},12.5\na/2,acme,storage_gb_hours,{now},0.25\n"
    );
    let good = write(&dir, "good.csv", &csv);
    let checked = run(&dir, &["readings", "import", &good, "--check"]).await;
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");
    let cases = [
        ("amount.csv", csv.replace(",0.25\n", ",0,25\n"), "amount.csv:3:6: 6 fields"),
        ("negative.csv", csv.replace(",0.25\n", ",-1\n"), "negative.csv:3:5: amount: \"-1\" is not a decimal"),
        ("meter.csv", csv.replace(",storage_gb_hours,", ",storage,"), "meter.csv:2:3: name: no meter sums"),
        ("lines.ndjson", reading("a/2", now, "x").to_string(), "lines.ndjson:1:"),
        ("lines.txt", csv.clone(), "ends in .csv, .ndjson or .jsonl"),
    ];
    for (name, text, told) in cases {
        let output = run(&dir, &["readings", "import", &write(&dir, name, &text)]).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && said.contains(told), "{name}: {said}");
    }
    assert_eq!(server.json("/v1/ledger").await["log_position"], 0);
    let imported = run(&dir, &["readings", "import", &good, "--json"]).await;
    assert_eq!((imported.status.code(), &printed(&imported)["new"]), (Some(0), &json!(2)), "{imported:?}");
    let other = run(&dir, &["readings", "import", &write(&dir, "other.csv", &csv.replace(",12.5\n", ",13\n"))]).await;
    let said = String::from_utf8_lossy(&other.stdout).into_owned();
    assert!(other.status.code() == Some(3) && said.contains("other.csv:2: id: \"a/1\" was taken before"), "{said}");
    assert!(said.contains("2 readings: 0 new, 1 counted before, 1 refused"), "{said}");
    let got = printed(&run(&dir, &["readings", "get", "a/1"]).await);
    assert_eq!(got["reading"]["amount"], "12.5");
    let audit = server.json("/v1/audit").await.to_string();
    assert!(audit.contains("good.csv: 2 readings, 2 new, 0 refused"), "{audit}");
    let dir = server.stop().await;
    let alone = printed(&run(dir.path(), &["readings", "import", &good, "--json"]).await);
    assert_eq!((&alone["new"], &alone["duplicates"]), (&json!(0), &json!(2)), "without a server: {alone}");
}

/// A stand-in, and its settings in the configuration.
fn stripe(now: Timestamp) -> (StripeServer, String) {
    let mut stripe = Stripe::new(Account::sandbox());
    stripe.set_limits(Limits::NONE);
    stripe.add_meter(jiff::Timestamp::from_millisecond(now.as_millis().cast_signed()).expect("a time"), "ai_storage");
    stripe.add_customer("cus_acme");
    let stripe = StripeServer::start_with_clock(stripe, Arc::new(jiff::Timestamp::now)).expect("a stand-in");
    let url = stripe.url();
    let more = format!(
        "{METERS}tenants: tenants.yaml\n\
         stripe: {{secret_key: {{file: key}}, url: '{url}', meters: {{storage: ai_storage}}}}\n"
    );
    (stripe, more)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_imported_survives_a_kill_and_is_billed_and_explained_to_the_unit() {
    let dir = tempfile::tempdir().expect("a directory");
    let now = SystemClock::start().now();
    // An hour that is over, long before the end of a billing period.
    let hour = Timestamp::from_millis(now.hour().as_millis() - 3 * HOUR_MS);
    let began = Timestamp::from_millis(now.hour().as_millis() - 14 * 24 * HOUR_MS);
    let (stripe, more) = stripe(now);
    std::fs::write(dir.path().join("weir.yaml"), config(dir.path(), &more)).expect("written");
    std::fs::write(dir.path().join("key"), Account::sandbox().secret_key).expect("written");
    let tenants = format!("tenants: [{{id: acme, plan: p, stripe_customer: cus_acme, billing_anchor: '{began}'}}]");
    std::fs::write(dir.path().join("tenants.yaml"), tenants).expect("written");
    let lines: String = (0..2_500_u64)
        .map(|n| format!("{}\n", reading(&format!("acme/{n}"), hour.plus_millis(n), "0.004")))
        .chain([format!("{}\n", reading("acme/much", hour.plus_millis(HOUR_MS - 1), "12.75"))])
        .collect();
    let file = write(dir.path(), "storage.ndjson", &lines);
    let import = ["readings", "import", &file, "--json"];

    let process = Process::start(dir.path());
    process.note();
    let imported = printed(&run(dir.path(), &import).await);
    drop(process);
    assert_eq!((&imported["new"], &imported["refused"]), (&json!(2_501), &json!([])), "{imported}");
    let process = Process::start(dir.path());
    let note = process.note();
    let again = printed(&run(dir.path(), &import).await);
    assert_eq!((&again["new"], &again["duplicates"]), (&json!(0), &json!(2_501)), "{again}");
    // Adds requests, so that one log has both.
    let events = reqwest::Client::new().post(format!("http://{}/v1/events", note.address)).bearer_auth(TOKEN);
    let events = events.header("content-type", "application/json").body(batch(&[Worker::new(1, hour).usage(1)]));
    assert_eq!(events.send().await.expect("an answer").status(), 202);
    assert_eq!(run(dir.path(), &["report"]).await.status.code(), Some(0));

    // 22.75 times a tenth.
    let usage = printed(&run(dir.path(), &["usage", "--meter", "storage", "--json"]).await);
    assert_eq!((&usage["usage"][0]["billable"], &usage["usage"][0]["reported"]), (&json!(2), &json!(2)), "{usage}");
    assert_eq!(stripe.stripe().total("cus_acme", "ai_storage"), 2);
    explains(dir.path(), &format!("{hour}/{}", hour.plus_millis(HOUR_MS))).await;
    drop(process);
    let rebuilt = run(dir.path(), &["ledger", "rebuild", "--json"]).await;
    assert_eq!((rebuilt.status.code(), printed(&rebuilt)), (Some(0), json!([])), "{rebuilt:?}");
}

/// Checks that the invoice's line adds up in JSON and as CSV, with a line for each reading.
async fn explains(dir: &Path, period: &str) {
    let explained = printed(&run(dir, &["explain", "cus_acme", "ai_storage", period, "--json"]).await);
    let window = &explained["windows"][0];
    let parts =
        ["events", "of_events", "carried", "without_events", "counted", "billed"].map(|part| window[part].clone());
    assert_eq!(json!(parts), json!([2_501, "2.275", "-0.275", 0, 2, 2]), "{window}");
    assert_eq!((&explained["billed"], &explained["complete"]), (&json!(2), &json!(true)));
    let csv = run(dir, &["explain", "cus_acme", "ai_storage", period, "--csv"]).await;
    let csv = String::from_utf8(csv.stdout).expect("text");
    assert_eq!(sum(&csv), 2_000_000_000, "{csv}");
    assert_eq!(csv.lines().filter(|line| line.starts_with("reading,")).count(), 2_501);
    assert!(csv.contains(",acme/much,acme,storage,"), "{csv}");
}

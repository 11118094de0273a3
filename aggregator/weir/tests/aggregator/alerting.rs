//! The alert rules that are shipped: each can fire on its first occurrence, since every series it waits for is there before.
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use weir::store::DataDir;
use weir_clock::SystemClock;

use super::events::{Worker, batch, noon};
use super::server::{Running, TOKEN, config};

const RULES: &str = include_str!("../../../../examples/prometheus/weir-alerts.yaml");

const TESTS: &str = include_str!("../../../../examples/prometheus/weir-alerts.test.yaml");
/// The rules over metrics of the gateway.
const GATEWAY: &str = "weir-gateway";

/// Names and expressions of the rules of some groups.
fn rules(of: impl Fn(&str) -> bool) -> Vec<(String, String)> {
    let file: Value = weir_settings::yaml::parse(Path::new("weir-alerts.yaml"), RULES).expect("YAML");
    let groups = file["groups"].as_array().expect("groups").iter().filter(|group| of(&text(&group["name"])));
    let rules = groups.flat_map(|group| group["rules"].as_array().expect("rules").clone());
    rules.map(|rule| (text(&rule["alert"]), text(&rule["expr"]))).collect()
}

fn text(value: &Value) -> String {
    value.as_str().expect("text").to_owned()
}

/// The series that an expression selects, as `name` and its matchers `label op value`.
fn selectors(expr: &str) -> Vec<(String, Vec<String>)> {
    let mut found = Vec::new();
    for (at, _) in expr.match_indices("weir_") {
        let rest = &expr[at..];
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        let (name, rest) = rest.split_at(end);
        let matchers = rest.strip_prefix('{').and_then(|rest| rest.split('}').next()).unwrap_or_default();
        let matchers = matchers.split(',').map(str::to_owned).filter(|matcher| !matcher.is_empty()).collect();
        found.push((name.to_owned(), matchers));
    }
    found
}

/// The values that a matcher takes: `state="held"`, `why=~"a|b"`.
fn values(matcher: &str) -> Vec<String> {
    let (label, rest) = matcher.split_once('=').expect("a matcher");
    let words = rest.trim_start_matches('~').trim_matches('"').split('|');
    words.map(|word| format!("{label}=\"{word}\"")).collect()
}

async fn page(server: &Running, accept: &str) -> (String, String) {
    let request = server.http.get(format!("{}/metrics", server.url)).header("accept", accept);
    let answer = request.send().await.expect("an answer");
    let kind = answer.headers()["content-type"].to_str().expect("text").to_owned();
    (kind, answer.text().await.expect("text"))
}

#[tokio::test]
async fn every_series_that_an_alert_waits_for_is_there_before_anything_happened() {
    let server = Running::start(noon(), "").await;
    let (_, page) = page(&server, "*/*").await;
    let rules = rules(|group| group != GATEWAY);
    assert!(rules.len() >= 12, "{rules:?}");
    assert_eq!(rules.iter().map(|(name, _)| name).collect::<BTreeSet<_>>().len(), rules.len(), "names are unique");
    for (alert, expr) in rules {
        for (name, matchers) in selectors(&expr) {
            let series: Vec<&str> = page
                .lines()
                .filter(|line| line.strip_prefix(&name).is_some_and(|rest| rest.starts_with([' ', '{'])))
                .collect();
            assert!(!series.is_empty(), "{alert}: nothing is named {name}");
            for value in matchers.iter().flat_map(|matcher| values(matcher)) {
                assert!(series.iter().any(|line| line.contains(&value)), "{alert}: {name} lacks {value}");
            }
        }
        let cumulative = selectors(&expr).iter().all(|(name, _)| name.ends_with("_total"));
        assert!(!expr.contains("increase(") || cumulative, "{alert}: only counters increase");
    }
}

#[test]
fn every_rule_fires_and_keeps_silent_as_promtool_judges() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let promtool = root.join(".tools/promtool/promtool");
    assert!(promtool.is_file(), "promtool is missing: run `make setup`");
    let rules = root.join("examples/prometheus");
    for args in [["check", "rules", "weir-alerts.yaml"], ["test", "rules", "weir-alerts.test.yaml"]] {
        let output = Command::new(&promtool).current_dir(&rules).args(args).output().expect("run");
        assert!(
            output.status.success(),
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    for (alert, _) in self::rules(|_| true) {
        let cases: Vec<&str> = TESTS.lines().filter(|line| line.contains(&format!("alertname: {alert},"))).collect();
        assert!(cases.iter().any(|line| line.contains("exp_alerts")), "no case in which {alert} fires");
    }
}

#[test]
fn every_series_of_a_gateways_alert_is_one_that_the_filter_defines() {
    let defined = include_str!("../../../../plugin/src/metrics.rs");
    let rules = rules(|group| group == GATEWAY);
    assert!(rules.len() >= 10, "{rules:?}");
    for (alert, expr) in rules {
        for (name, matchers) in selectors(&expr) {
            assert!(defined.contains(&format!("\"{name}")), "{alert}: nothing is named {name}");
            for value in matchers.iter().flat_map(|matcher| values(matcher)) {
                let word = value.split('"').nth(1).expect("a value").to_owned();
                assert!(defined.contains(&format!("\"{word}\"")), "{alert}: {name} has no {word}");
            }
        }
    }
}

#[tokio::test]
async fn what_an_alert_waits_for_rises_when_it_happens() {
    let (server, worker) = (Running::start(noon(), "").await, Worker::new(1, noon()));
    let kind = "application/cloudevents-batch+json";
    server.post_as("a-token-nobody-knows-22+", kind, b"[]".to_vec()).await;
    server.post(b"nonsense".to_vec()).await;
    server.post(batch(&[worker.usage(1), worker.usage(4), b"{}".to_vec()])).await;
    server.json("/v1/ledger").await;
    let (_, page) = page(&server, "*/*").await;
    for line in [
        "weir_batches_total{answer=\"unauthorized\"} 1",
        "weir_batches_total{answer=\"malformed\"} 1",
        "weir_source_events{state=\"missing\"} 2",
        "weir_events_rejected_total{reason=\"malformed\"} 1",
        "weir_quarantine_events{reason=\"malformed\"} 1",
    ] {
        assert!(page.contains(line), "{line}: {page}");
    }
    let accepted = format!("weir_events_accepted_timestamp_seconds {}", noon().as_secs());
    assert!(page.contains(&accepted), "{page}");
}

#[tokio::test]
async fn metrics_come_in_the_form_that_the_client_accepts() {
    let server = Running::start(noon(), "").await;
    let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2";
    let (kind, open) = page(&server, prometheus).await;
    assert!(kind.starts_with("application/openmetrics-text") && open.ends_with("# EOF\n"), "{kind}");
    let (kind, plain) = page(&server, "text/plain").await;
    assert!(kind.starts_with("text/plain; version=0.0.4") && !plain.contains("# EOF"), "{kind}");
    assert!(plain.contains("# TYPE weir_events_total counter"), "{plain}");
}

#[tokio::test]
async fn usage_that_does_not_arrive_is_told_once_in_the_servers_log() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("weir.yaml"), config(dir.path(), "")).expect("written");
    let log = dir.path().join("stderr");
    let mut server = Command::new(env!("CARGO_BIN_EXE_weir"))
        .args(["serve", "--config"])
        .arg(dir.path().join("weir.yaml"))
        .stderr(std::fs::File::create(&log).expect("a file"))
        .spawn()
        .expect("started");
    let home = DataDir::at(&dir.path().join("weir-data"));
    let note = loop {
        match home.read_note() {
            Some(note) => break note,
            None => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
        }
    };
    let worker = Worker::new(1, SystemClock::start().now());
    for (token, body) in [
        ("a-token-nobody-knows-22+", batch(&[worker.usage(1)])),
        ("a-token-nobody-knows-22+", batch(&[worker.usage(1)])),
        (TOKEN, b"[nonsense".to_vec()),
        (TOKEN, batch(&[b"{}".to_vec()])),
        (TOKEN, batch(&[b"{\"a\":1}".to_vec()])),
    ] {
        let request = reqwest::Client::new().post(format!("http://{}/v1/events", note.address)).bearer_auth(token);
        request.header("content-type", "application/json").body(body).send().await.expect("an answer");
    }
    server.kill().expect("killed");
    server.wait().expect("ended");
    let log = std::fs::read_to_string(log).expect("a log");
    for once in ["unknown token", "no batches of events", "refused for good and kept"] {
        assert_eq!(log.matches(once).count(), 1, "{once}: {log}");
    }
    assert!(log.contains("a new data directory is started"), "{log}");
}

//! Rules of alerts: they fire, are told once, are silenced and acknowledged, and end; by e-mail, Alertmanager and signed webhook.
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use weir_clock::{ManualClock, SystemClock};
use weir_contract::Timestamp;
use weir_rig::alertmanager::Alertmanager;
use weir_rig::workspace;

use super::answering::run;
use super::browser::Browser;
use super::commands::json as printed;
use super::events::{Worker, batch, noon};
use super::notifying::{Receiver, SECRET};
use super::server::{Running, TOKEN};

/// Long enough for a server on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// An event of the tests costs 10.
const SETTINGS: &str = "\
tenants: tenants.yaml
prices:
  shipped: false
  entries: [{model: m, per_million: {input: 500000, output: 1000000}}]
";
const TENANTS: &str = "tenants: [{id: acme, plan: free}, {id: globex, plan: free}]";
const NO_BUILT_IN: &str = "[margin-low, margin-negative, cost-drift-feature, cost-drift-prompt, tenant-concentration, failing-burst, budget-forecast, unpriced-usage, usage-not-arriving, numbers-missing, rows-held, stripe-differs, foreign-records, own-key-failing]";

/// A Python program that speaks lines of JSON.
pub(super) struct Script {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Script {
    pub(super) fn start(what: &str) -> Self {
        let root = workspace::root();
        let mut child = Command::new("python3")
            .arg(root.join("aggregator/weir/tests/aggregator/receivers.py"))
            .arg(what)
            .env("PYTHONPATH", root.join(".tools/receivers"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3");
        let lines = BufReader::new(child.stdout.take().expect("its output"));
        Script { child, lines }
    }

    pub(super) fn next(&mut self) -> Value {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("a line");
        serde_json::from_str(&line)
            .unwrap_or_else(|_| panic!("`make setup` brings its libraries; it has ended: {line:?}"))
    }

    fn ask(&mut self, question: &Value) -> Value {
        writeln!(self.child.stdin.as_mut().expect("its input"), "{question}").expect("written");
        self.next()
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(super) async fn start(clock: &Arc<ManualClock>, alerts: &str) -> Running {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("tenants.yaml"), TENANTS).expect("written");
    std::fs::write(dir.path().join("secret"), SECRET).expect("written");
    let more = format!("{SETTINGS}alerts:\n  every: 1s\n  without: {NO_BUILT_IN}\n{alerts}");
    Running::start_by(dir, clock.clone(), &more).await
}

async fn use_up(server: &Running, tenant: &'static str, count: u64) {
    use_up_at(server, tenant, noon(), count).await;
}

/// Uses 10 USD with each of `count` events.
async fn use_up_at(server: &Running, tenant: &'static str, at: Timestamp, count: u64) {
    let worker = Worker { tenant, ..Worker::new(tenant.as_bytes()[0], at) };
    let event = |number| {
        worker.usage_with(number, |data| {
            data.response_model = Some("m".into());
            data.feature = Some("search".into());
        })
    };
    let events: Vec<Vec<u8>> = (1..=count).map(event).collect();
    assert_eq!(server.post(batch(&events)).await.status(), reqwest::StatusCode::ACCEPTED);
}

/// Waits until the alerts are as `is` wants them.
pub(super) async fn alerts(server: &Running, is: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let waiting = async {
        loop {
            let view = server.json("/v1/alerts").await;
            let alerts = view["alerts"].as_array().expect("alerts").clone();
            if is(&alerts) {
                return alerts;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("alerts")
}

pub(super) fn fires(alerts: &[Value]) -> bool {
    alerts.iter().any(|alert| alert["state"] == "firing")
}

const COSTLY: &str = "  rules: [{name: costly, by: tenant, window: 1h, severity: critical, action: call Ann, labels: {team: money}, when: [{measure: cost, above: 25}]}]\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_fires_is_told_once_with_owner_reason_and_action_and_its_end_is_told() {
    let (receiver, clock) = (Receiver::default(), ManualClock::at(noon()));
    let url = receiver.listen().await;
    let hook = format!(
        "  receivers: [{{name: hook, webhook: {{url: {url}, secret: {{file: secret}}}}}}]\n  owners: {{acme: ann@example.com}}\n{COSTLY}"
    );
    let server = start(&clock, &hook).await;
    use_up(&server, "acme", 3).await;
    use_up(&server, "globex", 1).await;
    let firing = alerts(&server, fires).await;
    assert_eq!(firing.len(), 1, "{firing:?}");
    assert_eq!(
        (&firing[0]["subject"], &firing[0]["value"], &firing[0]["currency"]),
        (&json!("acme"), &json!("30"), &json!("USD"))
    );
    let got = receiver.calls(1, || ()).await;
    let body: Value = serde_json::from_str(&got[0].body).expect("JSON");
    let data = &body["data"];
    assert_eq!(
        (&body["type"], &data["owner"], &data["action"]),
        (&json!("alert.firing"), &json!("ann@example.com"), &json!("call Ann")),
        "{body}"
    );
    assert_eq!(
        (&data["labels"]["team"], &data["severity"], &data["tenant"]),
        (&json!("money"), &json!("critical"), &json!("acme"))
    );
    assert!(data["driver"].as_str().is_some_and(|driver| driver.starts_with("volume")), "{body}");
    let mut verifier = Script::start("verify");
    let headers = json!({"webhook-id": got[0].id, "webhook-timestamp": got[0].at.to_string(), "webhook-signature": got[0].signature});
    // The library compares the time with the present, so a call of long ago is not taken.
    assert_eq!(verifier.ask(&json!({"secret": SECRET, "headers": headers, "body": got[0].body})), json!(false));
    // Two hours later nothing was used within the hour.
    clock.advance(Duration::from_secs(2 * 3_600));
    alerts(&server, <[Value]>::is_empty).await;
    let got = receiver.calls(2, || ()).await;
    assert!(got[1].body.contains("alert.resolved") && got[1].id != got[0].id, "{got:?}");
    let history = server.json("/v1/alerts/history").await;
    let states: Vec<&Value> = history.as_array().expect("changes").iter().map(|change| &change["state"]).collect();
    assert_eq!(states, ["resolved", "firing"]);
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert_eq!(receiver.calls(2, || ()).await.len(), 2, "nothing is told twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_hears_of_a_silenced_alert_before_the_silence_ends() {
    let (receiver, clock) = (Receiver::default(), ManualClock::at(noon()));
    let url = receiver.listen().await;
    let server = start(
        &clock,
        &format!("  receivers: [{{name: hook, webhook: {{url: {url}, secret: {{file: secret}}}}}}]\n{COSTLY}"),
    )
    .await;
    let dir = server.dir.path().to_owned();
    let silenced = run(&dir, &["alerts", "silence", "cost*", "--until", "2027-01", "--why", "known", "--json"]).await;
    assert_eq!(silenced.status.code(), Some(0), "{silenced:?}");
    use_up(&server, "acme", 3).await;
    let firing = alerts(&server, fires).await;
    assert_eq!(firing[0]["announced"], json!(false));
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert!(receiver.calls(0, || ()).await.is_empty());
    let status = server.json("/v1/status").await;
    assert_eq!(
        (&status["alerts"]["critical"], &status["alerts"]["unacknowledged"]),
        (&json!(1), &json!(0)),
        "{status}"
    );
    let browser = Browser::sign_in(&server, TOKEN).await;
    for page in ["/alerts", "/overview"] {
        let text = browser.page(page).await;
        assert!(text.contains("firing, silenced") && !text.contains("nobody has acknowledged"), "{page}: {text}");
    }
    let listed = run(&dir, &["alerts", "list"]).await;
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(listed.status.code() == Some(0) && text.contains("firing, silenced"), "{text}");
    let acked = run(&dir, &["alerts", "ack", "costly", "acme", "--why", "I look"]).await;
    assert_eq!(acked.status.code(), Some(0), "{acked:?}");
    let listed = run(&dir, &["alerts", "list"]).await;
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(
        listed.status.code() == Some(0) && text.contains("I look") && text.contains("known"),
        "somebody looks after it: {text}"
    );
    let id = printed(&silenced)["id"].to_string();
    assert_eq!(run(&dir, &["alerts", "unsilence", &id]).await.status.code(), Some(0));
    let got = receiver.calls(1, || ()).await;
    assert!(got[0].body.contains("alert.firing"), "{got:?}");
    let audit = String::from_utf8_lossy(&run(&dir, &["audit"]).await.stdout).into_owned();
    assert!(
        ["alerts.silence", "alerts.acknowledge", "alerts.unsilence"].iter().all(|act| audit.contains(act)),
        "{audit}"
    );
    assert_eq!(run(&dir, &["alerts", "unsilence", &id]).await.status.code(), Some(1), "it is over");
    assert_eq!(run(&dir, &["alerts", "ack", "costly", "nobody", "--why", "x"]).await.status.code(), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn people_and_alertmanager_are_told_over_their_own_protocols() {
    // Alertmanager goes by the present.
    let (manager, now) = (Alertmanager::start().expect("an Alertmanager"), SystemClock::start().now());
    let clock = ManualClock::at(now);
    let mut mail = Script::start("mail");
    let port = mail.next();
    let receivers = format!(
        "  receivers:\n  - name: mail\n    email: {{server: 'smtp+plain://127.0.0.1:{port}', from: 'Weir <weir@example.com>', to: [ann@example.com, bob@example.com]}}\n  - {{name: manager, alertmanager: {{url: 'http://{}'}}}}\n{COSTLY}",
        manager.address()
    );
    let server = start(&clock, &receivers).await;
    use_up_at(&server, "acme", now, 3).await;
    let message = mail.next();
    assert_eq!(
        (&message["subject"], &message["from"]),
        (&json!("[critical] costly acme"), &json!("weir@example.com")),
        "{message}"
    );
    assert_eq!(message["to"], json!(["ann@example.com", "bob@example.com"]));
    assert!(message["text"].as_str().is_some_and(|text| text.contains("call Ann")), "{message}");
    let waiting = async {
        loop {
            let alerts = manager.alerts().expect("alerts");
            if let Some(alert) = alerts.as_array().and_then(|alerts| alerts.first()) {
                return alert.clone();
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let alert = tokio::time::timeout(PATIENCE, waiting).await.expect("an alert");
    assert_eq!(
        (&alert["labels"]["alertname"], &alert["labels"]["tenant"], &alert["labels"]["team"]),
        (&json!("costly"), &json!("acme"), &json!("money")),
        "{alert}"
    );
    let dir = server.dir.path().to_owned();
    for receiver in ["mail", "manager"] {
        assert_eq!(run(&dir, &["alerts", "test", receiver]).await.status.code(), Some(0), "{receiver}");
    }
    assert_eq!(mail.next()["subject"], "A test of weir's alerts");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_public_library_takes_the_signature_of_a_webhook() {
    let (receiver, clock) = (Receiver::default(), ManualClock::at(SystemClock::start().now()));
    let url = receiver.listen().await;
    let server =
        start(&clock, &format!("  receivers: [{{name: hook, webhook: {{url: {url}, secret: {{file: secret}}}}}}]\n"))
            .await;
    let dir = server.dir.path().to_owned();
    assert_eq!(run(&dir, &["alerts", "test", "hook"]).await.status.code(), Some(0));
    let got = receiver.calls(1, || ()).await;
    let headers = json!({"webhook-id": got[0].id, "webhook-timestamp": got[0].at.to_string(), "webhook-signature": got[0].signature});
    let mut verifier = Script::start("verify");
    let mut call = json!({"secret": SECRET, "headers": headers, "body": got[0].body});
    assert_eq!(verifier.ask(&call), json!(true));
    call["body"] = json!(got[0].body.replace("Nothing", "Something"));
    assert_eq!(verifier.ask(&call), json!(false));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_built_in_rules_find_what_has_no_price() {
    let clock = ManualClock::at(noon());
    let server = start(&clock, "  receivers: []\n").await;
    let dir = server.stop().await;
    let server = Running::start_by(dir, clock.clone(), &format!("{SETTINGS}alerts: {{every: 1s}}\n")).await;
    let worker = Worker { tenant: "acme", ..Worker::new(9, noon()) };
    let event = worker.usage_with(1, |data| data.response_model = Some("unknown".into()));
    assert!(server.post(batch(&[event])).await.status().is_success());
    let found = alerts(&server, |alerts| alerts.iter().any(|alert| alert["rule"] == "unpriced-usage")).await;
    let alert = found.iter().find(|alert| alert["rule"] == "unpriced-usage").expect("it");
    assert_eq!((&alert["subject"], &alert["state"]), (&json!("unknown"), &json!("firing")), "{alert}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_is_told_that_its_own_key_at_a_provider_fails() {
    let (receiver, clock) = (Receiver::default(), ManualClock::at(noon()));
    let url = receiver.listen().await;
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("tenants.yaml"), TENANTS).expect("written");
    std::fs::write(dir.path().join("secret"), SECRET).expect("written");
    let others = NO_BUILT_IN.replace(", own-key-failing", "");
    let hook = format!("{{name: acmes, tenants: [acme], webhook: {{url: {url}, secret: {{file: secret}}}}}}");
    let more = format!("{SETTINGS}alerts:\n  every: 1s\n  without: {others}\n  receivers: [{hook}]\n");
    let server = Running::start_by(dir, clock.clone(), &more).await;
    let worker = |tenant: &'static str| Worker { tenant, ..Worker::new(tenant.as_bytes()[0], noon()) };
    let events = [
        worker("acme").refused(1, "provider_key_expired", 2),
        worker("globex").refused(1, "provider_key_missing", 1),
        worker("globex").refused(2, "rate_limited", 9),
    ];
    assert_eq!(server.post(batch(&events)).await.status(), reqwest::StatusCode::ACCEPTED);
    let firing = alerts(&server, |alerts| alerts.iter().filter(|alert| alert["state"] == "firing").count() == 2).await;
    let told: Vec<_> = firing
        .iter()
        .map(|alert| (alert["rule"].as_str(), alert["subject"].as_str(), alert["value"].as_str()))
        .collect();
    let rule = Some("own-key-failing");
    assert_eq!(told, [(rule, Some("acme"), Some("2")), (rule, Some("globex"), Some("1"))]);
    let got = receiver.calls(1, || ()).await;
    let body: Value = serde_json::from_str(&got[0].body).expect("JSON");
    assert_eq!((&body["type"], &body["data"]["tenant"]), (&json!("alert.firing"), &json!("acme")), "{body}");
}

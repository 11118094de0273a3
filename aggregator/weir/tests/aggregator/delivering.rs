//! Messages arrive in order, in words for whoever gets them, and Alertmanager knows at any time what holds.
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};
use weir_clock::{ManualClock, SystemClock};
use weir_contract::Timestamp;
use weir_rig::alertmanager::Alertmanager;

use super::answering::run;
use super::commands::weir;
use super::events::{Worker, batch, noon};
use super::notifying::{Receiver, SECRET};
use super::server::{Running, TOKEN, config};
use super::watching::{Script, alerts, fires};

/// Long enough for a server on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// An event of the tests costs 10 USD.
const SETTINGS: &str = "\
tenants: tenants.yaml
prices:
  shipped: false
  entries: [{model: m, per_million: {input: 500000, output: 1000000}}]
budgets:
- {name: calls, of: requests, amount: 10, period: total}
- {name: money, of: cost, amount: 1000, period: total, tenants: [globex]}
";
const TENANTS: &str = "tenants: [{id: acme, plan: free}, {id: globex, plan: pro}]";

/// A server with these receivers, rules, owners and playbooks, and no built-in rules that the tests would wake.
async fn start(clock: &Arc<ManualClock>, alerts: &str) -> Running {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("tenants.yaml"), TENANTS).expect("written");
    std::fs::write(dir.path().join("secret"), SECRET).expect("written");
    let more = format!("{SETTINGS}alerts:\n  every: 1s\n  without: [usage-not-arriving, budget-forecast]\n{alerts}");
    Running::start_by(dir, clock.clone(), &more).await
}

/// A tenant's requests with these numbers, for the feature `search`.
async fn send(server: &Running, tenant: &'static str, at: Timestamp, numbers: std::ops::Range<u64>) {
    let worker = Worker { tenant, ..Worker::new(tenant.as_bytes()[0], at) };
    let event = |number| {
        worker.usage_with(number, |data| {
            data.response_model = Some("m".into());
            data.feature = Some("search".into());
        })
    };
    let events: Vec<Vec<u8>> = numbers.map(event).collect();
    assert_eq!(server.post(batch(&events)).await.status(), StatusCode::ACCEPTED);
}

/// Waits until something is there; `each` runs between two looks.
async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let waiting = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("no {what}"))
}

/// Waits until the first receiver has all messages.
async fn delivered(server: &Running, clock: &ManualClock) {
    until("delivery", || async {
        let waiting = server.json("/v1/alerts").await["receivers"][0]["waiting"].take();
        clock.advance(Duration::from_secs(1));
        (waiting == 0).then_some(())
    })
    .await;
}

/// The alerts of a name that the manager takes for firing.
fn firing(manager: &Alertmanager, name: &str) -> Vec<Value> {
    let alerts = manager.alerts().expect("alerts");
    let alerts = alerts.as_array().expect("a list").iter();
    alerts.filter(|alert| alert["labels"]["alertname"] == name).cloned().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn alertmanager_knows_what_holds_through_an_outage_and_a_restart_and_nothing_that_is_over() {
    // Alertmanager goes by the present, so this clock stays behind it, by less than an alert is believed.
    let mut manager = Alertmanager::start().expect("an Alertmanager");
    let now = Timestamp::from_millis(SystemClock::start().now().as_millis() - 200_000);
    let clock = ManualClock::at(now);
    let server = start(
        &clock,
        &format!(
            "  receivers: [{{name: manager, alertmanager: {{url: 'http://{}'}}}}]\n  owners: {{acme: Ann}}\n  \
             playbooks: {{free: {{warn: 'Call Ann.', exceeded: 'Call Bob.'}}}}\n",
            manager.address()
        ),
    )
    .await;
    send(&server, "acme", now, 1..9).await;
    let severity =
        |alerts: &[Value]| alerts.iter().map(|alert| alert["labels"]["severity"].clone()).collect::<Vec<_>>();
    let warned = until("warning", || async { firing(&manager, "weir_budget").pop() }).await;
    let labels = &warned["labels"];
    assert_eq!(
        (&labels["tenant"], &labels["budget"], &labels["severity"]),
        (&json!("acme"), &json!("calls"), &json!("warning"))
    );
    let said = &warned["annotations"];
    assert_eq!((&said["owner"], &said["action"]), (&json!("Ann"), &json!("Call Ann.")), "{warned}");
    assert!(said["driver"].as_str().is_some_and(|driver| driver.contains("search")), "{warned}");
    let end = warned["endsAt"].as_str().and_then(Timestamp::parse).expect("an end");
    assert!(end <= now.plus_millis(6 * 60_000), "it is believed for some minutes, until it is repeated: {end}");

    manager.kill().expect("killed");
    send(&server, "acme", now, 9..11).await;
    // What holds is repeated as well, and may fail before there is the message.
    until("failure", || async {
        let receiver = server.json("/v1/alerts").await["receivers"][0].take();
        (receiver["failing"]["error"].is_string() && receiver["waiting"] == 1).then_some(())
    })
    .await;
    let dir = server.dir.path().to_owned();
    let status = run(&dir, &["status"]).await;
    let text = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(status.status.code() == Some(3) && text.contains("alerts do not reach the receiver manager"), "{text}");
    assert!(
        text.contains("receivers: 1, failing: 1; messages waiting: 1") && text.contains("Connection refused"),
        "{text}"
    );

    // It comes back, and has forgotten everything.
    manager.restart().expect("started");
    clock.advance(Duration::from_secs(30));
    let exceeded = until("critical alert", || async {
        let alerts = firing(&manager, "weir_budget");
        (severity(&alerts) == [json!("critical")]).then_some(alerts)
    })
    .await;
    assert_eq!(exceeded[0]["annotations"]["action"], "Call Bob.", "{exceeded:?}");
    // What was repeated may have come before the message, which is not to come after the next restart.
    delivered(&server, &clock).await;
    // And once more, while nothing changes: what holds is repeated.
    manager.restart().expect("started");
    assert!(firing(&manager, "weir_budget").is_empty());
    let repeated = until("repeated alert", || async {
        clock.advance(Duration::from_secs(5));
        firing(&manager, "weir_budget").pop()
    })
    .await;
    assert_eq!(
        (&repeated["labels"]["severity"], &repeated["annotations"]["action"]),
        (&json!("critical"), &json!("Call Bob."))
    );
    assert!(repeated["annotations"]["driver"].is_string() && repeated["annotations"]["owner"] == "Ann", "{repeated}");
    let well = run(&dir, &["status", "--json"]).await;
    let well: Value = serde_json::from_slice(&well.stdout).expect("JSON");
    assert!(well["alerts"]["receivers"][0]["failing"].is_null(), "{well}");

    raise(&manager, &clock, &dir, now).await;
}

/// A person raises the budget, and its alert is over for good.
async fn raise(manager: &Alertmanager, clock: &ManualClock, dir: &Path, now: Timestamp) {
    let raise = ["budgets", "raise", "calls", "acme", "--to", "100", "--until"];
    let until_then = now.plus_millis(7 * 24 * 3_600_000).to_string();
    let raised = run(dir, &[&raise[..], &[until_then.as_str(), "--why", "agreed"]].concat()).await;
    assert_eq!(raised.status.code(), Some(0), "{raised:?}");
    until("end", || async { firing(manager, "weir_budget").is_empty().then_some(()) }).await;
    // No repeat brings it back.
    for _ in 0..5 {
        clock.advance(Duration::from_secs(61));
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        assert_eq!(firing(manager, "weir_budget"), [json!(null); 0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_outage_the_end_of_an_alert_never_comes_before_its_beginning() {
    let (receiver, other, clock) = (Receiver::default(), Receiver::default(), ManualClock::at(noon()));
    let (url, well) = (receiver.listen().await, other.listen().await);
    let rule = "{name: costly, by: tenant, window: 1h, when: [{measure: cost, above: 15}]}";
    let hook = |name: &str, url: &str| {
        format!("{{name: {name}, webhook: {{url: {url}, secret: {{file: secret}}}}, rules: [costly]}}")
    };
    let server =
        start(&clock, &format!("  receivers: [{}, {}]\n  rules: [{rule}]\n", hook("down", &url), hook("well", &well)))
            .await;
    receiver.refuse(3);
    send(&server, "acme", noon(), 1..3).await;
    alerts(&server, fires).await;
    receiver.calls(2, || clock.advance(Duration::from_secs(3))).await;
    clock.advance(Duration::from_secs(2 * 3_600));
    let got = other.calls(2, || ()).await;
    assert!(
        got[0].body.contains("alert.firing") && got[1].body.contains("alert.resolved"),
        "it waits for nobody: {got:?}"
    );
    let got = receiver.calls(5, || clock.advance(Duration::from_secs(30))).await;
    let kinds: Vec<bool> = got.iter().map(|call| call.body.contains("alert.resolved")).collect();
    assert_eq!(kinds, [false, false, false, false, true], "three refused, then both in order");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenants_own_address_hears_of_its_own_budgets_in_words_that_are_its_own() {
    let (own, clock) = (Receiver::default(), ManualClock::at(noon()));
    let url = own.listen().await;
    let mut mail = Script::start("mail");
    let port = mail.next();
    let receivers = format!(
        "  receivers:\n  - {{name: of-globex, tenant: globex, webhook: {{url: {url}, secret: {{file: secret}}}}}}\n  \
         - {{name: to-globex, tenant: globex, budgets: [money], email: {{server: 'smtp+plain://127.0.0.1:{port}', from: 'Weir <weir@example.com>', to: [ops@globex.example]}}}}\n  \
         owners: {{globex: 'Ann, ann@internal.example'}}\n  playbooks: {{pro: {{warn: 'Sell them more.'}}}}\n  \
         rules: [{{name: costly, by: tenant, window: 1h, when: [{{measure: cost, above: 15}}]}}]\n"
    );
    let server = start(&clock, &receivers).await;
    send(&server, "acme", noon(), 1..11).await;
    send(&server, "globex", noon(), 1..9).await;
    // 80 USD of 1000 are no stage; 8 of 10 calls are one.
    let got = own.calls(1, || ()).await;
    let body: Value = serde_json::from_str(&got[0].body).expect("JSON");
    assert_eq!(body["data"]["summary"], "Your budget calls went from ok to warn: 8 of 10 requests are used.");
    send(&server, "globex", noon(), 9..82).await;
    let message = mail.next();
    assert_eq!(message["subject"], "Budget money: warn", "{message}");
    let got = own.calls(3, || ()).await;
    let said =
        got.iter().map(|call| format!("{} {}", call.id, call.body)).chain([message.to_string()]).collect::<Vec<_>>();
    assert!(
        said.iter().any(|text| text.contains("Your budget money went from ok to warn: 81.0 % are used.")),
        "{said:?}"
    );
    for secret in [
        "acme",
        "810 ",
        "\"810\"",
        "1000",
        "USD",
        "Ann",
        "internal",
        "Sell",
        "costly",
        "weir budgets",
        "search",
        "of-globex",
        "to-globex",
    ] {
        assert!(said.iter().all(|text| !text.contains(secret)), "{secret}: {said:?}");
    }
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(own.calls(3, || ()).await.len(), 3, "nothing of acme, and no rule");
}

#[tokio::test(flavor = "multi_thread")]
async fn stages_of_a_budget_are_silenced_by_budget_and_tenant() {
    let (receiver, clock) = (Receiver::default(), ManualClock::at(noon()));
    let url = receiver.listen().await;
    let server =
        start(&clock, &format!("  receivers: [{{name: hook, webhook: {{url: {url}, secret: {{file: secret}}}}}}]\n"))
            .await;
    let dir = server.dir.path().to_owned();
    let silence =
        ["alerts", "silence", "--budget", "calls", "--tenant", "acme", "--until", "2026-11-22", "--why", "known"];
    let silenced = run(&dir, &silence).await;
    let text = String::from_utf8_lossy(&silenced.stdout).into_owned();
    assert!(silenced.status.success() && text.contains("budgets calls, tenants acme"), "{silenced:?}");
    send(&server, "acme", noon(), 1..9).await;
    send(&server, "globex", noon(), 1..9).await;
    let got = receiver.calls(1, || ()).await;
    assert!(got[0].body.contains("globex"), "{got:?}");
    send(&server, "acme", noon(), 9..11).await;
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert_eq!(receiver.calls(1, || ()).await.len(), 1);
    clock.set(Timestamp::parse("2026-11-22T00:00:00Z").expect("a time"));
    let got = receiver.calls(2, || ()).await;
    assert!(got[1].body.contains("of acme went from ok to exceeded"), "one message about what differs: {got:?}");
}

#[tokio::test]
async fn what_a_request_about_alerts_does_not_mean_is_refused_in_words_and_with_the_right_status() {
    let server = start(&ManualClock::at(noon()), "  receivers: []\n").await;
    let refused = async |path: &str, body: Value| {
        let call = server.http.post(format!("{}{path}", server.url)).bearer_auth(TOKEN).json(&body);
        let answer = call.send().await.expect("an answer");
        (answer.status(), answer.text().await.expect("text"))
    };
    let silence = |more: Value| {
        let mut body = json!({"rule": "margin-*", "until": "2026-11-22T00:00:00Z", "why": "known"});
        for (name, value) in more.as_object().expect("fields") {
            body[name] = value.clone();
        }
        body
    };
    for (path, words) in [
        ("/v1/alerts/history?limit=abc", "limit: a whole number is expected"),
        ("/v1/alerts/history?limit=5000", "`limit` is 1 to 1000"),
        ("/v1/deploys?limit=0", "`limit` is 1 to 1000"),
    ] {
        let answer = server.get(path).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{path}");
        let text = answer.text().await.expect("text");
        assert!(text.contains(words), "{path}: {text}");
    }
    let (bad, unknown) = (StatusCode::BAD_REQUEST, StatusCode::NOT_FOUND);
    for (path, body, status, words) in [
        (
            "/v1/alerts/silence",
            silence(json!({"until": "2999-01-01T00:00:00Z"})),
            StatusCode::CONFLICT,
            "more than 366 days ahead",
        ),
        ("/v1/alerts/silence", silence(json!({"until": "2020-01-01T00:00:00Z"})), StatusCode::CONFLICT, "is over"),
        ("/v1/alerts/silence", silence(json!({"until": "tomorrow"})), bad, "expected an RFC 3339 time"),
        ("/v1/alerts/silence", silence(json!({"why": "a\nb"})), bad, "1 to 250 characters, none a control character"),
        (
            "/v1/alerts/silence",
            silence(json!({"rule": "margin-lwo"})),
            unknown,
            "no rule matches \"margin-lwo\"; there are: cost-drift-feature",
        ),
        (
            "/v1/alerts/silence",
            silence(json!({"rule": null, "budget": "callz"})),
            unknown,
            "no budget matches \"callz\"; there are: calls, money",
        ),
        (
            "/v1/alerts/silence",
            silence(json!({"tenant": "acmee"})),
            unknown,
            "no tenant matches \"acmee\"; there are: acme, globex",
        ),
        ("/v1/alerts/silence", silence(json!({"rule": null})), bad, "name a rule, a budget or a tenant"),
        ("/v1/alerts/ack", json!({"rule": "margin-low", "why": ""}), bad, "1 to 250 characters"),
        ("/v1/alerts/ack", json!({"rule": "margin-low", "why": "I look"}), unknown, "fires"),
        ("/v1/alerts/test", json!({"receiver": "nobody"}), unknown, "there is no receiver \"nobody\""),
        ("/v1/deploys", json!({"name": "a\nb"}), bad, "none a control character"),
    ] {
        let (found, text) = refused(path, body.clone()).await;
        assert!(found == status && text.contains(&words.replace('"', "\\\"")), "{body}: {found} {text}");
    }
}

#[test]
fn what_can_never_be_delivered_is_found_before_the_server_starts() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("tenants.yaml"), TENANTS).expect("written");
    std::fs::write(dir.path().join("secret"), SECRET).expect("written");
    let check = |alerts: &str| {
        let text = config(dir.path(), &format!("{SETTINGS}alerts: {alerts}\n"));
        std::fs::write(dir.path().join("weir.yaml"), text).expect("written");
        let output = weir(dir.path(), &["serve", "--check"]);
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&said).into_owned())
    };
    for (alerts, words) in [
        (
            "{receivers: [{name: chat, slack: {env: WEIR_NEVER_SET}}]}",
            "alerts.receivers[0] (chat): slack: the environment variable WEIR_NEVER_SET is not set",
        ),
        ("{receivers: [{name: chat, slack: {file: none}}]}", "(chat): slack: "),
        (
            "{receivers: [{name: hook, webhook: {url: 'https://x.example', secret: {file: token}}}]}",
            "(hook): webhook.secret: the secret is not whsec_",
        ),
        (
            "{receivers: [{name: hook, webhook: {url: 'https://x.example', secret: {file: secret}}, budgets: [cals]}]}",
            "no budget is named \"cals\"",
        ),
        (
            "{receivers: [{name: mail, email: {server: 'smtps://m', from: weir, to: [a@x.org]}}]}",
            "email.from: \"weir\" is no e-mail address",
        ),
    ] {
        let (code, said) = check(alerts);
        assert!(code == Some(1) && said.contains(words), "{alerts}: {code:?} {said}");
    }
    let hook = "{name: hook, webhook: {url: 'https://x.example', secret: {file: secret}}, tenants: [acmee]}";
    let (code, said) =
        check(&format!("{{receivers: [{hook}], owners: {{globexx: Ann}}, playbooks: {{prro: {{warn: x}}}}}}"));
    assert_eq!(code, Some(0), "{said}");
    for warning in
        ["warning: alerts.receivers[0] (hook): there is no tenant \"acmee\"", "no tenant \"globexx\"", "plan \"prro\""]
    {
        assert!(said.contains(warning), "{said}");
    }
}

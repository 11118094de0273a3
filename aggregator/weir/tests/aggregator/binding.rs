//! Budgets that could never bind, or that bind less than they seem to; and a configuration that is broken while the server runs.
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::Value;
use weir_clock::ManualClock;

use super::answering::run;
use super::events::{Worker, batch, noon};
use super::server::{Running, config};

const TENANTS: &str = "tenants: [{id: acme, plan: free}, {id: globex, plan: paid}]";
const PRICES: &str = "prices: {shipped: false, entries: [{model: known, per_million: {input: 1, output: 1}}]}\n";
const MONEY: &str = "budgets:\n- {name: money, of: cost, amount: 100, period: day}\n";
const PATIENCE: Duration = Duration::from_secs(20);

async fn start(more: &str) -> Running {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("tenants.yaml"), TENANTS).expect("written");
    Running::start_by(dir, ManualClock::at(noon()), &format!("tenants: tenants.yaml\n{more}")).await
}

/// What `weir serve --check` says of a configuration.
async fn checked(more: &str) -> (Option<i32>, String) {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("tenants.yaml"), TENANTS).expect("written");
    std::fs::write(dir.path().join("eur.yaml"), "entries: [{model: known, currency: EUR, per_million: {input: 1}}]\n")
        .expect("written");
    std::fs::write(dir.path().join("weir.yaml"), config(dir.path(), more)).expect("written");
    let output = run(dir.path(), &["serve", "--check"]).await;
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[tokio::test]
async fn a_budget_in_a_currency_that_no_price_has_is_refused_with_its_line_and_name() {
    const EUR: &str = "budgets:\n- {name: first, of: tokens, amount: 1, period: day}\n\
                       - {name: money, of: cost, amount: 1, currency: EUR, period: day}\n";
    const PLANS: &str = "price_plans: [{name: p, currency: USD, plans: [free], per_request: 1}]\n";
    let bill = EUR.replace("of: cost", "of: revenue") + PLANS;
    let credits = MONEY.replace("of: cost", "of: credits") + PLANS;
    let cases = [
        (EUR.to_owned(), "weir.yaml:6:", "budgets[1].currency of \"money\": no price is in EUR"),
        (format!("{EUR}prices: {{shipped: false}}\n"), "weir.yaml:6:", "there are none"),
        (bill, "weir.yaml:6:", "no price plan is in EUR"),
        (credits, "weir.yaml:5:", "no price plan has `credits`"),
    ];
    for (text, place, problem) in cases {
        let (code, said) = checked(&text).await;
        assert!(code == Some(1) && said.contains(place) && said.contains(problem), "{text}: {said}");
    }
    let (code, said) = checked(&format!("{EUR}prices: {{files: [eur.yaml]}}\n")).await;
    assert_eq!((code, &*said), (Some(0), ""), "a file of prices has the currency");
    let usd = EUR.replace("EUR", "USD");
    assert_eq!(checked(&usd).await, (Some(0), String::new()), "the shipped list is in USD");
}

#[tokio::test]
async fn names_that_nobody_has_are_warned_of_and_nothing_is_refused() {
    let text = "tenants: tenants.yaml\nbudgets:\n- {name: b, of: tokens, amount: 1, period: day, plans: [fre], tenants: [acme, acmee], overrides: {globx: 2}}\n";
    let (code, said) = checked(text).await;
    assert_eq!(code, Some(0), "each may still come: {said}");
    assert!(said.contains("the budget b names the plan \"fre\", the tenant \"acmee\", the tenant \"globx\""), "{said}");
    let server = start(text.strip_prefix("tenants: tenants.yaml\n").expect("more")).await;
    let problems = server.json("/v1/status").await["problems"].to_string();
    assert!(problems.contains("fre") && problems.contains("which nobody has"), "{problems}");
}

/// Requests of acme that a model served which has no price.
async fn send_unpriced(server: &Running, count: u64) {
    let worker = Worker::new(1, noon());
    let event = |number| worker.usage_with(number, |data| data.response_model = Some("unknown".into()));
    let events: Vec<Vec<u8>> = (1..=count).map(event).collect();
    assert_eq!(server.post(batch(&events)).await.status(), StatusCode::ACCEPTED);
}

#[tokio::test]
async fn usage_without_a_price_is_told_by_stage_status_metric_and_command() {
    let server = start(&format!("{PRICES}{MONEY}")).await;
    send_unpriced(&server, 3).await;
    let waiting = async {
        while server.json("/v1/budgets?tenant=acme").await["budgets"][0]["stage"] != "warn" {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("a stage");
    let shown = server.json("/v1/budgets?tenant=acme").await;
    assert_eq!((&shown["budgets"][0]["used"], &shown["budgets"][0]["unpriced_requests"]), (&"0".into(), &3.into()));
    let history = server.json("/v1/budgets/history").await;
    assert_eq!((&history[0]["cause"], &history[0]["stage"]), (&"unpriced".into(), &"warn".into()));
    let problems = server.json("/v1/status").await["problems"].to_string();
    assert!(problems.contains("the budget money lacks 3 requests of 1 tenants"), "{problems}");
    let metrics = server.get("/metrics").await.text().await.expect("text");
    assert!(metrics.contains("weir_budget_unpriced_requests_total 3"), "{metrics}");
    let said = run(server.dir.path(), &["budgets", "show", "acme"]).await;
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains("money of acme lacks 3 requests that have no price in USD"), "{said}");
}

#[tokio::test]
async fn a_broken_file_leaves_commands_that_a_running_server_answers() {
    let server = start(MONEY).await;
    let path = server.dir.path().join("weir.yaml");
    let good = std::fs::read_to_string(&path).expect("read");
    for (broken, problem) in [
        (good.replace("amount: 100", "amount: -1"), "weir.yaml:6:35: budgets[0].amount of \"money\""),
        (good.replace("budgets:", "budgets: ["), "weir.yaml:"),
        (good.replace("period: day", "period: dayly"), "weir.yaml:6:"),
    ] {
        assert_ne!(broken, good);
        std::fs::write(&path, broken).expect("written");
        for args in [&["status"][..], &["budgets", "show", "acme"], &["budgets", "history"], &["alerts", "list"]] {
            let output = run(server.dir.path(), args).await;
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(matches!(output.status.code(), Some(0 | 3)), "{args:?}: {output:?}");
            assert!(said.contains(problem) && said.contains("goes on with what it read last"), "{args:?}: {said}");
        }
        let waiting = async {
            while server.json("/v1/status").await["server"]["configuration"] == Value::Null {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("the server says so as well");
    }
    let metrics = server.get("/metrics").await.text().await.expect("text");
    assert!(metrics.contains("weir_config_refused 1"), "{metrics}");
    std::fs::write(&path, "budgets: [").expect("written");
    let dir = server.stop().await;
    let alone = run(dir.path(), &["budgets", "show", "acme"]).await;
    assert_eq!(alone.status.code(), Some(1), "without a server the file counts: {alone:?}");
}

#[tokio::test]
async fn a_budget_that_is_taken_out_of_the_file_ends_its_stage_in_words() {
    let server = start("budgets:\n- {name: daily, of: requests, amount: 10, period: day}\n").await;
    let worker = Worker::new(1, noon());
    let events: Vec<Vec<u8>> = (1..=10).map(|number| worker.usage(number)).collect();
    assert_eq!(server.post(batch(&events)).await.status(), StatusCode::ACCEPTED);
    let history = async |count: usize| {
        let waiting = async {
            loop {
                let history = server.json("/v1/budgets/history").await;
                if history.as_array().map(Vec::len) == Some(count) {
                    return history;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("history")
    };
    history(1).await;
    let path = server.dir.path().join("weir.yaml");
    std::fs::write(&path, config(server.dir.path(), "tenants: tenants.yaml\n")).expect("written");
    let last = history(2).await[0].clone();
    assert_eq!((&last["was"], &last["stage"], &last["cause"]), (&"exceeded".into(), &"ok".into(), &"rules".into()));
    assert!(last["why"].as_str().is_some_and(|why| why.contains("the configuration changed: removed")), "{last}");
    let audit = server.json("/v1/audit").await.to_string();
    assert!(audit.contains("budgets.configuration") && audit.contains("daily: removed"), "{audit}");
}

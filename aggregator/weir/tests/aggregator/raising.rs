//! Raises and pauses: what is refused, and what the answers say.
use serde_json::{Value, json};
use weir_clock::ManualClock;

use super::answering::run;
use super::commands::json as printed;
use super::events::noon;
use super::server::{Running, TOKEN};

const TENANTS: &str = "tenants: [{id: acme, plan: free}, {id: globex, plan: paid}]";
const BUDGETS: &str = "tenants: tenants.yaml\nbudgets:\n\
    - {name: daily, of: requests, amount: 10, period: day, plans: [free]}\n\
    - {name: money, of: cost, amount: 10, period: day}\n";

async fn start() -> Running {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("tenants.yaml"), TENANTS).expect("written");
    Running::start_by(dir, ManualClock::at(noon()), BUDGETS).await
}

async fn ask(server: &Running, path: &str, body: &Value) -> (u16, String) {
    let request = server.http.post(format!("{}{path}", server.url)).bearer_auth(TOKEN).json(body);
    let answer = request.send().await.expect("an answer");
    (answer.status().as_u16(), answer.text().await.expect("text"))
}

#[tokio::test]
async fn what_nobody_can_raise_is_refused_with_the_reason() {
    let server = start().await;
    let good =
        json!({"budget": "daily", "tenant": "acme", "until": "2026-12-01T00:00:00Z", "why": "w", "amount": "20"});
    let cases = [
        ("budget", json!("weekly"), 404, "there is no budget \"weekly\"; there are daily, money"),
        ("tenant", json!("nobody"), 404, "there is no tenant \"nobody\"; there are acme, globex"),
        ("tenant", json!("globex"), 409, "does not have"),
        ("until", json!("2020-01-01T00:00:00Z"), 409, "future"),
        ("until", json!("2999-01-01T00:00:00Z"), 409, "a year from now"),
        ("why", json!(" "), 400, "why"),
        ("why", json!("two\nlines"), 400, "one line"),
        ("amount", json!("0"), 400, "above 0"),
        ("amount", json!("-3"), 400, "above 0"),
        ("amount", json!("10.5"), 409, "no whole number"),
        ("amount", json!("9"), 409, "9 is below 10, which is in force"),
        ("amount", Value::Null, 400, "amount"),
    ];
    for (field, value, status, reason) in cases {
        let mut body = good.clone();
        match &value {
            Value::Null => drop(body.as_object_mut().expect("fields").remove(field)),
            value => body[field] = value.clone(),
        }
        let (answered, text) = ask(&server, "/v1/budgets/raise", &body).await;
        let said: Value = serde_json::from_str(&text).expect("JSON");
        let said = said["error"].as_str().expect("an error");
        assert!(answered == status && said.contains(reason), "{field} {value}: {answered} {said}");
    }
    assert_eq!(ask(&server, "/v1/budgets/raise", &good).await.0, 200);
}

#[tokio::test]
async fn a_pause_has_a_route_of_its_own_and_takes_no_amount() {
    let server = start().await;
    let body = json!({"budget": "daily", "tenant": "acme", "until": "2026-12-01T00:00:00Z", "why": "w"});
    let paused = server.ask("/v1/budgets/pause", &body).await;
    assert!(paused["amount"].is_null() && paused["budget"] == "daily", "{paused}");
    let mut with_amount = body.clone();
    with_amount["amount"] = json!("20");
    assert_eq!(ask(&server, "/v1/budgets/pause", &with_amount).await.0, 400);
    assert_eq!(server.json("/v1/audit").await[0]["act"], "budgets.pause");
}

#[tokio::test]
async fn a_raise_that_takes_the_place_of_another_says_so() {
    let server = start().await;
    let raise = |to: &'static str, until: &'static str, more: &'static [&'static str]| {
        let words = ["budgets", "raise", "daily", "acme", "--to", to, "--until", until, "--why", "a launch"];
        [&words[..], more].concat()
    };
    let first = run(server.dir.path(), &raise("100", "2026-12-01", &[])).await;
    assert!(first.status.success() && !String::from_utf8_lossy(&first.stdout).contains("in place of"), "{first:?}");
    let lower = run(server.dir.path(), &raise("50", "2026-11-22", &[])).await;
    assert!(String::from_utf8_lossy(&lower.stderr).contains("50 is below 100, which is in force"), "{lower:?}");
    let lowered = run(server.dir.path(), &raise("50", "2026-11-22", &["--lower"])).await;
    let said = String::from_utf8_lossy(&lowered.stdout);
    assert!(
        said.contains("in place of") && said.contains("raised to 100") && said.contains("does not come back"),
        "{said}"
    );
    let shown = printed(&run(server.dir.path(), &raise("60", "2026-11-23", &["--json"])).await);
    assert_eq!((&shown["amount"], &shown["replaces"]["amount"]), (&json!("60"), &json!("50")));
    let audit = server.json("/v1/audit").await;
    let detail = audit[0]["detail"].as_str().expect("a detail");
    assert!(detail.contains("to 60") && detail.contains("instead of: raised to 50"), "{detail}");
}

#[tokio::test]
async fn a_name_that_nobody_knows_is_refused_with_those_that_there_are() {
    let server = start().await;
    let dir = server.dir.path().to_owned();
    let cases: [&[&str]; 4] = [
        &["budgets", "show", "acmee"],
        &["budgets", "history", "--tenant", "acmee"],
        &["budgets", "history", "--budget", "dayly"],
        &["budgets", "history", "--tenant", "#family"],
    ];
    for args in cases {
        let refused = run(&dir, args).await;
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(refused.status.code() == Some(1) && said.contains("there are "), "{args:?}: {refused:?}");
    }
    for args in [&["budgets", "show", "globex"][..], &["budgets", "history", "--tenant", "acme", "--budget", "daily"]] {
        assert!(run(&dir, args).await.status.success(), "{args:?}");
    }
    let dir = server.stop().await;
    let refused = run(dir.path(), &["budgets", "show", "acmee"]).await;
    assert!(String::from_utf8_lossy(&refused.stderr).contains("there are acme, globex"), "{refused:?}");
}

//! Marks of deploys: the boundary of the spans that alerts compare.
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};
use weir_clock::ManualClock;
use weir_contract::Timestamp;

use super::answering::run;
use super::commands::json as printed;
use super::events::{Worker, batch, noon};
use super::notifying::Receiver;
use super::server::Running;
use super::watching::{alerts, fires, start};

const DRIFT: &str =
    "  rules: [{name: drift, by: feature, when: [{measure: cost_per_request, rises_by: 50, against: 7d}]}]\n";

/// So many requests of the feature `search`, so many hours before noon, which cost 10 and half a dollar for each further input token.
async fn search(server: &Running, hours: u64, count: u64, input: u64) {
    let at = Timestamp::from_millis(noon().as_millis() - hours * 3_600_000);
    let worker = Worker::new(u8::try_from(hours).expect("a few hours"), at);
    let event = |number| {
        worker.usage_with(number, |data| {
            data.response_model = Some("m".into());
            data.feature = Some("search".into());
            data.usage.input_tokens = Some(input);
        })
    };
    let events: Vec<Vec<u8>> = (1..=count).map(event).collect();
    assert_eq!(server.post(batch(&events)).await.status(), StatusCode::ACCEPTED);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_marked_deploy_is_what_a_drift_is_measured_from_and_its_message_names_it() {
    let (receiver, clock) = (Receiver::default(), ManualClock::at(noon()));
    let url = receiver.listen().await;
    let hook = format!("  receivers: [{{name: hook, webhook: {{url: {url}, secret: {{file: secret}}}}}}]\n{DRIFT}");
    let server = start(&clock, &hook).await;
    let dir = server.dir.path().to_owned();
    // Over the last 24 hours a request costs 12, a fifth more than before; since 10 o'clock it costs twice as much.
    search(&server, 30, 2, 10).await;
    search(&server, 5, 4, 10).await;
    search(&server, 1, 1, 30).await;
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert!(alerts(&server, |_| true).await.is_empty(), "nobody has said what changed");

    let mark = ["deploys", "mark", "search v2", "--feature", "sea*", "--at", "2026-11-21T09:20", "--json"];
    let marked = run(&dir, &mark).await;
    assert_eq!(marked.status.code(), Some(0), "{marked:?}");
    let (marked, again) = (printed(&marked), printed(&run(&dir, &mark).await));
    assert_eq!(marked, again, "a pipeline may repeat it");
    let firing = alerts(&server, fires).await;
    let summary = firing[0]["summary"].as_str().unwrap_or_default();
    let who = marked["who"].as_str().expect("a name");
    let named = format!("the deploy search v2 at 2026-11-21T09:20:00.000Z, marked by {who}, since then");
    assert_eq!(
        summary,
        format!("feature search: the cost per request is 20 USD, 100 % more than 10 in the 7 days before {named}")
    );
    let got = receiver.calls(1, || ()).await;
    let body: Value = serde_json::from_str(&got[0].body).expect("JSON");
    assert!(body["data"]["summary"].as_str().is_some_and(|told| told.contains(&named)), "{body}");
    let audit = server.json("/v1/audit").await.to_string();
    assert!(audit.contains("deploys.mark") && audit.contains("search v2 at 2026-11-21T09:20"), "{audit}");

    let server = Running::start_by(server.stop().await, clock.clone(), "").await;
    assert_eq!(server.json("/v1/deploys").await, json!([marked]), "it is durable");
    let id = marked["id"].to_string();
    assert_eq!(run(&dir, &["deploys", "unmark", &id]).await.status.code(), Some(0));
    assert_eq!(run(&dir, &["deploys", "unmark", &id]).await.status.code(), Some(1), "it is gone");
    let dir = server.stop().await;
    assert_eq!(printed(&run(dir.path(), &["deploys", "list", "--json"]).await), json!([]), "without a server as well");
}

#[tokio::test]
async fn a_mark_that_no_rule_would_look_at_is_refused_with_a_remedy() {
    let server = Running::start(noon(), "").await;
    let refused = |body: Value| {
        let call = server.http.post(format!("{}/v1/deploys", server.url)).bearer_auth(super::server::TOKEN).json(&body);
        async move {
            let answer = call.send().await.expect("an answer");
            (answer.status(), answer.text().await.expect("text"))
        }
    };
    for (body, is_malformed, remedy) in [
        (json!({"name": " "}), true, "name: give what was deployed"),
        (json!({"name": "v2", "feature": ""}), true, "feature and prompt_version: patterns of 1 to"),
        (json!({"name": "v2", "at": "2026-11-21T13:00:00Z"}), false, "not within the last 90 days"),
        (json!({"name": "v2", "at": "2026-08-01T00:00:00Z"}), false, "not within the last 90 days"),
    ] {
        let (status, told) = refused(body).await;
        let expected = if is_malformed { StatusCode::BAD_REQUEST } else { StatusCode::CONFLICT };
        assert!(status == expected && told.contains(remedy), "{status} {told}");
    }
    let unknown = refused(json!({"name": "v2", "who": "eve"})).await;
    assert_eq!(unknown.0, StatusCode::BAD_REQUEST, "{}", unknown.1);
}

//! One look at everything, and letting go of refused events that nobody needs.
use serde_json::{Value, json};
use weir_clock::SystemClock;

use super::commands::{json as answer, stopped, weir};
use super::events::{Worker, batch};
use super::server::{Running, TOKEN};

fn recent() -> Worker {
    let now = SystemClock::start().now();
    Worker { time: now, ..Worker::new(1, now) }
}

async fn running() -> Running {
    // The events of tests have no price, and a rule tells that whenever it is looked at.
    let quiet = "alerts: {without: [unpriced-usage]}\n";
    Running::start_by(tempfile::tempdir().expect("a directory"), SystemClock::start(), quiet).await
}

#[tokio::test]
async fn the_status_lists_gateways_with_their_configuration_and_who_fetched_the_directory() {
    let (server, worker) = (running().await, recent());
    server.post(batch(&[worker.usage(1), worker.usage(2)])).await;
    server.json("/v1/ledger").await;
    server.http.get(format!("{}/v1/directory", server.url)).bearer_auth(TOKEN).send().await.expect("an answer");
    let status = server.json("/v1/status").await;
    let gateway = &status["gateways"][0];
    assert_eq!((&gateway["workers"], &gateway["accepted"], &gateway["missing"]), (&json!(1), &json!(2), &json!(0)));
    assert!(gateway["config_version"].is_string() && gateway["plans"][0].is_string(), "{gateway}");
    let fetch = &status["server"]["fetches"][0];
    assert_eq!((&fetch["token"], &fetch["version"]), (&json!("all"), &status["server"]["directory"]), "{status}");
    assert_eq!((&status["events"]["accepted"], &status["problems"]), (&json!(2), &json!([])), "{status}");
    let dir = server.dir.path().to_owned();
    let shown = tokio::task::spawn_blocking(move || weir(&dir, &["status"])).await.expect("run");
    let text = String::from_utf8_lossy(&shown.stdout);
    assert!(shown.status.success() && text.contains("gw-1") && text.contains("2 counted, 0 missing"), "{text}");
    server.stop().await;
}

#[tokio::test]
async fn the_status_exits_with_3_and_says_what_to_do_where_something_is_wrong() {
    let dir = stopped().await;
    let status = weir(dir.path(), &["status"]);
    let text = String::from_utf8_lossy(&status.stdout);
    assert_eq!(status.status.code(), Some(3), "{text}");
    for said in ["no server runs", "2 events are missing", "1 events are refused"] {
        assert!(text.contains(said), "{said}: {text}");
    }
    assert!(answer(&weir(dir.path(), &["status", "--json"]))["server"].is_null());
}

#[tokio::test]
async fn refused_events_that_a_person_lets_go_are_told_no_more_and_a_rebuild_agrees() {
    let dir = stopped().await;
    let without_why = weir(dir.path(), &["quarantine", "drop", "--why", " "]);
    assert!(
        String::from_utf8_lossy(&without_why.stderr).contains("why these events need not be counted"),
        "{without_why:?}"
    );
    let other = weir(dir.path(), &["quarantine", "drop", "--reason", "too_old", "--why", "x", "--json"]);
    assert_eq!(answer(&other)["dropped"], 0);
    let dropped = weir(dir.path(), &["quarantine", "drop", "--reason", "malformed", "--why", "a scanner", "--json"]);
    assert_eq!(answer(&dropped)["dropped"], 1, "{dropped:?}");
    assert_eq!(weir(dir.path(), &["quarantine", "list"]).status.code(), Some(0));
    assert_eq!(answer(&weir(dir.path(), &["quarantine", "retry", "--json"]))["refused"], 0);
    assert_eq!(answer(&weir(dir.path(), &["ledger", "--json"]))["quarantine"], json!({}));
    let audit = answer(&weir(dir.path(), &["audit", "--json"]));
    let entry = audit
        .as_array()
        .expect("entries")
        .iter()
        .find(|entry| entry["act"] == "quarantine drop" && entry["detail"] != "0 events of reason too_old: x");
    assert_eq!(entry.map(|entry| &entry["detail"]), Some(&json!("1 events of reason malformed: a scanner")), "{audit}");
    assert_eq!(weir(dir.path(), &["ledger", "rebuild"]).status.code(), Some(0), "the log counts to the same");
    assert_eq!(weir(dir.path(), &["ledger", "rebuild", "--replace"]).status.code(), Some(0));
    assert_eq!(weir(dir.path(), &["quarantine", "list"]).status.code(), Some(0), "and stays let go");
}

#[tokio::test]
async fn the_same_junk_again_stays_let_go_and_other_junk_is_told() {
    let server = running().await;
    server.post(batch(&[b"{}".to_vec()])).await;
    server.json("/v1/ledger").await;
    assert_eq!(server.ask("/v1/quarantine/drop", &json!({"why": "a test"})).await["dropped"], 1);
    server.post(batch(&[b"{}".to_vec()])).await;
    assert_eq!(server.json("/v1/ledger").await["quarantine"], json!({}));
    server.post(batch(&[b"{\"a\":1}".to_vec()])).await;
    assert_eq!(server.json("/v1/ledger").await["quarantine"], json!({"malformed": 1}));
    server.stop().await;
}

#[tokio::test]
async fn an_event_is_found_by_the_id_of_its_request_its_answer_or_its_trace() {
    let (server, worker) = (running().await, recent());
    let named = |number, request: &str, response: &str| {
        worker.usage_with(number, |data| {
            data.request_id = request.to_owned().into();
            data.response_id = Some(response.to_owned().into());
            data.trace_id = Some(format!("{number:032x}").into());
        })
    };
    server.post(batch(&[named(1, "req-1", "chatcmpl-1"), named(2, "req-2", "chatcmpl-2")])).await;
    server.post(batch(&[named(3, "req-1", "a/b \"c\"")])).await;
    let found = |events: &Value| -> Vec<String> {
        events
            .as_array()
            .expect("a list")
            .iter()
            .map(|event| event["event"]["data"]["request_id"].to_string())
            .collect()
    };
    assert_eq!(found(&server.json("/v1/events?id=req-1").await).len(), 2, "both");
    assert_eq!(found(&server.json("/v1/events?id=chatcmpl-2").await), ["\"req-2\""]);
    assert_eq!(found(&server.json(&format!("/v1/events?id={:032x}", 2)).await), ["\"req-2\""], "by its trace");
    assert_eq!(found(&server.json("/v1/events?id=a%2Fb%20%22c%22").await).len(), 1, "as JSON escapes it");
    assert_eq!(found(&server.json("/v1/events?id=req-1&from=2099-01-01T00:00:00Z").await).len(), 0);
    assert_eq!(found(&server.json("/v1/events?id=req-1&to=2020-01-01T00:00:00Z").await).len(), 0);
    let dir = server.stop().await;
    let shown = weir(dir.path(), &["events", "find", "chatcmpl-1"]);
    let text = String::from_utf8_lossy(&shown.stdout);
    assert!(shown.status.success() && text.contains("req-1") && text.contains("acme"), "{text}");
    let of_trace = weir(dir.path(), &["events", "find", &format!("{:032x}", 2)]);
    assert!(String::from_utf8_lossy(&of_trace.stdout).contains("req-2"), "{of_trace:?}");
    let none = weir(dir.path(), &["events", "find", "nobody"]);
    assert_eq!(none.status.code(), Some(3), "{none:?}");
}

//! HTTP requests and their answers.
use std::io::Write;

use reqwest::StatusCode;
use serde_json::{Value, json};
use weir_clock::ManualClock;
use weir_contract::batch::BATCH_MAX_BYTES;

use super::events::{Worker, batch, noon};
use super::server::{Running, TOKEN};

#[tokio::test]
async fn a_batch_is_accepted_counted_and_found_again() {
    let (server, worker) = (Running::start(noon(), "").await, Worker::new(1, noon()));
    let answer = server.post(batch(&[worker.usage(1), worker.usage(2)])).await;
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    assert_eq!(answer.json::<Value>().await.expect("JSON"), json!({"accepted": 2, "rejected": []}));
    assert_eq!(server.billable("requests").await, 2);
    let event = server.json(&format!("/v1/events/{}", worker.id(2))).await;
    assert_eq!(event["window"], "2026-11-21T12:00:00.000Z");
    assert_eq!(event["event"]["subject"], "acme");
}

#[tokio::test]
async fn one_bad_event_never_sinks_its_batch() {
    let (server, worker) = (Running::start(noon(), "").await, Worker::new(1, noon()));
    let events = [worker.usage(1), b"{\"specversion\":\"1.0\"}".to_vec(), worker.usage(2)];
    let answer: Value = server.post(batch(&events)).await.json().await.expect("JSON");
    assert_eq!((&answer["accepted"], &answer["rejected"][0]["index"]), (&json!(2), &json!(1)));
    assert_eq!(server.json("/v1/ledger").await["quarantine"]["malformed"], 1);
}

#[tokio::test]
async fn single_events_and_lines_are_taken_too() {
    let (server, worker) = (Running::start(noon(), "").await, Worker::new(1, noon()));
    let lines = [worker.usage(2), worker.usage(3)].join(&b'\n');
    for (kind, body) in [
        ("application/cloudevents+json", worker.usage(1)),
        ("application/x-ndjson", lines),
        ("application/json; charset=utf-8", batch(&[worker.usage(4)])),
        ("application/json", worker.usage(5)),
    ] {
        assert_eq!(server.post_as(TOKEN, kind, body).await.status(), StatusCode::ACCEPTED, "{kind}");
    }
    assert_eq!(server.billable("requests").await, 5);
}

#[tokio::test]
async fn a_gzipped_batch_is_taken_and_a_bomb_is_not() {
    let (server, worker) = (Running::start(noon(), "").await, Worker::new(1, noon()));
    let bomb = vec![b' '; BATCH_MAX_BYTES + 1];
    for (body, status) in [(batch(&[worker.usage(1)]), StatusCode::ACCEPTED), (bomb, StatusCode::PAYLOAD_TOO_LARGE)] {
        let request = server.http.post(format!("{}/v1/events", server.url)).bearer_auth(TOKEN);
        let request = request.header("content-encoding", "gzip").header("content-type", "application/json");
        assert_eq!(request.body(gzip(&body)).send().await.expect("an answer").status(), status);
    }
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(body).expect("compressed");
    encoder.finish().expect("compressed")
}

#[tokio::test]
async fn what_is_no_batch_is_refused_with_the_place() {
    let server = Running::start(noon(), "").await;
    let answer = server.post(b"[{},\n oops]".to_vec()).await;
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    assert!(answer.text().await.expect("text").contains("at byte 6"));
    assert_eq!(server.post_as(TOKEN, "text/plain", b"[]".to_vec()).await.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(server.post(batch(&vec![b"{}".to_vec(); 1_001])).await.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(server.json("/v1/ledger").await["log_position"], 0, "nothing of it is kept");
}

#[tokio::test]
async fn tokens_open_what_their_scopes_say() {
    let gateway = "- {name: gw, scopes: [ingest], gateway: gw-2, file: other}\n";
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("other"), "another-token-of-the-tests").expect("written");
    let server = Running::start_in(dir, noon(), gateway).await;
    let body = batch(&[Worker::new(1, noon()).usage(1)]);
    let kind = "application/cloudevents-batch+json";
    assert_eq!(server.post_as("wrong", kind, body.clone()).await.status(), StatusCode::UNAUTHORIZED);
    let usage = server.http.get(format!("{}/v1/usage", server.url)).bearer_auth("another-token-of-the-tests");
    assert_eq!(usage.send().await.expect("an answer").status(), StatusCode::FORBIDDEN);
    let bound = server.post_as("another-token-of-the-tests", kind, body).await;
    assert_eq!(bound.status(), StatusCode::FORBIDDEN, "the token speaks for gw-2 only");
    assert!(bound.text().await.expect("text").contains("bound to gateway"));
    let ledger = server.json("/v1/ledger").await;
    assert_eq!((&ledger["totals"]["sources"], &ledger["log_position"]), (&json!(0), &json!(0)), "nothing is kept");
}

#[tokio::test]
async fn tokens_that_only_read_change_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    for (name, secret) in [("m", "the-metrics-token-of-tests"), ("v", "the-viewers-token-of-tests")] {
        std::fs::write(dir.path().join(name), secret).expect("written");
    }
    let more =
        "- {name: m, scopes: [metrics], file: m}\n- {name: v, scopes: [viewer], file: v}\nallow_plaintext: true\n";
    let server = Running::start_open(dir, noon(), more).await;
    let call = async |method: &str, path: &str, token: &str| {
        let method = method.parse().expect("a method");
        let request = server.http.request(method, format!("{}{path}", server.url)).bearer_auth(token);
        request.body("{}").send().await.expect("an answer").status().as_u16()
    };
    let (metrics, viewer) = ("the-metrics-token-of-tests", "the-viewers-token-of-tests");
    assert_eq!((call("GET", "/metrics", "").await, call("GET", "/metrics", metrics).await), (401, 200));
    assert_eq!(call("GET", "/metrics", TOKEN).await, 200, "an administrator may look as well");
    for path in ["/v1/usage", "/v1/analysis?by=model", "/v1/ledger", "/v1/stripe", "/v1/audit", "/v1/quarantine"] {
        assert_eq!((call("GET", path, viewer).await, call("GET", path, metrics).await), (200, 403), "{path}");
    }
    let writing =
        ["/v1/report", "/v1/adjust", "/v1/audit", "/v1/users/forget", "/v1/quarantine/retry", "/v1/reconcile"];
    for path in writing {
        assert_eq!((call("POST", path, viewer).await, call("POST", path, metrics).await), (403, 403), "{path}");
    }
    assert_eq!(call("GET", "/v1/directory", viewer).await, 403, "keys' hashes are for gateways");
}

#[tokio::test]
async fn refused_events_are_listed_and_counted_once_what_refused_them_is_mended() {
    let (clock, worker) = (ManualClock::at(noon()), Worker::new(1, noon().plus_millis(30 * 3_600_000)));
    let server = Running::start_by(tempfile::tempdir().expect("a directory"), clock.clone(), "").await;
    let answer: Value = server.post(batch(&[worker.usage(1), b"{}".to_vec()])).await.json().await.expect("JSON");
    assert_eq!(answer["accepted"], 0, "its clock seems to be ahead");
    let listed = server.json("/v1/quarantine?reason=too_far_ahead").await;
    assert_eq!((&listed[0]["sequence"], &listed[0]["source"]), (&json!(1), &json!(worker.source.as_str())));
    assert!(listed[0]["event"].as_str().is_some_and(|event| event.contains("acme")), "whole: {listed}");
    assert_eq!(server.ask("/v1/quarantine/retry", &json!({})).await, json!({"accepted": 0, "refused": 2}));
    clock.advance(std::time::Duration::from_secs(30 * 3_600));
    assert_eq!(server.ask("/v1/quarantine/retry", &json!({})).await, json!({"accepted": 1, "refused": 1}));
    assert_eq!(server.billable("requests").await, 1);
    let left = server.json("/v1/quarantine").await;
    assert_eq!((left.as_array().map(Vec::len), &left[0]["reason"]), (Some(1), &json!("malformed")));
    let dir = server.stop().await;
    let rebuilt = super::commands::weir(dir.path(), &["ledger", "rebuild"]);
    assert_eq!(rebuilt.status.code(), Some(0), "the log alone says the same: {rebuilt:?}");
}

#[tokio::test]
async fn a_deleted_data_directory_takes_nothing_more() {
    let (server, worker) = (Running::start(noon(), "").await, Worker::new(1, noon()));
    assert_eq!(server.post(batch(&[worker.usage(1)])).await.status(), StatusCode::ACCEPTED);
    std::fs::rename(server.dir.path().join("weir-data"), server.dir.path().join("elsewhere")).expect("moved");
    let answer = server.post(batch(&[worker.usage(2)])).await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.headers().contains_key("retry-after"));
    assert_eq!(server.get("/readyz").await.status(), StatusCode::SERVICE_UNAVAILABLE);
    std::fs::rename(server.dir.path().join("elsewhere"), server.dir.path().join("weir-data")).expect("moved back");
    assert_eq!(server.post(batch(&[worker.usage(2)])).await.status(), StatusCode::ACCEPTED);
    assert_eq!(server.billable("requests").await, 2);
}

#[tokio::test]
async fn a_token_can_be_changed_without_a_restart() {
    let server = Running::start(noon(), "").await;
    let new = "a-new-token-of-the-tests";
    std::fs::write(server.dir.path().join("token"), new).expect("written");
    let kind = "application/cloudevents-batch+json";
    for _ in 0..100 {
        if server.post_as(new, kind, b"[]".to_vec()).await.status() == StatusCode::ACCEPTED {
            assert_eq!(server.post(b"[]".to_vec()).await.status(), StatusCode::UNAUTHORIZED);
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("the new token is never taken");
}

#[tokio::test]
async fn a_body_larger_than_a_batch_is_refused() {
    let server = Running::start(noon(), "").await;
    assert_eq!(server.post(vec![b' '; BATCH_MAX_BYTES + 1]).await.status(), StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn what_was_accepted_is_there_after_a_restart() {
    let (server, worker) = (Running::start(noon(), "").await, Worker::new(1, noon()));
    server.post(batch(&[worker.usage(1)])).await;
    let dir = server.stop().await;
    let server = Running::start_in(dir, noon(), "").await;
    server.post(batch(&[worker.usage(1), worker.usage(2)])).await;
    assert_eq!(server.billable("requests").await, 2);
    let text = server.get("/metrics").await.text().await.expect("text");
    assert!(text.contains("weir_source_events{state=\"duplicate\"} 1"), "{text}");
}

#[tokio::test]
async fn a_second_server_on_the_same_directory_refuses() {
    let server = Running::start(noon(), "").await;
    let config = weir::config::Config::load(&server.dir.path().join("weir.yaml")).expect("good");
    let second = weir::server::run::Server::start(config, weir_clock::SystemClock::start()).await;
    assert!(second.expect_err("refused").to_string().contains("in use by another weir"));
}

#[tokio::test]
async fn a_log_that_another_program_locks_takes_nothing_and_says_so() {
    let (server, worker) = (Running::start(noon(), "").await, Worker::new(1, noon()));
    let path = server.dir.path().join("weir-data/log.sqlite");
    let other = rusqlite::Connection::open(path).expect("open");
    other.execute_batch("BEGIN IMMEDIATE").expect("locked");
    let answer = server.post(batch(&[worker.usage(1)])).await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.headers().contains_key("retry-after"));
    assert!(answer.text().await.expect("text").contains("locked by another program"));
    assert_eq!(server.get("/readyz").await.status(), StatusCode::SERVICE_UNAVAILABLE);
    other.execute_batch("ROLLBACK").expect("given back");
    assert_eq!(server.post(batch(&[worker.usage(1)])).await.status(), StatusCode::ACCEPTED, "it goes on by itself");
    assert_eq!(server.billable("requests").await, 1);
    assert_eq!(server.get("/readyz").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_full_log_takes_nothing_says_so_and_loses_nothing() {
    let (server, worker) = (Running::start(noon(), "log_max_mb: 16\n").await, Worker::new(1, noon()));
    let mut acknowledged = 0;
    let refused = loop {
        assert!(acknowledged < 2_000, "it is never full");
        // Text that does not compress.
        let noise: String = (0..40_000_u64)
            .map(|n| char::from(b'a' + (weir_seeded::nth(0, acknowledged << 20 | n) >> 56) as u8 % 26))
            .collect();
        let event = worker.usage_with(acknowledged + 1, |data| data.feature = Some(noise.into()));
        let answer = server.post(batch(&[event])).await;
        if answer.status() != StatusCode::ACCEPTED {
            break answer;
        }
        acknowledged += 1;
    };
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.headers().contains_key("retry-after"));
    assert!(refused.text().await.expect("text").contains("the event log is full"));
    let ready = server.get("/readyz").await;
    assert_eq!(ready.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(ready.text().await.expect("text").contains("full"));
    assert_eq!(server.billable("requests").await, acknowledged, "what was acknowledged is counted, and no more");
}

#[tokio::test]
async fn an_event_that_is_nested_too_deeply_is_refused_alone() {
    let (server, worker) = (Running::start(noon(), "").await, Worker::new(1, noon()));
    let deep = format!("{}{}", "[".repeat(30_000), "]".repeat(30_000)).into_bytes();
    let within = format!("{{\"data\":{}}}", String::from_utf8_lossy(&deep)).into_bytes();
    let answer: Value = server.post(batch(&[deep, worker.usage(1), within])).await.json().await.expect("JSON");
    assert_eq!((&answer["accepted"], answer["rejected"].as_array().map(Vec::len)), (&json!(1), Some(2)));
}

#[tokio::test]
async fn a_damaged_log_is_named_and_does_not_start() {
    let (server, worker) = (Running::start(noon(), "").await, Worker::new(1, noon()));
    server.post(batch(&[worker.usage(1)])).await;
    let dir = server.stop().await;
    std::fs::write(dir.path().join("weir-data/log.sqlite"), [7; 40_000]).expect("damaged");
    let config = weir::config::Config::load(&dir.path().join("weir.yaml")).expect("good");
    let started = weir::server::run::Server::start(config, weir_clock::SystemClock::start()).await;
    let error = started.expect_err("refused").to_string();
    assert!(error.contains("log.sqlite") && error.contains("not a database"), "{error}");
}

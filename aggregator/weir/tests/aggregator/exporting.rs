//! Accepted events reach the receivers of others: in order, at least once, none that was refused; and `weir tail` shows them.
use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};
use weir_contract::{Class, Outcome};
use weir_rig::kafka::Kafka;
use weir_rig::redis::Redis;

use super::commands::weir;
use super::events::{Worker, batch, noon};
use super::server::{Running, TOKEN, config};
use super::watching::Script;

/// A receiver of batches: it keeps what it took, and refuses as it is told.
#[derive(Clone, Default)]
struct Receiver(Arc<Mutex<Received>>);

#[derive(Default)]
struct Received {
    events: Vec<Value>,
    tokens: Vec<String>,
    refusals: VecDeque<u16>,
}

impl Receiver {
    async fn start(&self) -> String {
        let received = self.clone();
        let take = move |headers: axum::http::HeaderMap, body: axum::body::Bytes| {
            let received = received.clone();
            async move { received.take(&headers, &body) }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/events", listener.local_addr().expect("an address"));
        let router = axum::Router::new().route("/events", axum::routing::post(take));
        tokio::spawn(async move { axum::serve(listener, router).await });
        url
    }

    fn with<T>(&self, act: impl FnOnce(&mut Received) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn take(&self, headers: &axum::http::HeaderMap, body: &[u8]) -> StatusCode {
        let header =
            |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        assert_eq!(header("content-type"), "application/cloudevents-batch+json");
        let events: Vec<Value> = serde_json::from_slice(body).expect("a batch");
        self.with(|received| {
            received.tokens.push(header("authorization"));
            // What it fails to answer it may have taken all the same.
            received.events.extend(events);
            received
                .refusals
                .pop_front()
                .map_or(StatusCode::NO_CONTENT, |code| StatusCode::from_u16(code).expect("a code"))
        })
    }

    /// The numbers of the usage events that it took, in order.
    fn sequences(&self) -> Vec<u64> {
        let number = |event: &Value| event["sequence"].as_str()?.trim_start_matches('0').parse().ok();
        self.with(|received| received.events.iter().filter_map(number).collect())
    }

    async fn until(&self, last: u64) {
        for _ in 0..200 {
            if self.sequences().last() == Some(&last) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("it never takes {last}: {:?}", self.sequences());
    }
}

fn over_http(url: &str) -> String {
    format!("export: [{{name: http, http: {{url: '{url}', token: {{file: token}}}}, from: oldest}}]\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accepted_events_arrive_in_order_and_refused_or_repeated_ones_do_not() {
    let (receiver, worker) = (Receiver::default(), Worker::new(1, noon()));
    let url = receiver.start().await;
    let server = Running::start(noon(), &over_http(&url)).await;
    server.post(batch(&[worker.usage(1), b"{}".to_vec(), worker.usage(2)])).await;
    server.post(batch(&[worker.usage(2), worker.usage(3)])).await;
    receiver.until(3).await;
    assert_eq!(receiver.sequences(), [1, 2, 3]);
    let first = receiver.with(|received| received.events[0].clone());
    let sent: Value = serde_json::from_slice(&worker.usage(1)).expect("JSON");
    assert_eq!(first, sent, "as it was received");
    assert!(receiver.with(|received| received.tokens[0].starts_with("Bearer a-token")));
    let metrics = server.get("/metrics").await.text().await.expect("text");
    assert!(metrics.contains("weir_export_events_total{export=\"http\"} 3"), "{metrics}");
    assert!(metrics.contains("weir_export_behind_records{export=\"http\"} 0"), "{metrics}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_fails_gets_its_events_again_and_a_restart_goes_on_where_it_was() {
    let (receiver, worker) = (Receiver::default(), Worker::new(1, noon()));
    let url = receiver.start().await;
    receiver.with(|received| received.refusals.push_back(503));
    let server = Running::start(noon(), &over_http(&url)).await;
    server.post(batch(&[worker.usage(1), worker.usage(2)])).await;
    receiver.until(2).await;
    for _ in 0..200 {
        if receiver.sequences().len() == 4 {
            break;
        }
        let problems = server.json("/v1/status").await["problems"].clone();
        let of_export = problems.as_array().into_iter().flatten().filter_map(|problem| problem.as_str());
        for problem in of_export.filter(|problem| problem.contains("export http")) {
            assert!(problem.contains("503"), "{problem}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(receiver.sequences(), [1, 2, 1, 2], "at least once, with the same ids");
    let caught_up = async || server.json("/v1/status").await["server"]["exports"][0]["behind_records"] == 0;
    while !caught_up().await {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let dir = server.stop().await;
    let server = Running::start_in(dir, noon(), &over_http(&url)).await;
    server.post(batch(&[worker.usage(3)])).await;
    receiver.until(3).await;
    assert_eq!(receiver.sequences(), [1, 2, 1, 2, 3], "what was handed on is not sent again");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_of_a_redis_gets_an_entry_for_each_event() {
    let redis = Redis::start().expect("a Redis");
    let more = format!(
        "export: [{{name: stream, redis: '{}', stream: 'events', types: [weir.usage.v1], from: oldest}}]\n",
        redis.url()
    );
    let (server, worker) = (Running::start(noon(), &more).await, Worker::new(1, noon()));
    server.post(batch(&[worker.usage(1), worker.refused(2, "rate_limited", 3), worker.usage(3)])).await;
    for _ in 0..200 {
        if redis.command("XLEN events").expect("asked").starts_with(":2") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let entries = redis.command("XRANGE events - +").expect("asked");
    let ids = [worker.id(1).to_string(), worker.id(3).to_string()];
    let at = ids.map(|id| entries.find(&id).expect("there"));
    assert!(at[0] < at[1] && entries.contains("acme") && entries.contains("weir.usage.v1"), "{entries}");
    assert!(!entries.contains("weir.refused.v1"), "only the types that are asked for");
    server.stop().await;
}

/// Reads records of a topic with a foreign consumer.
fn read_topic(kafka: &Kafka, topic: &str, count: usize) -> Vec<Value> {
    let root = weir_rig::workspace::root();
    let output = Command::new("python3")
        .arg(root.join("aggregator/weir/tests/aggregator/kafka_reader.py"))
        .args([&kafka.address().to_string(), topic, &count.to_string()])
        .env("PYTHONPATH", root.join(".tools/kafka"))
        .output()
        .expect("python3");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_of_a_kafka_gets_a_cloud_event_in_binary_mode_for_each_event() {
    let kafka = Kafka::start().expect("a broker; `make setup` fetches it");
    kafka.create_topic("events", 3).expect("made");
    let more = format!("export: [{{name: topic, kafka: '{}', from: oldest}}]\n", kafka.url("events"));
    let (server, acme) = (Running::start(noon(), &more).await, Worker::new(1, noon()));
    let globex = Worker { tenant: "globex", ..Worker::new(2, noon()) };
    server.post(batch(&[acme.usage(1), globex.usage(1), acme.refused(2, "rate_limited", 3)])).await;
    server.post(batch(&[acme.usage(1), acme.usage(3), globex.usage(2)])).await;
    let records = read_topic(&kafka, "events", 5);
    let header = |record: &Value, name: &str| -> Value {
        let headers = record["headers"].as_array().expect("headers");
        headers.iter().find(|header| header[0] == name).map_or(Value::Null, |header| header[1].clone())
    };
    let ids_of = |tenant: &str| -> Vec<String> {
        let own = records.iter().filter(|record| record["key"] == tenant);
        own.map(|record| header(record, "ce_id").as_str().expect("text").to_owned()).collect()
    };
    assert_eq!(ids_of("acme"), [1, 2, 3].map(|number| acme.id(number).to_string()), "in order, repeats left out");
    assert_eq!(ids_of("globex"), [1, 2].map(|number| globex.id(number).to_string()));
    let sent: Value = serde_json::from_slice(&acme.usage(1)).expect("JSON");
    let found = records.iter().find(|record| header(record, "ce_id") == sent["id"]).expect("there");
    for (name, value) in sent.as_object().expect("an object").iter().filter(|(name, _)| *name != "data") {
        match name.as_str() {
            "datacontenttype" => assert_eq!(header(found, "content-type"), *value),
            name => assert_eq!(header(found, &format!("ce_{name}")), *value, "{name}"),
        }
    }
    let data: Value = serde_json::from_str(found["value"].as_str().expect("text")).expect("JSON");
    assert_eq!((data, header(found, "content-type")), (sent["data"].clone(), "application/json".into()));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_become_opentelemetrys_metrics_of_generative_ai() {
    let mut collector = Script::start("otlp");
    let port = collector.next();
    let more = format!(
        "export: [{{name: otel, otlp: {{url: 'http://127.0.0.1:{port}', headers: {{x-key: {{file: token}}}}, every: 1s}}, from: oldest}}]\n"
    );
    let server = Running::start(noon(), &more).await;
    let worker = Worker::new(1, noon());
    let chat = |number, outcome, status| {
        worker.usage_with(number, |data| {
            data.class = Class::Chat;
            data.provider = Some("google".into());
            data.request_model = Some("fast".into());
            data.response_model = Some("gemini-2.5-flash".into());
            (data.outcome, data.status) = (outcome, status);
            (data.duration_ms, data.time_to_first_token_ms) = (1_500, Some(250));
        })
    };
    let good = chat(1, Outcome::Ok, 200);
    server.post(batch(&[good.clone(), worker.usage(2), chat(3, Outcome::UpstreamError, 502)])).await;
    // A repeat is counted once, here as everywhere.
    server.post(batch(&[good])).await;
    let is_whole = |call: &Value| call["points"].as_array().is_some_and(|points| points.len() == 5);
    let call = std::iter::repeat_with(|| collector.next())
        .take(30)
        .find(is_whole)
        .expect("all points, though one call failed");
    assert_eq!((&call["path"], &call["key"], &call["service"]), (&json!("/v1/metrics"), &json!(TOKEN), &json!("weir")));
    let of = json!({
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": "gcp.gemini",
        "gen_ai.request.model": "fast", "gen_ai.response.model": "gemini-2.5-flash",
    });
    let with = |name: &str, value: &str| {
        let mut of = of.clone();
        of[name] = json!(value);
        of
    };
    let point = |name: &str, of: &Value| {
        let found =
            call["points"].as_array().into_iter().flatten().find(|point| point["name"] == name && point["of"] == *of);
        found
            .map(|point| (point["unit"].clone(), point["count"].clone(), point["sum"].clone()))
            .unwrap_or_else(|| panic!("{name} {of}: {call}"))
    };
    let tokens = "gen_ai.client.token.usage";
    assert_eq!(point(tokens, &with("gen_ai.token.type", "input")), (json!("{token}"), json!(2), json!(20.0)));
    assert_eq!(point(tokens, &with("gen_ai.token.type", "output")), (json!("{token}"), json!(2), json!(10.0)));
    let duration = "gen_ai.client.operation.duration";
    assert_eq!(point(duration, &of), (json!("s"), json!(1), json!(1.5)));
    assert_eq!(point(duration, &with("error.type", "502")), (json!("s"), json!(1), json!(1.5)));
    assert_eq!(point("gen_ai.server.time_to_first_token", &of), (json!("s"), json!(1), json!(0.25)));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tail_follows_the_log_beside_the_server_and_shows_what_fits() {
    let server = Running::start(noon(), "").await;
    let (acme, globex) = (Worker::new(1, noon()), Worker { tenant: "globex", ..Worker::new(2, noon()) });
    server.post(batch(&[acme.usage(1)])).await;
    let mut tail = Command::new(env!("CARGO_BIN_EXE_weir"))
        .arg("--config")
        .arg(server.dir.path().join("weir.yaml"))
        .args(["tail", "--json", "--tenant", "acme", "--type", "usage", "--from", "2026-11-21", "--count", "2"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("started");
    let mut lines = BufReader::new(tail.stdout.take().expect("piped")).lines();
    let mut next =
        move || -> Value { serde_json::from_str(&lines.next().expect("a line").expect("text")).expect("JSON") };
    assert_eq!(next()["id"], acme.id(1).to_string());
    server.post(batch(&[globex.usage(1), acme.refused(2, "rate_limited", 1), acme.usage(3)])).await;
    assert_eq!(next()["id"], acme.id(3).to_string(), "the other tenant and type are left out");
    assert!(tail.wait().expect("ended").success());
    let dir = server.stop().await;
    let shown = weir(dir.path(), &["tail", "--from", "2026-11-21", "--no-follow"]);
    let text = String::from_utf8(shown.stdout).expect("text");
    assert_eq!(text.lines().count(), 4, "{text}");
    assert!(
        text.lines().next().is_some_and(|line| line.contains("acme") && line.contains("input_tokens=10")),
        "{text}"
    );
    std::fs::write(dir.path().join("weir.yaml"), config(dir.path(), "data: nowhere\n")).expect("written");
    let none = weir(dir.path(), &["tail"]);
    assert!(String::from_utf8_lossy(&none.stderr).contains("no event log yet"), "{none:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn top_sums_what_comes_while_it_looks() {
    let server = Running::start(noon(), "").await;
    let (acme, globex) = (Worker::new(1, noon()), Worker { tenant: "globex", ..Worker::new(2, noon()) });
    server.post(batch(&[acme.usage(1)])).await;
    let mut top = Command::new(env!("CARGO_BIN_EXE_weir"))
        .arg("--config")
        .arg(server.dir.path().join("weir.yaml"))
        .args(["top", "--json", "--every", "1"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("started");
    let mut lines = BufReader::new(top.stdout.take().expect("piped")).lines();
    let mut next =
        move || -> Value { serde_json::from_str(&lines.next().expect("a line").expect("text")).expect("JSON") };
    assert_eq!(next()["total"]["requests"], 0, "what was there before is not of now");
    server.post(batch(&[globex.usage(1), acme.refused(2, "rate_limited", 4), acme.usage(3), acme.usage(4)])).await;
    let screen = std::iter::repeat_with(next).find(|screen| screen["total"]["requests"] != 0).expect("a screen");
    let names: Vec<&Value> = screen["tenants"].as_array().expect("rows").iter().map(|row| &row[0]).collect();
    assert_eq!(names, ["acme", "globex"], "{screen}");
    assert_eq!((&screen["total"]["input_tokens"], &screen["refused"]), (&Value::from(30), &Value::from(4)), "{screen}");
    top.kill().expect("killed");
    top.wait().expect("ended");
    server.stop().await;
}

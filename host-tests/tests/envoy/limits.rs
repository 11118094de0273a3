//! Limits in the real Envoy: exact over time, kept over a new configuration and over a dying VM, felt when a plan changes.
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Response};
use serde_json::{Value, json};
use weir_rig::clock;
use weir_rig::envoy::Options;
use weir_rig::load::Client;
use weir_rig::server::{Handler, Reset, Server};
use weir_rig::workspace;

use crate::edge::{Edge, Setup, filter, manager, tenant, write_module};
use crate::hammer::hammer;
use crate::mortal::mortal;

/// How long buckets are hammered: long enough for some dozens of refilled units. `make limits` takes minutes.
fn time() -> Duration {
    Duration::from_secs(workspace::limit_seconds().unwrap_or(12))
}

/// Hammers a bucket through this many workers.
async fn exact_with(workers: u32) {
    let edge = Setup::workers(workers).start(&filter(&json!({"requests": {"rate": "5/s", "capacity": 60}})));
    let hammering = hammer(|| edge.models(), 2 * workers as usize, time()).await;
    hammering.assert_exact(60, 5);
    assert_eq!(edge.metric("weir_requests.result.admitted"), hammering.admitted() as u64);
    assert_eq!(edge.metric("weir_limited.unit.requests"), hammering.refused() as u64);
    assert_eq!(edge.metric("weir_limit_faults"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_two_and_four_workers_admit_over_time_is_the_arithmetic() {
    tokio::join!(exact_with(2), exact_with(4));
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_over_time_are_the_arithmetic_with_four_workers() {
    let edge = Setup::workers(4).start(&filter(&json!({"tokens": {"rate": "200/s", "capacity": 3_000}})));
    let body = json!({"model": "m", "messages": [{"content": "hi"}], "max_tokens": 90});
    let call = || edge.post("/v1/chat/completions", &body).header("x-rig-behaviour", "output_tokens=90");
    let started = clock::instant();
    let hammering = hammer(call, 6, time() / 2).await;
    let passed_ms = started.elapsed().as_millis() as u64;
    let used = edge.llm.tally().tenant("acme");
    let total = used.input + used.output;
    println!("{total} tokens used by {} requests in {passed_ms} ms", hammering.admitted());
    assert!(total * 1_000 <= 3_000_000 + 200 * passed_ms, "no request used more than it reserved");
    assert!(total + 200 > 3_000, "what there is can be used");
    assert_eq!(edge.metric("weir_tokens_overshot"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_configuration_keeps_balances_and_its_limits_hold_at_once() {
    let options = Options { listeners_from_file: true, ..Options::default() };
    let plan = |requests: Value| filter(&json!({ "requests": requests }));
    let mut edge = Setup { options, ..Setup::default() }.start(&plan(json!({"rate": "1/d", "capacity": 20})));
    assert_eq!(edge.statuses(8).await, [200; 8]);
    edge.reload(&plan(json!({"rate": "1/d", "capacity": 10})));
    let statuses = edge.statuses(12).await;
    assert_eq!((&statuses[..10], &statuses[10..]), (&[200; 10][..], &[429; 2][..]), "a lower capacity, at once");
    edge.reload(&plan(json!({"rate": "1/d", "capacity": 500})));
    assert_eq!(edge.statuses(3).await, [429; 3], "a reload fills nothing");
    edge.reload(&plan(json!({"rate": "100/s", "capacity": 500})));
    let refilled = wait_for(&edge, 200).await;
    assert!(refilled, "a faster refill, at once");
    edge.reload(&filter(&json!({})));
    assert_eq!(edge.statuses(20).await, [200; 20], "no limit, at once");
}

/// Sends requests until one has this status, for half a minute at most.
async fn wait_for(edge: &Edge, status: u16) -> bool {
    for _ in 0..300 {
        if edge.statuses(1).await == [status] {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    false
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_are_kept_over_vms_that_die() {
    let folder = tempfile::tempdir().expect("a folder");
    let shipped = std::fs::read(workspace::weir_wasm().expect("the built module")).expect("read");
    let wasm = write_module(folder.path(), &mortal(&shipped));
    let edit = |config: &mut Value| manager(config)["http_protocol_options"] = json!({"enable_trailers": true});
    let edge =
        Setup { wasm, edit, ..Setup::default() }.start(&filter(&json!({"requests": {"rate": "1/d", "capacity": 30}})));
    assert_eq!(edge.statuses(10).await, [200; 10]);
    // By globex, so that acme's count is its own; over many connections, so that both workers meet it.
    let head = b"GET /v1/models HTTP/1.1\r\nhost: x\r\nauthorization: Bearer sk_weir_globex\r\nconnection: close\r\n\
                 transfer-encoding: chunked\r\n\r\n";
    let deaths = || edge.envoy.log().matches("unreachable").count();
    for _ in 0..100 {
        let answer = edge.raw(&[head, b"1\r\nx\r\n", b"0\r\nx-last: 1\r\n\r\n"]);
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 503") || answer.starts_with("HTTP/1.1 429"),
            "{answer}"
        );
        if deaths() >= 4 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(deaths() >= 2, "no VM died: {}", edge.envoy.log());
    let mut seen = Vec::new();
    for _ in 0..300 {
        let status = edge.statuses(1).await[0];
        seen.push(status);
        if status == 503 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        if seen.iter().filter(|status| **status == 429).count() == 10 {
            break;
        }
    }
    assert_eq!(seen.iter().filter(|status| **status == 200).count(), 20, "what was left, and no more: {seen:?}");
    assert_eq!(seen.last(), Some(&429), "{seen:?}");
}

/// A directory that says which plan acme is on.
fn directory(plan: &Arc<Mutex<&'static str>>) -> Server {
    let plan = Arc::clone(plan);
    let handler: Handler = Arc::new(move |_request: Request<Body>| {
        let plan = *plan.lock().expect("lock");
        let page = json!({"version": plan, "tenants": [tenant("acme", plan)]});
        Box::pin(async move { Ok::<_, Reset>(Response::new(page.to_string().into())) })
    });
    Server::start("directory", handler).expect("a port")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_plan_is_felt_with_the_next_look_into_the_directory() {
    let plan = Arc::new(Mutex::new("small"));
    let server = directory(&plan);
    let mut config = filter(&json!({}));
    config.as_object_mut().expect("an object").remove("tenants");
    config["directory"] = json!({"cluster": "directory", "token": "t", "refresh": "1s"});
    config["plans"] = json!({"small": {"requests": {"rate": "1/d", "capacity": 2}}, "large": {}});
    let edge = Setup { clusters: vec![("directory", server.address())], ..Setup::default() }.start(&config);
    assert!(wait_for(&edge, 200).await && wait_for(&edge, 429).await, "{}", edge.envoy.log());
    for (next, status) in [("large", 200), ("small", 429)] {
        let changed = clock::instant();
        *plan.lock().expect("lock") = next;
        // Until every worker knows.
        let mut same = 0;
        for _ in 0..600 {
            let all = edge.statuses(5).await.iter().all(|found| *found == status);
            same = if all { same + 1 } else { 0 };
            if same == 4 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        println!("{next} was in force on every worker after {:?}, with a refresh of 1 s", changed.elapsed());
        assert_eq!(same, 4, "{next} is never in force");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plans_time_out_ends_a_whole_answer_and_no_stream() {
    let edge = Setup::default().start(&filter(&json!({"timeout": "1s"})));
    let send = async |stream: bool, behaviour: &str| {
        let body = json!({"model": "m", "stream": stream, "messages": [{"content": "hi"}]});
        let call = edge.post("/v1/chat/completions", &body).header("x-rig-behaviour", behaviour);
        Client::new().send(call).await
    };
    let (whole, stream) = tokio::join!(send(false, "delay_ms=30000"), send(true, "pieces=8, chunk_delay_ms=300"));
    assert_eq!(whole.status, 504);
    assert!(whole.duration < Duration::from_secs(25), "{:?}", whole.duration);
    assert!(stream.status == 200 && stream.text().ends_with("data: [DONE]\n\n"), "{}", stream.text());
    assert!(stream.duration > Duration::from_secs(2), "it took longer than the time-out: {:?}", stream.duration);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_clients_raise_their_rate_limit_error_and_retrying_get_through() {
    let edge = Setup::default().start(&filter(&json!({"requests": {"rate": "1/4s", "capacity": 1}})));
    let root = workspace::root();
    let run = std::process::Command::new("python3")
        .arg(root.join("host-tests/tests/envoy/rate_limits.py"))
        .arg(edge.envoy.url())
        .env("PYTHONPATH", root.join(".tools/clients"))
        .output()
        .expect("python3");
    let said = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "`make setup` brings the clients. {said}");
}

//! Hard budgets from end to end: two real Envoys of two workers each, the real `weir serve`, bursts, streams and restarts.
use std::time::Duration;

use serde_json::{Value, json};
use weir_contract::directory::KeyHash;
use weir_rig::aggregator::Aggregator;
use weir_rig::load::{Call, Client, Reply};

use crate::edge::{Edge, Setup, tenant};

const TOKEN: &str = "gateway-token-5f2c8e91d07b";

/// A server with one hard budget. Its stages come too late to help: the leases alone keep it.
fn serve(of: &str, amount: u64) -> Aggregator {
    let config = json!({
        "data": "data", "tenants": "tenants.yaml",
        "tokens": [{"name": "gateways", "scopes": ["ingest", "directory"], "sha256": KeyHash::of(TOKEN.as_bytes())}],
        "budgets": [{"name": "monthly", "of": of, "amount": amount.to_string(), "period": "month", "hard": true,
                     "stages": {"warn": 997, "degrade": 998, "contain": 999, "exceeded": 1000}}],
    });
    let tenants = json!({"tenants": [tenant("acme", "p")]}).to_string();
    Aggregator::start(&config, &[("tenants.yaml", &tenants)], &[]).expect("weir serve")
}

fn edge(weir: &Aggregator) -> Edge {
    let filter = json!({
        "version": 1,
        "identity": {"sources": [{"api_key": {"prefix": "sk_weir_"}}]},
        "directory": {"cluster": "aggregator", "token": TOKEN, "refresh": "1s"},
        "plans": {"p": {}},
        "events": {"cluster": "aggregator", "token": TOKEN, "flush": "100ms"},
    });
    let mut setup = Setup::workers(2);
    setup.clusters = vec![("aggregator", weir.address())];
    setup.start(&filter)
}

/// Waits for the first request that is served; returns its answer.
async fn until_ready(edge: &Edge, call: &Call) -> Reply {
    for _ in 0..300 {
        let reply = Client::new().send(call.clone()).await;
        if reply.status == 200 {
            return reply;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("never ready: {}", edge.envoy.log());
}

/// A burst at a gateway, over connections of its own; the answers.
async fn burst(call: Call, count: usize, at_once: usize) -> Vec<Reply> {
    Client::new().send_all((0..count).map(|_| call.clone()), at_once).await
}

fn served(replies: &[Reply]) -> u64 {
    replies.iter().filter(|reply| reply.status == 200).count() as u64
}

#[tokio::test(flavor = "multi_thread")]
async fn two_gateways_serve_no_request_beyond_a_hard_budget_whatever_is_killed() {
    const AMOUNT: u64 = 400;
    let mut weir = serve("requests", AMOUNT);
    let (mut one, other) = (edge(&weir), edge(&weir));
    let mut admitted = 0;
    for edge in [&one, &other] {
        until_ready(edge, &edge.models()).await;
        admitted += 1;
    }
    for round in 0..8 {
        let (first, second) = tokio::join!(burst(one.models(), 25, 8), burst(other.models(), 25, 8));
        admitted += served(&first) + served(&second);
        match round {
            2 => {
                one.envoy.kill().expect("killed");
                drop(one);
                one = edge(&weir);
                until_ready(&one, &one.models()).await;
                admitted += 1;
            }
            4 => {
                weir.kill().expect("killed");
                let (first, second) = tokio::join!(burst(one.models(), 10, 4), burst(other.models(), 10, 4));
                admitted += served(&first) + served(&second);
                weir.restart().expect("started");
            }
            _ => {}
        }
    }
    let mut statuses = Vec::new();
    for _ in 0..40 {
        let (first, second) = tokio::join!(burst(one.models(), 10, 4), burst(other.models(), 10, 4));
        admitted += served(&first) + served(&second);
        statuses = first.iter().chain(&second).map(|reply| reply.status).collect();
        if statuses.iter().all(|status| *status == 402) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    println!("{admitted} of {AMOUNT} requests were served");
    assert!(admitted <= AMOUNT, "{admitted}");
    assert!(admitted >= AMOUNT * 9 / 10, "{admitted}: a killed gateway costs a lease, and no more");
    assert!(statuses.iter().all(|status| *status == 402), "{statuses:?}");
}

/// What an answer says that it has used.
fn tokens(reply: &Reply) -> u64 {
    let of = |value: &Value| value["usage"]["total_tokens"].as_u64();
    if reply.status != 200 {
        return 0;
    }
    let events = reply.events();
    events.iter().rev().find_map(of).or_else(|| of(&reply.json())).unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn long_streams_of_two_gateways_use_no_token_beyond_a_hard_budget() {
    const AMOUNT: u64 = 20_000;
    let weir = serve("tokens", AMOUNT);
    let (one, other) = (edge(&weir), edge(&weir));
    let chat = |edge: &Edge, stream: bool| {
        let body = json!({"model": "m", "stream": stream, "stream_options": stream.then(|| json!({"include_usage": true})),
                          "max_tokens": 200, "messages": [{"role": "user", "content": "hi"}]});
        let behaviour = if stream { "output_tokens=150, pieces=10, chunk_delay_ms=60" } else { "output_tokens=150" };
        edge.post("/v1/chat/completions", &body).header("x-rig-behaviour", behaviour)
    };
    let mut used = 0;
    for edge in [&one, &other] {
        used += tokens(&until_ready(edge, &chat(edge, false)).await);
    }
    for round in 0..40 {
        let stream = round % 2 == 0;
        let (first, second) = tokio::join!(burst(chat(&one, stream), 8, 8), burst(chat(&other, stream), 8, 8));
        used += first.iter().chain(&second).map(tokens).sum::<u64>();
        if first.iter().chain(&second).all(|reply| reply.status != 200) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    println!("{used} of {AMOUNT} tokens were used");
    assert!(used <= AMOUNT, "{used}: no request uses more than it reserves");
    assert!(used >= AMOUNT * 8 / 10, "{used}");
}

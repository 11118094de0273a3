//! Budgets from end to end: the official clients, the real Envoy, the real `weir serve`, a stand-in provider.
use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use weir_contract::Timestamp;
use weir_contract::directory::KeyHash;
use weir_rig::aggregator::Aggregator;
use weir_rig::clock;
use weir_rig::load::{Client, Reply};
use weir_rig::workspace;

use crate::edge::{Edge, Setup, tenant};

const TOKEN: &str = "gateway-token-5f2c8e91d07b";
const VIEWER: &str = "viewer-token-93e0c7a51b2d";
/// How far away the end of the period is: no machine is so slow. The next one begins when the tenants file says so.
const PERIOD_SECS: u64 = 12 * 3_600;
/// The budget.
const REQUESTS: u64 = 20;

fn now() -> u64 {
    clock::now().as_second().try_into().expect("after 1970")
}

/// A tenants file in which the billing periods of acme end at this moment, and a day before and after it.
fn tenants(ends: u64) -> String {
    let mut acme = tenant("acme", "p");
    acme["billing_anchor"] = json!(Timestamp::from_secs(ends).to_string());
    acme["billing_interval"] = json!("day");
    json!({"tenants": [acme]}).to_string()
}

/// A server with a budget of 20 requests in a billing period.
fn serve(ends: u64) -> Aggregator {
    let sha256 = |token: &str| KeyHash::of(token.as_bytes());
    let config = json!({
        "data": "data", "tenants": "tenants.yaml",
        "tokens": [{"name": "gateways", "scopes": ["ingest", "directory"], "sha256": sha256(TOKEN)},
                   {"name": "ann", "scopes": ["viewer"], "sha256": sha256(VIEWER)}],
        "budgets": [{"name": "period", "of": "requests", "amount": "20", "period": "billing_period"}],
    });
    Aggregator::start(&config, &[("tenants.yaml", &tenants(ends))], &[]).expect("weir serve")
}

fn edge(weir: &Aggregator) -> Edge {
    let stages = json!({
        "degrade": {"models": {"allow": ["fast"], "otherwise": {"replace": "fast"}}},
        "exceeded": {"refuse": {"status": 402}},
    });
    let filter = json!({
        "version": 1,
        "identity": {"sources": [{"api_key": {"prefix": "sk_weir_"}},
                                 {"api_key": {"header": "x-api-key", "prefix": "sk_weir_"}}]},
        "directory": {"cluster": "aggregator", "token": TOKEN, "refresh": "1s"},
        "plans": {"p": {"stages": stages}},
        "limit_headers": {"budget": true},
        "events": {"cluster": "aggregator", "token": TOKEN, "flush": "100ms"},
    });
    let mut setup = Setup::workers(2);
    setup.clusters = vec![("aggregator", weir.address())];
    setup.start(&filter)
}

async fn chat(edge: &Edge) -> Reply {
    let body = json!({"model": "premium", "messages": [{"role": "user", "content": "How are you?"}]});
    Client::new().send(edge.post("/v1/chat/completions", &body)).await
}

/// One answer, as a client read it.
#[derive(Clone, Debug)]
struct Answer {
    model: String,
    input: u64,
    output: u64,
}

/// Runs the official clients, and returns what they were answered.
async fn clients(edge: &Edge, what: &'static str) -> Vec<Answer> {
    let (root, url) = (workspace::root(), edge.envoy.url());
    let mut command = std::process::Command::new("python3");
    command.arg(root.join("host-tests/tests/envoy/budgets.py")).args([&url, what]);
    command.env("PYTHONPATH", root.join(".tools/clients"));
    let run = tokio::task::spawn_blocking(move || command.output().expect("python3")).await.expect("run");
    let told = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "`make setup` brings the clients. {told} {}", edge.envoy.log());
    let lines = String::from_utf8_lossy(&run.stdout).into_owned();
    let answer = |line: &str| {
        let of: Value = serde_json::from_str(line).expect("JSON");
        let number = |name: &str| of[name].as_u64().expect("a number");
        Answer {
            model: of["model"].as_str().expect("a model").to_owned(),
            input: number("input"),
            output: number("output"),
        }
    };
    lines.lines().map(answer).collect()
}

/// Requests and tokens (input, output) by model.
type Sums = BTreeMap<String, (u64, u64, u64)>;

fn sums_of(answers: &[Answer]) -> Sums {
    let mut sums = Sums::new();
    for Answer { model, input, output } in answers {
        let sum = sums.entry(model.clone()).or_default();
        *sum = (sum.0 + 1, sum.1 + input, sum.2 + output);
    }
    sums
}

/// What the server has counted.
fn counted(weir: &Aggregator) -> Sums {
    let answer = weir.get("/v1/analysis?by=model&tenant=acme", VIEWER).expect("an answer");
    let rows = answer.json().expect("JSON");
    let number = |row: &Value, name: &str| row[name].as_u64().expect("a number");
    let sums = rows.as_array().expect("rows").iter().map(|row| {
        let model = row["values"][0].as_str().expect("a model").to_owned();
        (model, (number(row, "requests"), number(row, "input_tokens"), number(row, "output_tokens")))
    });
    // The looks for readiness ask for no model.
    sums.filter(|(model, _)| !model.is_empty()).collect()
}

/// Asserts that clients, provider and server have the same sums, to the token.
async fn assert_same_sums(weir: &Aggregator, edge: &Edge, answers: &[Answer]) {
    let of_clients = sums_of(answers);
    let tally = edge.llm.tally();
    let of_provider = tally.models.iter().map(|(model, sum)| (model.clone(), (sum.requests, sum.input, sum.output)));
    assert_eq!(of_provider.filter(|(model, _)| model != "unnamed").collect::<Sums>(), of_clients);
    let begun = clock::instant();
    while counted(weir) != of_clients {
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?} instead of {of_clients:?}", counted(weir));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// A refused request.
async fn refused(edge: &Edge) -> Reply {
    let reply = chat(edge).await;
    assert_eq!(reply.status, 402, "{}", reply.text());
    reply
}

async fn until_ready(edge: &Edge) {
    for _ in 0..300 {
        if edge.statuses(1).await == [200] {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("never ready: {}", edge.envoy.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn official_clients_get_a_premium_model_until_90_percent_a_fast_one_after_and_their_own_error_until_the_next_period()
 {
    let ends = now() + PERIOD_SECS;
    let weir = serve(ends);
    let edge = edge(&weir);
    until_ready(&edge).await;
    let mut answers = clients(&edge, "spend").await;
    let is_premium = |answer: &Answer| answer.model.starts_with("premium");
    let premium = answers.iter().take_while(|answer| is_premium(answer)).count();
    // The looks for readiness count, too.
    let looks = edge.llm.seen().len() - answers.len();
    println!(
        "{looks} looks, {premium} requests with the premium model, {} of {REQUESTS} in all",
        looks + answers.len()
    );
    assert!((looks + premium) as u64 >= REQUESTS * 9 / 10, "{answers:?}");
    assert!(answers.last().is_some_and(|last| !is_premium(last)), "the fast model serves before the end: {answers:?}");
    // Each worker learns of a stage by itself.
    let late = answers.iter().skip(premium).filter(|answer| is_premium(answer)).count();
    assert!(late <= 1, "{answers:?}");
    assert!((looks + answers.len()) as u64 >= REQUESTS, "refused before 100 %: {answers:?}");
    let header = refused(&edge).await.header("x-weir-budget").expect("the header").to_owned();
    assert!(header.starts_with("period;stage=exceeded;") && header.ends_with(&format!("resets=@{ends}")), "{header}");
    assert_same_sums(&weir, &edge, &answers).await;
    // The subscription begins anew, and with it the period.
    std::fs::write(weir.folder().join("tenants.yaml"), tenants(now())).expect("written");
    until_ready(&edge).await;
    let again = clients(&edge, "again").await;
    assert!(again.len() == 2 && again.iter().all(is_premium), "the stage ends with its period: {again:?}");
    answers.extend(again);
    assert_same_sums(&weir, &edge, &answers).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stage_reaches_every_worker_within_moments_of_the_event() {
    let weir = serve(now() + PERIOD_SECS);
    let edge = edge(&weir);
    until_ready(&edge).await;
    for _ in 0..REQUESTS {
        chat(&edge).await;
    }
    let begun = clock::instant();
    // Both workers, over connections of their own.
    loop {
        let statuses = edge.statuses(8).await;
        if statuses.iter().all(|status| *status == 402) {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{statuses:?} {}", edge.envoy.log());
    }
    println!("from the last answer to refusal on every worker: {:?}", begun.elapsed());
}

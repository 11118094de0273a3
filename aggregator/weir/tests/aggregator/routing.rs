//! Gateways fetch the catalogue of models and their live figures with the directory.
use std::time::Duration;

use reqwest::header::IF_NONE_MATCH;
use reqwest::{RequestBuilder, StatusCode};
use serde_json::{Value, json};
use weir_contract::event::Routed;
use weir_contract::event::attempts::LastFailure;
use weir_contract::{AttemptFailure, AttemptsData, BreakerChange, Class, ModelAttempts, Outcome, Text, Timestamp};
use weir_filter::config::Environment;
use weir_filter::fetch::Fetched;
use weir_filter::worker::{CatalogueUpdate, FetchOutcome, FilterState, Worker as FilterWorker};

use super::commands::weir;
use super::events::{Worker, batch, noon};
use super::server::{Running, TOKEN, config};

const CATALOGUE: &str = "
providers:
- {name: anthropic, dialect: anthropic}
- {name: azure, dialect: openai, region: eu}
models:
- {name: haiku, provider: anthropic, upstream: claude-haiku-4-5, context_max_tokens: 200000, output_max_tokens: 64000,
   price: {input: 1000000, output: 5000000}}
- {name: gpt-4o, provider: azure, context_max_tokens: 128000, output_max_tokens: 16384, price: {input: 2500000, output: 10000000}}
routing:
  rules: [{model: auto, candidates: [haiku, gpt-4o]}]
";

async fn start() -> Running {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("tenants.yaml"), "tenants: [{id: acme, plan: starter}]").expect("written");
    Running::start_in(dir, noon(), &format!("tenants: tenants.yaml\n{CATALOGUE}")).await
}

/// Puts another catalogue into the server's configuration.
fn write(server: &Running, catalogue: &str) {
    let text = config(server.dir.path(), &format!("tenants: tenants.yaml\n{catalogue}"));
    std::fs::write(server.dir.path().join("weir.yaml"), text).expect("written");
}

fn ask(server: &Running, query: &str, knows: &str) -> RequestBuilder {
    let request = server.http.get(format!("{}/v1/directory{query}", server.url)).bearer_auth(TOKEN);
    request.header("x-weir-knows", knows.to_owned()).header("x-weir-gateway", "gw-1")
}

/// The page that a gateway gets that knows this.
async fn page(server: &Running, query: &str, knows: &str) -> Value {
    ask(server, query, knows).send().await.expect("an answer").json().await.expect("a page")
}

/// Asks as a gateway that has everything but, perhaps, the parts.
async fn ask_again(server: &Running, version: &str, knows: &str, wait: &str) -> reqwest::Response {
    let request = ask(server, &format!("?since={version}&wait={wait}"), knows);
    request.header(IF_NONE_MATCH, format!("\"{version}\"")).send().await.expect("an answer")
}

#[tokio::test]
async fn a_gateway_gets_the_catalogue_once_and_again_when_it_changes() {
    let server = start().await;
    let first = page(&server, "", "stages,catalogue").await;
    let (version, known) = (first["version"].as_str().expect("a version"), &first["catalogue"]["version"]);
    assert_eq!(first["catalogue"]["content"]["models"][0]["upstream"], "claude-haiku-4-5");
    assert_eq!(first["tenants"][0]["id"], "acme");
    let knows = format!("catalogue={}", known.as_str().expect("a version"));
    assert_eq!(ask_again(&server, version, &knows, "1s").await.status(), StatusCode::NOT_MODIFIED);

    let change = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        write(&server, &CATALOGUE.replace("candidates: [haiku, gpt-4o]", "candidates: [gpt-4o]"));
    };
    let (answer, ()) = tokio::join!(ask_again(&server, version, &knows, "30s"), change);
    let next: Value = answer.json().await.expect("a page");
    assert_eq!(next["catalogue"]["content"]["routing"]["rules"][0]["candidates"], json!(["gpt-4o"]));
    assert_eq!((&next["since"], &next["tenants"]), (&json!(version), &json!([])), "nothing else has changed");
}

#[tokio::test]
async fn a_gateway_that_does_not_ask_for_a_catalogue_gets_none() {
    let server = start().await;
    assert!(page(&server, "", "stages,placement").await.get("catalogue").is_none());
}

#[tokio::test]
async fn a_wrong_catalogue_is_never_handed_out_and_the_last_good_one_stays() {
    let server = start().await;
    let first = page(&server, "", "catalogue").await;
    write(&server, &CATALOGUE.replace("candidates: [haiku, gpt-4o]", "candidates: [opus]"));
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(page(&server, "", "catalogue").await["catalogue"]["version"], first["catalogue"]["version"]);
    write(&server, "");
    for _ in 0..100 {
        let version = first["catalogue"]["version"].as_str().expect("a version");
        let now = page(&server, "", &format!("catalogue={version}")).await;
        if now["catalogue"] == json!({"version": "none", "content": null}) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("no gateway learns that the catalogue was taken away");
}

#[test]
fn a_wrong_catalogue_is_refused_with_its_place() {
    let dir = tempfile::tempdir().expect("a directory");
    let problem = |change: (&str, &str)| {
        let text = config(dir.path(), &CATALOGUE.replace(change.0, change.1));
        let path = dir.path().join("weir.yaml");
        std::fs::write(&path, text).expect("written");
        weir::config::Config::load(&path).expect_err("refused").to_string()
    };
    let unknown = problem(("[haiku, gpt-4o]", "[opus]"));
    assert!(unknown.ends_with("routing.rules[0]: no model of the catalogue is named \"opus\""), "{unknown}");
    let provider = problem(("provider: azure", "provider: aws"));
    assert!(provider.contains("models[1].provider: no provider is named \"aws\""), "{provider}");
    let unused = problem(("routing:\n  rules: [{model: auto, candidates: [haiku, gpt-4o]}]", ""));
    assert!(unused.contains("providers: without `routing` no gateway uses them"), "{unused}");
}

#[test]
fn what_no_gateway_would_read_is_refused_or_told() {
    let dir = tempfile::tempdir().expect("a directory");
    let check = |provider: &str| {
        let change = CATALOGUE.replace("{name: anthropic, dialect: anthropic}", provider);
        std::fs::write(dir.path().join("weir.yaml"), config(dir.path(), &change)).expect("written");
        let file = dir.path().join("weir.yaml");
        let checked = weir(dir.path(), &["check", file.to_str().expect("UTF-8")]);
        (checked.status.code(), String::from_utf8_lossy(&checked.stderr).into_owned())
    };
    let (code, said) = check("{name: anthropic, dialect: anthropic, tenant_key: {provider: anthropic}}");
    assert!(code == Some(1) && said.contains("providers[0].tenant_key: no gateway reads it here"), "{code:?} {said}");
    let (code, said) = check("{name: anthropic, dialect: anthropic, attempt_ms_max: 700}");
    assert!(
        code == Some(1) && said.contains("providers[0].attempt_ms_max: no gateway reads it here"),
        "{code:?} {said}"
    );
    let (code, said) = check("{name: anthropic, dialect: vertex_anthropic, path: \"/v1/{model}\"}");
    let told = "warning: providers[0].path: no gateway reads it here: each has its own";
    assert!(code == Some(3) && said.contains(told), "{code:?} {said}");
    let (code, said) = check("{name: anthropic, dialect: vertex_anthropic}");
    assert_eq!(code, Some(0), "{said}");
}

/// The filter of a gateway that has both providers.
fn gateway(worker: &mut FilterWorker, now: Timestamp) -> FilterState {
    let config = json!({
        "version": 1, "gateway": "gw-9", "identity": {"sources": [{"api_key": {"prefix": "sk_"}}]}, "plans": {"starter": {}},
        "directory": {"cluster": "weir", "token": TOKEN, "refresh": "1s", "wait": "0s"},
        "providers": [{"name": "anthropic", "dialect": "anthropic"}, {"name": "azure", "dialect": "openai", "region": "eu"}],
        "routing": {"from": "directory"},
    });
    worker.configure(config.to_string().as_bytes(), &Environment::Elsewhere, now).expect("a good configuration")
}

/// Makes the calls that are due, takes in what they bring, and returns what became of a catalogue.
async fn fetch(state: &mut FilterState, server: &Running, now: Timestamp) -> Option<CatalogueUpdate> {
    let mut last = None;
    while let Some(fetch) = state.next_fetch(now) {
        let mut request = server.http.get(format!("{}{}", server.url, fetch.path));
        for (name, value) in &fetch.headers {
            request = request.header(*name, value);
        }
        let answer = request.send().await.expect("an answer");
        let (status, body) = (answer.status().as_u16(), answer.bytes().await.expect("a body"));
        let answer = Fetched::Answer { status, etag: None, cache_control: None, body: &body };
        state.answered(fetch.target, &answer, now);
        for _ in 0..20 {
            if let Some(FetchOutcome::Catalogue(update)) = state.step(now) {
                last = Some(update);
            }
        }
    }
    last
}

#[tokio::test]
async fn the_filter_takes_the_catalogue_of_the_server_and_tells_it_of_one_that_it_cannot_use() {
    let server = start().await;
    write(&server, &format!("{CATALOGUE}  tell_client: true\n"));
    let (mut worker, mut now) = (FilterWorker::new([7; 32]), noon());
    let mut state = gateway(&mut worker, now);
    let tells = |state: &FilterState| state.policy.catalogue().expect("it routes").tells_client;
    assert!(!tells(&state), "nothing has come yet");
    for _ in 0..50 {
        fetch(&mut state, &server, now).await;
        if tells(&state) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        now = now.plus_millis(2_000);
    }
    assert!(tells(&state), "the server's catalogue is in force");

    let third = "- {name: own, dialect: vllm}\nmodels:\n- {name: llama, provider: own, context_max_tokens: 9, output_max_tokens: 9, price: {input: 1, output: 1}}";
    let gold = "rules: [{model: auto, match: {plans: [gold]}, candidates: [haiku]}, {";
    write(&server, &CATALOGUE.replace("models:", third).replace("rules: [{", gold));
    for _ in 0..50 {
        now = now.plus_millis(2_000);
        if let Some(CatalogueUpdate::Refused(why)) = fetch(&mut state, &server, now).await {
            assert!(why.contains("this gateway has no provider \"own\""), "{why}");
            fetch(&mut state, &server, now.plus_millis(2_000)).await;
            assert!(tells(&state), "the one before stays");
            let view = server.json("/v1/models").await;
            let using = &view["gateways"][0];
            assert_eq!((&using["gateway"], &using["refused"]), (&json!("gw-9"), &json!(true)));
            assert_eq!(using["version"], view["version"]);
            let problems = server.json("/v1/status").await["problems"].to_string();
            assert!(problems.contains("gateway gw-9 cannot use the catalogue"), "{problems}");
            assert!(problems.contains("names the plan \\\"gold\\\", which no gateway has"), "{problems}");
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the gateway never refuses the catalogue");
}

#[tokio::test]
async fn models_show_prices_figures_and_which_catalogue_each_gateway_has() {
    let server = start().await;
    let worker = Worker::new(1, noon());
    let served = |sequence: u64, ms: u64, outcome: Outcome| {
        worker.usage_with(sequence, |data| {
            (data.class, data.outcome, data.duration_ms) = (Class::Chat, outcome, ms);
            data.time_to_first_token_ms = Some(ms / 4);
            data.response_model = Some("claude-haiku-4-5-20251001".into());
            data.routed = Some(Routed {
                chosen: Text::from("haiku"),
                reason: Text::from("cheapest"),
                served: (outcome == Outcome::Ok).then(|| Text::from("haiku")),
                attempts: 1,
                ..Routed::default()
            });
        })
    };
    let mut events: Vec<_> = (1..=99).map(|at| served(at, 800, Outcome::Ok)).collect();
    events.push(served(100, 30, Outcome::UpstreamError));
    assert_eq!(server.post(batch(&events)).await.status(), StatusCode::ACCEPTED);
    assert_eq!(server.post(batch(&events[..1])).await.status(), StatusCode::ACCEPTED, "a repeat");
    let first = page(&server, "", "catalogue").await;
    let version = first["catalogue"]["version"].as_str().expect("a version");
    page(&server, "", &format!("catalogue={version},refuses_catalogue")).await;

    let view = server.json("/v1/models").await;
    let haiku = &view["models"][0];
    assert_eq!((&haiku["name"], &haiku["catalogue"]["price"]["output"]), (&json!("haiku"), &json!(5_000_000)));
    let row = &haiku["figures"][0];
    assert_eq!((&row["class"], &row["requests"], &row["errors"]), (&json!("chat"), &json!(100), &json!(1)));
    let between = |name: &str, least: u64, most: u64| {
        let found = row[name].as_u64().expect("a number");
        assert!((least..=most).contains(&found), "{name}: {found}");
    };
    between("p50_ms", 800, 900);
    between("p99_ms", 800, 900);
    between("first_token_p99_ms", 200, 225);
    assert_eq!(view["models"][1]["figures"], json!([]));
    let gateway = &view["gateways"][0];
    assert_eq!(
        (&gateway["gateway"], &gateway["version"], &gateway["refused"]),
        (&json!("gw-1"), &json!(version), &json!(true))
    );

    let figures = &page(&server, "", "figures").await["figures"];
    assert_eq!((&figures["content"][0]["model"], &figures["content"][0]["p99_ms"]), (&json!("haiku"), &row["p99_ms"]));
    let known = format!("figures={}", figures["version"].as_str().expect("a version"));
    assert!(page(&server, "", &known).await.get("figures").is_none(), "they have not changed");

    let dir = server.stop().await;
    let again = Running::start_in(dir, noon(), &format!("tenants: tenants.yaml\n{CATALOGUE}")).await;
    for _ in 0..100 {
        if again.json("/v1/models").await["models"][0]["figures"] == haiku["figures"] {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("a start forgets the figures of the last minutes");
}

/// Attempts at a model of `anthropic`, some of which failed; the breaker changed a second ago.
fn attempts(model: &str, made: u64, failed: u64, open_for_secs: Option<u64>) -> AttemptsData {
    let (at, reason) = (noon(), AttemptFailure::Silent);
    AttemptsData {
        models: vec![ModelAttempts {
            provider: "anthropic".to_owned(),
            model: model.to_owned(),
            made,
            failed: [(reason, failed)].into(),
            unanswered_input_tokens: failed * 1_000,
            retries_refused: failed / 3,
            last_failure: Some(LastFailure { at, reason, status: None }),
        }],
        breakers: vec![BreakerChange {
            provider: "anthropic".to_owned(),
            at,
            open_until: open_for_secs.map(|secs| at.plus_millis(secs * 1_000)),
        }],
    }
}

#[tokio::test]
async fn attempts_give_a_provider_its_health_and_failed_ones_a_possible_cost() {
    let server = start().await;
    let worker = Worker::new(1, noon());
    let events = [
        worker.attempts(1, attempts("haiku", 10, 3, Some(60))),
        worker.attempts(2, attempts("opus", 5, 1, Some(60))),
        worker.attempts(3, attempts("haiku", 2, 0, None)),
    ];
    server.post(batch(&events[..2])).await;
    server.post(batch(&events[..1])).await;
    server.json("/v1/ledger").await;
    let provider = &server.json("/v1/status").await["providers"][0];
    assert_eq!((&provider["provider"], &provider["attempts"]), (&json!("anthropic"), &json!(15)), "{provider}");
    assert_eq!((&provider["failed"], &provider["retries_refused"]), (&json!({"silent": 4}), &json!(1)));
    assert_eq!(provider["models"][0]["failed"], 3, "a retry that was refused is no failure of its own");
    // 3,000 tokens of haiku at 1.00 a million; opus is not in the catalogue.
    assert_eq!((&provider["possible_cost"], &provider["currency"]), (&json!("0.003"), &json!("USD")));
    assert_eq!(provider["unpriced_input_tokens"], 1_000);
    assert_eq!(
        (&provider["last_failure"]["reason"], &provider["last_failure"]["gateway"]),
        (&json!("silent"), &json!("gw-1"))
    );
    assert_eq!(provider["open"][0]["gateway"], "gw-1");
    let metrics = server.get("/metrics").await.text().await.expect("metrics");
    for line in [
        "weir_provider_attempts_total 15\n",
        "weir_provider_attempts_failed_total{reason=\"silent\"} 4\n",
        "weir_provider_attempts_failed_total{reason=\"overloaded\"} 0\n",
        "weir_provider_retries_refused_total 1\n",
        "weir_provider_breakers_open 1\n",
    ] {
        assert!(metrics.contains(line), "{line}");
    }
    let dir = server.dir.path().to_owned();
    let shown = tokio::task::spawn_blocking(move || weir(&dir, &["status"])).await.expect("run");
    let text = String::from_utf8_lossy(&shown.stdout);
    assert!(
        text.contains("silent 4, retries refused 1") && text.contains("0.003 USD, 1000 tokens without a price"),
        "{text}"
    );

    server.post(batch(&events[2..])).await;
    server.json("/v1/ledger").await;
    let provider = &server.json("/v1/status").await["providers"][0];
    assert_eq!((&provider["attempts"], &provider["open"]), (&json!(17), &json!([])), "the breaker is closed");
    let dir = server.stop().await;
    assert_eq!(weir(dir.path(), &["ledger", "rebuild"]).status.code(), Some(0), "the log counts to the same");
}

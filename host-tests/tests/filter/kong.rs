//! What only Kong does: reloads, upstreams without an answer, configurations that it has read itself.
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use weir_contract::signed::SigningKey;
use weir_host_tests::host::LogLevel;
use weir_host_tests::scenario::{Gateway, get, ok, post, secs, status};

use crate::common::{ACME, SIGNING_KEY, answer, chat, config, config_with, unlimited, usage_event, usage_events};

/// From now on the aggregator takes everything; what has arrived.
fn arrived(gateway: &Gateway) -> Arc<Mutex<Vec<Value>>> {
    let arrived = Arc::new(Mutex::new(Vec::new()));
    let shared = Arc::clone(&arrived);
    gateway.answer_all("weir", move |call| {
        shared.lock().expect("lock").extend(call.json().as_array().cloned().unwrap_or_default());
        status(202).json(&json!({"accepted": 1, "rejected": []}))
    });
    arrived
}

fn chats(gateway: &Gateway, count: usize) {
    for _ in 0..count {
        gateway.send(chat()).upstream(ok().json(&answer())).assert_status(200);
    }
}

/// The last words of sources that are gone: their last numbers.
fn closed(arrived: &Mutex<Vec<Value>>) -> Vec<u64> {
    let events = arrived.lock().expect("lock");
    let closed = events.iter().filter(|event| event["type"] == "weir.source.v1" && event["data"]["closed"] == true);
    closed.filter_map(|event| event["data"]["last"].as_u64()).collect()
}

#[test]
fn what_a_reload_took_is_told_by_number() {
    let gateway = Gateway::kong().config(unlimited()).workers(2).start();
    chats(&gateway, 7);
    gateway.worker(1).send(chat()).upstream(ok().json(&answer()));
    gateway.reload(unlimited()).expect("a good configuration");
    let arrived = arrived(&gateway);
    chats(&gateway, 1);
    gateway.run_for(secs(60));
    let mut told = closed(&arrived);
    told.sort_unstable();
    assert_eq!(told, [1, 7], "each once");
    gateway.reload(unlimited()).expect("a good configuration");
    gateway.run_for(secs(60));
    assert_eq!(closed(&arrived).len(), 3, "and the one that the second reload took");
}

#[test]
fn a_worker_that_is_exiting_logs_what_it_holds() {
    let gateway = Gateway::kong().config(unlimited()).start();
    gateway.run_for(secs(1));
    chats(&gateway, 3);
    let late = gateway.send(chat()).upstream(ok().open_ended());
    // An exiting worker receives no tick and no notice.
    gateway.advance(secs(10));
    late.client_gone();
    let key = SigningKey::new(SIGNING_KEY.as_bytes()).expect("a key");
    let lines = gateway.logs_at(LogLevel::Warn);
    assert_eq!(lines.iter().filter(|line| key.open(line).is_ok()).count(), 4, "{lines:?}");
}

#[test]
fn an_upstream_that_gives_no_answer_makes_one_event_and_gives_the_reservation_back() {
    let mut config = unlimited();
    config["plans"]["free"] = json!({"tokens": {"rate": "100/h", "capacity": 100}, "output_tokens_max": 90});
    let gateway = Gateway::kong().config(config).start();
    for _ in 0..5 {
        gateway.send(chat()).upstream(ok().reset()).assert_status(502);
        let data = &usage_event(&gateway)["data"];
        assert_eq!((&data["outcome"], &data["usage"]["status"]), (&json!("upstream_error"), &json!("none")), "{data}");
    }
    gateway.send(chat()).upstream(ok().json(&answer())).assert_status(200);
    assert_eq!(usage_event(&gateway)["data"]["outcome"], "ok");
}

#[test]
fn without_an_error_page_the_event_tells_the_status() {
    let gateway = Gateway::kong().without_error_page().config(unlimited()).start();
    gateway.send(chat()).upstream(ok().reset()).assert_status(502);
    let data = &usage_event(&gateway)["data"];
    assert_eq!((&data["outcome"], &data["status"]), (&json!("upstream_error"), &json!(502)), "{data}");
}

#[test]
fn a_configuration_that_is_refused_answers_503_and_kills_no_worker() {
    let gateway = Gateway::kong().config(unlimited()).start();
    gateway.reload(config_with("/gateway", json!(7))).expect("the worker lives");
    gateway.assert_logged(LogLevel::Error, "the configuration is refused. gateway");
    gateway.send(chat()).reply().assert_status(503);
    gateway.run_for(secs(5));
    gateway.reload(unlimited()).expect("a good configuration");
    chats(&gateway, 1);
}

#[test]
fn a_configuration_in_which_every_empty_list_is_an_object_means_the_same() {
    let mut config = config();
    config["tenants"] = json!([]);
    config["routes"] = json!([]);
    config["classification"] = json!([]);
    let gateway = Gateway::kong().config_in_yaml(&config).start();
    assert!(gateway.configurations()[0].contains(r#""tenants":{}"#));
    gateway.send(chat()).reply().assert_status(401);
}

#[test]
fn old_roots_and_leaked_timers_send_nothing_twice_and_call_no_more_often() {
    let gateway = Gateway::kong().config(unlimited()).expect_traps().start();
    for _ in 0..3 {
        gateway.change_configuration(unlimited()).expect("a good configuration");
    }
    let arrived = arrived(&gateway);
    chats(&gateway, 20);
    gateway.run_for(secs(5));
    let mut ids: Vec<String> = arrived.lock().expect("lock").iter().map(|event| event["id"].to_string()).collect();
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!((ids.len(), count), (20, 20));
    assert_eq!(gateway.traps(), []);
}

#[test]
fn nothing_is_logged_as_an_error_in_good_times_and_bad() {
    let gateway = Gateway::kong().config(unlimited()).start();
    chats(&gateway, 1);
    gateway.send(chat()).upstream(ok().sse(&["data: {}\n\n"]).client_gone());
    gateway.send(chat()).upstream(ok().timed_out());
    gateway.send(chat()).client_gone();
    gateway.run_for(secs(3));
    assert_eq!(gateway.logs_at(LogLevel::Error), [""; 0]);
}

#[test]
fn a_refusal_has_the_reason_of_its_status() {
    let gateway = Gateway::kong().config(unlimited()).start();
    assert_eq!(gateway.send(get("/v1/models")).reply().assert_status(401).reason(), None);
}

#[test]
fn a_bypass_goes_by_the_path_that_the_upstream_gets() {
    let gateway = Gateway::kong().config(unlimited()).start();
    for path in [
        "/healthz%3f/v1/models",
        "/x/..%2fhealthz",
        "/%68ealthz",
        "//healthz",
        "/healthz/.",
        "/v1/../healthz",
        "/healthz#f",
    ] {
        let reply = gateway.send(get(path)).reply();
        assert!([400, 401].contains(&reply.status()), "{path}: {}", reply.status());
    }
    gateway.send(get("/healthz?x=%2f")).upstream(ok()).assert_status(200);
}

#[test]
fn a_body_that_grows_reaches_the_upstream_whole() {
    let mut config = unlimited();
    config["plans"]["free"] = json!({"output_tokens_max": 900});
    let gateway = Gateway::kong().config(config).start();
    let body = json!({"model": "gpt-4o", "stream": true, "messages": []}).to_string();
    let whole = post("/v1/chat/completions").bearer(ACME).header("content-type", "application/json");
    let chunked = whole.clone().chunk(&body[..9]).chunk(&body[9..]);
    for request in [whole.body(&body), chunked] {
        let upstream = gateway.send(request).upstream(ok()).upstream_request();
        assert_eq!(
            (upstream.json()["max_tokens"].clone(), upstream.json()["stream"].clone()),
            (json!(900), json!(true))
        );
        let told = upstream.header("content-length").map(str::to_owned);
        assert!(told.is_none_or(|told| told == upstream.body().len().to_string()));
    }
}

#[test]
fn counts_in_headers_are_read_in_the_case_of_the_peer() {
    let gateway = Gateway::kong().config(unlimited()).start();
    let response =
        ok().header("X-Amzn-Bedrock-Input-Token-Count", "11").header("X-Amzn-Bedrock-Output-Token-Count", "22");
    let request = post("/model/amazon.titan-text/invoke").bearer(ACME).json(&json!({"inputText": "x"}));
    gateway.send(request).upstream(response.json(&json!({"results": []})));
    let usage = &usage_event(&gateway)["data"]["usage"];
    assert_eq!((&usage["input_tokens"], &usage["output_tokens"]), (&json!(11), &json!(22)));
}

#[test]
fn two_thousand_requests_a_second_make_as_many_events_although_calls_wait_for_ticks() {
    let gateway = Gateway::kong().config(unlimited()).workers(2).start();
    let arrived = arrived(&gateway);
    for _ in 0..40 {
        for worker in [0, 1] {
            for _ in 0..100 {
                gateway.worker(worker).send(chat()).upstream(ok().json(&answer())).forget();
            }
        }
        gateway.run_for(weir_host_tests::scenario::ms(100));
    }
    gateway.run_for(secs(3));
    let usage = arrived.lock().expect("lock").iter().filter(|event| event["type"] == "weir.usage.v1").count();
    assert_eq!(usage, 8_000);
    assert!(gateway.calls().iter().all(|call| usage_events(call).is_empty()));
}

/// The chains of `kong.yml`, as Kong hands their configurations over.
#[test]
fn the_shipped_chains_start_after_kong_has_read_them() {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../kong/kong.yml");
    let text = std::fs::read_to_string(file).expect("kong.yml");
    let read: Value = serde_saphyr::from_str(&Gateway::kong().yaml(&text)).expect("YAML");
    let chains = ["/services/0", "/services/1/routes/0", "/services/1/routes/1"];
    for chain in chains {
        let config = read.pointer(&format!("{chain}/filter_chains/0/filters/0/config")).expect("a configuration");
        let secrets = ["WEIR_GATEWAY_TOKEN", "WEIR_SIGNING_KEY"];
        let gateway = secrets.into_iter().fold(Gateway::kong(), |gateway, name| {
            gateway.environment(name, "a secret of the test, of 32 bytes or more")
        });
        let gateway = gateway.config_in_yaml(config).start();
        gateway.send(chat()).reply().assert_status(401);
        assert_eq!(gateway.logs_at(LogLevel::Error), [""; 0], "{chain}");
    }
}

#[test]
fn without_any_metric_nothing_else_changes() {
    let gateway = Gateway::kong().config(unlimited()).metrics_max(0).start();
    chats(&gateway, 1);
    assert_eq!(usage_event(&gateway)["data"]["usage"]["output_tokens"], 30);
}

/// A catalogue of one provider with two models.
fn routed(rules: &Value) -> Value {
    let model = |name: &str, price: u64| {
        json!({"name": name, "provider": "openai", "upstream": format!("{name}-2026"), "context_max_tokens": 100_000,
               "output_max_tokens": 1_000, "price": {"input": price, "output": price}})
    };
    let mut config = unlimited();
    config["providers"] = json!([{"name": "openai", "dialect": "openai"}]);
    config["models"] = json!([model("mini", 1), model("large", 9)]);
    config["routing"] = json!({"rules": rules, "tell_client": true});
    config
}

fn ask(model: &str) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": "How are you?"}]})
}

#[test]
fn the_filter_writes_the_chosen_model_of_one_provider_into_the_body() {
    let rules = json!([{"model": "auto", "match": {"prompt_tokens_max": 100}, "candidates": ["mini", "large"]},
                       {"model": "auto", "candidates": ["large"]}]);
    let gateway = Gateway::kong().config(routed(&rules)).start();
    let mut long = ask("auto");
    long["messages"][0]["content"] = json!("word ".repeat(500));
    for (body, upstream, told) in [
        (ask("auto"), "mini-2026", "asked=auto;chosen=mini;reason=cheapest"),
        (long, "large-2026", "asked=auto;chosen=large;reason=cheapest"),
        (ask("large"), "large-2026", "asked=large;chosen=large;reason=named"),
    ] {
        let request = post("/v1/chat/completions").bearer(ACME).json(&body);
        let reply = gateway.send(request).upstream(ok().json(&answer()));
        reply.assert_status(200);
        assert_eq!(reply.header("x-weir-route").as_deref(), Some(told));
        let sent = reply.upstream_request();
        assert_eq!((&sent.json()["model"], &sent.json()["messages"]), (&json!(upstream), &body["messages"]));
        assert_eq!(sent.header("content-length"), Some(sent.body().len().to_string().as_str()));
        assert_eq!(sent.header("x-weir-chain"), None, "no route of Kong's goes by it");
        let data = &usage_event(&gateway)["data"];
        assert_eq!((&data["routed"]["attempts"], &data["request_model"]), (&json!(1), &body["model"]), "{data}");
    }
    let other = post("/v1/messages").bearer(ACME).json(&ask("auto"));
    let refused = gateway.send(other).reply();
    refused.assert_status(400);
    assert!(
        refused.text().contains("No model that may serve"),
        "nobody would translate the answer: {}",
        refused.text()
    );
    assert_eq!(gateway.traps().len(), 0);
}

#[test]
fn a_catalogue_of_several_providers_is_refused() {
    let mut config = routed(&json!([{"model": "auto", "candidates": ["mini"]}]));
    config["providers"] = json!([{"name": "openai", "dialect": "openai"}, {"name": "other", "dialect": "openai"}]);
    let gateway = Gateway::kong().config(config).start();
    gateway.send(chat()).reply().assert_status(503);
    gateway.assert_logged(LogLevel::Error, "the configuration is refused. providers: Kong sends all requests");
}

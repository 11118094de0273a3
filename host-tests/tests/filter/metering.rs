//! Usage counts where a model was asked to work, and nowhere else.
use serde_json::{Value, json};
use weir_host_tests::host::LogLevel;
use weir_host_tests::on_both_gateways;
use weir_host_tests::scenario::{get, ok, post};

use crate::common::{ACME, answer, chat, unlimited, usage_event};

/// The most memory that pictures may add to the module: the largest body, its changed copy, and as much again for growing
/// them.
const PICTURES_MAX_BYTES: usize = 40 * 1024 * 1024;

/// A picture of 5 MB in base64.
fn picture() -> String {
    "iVBORw0KGgoAAAANSUhEUgAABAAAAAQACAIAAADwf7zU".chars().cycle().take(5_000_000).collect()
}

fn photographed(stream: bool) -> Value {
    let image = json!({"type": "image_url", "image_url": {"url": format!("data:image/png;base64,{}", picture())}});
    let content = json!([{"type": "text", "text": "What is this?"}, image]);
    json!({"model": "gpt-4o", "stream": stream, "messages": [{"role": "user", "content": content}]})
}

on_both_gateways! {
    fn a_document_that_says_usage_costs_nobody_anything(gateway) {
        let gateway = gateway.config(unlimited()).start();
        let planted = json!({"text": "x".repeat(5_000), "usage": {"prompt_tokens": 900_000_000, "completion_tokens": 1}});
        for request in [get("/api/articles/7"), post("/api/articles").json(&json!({"title": "Tides"}))] {
            gateway.send(request.bearer(ACME)).upstream(ok().json(&planted));
            assert_eq!(usage_event(&gateway)["data"]["usage"], json!({"status": "none"}));
        }
    }

    fn a_provider_behind_an_undeclared_path_is_counted_and_told_once(gateway) {
        let gateway = gateway.config(unlimited()).start();
        for _ in 0..3 {
            gateway.send(post("/ask").bearer(ACME).json(&json!({"q": "Tides?"}))).upstream(ok().json(&answer()));
            assert_eq!(usage_event(&gateway)["data"]["usage"], json!({"status": "none"}));
        }
        assert_eq!(gateway.metric("weir_usage_undeclared"), 3);
        let told = gateway.logs_at(LogLevel::Warn);
        assert_eq!(told.iter().filter(|line| line.contains("usage: read")).count(), 1, "{told:?}");
    }

    fn a_declared_route_is_read(gateway) {
        let mut config = unlimited();
        config["routes"] = json!([{"name": "ask", "match": {"path": "/ask"}, "usage": "read"}]);
        let gateway = gateway.config(config).start();
        gateway.send(post("/ask").bearer(ACME).json(&json!({"q": "Tides?"}))).upstream(ok().json(&answer()));
        assert_eq!(usage_event(&gateway)["data"]["usage"], json!({"status": "complete", "input_tokens": 12, "output_tokens": 30}));
        assert_eq!(gateway.metric("weir_usage_undeclared"), 0);
    }

    fn a_photograph_costs_its_fixed_price_and_its_stream_is_asked_for_usage(gateway) {
        let gateway = gateway.config(unlimited()).buffer_max_bytes(16 << 20).body_buffer_bytes(10 << 20).start();
        let request = post("/v1/chat/completions").bearer(ACME).json(&photographed(true));
        let reply = gateway.send(request).upstream(ok().sse(&[]).client_gone());
        assert_eq!(reply.upstream_request().json()["stream_options"]["include_usage"], true);
        let usage = usage_event(&gateway)["data"]["usage"].clone();
        let input = usage["input_tokens"].as_u64().unwrap_or(0);
        assert!((1_200..1_300).contains(&input), "{usage}");
    }

    fn a_hundred_photographs_at_once_cost_the_memory_of_one(gateway) {
        let gateway = gateway.config(unlimited()).start();
        gateway.send(chat()).upstream(ok().json(&answer()));
        let before = gateway.worker(0).memory_bytes();
        let body = photographed(true);
        let open: Vec<_> = (0..100)
            .map(|_| gateway.send(post("/v1/chat/completions").bearer(ACME).json(&body)).upstream(ok().sse(&[]).open_ended()))
            .collect();
        let grown = gateway.worker(0).memory_bytes() - before;
        println!("{} photographs of 5 MB at once cost {grown} bytes of the module's memory", open.len());
        assert!(grown <= PICTURES_MAX_BYTES, "{grown}");
    }
}

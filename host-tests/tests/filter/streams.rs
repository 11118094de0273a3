//! Streams pass as they come, and cost little memory whatever their size.
use serde_json::json;
use weir_host_tests::on_both_gateways;
use weir_host_tests::scenario::{ok, post};

use crate::common::{ACME, chat, unlimited, usage_event};

const CHUNK: &str = "data: {\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"}}]}\n\n";
const EXTRA: &str = "data: {\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4,\"total_tokens\":7}}\n\n";
const DONE: &str = "data: [DONE]\n\n";

/// The most memory that a stream may keep in the module: the reader, its place in the document, the event's fields.
const STREAM_MAX_BYTES: usize = 12 * 1024;

on_both_gateways! {
    fn an_explicit_no_to_usage_is_answered_as_such(gateway) {
        let gateway = gateway.config(unlimited()).start();
        let body = json!({"model": "gpt-4o", "stream": true, "stream_options": {"include_usage": false}, "messages": []});
        let request = || post("/v1/chat/completions").bearer(ACME).json(&body);
        for pieces in [vec![CHUNK, EXTRA, DONE], vec![CHUNK, &EXTRA[..20], &EXTRA[20..70], &EXTRA[70..], DONE]] {
            let reply = gateway.send(request()).upstream(ok().sse(&pieces));
            assert_eq!(reply.upstream_request().json()["stream_options"]["include_usage"], true);
            // On Kong an empty comment takes the place of a chunk of which nothing is left.
            assert_eq!(reply.text().replace(":\n\n", ""), [CHUNK, DONE].concat());
            assert_eq!(usage_event(&gateway)["data"]["usage"]["output_tokens"], 4, "it is counted all the same");
        }
    }

    fn an_event_without_end_passes_and_is_not_hoarded(gateway) {
        let gateway = gateway.config(unlimited()).start();
        let body = json!({"model": "gpt-4o", "stream": true, "messages": []});
        let reply = gateway.send(post("/v1/chat/completions").bearer(ACME).json(&body)).upstream(ok().sse(&["data: {\"choices\":[],\"x\":\""]).open_ended());
        let piece = "y".repeat(16 * 1024);
        reply.chunk(&piece);
        let before = gateway.worker(0).memory_bytes();
        (0..300).for_each(|_| { reply.chunk(&piece); });
        assert!(gateway.worker(0).memory_bytes() - before <= 128 * 1024);
        assert!(reply.text().len() > 290 * piece.len(), "all but a bounded rest has passed");
    }

    fn a_large_answer_costs_no_more_memory_than_a_small_one(gateway) {
        let gateway = gateway.config(unlimited()).start();
        let reply = gateway.send(chat()).upstream(ok().header("content-type", "application/json").open_ended());
        reply.chunk("{\"id\":\"c1\",\"object\":\"chat.completion\",\"model\":\"m\",\"choices\":[{\"index\":0,\"message\":{\"content\":\"");
        let piece = "tides rise and fall, \\\"usage\\\": {\\\"prompt_tokens\\\": 1} ".repeat(300);
        reply.chunk(&piece);
        let before = gateway.worker(0).memory_bytes();
        (0..1_000).for_each(|_| { reply.chunk(&piece); });
        assert!(gateway.worker(0).memory_bytes() - before <= 64 * 1024, "after {} bytes", 1_000 * piece.len());
        reply.chunk("\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":6,\"total_tokens\":11}}").end();
        let usage = usage_event(&gateway)["data"]["usage"].clone();
        assert_eq!(usage, json!({"status": "complete", "input_tokens": 5, "output_tokens": 6}));
    }

    fn hundreds_of_open_streams_cost_little_each(gateway) {
        let gateway = gateway.config(unlimited()).start();
        let open = || {
            let body = json!({"model": "gpt-4o", "stream": true, "messages": [{"role": "user", "content": "hi"}]});
            let reply = gateway.send(post("/v1/chat/completions").bearer(ACME).json(&body)).upstream(ok().sse(&[CHUNK, &CHUNK[..90]]).open_ended());
            assert!(reply.text().starts_with(CHUNK));
        };
        (0..50).for_each(|_| open());
        let before = gateway.worker(0).memory_bytes();
        (0..400).for_each(|_| open());
        let each = (gateway.worker(0).memory_bytes() - before) / 400;
        println!("an open stream costs {each} bytes of the module's memory");
        assert!(each <= STREAM_MAX_BYTES, "{each}");
    }
}

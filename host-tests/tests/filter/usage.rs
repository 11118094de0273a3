//! The event says what the provider said, however the answer is cut into chunks.
use crate::common::{ACME, answer, chat, unlimited, usage_event};
use serde_json::json;
use weir_host_tests::on_both_gateways;
use weir_host_tests::scenario::{Response, ok, post, status};

const OPENAI_STREAM: &str = "data: {\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"model\":\"gpt-4o\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"{\\\"usage\\\":{\\\"prompt_tokens\\\":999}}\"}}]}\n\n\
data: {\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"model\":\"gpt-4o\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n\
data: {\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"model\":\"gpt-4o\",\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":9,\"total_tokens\":16,\"prompt_tokens_details\":{\"cached_tokens\":4}}}\n\n\
data: [DONE]\n\n";

const ANTHROPIC_STREAM: &str = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"claude-sonnet-4-5\",\"content\":[],\"usage\":{\"input_tokens\":10,\"cache_creation_input_tokens\":3,\"cache_read_input_tokens\":5,\"output_tokens\":1}}}\n\n\
event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Hi\"}}\n\n\
event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":21}}\n\n\
event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";

fn stream(text: &str, chunk_bytes: usize) -> Response {
    ok().header("content-type", "text/event-stream").body_in_chunks_of(chunk_bytes, text)
}

on_both_gateways! {
    fn a_json_answer_is_read(gateway) {
        let gateway = gateway.config(unlimited()).start();
        gateway.send(chat()).upstream(ok().json(&answer()));
        let event = usage_event(&gateway);
        assert_eq!(event["data"]["usage"], json!({"status": "complete", "input_tokens": 12, "output_tokens": 30}));
        assert_eq!((&event["subject"], &event["data"]["provider"]), (&json!("acme"), &json!("openai")));
    }

    fn a_stream_passes_unchanged_and_is_read_in_every_way_of_cutting_it(gateway) {
        let gateway = gateway.config(unlimited()).start();
        for chunk_bytes in [1, 7, 64, 100_000] {
            let reply = gateway.send(chat()).upstream(stream(OPENAI_STREAM, chunk_bytes));
            assert_eq!(reply.text(), OPENAI_STREAM);
            let usage = usage_event(&gateway)["data"]["usage"].clone();
            let expected = json!({"status": "complete", "input_tokens": 7, "output_tokens": 9, "cache_read_tokens": 4});
            assert_eq!(usage, expected, "in chunks of {chunk_bytes}");
        }
    }

    fn anthropic_streams_count_cached_input_as_input(gateway) {
        let gateway = gateway.config(unlimited()).start();
        let request = || post("/v1/messages").bearer(ACME).json(&json!({"model": "claude-sonnet-4-5"}));
        for chunk_bytes in [5, 100_000] {
            gateway.send(request()).upstream(stream(ANTHROPIC_STREAM, chunk_bytes));
            let data = usage_event(&gateway)["data"].clone();
            assert_eq!((&data["usage"]["input_tokens"], &data["usage"]["output_tokens"]), (&json!(18), &json!(21)));
            assert_eq!((&data["provider"], &data["stream"]), (&json!("anthropic"), &json!(true)));
        }
    }

    fn a_client_that_leaves_makes_one_estimated_event(gateway) {
        let gateway = gateway.config(unlimited()).start();
        let cut = &OPENAI_STREAM[..OPENAI_STREAM.len() / 3];
        gateway.send(chat()).upstream(ok().sse(&[cut]).open_ended()).client_gone();
        let data = usage_event(&gateway)["data"].clone();
        assert_eq!((&data["outcome"], &data["usage"]["status"]), (&json!("client_closed"), &json!("estimated")));
    }

    fn an_error_of_the_upstream_used_nothing(gateway) {
        let gateway = gateway.config(unlimited()).start();
        gateway.send(chat()).upstream(status(500).json(&json!({"error": {"message": "overloaded"}})));
        let data = usage_event(&gateway)["data"].clone();
        assert_eq!((&data["outcome"], &data["usage"]), (&json!("upstream_error"), &json!({"status": "none"})));
    }
}

//! However a request ends, it makes exactly one event, and the event does not claim more than was seen.
use serde_json::{Value, json};
use weir_host_tests::on_both_gateways;
use weir_host_tests::scenario::{Gateway, Response, ok, secs, status};

use crate::common::{answer, chat, unlimited, usage_event};

/// A stream's first events: a few words, no numbers.
const WORDS: &str = "data: {\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"model\":\"gpt-4o\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"The tide comes in twice a day, and goes.\"}}]}\n\n";

fn words() -> Response {
    ok().sse(&[WORDS])
}

fn cut_json() -> Response {
    let text = answer().to_string();
    let cut = text.find("\"usage\"").expect("an answer with usage");
    ok().header("content-type", "application/json").header("content-length", text.len().to_string()).chunk(&text[..cut])
}

/// The one event, and no second one however long one waits.
fn only_event(gateway: &Gateway, case: &str) -> Value {
    let event = usage_event(gateway);
    gateway.run_for(secs(5));
    let more: Vec<String> =
        gateway.calls().iter().map(|call| String::from_utf8_lossy(call.body()).into_owned()).collect();
    assert!(more.iter().all(|batch| !batch.contains("weir.usage.v1")), "{case}: {more:?}");
    event["data"].clone()
}

fn check(gateway: &Gateway, case: &str, response: Response, outcomes: &[&str], usage_status: &str) -> Value {
    gateway.send(chat()).upstream(response);
    let data = only_event(gateway, case);
    let outcome = data["outcome"].as_str().unwrap_or_default();
    assert!(outcomes.contains(&outcome), "{case}: {data}");
    assert_eq!(data["usage"]["status"], usage_status, "{case}: {data}");
    data["usage"].clone()
}

on_both_gateways! {
    fn a_stream_that_breaks_off_is_estimated_from_what_was_seen(gateway) {
        let gateway = gateway.config(unlimited()).start();
        // Only Envoy says who broke a stream off.
        for (case, response, outcome) in [
            ("client gone", words().client_gone(), "client_closed"),
            ("upstream reset", words().reset(), "upstream_reset"),
            ("time-out", words().timed_out(), "timeout"),
        ] {
            let usage = check(&gateway, case, response, &[outcome, "client_closed"], "estimated");
            let output = usage["output_tokens"].as_u64().unwrap_or(0);
            assert!((5..=15).contains(&output), "{case}: eight words, {usage}");
            assert!(usage["input_tokens"].as_u64() > Some(0), "{case}: {usage}");
        }
    }

    fn a_truncated_body_is_estimated(gateway) {
        let gateway = gateway.config(unlimited()).start();
        for (case, response) in [("reset", cut_json().reset()), ("client gone", cut_json().client_gone())] {
            check(&gateway, case, response, &["upstream_reset", "client_closed"], "estimated");
        }
    }

    fn an_answer_without_numbers_is_estimated(gateway) {
        let gateway = gateway.config(unlimited()).start();
        let mut silent = answer();
        silent.as_object_mut().expect("an object").remove("usage");
        check(&gateway, "json", ok().json(&silent), &["ok"], "estimated");
        let stream = ok().sse(&[WORDS, "data: [DONE]\n\n"]);
        check(&gateway, "stream", stream, &["ok"], "estimated");
    }

    fn a_failure_before_the_first_word_used_nothing(gateway) {
        let gateway = gateway.config(unlimited()).start();
        for (case, response, outcomes) in [
            ("reset before an answer", ok().reset(), &["upstream_error", "upstream_reset"][..]),
            ("time-out before an answer", ok().timed_out(), &["timeout", "upstream_error"]),
            ("refused by the provider", status(429).json(&json!({"error": {"message": "slow down"}})), &["client_error"]),
        ] {
            check(&gateway, case, response, outcomes, "none");
        }
    }

    fn a_client_that_leaves_before_the_answer_makes_one_event(gateway) {
        let gateway = gateway.config(unlimited()).start();
        gateway.send(chat()).client_gone();
        let data = only_event(&gateway, "client gone before the answer");
        let usage = &data["usage"];
        assert_eq!((&data["outcome"], &usage["status"], &usage["output_tokens"]), (&json!("client_closed"), &json!("estimated"), &json!(0)));
    }

    fn the_numbers_of_a_finished_answer_stand_although_the_client_left(gateway) {
        let gateway = gateway.config(unlimited()).start();
        let last = "data: {\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":9,\"total_tokens\":16}}\n\n";
        let stop = "data: {\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
        let response = ok().sse(&[WORDS, stop, last, "data: [DONE]\n\n"]).client_gone();
        let usage = check(&gateway, "left after the end", response, &["client_closed"], "complete");
        assert_eq!((&usage["input_tokens"], &usage["output_tokens"]), (&json!(7), &json!(9)));
    }
}

//! Identifiers of other tenants leave no answer where the configuration says so.
use serde_json::{Value, json};
use weir_host_tests::host::Profile;
use weir_host_tests::on_both_gateways;
use weir_host_tests::scenario::{Gateway, ok, post, secs};

use crate::common::{ACME, answer, chat, unlimited};

fn config() -> Value {
    let mut config = unlimited();
    config["tenants"][0]["identifiers"] = json!(["Acme Corp"]);
    config["tenants"][1]["identifiers"] = json!(["Globex GmbH", "globex.example"]);
    config["redact"] = json!({"identifiers": true});
    config["routes"] = json!([{"match": {"path_prefix": "/internal"}, "redact": false}]);
    config
}

fn answer_with(text: &str) -> Value {
    let mut answer = answer();
    answer["choices"][0]["message"]["content"] = json!(text);
    answer
}

fn chunk(text: &str) -> String {
    format!("data: {}\n\n", json!({"id": "c1", "choices": [{"index": 0, "delta": {"content": text}}]}))
}

/// The findings of the minute that has passed.
fn findings(gateway: &Gateway) -> Vec<Value> {
    gateway.run_for(secs(62));
    let mut found = Vec::new();
    while let Some(call) = gateway.calls().into_iter().find(|call| call.upstream() == "weir") {
        let events = call.json().as_array().cloned().unwrap_or_default();
        found.extend(events.into_iter().filter(|event| event["type"] == "weir.security.v1"));
        call.answer(202, r#"{"accepted":1,"rejected":[]}"#);
    }
    found
}

on_both_gateways! {
    fn a_whole_answer_names_no_other_tenant(gateway) {
        let gateway = gateway.config(config()).start();
        let body = answer_with("Acme Corp works with Globex GmbH (globex.example).");
        let reply = gateway.send(chat()).upstream(ok().json(&body));
        let told: Value = reply.json();
        assert_eq!(told["choices"][0]["message"]["content"], "Acme Corp works with [redacted] ([redacted]).");
        let found = findings(&gateway);
        let finding = &found[0]["data"]["findings"][0];
        assert_eq!(found[0]["subject"], "acme");
        assert_eq!((&finding["kind"], &finding["severity"]), (&json!("foreign_identifier"), &json!("critical")));
        assert_eq!((&finding["count"], &finding["owners"]), (&json!(2), &json!(["globex"])));
        assert!(!found[0].to_string().contains("GmbH"), "no content is told");
    }

    fn an_answer_that_names_nobody_is_the_same_bytes(gateway) {
        let gateway = gateway.config(config()).start();
        let body = "{ \"text\" : \"gl\\u006fbexes and Acme Corp\" }";
        let reply = gateway.send(chat()).upstream(ok().header("content-type", "application/json").body(body));
        assert_eq!(reply.text().trim(), body);
    }

    fn a_stream_names_no_other_tenant_over_its_events(gateway) {
        let gateway = gateway.config(config()).start();
        let body = json!({"model": "gpt-4o", "stream": true, "messages": []});
        let pieces: Vec<String> = ["of Glo", "bex", " GmbH", ", yes"].iter().map(|text| chunk(text)).collect();
        let pieces: Vec<&str> = pieces.iter().map(String::as_str).chain(["data: [DONE]\n\n"]).collect();
        let reply = gateway.send(post("/v1/chat/completions").bearer(ACME).json(&body)).upstream(ok().sse(&pieces));
        let text = reply.text().replace(":\n\n", "");
        let said: String = text.lines().filter_map(|line| line.strip_prefix("data: {")).map(|rest| {
            let event: Value = serde_json::from_str(&format!("{{{rest}")).expect("an event");
            event["choices"][0]["delta"]["content"].as_str().unwrap_or_default().to_owned()
        }).collect();
        assert_eq!(said, "of [redacted], yes");
        assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
    }

    fn a_route_may_be_left_out(gateway) {
        let gateway = gateway.config(config()).start();
        let request = post("/internal/chat").bearer(ACME).json(&json!({}));
        let reply = gateway.send(request).upstream(ok().header("content-type", "application/json").body("\"globex\""));
        assert_eq!(reply.text(), "\"globex\"");
    }

    fn an_encoded_answer_is_not_asked_for_and_goes_no_further(gateway) {
        let gateway = gateway.config(config()).start();
        let request = post("/api/text").bearer(ACME).header("accept-encoding", "gzip").json(&json!({}));
        let answer = ok().header("content-type", "application/json").header("content-encoding", "gzip").body("globex");
        let reply = gateway.send(request).upstream(answer);
        assert_eq!(reply.upstream_request().header("accept-encoding"), Some("identity"));
        assert!(!reply.text().contains("globex"), "{}", reply.text());
        let found = findings(&gateway);
        assert_eq!(found[0]["data"]["findings"][0]["kind"], "unchecked_answer");
    }

    fn an_answer_that_the_gateway_does_not_show_or_change_ends_there(gateway) {
        let profile = gateway.profile();
        let gateway = gateway.config(config()).start();
        let body = json!({"model": "gpt-4o", "stream": true, "messages": []});
        let pieces = [chunk("of"), chunk(" Globex GmbH"), chunk(", yes")];
        for (at, hostcall) in (1..).zip(["proxy_set_buffer_bytes", "proxy_get_buffer_bytes"]) {
            let sent = gateway.send(post("/v1/chat/completions").bearer(ACME).json(&body));
            gateway.refuse_hostcall(hostcall);
            let reply = sent.upstream(ok().sse(&pieces.each_ref().map(String::as_str)));
            gateway.unleash_chaos(0, 0);
            if profile == Profile::Envoy {
                let text = reply.text();
                assert!(!text.contains("GmbH") && !text.contains("yes"), "{hostcall}: {text}");
            } else {
                // Kong cannot end it, and holds it: the client waits for the rest until it leaves.
                reply.client_gone();
            }
            assert_eq!(gateway.metric("weir_answers_stopped"), at);
            reply.forget();
        }
        let found = findings(&gateway);
        assert_eq!(found[0]["data"]["findings"][0]["kind"], "unchecked_answer");
    }

    fn text_in_another_encoding_and_drawings_are_no_way_past(gateway) {
        let gateway = gateway.config(config()).start();
        for kind in ["text/plain; charset=utf-16", "application/json;Charset=\"UTF-16LE\"", "image/svg+xml"] {
            let reply = gateway.send(chat()).upstream(ok().header("content-type", kind).body("<a>globex</a>"));
            assert!(!reply.text().contains("globex"), "{kind}: {}", reply.text());
        }
        let answer = ok().header("content-type", "application/json; charset=UTF-8").body("[\"globex\"]");
        assert_eq!(gateway.send(chat()).upstream(answer).text().trim(), "[\"[redacted]\"]");
    }

    fn probabilities_of_tokens_go_out_empty(gateway) {
        let gateway = gateway.config(config()).start();
        let mut body = answer_with("x");
        body["choices"][0]["logprobs"] = json!({"content": [{"token": "glo", "bytes": [103]}, {"token": "bex"}]});
        let told = gateway.send(chat()).upstream(ok().json(&body)).json();
        body["choices"][0]["logprobs"] = Value::Null;
        assert_eq!(told, body);
        assert_eq!(findings(&gateway), Vec::<Value>::new(), "nobody was named");
    }

    fn an_image_passes(gateway) {
        let gateway = gateway.config(config()).start();
        let reply = gateway.send(chat()).upstream(ok().header("content-type", "image/png").body("globex"));
        assert_eq!(reply.text(), "globex");
    }
}

#[test]
fn what_waits_goes_on_where_trailers_end_a_stream() {
    let gateway = Gateway::envoy().config(config()).start();
    let body = json!({"model": "gpt-4o", "stream": true, "messages": []});
    for (last, told) in [(" Glo", " Glo"), (" Globex GmbH", " [redacted]")] {
        let pieces = ["of", last].map(chunk);
        let mut answer = ok().header("content-type", "text/event-stream");
        for piece in &pieces {
            answer = answer.chunk(piece);
        }
        let request = post("/v1/chat/completions").bearer(ACME).json(&body);
        let reply = gateway.send(request).upstream(answer.trailer("x-checksum", "1"));
        assert_eq!(reply.text(), chunk("of") + &chunk(told));
    }
}

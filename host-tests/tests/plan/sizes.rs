//! Bodies of every size: weir itself causes no 413, and the sizes of a plan hold.
use crate::common::{ACME, CHAT, config, event, used};
use serde_json::{Value, json};
use weir_host_tests::on_both_gateways;
use weir_host_tests::scenario::{Request, ok, post};

/// What weir reads here, and what Envoy holds.
const READ_MAX: usize = 1_000_000;
const HELD_MAX: usize = 1 << 20;
/// The largest body that Envoy holds in the shipped configuration (`request_body_buffer_limit`): weir's bound and one read
/// more.
const SHIPPED_MAX: usize = 4 << 20;
/// What one read from a connection brings at most.
const CHUNK: usize = 1 << 20;

fn body(bytes: usize) -> String {
    let empty = r#"{"model":"mini","messages":[],"x":""}"#;
    format!("{}{}\"}}", &empty[..empty.len() - 2], "x".repeat(bytes - empty.len()))
}

fn told(body: &str) -> Request {
    post(CHAT).bearer(ACME).body_in_chunks_of(CHUNK, body)
}

fn untold(path: &str, body: &str) -> Request {
    let chunks = body.as_bytes().chunks(CHUNK);
    chunks.fold(post(path).bearer(ACME), Request::chunk)
}

/// Nearly all that is read, and then as much as one read brings.
fn in_bursts(body: &str) -> Request {
    let (first, rest) = body.as_bytes().split_at(body.len().min(READ_MAX - 1));
    rest.chunks(CHUNK).fold(post(CHAT).bearer(ACME).chunk(first), Request::chunk)
}

/// Without a rule about bodies.
fn plans() -> [Value; 2] {
    [json!({}), json!({"requests": {"rate": "1000/s"}})]
}

on_both_gateways! {
    fn a_body_of_any_size_passes_whole_where_no_rule_needs_it(gateway) {
        for (plan, size) in plans().into_iter().flat_map(|plan| {
            [100, 8_192, 8_193, READ_MAX, READ_MAX + 1, HELD_MAX + 1, 3 * HELD_MAX].map(|size| (plan.clone(), size))
        }) {
            let gateway = gateway.clone().config(config(plan)).buffer_max_bytes(SHIPPED_MAX).start();
            let body = body(size);
            for request in [told(&body), untold(CHAT, &body), in_bursts(&body)] {
                let reply = gateway.send(request).upstream(ok().json(&used(1, 1)));
                reply.assert_status(200);
                assert_eq!(reply.upstream_request().body().len(), size);
            }
            assert_eq!(event(&gateway)["request_bytes"], size);
        }
    }

    fn a_body_that_is_read_up_to_the_bound_is_edited_and_beyond_it_refused_in_the_apis_shape(gateway) {
        let plan = json!({"output_tokens_max": 5});
        let gateway = gateway.config(config(plan)).body_buffer_bytes(HELD_MAX).start();
        for request in [told(&body(READ_MAX)), untold(CHAT, &body(READ_MAX))] {
            let reply = gateway.send(request).upstream(ok().json(&used(1, 1)));
            assert_eq!(reply.upstream_request().json()["max_tokens"], 5);
        }
        for request in [told(&body(READ_MAX + 1)), untold(CHAT, &body(READ_MAX + 1))] {
            let reply = gateway.send(request).reply();
            reply.assert_status(413);
            assert_eq!(reply.json()["error"]["code"], "body_too_large");
        }
    }

    fn a_request_larger_than_the_plan_allows_is_refused_whether_its_head_tells_or_not(gateway) {
        for (path, plan) in [
            (CHAT, json!({"request_max_bytes": 100_000})),
            ("/v1/audio/transcriptions", json!({"request_max_bytes": 100_000, "models": {"allow": ["*"]}, "classes": ["audio", "chat"]})),
            ("/api/unknown", json!({"request_max_bytes": 100_000})),
            ("/api/unknown", json!({"request_max_bytes": 100_000, "requests": {"rate": "1/h"}})),
        ] {
            let gateway = gateway.clone().config(config(plan)).start();
            let large = body(100_001);
            for request in [post(path).bearer(ACME).body(&large), untold(path, &large)] {
                let reply = gateway.send(request).reply();
                reply.assert_status(413);
                assert!(reply.text().contains("larger than your plan allows"), "{path}: {}", reply.text());
            }
            assert_eq!(gateway.metric("weir_requests.result.request_too_large"), 2);
            gateway.send(post(path).bearer(ACME).body(body(90))).upstream(ok().json(&used(1, 1))).assert_status(200);
        }
    }
}

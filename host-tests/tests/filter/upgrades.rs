//! Connections that leave HTTP: refused, unless a route lets them; then one event says how long and how many bytes.
use serde_json::{Value, json};
use weir_host_tests::on_both_gateways;
use weir_host_tests::scenario::{Gateway, GatewayBuilder, Request, get, ms, ok, post, request, secs, status};

use crate::common::{ACME, unlimited, usage_events};

fn start(gateway: GatewayBuilder) -> Gateway {
    let mut config = unlimited();
    config["routes"] = json!([{"name": "socket", "match": {"path": "/socket"}, "upgrade": true}]);
    gateway.config(&config).start()
}

fn websocket(path: &str) -> Request {
    get(path).bearer(ACME).header("connection", "upgrade").header("upgrade", "websocket")
}

/// The usage events that have left by now.
fn events(gateway: &Gateway) -> Vec<Value> {
    let mut found = Vec::new();
    for _ in 0..3 {
        gateway.run_for(secs(2));
        for call in gateway.calls() {
            found.extend(usage_events(&call));
            call.answer(202, r#"{"accepted":1,"rejected":[]}"#);
        }
    }
    found
}

on_both_gateways! {
    fn an_upgrade_is_refused_unless_a_route_lets_it_and_one_with_a_body_always(gateway) {
        let gateway = start(gateway);
        gateway.send(websocket("/v1/realtime")).reply().assert_status(403);
        gateway.send(request("CONNECT", "").bearer(ACME)).reply().assert_status(403);
        let with_body = post("/socket").bearer(ACME).header("upgrade", "websocket").header("content-length", "2");
        gateway.send(with_body).reply().assert_status(400);
        let chunked = post("/socket").bearer(ACME).header("upgrade", "websocket").header("transfer-encoding", "chunked");
        gateway.send(chunked).reply().assert_status(400);
        gateway.send(get("/socket").header("upgrade", "websocket")).reply().assert_status(401);
        assert_eq!(gateway.metric("weir_requests.result.upgrade_not_permitted"), 2);
        assert_eq!(gateway.metric("weir_requests.result.upgrade_with_body"), 2);
        gateway.send(websocket("/socket")).upstream(ok()).assert_status(200);
        assert_eq!(events(&gateway).len(), 1, "what was refused is no usage");
    }
}

// Kong's runtime shows an upgraded connection's bytes to no filter: this is Envoy's.
#[test]
fn an_upgraded_connection_makes_one_event_with_its_time_and_bytes() {
    let gateway = start(Gateway::envoy());
    let sent = gateway.send(websocket("/socket").open_ended());
    let reply = sent.upstream(status(101).header("upgrade", "websocket").open_ended());
    sent.chunk("ping-1");
    reply.chunk("pong");
    gateway.advance(ms(1_500));
    sent.chunk("ping-2");
    reply.chunk("pong-pong");
    reply.client_gone();
    let events = events(&gateway);
    assert_eq!(events.len(), 1, "{events:?}");
    let data = &events[0]["data"];
    assert_eq!((&data["route"], &data["status"], &data["duration_ms"]), (&json!("socket"), &json!(101), &json!(1_500)));
    assert_eq!((&data["request_bytes"], &data["response_bytes"]), (&json!(12), &json!(13)));
    assert_eq!(data["usage"]["status"], json!("none"));
}

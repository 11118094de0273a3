//! Answers that end in trailers, and what gRPC says in them.
use crate::common::{ACME, unlimited, usage_events};
use weir_host_tests::on_both_gateways;
use weir_host_tests::scenario::{Gateway, post, secs, status};

/// How a call that the service ended with these trailers stands in its event.
fn outcome(gateway: &Gateway, trailers: &[(&str, &str)]) -> String {
    let call = post("/weir.test.Echo/Unary").header("authorization", &format!("Bearer {ACME}"));
    let call = call.header("content-type", "application/grpc").chunk([0, 0, 0, 0, 3]).chunk("abc");
    let answer = status(200).header("content-type", "application/grpc").chunk([0, 0, 0, 0, 3]).chunk("cba");
    let answer = trailers.iter().fold(answer, |answer, (name, value)| answer.trailer(name, value));
    gateway.worker(0).send(call).upstream(answer).assert_status(200);
    gateway.run_for(secs(3));
    let call = gateway.calls().pop().expect("a batch");
    let events = usage_events(&call);
    assert_eq!(events.len(), 1);
    assert!(events[0]["data"]["provider"].is_null(), "a zero byte is no provider: {events:?}");
    call.answer(202, r#"{"accepted":1,"rejected":[]}"#);
    events[0]["data"]["outcome"].as_str().expect("an outcome").to_owned()
}

on_both_gateways! {
    fn a_grpc_call_ended_as_its_status_says(gateway) {
        let gateway = gateway.config(unlimited()).start();
        let table = [("0", "ok"), ("1", "client_closed"), ("4", "timeout"), ("7", "client_error"), ("14", "upstream_error"),
                     ("?", "upstream_error")];
        for (code, expected) in table {
            assert_eq!(outcome(&gateway, &[("grpc-status", code)]), expected, "{code}");
        }
        assert_eq!(outcome(&gateway, &[("x-other", "1")]), "upstream_error", "a call without its status has failed");
    }
}

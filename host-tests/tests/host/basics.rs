//! A request goes through, both ways, on both hosts.

use weir_host_tests::host::worker::StreamEnd;
use weir_host_tests::on_both_gateways;
use weir_host_tests::scenario::{get, ok, post, secs, status};

use crate::probe::{callbacks, outcome, probe};

on_both_gateways! {
    fn a_request_and_its_response_pass_byte_for_byte(gateway) {
        let gateway = gateway.filter(probe()).start();
        let reply = gateway.send(post("/v1/chat?x=1").body("hello")).upstream(ok().sse(&["data: a\n\n", "data: b\n\n"]));
        reply.assert_status(200).assert_header("content-type", "text/event-stream");
        assert_eq!(reply.text(), "data: a\n\ndata: b\n\n");
        assert_eq!(reply.response().chunks.len(), 2);
        assert_eq!(reply.upstream_request().path(), "/v1/chat?x=1");
        assert_eq!(reply.upstream_request().text(), "hello");
        assert_eq!(reply.stream_end(), Some(StreamEnd::Complete));
        assert!(reply.fuel() > 0);
    }

    fn a_local_reply_keeps_the_request_from_the_upstream(gateway) {
        let gateway = gateway.filter(probe()).config("request_headers: reply 401 go away; pause").start();
        let reply = gateway.send(get("/")).reply();
        reply.assert_status(401).assert_header("x-probe", "1");
        assert_eq!(reply.text(), "go away");
        assert!(!reply.reached_upstream() && reply.is_local());
    }

    fn headers_set_in_request_headers_reach_the_upstream(gateway) {
        let script = "request_headers: set_header request x-tenant-id acme; add_header request x-two 2";
        let gateway = gateway.filter(probe()).config(script).start();
        let reply = gateway.send(get("/").header("x-tenant-id", "spoofed")).upstream(status(204));
        assert_eq!(reply.upstream_request().header("x-tenant-id"), Some("acme"));
        assert_eq!(reply.upstream_request().header("x-two"), Some("2"));
    }

    fn a_tick_dispatches_a_call_and_gets_its_answer(gateway) {
        let script = "configure: tick_every 1000\n\
                      tick: dispatch weir /v1/events\n\
                      call_response: get_header call :status; get_body call; get_header call_trailers x";
        let gateway = gateway.filter(probe()).config(script).start();
        gateway.worker(0).tick();
        let call = gateway.next_call("weir").expect_path("/v1/events");
        assert_eq!(call.body(), b"hello");
        assert_eq!(call.timeout(), secs(5));
        call.answer_with(status(202).body("{}").trailer("x", "y"));
        assert_eq!(outcome(&gateway, "call_response: get_header call :status"), "Ok \"202\"");
        assert_eq!(outcome(&gateway, "call_response: get_body call"), "Ok \"{}\"");
        assert_eq!(outcome(&gateway, "call_response: get_header call_trailers x"), "Ok \"y\"");
        gateway.assert_no_calls();
    }

    fn the_clock_stands_still_until_the_test_moves_it(gateway) {
        let gateway = gateway.filter(probe()).config("request_headers: time").at("2026-11-21T03:14:15Z").start();
        gateway.send(get("/")).upstream(ok());
        assert_eq!(outcome(&gateway, "request_headers: time"), "Ok 1795230855000000000");
        gateway.advance(secs(60));
        gateway.send(get("/")).upstream(ok());
        assert_eq!(outcome(&gateway, "request_headers: time"), "Ok 1795230915000000000");
    }

    fn ticks_come_when_they_are_due(gateway) {
        let gateway = gateway.filter(probe()).config("configure: tick_every 1000").start();
        gateway.run_for(secs(3));
        let tickers = gateway.logs().iter().map(|line| line.place).collect::<std::collections::BTreeSet<_>>();
        let tickers = tickers.iter().filter(|place| !matches!(place, weir_host_tests::host::Place::Canary)).count();
        assert_eq!(callbacks(&gateway, &["tick"]).len(), 3 * tickers);
    }

    fn the_last_callbacks_come_after_a_client_went_away(gateway) {
        let gateway = gateway.filter(probe()).start();
        let reply = gateway.send(get("/")).upstream(ok().chunk("half").client_gone());
        assert_eq!(reply.stream_end(), Some(StreamEnd::DownstreamGone));
        assert_eq!(callbacks(&gateway, &["log", "done", "delete"]).len(), 3);
    }

    fn metrics_are_read_by_their_name(gateway) {
        let script = "request_headers: counter hits; gauge depth; increment 1 2; record 2 7; histogram ms; record 3 9";
        let gateway = gateway.filter(probe()).config(script).start();
        gateway.send(get("/")).upstream(ok());
        gateway.send(get("/")).upstream(ok());
        assert_eq!(gateway.metric("hits"), 4);
        assert_eq!(gateway.metric("depth"), 7);
        assert_eq!(gateway.metric("ms"), 2);
    }

    fn workers_in_threads_lose_no_update_of_shared_data(gateway) {
        let gateway = gateway.filter(probe()).config("request_headers: add_shared n").workers(4).start();
        gateway.on_all_workers_at_once(|worker| {
            for _ in 0..250 {
                worker.send(get("/")).upstream(ok()).forget();
            }
        });
        assert_eq!(gateway.shared_data("n"), Some(b"1000".to_vec()));
    }

    fn randomness_differs_between_workers_and_repeats_with_the_seed(gateway) {
        let script = "request_headers: random 8";
        let gateway = gateway.filter(probe()).config(script).workers(2);
        let draw = |worker| {
            let gateway = gateway.clone().start();
            gateway.worker(worker).send(get("/")).upstream(ok());
            outcome(&gateway, script)
        };
        assert_ne!(draw(0), draw(1));
        assert_eq!(draw(0), draw(0));
    }
}

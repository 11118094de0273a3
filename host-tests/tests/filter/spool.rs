//! The same event in the gateway's access log: what Envoy has flushed survives a kill.
use serde_json::{Value, json};
use weir_contract::signed::SigningKey;
use weir_host_tests::host::{LogLevel, Profile};
use weir_host_tests::on_both_gateways;
use weir_host_tests::scenario::{get, ok, secs};

use crate::common::{ACME, SIGNING_KEY, answer, chat, unlimited, usage_events};

fn spooling() -> Value {
    let mut config = unlimited();
    config["events"]["access_log"] = json!(true);
    config
}

on_both_gateways! {
    fn an_event_is_left_for_the_access_log_as_it_is_sent(gateway) {
        let gateway = gateway.config(spooling()).start();
        let reply = gateway.send(chat()).upstream(ok().json(&answer()));
        let word = reply.filter_state("weir_event");
        gateway.run_for(secs(2));
        let sent = usage_events(&gateway.next_call("weir")).remove(0);
        // Kong's access log cannot be written to: there the event stands in the error log.
        let word = match gateway.profile() {
            Profile::Envoy => String::from_utf8(word.expect("a word")).expect("text"),
            Profile::Kong => gateway.logs_at(LogLevel::Warn).pop().expect("a line"),
        };
        let opened = SigningKey::new(SIGNING_KEY.as_bytes()).expect("a key").open(&word).expect("ours");
        assert_eq!(serde_json::from_slice::<Value>(&opened).expect("json"), sent);
        assert_eq!(gateway.metric("weir_events_unspooled"), 0);
    }

    fn nothing_is_left_where_nobody_asked_or_where_there_is_no_event(gateway) {
        let plain = unlimited();
        let without = gateway.config(plain).start();
        assert_eq!(without.send(chat()).upstream(ok().json(&answer())).filter_state("weir_event"), None);
        let refused = without.send(get("/v1/models").bearer("sk_weir_nobody")).reply();
        assert_eq!(refused.filter_state("weir_event"), None);
        let bypassed = without.send(get("/healthz").bearer(ACME)).upstream(ok().json(&json!({})));
        assert_eq!(bypassed.filter_state("weir_event"), None);
    }
}

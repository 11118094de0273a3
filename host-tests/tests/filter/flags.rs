//! Feature flags: told to the upstream, and conditions of plans.
use serde_json::{Value, json};
use weir_host_tests::on_both_gateways;
use weir_host_tests::scenario::{Request, ok, post};

use crate::common::{GLOBEX, answer, chat, unlimited, usage_event};

fn flagged() -> Value {
    let mut config = unlimited();
    config["flags"] = json!({
        "use-claude": {"type": "bool", "default": false, "rules": [{"tenants": ["acme"], "value": true}]},
        "tone": {"type": "string", "default": "long"},
    });
    config["flags_header"] = json!(true);
    let models = json!({"allow": ["claude"], "otherwise": {"replace": "claude"}});
    config["plans"]["free"] = json!({"flags": [{"flag": "use-claude", "models": models}]});
    config["tenants"][1]["plan"] = json!("free");
    config
}

fn chat_of(key: &str) -> Request {
    post("/v1/chat/completions").bearer(key).json(&json!({"model": "gpt-4o", "messages": []}))
}

on_both_gateways! {
    fn the_upstream_is_told_the_flags_and_no_copy_of_the_clients(gateway) {
        let gateway = gateway.config(flagged()).start();
        let reply = gateway.send(chat().header("X-Weir-Flags", "admin")).upstream(ok().json(&answer()));
        let told = "tone=\"long\", use-claude";
        assert_eq!(reply.upstream_request().header("x-weir-flags"), Some(told));
        assert_eq!(usage_event(&gateway)["data"]["flags"], told);
    }

    fn a_plan_has_other_rules_while_a_flag_holds(gateway) {
        let gateway = gateway.config(flagged()).start();
        let reply = gateway.send(chat()).upstream(ok().json(&answer()));
        assert_eq!(reply.upstream_request().json()["model"], "claude");
        let reply = gateway.send(chat_of(GLOBEX)).upstream(ok().json(&answer()));
        assert_eq!(reply.upstream_request().json()["model"], "gpt-4o");
    }
}

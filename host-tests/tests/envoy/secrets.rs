//! Secrets of the filter come from the environment of the real Envoy, and show up nowhere.
use serde_json::{Value, json};
use weir_contract::directory::KeyHash;
use weir_rig::envoy::{Bootstrap, Envoy, Options};
use weir_rig::llm::Llm;
use weir_rig::load::{Call, Client};
use weir_rig::workspace;

use crate::receiver::Receiver;

/// The variables of the shipped file, and their values in these tests.
const TOKEN: (&str, &str) = ("WEIR_GATEWAY_TOKEN", "token-7f1c93a0b4e84dd2a5d6");
const SIGNING_KEY: (&str, &str) = ("WEIR_SIGNING_KEY", "signing-key-2f0d6c1e9b7a4835a1c4");

fn options(env: &[(&str, &str)]) -> Options {
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Options { env, component_log_level: "wasm:debug".to_owned(), ..Options::default() }
}

/// The shipped file with acme in it.
fn shipped(llm: &Llm, receiver: &Receiver) -> Bootstrap {
    let key = json!({"id": "key_1", "sha256": KeyHash::of(b"sk_weir_acme")});
    Bootstrap::from_file(&workspace::root().join("envoy/sidecar.yaml"))
        .and_then(|shipped| shipped.on_free_ports().cluster("upstream", llm.address()))
        .and_then(|config| config.cluster("weir", receiver.address()))
        .and_then(|config| config.code(&workspace::weir_wasm().expect("the built module")))
        .and_then(|config| {
            config.each_wasm_filter(|wasm| {
                let filter = &mut wasm["configuration"]["value"];
                filter["tenants"] = json!([{"id": "acme", "plan": "starter", "keys": [key]}]);
                filter["events"]["flush"] = json!("200ms");
            })
        })
        .expect("the shipped configuration")
}

/// Whether Envoy starts; its log if it does not.
fn refused(bootstrap: &Bootstrap, env: &[(&str, &str)]) -> String {
    Envoy::start(bootstrap, &options(env)).expect_err("Envoy must not start").to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_of_the_environment_is_used_and_shown_nowhere() {
    let (llm, receiver) = (Llm::start().expect("a provider"), Receiver::start());
    let envoy = Envoy::start(&shipped(&llm, &receiver), &options(&[TOKEN, SIGNING_KEY])).expect("Envoy");
    let url = format!("{}/v1/models", envoy.url());
    let call = Call::get(url).header("authorization", "Bearer sk_weir_acme");
    assert_eq!(Client::new().send(call).await.status, 200);
    receiver.usage(1).await;
    assert_eq!(receiver.tokens(), [format!("Bearer {}", TOKEN.1)].into());
    let dump = envoy.ask("/config_dump").expect("the dump").body;
    assert!(dump.contains(TOKEN.0), "the variable is named there");
    for place in [dump, envoy.ask("/stats").expect("stats").body, envoy.log()] {
        assert!(!place.contains(TOKEN.1) && !place.contains(SIGNING_KEY.1), "a secret is shown: {place}");
    }
}

#[test]
fn envoy_does_not_start_without_a_variable_and_its_log_says_which_field_wants_it() {
    let (llm, receiver) = (Llm::start().expect("a provider"), Receiver::start());
    let bootstrap = shipped(&llm, &receiver);
    for (env, field, name) in
        [(&[TOKEN][..], "events.signing_key", SIGNING_KEY.0), (&[SIGNING_KEY, (TOKEN.0, "")], "events.token", TOKEN.0)]
    {
        let log = refused(&bootstrap, env);
        assert!(log.contains(&format!("{field}: the environment variable {name} is not set")), "{log}");
        assert!(!log.contains(TOKEN.1) && !log.contains(SIGNING_KEY.1), "{log}");
    }
}

#[test]
fn a_variable_that_the_filters_settings_do_not_hand_over_is_not_set() {
    let (llm, receiver) = (Llm::start().expect("a provider"), Receiver::start());
    let withheld = |wasm: &mut Value| wasm["vm_config"]["environment_variables"] = json!({"host_env_keys": [TOKEN.0]});
    let bootstrap = shipped(&llm, &receiver).each_wasm_filter(withheld).expect("a filter");
    let log = refused(&bootstrap, &[TOKEN, SIGNING_KEY]);
    assert!(log.contains("WEIR_SIGNING_KEY is not set, or the gateway does not hand it over"), "{log}");
}

#[test]
fn a_secret_that_everybody_knows_is_refused_wherever_it_stands() {
    let (llm, receiver) = (Llm::start().expect("a provider"), Receiver::start());
    let known = "the token that weir serve knows under ingest";
    let log = refused(&shipped(&llm, &receiver), &[(TOKEN.0, known), SIGNING_KEY]);
    assert!(log.contains("events.token: a placeholder") && !log.contains(known), "{log}");
    let written = |wasm: &mut Value| wasm["configuration"]["value"]["events"]["token"] = json!(known);
    let bootstrap = shipped(&llm, &receiver).each_wasm_filter(written).expect("a filter");
    let log = refused(&bootstrap, &[TOKEN, SIGNING_KEY]);
    assert!(log.contains("events.token: a placeholder") && !log.contains(known), "{log}");
}

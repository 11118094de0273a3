//! Two tenants with the official clients on one account at the provider, whose ids are sealed.
use serde_json::{Value, json};
use weir_contract::directory::KeyHash;
use weir_rig::account::Account;
use weir_rig::envoy::{Bootstrap, Envoy, Options};
use weir_rig::workspace;

use crate::receiver::Receiver;

fn config() -> Value {
    let tenant = |id: &str| {
        let hash = KeyHash::of(format!("sk_weir_{id}").as_bytes());
        json!({"id": id, "plan": "p", "keys": [{"id": format!("key_{id}"), "sha256": hash}]})
    };
    let all = json!({"files": "sealed", "stored_responses": "sealed", "batches": "sealed", "vector_stores": "sealed", "assistants": "sealed"});
    json!({
        "version": 1,
        "identity": {"sources": [{"api_key": {"prefix": "sk_weir_"}}]},
        "tenants": [tenant("acme"), tenant("globex")],
        "plans": {"p": {}},
        "sealed_ids": {"keys": [{"version": 1, "secret": "a secret of more than thirty-two bytes"}]},
        "routes": [
            {"name": "anthropic", "match": {"path_prefix": "/anthropic"}, "provider": "anthropic", "permit": {"files": "sealed", "batches": "sealed"}},
            {"name": "openai", "match": {"path_prefix": "/v1"}, "provider": "openai", "permit": all},
        ],
        "events": {"cluster": "weir", "token": "t", "flush": "200ms"},
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn two_tenants_with_the_official_clients_share_an_account_and_nothing_crosses() {
    let (account, receiver) = (Account::start().expect("an account"), Receiver::start());
    let bootstrap = Bootstrap::from_file(&workspace::root().join("envoy/sidecar.yaml"))
        .and_then(|shipped| shipped.on_free_ports().cluster("upstream", account.address()))
        .and_then(|shipped| shipped.cluster("weir", receiver.address()))
        .and_then(|shipped| shipped.code(&workspace::weir_wasm().expect("the built module")))
        .and_then(|shipped| shipped.configuration(&config()))
        .expect("the shipped configuration");
    let envoy = Envoy::start(&bootstrap, &Options::default()).expect("Envoy");
    let root = workspace::root();
    let run = std::process::Command::new("python3")
        .arg(root.join("host-tests/tests/envoy/sealed.py"))
        .arg(envoy.url())
        .env("PYTHONWARNINGS", "ignore")
        .env("PYTHONPATH", root.join(".tools/clients"))
        .output()
        .expect("python3");
    let said = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "`make setup` brings the clients. {said}");
    assert_eq!(account.crossings(), Vec::<String>::new());
    assert!(account.ids().len() > 240, "it was used");
}

//! In the real Envoy a VM goes when its code or its configuration of the VM changes. What it had numbered and could not
//! deliver is told by the VMs that come after it: shared data outlives them all.
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use weir_contract::directory::KeyHash;
use weir_rig::envoy::{Bootstrap, Envoy, Options};
use weir_rig::llm::Llm;
use weir_rig::load::{Call, Client};
use weir_rig::workspace;

use crate::receiver::Receiver;

const LISTENERS: &str = "/static_resources/listeners";

/// The shipped configuration, its listeners taken out: Envoy reads them from a file, and again whenever that is replaced.
fn bootstrap(llm: &Llm, receiver: &Receiver, file: &Path) -> (Bootstrap, Value) {
    let hash = KeyHash::of(b"sk_weir_acme");
    let filter = json!({
        "version": 1, "gateway": "test",
        "identity": {"sources": [{"api_key": {"prefix": "sk_weir_"}}]},
        "tenants": [{"id": "acme", "plan": "p", "keys": [{"id": "key_1", "sha256": hash}]}],
        "plans": {"p": {}},
        "events": {"cluster": "weir", "token": "t", "flush": "200ms"},
    });
    let mut listeners = Value::Null;
    let bootstrap = Bootstrap::from_file(&workspace::root().join("envoy/sidecar.yaml"))
        .and_then(|shipped| shipped.on_free_ports().cluster("upstream", llm.address()))
        .and_then(|config| config.cluster("weir", receiver.address()))
        .and_then(|config| config.code(&workspace::weir_wasm().expect("the built module")))
        .and_then(|config| config.configuration(&filter))
        .expect("the shipped configuration")
        .edit(|config| {
            listeners = config.pointer_mut(LISTENERS).expect("listeners").take();
            config["static_resources"].as_object_mut().expect("resources").remove("listeners");
            config["node"] = json!({"id": "test", "cluster": "test"});
            let folder = file.parent().expect("a folder");
            config["dynamic_resources"] = json!({"lds_config": {"resource_api_version": "V3",
                "path_config_source": {"path": file, "watched_directory": {"path": folder}}}});
        });
    (bootstrap, listeners)
}

/// Puts the listeners into the file, with VMs of that generation.
fn publish(listeners: &Value, file: &Path, generation: &str) {
    let mut resources = listeners.clone();
    for listener in resources.as_array_mut().expect("listeners") {
        listener["@type"] = json!("type.googleapis.com/envoy.config.listener.v3.Listener");
        set_generation(listener, generation);
    }
    let part = file.with_extension("part");
    std::fs::write(&part, json!({"version_info": generation, "resources": resources}).to_string()).expect("written");
    // Envoy looks when a file is moved into its place, and never sees half of one.
    std::fs::rename(&part, file).expect("moved");
}

fn set_generation(value: &mut Value, generation: &str) {
    match value {
        Value::Object(fields) => {
            if let Some(config) = fields.get_mut("vm_config") {
                config["configuration"] =
                    json!({"@type": "type.googleapis.com/google.protobuf.StringValue", "value": generation});
            }
            fields.values_mut().for_each(|value| set_generation(value, generation));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| set_generation(item, generation)),
        _ => {}
    }
}

/// The last number of every source that others have announced as dead.
fn last_words(receiver: &Receiver) -> BTreeMap<String, u64> {
    let closed = receiver.events().into_iter().filter(|event| event["data"]["closed"] == true);
    closed.filter_map(|event| Some((event["source"].as_str()?.to_owned(), event["data"]["last"].as_u64()?))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_replaced_vms_could_not_deliver_is_known_by_number() {
    const REQUESTS: u64 = 12;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("listeners.json");
    let (llm, receiver) = (Llm::start().expect("a provider"), Receiver::start());
    let (bootstrap, listeners) = bootstrap(&llm, &receiver, &file);
    publish(&listeners, &file, "one");
    let options = Options { drain_s: 1, ..Options::default() };
    let envoy = Envoy::start(&bootstrap, &options).expect("Envoy");
    receiver.fail(true);
    let body = json!({"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]});
    let url = format!("{}/v1/chat/completions", envoy.url());
    let call = || Call::post(url.clone(), &body).header("authorization", "Bearer sk_weir_acme");
    let replies = Client::new().send_all((0..REQUESTS).map(|_| call()).collect::<Vec<_>>(), 4).await;
    assert!(replies.iter().all(|reply| reply.status == 200));
    publish(&listeners, &file, "two");
    let updates = || envoy.stats("listener_manager.lds.update_success").expect("stats").values().sum::<u64>();
    for _ in 0..600 {
        if updates() >= 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(updates() >= 2, "Envoy has not taken the new listeners: {}", envoy.log());
    // Long enough for the drained VMs to try once more and to end. Then the receiver listens again.
    tokio::time::sleep(Duration::from_secs(5)).await;
    receiver.fail(false);
    for _ in 0..900 {
        if last_words(&receiver).values().sum::<u64>() >= REQUESTS {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let told = last_words(&receiver);
    assert_eq!(told.values().sum::<u64>(), REQUESTS, "{told:?}; {:?}; {}", envoy.stats("weir_"), envoy.log());
    let delivered = receiver.usage(0).await.len() as u64;
    println!(
        "{REQUESTS} numbered by VMs that are gone, {delivered} delivered, {} known to be missing",
        REQUESTS - delivered
    );
}

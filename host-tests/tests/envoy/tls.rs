//! `tls.yaml` as shipped, under traffic: TLS to the client, mutual TLS to a service that only the gateway reaches.
use std::net::SocketAddr;
use std::path::Path;

use rcgen::{ExtendedKeyUsagePurpose, SanType};
use serde_json::{Value, json};
use weir_contract::directory::KeyHash;
use weir_rig::envoy::{Bootstrap, Envoy, Options};
use weir_rig::llm::Llm;
use weir_rig::workspace;

use crate::receiver::Receiver;
use crate::trust::Authority;

fn shipped(file: &str) -> Bootstrap {
    Bootstrap::from_file(&workspace::root().join(file)).expect("the shipped file").on_free_ports()
}

fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().expect("ASCII"))
}

/// Writes what `tls.yaml` names: its own certificate, the one it shows to the service, and whom it believes.
fn write_certificates(folder: &Path, authority: &Authority) {
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).expect("written");
    let pair = |name: &str, (certificate, key): (String, String)| {
        write(&format!("{name}.crt"), &certificate);
        write(&format!("{name}.key"), &key);
    };
    let local = SanType::IpAddress([127, 0, 0, 1].into());
    pair("gateway", authority.sign(vec![local], ExtendedKeyUsagePurpose::ServerAuth));
    pair("gateway-client", authority.sign(vec![dns("gateway.internal")], ExtendedKeyUsagePurpose::ClientAuth));
    pair("service", authority.sign(vec![dns("service.internal")], ExtendedKeyUsagePurpose::ServerAuth));
    write("internal-ca.crt", &authority.pem());
}

/// The files that a configuration names below `certs/` lie in `folder`.
fn with_certificates(config: &mut Value, folder: &Path) {
    match config {
        Value::Object(fields) => fields.values_mut().for_each(|field| with_certificates(field, folder)),
        Value::Array(items) => items.iter_mut().for_each(|item| with_certificates(item, folder)),
        Value::String(text) => {
            if let Some(name) = text.strip_prefix("certs/") {
                *text = folder.join(name).display().to_string();
            }
        }
        _ => {}
    }
}

/// A service that requires a client certificate of the authority: an Envoy without weir before the stand-in.
fn service(llm: &Llm) -> Bootstrap {
    let tls = json!({"name": "envoy.transport_sockets.tls", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        "require_client_certificate": true,
        "common_tls_context": {
            "tls_certificates": [{"certificate_chain": {"filename": "certs/service.crt"},
                                  "private_key": {"filename": "certs/service.key"}}],
            "validation_context": {"trusted_ca": {"filename": "certs/internal-ca.crt"}}}}});
    let plain = shipped("envoy/sidecar.yaml").cluster("upstream", llm.address()).expect("the cluster");
    plain.edit(|config| {
        let chain = &mut config["static_resources"]["listeners"][0]["filter_chains"][0];
        chain["transport_socket"] = tls;
        let manager = &mut chain["filters"][0]["typed_config"];
        manager.as_object_mut().expect("fields").remove("early_header_mutation_extensions").expect("weir's");
        let filters = manager["http_filters"].as_array_mut().expect("filters");
        filters.retain(|filter| filter["name"] != "weir");
    })
}

fn gateway(service: SocketAddr, receiver: &Receiver) -> Bootstrap {
    let key = json!({"id": "key_1", "sha256": KeyHash::of(b"sk_weir_acme")});
    let acme = json!([{"id": "acme", "plan": "starter", "keys": [key]}]);
    let bootstrap = shipped("envoy/tls.yaml").code(&workspace::weir_wasm().expect("the built module"));
    let bootstrap = bootstrap.and_then(|config| config.cluster("upstream", service));
    let bootstrap = bootstrap.and_then(|config| config.cluster("weir", receiver.address()));
    let edit = |config: &mut Value| {
        config["configuration"]["value"]["tenants"] = acme.clone();
        config["configuration"]["value"]["events"]["flush"] = json!("200ms");
    };
    bootstrap.and_then(|config| config.each_wasm_filter(edit)).expect("the shipped configuration")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shipped_tls_file_serves_and_the_service_takes_nobody_else() {
    let (folder, authority) = (tempfile::tempdir().expect("a folder"), Authority::new());
    write_certificates(folder.path(), &authority);
    let (llm, receiver) = (Llm::start().expect("a provider"), Receiver::start());
    let start = |bootstrap: Bootstrap| {
        Envoy::start(&bootstrap.edit(|config| with_certificates(config, folder.path())), &Options::default())
            .expect("Envoy")
    };
    let service = start(service(&llm));
    let envoy = start(gateway(service.listener("edge").expect("the listener"), &receiver));
    let root = reqwest::Certificate::from_pem(authority.pem().as_bytes()).expect("a certificate");
    let client = reqwest::Client::builder().use_rustls_tls().tls_built_in_root_certs(false).add_root_certificate(root);
    let client = client.danger_accept_invalid_hostnames(true).build().expect("a client");
    let models = |envoy: &Envoy| client.get(format!("{}/v1/models", envoy.url()).replacen("http:", "https:", 1));
    assert_eq!(models(&envoy).send().await.expect("an answer").status(), 401, "{}", envoy.log());
    let reply = models(&envoy).bearer_auth("sk_weir_acme").send().await.expect("an answer");
    assert_eq!(reply.status(), 200, "{}", envoy.log());
    let seen = llm.seen();
    assert_eq!((seen.len(), seen[0].tenant()), (1, "acme"));
    assert_eq!(receiver.usage(1).await.len(), 1);
    // A client that bypasses the gateway has no valid certificate, whatever tenant it claims.
    let around = models(&service).header("x-tenant-id", "globex").send().await;
    assert!(around.is_err(), "{around:?}");
    assert_eq!(llm.seen().len(), 1);
}

//! Whose word is taken for a tenant's name, in the real Envoy: a network's, of either family, or a certificate's.
use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType,
};
use serde_json::{Value, json};
use weir_rig::envoy::{Bootstrap, Envoy, Options};
use weir_rig::llm::Llm;
use weir_rig::load::{Call, Client};
use weir_rig::workspace;

/// The shipped configuration of Envoy with this source, and its connection manager or listener changed.
fn start(source: &Value, llm: &Llm, change: impl FnOnce(&mut Value)) -> Envoy {
    let filter = json!({
        "version": 1, "identity": {"sources": [{"header": source}]}, "plans": {"p": {}},
        "tenants": [{"id": "acme", "plan": "p"}],
    });
    let bootstrap = Bootstrap::from_file(&workspace::root().join("envoy/sidecar.yaml"))
        .and_then(|shipped| shipped.on_free_ports().cluster("upstream", llm.address()))
        .and_then(|config| config.code(&workspace::weir_wasm().expect("the built module")))
        .and_then(|config| config.configuration(&filter))
        .expect("the shipped configuration");
    let bootstrap =
        bootstrap.edit(|config| change(&mut config["static_resources"]["listeners"][0]["filter_chains"][0]));
    Envoy::start(&bootstrap, &Options::default()).expect("Envoy")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_is_told_from_another_in_both_families() {
    let llm = Llm::start().expect("a provider");
    let source = json!({"header": "x-edge-tenant", "networks": ["fd12::/16", "10.0.0.0/8"]});
    // One hop before this Envoy says who came, so that one machine can come from anywhere.
    let envoy = start(&source, &llm, |chain| chain["filters"][0]["typed_config"]["xff_num_trusted_hops"] = json!(1));
    let client = Client::new();
    for (address, expected) in [
        ("fd12::7", 200),
        ("fd12:ffff::1", 200),
        ("fd13::7", 401),
        ("10.1.2.3", 200),
        ("11.1.2.3", 401),
        ("::ffff:10.1.2.3", 200),
        ("10.1.2.3, fd13::7", 401),
    ] {
        let call = Call::get(format!("{}/v1/models", envoy.url()));
        let call = call.header("x-edge-tenant", "acme").header("x-forwarded-for", address);
        assert_eq!(client.send(call).await.status, expected, "{address}: {}", envoy.log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_trusted_hop_nobody_speaks_for_another_network() {
    let llm = Llm::start().expect("a provider");
    let envoy = start(&json!({"header": "x-edge-tenant", "networks": ["10.0.0.0/8"]}), &llm, |_| {});
    for forged in ["10.1.2.3", "10.1.2.3, 10.1.2.3"] {
        let call = Call::get(format!("{}/v1/models", envoy.url()));
        let call = call.header("x-edge-tenant", "acme").header("x-forwarded-for", forged);
        assert_eq!(Client::new().send(call).await.status, 401, "{forged}");
    }
}

fn parameters(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::<String>::new()).expect("parameters");
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

/// An authority and what it has signed, made for one test.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = parameters("authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Authority(CertifiedIssuer::self_signed(params, key).expect("a certificate"))
    }

    /// Its own certificate, in PEM.
    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate and its key, in PEM.
    pub(crate) fn sign(&self, names: Vec<SanType>, usage: ExtendedKeyUsagePurpose) -> (String, String) {
        let mut params = parameters("end");
        params.subject_alt_names = names;
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        (certificate.pem(), key.serialize_pem())
    }
}

fn uri(name: &str) -> Vec<SanType> {
    vec![SanType::URI(name.try_into().expect("ASCII"))]
}

fn tls(folder: &Path, authority: &Authority) -> Value {
    let local = vec![SanType::IpAddress([127, 0, 0, 1].into())];
    let (certificate, key) = authority.sign(local, ExtendedKeyUsagePurpose::ServerAuth);
    let write = |name: &str, text: &str| {
        std::fs::write(folder.join(name), text).expect("written");
        json!({"filename": folder.join(name)})
    };
    json!({"name": "envoy.transport_sockets.tls", "typed_config": {
    "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
    "require_client_certificate": true,
    "common_tls_context": {
        "tls_certificates": [{"certificate_chain": write("server.pem", &certificate), "private_key": write("server.key", &key)}],
        "validation_context": {"trusted_ca": write("ca.pem", &authority.pem())},
    }}})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificates_name_is_believed_and_another_one_of_the_same_authority_is_not() {
    let (folder, authority) = (tempfile::tempdir().expect("a directory"), Authority::new());
    let llm = Llm::start().expect("a provider");
    let source = json!({"header": "x-edge-tenant", "peers": ["spiffe://example.com/edge"]});
    let socket = tls(folder.path(), &authority);
    let envoy = start(&source, &llm, |chain| chain["transport_socket"] = socket);
    let root = reqwest::Certificate::from_pem(authority.pem().as_bytes()).expect("a certificate");
    let url = format!("{}/v1/models", envoy.url()).replacen("http:", "https:", 1);
    for (name, expected) in [("spiffe://example.com/edge", 200), ("spiffe://example.com/other", 401)] {
        let (certificate, key) = authority.sign(uri(name), ExtendedKeyUsagePurpose::ClientAuth);
        let identity = reqwest::Identity::from_pem(format!("{certificate}{key}").as_bytes()).expect("an identity");
        let client = reqwest::Client::builder().use_rustls_tls().tls_built_in_root_certs(false);
        let client = client.add_root_certificate(root.clone()).identity(identity).build().expect("a client");
        let reply = client.get(&url).header("x-edge-tenant", "acme").send().await.expect("an answer");
        assert_eq!(reply.status().as_u16(), expected, "{name}: {}", envoy.log());
    }
    let seen = llm.seen();
    assert_eq!(seen.len(), 1, "only the edge's request has passed");
    assert_eq!((seen[0].tenant(), seen[0].header("x-edge-tenant")), ("acme", None));
}

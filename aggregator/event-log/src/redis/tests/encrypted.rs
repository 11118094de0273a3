//! TLS to the server.
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use weir_rig::probe::Port;

use super::*;

/// Writes a root, and a certificate that it has signed for localhost, with its key.
fn write_certificates(dir: &Path) {
    let mut root = CertificateParams::new(Vec::new()).expect("a root");
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = CertifiedIssuer::self_signed(root, KeyPair::generate().expect("a key")).expect("signed");
    let key = KeyPair::generate().expect("a key");
    let certificate = CertificateParams::new(vec!["localhost".to_owned()]).expect("a certificate");
    let certificate = certificate.signed_by(&key, &root).expect("signed");
    for (file, text) in [("ca.pem", root.pem()), ("cert.pem", certificate.pem()), ("key.pem", key.serialize_pem())] {
        std::fs::write(dir.join(file), text).expect("written");
    }
}

#[test]
fn a_server_is_believed_if_its_certificate_leads_to_the_roots_that_are_named() {
    let dir = tempfile::tempdir().expect("a directory");
    write_certificates(dir.path());
    let reserved = Port::reserve().expect("a port");
    let file = |name: &str| dir.path().join(name).display().to_string();
    let (port, certificate, key) = (reserved.address().port().to_string(), file("cert.pem"), file("key.pem"));
    let arguments =
        ["--tls-port", &port, "--tls-cert-file", &certificate, "--tls-key-file", &key, "--tls-auth-clients", "no"];
    let _world = World::start_with(&arguments);
    let opened = |settings: serde_json::Value| {
        let server = serde_json::from_value(settings).expect("settings");
        let place = RedisPlace { base: dir.path().to_owned(), ..RedisPlace::new(server, "test") };
        RedisLog::open(&place, taking("one", Create::IfMissing), clock())
    };
    let url = format!("rediss://localhost:{port}");
    let mut log = opened(serde_json::json!({"url": url, "ca": "ca.pem"})).expect("a log");
    assert_eq!(last(log.append(&[record(1)])), 1);
    drop(log);
    let unknown = opened(serde_json::json!(url)).expect_err("not a root of the system").to_string();
    assert!(unknown.contains("certificate") || unknown.contains("UnknownIssuer"), "{unknown}");
    let another = opened(serde_json::json!({"url": format!("rediss://127.0.0.1:{port}"), "ca": "ca.pem"}));
    assert!(another.expect_err("another name").to_string().contains("certificate"), "the name counts");
}

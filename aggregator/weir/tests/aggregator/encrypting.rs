//! TLS over real TCP.
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use reqwest::{Certificate, Client, ClientBuilder, Identity, StatusCode};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use weir::config::Config;
use weir::server::run::Server;
use weir::store::DataDir;
use weir_clock::ManualClock;

use super::events::{Worker, batch, noon};
use super::server::{TOKEN, config};

/// A certificate authority.
pub(super) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a root"))
    }

    /// A certificate for `name`, and its key, in PEM.
    pub(super) fn sign(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![name.to_owned()]).expect("parameters");
        (params.signed_by(&key, &self.0).expect("signed").pem(), key.serialize_pem())
    }

    pub(super) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A client that trusts only this authority.
    fn believer(&self) -> ClientBuilder {
        let root = Certificate::from_pem(self.pem().as_bytes()).expect("a root");
        Client::builder().tls_built_in_root_certs(false).add_root_certificate(root)
    }
}

struct Encrypted {
    dir: TempDir,
    /// `https://…`
    url: String,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<()>,
}

impl Encrypted {
    async fn start(authority: &Authority, more: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        renew(dir.path(), authority);
        let path = dir.path().join("weir.yaml");
        let tls = format!("tls: {{certificate: cert.pem, key: key.pem{more}}}\n");
        std::fs::write(&path, config(dir.path(), &tls)).expect("written");
        if !more.is_empty() {
            std::fs::write(dir.path().join("clients.pem"), authority.pem()).expect("written");
        }
        let config = Config::load(&path).expect("a good configuration");
        let server = Server::start(config, ManualClock::at(noon())).await.expect("a server");
        let url = format!("https://127.0.0.1:{}", server.address().port());
        let (stop, stopped) = oneshot::channel::<()>();
        let served = tokio::spawn(async move {
            let told = async move {
                let _ = stopped.await;
            };
            server.run(told).await.expect("served");
        });
        Encrypted { dir, url, stop: Some(stop), served }
    }

    async fn stop(mut self) {
        drop(self.stop.take());
        (&mut self.served).await.expect("stopped");
    }
}

/// Writes a new certificate for the tests' address.
fn renew(dir: &Path, authority: &Authority) {
    let (certificate, key) = authority.sign("127.0.0.1");
    std::fs::write(dir.join("key.pem"), key).expect("written");
    std::fs::write(dir.join("cert.pem"), certificate).expect("written");
}

/// Returns true if `client` can connect to the server.
async fn reaches(client: &Client, url: &str) -> bool {
    client.get(format!("{url}/healthz")).send().await.is_ok_and(|answer| answer.status() == StatusCode::OK)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_taken_by_tls_and_nothing_in_the_clear() {
    let authority = Authority::new();
    let server = Encrypted::start(&authority, "").await;
    let client = authority.believer().build().expect("a client");
    let body = batch(&[Worker::new(1, noon()).usage(1)]);
    let request = client.post(format!("{}/v1/events", server.url)).bearer_auth(TOKEN);
    let answer = request.header("content-type", "application/json").body(body).send().await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    assert!(!reaches(&Client::new(), &server.url.replace("https", "http")).await, "nobody answers plain HTTP there");
    assert!(!reaches(&Authority::new().believer().build().expect("a client"), &server.url).await, "another root");
    let old = authority.believer().max_tls_version(reqwest::tls::Version::TLS_1_2).build().expect("a client");
    assert!(reaches(&old, &server.url).await, "TLS 1.2 is the oldest that is spoken");
    drop((client, old));
    server.stop().await;
}

/// The ClientHello of TLS 1.`minor` (RFC 5246, section 7.4.1.2), otherwise acceptable to the server.
fn hello(minor: u8) -> Vec<u8> {
    let framed = |head: &[u8], body: &[u8], width: usize| {
        let length = body.len().to_be_bytes();
        [head, &length[8 - width..], body].concat()
    };
    // Curves, the form of points, signatures: X25519 and P-256, uncompressed, ECDSA with P-256.
    let extensions =
        [[0, 10, 0, 6, 0, 4, 0, 29, 0, 23].as_slice(), &[0, 11, 0, 2, 1, 0], &[0, 13, 0, 4, 0, 2, 4, 3]].concat();
    // No session, ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, no compression.
    let parts = [&[3, minor + 1], [0x5a; 32].as_slice(), &[0, 0, 2, 0xc0, 0x2b, 1, 0], &framed(&[], &extensions, 2)];
    framed(&[22, 3, 1], &framed(&[1], &parts.concat(), 3), 2)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_1_1_is_refused_for_its_version_alone() {
    let server = Encrypted::start(&Authority::new(), "").await;
    let answer = async |minor: u8| {
        let mut stream = TcpStream::connect(server.url.trim_start_matches("https://")).await.expect("connected");
        stream.write_all(&hello(minor)).await.expect("sent");
        let mut start = [0; 7];
        stream.read_exact(&mut start).await.expect("an answer");
        start
    };
    assert_eq!(answer(2).await[0], 22, "the same hello of TLS 1.2 is answered by another");
    let refused = answer(1).await;
    // An alert, fatal: protocol_version.
    assert_eq!((refused[0], &refused[3..]), (21, &[0, 2, 2, 70][..]));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_commands_of_this_machine_speak_to_it_without_a_certificate() {
    let authority = Authority::new();
    let server = Encrypted::start(&authority, ", client_ca: clients.pem").await;
    let path = server.dir.path().join("weir.yaml");
    let ran = tokio::task::spawn_blocking(move || {
        Command::new(env!("CARGO_BIN_EXE_weir")).args(["ledger", "--json", "--config"]).arg(path).output()
    });
    let output = ran.await.expect("joined").expect("ran");
    let view: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(view["balanced"], true, "{}", String::from_utf8_lossy(&output.stderr));
    let note = DataDir::at(&server.dir.path().join("weir-data")).read_note().expect("a note");
    assert!(note.address.ip().is_loopback() && !server.url.ends_with(&note.address.port().to_string()));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewed_certificate_is_taken_over_and_a_broken_one_never() {
    let (first, second) = (Authority::new(), Authority::new());
    let server = Encrypted::start(&first, "").await;
    std::fs::write(server.dir.path().join("cert.pem"), "no certificate").expect("written");
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert!(reaches(&first.believer().build().expect("a client"), &server.url).await, "the last good one is in force");
    renew(server.dir.path(), &second);
    for _ in 0..600 {
        // A new client each time, because a connection keeps the certificate under which it was opened.
        if reaches(&second.believer().build().expect("a client"), &server.url).await {
            assert!(!reaches(&first.believer().build().expect("a client"), &server.url).await);
            return server.stop().await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the new certificate is never taken over");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_show_a_certificate_where_a_root_for_them_is_given() {
    let authority = Authority::new();
    let server = Encrypted::start(&authority, ", client_ca: clients.pem").await;
    assert!(!reaches(&authority.believer().build().expect("a client"), &server.url).await, "without one");
    let (certificate, key) = authority.sign("gateway");
    let identity = Identity::from_pem(format!("{certificate}{key}").as_bytes()).expect("an identity");
    assert!(reaches(&authority.believer().identity(identity).build().expect("a client"), &server.url).await);
    let (certificate, key) = Authority::new().sign("gateway");
    let stranger = Identity::from_pem(format!("{certificate}{key}").as_bytes()).expect("an identity");
    assert!(!reaches(&authority.believer().identity(stranger).build().expect("a client"), &server.url).await);
    server.stop().await;
}

#[test]
fn a_certificate_that_cannot_be_used_is_told_by_the_check() {
    let dir = tempfile::tempdir().expect("a directory");
    renew(dir.path(), &Authority::new());
    let path = dir.path().join("weir.yaml");
    std::fs::write(&path, config(dir.path(), "tls: {certificate: cert.pem, key: key.pem}\n")).expect("written");
    let check = || {
        Command::new(env!("CARGO_BIN_EXE_weir"))
            .args(["serve", "--check", "--config"])
            .arg(&path)
            .output()
            .expect("ran")
    };
    assert!(check().status.success());
    let other = KeyPair::generate().expect("a key").serialize_pem();
    std::fs::write(dir.path().join("key.pem"), other).expect("written");
    let said = String::from_utf8_lossy(&check().stderr).into_owned();
    assert!(said.contains("cert.pem and") && said.contains("key.pem cannot be used"), "{said}");
    std::fs::remove_file(dir.path().join("key.pem")).expect("removed");
    let said = String::from_utf8_lossy(&check().stderr).into_owned();
    assert!(said.contains("key.pem") && said.contains("must be readable and hold PEM"), "{said}");
}

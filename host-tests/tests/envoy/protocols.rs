//! What else than plain HTTP/1.1 with JSON goes through a gateway: gRPC, HTTP/2, trailers, HEAD, 1xx, large bodies.
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output};
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use weir_contract::directory::KeyHash;
use weir_rig::envoy::{Bootstrap, Envoy, Options};
use weir_rig::llm::Llm;
use weir_rig::load::{Call, Client};
use weir_rig::process::{Process, Recipe};
use weir_rig::workspace;

use crate::receiver::Receiver;

const CREDENTIAL: &str = "Bearer sk_weir_acme";

struct Stack {
    envoy: Envoy,
    llm: Llm,
    receiver: Receiver,
}

impl Stack {
    /// The shipped configuration with acme on a plan without rules, changed by `edit`.
    fn start(edit: impl FnOnce(&mut Value)) -> Self {
        let hash = KeyHash::of(b"sk_weir_acme");
        let config = json!({
            "version": 1,
            "identity": {"sources": [{"api_key": {"prefix": "sk_weir_"}}]},
            "tenants": [{"id": "acme", "plan": "p", "keys": [{"id": "key_1", "sha256": hash}]}],
            "plans": {"p": {}},
            "events": {"cluster": "weir", "token": "t", "flush": "200ms"},
        });
        let (llm, receiver) = (Llm::start().expect("a provider"), Receiver::start());
        let bootstrap = Bootstrap::from_file(&workspace::root().join("envoy/sidecar.yaml"))
            .and_then(|shipped| shipped.on_free_ports().cluster("upstream", llm.address()))
            .and_then(|config| config.cluster("weir", receiver.address()))
            .and_then(|config| config.code(&workspace::weir_wasm().expect("the built module")))
            .and_then(|shipped| shipped.configuration(&config))
            .expect("the shipped configuration");
        let envoy = Envoy::start(&bootstrap.edit(edit), &Options::default()).expect("Envoy");
        Stack { envoy, llm, receiver }
    }

    /// Sends bytes as they are over a connection of its own; the answer until Envoy closes it.
    fn raw(&self, request: &[u8]) -> String {
        let address = self.envoy.url().trim_start_matches("http://").to_owned();
        let mut stream = TcpStream::connect(address).expect("a connection");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a time-out");
        stream.write_all(request).expect("sent");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("answered and closed");
        String::from_utf8_lossy(&answer).into_owned()
    }

    async fn only_event(&self) -> Value {
        let events = self.receiver.usage(1).await;
        assert_eq!(events.len(), 1, "{events:?}");
        events[0]["data"].clone()
    }
}

/// Puts a server of the test's own in the upstream's place.
fn upstream(config: &mut Value, port: u16) -> &mut Value {
    let cluster = &mut config["static_resources"]["clusters"][0];
    assert_eq!(cluster["name"], "upstream");
    cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"] =
        json!({"socket_address": {"address": "127.0.0.1", "port_value": port}});
    cluster
}

fn hcm(config: &mut Value) -> &mut Value {
    config["static_resources"]["listeners"][0].pointer_mut("/filter_chains/0/filters/0/typed_config").expect("HCM")
}

fn python(arguments: &[&str]) -> Command {
    let root = workspace::root();
    let mut command = Command::new("python3");
    command.arg(root.join("host-tests/tests/envoy/protocols.py")).args(arguments);
    command.env("PYTHONPATH", root.join(".tools/protocols"));
    command
}

fn passes(output: &Output) {
    let (out, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "`make setup` brings the libraries. {out}\n{errors}");
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_is_identified_counted_and_refused_in_its_own_words() {
    let folder = tempfile::tempdir().expect("a folder");
    let python_path = workspace::root().join(".tools/protocols").display().to_string();
    let recipe = Recipe {
        name: "the gRPC server".to_owned(),
        program: "python3".into(),
        args: vec![workspace::root().join("host-tests/tests/envoy/protocols.py").into(), "serve".into()],
        env: vec![("PYTHONPATH".to_owned(), python_path)],
        log: folder.path().join("log"),
    };
    let mut server = Process::start(recipe.clone()).expect("python3");
    let printed = || {
        let log = std::fs::read_to_string(&recipe.log).ok()?;
        log.lines().find_map(|line| line.strip_prefix("port ")?.parse::<u16>().ok())
    };
    let port = server.wait_until(Duration::from_secs(60), printed).expect("a port");
    let stack = Stack::start(|config| {
        upstream(config, port)["typed_extension_protocol_options"] = json!({"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {"http2_protocol_options": {}}}});
    });
    passes(&python(&["call", stack.envoy.url().trim_start_matches("http://")]).output().expect("python3"));
    let events = stack.receiver.usage(3).await;
    let outcomes: Vec<&Value> = events.iter().map(|event| &event["data"]["outcome"]).collect();
    assert_eq!(outcomes, [&json!("ok"), &json!("ok"), &json!("client_error")], "{events:?}");
    assert!(events.iter().all(|event| event["subject"] == "acme" && event["data"]["provider"].is_null()), "{events:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn http_2_is_as_http_1() {
    let stack = Stack::start(|_| {});
    passes(&python(&["http2", &stack.envoy.url()]).output().expect("python3"));
    assert_eq!(stack.only_event().await["usage"]["status"], "complete");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_ends_in_trailers_is_read_and_goes_on() {
    let stack = Stack::start(|config| hcm(config)["http_protocol_options"] = json!({"enable_trailers": true}));
    let body = r#"{"model":"gpt-4o","messages":[{"role":"user","content":"How are you?"}]}"#;
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: h\r\nauthorization: {CREDENTIAL}\r\nconnection: close\r\n\
         content-type: application/json\r\ntransfer-encoding: chunked\r\ntrailer: x-end\r\n\r\n\
         {:x}\r\n{body}\r\n0\r\nx-end: 1\r\n\r\n",
        body.len()
    );
    let answer = stack.raw(request.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(stack.llm.seen()[0].body, body.as_bytes());
    let event = stack.only_event().await;
    assert_eq!((&event["class"], &event["usage"]["status"]), (&json!("chat"), &json!("complete")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_waits_for_100_continue_gets_it_and_one_answer() {
    let stack = Stack::start(|_| {});
    let body = r#"{"model":"gpt-4o","messages":[{"role":"user","content":"How are you?"}]}"#;
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: h\r\nauthorization: {CREDENTIAL}\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\nexpect: 100-continue\r\n\r\n{body}",
        body.len()
    );
    let answer = stack.raw(request.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200"), "{answer}");
    assert_eq!(stack.only_event().await["outcome"], "ok");
}

/// Answers the first request with early hints, and then with what it used.
fn hint_and_answer(listener: &TcpListener) {
    let (mut stream, _) = listener.accept().expect("a connection");
    let mut seen = Vec::new();
    while !seen.ends_with(b"}]}") {
        let mut piece = [0; 4096];
        let read = stream.read(&mut piece).expect("a request");
        assert!(read > 0, "{}", String::from_utf8_lossy(&seen));
        seen.extend(&piece[..read]);
    }
    let body = r#"{"object":"chat.completion","model":"gpt-4o","choices":[],
        "usage":{"prompt_tokens":3,"completion_tokens":5,"total_tokens":8}}"#;
    let head = format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len());
    let hints = "HTTP/1.1 103 Early Hints\r\nlink: </style.css>; rel=preload\r\n\r\n";
    stream.write_all(format!("{hints}HTTP/1.1 200 OK\r\n{head}\r\n{body}").as_bytes()).expect("answered");
}

#[tokio::test(flavor = "multi_thread")]
async fn early_hints_of_the_upstream_are_no_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let server = std::thread::spawn(move || hint_and_answer(&listener));
    let stack = Stack::start(|config| {
        upstream(config, port);
    });
    let body = r#"{"model":"gpt-4o","messages":[{"role":"user","content":"How are you?"}]}"#;
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: h\r\nauthorization: {CREDENTIAL}\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = stack.raw(request.as_bytes());
    server.join().expect("answered");
    assert!(answer.contains("HTTP/1.1 200 OK\r\n") && answer.ends_with("\"total_tokens\":8}}"), "{answer}");
    let event = stack.only_event().await;
    assert_eq!((&event["outcome"], &event["usage"]["input_tokens"]), (&json!("ok"), &json!(3)), "{event}");
    assert_eq!((&event["usage"]["status"], &event["usage"]["output_tokens"]), (&json!("complete"), &json!(5)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_request_is_one_event_without_usage() {
    let stack = Stack::start(|_| {});
    let request =
        format!("HEAD /v1/models HTTP/1.1\r\nhost: h\r\nauthorization: {CREDENTIAL}\r\nconnection: close\r\n\r\n");
    let answer = stack.raw(request.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\n"), "{answer}");
    assert_eq!(stack.only_event().await["usage"]["status"], "none");
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_larger_than_any_buffer_pass_both_ways() {
    let stack = Stack::start(|_| {});
    let client = Client::new();
    let url = |path: &str| format!("{}{path}", stack.envoy.url());
    // An upload of 8 MB. No rule needs its body, so weir does not hold it.
    let upload = Call::post(url("/upload"), &json!({})).header("authorization", CREDENTIAL);
    let upload = Call { body: Bytes::from(vec![b'x'; 8 << 20]), ..upload };
    assert_eq!(client.send(upload).await.status, 200);
    // A stream of some 4 MB with the usage behind it.
    let chat = json!({"model": "gpt-4o", "stream": true, "messages": [{"role": "user", "content": "Tell me all."}]});
    let chat = Call::post(url("/v1/chat/completions"), &chat).header("authorization", CREDENTIAL);
    let reply = client.send(chat.header("x-rig-behaviour", "pieces=20000")).await;
    let length: usize = reply.chunks.iter().map(Bytes::len).sum();
    assert!(reply.status == 200 && length > 3 << 20, "{} {length}", reply.status);
    let events = stack.receiver.usage(2).await;
    assert!(events.iter().any(|event| event["data"]["request_bytes"] == 8 << 20), "{events:?}");
    let read = events.iter().filter(|event| event["data"]["usage"]["status"] == "complete");
    let output: u64 = read.filter_map(|event| event["data"]["usage"]["output_tokens"].as_u64()).sum();
    assert_eq!((events.len(), output), (2, stack.llm.tally().tenant("acme").output));
}

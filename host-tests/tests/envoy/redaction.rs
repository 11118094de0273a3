//! A stream in which another tenant is named, piece by piece, through the real Envoy.
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};
use weir_contract::directory::KeyHash;
use weir_rig::envoy::{Bootstrap, Envoy, Options};
use weir_rig::workspace;

use crate::receiver::Receiver;

fn config() -> Value {
    let hash = KeyHash::of(b"sk_weir_acme");
    json!({
        "version": 1,
        "identity": {"sources": [{"api_key": {"prefix": "sk_weir_"}}]},
        "tenants": [{"id": "acme", "plan": "p", "keys": [{"id": "key_1", "sha256": hash}]},
                    {"id": "globex", "plan": "p", "identifiers": ["Globex GmbH"]}],
        "plans": {"p": {}},
        "redact": {"identifiers": true},
        "events": {"cluster": "weir", "token": "t", "flush": "200ms"},
    })
}

fn event(text: &str) -> String {
    format!("data: {}\n\n", json!({"id": "c1", "choices": [{"index": 0, "delta": {"content": text}}]}))
}

/// Answers one request with these pieces, some time apart, and with a trailer if there is one.
fn stream(listener: &TcpListener, pieces: &[&str], trailer: &str) {
    let (mut stream, _) = listener.accept().expect("a connection");
    let mut seen = [0; 4096];
    assert!(stream.read(&mut seen).expect("a request") > 0);
    let head =
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\ntrailer: x-end\r\n\r\n";
    stream.write_all(head.as_bytes()).expect("sent");
    for piece in pieces {
        let piece = event(piece);
        stream.write_all(format!("{:x}\r\n{piece}\r\n", piece.len()).as_bytes()).expect("sent");
        std::thread::sleep(Duration::from_millis(100));
    }
    stream.write_all(format!("0\r\n{trailer}\r\n").as_bytes()).expect("sent");
}

/// What the client gets, frames of chunks and all.
fn answer(pieces: &'static [&'static str], trailer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    let server = std::thread::spawn(move || stream(&listener, pieces, trailer));
    let receiver = Receiver::start();
    let bootstrap = Bootstrap::from_file(&workspace::root().join("envoy/sidecar.yaml"))
        .and_then(|shipped| shipped.on_free_ports().cluster("upstream", address))
        .and_then(|shipped| shipped.cluster("weir", receiver.address()))
        .and_then(|shipped| shipped.code(&workspace::weir_wasm().expect("the built module")))
        .and_then(|shipped| shipped.configuration(&config()))
        .expect("the shipped configuration");
    let envoy = Envoy::start(&bootstrap.edit(enable_trailers), &Options::default()).expect("Envoy");
    let mut client = TcpStream::connect(envoy.url().trim_start_matches("http://")).expect("a connection");
    client.set_read_timeout(Some(Duration::from_secs(30))).expect("a time-out");
    let body = r#"{"model":"gpt-4o","stream":true,"messages":[]}"#;
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: h\r\nauthorization: Bearer sk_weir_acme\r\nconnection: close\r\n\
         te: trailers\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    client.write_all(request.as_bytes()).expect("sent");
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).expect("answered and closed");
    server.join().expect("the upstream");
    String::from_utf8_lossy(&answer).into_owned()
}

fn enable_trailers(config: &mut Value) {
    let options = json!({"enable_trailers": true});
    let resources = &mut config["static_resources"];
    resources["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]["http_protocol_options"] =
        options.clone();
    assert_eq!(resources["clusters"][0]["name"], "upstream");
    resources["clusters"][0]["typed_extension_protocol_options"] = json!({"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http_protocol_options": options}}});
}

/// The text of a stream, put together.
fn said(answer: &str) -> String {
    let events = answer.lines().filter_map(|line| line.strip_prefix("data: "));
    let events = events.map(|event| serde_json::from_str::<Value>(event).expect("an event"));
    events.map(|event| event["choices"][0]["delta"]["content"].as_str().unwrap_or_default().to_owned()).collect()
}

#[test]
fn a_name_in_pieces_is_taken_out_and_the_rest_goes_on() {
    let answer = answer(&["of Glo", "bex", " GmbH", ", and Glo", "w."], "");
    assert_eq!(said(&answer), "of [redacted], and Glow.", "{answer}");
    assert!(answer.ends_with("0\r\n\r\n"), "{answer}");
}

#[test]
fn what_waits_where_trailers_end_a_stream_goes_on_before_them() {
    for (pieces, told) in [
        (&["of", " Globex GmbH"][..], "of [redacted]"),
        (&["of", " Glo"][..], "of Glo"),
        (&["so", " it", " is"][..], "so it is"),
    ] {
        let answer = answer(pieces, "x-end: 1\r\n");
        assert_eq!(said(&answer), told, "{answer}");
        assert!(answer.contains("x-end: 1"), "{answer}");
    }
}

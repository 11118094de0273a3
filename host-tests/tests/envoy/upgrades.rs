//! WebSockets through the real Envoy, to an upstream that sends back what it gets.
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};

use serde_json::{Value, json};
use weir_contract::directory::KeyHash;
use weir_rig::envoy::{Bootstrap, Envoy, Options};
use weir_rig::workspace;

use crate::receiver::Receiver;
use crate::wire::{open, read_head};

/// Answers upgrades with 101, and then every byte with itself, until the other side closes.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            std::thread::spawn(move || {
                let head = read_head(&mut stream);
                let switch = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
                let refusal = "HTTP/1.1 426 Upgrade Required\r\ncontent-length: 0\r\n\r\n";
                let upgrades = head.to_ascii_lowercase().contains("upgrade: websocket");
                let _ = stream.write_all(if upgrades { switch } else { refusal }.as_bytes());
                let mut buffer = [0; 1024];
                while let Ok(read @ 1..) = stream.read(&mut buffer) {
                    let _ = stream.write_all(&buffer[..read]);
                }
            });
        }
    });
    address
}

fn start(upstream: SocketAddr, receiver: &Receiver) -> Envoy {
    let key = json!({"id": "key_1", "sha256": KeyHash::of(b"sk_weir_acme")});
    let filter = json!({
        "version": 1, "identity": {"sources": [{"api_key": {"prefix": "sk_weir_"}}]}, "plans": {"p": {}},
        "tenants": [{"id": "acme", "plan": "p", "keys": [key]}],
        "routes": [{"name": "socket", "match": {"path": "/socket"}, "upgrade": true}],
        "events": {"cluster": "weir", "token": "t", "flush": "200ms"},
    });
    let bootstrap = Bootstrap::from_file(&workspace::root().join("envoy/sidecar.yaml"))
        .and_then(|shipped| shipped.on_free_ports().cluster("upstream", upstream))
        .and_then(|config| config.cluster("weir", receiver.address()))
        .and_then(|config| config.code(&workspace::weir_wasm().expect("the built module")))
        .and_then(|config| config.configuration(&filter))
        .expect("the shipped configuration");
    let bootstrap = bootstrap.edit(|config| {
        let chain = &mut config["static_resources"]["listeners"][0]["filter_chains"][0];
        chain["filters"][0]["typed_config"]["upgrade_configs"] = json!([{"upgrade_type": "websocket"}]);
    });
    Envoy::start(&bootstrap, &Options::default()).expect("Envoy")
}

const WEBSOCKET: &str = "authorization: Bearer sk_weir_acme\r\nconnection: upgrade\r\nupgrade: websocket\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_passes_where_a_route_lets_it_and_makes_one_event() {
    let receiver = Receiver::start();
    let envoy = start(echo(), &receiver);
    let (mut socket, answer) = open(&envoy, "GET /socket", WEBSOCKET);
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}: {}", envoy.log());
    let mut back = [0; 5];
    for word in [b"hello", b"again"] {
        socket.write_all(word).expect("sent");
        socket.read_exact(&mut back).expect("it comes back");
        assert_eq!(&back, word);
    }
    drop(socket);
    let events = receiver.usage(1).await;
    let data = &events[0]["data"];
    assert_eq!((&data["route"], &data["status"]), (&json!("socket"), &json!(101)));
    assert_eq!((&data["request_bytes"], &data["response_bytes"]), (&json!(10), &json!(10)));
    assert!(data["duration_ms"].as_u64().is_some());
    // A refused request makes no usage event. The event of a further upgrade shows that none is on its way.
    for (line, headers, status) in [
        ("GET /v1/realtime", WEBSOCKET.to_owned(), "403"),
        ("POST /socket", format!("{WEBSOCKET}content-length: 2\r\n"), "400"),
        ("GET /socket", WEBSOCKET.replace("acme", "nobody"), "401"),
    ] {
        let (_, answer) = open(&envoy, line, &headers);
        assert!(answer.contains(status), "{line}: {answer}");
    }
    let (socket, answer) = open(&envoy, "GET /socket", WEBSOCKET);
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    drop(socket);
    let events: Vec<Value> = receiver.usage(2).await;
    assert_eq!(events.len(), 2, "{events:?}");
}

//! CONNECT through the real Envoy: a tunnel has no path, so the route of Envoy's that takes it says by name which of weir's
//! it is; any other is refused.
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};

use serde_json::{Value, json};
use weir_rig::envoy::{Bootstrap, Envoy, Options};
use weir_rig::workspace;

use crate::edge::tenant;
use crate::receiver::Receiver;
use crate::wire::open;

/// Sends back every byte: what lies at the end of a tunnel.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            std::thread::spawn(move || {
                let mut buffer = [0; 1024];
                while let Ok(read @ 1..) = stream.read(&mut buffer) {
                    let _ = stream.write_all(&buffer[..read]);
                }
            });
        }
    });
    address
}

/// The shipped configuration with a route for CONNECT, named to weir or not.
fn start(receiver: &Receiver, name: Option<&str>) -> Envoy {
    let filter = json!({
        "version": 1, "identity": {"sources": [{"api_key": {"prefix": "sk_weir_"}}]},
        "plans": {"p": {}}, "tenants": [tenant("acme", "p")],
        "routes": [{"name": "tunnel", "upgrade": true}],
        "events": {"cluster": "weir", "token": "t", "flush": "200ms"},
    });
    let mut route = json!({"match": {"connect_matcher": {}}, "route": {"cluster": "upstream", "timeout": "0s",
        "upgrade_configs": [{"upgrade_type": "CONNECT", "connect_config": {}}]}});
    if let Some(name) = name {
        route["metadata"] = json!({"filter_metadata": {"weir": {"route": name}}});
    }
    let bootstrap = Bootstrap::from_file(&workspace::root().join("envoy/sidecar.yaml"))
        .and_then(|shipped| shipped.on_free_ports().cluster("upstream", echo()))
        .and_then(|config| config.cluster("weir", receiver.address()))
        .and_then(|config| config.code(&workspace::weir_wasm().expect("the built module")))
        .and_then(|config| config.configuration(&filter))
        .expect("the shipped configuration");
    let bootstrap = bootstrap.edit(|config| {
        let manager = crate::edge::manager(config);
        manager["upgrade_configs"] = json!([{"upgrade_type": "CONNECT"}]);
        let routes = manager.pointer_mut("/route_config/virtual_hosts/0/routes").and_then(Value::as_array_mut);
        routes.expect("routes").insert(0, route);
    });
    Envoy::start(&bootstrap, &Options::default()).expect("Envoy")
}

const KEY: &str = "authorization: Bearer sk_weir_acme\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_passes_where_a_named_route_lets_it_and_makes_one_event() {
    let receiver = Receiver::start();
    let envoy = start(&receiver, Some("tunnel"));
    let (_, refused) = open(&envoy, "CONNECT db.internal:443", "");
    assert!(refused.contains(" 401 "), "{refused}");
    let (mut tunnel, answer) = open(&envoy, "CONNECT db.internal:443", KEY);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}: {}", envoy.log());
    let mut back = [0; 5];
    for word in [b"hello", b"again"] {
        tunnel.write_all(word).expect("sent");
        tunnel.read_exact(&mut back).expect("it comes back");
        assert_eq!(&back, word);
    }
    drop(tunnel);
    let events = receiver.usage(1).await;
    let data = &events[0]["data"];
    assert_eq!((&data["route"], &data["request_bytes"]), (&json!("tunnel"), &json!(10)), "{data}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_that_no_route_lets_is_refused() {
    let receiver = Receiver::start();
    let envoy = start(&receiver, None);
    let (_, answer) = open(&envoy, "CONNECT db.internal:443", KEY);
    assert!(answer.contains(" 403 "), "{answer}: {}", envoy.log());
}

//! Vector stores that two tenants share, behind real Envoy: a real Chroma, and the official clients of the others over stores that
//! evaluate filters.
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use weir_contract::directory::KeyHash;
use weir_rig::envoy::{Bootstrap, Envoy, Options};
use weir_rig::llm::Llm;
use weir_rig::process::{Process, Recipe};
use weir_rig::workspace;

use crate::receiver::Receiver;
use crate::wire::open;

/// A store imports its modules in seconds, and on a machine with much else to do in a minute.
const STARTS_WITHIN: Duration = Duration::from_secs(180);

/// A store's process, at an address that was free.
struct Store {
    address: SocketAddr,
    _process: Process,
    _dir: tempfile::TempDir,
}

/// Starts `python3 ARGS`, in which `PORT` stands for the port and `DIR` for a directory.
fn store(clients: &str, args: &[&str]) -> Store {
    let address = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port");
    let dir = tempfile::tempdir().expect("a directory");
    let folder = workspace::root().join(".tools").join(clients);
    let place = |arg: &str| {
        let arg = arg.replace("PORT", &address.port().to_string());
        arg.replace("DIR", &dir.path().to_string_lossy()).replace("CLIENTS", &folder.to_string_lossy()).into()
    };
    let recipe = Recipe {
        name: format!("the store of {clients}"),
        program: "python3".into(),
        args: args.iter().map(|arg| place(arg)).collect(),
        env: vec![("PYTHONPATH".to_owned(), folder.to_string_lossy().into_owned())],
        log: dir.path().join("log"),
    };
    let mut process = Process::start(recipe).expect("python3");
    let ready = process.wait_until(STARTS_WITHIN, || TcpStream::connect(address).ok());
    ready.unwrap_or_else(|error| panic!("{error}; `make setup` brings the stores and clients. {}", process.log()));
    Store { address, _process: process, _dir: dir }
}

/// A gateway before a store, with acme and globex as its tenants.
fn gateway(store: &Store, receiver: &Receiver, guard: &Value) -> Envoy {
    Envoy::start(&bootstrap(store.address, receiver, guard), &Options::default()).expect("Envoy")
}

fn bootstrap(store: SocketAddr, receiver: &Receiver, guard: &Value) -> Bootstrap {
    let tenant = |id: &str| {
        let hash = KeyHash::of(format!("sk_weir_{id}").as_bytes());
        json!({"id": id, "plan": "p", "keys": [{"id": format!("key_{id}"), "sha256": hash}]})
    };
    let config = json!({
        "version": 1, "gateway": "test",
        "identity": {"sources": [{"api_key": {"prefix": "sk_weir_"}},
                                 {"api_key": {"header": "api-key", "prefix": "sk_weir_"}}]},
        "tenants": [tenant("acme"), tenant("globex")],
        "plans": {"p": {}},
        "sealed_ids": {"keys": [{"version": 1, "secret": "a secret of more than thirty-two bytes"}]},
        "routes": [{"name": "vectors", "match": {"path_prefix": "/"}, "guard": guard}],
        "events": {"cluster": "weir", "token": "t", "flush": "200ms"},
    });
    Bootstrap::from_file(&workspace::root().join("envoy/sidecar.yaml"))
        .and_then(|shipped| shipped.on_free_ports().cluster("upstream", store))
        .and_then(|config| config.cluster("weir", receiver.address()))
        .and_then(|config| config.code(&workspace::weir_wasm().expect("the built module")))
        .and_then(|shipped| shipped.configuration(&config))
        .expect("the shipped configuration")
}

/// Runs a script with the official clients; it prints `good` at its end.
fn run(clients: &str, script: &str, args: &[String]) {
    let root = workspace::root();
    let folder = root.join(".tools").join(clients);
    let program = if script.ends_with(".cjs") { "node" } else { "python3" };
    let run = Command::new(program)
        .arg(root.join("host-tests/tests/envoy/vector").join(script))
        .args(args)
        .env("NODE_PATH", folder.join("node_modules"))
        .env("PYTHONPATH", folder)
        .output()
        .expect(program);
    let said = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success() && run.stdout.ends_with(b"good\n"), "{script}: {said}");
}

fn port(envoy: &Envoy) -> String {
    envoy.listener("edge").expect("the listener of the shipped configuration").port().to_string()
}

/// The events of a type that arrived.
fn arrived(receiver: &Receiver, kind: &str) -> Vec<Value> {
    let mut events = receiver.events();
    events.retain(|event| event["type"] == kind);
    events
}

#[test]
fn two_tenants_share_a_real_chroma_and_see_nothing_of_each_other() {
    let (store, receiver) =
        (store("chroma", &["CLIENTS/bin/chroma", "run", "--port", "PORT", "--path", "DIR"]), Receiver::start());
    let filtered = gateway(&store, &receiver, &json!({"store": "chroma", "by": "filter"}));
    let namespaced = gateway(&store, &receiver, &json!({"store": "chroma", "by": "namespace"}));
    run("chroma", "chroma_clients.py", &[port(&filtered), port(&namespaced), store.address.port().to_string()]);
}

#[test]
fn qdrants_client_searches_and_changes_ones_own_points_alone() {
    let script = workspace::root().join("host-tests/tests/envoy/vector/qdrant_store.py");
    let (store, receiver) = (store("vector", &[&script.to_string_lossy(), "PORT"]), Receiver::start());
    let envoy = gateway(&store, &receiver, &json!({"store": "qdrant", "by": "filter"}));
    run("vector", "qdrant_clients.py", &[envoy.url(), format!("http://{}", store.address)]);
    std::thread::sleep(Duration::from_secs(2));
    let searches = arrived(&receiver, "weir.search.v1");
    assert!(searches.iter().all(|search| search["data"]["removed"].is_null()), "the store filters for real");
    assert!(searches.iter().any(|search| search["subject"] == "acme" && search["data"]["results"] == 6));
}

#[test]
fn pinecones_client_has_namespaces_of_its_own() {
    shared("pinecone", ("vector", "pinecone_clients.py"), &json!({"store": "pinecone", "by": "namespace"}));
}

#[test]
fn weaviates_client_has_a_tenant_of_its_own() {
    shared("weaviate", ("vector", "weaviate_clients.py"), &json!({"store": "weaviate", "by": "namespace"}));
}

#[test]
fn milvuss_rest_api_finds_ones_own_rows_alone() {
    shared("milvus", ("vector", "milvus_clients.py"), &milvus());
}

#[test]
fn milvuss_client_finds_ones_own_rows_alone() {
    shared("milvus", ("milvus", "milvus_clients.cjs"), &milvus());
}

fn milvus() -> Value {
    json!({"store": "milvus", "by": "filter", "primary_field": "id"})
}

/// Runs a store's clients against its stand-in. `clients`: their folder and their script.
fn shared(name: &str, clients: (&str, &str), guard: &Value) {
    let script = workspace::root().join("host-tests/tests/envoy/vector/stores.py");
    let (store, receiver) = (store("vector", &[&script.to_string_lossy(), name, "PORT"]), Receiver::start());
    let envoy = gateway(&store, &receiver, guard);
    run(clients.0, clients.1, &[envoy.url(), format!("http://{}", store.address)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_with_a_store_of_its_own_is_led_there_and_nobody_else() {
    let (shared, own) = (Llm::start().expect("a store"), Llm::start().expect("a store"));
    let bootstrap = bootstrap(shared.address(), &Receiver::start(), &json!({"store": "qdrant", "by": "filter"}));
    let bootstrap = bootstrap.edit(|config| {
        let manager = &mut config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"];
        let routes = manager["route_config"]["virtual_hosts"][0]["routes"].as_array_mut().expect("routes");
        let tenant = json!([{"name": "x-tenant-id", "string_match": {"exact": "acme"}}]);
        routes.insert(0, json!({"match": {"prefix": "/", "headers": tenant}, "route": {"cluster": "own"}}));
        let clusters = config["static_resources"]["clusters"].as_array_mut().expect("clusters");
        let mut cluster = clusters.iter().find(|cluster| cluster["name"] == "upstream").cloned().expect("a cluster");
        cluster["name"] = json!("own");
        cluster["load_assignment"]["cluster_name"] = json!("own");
        clusters.push(cluster);
    });
    let envoy = Envoy::start(&bootstrap.cluster("own", own.address()).expect("the cluster"), &Options::default())
        .expect("Envoy");
    for (tenant, claimed) in [("acme", "globex"), ("globex", "acme"), ("globex", "globex")] {
        let headers = format!("authorization: Bearer sk_weir_{tenant}\r\nx-tenant-id: {claimed}\r\n");
        open(&envoy, "GET /collections/docs/points/5", &headers);
    }
    assert_eq!((own.seen().len(), shared.seen().len()), (1, 2));
}

//! The shipped configuration of Envoy, with a filter's configuration put in, and one plain connection to it.
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use weir_contract::directory::KeyHash;
use weir_rig::envoy::{Bootstrap, Envoy, Options};
use weir_rig::llm::Llm;
use weir_rig::load::{Call, Client};
use weir_rig::workspace;

/// Envoy between a client and a stand-in provider.
pub(crate) struct Edge {
    pub(crate) envoy: Envoy,
    pub(crate) llm: Llm,
    bootstrap: Bootstrap,
}

/// How an [`Edge`] differs from what is shipped.
pub(crate) struct Setup {
    pub(crate) options: Options,
    pub(crate) wasm: PathBuf,
    pub(crate) edit: fn(&mut Value),
    /// More clusters, and where they are.
    pub(crate) clusters: Vec<(&'static str, SocketAddr)>,
}

impl Default for Setup {
    fn default() -> Self {
        let wasm = workspace::weir_wasm().expect("the built module");
        Setup { options: Options::default(), wasm, edit: |_| {}, clusters: Vec::new() }
    }
}

impl Setup {
    pub(crate) fn workers(workers: u32) -> Self {
        Setup { options: Options { concurrency: workers, ..Options::default() }, ..Setup::default() }
    }

    pub(crate) fn start(self, filter: &Value) -> Edge {
        let llm = Llm::start().expect("a provider");
        let shipped = Bootstrap::from_file(&workspace::root().join("envoy/sidecar.yaml")).expect("the shipped file");
        let mut bootstrap = shipped.on_free_ports().cluster("upstream", llm.address()).expect("a cluster");
        for (name, address) in &self.clusters {
            bootstrap = bootstrap.edit(|config| add_cluster(config, name)).cluster(name, *address).expect("a cluster");
        }
        let bootstrap = bootstrap.code(&self.wasm).expect("a filter").edit(self.edit);
        let configured = bootstrap.clone().configuration(filter).expect("a filter");
        let envoy = Envoy::start(&configured, &self.options).expect("Envoy");
        Edge { envoy, llm, bootstrap }
    }
}

impl Edge {
    /// Gives Envoy another configuration of the filter, as a control plane would.
    pub(crate) fn reload(&mut self, filter: &Value) {
        let configured = self.bootstrap.clone().configuration(filter).expect("a filter");
        self.envoy.reload(&configured).expect("the new configuration");
    }

    /// A request of acme's without a body.
    pub(crate) fn models(&self) -> Call {
        Call::get(format!("{}/v1/models", self.envoy.url())).header("authorization", "Bearer sk_weir_acme")
    }

    /// A request of acme's with a JSON body.
    pub(crate) fn post(&self, path: &str, body: &Value) -> Call {
        Call::post(format!("{}{path}", self.envoy.url()), body).header("authorization", "Bearer sk_weir_acme")
    }

    /// The statuses of requests of acme's, one behind the other, over connections of their own.
    pub(crate) async fn statuses(&self, count: usize) -> Vec<u16> {
        let client = Client::new();
        client.send_all((0..count).map(|_| self.models()), 1).await.iter().map(|reply| reply.status).collect()
    }

    pub(crate) fn metric(&self, name: &str) -> u64 {
        self.envoy.stats(name).expect("stats").values().sum()
    }

    /// Sends a request piece by piece over one connection, a moment between them, and returns what comes back until Envoy
    /// closes it.
    pub(crate) fn raw(&self, pieces: &[&[u8]]) -> String {
        let address = self.envoy.listener("edge").expect("the listener");
        let mut stream = TcpStream::connect(address).expect("a connection");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a time-out");
        stream.set_nodelay(true).expect("no delay");
        for (at, piece) in pieces.iter().enumerate() {
            if at > 0 {
                std::thread::sleep(Duration::from_millis(50));
            }
            // A refused client may find the connection closed before the last piece.
            if stream.write_all(piece).is_err() {
                break;
            }
        }
        let mut answer = Vec::new();
        let _cut = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }
}

/// A configuration in which acme and globex are on `plan`, one key each: `sk_weir_acme`, `sk_weir_globex`.
pub(crate) fn filter(plan: &Value) -> Value {
    json!({
        "version": 1,
        "identity": {"sources": [{"api_key": {"prefix": "sk_weir_"}},
                                 {"api_key": {"header": "x-api-key", "prefix": "sk_weir_"}}]},
        "tenants": [tenant("acme", "p"), tenant("globex", "p")],
        "plans": {"p": plan},
    })
}

pub(crate) fn tenant(id: &str, plan: &str) -> Value {
    let hash = KeyHash::of(format!("sk_weir_{id}").as_bytes());
    json!({"id": id, "plan": plan, "keys": [{"id": id, "sha256": hash}]})
}

/// Where the connection manager stands in the shipped file.
pub(crate) fn manager(config: &mut Value) -> &mut Value {
    let found = config.pointer_mut("/static_resources/listeners/0/filter_chains/0/filters/0/typed_config");
    found.expect("a connection manager")
}

/// Writes a module where Envoy can load it from; gone with the folder.
pub(crate) fn write_module(folder: &Path, bytes: &[u8]) -> PathBuf {
    let path = folder.join("weir.wasm");
    std::fs::write(&path, bytes).expect("written");
    path
}

fn add_cluster(config: &mut Value, name: &str) {
    let clusters = config["static_resources"]["clusters"].as_array_mut().expect("clusters");
    let mut cluster = clusters.first().expect("a cluster").clone();
    cluster["name"] = json!(name);
    cluster["load_assignment"]["cluster_name"] = json!(name);
    clusters.push(cluster);
}

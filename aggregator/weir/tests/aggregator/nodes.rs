//! Several `weir serve` over one event log and one ledger: any of them takes and answers everything, and another one owns within seconds once
//! the owner is killed, paused, stuck or stopped.
use std::fs::Permissions;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use reqwest::{Client, Response, StatusCode};
use serde_json::Value;
use tempfile::TempDir;
use weir_clock::SystemClock;
use weir_contract::Timestamp;
use weir_rig::postgres::Postgres;
use weir_rig::probe::Port;
use weir_rig::process::{Process, Recipe};
use weir_rig::redis::Redis;

use super::commands::{json as answer, weir};
use super::events::{Worker, batch};
use super::server::{TOKEN, config};

/// Within this time another node owns.
pub(super) const TAKE_OVER_MAX: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(30);

/// Servers of an event log and of a ledger.
pub(super) struct Shared {
    pub(super) redis: Redis,
    pub(super) postgres: Postgres,
}

impl Shared {
    pub(super) fn start() -> Self {
        Shared { redis: Redis::start().expect("a Redis"), postgres: Postgres::start().expect("a PostgreSQL") }
    }

    pub(super) fn settings(&self) -> String {
        format!("log: {}\nledger: {}\n", self.redis.url(), self.postgres.url())
    }
}

/// A node as a process.
pub(super) struct Node {
    pub(super) name: String,
    pub(super) dir: TempDir,
    port: Port,
    process: Process,
    http: Client,
    scheme: &'static str,
}

/// How a node is reached.
pub(super) struct Reach {
    /// The address that it tells the others.
    pub(super) told: String,
    pub(super) listen: SocketAddr,
    /// Further settings of `node`.
    pub(super) ca: String,
    pub(super) http: Client,
}

impl Reach {
    pub(super) fn plain() -> Self {
        let http = Client::builder().timeout(Duration::from_secs(10)).build().expect("a client");
        Reach { told: String::new(), listen: SocketAddr::from(([127, 0, 0, 1], 0)), ca: String::new(), http }
    }
}

impl Node {
    /// Starts a node with further settings, and does not wait.
    pub(super) fn start(name: &str, more: &str) -> Self {
        Self::start_with(name, more, &[])
    }

    /// Starts one with further files beside its settings.
    pub(super) fn start_with(name: &str, more: &str, files: &[(&str, String)]) -> Self {
        let port = Port::reserve().expect("a port");
        let told = port.address();
        Self::start_on((port, told), name, more, files)
    }

    /// Starts one that tells others an address.
    fn start_on((port, told): (Port, SocketAddr), name: &str, more: &str, files: &[(&str, String)]) -> Self {
        let listen = port.address();
        Self::start_as(port, &Reach { told: format!("http://{told}"), listen, ..Reach::plain() }, name, more, files)
    }

    /// Starts one that is reached in a way of its own.
    pub(super) fn start_as(port: Port, reach: &Reach, name: &str, more: &str, files: &[(&str, String)]) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        for (file, text) in files {
            let path = dir.path().join(file);
            std::fs::create_dir_all(path.parent().expect("a directory")).expect("made");
            std::fs::write(&path, text).expect("written");
            std::fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("a mode");
        }
        let Reach { told, listen, ca, http } = reach;
        let node = format!("node: {{name: {name}, address: '{told}'{ca}}}\n");
        let text = config(dir.path(), &format!("{node}{more}"));
        let text = text.replace("listen: 127.0.0.1:0", &format!("listen: {listen}"));
        std::fs::write(dir.path().join("weir.yaml"), text).expect("written");
        let recipe = Recipe {
            name: format!("node {name}"),
            program: env!("CARGO_BIN_EXE_weir").into(),
            args: vec!["serve".into(), "--config".into(), dir.path().join("weir.yaml").into()],
            env: Vec::new(),
            log: dir.path().join("log"),
        };
        let process = Process::start(recipe).expect("started");
        let scheme = if told.starts_with("https") { "https" } else { "http" };
        Node { name: name.to_owned(), dir, port, process, http: http.clone(), scheme }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.port.address()
    }

    pub(super) fn kill(&mut self) {
        self.process.kill().expect("killed");
    }

    pub(super) fn restart(&mut self) {
        self.process.restart().expect("started");
    }

    /// Sends it a signal, such as `-STOP`.
    pub(super) fn signal(&self, signal: &str) {
        let pid = self.process.pid().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().expect("sent").success());
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.address())
    }

    pub(super) async fn ask(&self, path: &str) -> Option<Response> {
        self.http.get(self.url(path)).bearer_auth(TOKEN).send().await.ok()
    }

    pub(super) async fn json(&self, path: &str) -> Value {
        let response = self.ask(path).await.unwrap_or_else(|| panic!("{path}: no answer\n{}", self.process.log()));
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        response.json().await.expect("JSON")
    }

    /// Posts a batch once.
    pub(super) async fn post(&self, body: Vec<u8>) -> Option<StatusCode> {
        let request =
            self.http.post(self.url("/v1/events")).bearer_auth(TOKEN).header("content-type", "application/json");
        Some(request.timeout(Duration::from_secs(3)).body(body).send().await.ok()?.status())
    }

    /// Posts a batch until it is accepted, and returns how long that took.
    pub(super) async fn accepted(&self, body: Vec<u8>) -> Duration {
        let began = Instant::now();
        while self.post(body.clone()).await != Some(StatusCode::ACCEPTED) {
            assert!(began.elapsed() < PATIENCE, "{} never accepts\n{}", self.name, self.process.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        began.elapsed()
    }

    /// What `/readyz` says once it fits.
    pub(super) async fn ready(&self, fits: impl Fn(StatusCode, &Value) -> bool) -> Value {
        let (began, mut last) = (Instant::now(), Value::Null);
        while began.elapsed() < PATIENCE {
            if let Some(response) = self.ask("/readyz").await {
                let status = response.status();
                last = response.json().await.unwrap_or_default();
                if fits(status, &last) {
                    return last;
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{} never: {last}\n{}", self.name, self.process.log());
    }

    pub(super) async fn owns(&self) {
        self.ready(|status, said| status == StatusCode::OK && said["role"] == "owner").await;
    }

    pub(super) async fn follows(&self, owner: &Node) {
        let role = format!("follower of {} at {}", owner.name, owner.url(""));
        self.ready(|status, said| status == StatusCode::OK && said["role"] == role).await;
    }

    /// Whether its process has ended by itself.
    pub(super) fn has_ended(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.pid()));
        !stat.is_ok_and(|stat| !stat.contains(") Z "))
    }

    /// The last lines that it logged.
    pub(super) fn log_end(&self) -> String {
        let log = self.process.log();
        let lines: Vec<&str> = log.lines().collect();
        format!("{}:\n{}", self.name, lines[lines.len().saturating_sub(15)..].join("\n"))
    }

    /// Waits until the process has ended by itself, and returns what it logged.
    pub(super) async fn ended(&self) -> String {
        let began = Instant::now();
        while !self.has_ended() {
            assert!(began.elapsed() < PATIENCE, "{} never ends\n{}", self.name, self.process.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.process.log()
    }

    /// Requests of the default meter.
    pub(super) async fn requests(&self) -> u64 {
        let view = self.json("/v1/usage?from=2000-01-01T00:00:00Z&meter=requests").await;
        view["usage"].as_array().expect("rows").iter().filter_map(|row| row["billable"].as_u64()).sum()
    }
}

pub(super) fn now() -> Timestamp {
    SystemClock::start().now()
}

/// An owner and a follower of it.
pub(super) async fn pair(shared: &Shared) -> (Node, Node) {
    let a = Node::start("a", &shared.settings());
    a.owns().await;
    let b = Node::start("b", &shared.settings());
    b.follows(&a).await;
    (a, b)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_takes_and_answers_everything_and_owns_once_the_owner_is_killed() {
    let shared = Shared::start();
    let (mut a, b) = pair(&shared).await;
    let worker = Worker::new(1, now());
    assert_eq!(b.post(batch(&[worker.usage(1)])).await, Some(StatusCode::ACCEPTED));
    assert_eq!((b.requests().await, a.requests().await), (1, 1));
    let unknown = b.http.get(b.url("/v1/usage")).bearer_auth("a-token-that-nobody-knows").send().await.expect("asked");
    assert_eq!(unknown.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(b.ask("/v1/nothing").await.expect("asked").status(), StatusCode::NOT_FOUND);
    let large = vec![b'x'; 9 * 1024 * 1024];
    assert!(matches!(b.post(large).await, Some(StatusCode::PAYLOAD_TOO_LARGE) | None), "refused before it is read");
    let metrics = b.ask("/metrics").await.expect("asked").text().await.expect("text");
    assert!(
        metrics.contains("weir_node_owner 0") && metrics.contains(r#"weir_node_passed_total{outcome="answered"}"#),
        "{metrics}"
    );
    let usage = answer(&weir(b.dir.path(), &["usage", "--meter", "requests", "--json"]));
    assert_eq!(usage["usage"][0]["billable"], 1, "commands on the follower's machine ask the owner: {usage}");

    a.kill();
    let took = b.accepted(batch(&[worker.usage(2)])).await;
    println!("killed, accepted by the other after {} ms", took.as_millis());
    assert!(took < TAKE_OVER_MAX, "{took:?}");
    assert_eq!(b.requests().await, 2);
    a.restart();
    a.follows(&b).await;
    assert_eq!(a.post(batch(&[worker.usage(2), worker.usage(3)])).await, Some(StatusCode::ACCEPTED));
    assert_eq!(a.requests().await, 3, "the repeat is known");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_wait_for_a_change_are_answered_by_way_of_a_follower() {
    let shared = Shared::start();
    let more = format!("{}tenants: tenants.yaml\n", shared.settings());
    let files = [("tenants.yaml", "tenants: [{id: acme, plan: p}]".to_owned())];
    let (a, b) = (Node::start_with("a", &more, &files), Node::start_with("b", &more, &files));
    let is_up = |status, _: &Value| status == StatusCode::OK;
    a.ready(is_up).await;
    let role = b.ready(is_up).await["role"].clone();
    let (owner, follower) = if role == "owner" { (&b, &a) } else { (&a, &b) };
    let version = follower.json("/v1/directory").await["version"].as_str().expect("a version").to_owned();
    let waiting = follower.http.get(follower.url(&format!("/v1/directory?since={version}&wait=8s"))).bearer_auth(TOKEN);
    let waiting = tokio::spawn(waiting.send());
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!waiting.is_finished(), "it waits");
    std::fs::write(owner.dir.path().join("tenants.yaml"), "tenants: [{id: acme, plan: q}]").expect("written");
    let page: Value = waiting.await.expect("ended").expect("an answer").json().await.expect("JSON");
    assert_eq!(page["tenants"][0]["plan"], "q", "{page}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_that_is_paused_or_stuck_in_a_transaction_loses_everything_and_ends() {
    let shared = Shared::start();
    let (mut a, b) = pair(&shared).await;
    let worker = Worker::new(1, now());
    a.accepted(batch(&[worker.usage(1)])).await;
    a.signal("-STOP");
    let took = b.accepted(batch(&[worker.usage(2)])).await;
    println!("paused, accepted by the other after {} ms", took.as_millis());
    assert!(took < TAKE_OVER_MAX, "{took:?}");
    a.signal("-CONT");
    let said = a.ended().await;
    assert!(said.contains("owns the event log and the ledger no longer"), "{said}");
    assert!(!said.contains("is broken"), "a take-over is nothing to worry about: {said}");
    assert_eq!(b.requests().await, 2);

    a.restart();
    a.follows(&b).await;
    // A lock on a table that it counts into keeps the owner within a transaction.
    let holding = shared.postgres.url();
    let mut lock = Command::new("psql")
        .args([&holding, "-XAtq", "-c", "BEGIN; LOCK TABLE weir.usage; SELECT pg_sleep(1.5)"])
        .spawn()
        .expect("psql");
    tokio::time::sleep(Duration::from_millis(500)).await;
    b.accepted(batch(&[worker.usage(3)])).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    b.signal("-STOP");
    lock.wait().expect("ended");
    let took = a.accepted(batch(&[worker.usage(4)])).await;
    println!("stuck in a transaction, accepted by the other after {} ms", took.as_millis());
    assert!(took < TAKE_OVER_MAX, "{took:?}");
    b.signal("-CONT");
    b.ended().await;
    assert_eq!(a.requests().await, 4);
    assert_eq!(a.json("/v1/ledger").await["balanced"], true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_that_stops_hands_over_at_once() {
    let shared = Shared::start();
    let (a, b) = pair(&shared).await;
    let worker = Worker::new(1, now());
    a.accepted(batch(&[worker.usage(1)])).await;
    a.signal("-TERM");
    let took = b.accepted(batch(&[worker.usage(2)])).await;
    println!("stopped, accepted by the other after {} ms", took.as_millis());
    assert!(took < Duration::from_secs(3), "{took:?}");
    let said = a.ended().await;
    assert!(said.contains("stopped") && !said.contains("ERROR"), "{said}");
    let nodes = shared.postgres.run("SELECT name FROM weir_fleet.node").expect("asked");
    assert_eq!(nodes, "b", "who stops leaves the table");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_waits_for_its_servers_and_says_so() {
    let mut shared = Shared::start();
    shared.postgres.kill().expect("killed");
    let a = Node::start("a", &shared.settings());
    let said = a.ready(|status, said| status == StatusCode::SERVICE_UNAVAILABLE && said["nodes"].is_string()).await;
    assert!(said["owner"].as_str().is_some_and(|why| why.contains("no node owns")), "{said}");
    let worker = Worker::new(1, now());
    let refused = a.http.post(a.url("/v1/events")).bearer_auth(TOKEN).body(batch(&[worker.usage(1)])).send().await;
    let refused = refused.expect("an answer");
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.headers().contains_key("retry-after"));
    shared.redis.kill().expect("killed");
    shared.postgres.restart().expect("started");
    a.ready(|_, said| said["takes_over"].as_str().is_some_and(|why| why.contains("event log"))).await;
    shared.redis.restart().expect("started");
    a.owns().await;
    a.accepted(batch(&[worker.usage(1)])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_or_an_address_that_another_node_has_is_refused() {
    let shared = Shared::start();
    let (a, _b) = pair(&shared).await;
    let again = Node::start("a", &shared.settings());
    let said = again.ended().await;
    assert!(
        said.contains("give each node a name and an address of its own") && said.contains(&a.address().to_string()),
        "{said}"
    );
    let mut same = Node::start("c", &shared.settings());
    same.kill();
    let path = same.dir.path().join("weir.yaml");
    let text = std::fs::read_to_string(&path).expect("read");
    let text =
        text.replace(&format!("address: 'http://{}'", same.address()), &format!("address: 'http://{}'", a.address()));
    std::fs::write(&path, text).expect("written");
    same.restart();
    let said = same.ended().await;
    assert!(said.contains("has the name or the address of this node"), "{said}");
    a.owns().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_of_an_older_version_passes_on_and_never_takes_over() {
    let shared = Shared::start();
    let (mut a, b) = pair(&shared).await;
    let worker = Worker::new(1, now());
    shared.postgres.run("UPDATE weir.schema_version SET version = 9999").expect("a later version owns");
    let said = b.ready(|status, said| status == StatusCode::OK && said["takes_over"].is_string()).await;
    assert!(said["takes_over"].as_str().is_some_and(|why| why.contains("later version (format 9999")), "{said}");
    assert_eq!(b.post(batch(&[worker.usage(1)])).await, Some(StatusCode::ACCEPTED), "it passes on");
    a.kill();
    tokio::time::sleep(TAKE_OVER_MAX).await;
    b.ready(|status, said| status == StatusCode::SERVICE_UNAVAILABLE && said["takes_over"].is_string()).await;
    assert_eq!(b.post(batch(&[worker.usage(2)])).await, Some(StatusCode::SERVICE_UNAVAILABLE));
    let version = shared.postgres.run("SELECT max(version) FROM weir.schema_version").expect("asked");
    assert_eq!(version, "9999");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tenants_that_are_made_by_way_of_one_node_are_there_when_another_one_owns() {
    let shared = Shared::start();
    let more = format!("{}tenants_database: true\n", shared.settings());
    let mut a = Node::start("a", &more);
    a.owns().await;
    let b = Node::start("b", &more);
    b.follows(&a).await;
    let tenant = serde_json::json!({"id": "acme", "plan": "p"});
    let made = b.http.post(b.url("/v1/tenants")).bearer_auth(TOKEN).json(&tenant).send().await.expect("an answer");
    assert!(made.status().is_success(), "{}", made.status());
    a.kill();
    b.accepted(batch(&[Worker::new(1, now()).usage(1)])).await;
    assert_eq!(b.json("/v1/tenants/acme").await["plan"], "p");
}

/// Tries to sign in with a token that is none, and says what else the request says.
async fn sign_in(node: &Node, says: &[(&str, &str)]) -> StatusCode {
    let mut request = node.http.post(node.url("/ui/sign-in")).header("origin", format!("http://{}", node.address()));
    for (name, value) in says {
        request = request.header(*name, *value);
    }
    request.form(&[("token", "guessed")]).send().await.expect("an answer").status()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_only_nodes_may_say_is_believed_of_nobody_else() {
    let shared = Shared::start();
    let (a, b) = pair(&shared).await;
    // Each guess pretends to come from another address.
    let mut answers = Vec::new();
    for guess in 0..12 {
        let client = format!("10.0.0.{guess}");
        answers.push(sign_in(&b, &[("weir-node-client", &client)]).await);
    }
    assert_eq!((answers[0], answers[11]), (StatusCode::UNAUTHORIZED, StatusCode::TOO_MANY_REQUESTS), "{answers:?}");
    let client = ("weir-node-client", "10.1.0.1");
    assert_eq!(sign_in(&a, &[client]).await, StatusCode::TOO_MANY_REQUESTS, "this machine has guessed often enough");
    for forged in [vec![("weir-node", "b"), client], vec![("weir-node", "b"), ("weir-node-proof", "x"), client]] {
        assert_eq!(sign_in(&a, &forged).await, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(sign_in(&b, &forged).await, StatusCode::SERVICE_UNAVAILABLE, "nothing is passed on twice");
    }
    let note: Value =
        serde_json::from_slice(&std::fs::read(b.dir.path().join("weir-data/server.json")).expect("a note"))
            .expect("JSON");
    let token = note["token"].as_str().expect("a token");
    let direct = a.http.get(a.url("/v1/usage")).bearer_auth(token).send().await.expect("an answer");
    assert_eq!(direct.status(), StatusCode::UNAUTHORIZED, "a token of commands is good on its own machine alone");
    let here = b.http.get(b.url("/v1/usage")).bearer_auth(token).send().await.expect("an answer");
    assert_eq!(here.status(), StatusCode::OK);
    let open = b.http.get(b.url("/v1/../metrics")).send().await.expect("an answer");
    assert_ne!(open.status(), StatusCode::NOT_FOUND);
}

/// Takes everything, as a service may that is no weir, and hands out what it is sent.
fn taker() -> (SocketAddr, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let (address, (tell, heard)) = (listener.local_addr().expect("an address"), mpsc::channel());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut bytes = [0; 4_096];
            let read = stream.read(&mut bytes).unwrap_or(0);
            let _ = stream.write_all(b"HTTP/1.1 202 Accepted\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}");
            if tell.send(String::from_utf8_lossy(&bytes[..read]).into_owned()).is_err() {
                break;
            }
        }
    });
    (address, heard)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_passed_on_to_whoever_else_has_the_owners_address() {
    let (shared, (told, heard)) = (Shared::start(), taker());
    let owner = Node::start_on((Port::reserve().expect("a port"), told), "a", &shared.settings(), &[]);
    owner.owns().await;
    let follower = Node::start("b", &shared.settings());
    let said = follower.ready(|_, said| said["owner"].as_str().is_some_and(|why| why.contains("node.address"))).await;
    assert_eq!(said["ready"], false, "{said}");
    let worker = Worker::new(1, now());
    let body = batch(&[worker.usage(1)]);
    assert_eq!(follower.post(body).await, Some(StatusCode::SERVICE_UNAVAILABLE));
    let sent: Vec<String> = heard.try_iter().collect();
    assert!(!sent.is_empty() && sent.iter().all(|request| request.starts_with("GET /readyz ")), "{sent:?}");
    assert!(!sent.concat().contains(TOKEN) && !sent.concat().contains("proof"), "{sent:?}");
}

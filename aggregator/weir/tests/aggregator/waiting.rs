//! What thousands of waiting gateways cost the server, a process of its own. `make waiting` prints the figures.
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

const GATEWAYS: usize = 5_000;
/// Nobody changes anything for so long while they wait.
const QUIET: Duration = Duration::from_secs(10);
/// The most memory for one waiting gateway, in bytes.
const EACH_MAX_BYTES: usize = 64 * 1024;
/// The most of one processor that waiting takes.
const IDLE_MAX_PERMILLE: u128 = 50;

struct Served {
    process: Child,
    _dir: tempfile::TempDir,
    address: String,
    token: String,
}

impl Served {
    async fn start() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("weir.yaml"), "listen: 127.0.0.1:0\ntenants_database: true\n").expect("written");
        let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
        command.arg("--config").arg(dir.path().join("weir.yaml")).arg("serve");
        let process = command.stderr(Stdio::null()).spawn().expect("started");
        let note = dir.path().join("weir-data/server.json");
        let note: Value = loop {
            if let Ok(text) = std::fs::read_to_string(&note) {
                break serde_json::from_str(&text).expect("JSON");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        let text = |name: &str| note[name].as_str().expect("text").to_owned();
        Served { process, _dir: dir, address: text("address"), token: text("token") }
    }

    async fn ask(&self, method: reqwest::Method, path: &str, body: &Value) -> Value {
        let request = reqwest::Client::new().request(method, format!("http://{}{path}", self.address));
        let answer = request.bearer_auth(&self.token).json(body).send().await.expect("an answer");
        assert!(answer.status().is_success(), "{}", answer.status());
        answer.json().await.expect("JSON")
    }

    /// Resident memory in bytes.
    fn memory(&self) -> usize {
        let text = std::fs::read_to_string(format!("/proc/{}/statm", self.process.id())).expect("read");
        text.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).expect("a number") * 4_096
    }

    /// Processor time.
    fn processor(&self) -> Duration {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id())).expect("read");
        let fields: Vec<u64> =
            text.rsplit(')').next().unwrap_or_default().split(' ').filter_map(|n| n.parse().ok()).collect();
        // After the name: state, which is no number, and then the fields from the parent's number on.
        // In ticks, a hundred a second.
        Duration::from_millis(10 * (fields[10] + fields[11]))
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ended = self.process.kill().and_then(|()| self.process.wait());
    }
}

/// Asks for what follows `version`, and reads the head of the answer, which comes with the change.
async fn wait(address: String, token: String, version: String) -> Instant {
    let mut stream = TcpStream::connect(address).await.expect("connected");
    let request = format!(
        "GET /v1/directory?since={version} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\nprefer: wait=55\r\n\
         if-none-match: \"{version}\"\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut head = [0; 12];
    stream.read_exact(&mut head).await.expect("an answer");
    assert_eq!(&head, b"HTTP/1.1 200");
    Instant::now()
}

/// Lets this process and those that it starts open as many files as the host allows.
fn raise_open_files() -> usize {
    let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current = limit.maximum;
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).expect("raised");
    limit.current.map_or(usize::MAX, |files| usize::try_from(files).unwrap_or(usize::MAX))
}

async fn waiting(served: &Served) -> usize {
    let url = format!("http://{}/metrics", served.address);
    let text = reqwest::get(url).await.expect("an answer").text().await.expect("text");
    let line = text.lines().find_map(|line| line.strip_prefix("weir_directory_waiting "));
    line.and_then(|number| number.parse().ok()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "opens thousands of connections for some 20 s: make waiting"]
async fn five_thousand_waiting_gateways_cost_little_and_hear_of_a_change_at_once() {
    assert!(raise_open_files() > GATEWAYS + 1_000, "the host allows too few open files");
    assert!(Path::new("/proc/self/statm").exists(), "Linux only");
    let served = Served::start().await;
    let acme = json!({"id": "acme", "plan": "starter"});
    served.ask(reqwest::Method::POST, "/v1/tenants", &acme).await;
    let page = served.ask(reqwest::Method::GET, "/v1/directory", &json!({})).await;
    let version = page["version"].as_str().expect("text").to_owned();
    let before = served.memory();
    let mut gateways = JoinSet::new();
    for _ in 0..GATEWAYS {
        gateways.spawn(wait(served.address.clone(), served.token.clone(), version.clone()));
    }
    while waiting(&served).await < GATEWAYS {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let each = served.memory().saturating_sub(before) / GATEWAYS;
    let used = served.processor();
    tokio::time::sleep(QUIET).await;
    let permille = 1_000 * (served.processor() - used).as_millis() / QUIET.as_millis();
    let changed = Instant::now();
    served.ask(reqwest::Method::PATCH, "/v1/tenants/acme", &json!({"state": "suspended"})).await;
    let mut heard: Vec<Duration> =
        gateways.join_all().await.into_iter().map(|at| at.saturating_duration_since(changed)).collect();
    heard.sort_unstable();
    let (median, last) = (heard[GATEWAYS / 2], heard[GATEWAYS - 1]);
    println!("{GATEWAYS} waiting gateways: {each} bytes each, {permille} thousandths of a processor;");
    println!("a change reaches half of them in {median:?}, the last one in {last:?}");
    assert!(each < EACH_MAX_BYTES && permille < IDLE_MAX_PERMILLE, "{each} bytes, {permille}");
    assert!(last < Duration::from_secs(1), "{last:?}");
}

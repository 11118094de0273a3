//! Messages and data when the disk under the server, or a file on it, fails.
//!
//! Full and read-only disks are mounted for a single process. Where the system does not allow mounting, weir's own
//! limits replace them.
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::StatusCode;
use rusqlite::Connection;
use serde_json::Value;
use tempfile::TempDir;
use weir_clock::SystemClock;

use super::commands::weir;
use super::events::{Worker, batch, noon};
use super::server::{Running, TOKEN, config};

/// `weir serve` as a process, and what it logs.
pub(crate) struct Serving {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Serving {
    pub(crate) fn start(mut command: Command, dir: &Path) -> Self {
        let mut child = command.current_dir(dir).stderr(Stdio::piped()).spawn().expect("started");
        let (lines, stderr) = (Arc::new(Mutex::new(Vec::new())), child.stderr.take().expect("piped"));
        let into = Arc::clone(&lines);
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                into.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
        Serving { child, lines }
    }

    fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for the first line with `message`.
    pub(crate) fn said(&self, message: &str) -> Value {
        for _ in 0..600 {
            let lines = self.lines();
            let said = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            if let Some(line) = said.into_iter().find(|line| line["fields"]["message"] == message) {
                return line;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("it never says {message:?}: {:?}", self.lines());
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.said("listening")["fields"]["address"].as_str().expect("an address"))
    }

    /// Tells it to stop and waits until it has.
    fn stop(&mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("sent").success());
        assert!(self.child.wait().expect("ended").success());
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A directory with a configuration that keeps its files in `held`.
pub(crate) fn directory(more: &str) -> TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::create_dir(dir.path().join("held")).expect("made");
    std::fs::write(dir.path().join("weir.yaml"), config(dir.path(), &format!("data: held\n{more}"))).expect("written");
    dir
}

fn serve(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command.args(["serve", "--config"]).arg(dir.join("weir.yaml"));
    command
}

/// [`serve`] after `mount`, a shell line that runs for this process alone; None if the system does not allow mounting.
fn serve_on(dir: &Path, mount: &str) -> Option<Command> {
    let script = |line: &str, way: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(way).args(["sh", "-ec", line, "sh", env!("CARGO_BIN_EXE_weir")]).current_dir(dir);
        command
    };
    let ways: [&[&str]; 2] = [&["--mount"], &["--user", "--map-root-user", "--mount"]];
    let may = |way: &&&[&str]| script(mount, way).output().is_ok_and(|tried| tried.status.success());
    let way = ways.iter().find(may)?;
    Some(script(&format!("{mount}; exec \"$1\" serve --config weir.yaml"), way))
}

/// A file that fills the disk until it is removed.
struct Ballast(PathBuf);

impl Ballast {
    /// Creates it on the disk that only process `pid` sees.
    fn of(pid: u32, dir: &Path) -> Self {
        let path = PathBuf::from(format!("/proc/{pid}/root{}/held/ballast", dir.display()));
        std::fs::write(&path, vec![1; 32 << 20]).expect("written");
        Ballast(path)
    }
}

/// The parts of the test of a full disk: a real disk of 48 MB, else a limit on the log.
fn on_a_small_disk() -> (TempDir, Serving, Option<Ballast>) {
    let dir = directory("");
    if let Some(command) = serve_on(dir.path(), "mount -t tmpfs -o size=48m weir-test held") {
        let serving = Serving::start(command, dir.path());
        serving.url();
        let ballast = Ballast::of(serving.child.id(), dir.path());
        return (dir, serving, Some(ballast));
    }
    let dir = directory("log_max_mb: 16\n");
    let serving = Serving::start(serve(dir.path()), dir.path());
    (dir, serving, None)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_full_disk_nothing_is_acknowledged_and_with_room_again_it_goes_on() {
    let (_dir, serving, ballast) = on_a_small_disk();
    let (url, http, mut random) = (serving.url(), reqwest::Client::new(), fastrand::Rng::with_seed(7));
    let worker = Worker::new(1, SystemClock::start().now());
    // Text that does not compress: a batch takes 800 kB on disk.
    let mut body = |from: u64| {
        let noise = (0..20).map(|_| (0..40_000).map(|_| random.alphanumeric()).collect::<String>()).collect::<Vec<_>>();
        let event = |(n, noise): (u64, String)| worker.usage_with(n, |data| data.feature = Some(noise.into()));
        batch(&(from..).zip(noise).map(event).collect::<Vec<_>>())
    };
    let post = async |body: Vec<u8>| {
        let request =
            http.post(format!("{url}/v1/events")).bearer_auth(TOKEN).header("content-type", "application/json");
        request.body(body).send().await.expect("an answer")
    };
    let mut acknowledged = 0;
    let (refused, again) = loop {
        assert!(acknowledged < 20 * 100, "it is never full");
        let body = body(acknowledged + 1);
        let answer = post(body.clone()).await;
        if answer.status() != StatusCode::ACCEPTED {
            break (answer, body);
        }
        acknowledged += 20;
    };
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.headers().contains_key("retry-after"));
    assert!(refused.text().await.expect("text").contains("the event log is full"));
    let ready = http.get(format!("{url}/readyz")).send().await.expect("an answer");
    assert_eq!(ready.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(ready.text().await.expect("text").contains("full"));
    if let Some(Ballast(path)) = ballast {
        std::fs::remove_file(path).expect("removed");
        assert_eq!(post(again).await.status(), StatusCode::ACCEPTED, "it goes on by itself");
        acknowledged += 20;
    }
    assert_eq!(until_counted(&http, &url, acknowledged).await, acknowledged, "what was acknowledged, and no more");
}

/// The number of counted events: waits for `wanted`, and returns fewer if they do not arrive in time.
pub(crate) async fn until_counted(http: &reqwest::Client, url: &str, wanted: u64) -> u64 {
    let mut counted = 0;
    for _ in 0..300 {
        let answer = http.get(format!("{url}/v1/ledger")).bearer_auth(TOKEN).send().await.expect("an answer");
        // The ledger, which also found no room, retries each second.
        if answer.status() == StatusCode::OK {
            let view: Value = answer.json().await.expect("JSON");
            counted = view["totals"]["accepted"].as_u64().expect("a number");
            if counted >= wanted {
                break;
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    counted
}

#[test]
fn on_a_read_only_disk_it_does_not_start_and_names_the_file() {
    let dir = directory("");
    let mount = "mount -t tmpfs weir-test held; mount -o remount,ro held";
    let output = match serve_on(dir.path(), mount) {
        Some(mut command) => command.output().expect("run"),
        None => {
            // No user can create a file there.
            let text = config(dir.path(), "data: /proc/held\n");
            std::fs::write(dir.path().join("weir.yaml"), text).expect("written");
            serve(dir.path()).output().expect("run")
        }
    };
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("held") && (said.contains("Read-only file system") || said.contains("/proc/held")), "{said}");
}

#[test]
fn every_line_it_logs_is_json_and_none_has_a_secret() {
    let dir = directory("");
    let mut serving = Serving::start(serve(dir.path()), dir.path());
    serving.url();
    serving.stop();
    serving.said("stopped");
    for line in serving.lines() {
        let said: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(said["timestamp"].is_string() && said["level"].is_string() && said["target"].is_string(), "{line}");
        assert!(said["fields"]["message"].is_string() && !line.contains(TOKEN), "{line}");
    }
}

/// The offset and length of the first page of a table in its file.
fn page_of(path: &Path, table: &str) -> (usize, usize) {
    let db = Connection::open(path).expect("open");
    let size: i64 = db.pragma_query_value(None, "page_size", |row| row.get(0)).expect("a size");
    let sql = "SELECT rootpage FROM sqlite_schema WHERE name = ?1";
    let page: i64 = db.query_row(sql, [table], |row| row.get(0)).expect("a page");
    db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).expect("in the file");
    let number = |value: i64| usize::try_from(value).expect("small");
    (number((page - 1) * size), number(size))
}

#[tokio::test]
async fn a_damaged_ledger_does_not_start_says_what_to_do_and_a_backup_brings_it_back() {
    let (server, worker) = (Running::start(noon(), "").await, Worker::new(1, noon()));
    server.post(batch(&[worker.usage(1), worker.usage(2)])).await;
    assert_eq!(server.billable("requests").await, 2);
    let dir = server.stop().await;
    let backup = dir.path().join("backup");
    let backup = backup.to_str().expect("text");
    assert!(weir(dir.path(), &["backup", backup]).status.success());
    let path = dir.path().join("weir-data/ledger.sqlite");
    let (at, length) = page_of(&path, "usage");
    let mut bytes = std::fs::read(&path).expect("read");
    bytes[at..at + length].fill(0xa5);
    for damaged in [bytes, vec![7; 40_000]] {
        std::fs::write(&path, damaged).expect("damaged");
        let served = weir(dir.path(), &["serve"]);
        let said = String::from_utf8_lossy(&served.stderr).into_owned();
        assert_eq!(served.status.code(), Some(1), "{said}");
        assert!(said.contains("ledger") && said.contains("damaged") && said.contains("weir restore"), "{said}");
    }
    let restored = weir(dir.path(), &["restore", backup, "--replace"]);
    assert!(restored.status.success(), "{restored:?}");
    let server = Running::start_in(dir, noon(), "").await;
    server.post(batch(&[worker.usage(2), worker.usage(3)])).await;
    assert_eq!(server.billable("requests").await, 3);
}

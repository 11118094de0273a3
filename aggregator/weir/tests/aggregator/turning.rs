//! A disk that stops accepting writes while the server runs.
//!
//! The real case is an ext4 of its own that finds an error and turns itself read-only. Where the system does not allow
//! mounting, a limit on the running process replaces it: the process can no longer write any file.
use std::path::Path;
use std::process::Command;

use reqwest::StatusCode;
use weir_clock::SystemClock;

use super::events::{Worker, batch};
use super::failing::{Serving, directory, until_counted};
use super::server::TOKEN;

/// How the disk turns read-only.
enum Turning {
    /// The file whose write makes the kernel find an error.
    Ext4,
    /// A limit on the process.
    Limit,
}

/// Runs `weir serve` after the shell line `line`; with `mounts`, as a process with mounts of its own.
fn serve_after(dir: &Path, line: &str, mounts: bool) -> Command {
    let mut command = Command::new(if mounts { "unshare" } else { "sh" });
    if mounts {
        command.args(["--mount", "sh"]);
    }
    let script = format!("{line}; exec \"$1\" serve --config weir.yaml");
    command.args(["-ec", &script, "sh", env!("CARGO_BIN_EXE_weir")]).current_dir(dir);
    command
}

/// The block device under `held` in process `pid`.
fn device(pid: u32) -> Option<String> {
    let mounts = std::fs::read_to_string(format!("/proc/{pid}/mounts")).ok()?;
    let line = mounts.lines().find(|line| line.split(' ').nth(1).is_some_and(|at| at.ends_with("/held")))?;
    Some(line.split(' ').next()?.strip_prefix("/dev/")?.to_owned())
}

fn trigger(device: &str) -> String {
    format!("/sys/fs/ext4/{device}/trigger_fs_error")
}

/// Returns true if the system lets the test mount an ext4 and break it.
fn may_break_a_disk(dir: &Path) -> bool {
    let line = "truncate -s 16M probe; mkfs.ext4 -q -F probe; mount -o loop probe held
                device=$(grep /held /proc/self/mounts | cut -d ' ' -f 1)
                test -w /sys/fs/ext4/${device#/dev/}/trigger_fs_error";
    let mut probe = Command::new("unshare");
    probe.args(["--mount", "sh", "-ec", line]).current_dir(dir);
    probe.output().is_ok_and(|tried| tried.status.success())
}

/// Starts a server on a disk that can turn read-only.
fn on_a_disk_that_turns(dir: &Path) -> (Serving, Turning) {
    if may_break_a_disk(dir) {
        let line = "truncate -s 64M image; mkfs.ext4 -q -F image; mount -o loop,errors=remount-ro image held";
        return (Serving::start(serve_after(dir, line, true), dir), Turning::Ext4);
    }
    // A process that ignores the signal gets an error instead.
    (Serving::start(serve_after(dir, "trap '' XFSZ", false), dir), Turning::Limit)
}

impl Turning {
    fn turn(&self, serving: &Serving) {
        let pid = serving.pid();
        match self {
            Turning::Ext4 => {
                let device = device(pid).expect("mounted");
                std::fs::write(trigger(&device), "weir's test").expect("broken");
            }
            Turning::Limit => {
                let limited = Command::new("prlimit").args(["--fsize=0", "--pid", &pid.to_string()]).status();
                assert!(limited.expect("prlimit").success());
            }
        }
    }

    /// Restarts the server after the disk was repaired.
    fn start_again(&self, dir: &Path) -> Serving {
        let line = match self {
            // The journal restores the synced data.
            Turning::Ext4 => {
                until_let_go(dir);
                "mount -o loop image held"
            }
            Turning::Limit => "true",
        };
        Serving::start(serve_after(dir, line, matches!(self, Turning::Ext4)), dir)
    }
}

/// Waits until the kernel has released the image, some time after the process that had it mounted.
fn until_let_go(dir: &Path) {
    for _ in 0..600 {
        let used = Command::new("losetup").args(["-j", "image"]).current_dir(dir).output();
        if used.is_ok_and(|used| used.stdout.is_empty()) {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("the image is still in use");
}

async fn post(http: &reqwest::Client, url: &str, body: Vec<u8>) -> StatusCode {
    let request = http.post(format!("{url}/v1/events")).bearer_auth(TOKEN).header("content-type", "application/json");
    request.body(body).send().await.expect("an answer").status()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_disk_that_turns_read_only_nothing_more_is_acknowledged_and_all_that_was_is_counted() {
    let dir = directory("");
    let (serving, turning) = on_a_disk_that_turns(dir.path());
    let (url, http, worker) = (serving.url(), reqwest::Client::new(), Worker::new(1, SystemClock::start().now()));
    let body = |numbers: std::ops::Range<u64>| batch(&numbers.map(|n| worker.usage(n)).collect::<Vec<_>>());
    for from in [1, 11, 21] {
        assert_eq!(post(&http, &url, body(from..from + 10)).await, StatusCode::ACCEPTED);
    }
    turning.turn(&serving);
    for _ in 0..3 {
        assert_eq!(post(&http, &url, body(31..41)).await, StatusCode::SERVICE_UNAVAILABLE);
    }
    let ready = http.get(format!("{url}/readyz")).send().await.expect("an answer");
    assert_eq!(ready.status(), StatusCode::SERVICE_UNAVAILABLE);
    serving.said("the event log is broken; nothing more is acknowledged until weir is started again");
    drop(serving);

    let serving = turning.start_again(dir.path());
    let url = serving.url();
    assert!(until_counted(&http, &url, 30).await >= 30, "what was acknowledged");
    assert_eq!(post(&http, &url, body(31..41)).await, StatusCode::ACCEPTED);
    assert_eq!(until_counted(&http, &url, 40).await, 40, "each once");
}

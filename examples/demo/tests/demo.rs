//! `make demo` and `make run`, as a stranger runs them.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use weir_rig::{clock, probe};

const DEMO: &str = env!("CARGO_BIN_EXE_weir-demo");

#[test]
fn killing_the_aggregator_in_the_middle_of_the_traffic_changes_no_number() {
    let output = Command::new(DEMO).args(["check", "--kill-aggregator"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("Killed weir serve"), "{text}");
    assert!(text.contains("agree to the unit"), "{text}");
    assert!(text.contains("acme's own page, by a signed link: "), "{text}");
}

#[test]
fn what_runs_answers_by_hand_and_an_interrupt_ends_everything() {
    let mut demo = Demo::run();
    let (gateway, key) = (demo.address("gateway"), format!("Bearer {}", demo.key()));
    let ask = |headers: &[(&str, &str)]| probe::call("POST", gateway, "/v1/rag/search", headers).unwrap().status;
    assert_eq!((ask(&[("authorization", &key)]), ask(&[])), (200, 401));
    let ports = ["gateway", "weir", "provider", "Stripe"].map(|name| demo.address(name));
    demo.interrupt();
    assert!(ports.iter().all(|port| std::net::TcpStream::connect(port).is_err()));
}

/// A running `weir-demo run`, and what it printed.
struct Demo {
    child: Child,
    guide: Vec<String>,
    /// Keeps the pipe open, because a program without a reader fails.
    _rest: Box<dyn Iterator<Item = String>>,
}

impl Demo {
    fn run() -> Self {
        let mut child = Command::new(DEMO).arg("run").stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut guide = Vec::new();
        while !guide.last().is_some_and(|line: &String| line.starts_with("Ctrl-C")) {
            guide.push(lines.next().expect("the guide ends with how to stop"));
        }
        Self { child, guide, _rest: Box::new(lines) }
    }

    /// `  gateway   http://127.0.0.1:1234   …`
    fn address(&self, name: &str) -> SocketAddr {
        let line = self.guide.iter().find(|line| line.trim_start().starts_with(name)).expect("a line of that name");
        let url = line.split_whitespace().nth(1).expect("an address");
        url.strip_prefix("http://").and_then(|address| address.parse().ok()).expect("host and port")
    }

    /// The tenant's key, as the commands to copy have it.
    fn key(&self) -> String {
        let line = self.guide.iter().find(|line| line.contains("Bearer sk_weir_")).expect("a command with a key");
        let (_, after) = line.split_once("Bearer ").expect("a key");
        after.split('\'').next().expect("a key").to_owned()
    }

    fn interrupt(&mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        let ended =
            clock::wait_for(Duration::from_secs(20), Duration::from_millis(20), || self.child.try_wait().unwrap());
        assert!(ended.is_some_and(|status| status.success()), "{ended:?}");
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

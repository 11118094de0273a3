//! Events are plain CloudEvents: a receiver built on the CloudEvents project's own SDK takes the gateway's batches.
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::{Value, json};
use weir_rig::workspace;

use crate::spine::{Stack, chat_body};

struct Receiver {
    child: Child,
    lines: BufReader<ChildStdout>,
    port: u16,
}

impl Receiver {
    fn start() -> Self {
        let root = workspace::root();
        let mut child = Command::new("python3")
            .arg(root.join("host-tests/tests/envoy/cloudevents_receiver.py"))
            .env("PYTHONPATH", root.join(".tools/cloudevents"))
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3");
        let mut lines = BufReader::new(child.stdout.take().expect("its output"));
        let mut port = String::new();
        lines.read_line(&mut port).expect("a line");
        Receiver { child, lines, port: port.trim().parse().expect("`make setup` brings the CloudEvents SDK") }
    }

    fn next(&mut self) -> Value {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("a line");
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("the receiver has ended: {line:?}"))
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_knows_nothing_of_weir_takes_its_events() {
    let mut receiver = Receiver::start();
    let stack = Stack::start_reporting_to(&json!({}), ([127, 0, 0, 1], receiver.port).into());
    let calls: Vec<_> = (0..10).map(|n| stack.chat(&chat_body(n % 2 == 0))).collect();
    assert!(stack.client.send_all(calls, 4).await.iter().all(|reply| reply.status == 200));
    let mut seen = BTreeSet::new();
    while seen.len() < 10 {
        let event = receiver.next();
        if event["type"] != "weir.usage.v1" {
            continue;
        }
        assert_eq!(
            (&event["specversion"], &event["content_type"]),
            (&json!("1.0"), &json!("application/json")),
            "{event}"
        );
        assert_eq!(
            (&event["subject"], &event["data"]["usage"]["status"]),
            (&json!("acme"), &json!("complete")),
            "{event}"
        );
        assert!(event["source"].as_str().is_some_and(|source| source.starts_with("/weir/test/")), "{event}");
        assert_eq!(event["sequence"].as_str().map(str::len), Some(20), "{event}");
        assert!(event["time"].as_str().is_some_and(|time| time.ends_with("+00:00")), "{event}");
        assert!(seen.insert(event["id"].as_str().expect("an id").to_owned()), "twice: {event}");
    }
}

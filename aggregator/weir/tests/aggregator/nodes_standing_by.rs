//! Nodes that stand by: they are known to be good before they are needed, take over from an owner that alone is cut off from the event log,
//! and are no copies of one another. Commands in the directory of one that does not run ask the owner.
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use weir_rig::cutter::Cutter;
use weir_rig::probe::Port;

use super::commands::weir;
use super::events::{Worker, batch};
use super::nodes::{Node, Reach, Shared, now, pair};
use super::shared_log::{fails, said, succeeds};
use super::vaulting;

/// An owner hands over 15 seconds after it has noticed, and the other one looks four times a second.
const HAND_OVER_MAX: Duration = Duration::from_secs(25);
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_that_alone_does_not_reach_the_event_log_hands_over_to_a_node_that_does() {
    let shared = Shared::start();
    let way = Cutter::start(shared.redis.address()).expect("a proxy");
    let log = shared.redis.url().replace(&shared.redis.address().to_string(), &way.address().to_string());
    let mut a = Node::start("a", &format!("log: {log}\nledger: {}\n", shared.postgres.url()));
    a.owns().await;
    let mut b = Node::start("b", &shared.settings());
    b.follows(&a).await;
    let worker = Worker::new(1, now());
    a.accepted(batch(&[worker.usage(1)])).await;

    way.refuse(true);
    let took = b.accepted(batch(&[worker.usage(2)])).await;
    println!("cut off from the event log, accepted by the other after {} ms", took.as_millis());
    assert!(took < HAND_OVER_MAX, "{took:?}");
    let said = a.ended().await;
    assert!(said.contains("gave the event log and the ledger up") && said.contains("and node b at"), "{said}");
    assert_eq!(b.requests().await, 2);

    a.restart();
    a.follows(&b).await;
    let said = a.ready(|_, said| said["takes_over"].is_string()).await;
    assert!(said["takes_over"].as_str().is_some_and(|why| why.starts_with("could not take over: ")), "{said}");
    b.kill();
    way.refuse(false);
    // It gave the ownership up less than a minute ago, and nobody else can own.
    a.accepted(batch(&[worker.usage(3)])).await;
    assert_eq!(a.requests().await, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_of_a_node_with_an_address_of_its_own_is_refused_and_the_node_goes_on() {
    let shared = Shared::start();
    let (a, _b) = pair(&shared).await;
    let secret = std::fs::read_to_string(a.dir.path().join("weir-data/writer")).expect("read");
    let copy = Node::start_with("a", &shared.settings(), &[("weir-data/writer", secret)]);
    let said = copy.ended().await;
    assert!(said.contains("this data directory is a copy of that node's"), "{said}");
    assert!(said.contains(&a.address().to_string()), "{said}");
    a.accepted(batch(&[Worker::new(1, now()).usage(1)])).await;
    a.owns().await;
    assert!(!a.has_ended());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_that_alone_cannot_write_the_event_log_hands_over() {
    let shared = Shared::start();
    let user = |rights: &str| shared.redis.command(&format!("ACL SETUSER a {rights}")).expect("set");
    user("on >secret ~* &* +@all");
    let of_a = format!("redis://a@{}", shared.redis.address());
    let settings =
        format!("log:\n  redis: {{url: '{of_a}', password: {{file: password}}}}\nledger: {}\n", shared.postgres.url());
    let a = Node::start_with("a", &settings, &[("password", "secret".to_owned())]);
    a.owns().await;
    let b = Node::start("b", &shared.settings());
    b.follows(&a).await;
    let worker = Worker::new(1, now());
    a.accepted(batch(&[worker.usage(1)])).await;

    user("-xadd");
    let took = b.accepted(batch(&[worker.usage(2)])).await;
    assert!(took < HAND_OVER_MAX, "{took:?}");
    let said = a.ended().await;
    assert!(said.contains("gave the event log and the ledger up"), "{said}");
    assert_eq!(b.requests().await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_of_a_node_with_the_same_address_is_refused_and_a_node_that_was_killed_is_not() {
    let shared = Shared::start();
    let (mut a, b) = pair(&shared).await;
    for original in [&a, &b] {
        let secret = std::fs::read_to_string(original.dir.path().join("weir-data/writer")).expect("read");
        let port = Port::reserve().expect("a port");
        let reach = Reach { told: original.url(""), listen: port.address(), ..Reach::plain() };
        let files = [("weir-data/writer", secret)];
        let copy = Node::start_as(port, &reach, &original.name, &shared.settings(), &files);
        let said = copy.ended().await;
        assert!(
            said.contains("another process runs as node") && said.contains("a copy of this data directory"),
            "{said}"
        );
    }
    assert!(!a.has_ended());
    a.owns().await;
    a.kill();
    a.restart();
    b.owns().await;
    a.follows(&b).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_with_another_log_or_other_settings_says_so_before_it_is_needed() {
    let shared = Shared::start();
    let mut a = Node::start("a", &shared.settings());
    a.owns().await;
    let other =
        format!("log:\n  redis: {{url: '{}'}}\n  name: other\nledger: {}\n", shared.redis.url(), shared.postgres.url());
    let b = Node::start("b", &other);
    let hears = async |node: &Node, words: &str| {
        let fits = |said: &serde_json::Value| said["takes_over"].as_str().is_some_and(|why| why.contains(words));
        node.ready(|status, said| status == StatusCode::OK && fits(said)).await;
    };
    hears(&b, "could not take over: ").await;
    hears(&b, "there is no event log here, and the ledger counts one").await;
    let c = Node::start("c", &format!("{}grace: 5m\n", shared.settings()));
    hears(&c, "would take over with other settings than node a has: grace").await;
    for words in ["node b could not take over: ", "node c would take over with other settings than node a has: grace"] {
        status_says(&a, &format!("needs a person: {words}")).await;
    }

    let worker = Worker::new(1, now());
    a.kill();
    c.accepted(batch(&[worker.usage(1)])).await;
    c.owns().await;
    b.follows(&c).await;
    assert_eq!(b.post(batch(&[worker.usage(1)])).await, Some(StatusCode::ACCEPTED), "it passes on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_takes_over_by_the_settings_on_disk() {
    let shared = Shared::start();
    let mut a = Node::start("a", &shared.settings());
    a.owns().await;
    let worker = Worker::new(1, now());
    a.accepted(batch(&[worker.usage(1)])).await;
    a.requests().await;
    let more = "meters:\n  - {name: requests, sum: requests}\n  - {name: thoughts, sum: reasoning_tokens}\n";
    let b = Node::start("b", &format!("{}{more}", shared.settings()));
    let fits = |said: &serde_json::Value| {
        said["takes_over"].as_str().is_some_and(|why| why.starts_with("could not take over: meter "))
    };
    b.ready(|_, said| fits(said)).await;
    let path = b.dir.path().join("weir.yaml");
    let text = std::fs::read_to_string(&path).expect("read");
    std::fs::write(&path, text.replace(more, "")).expect("written");
    b.ready(|status, said| status == StatusCode::OK && said["takes_over"].is_null()).await;
    a.kill();
    b.accepted(batch(&[worker.usage(2)])).await;
    assert_eq!(b.requests().await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_that_could_not_open_the_vault_or_sign_people_in_says_so() {
    let shared = Shared::start();
    let vault = "tenants_database: true\nvault: {key: {file: kek}}\n";
    let settings = format!("{}{vault}", shared.settings());
    let kek = |digit: &str| ("kek", digit.repeat(64));
    let a = Node::start_with("a", &settings, &[kek("1")]);
    a.owns().await;
    for args in [&["tenants", "create", "acme", "--plan", "p"][..], &["byok", "put", "acme", "openai"]] {
        let done = vaulting::weir(a.dir.path(), args, None, "sk-proj-acme-0123456789\n");
        assert!(done.status.success(), "{done:?}");
    }

    let b = Node::start_with("b", &settings, &[kek("2")]);
    let fits =
        |said: &serde_json::Value, words: &str| said["takes_over"].as_str().is_some_and(|why| why.contains(words));
    b.ready(|_, said| fits(said, "another key-encryption key")).await;
    vaulting::write_kek(b.dir.path(), "kek", "1");
    b.ready(|_, said| said["takes_over"].is_null()).await;
    let c = Node::start("c", &format!("{settings}ui: {{links: {{key: {{file: nowhere}}}}}}\n"));
    c.ready(|_, said| fits(said, "nowhere")).await;
}

/// Waits until `weir status` in a node's directory says something.
async fn status_says(node: &Node, words: &str) {
    let (began, mut status) = (Instant::now(), String::new());
    while !status.contains(words) {
        assert!(began.elapsed() < PATIENCE, "{words}: {status}");
        let dir = node.dir.path().to_owned();
        let asked = tokio::task::spawn_blocking(move || said(&weir(&dir, &["status"])));
        status = asked.await.expect("ended");
    }
}

#[test]
fn commands_in_the_directory_of_a_node_that_does_not_run_ask_the_owner() {
    let shared = Shared::start();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let (mut a, mut b) = runtime.block_on(pair(&shared));
    runtime.block_on(a.accepted(batch(&[Worker::new(1, now()).usage(1)])));
    runtime.block_on(a.requests());
    b.kill();
    let usage = succeeds(b.dir.path(), &["usage", "--meter", "requests"]);
    assert!(usage.contains("acme"), "{usage}");
    succeeds(b.dir.path(), &["tokens", "create", "night", "--scope", "metrics"]);
    assert!(succeeds(a.dir.path(), &["tokens", "list"]).contains("night"));
    let status = said(&weir(b.dir.path(), &["status"]));
    assert!(status.contains("1 counted") && status.contains("partition 0: owned by a since"), "{status}");
    let backup = b.dir.path().join("backup").display().to_string();
    for reads in
        [&["ledger"][..], &["audit"], &["limits"], &["alerts", "list"], &["events", "list"], &["backup", &backup]]
    {
        succeeds(b.dir.path(), reads);
    }
    let owner = format!("node a at http://{} owns the event log and the ledger", a.address());
    for alone in [&["ledger", "rebuild"][..], &["restore", &backup, "--replace"], &["migrate", "--to", "file"]] {
        let refused = fails(b.dir.path(), alone);
        assert!(refused.contains(&owner) && refused.contains("stop all nodes"), "{alone:?}: {refused}");
    }
    let left = shared.postgres.run("SELECT count(*) FROM weir_fleet.node WHERE address = ''").expect("asked");
    assert_eq!(left, "0", "a command leaves nothing in the table of nodes");

    a.kill();
    let usage = succeeds(b.dir.path(), &["usage", "--meter", "requests"]);
    assert!(usage.contains("acme"), "nobody owns, so the command reads log and ledger itself: {usage}");
}

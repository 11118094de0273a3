//! The event log in a Kafka.
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use weir_rig::kafka::Kafka;
use weir_rig::probe::Port;
use weir_rig::process::{Process, Recipe};

use super::commands::weir;
use super::encrypting::Authority;
use super::events::{Worker, batch, noon};
use super::server::{Running, config};
use super::shared_log::{LogServer, fails, killed_in_turn_under_load, shared_log, stopped, succeeds};

impl LogServer for Kafka {
    fn start() -> Self {
        Kafka::start().expect("a broker; `make setup` fetches it")
    }

    fn url(&self) -> String {
        Kafka::url(self, "weir")
    }
}

shared_log!(Kafka);

#[tokio::test]
async fn a_lost_log_is_refused_and_a_new_one_is_made_from_a_backup() {
    let mut kafka = <Kafka as LogServer>::start();
    let dir = stopped(&kafka).await;
    let backup = dir.path().join("backup").display().to_string();
    succeeds(dir.path(), &["backup", &backup]);
    // Its records are in memory.
    kafka.restart().expect("started");
    let refused = fails(dir.path(), &["usage"]);
    assert!(refused.contains("there is none") && refused.contains("weir restore"), "{refused}");
    succeeds(dir.path(), &["restore", &backup, "--replace"]);
    assert!(succeeds(dir.path(), &["ledger", "rebuild"]).contains("agree"));

    kafka.restart().expect("started");
    let other = Running::start(super::events::noon(), &kafka.log()).await;
    other.stop().await;
    let refused = fails(dir.path(), &["restore", &backup, "--replace"]);
    assert!(refused.contains("cannot be moved aside"), "{refused}");
    let refused = Running::refused(dir, &kafka.log()).await;
    assert!(refused.contains("another one is in its place"), "{refused}");
}

#[tokio::test]
async fn a_configuration_is_checked_against_the_kafka_it_names() {
    let mut kafka = <Kafka as LogServer>::start();
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("weir.yaml"), config(dir.path(), &kafka.log())).expect("written");
    succeeds(dir.path(), &["serve", "--check"]);
    let tail = weir(dir.path(), &["tail"]);
    assert!(String::from_utf8_lossy(&tail.stderr).contains("no event log yet"), "a check makes nothing: {tail:?}");
    kafka.create_topic("weir", 3).expect("made");
    let refused = fails(dir.path(), &["serve", "--check"]);
    assert!(refused.contains("its topic has 3 partitions"), "{refused}");
    kafka.kill().expect("killed");
    let refused = fails(dir.path(), &["serve", "--check"]);
    assert!(refused.contains("see that the brokers run"), "{refused}");
}

/// Starts a door before a broker of its own: TLS by `authority`, and the user `weir` with the password `secret`. The files are in `dir`.
fn door(dir: &Path, authority: &Authority) -> (Kafka, Process, u16) {
    let (certificate, key) = authority.sign("localhost");
    std::fs::write(dir.join("cert.pem"), certificate).expect("written");
    std::fs::write(dir.join("key.pem"), key).expect("written");
    let port = Port::reserve().expect("a port");
    let number = port.address().port();
    let kafka = Kafka::start_behind(&format!("localhost:{number}")).expect("a broker; `make setup` fetches it");
    let script = weir_rig::workspace::root().join("aggregator/weir/tests/aggregator/kafka_door.py");
    let args = [script.into_os_string(), number.to_string().into(), kafka.address().port().to_string().into()];
    let files = ["cert.pem", "key.pem"].map(|name| dir.join(name).into_os_string());
    let recipe = Recipe {
        name: "the door".to_owned(),
        program: "python3".into(),
        args: args.into_iter().chain(files).chain(["weir", "secret"].map(Into::into)).collect(),
        env: Vec::new(),
        log: dir.join("door.log"),
    };
    let mut process = Process::start(recipe).expect("python3");
    let open = || TcpStream::connect(port.address()).ok().map(drop);
    process.wait_until(Duration::from_secs(30), open).expect("a door");
    (kafka, process, number)
}

#[tokio::test]
async fn a_broker_is_reached_by_tls_and_each_mechanism_with_the_right_password_alone() {
    let (files, authority) = (tempfile::tempdir().expect("a directory"), Authority::new());
    let (_kafka, door, port) = door(files.path(), &authority);
    let ca = files.path().join("ca.pem");
    std::fs::write(&ca, authority.pem()).expect("written");
    std::fs::write(files.path().join("secret"), "secret").expect("written");
    std::fs::write(files.path().join("wrong"), "sesame").expect("written");
    let log = |topic: &str, mechanism: &str, password: &str, ca: &Path| {
        let (password, ca) = (files.path().join(password), ca.display());
        format!(
            "log: {{kafka: {{url: 'kafkas://weir@localhost:{port}/{topic}', mechanism: {mechanism}, ca: {ca}, password: {{file: {}}}}}}}\n",
            password.display()
        )
    };
    for (mechanism, name) in
        [("scram_sha_512", "SCRAM-SHA-512"), ("scram_sha_256", "SCRAM-SHA-256"), ("plain", "PLAIN")]
    {
        // A topic of its own for each.
        let server = Running::start(noon(), &log(mechanism, mechanism, "secret", &ca)).await;
        server.post(batch(&[Worker::new(1, noon()).usage(1)])).await;
        assert_eq!(server.billable("requests").await, 1, "{mechanism}");
        let dir = server.stop().await;
        assert!(door.log().contains(&format!("{name} in")), "{}", door.log());
        std::fs::write(dir.path().join("weir.yaml"), config(dir.path(), &log(mechanism, mechanism, "wrong", &ca)))
            .expect("written");
        let refused = fails(dir.path(), &["serve", "--check"]);
        assert!(refused.contains("wrong user or password") && refused.contains("`password`"), "{refused}");
        assert!(!refused.contains("sesame"), "no password is told: {refused}");
    }
    let (dir, stranger) = (tempfile::tempdir().expect("a directory"), files.path().join("stranger.pem"));
    std::fs::write(&stranger, Authority::new().pem()).expect("written");
    let written = config(dir.path(), &log("other", "plain", "secret", &stranger));
    std::fs::write(dir.path().join("weir.yaml"), written).expect("written");
    let before = door.log();
    let refused = fails(dir.path(), &["serve", "--check"]);
    assert!(refused.contains("certificate") && refused.contains("`ca`"), "{refused}");
    assert_eq!(door.log(), before, "no password goes to a broker that does not prove its name");
}

/// Needs the broker that `make kafka-durable` builds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "make kafka-durable"]
async fn killed_under_load_with_its_kafka_it_loses_nothing_and_doubles_nothing() {
    let mut kafka = Kafka::start_durable().expect("a durable broker");
    let log = kafka.log();
    let kill = || kafka.kill().and_then(|()| kafka.restart()).expect("killed and started");
    killed_in_turn_under_load(&log, kill).await;
}

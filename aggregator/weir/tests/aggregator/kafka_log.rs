//! The event log in a Kafka.
use weir_rig::kafka::Kafka;

use super::commands::weir;
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

/// Needs the broker that `make kafka-durable` builds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "make kafka-durable"]
async fn killed_under_load_with_its_kafka_it_loses_nothing_and_doubles_nothing() {
    let mut kafka = Kafka::start_durable().expect("a durable broker");
    let log = kafka.log();
    let kill = || kafka.kill().and_then(|()| kafka.restart()).expect("killed and started");
    killed_in_turn_under_load(&log, kill).await;
}

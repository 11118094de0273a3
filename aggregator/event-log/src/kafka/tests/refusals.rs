//! Brokers or a log that cannot be trusted are refused with a remedy, and nothing is written.
use krafka::error::ErrorCode;
use krafka::testing::{ApiKey, Control, RequestInfo};

use super::*;

fn opened(place: &KafkaPlace) -> Result<KafkaLog, LogError> {
    KafkaLog::open(place, taking("one", Create::IfMissing), clock())
}

#[test]
fn a_wrong_password_is_told_with_the_setting_to_look_at() {
    let world = World::start();
    world.broker.require_sasl_plain("weir", "correct-horse");
    let dir = tempfile::tempdir().expect("a directory");
    for (file, password) in [("wrong", "battery-staple"), ("right", "correct-horse")] {
        std::fs::write(dir.path().join(file), password).expect("written");
    }
    let with = |file: &str, mechanism: &str| {
        let url = world.place.server.url().replace("kafka://", "kafka://weir@");
        let settings = serde_json::json!({"url": url, "password": {"file": file}, "mechanism": mechanism});
        let server = serde_json::from_value(settings).expect("settings");
        KafkaPlace { base: dir.path().to_owned(), ..KafkaPlace::new(server) }
    };
    for place in [with("wrong", "plain"), with("right", "scram_sha_512")] {
        let error = opened(&place).expect_err("refused").to_string();
        assert!(error.contains("`password`, `mechanism`") && !error.contains("battery"), "{error}");
    }
    let mut log = opened(&with("right", "plain")).expect("a log");
    assert_eq!(appended(&log.append(&[record(1)])), 1);
}

#[test]
fn a_user_that_may_not_write_is_told_what_it_needs() {
    let world = World::start();
    let mut log = world.writer();
    world.broker.on(ApiKey::Produce, |_: &RequestInfo| Control::Error(ErrorCode::TopicAuthorizationFailed));
    let refused = log.append(&[record(1)]);
    assert!(matches!(&refused, Err(AppendError::Locked(why)) if why.contains("needs to read, write")), "{refused:?}");
}

#[test]
fn a_version_that_is_too_old_is_told_with_the_one_that_is_needed() {
    let world = World::start();
    world.broker.set_api_versions(ApiKey::InitProducerId, -1, -1);
    world.broker.set_api_versions(ApiKey::Produce, 0, 2);
    let error = opened(&world.place).expect_err("refused").to_string();
    assert!(error.contains("Kafka 0.11 or newer"), "{error}");
}

#[test]
fn brokers_that_are_not_there_are_told_with_their_address() {
    let gone = { World::start().place.clone() };
    let error = opened(&gone).expect_err("refused").to_string();
    assert!(error.contains(gone.server.url()) && error.contains("see that the brokers run"), "{error}");
}

#[test]
fn a_log_of_a_later_format_is_left_alone() {
    let world = World::start();
    let id = world.writer().id().to_owned();
    let mut value =
        world.broker.all_records("test").expect("read").pop().expect("an entry").value.expect("a value").to_vec();
    value[0] = 2;
    write(&world.place, value);
    let error = world.refusal(&id);
    assert!(error.contains("later version (format 2"), "{error}");
}

//! A server or a log that cannot be trusted is refused with a remedy, and nothing is written to it.
use std::io::{Read, Write};
use std::net::TcpListener;

use super::*;

fn refused(arguments: &[&str]) -> String {
    let world = World::start_with(arguments);
    let error =
        RedisLog::open(&world.place, taking("one", Create::IfMissing), clock()).expect_err("refused").to_string();
    assert!(world.redis.command("DBSIZE").expect("asked").starts_with(":0"), "nothing was written");
    error
}

#[test]
fn a_server_that_syncs_only_now_and_then_is_refused_with_the_remedy() {
    for (arguments, words) in [
        (["--appendfsync", "everysec"], "CONFIG SET appendfsync always"),
        (["--appendonly", "no"], "CONFIG SET appendonly yes"),
        (["--no-appendfsync-on-rewrite", "yes"], "CONFIG SET no-appendfsync-on-rewrite no"),
        (["--maxmemory-policy", "allkeys-lru"], "CONFIG SET maxmemory-policy noeviction"),
    ] {
        let error = refused(&arguments);
        assert!(error.contains(words), "{arguments:?}: {error}");
    }
}

#[test]
fn a_wrong_password_is_told_with_the_setting_to_look_at() {
    let dir = tempfile::tempdir().expect("a directory");
    let world = World::start_with(&["--requirepass", "correct-horse"]);
    let error = RedisLogReader::open(&world.place).expect_err("refused").to_string();
    assert!(error.contains("`password`"), "{error}");
    std::fs::write(dir.path().join("wrong"), "battery-staple").expect("written");
    std::fs::write(dir.path().join("right"), "correct-horse").expect("written");
    let with = |file: &str| RedisPlace {
        server: serde_json::from_value(serde_json::json!({"url": world.redis.url(), "password": {"file": file}}))
            .expect("settings"),
        base: dir.path().to_owned(),
        ..world.place.clone()
    };
    let opened = |place: &RedisPlace| RedisLog::open(place, taking("one", Create::IfMissing), clock());
    let error = opened(&with("wrong")).expect_err("refused").to_string();
    assert!(error.contains("`password`") && !error.contains("battery"), "{error}");
    opened(&with("right")).expect("a log");
}

#[test]
fn a_server_that_is_not_there_is_told_with_its_address() {
    let gone = { World::start().place.clone() };
    let error = RedisLog::open(&gone, taking("one", Create::IfMissing), clock()).expect_err("refused").to_string();
    assert!(error.contains(gone.server.url()) && error.contains("see that it runs"), "{error}");
}

/// Answers every command as a server of an older version would.
fn old_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("redis://{}", listener.local_addr().expect("an address"));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, mut asked) = (stream.expect("a connection"), [0; 4_096]);
            while let Ok(length @ 1..) = stream.read(&mut asked) {
                let text = String::from_utf8_lossy(&asked[..length]).into_owned();
                let info = "redis_version:6.0.16\r\nrole:master\r\n";
                let answers = text.matches('*').map(|_| "+OK\r\n".to_owned()).collect::<String>();
                let answer = if text.contains("INFO\r") && !text.contains("SETINFO") {
                    format!("${}\r\n{info}\r\n", info.len())
                } else {
                    answers
                };
                stream.write_all(answer.as_bytes()).expect("answered");
            }
        }
    });
    url
}

#[test]
fn a_version_that_is_too_old_is_named_with_the_one_that_is_needed() {
    let error = RedisLog::open(&place(&old_server()), taking("one", Create::IfMissing), clock());
    let error = error.expect_err("refused").to_string();
    assert!(error.contains("6.0.16") && error.contains("7.0"), "{error}");
}

#[test]
fn a_log_of_a_later_format_is_left_alone() {
    let world = World::start();
    let id = world.writer().id().to_owned();
    world.redis.command("HSET weir:log:{test/0}:meta format 2").expect("set");
    let error = world.refusal(&id);
    assert!(error.contains("later version (format 2"), "{error}");
}

#[test]
fn a_copy_that_lags_is_no_master() {
    let world = World::start();
    let master = world.redis.address();
    let replica = Redis::start_with(&["--replicaof", &format!("127.0.0.1 {}", master.port())]).expect("a Redis");
    let error = RedisLog::open(&place(&replica.url()), taking("one", Create::IfMissing), clock());
    let error = error.expect_err("refused").to_string();
    assert!(error.contains("replica"), "{error}");
}

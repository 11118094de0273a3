//! `weir replay` on logs as gateways leave them: rotated, gzipped, cut off, in JSON, several at once.
use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use weir_clock::SystemClock;
use weir_contract::signed::SigningKey;

use super::commands::{SIGNING_KEY, json as parsed, stopped, weir};
use super::events::{Worker, noon};
use super::server::Running;

fn words(numbers: std::ops::RangeInclusive<u64>) -> Vec<String> {
    let worker = Worker { time: SystemClock::start().now(), ..Worker::new(2, noon()) };
    let key = SigningKey::new(SIGNING_KEY.as_bytes()).expect("a key");
    numbers.map(|number| key.sign(&worker.usage(number))).collect()
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).expect("memory");
    encoder.finish().expect("memory")
}

/// An access log in Envoy's JSON format, one line per word.
fn access_log(words: &[String]) -> String {
    let line = |word| json!({"path": "/v1/chat/completions", "user_agent": "a \"quoted\" weir1.x.y", "weir": word});
    words.iter().map(|word| format!("{}\n", line(word))).collect()
}

fn replay(dir: &Path, files: &[&str]) -> (Option<i32>, Value) {
    let output = weir(dir, &[&["replay", "--json"], files].concat());
    (output.status.code(), parsed(&output))
}

fn second_source(dir: &Path) -> Value {
    let ledger = parsed(&weir(dir, &["ledger", "--json"]));
    let sources = ledger["sources"].as_array().cloned().unwrap_or_default();
    sources.into_iter().find(|source| source["accepted"] == json!(250)).unwrap_or(ledger)
}

#[tokio::test]
async fn rotated_gzipped_and_overlapping_logs_are_read_at_once_and_twice() {
    let dir = stopped().await;
    let words = words(1..=250);
    let put = |name: &str, bytes: &[u8]| {
        std::fs::write(dir.path().join(name), bytes).expect("written");
        dir.path().join(name).to_str().expect("text").to_owned()
    };
    let oldest = put("access.log.2.gz", &gzip(&access_log(&words[..100])));
    let middle = put("access.log.1", access_log(&words[80..200]).as_bytes());
    // The process was killed during a write: the last line ends in the middle of its event.
    let newest = access_log(&words[200..]) + &access_log(&words[..1])[..400];
    let newest = put("access.log", newest.as_bytes());
    for _ in 0..2 {
        let (code, done) = replay(dir.path(), &[&oldest, &middle, &newest]);
        let counts = (&done["files"], &done["events"], &done["cut"], &done["rejected"]);
        assert_eq!(counts, (&json!(3), &json!(270), &json!(1), &json!(0)), "{done}");
        assert_eq!((code, &done["forged"]), (Some(3), &json!(271)), "each line has a forged word in its user agent");
        let source = second_source(dir.path());
        assert_eq!((&source["accepted"], &source["missing"]), (&json!(250), &json!(0)), "{source}");
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_read_does_not_keep_the_others_back() {
    let dir = stopped().await;
    let good = dir.path().join("good.log");
    std::fs::write(&good, access_log(&words(1..=250))).expect("written");
    // The end is missing, as in a file that is still being compressed.
    let cut = dir.path().join("cut.gz");
    let whole = gzip(&access_log(&words(1..=250)));
    std::fs::write(&cut, &whole[..whole.len() / 2]).expect("written");
    let (code, done) = replay(dir.path(), &[cut.to_str().expect("text"), "missing.log", good.to_str().expect("text")]);
    assert_eq!((code, &done["files"]), (Some(1), &json!(1)), "{done}");
    assert_eq!(second_source(dir.path())["missing"], json!(0));
}

#[tokio::test]
async fn a_signed_word_that_is_no_json_is_refused_alone_and_at_once() {
    let dir = stopped().await;
    let key = SigningKey::new(SIGNING_KEY.as_bytes()).expect("a key");
    let file = dir.path().join("gateway.log");
    let mut words = words(1..=250);
    for (at, broken) in [(3, "{\"id\":"), (7, "not json"), (9, "{} {}"), (11, "")] {
        words.insert(at, key.sign(broken.as_bytes()));
    }
    std::fs::write(&file, words.join("\n") + "\n").expect("written");
    let dir = Running::start_by(dir, SystemClock::start(), "signing_key: {file: key}\n").await;
    let path = dir.dir.path().to_owned();
    let run = move || replay(&path, &[file.to_str().expect("text")]);
    let (code, done) = tokio::task::spawn_blocking(run).await.expect("run");
    assert_eq!((code, &done["events"], &done["rejected"]), (Some(3), &json!(250), &json!(4)), "{done}");
}

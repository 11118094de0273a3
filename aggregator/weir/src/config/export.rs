//! Receivers of accepted events: `export:` of weir.yaml.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use weir_event_log::place::LogPlace;
use weir_ledger::exports::Beginning;
use weir_settings::duration::Millis;
use weir_settings::kafka::KafkaServer;
use weir_settings::redis::{NO_CLUSTER, RedisServer};
use weir_settings::secret::SecretSource;

use super::ConfigError;

/// The most exports: each reads the whole log.
const EXPORTS_MAX: usize = 4;
/// The longest name of an export, in bytes.
const NAME_MAX_BYTES: usize = 64;
/// The most types that an export names.
const TYPES_MAX: usize = 32;
/// The default stream of an export to a Redis.
const DEFAULT_STREAM: &str = "weir:events";
/// How often a collector gets metrics by default, and at most.
const DEFAULT_EVERY: Millis = Millis(60_000);
const OTLP_EVERY_MIN: Millis = Millis(1_000);
/// The most headers of a collector.
const OTLP_HEADERS_MAX: usize = 8;
/// The default number of entries that a stream keeps.
const DEFAULT_MAX_ENTRIES: u64 = 1_000_000;

/// A receiver of every accepted event: one of `http`, `redis`, `kafka` and `otlp`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExportFile {
    /// Its name, under which the ledger keeps how far it is: `a` to `z`, digits, `.`, `_` and `-`. Another name begins anew.
    name: String,
    /// An HTTP receiver: batches by `POST`, in CloudEvents' batched mode.
    http: Option<HttpFile>,
    /// A Redis: an entry per event, in `stream`.
    redis: Option<RedisServer>,
    /// A topic of a Kafka: a record per event, in CloudEvents' binary mode, with the tenant as its key.
    kafka: Option<KafkaServer>,
    /// A collector of OpenTelemetry: the metrics of generative AI that accepted requests make, not the events themselves.
    otlp: Option<OtlpFile>,
    /// The stream. Absent: `weir:events`.
    stream: Option<String>,
    /// The entries that the stream keeps, about. Absent: 1000000.
    max_entries: Option<u64>,
    /// The types that are sent, such as `weir.usage.v1`. Absent: all.
    #[serde(default)]
    types: Vec<String>,
    /// Where a new export begins: `now`, or with the `oldest` event of the log. Absent: `now`.
    from: Option<From>,
}

/// An HTTP receiver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct HttpFile {
    /// Its address, `http` or `https`.
    url: String,
    /// The bearer token that is sent. Absent: none.
    token: Option<SecretSource>,
}

/// A collector of OpenTelemetry, over HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OtlpFile {
    /// Its address, `http` or `https`, such as `http://127.0.0.1:4318`.
    url: String,
    /// Headers that it needs, at most 8. Absent: none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    headers: BTreeMap<String, SecretSource>,
    /// How often metrics are sent, from `1s` on. Absent: `60s`.
    every: Option<Millis>,
}

/// Where a new export begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum From {
    /// With events that are counted from now on.
    Now,
    /// With the oldest event that the log keeps.
    Oldest,
}

/// An export, after validation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// Its name.
    pub name: String,
    /// Its receiver.
    pub target: Target,
    /// The types that are sent; empty means all.
    pub types: Vec<String>,
    /// Where it begins.
    pub beginning: Beginning,
}

/// The receiver of an export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// By HTTP.
    Http {
        /// Its address.
        url: String,
        /// The place of its token.
        token: Option<SecretSource>,
        /// Where relative paths start.
        base: PathBuf,
    },
    /// Into a stream.
    Redis {
        /// The server.
        server: RedisServer,
        /// Where relative paths start.
        base: PathBuf,
        /// The stream.
        stream: String,
        /// The entries that it keeps.
        max_entries: u64,
    },
    /// As metrics.
    Otlp {
        /// The collector.
        to: Otlp,
        /// Where relative paths start.
        base: PathBuf,
    },
    /// Into a topic.
    Kafka {
        /// The brokers and the topic.
        server: KafkaServer,
        /// Where relative paths start.
        base: PathBuf,
    },
}

/// A collector of OpenTelemetry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Otlp {
    /// Its address.
    pub url: String,
    /// Headers that it needs.
    pub headers: BTreeMap<String, SecretSource>,
    /// How often metrics are sent, in milliseconds.
    pub every_ms: u64,
}

/// Checks the exports of the file at `path`; relative paths in them start at `base`, and none may write into the event log.
pub(super) fn check(
    path: &Path,
    base: &Path,
    files: Vec<ExportFile>,
    log: Option<&LogPlace>,
) -> Result<Vec<Export>, ConfigError> {
    let wrong = |problem: String| ConfigError::Field { path: path.to_owned(), field: "export", problem };
    if files.len() > EXPORTS_MAX {
        return Err(wrong(format!("{} receivers; at most {EXPORTS_MAX}", files.len())));
    }
    let mut exports: Vec<Export> = Vec::with_capacity(files.len());
    for (number, file) in files.into_iter().enumerate() {
        let export = export(file, base).map_err(|problem| wrong(format!("[{number}].{problem}")))?;
        if let (Target::Kafka { server, .. }, Some(LogPlace::Kafka(log))) = (&export.target, log)
            && server.url() == log.server.url()
        {
            return Err(wrong(format!("[{number}].kafka: this is the topic of the event log: name another one")));
        }
        if exports.iter().any(|other| other.name == export.name) {
            return Err(wrong(format!("[{number}].name: {:?} is another one's", export.name)));
        }
        exports.push(export);
    }
    Ok(exports)
}

fn export(file: ExportFile, base: &Path) -> Result<Export, String> {
    let ExportFile { name, http, redis, kafka, otlp, stream, max_entries, types, from } = file;
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
    if name.is_empty() || name.len() > NAME_MAX_BYTES || !name.bytes().all(is_plain) {
        return Err(format!("name: {name:?} is no name: 1 to {NAME_MAX_BYTES} of a-z, 0-9, `.`, `_` and `-`"));
    }
    if types.len() > TYPES_MAX {
        return Err(format!("types: at most {TYPES_MAX}"));
    }
    let base = base.to_owned();
    if redis.is_none() && (stream.is_some() || max_entries.is_some()) {
        return Err("stream: `stream` and `max_entries` are for `redis`".to_owned());
    }
    let target = match (http, redis, kafka, otlp) {
        (Some(HttpFile { url, token }), None, None, None) => {
            check_http("http.url", &url)?;
            Target::Http { url, token, base }
        }
        (None, None, None, Some(file)) => Target::Otlp { to: otlp_of(file, &types)?, base },
        (None, Some(server), None, None) if server.is_cluster() => return Err(format!("redis: {NO_CLUSTER}")),
        (None, Some(server), None, None) => {
            let max_entries = max_entries.unwrap_or(DEFAULT_MAX_ENTRIES);
            let stream = stream.unwrap_or_else(|| DEFAULT_STREAM.to_owned());
            if stream.is_empty() || stream.starts_with("weir:log:") {
                return Err(format!("stream: {stream:?} cannot be it: choose another name"));
            }
            Target::Redis { server, base, stream, max_entries }
        }
        (None, None, Some(server), None) => Target::Kafka { server, base },
        _ => return Err("http: give one of `http`, `redis`, `kafka` and `otlp`".to_owned()),
    };
    let beginning = match from.unwrap_or(From::Now) {
        From::Now => Beginning::Now,
        From::Oldest => Beginning::Oldest,
    };
    Ok(Export { name, target, types, beginning })
}

fn check_http(field: &str, url: &str) -> Result<(), String> {
    match reqwest::Url::parse(url) {
        Ok(parsed) if matches!(parsed.scheme(), "http" | "https") => Ok(()),
        _ => Err(format!("{field}: {url:?} is no http or https address")),
    }
}

fn otlp_of(file: OtlpFile, types: &[String]) -> Result<Otlp, String> {
    let OtlpFile { url, headers, every } = file;
    check_http("otlp.url", &url)?;
    if !types.is_empty() {
        return Err("types: metrics are made of weir.usage.v1 alone".to_owned());
    }
    if headers.len() > OTLP_HEADERS_MAX {
        return Err(format!("otlp.headers: at most {OTLP_HEADERS_MAX}"));
    }
    let every_ms = every.unwrap_or(DEFAULT_EVERY).0;
    if every_ms < OTLP_EVERY_MIN.0 {
        return Err("otlp.every: at least 1s".to_owned());
    }
    Ok(Otlp { url, headers, every_ms })
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    fn parse(text: &str) -> Result<Vec<Export>, String> {
        let config = Config::parse(Path::new("weir.yaml"), text);
        config.map(|config| config.export).map_err(|error| error.to_string())
    }

    #[test]
    fn a_receiver_is_http_a_stream_or_a_topic() {
        let text = "export: [{name: a, http: {url: 'https://r/events', token: {env: T}}}, {name: b, redis: 'redis://r', from: oldest}]";
        let exports = parse(text).expect("good");
        assert!(matches!(&exports[0].target, Target::Http { token: Some(_), .. }), "{exports:?}");
        assert!(matches!(&exports[1].target, Target::Redis { stream, .. } if stream == "weir:events"), "{exports:?}");
        assert_eq!((exports[0].beginning, exports[1].beginning), (Beginning::Now, Beginning::Oldest));
        assert_eq!(parse("").expect("good"), []);
        let exports = parse("export: [{name: c, kafka: 'kafka://k:9092/events'}]").expect("good");
        assert!(
            matches!(&exports[0].target, Target::Kafka { server, .. } if server.topic() == "events"),
            "{exports:?}"
        );
    }

    #[test]
    fn whatever_is_wrong_with_one_is_named() {
        for (text, words) in [
            ("[{name: a}]", "export: [0].http: give one of"),
            ("[{name: a, http: {url: 'ftp://r'}}]", "[0].http.url"),
            ("[{name: a, http: {url: 'http://r'}, stream: s}]", "are for `redis`"),
            ("[{name: 'A b', redis: 'redis://r'}]", "[0].name"),
            ("[{name: a, redis: 'redis://r'}, {name: a, redis: 'redis://r'}]", "[1].name: \"a\" is another one's"),
            ("[{name: a, redis: 'redis://r', stream: 'weir:log:{weir/0}:stream'}]", "[0].stream"),
            ("[{name: a, otlp: {url: 'grpc://c:4317'}}]", "[0].otlp.url"),
            ("[{name: a, otlp: {url: 'http://c', every: 10ms}}]", "[0].otlp.every"),
            ("[{name: a, otlp: {url: 'http://c'}, types: [weir.refused.v1]}]", "[0].types"),
            ("[{name: a, kafka: 'kafka://k:1/e', stream: s}]", "are for `redis`"),
            ("[{name: a, kafka: 'kafka://k:1'}]", "no address of a topic"),
        ] {
            let error = parse(&format!("export: {text}")).expect_err(text);
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}

//! A Kafka that weir uses: how its address, password and roots are written, and the client made from them.
use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};

use krafka::auth::{AuthConfig, TlsConfig};
use krafka::{Kafka, KafkaBuilder};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de;
use serde::{Deserialize, Deserializer, Serialize};

use crate::secret::{Secret, SecretError, SecretSource};
use crate::written::{address_or_fields, schema};

/// The most brokers that an address names; the others are learnt from them.
const BROKERS_MAX: usize = 16;
/// The longest name of a topic, in bytes: Kafka's own bound.
const TOPIC_MAX_BYTES: usize = 249;

/// A topic of a Kafka as settings name it: its address alone, or with a password and roots.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct KafkaServer(Written);

/// Address, password and roots of a Kafka.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Written {
    /// `kafka://HOST:PORT/TOPIC`, or `kafkas://` for TLS; with a user before the hosts (`USER@HOST:PORT`), and more brokers behind a
    /// comma (`HOST:PORT,HOST:PORT`).
    url: String,
    /// The user's password. Absent: none is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    password: Option<SecretSource>,
    /// How the password is proved. Absent: `scram_sha_512`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mechanism: Option<Mechanism>,
    /// Roots that the certificates of the brokers must lead to: a file in PEM, relative to the configuration. Absent: the roots of the
    /// system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ca: Option<PathBuf>,
}

/// How a password is proved to a Kafka (SASL).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Mechanism {
    /// The password itself is sent, over `kafka://` in the clear.
    Plain,
    /// SCRAM with SHA-256.
    #[serde(rename = "scram_sha_256")]
    ScramSha256,
    /// SCRAM with SHA-512.
    #[serde(rename = "scram_sha_512")]
    ScramSha512,
}

/// Why a Kafka cannot be used as it is written.
#[derive(Debug, thiserror::Error)]
pub enum KafkaSettingsError {
    /// The address is none, or says too much.
    #[error("{0}")]
    Address(Cow<'static, str>),
    /// The password cannot be read.
    #[error("password: {0}")]
    Password(#[from] SecretError),
    /// The roots cannot be read.
    #[error("ca: {}: {source}", path.display())]
    Roots {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
}

/// The parts of an address.
struct Parts<'a> {
    tls: bool,
    user: Option<&'a str>,
    brokers: &'a str,
    topic: &'a str,
}

impl KafkaServer {
    /// Whether `url` begins as an address of a Kafka does.
    pub fn is_address(url: &str) -> bool {
        ["kafka://", "kafkas://"].into_iter().any(|scheme| url.starts_with(scheme))
    }

    /// The address, which names no password.
    pub fn url(&self) -> &str {
        &self.0.url
    }

    /// The topic.
    pub fn topic(&self) -> &str {
        self.parts().map_or("", |parts| parts.topic)
    }

    /// Checks the address; password and roots are read when a client is made.
    pub fn check(&self) -> Result<(), KafkaSettingsError> {
        let wrong = |problem: &'static str| Err(KafkaSettingsError::Address(problem.into()));
        let parts = self.parts()?;
        match (parts.user, &self.0.password) {
            (None, Some(_)) => return wrong("`password` needs a user before the host: kafkas://USER@HOST:PORT/TOPIC"),
            (Some(_), None) => return wrong("a user needs `password: {env: NAME}` or `{file: PATH}`"),
            (None, None) if self.0.mechanism.is_some() => return wrong("`mechanism` is for a user with a `password`"),
            _ => {}
        }
        if self.0.ca.is_some() && !parts.tls {
            return wrong("`ca` is for TLS: begin the address with kafkas://");
        }
        Ok(())
    }

    /// The builder of a client, without connecting. Reads password and roots; relative paths start at `base`.
    pub fn client(&self, base: &Path) -> Result<KafkaBuilder, KafkaSettingsError> {
        self.check()?;
        let parts = self.parts()?;
        let password = self.0.password.as_ref().map(|password| password.read(base)).transpose()?;
        let user = parts.user.zip(password.as_ref().map(Secret::expose));
        let security = match (user, self.0.mechanism.unwrap_or(Mechanism::ScramSha512)) {
            (None, _) => AuthConfig::plaintext(),
            (Some((user, password)), Mechanism::Plain) => AuthConfig::sasl_plain(user, password),
            (Some((user, password)), Mechanism::ScramSha256) => AuthConfig::sasl_scram_sha256(user, password),
            (Some((user, password)), Mechanism::ScramSha512) => AuthConfig::sasl_scram_sha512(user, password),
        };
        let security = if parts.tls { security.with_tls(self.tls(base)?) } else { security };
        Ok(Kafka::builder(parts.brokers).security(security).client_id("weir").allow_auto_create_topics(false))
    }

    fn tls(&self, base: &Path) -> Result<TlsConfig, KafkaSettingsError> {
        let Some(ca) = &self.0.ca else { return Ok(TlsConfig::new().with_native_roots()) };
        let path = base.join(ca);
        let roots = std::fs::read(&path).map_err(|source| KafkaSettingsError::Roots { path, source })?;
        Ok(TlsConfig::new().with_ca_cert_pem(roots))
    }

    fn parts(&self) -> Result<Parts<'_>, KafkaSettingsError> {
        let wrong = |problem: &'static str| KafkaSettingsError::Address(problem.into());
        let none = || wrong("this is no address of a topic in a Kafka, such as kafka://localhost:9092/weir");
        let (scheme, rest) = self.0.url.split_once("://").ok_or_else(none)?;
        let tls = match scheme {
            "kafka" => false,
            "kafkas" => true,
            _ => return Err(none()),
        };
        let (hosts, topic) = rest.split_once('/').ok_or_else(none)?;
        let (user, brokers) = match hosts.rsplit_once('@') {
            Some((user, _)) if user.contains(':') => {
                return Err(wrong(
                    "a password does not belong into this file: write `password: {env: NAME}` or `{file: PATH}`",
                ));
            }
            Some((user, brokers)) => (Some(user), brokers),
            None => (None, hosts),
        };
        if user == Some("") || brokers.split(',').count() > BROKERS_MAX || !brokers.split(',').all(is_broker) {
            return Err(none());
        }
        if !is_topic(topic) {
            return Err(wrong("the address ends in the name of a topic: up to 249 of a-z, A-Z, 0-9, `.`, `_` and `-`"));
        }
        Ok(Parts { tls, user, brokers, topic })
    }
}

fn is_broker(broker: &str) -> bool {
    broker
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0))
}

fn is_topic(topic: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    !topic.is_empty() && topic.len() <= TOPIC_MAX_BYTES && topic.bytes().all(is_plain) && topic != "." && topic != ".."
}

impl fmt::Display for KafkaServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.url)
    }
}

impl From<&str> for Written {
    fn from(url: &str) -> Self {
        Written { url: url.to_owned(), password: None, mechanism: None, ca: None }
    }
}

impl From<&str> for KafkaServer {
    fn from(url: &str) -> Self {
        KafkaServer(url.into())
    }
}

impl<'de> Deserialize<'de> for KafkaServer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "an address such as kafka://localhost:9092/weir, or `url`, `password`, `mechanism` and `ca`";
        let server = KafkaServer(address_or_fields(deserializer, expected)?);
        server.check().map_err(de::Error::custom)?;
        Ok(server)
    }
}

impl JsonSchema for KafkaServer {
    fn schema_name() -> Cow<'static, str> {
        "KafkaServer".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let description = "A topic of a Kafka: its address alone (`kafka://localhost:9092/weir`), or these fields.";
        schema::<Written>(generator, description, "^kafkas?://")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(yaml: &str) -> Result<KafkaServer, String> {
        crate::yaml::parse(Path::new("weir.yaml"), yaml).map_err(|error| error.to_string())
    }

    #[test]
    fn an_address_names_brokers_and_a_topic() {
        let server = read("kafka://one:9092,two:9093/weir.eu-1").expect("good");
        assert_eq!((server.topic(), server.url()), ("weir.eu-1", "kafka://one:9092,two:9093/weir.eu-1"));
        let text = "{url: 'kafkas://weir@k:9093/weir', password: {file: key}, mechanism: scram_sha_256, ca: ca.pem}";
        let dir = tempfile::tempdir().expect("a directory");
        let server = read(text).expect("good");
        let refused = server.client(dir.path()).map(drop).expect_err("no password yet").to_string();
        assert!(refused.contains("password: "), "{refused}");
        std::fs::write(dir.path().join("key"), "a-long-password").expect("written");
        let refused = server.client(dir.path()).map(drop).expect_err("no roots yet").to_string();
        assert!(refused.contains("ca.pem"), "{refused}");
        std::fs::write(dir.path().join("ca.pem"), "roots").expect("written");
        assert!(server.client(dir.path()).is_ok() && !format!("{server:?}").contains("a-long"));
    }

    #[test]
    fn an_address_that_is_none_or_says_a_secret_is_refused_with_the_remedy() {
        for (yaml, words) in [
            ("localhost:9092", "no address of a topic"),
            ("redis://localhost:9092/weir", "no address of a topic"),
            ("kafka://localhost/weir", "no address of a topic"),
            ("kafka://localhost:9092", "no address of a topic"),
            ("kafka://localhost:9092/", "the name of a topic"),
            ("kafka://localhost:9092/a/b", "the name of a topic"),
            ("kafka://weir:hunter2@localhost:9092/weir", "password: {env: NAME}"),
            ("kafka://weir@localhost:9092/weir", "a user needs `password"),
            ("{url: 'kafka://k:1/w', password: {env: X}}", "needs a user"),
            ("{url: 'kafka://k:1/w', mechanism: plain}", "is for a user"),
            ("{url: 'kafka://k:1/w', ca: ca.pem}", "begin the address with kafkas://"),
            ("{url: 'kafka://k:1/w', pasword: x}", "pasword"),
        ] {
            let error = read(yaml).expect_err(yaml);
            assert!(error.contains(words) && !error.contains("hunter2"), "{yaml}: {error}");
        }
    }
}

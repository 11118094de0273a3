//! A Redis that weir uses: how its address, password and roots are written, and the client made from them.
//!
//! Each user of a Redis (the event log, leases, the export) has keys of its own below a prefix of its own, so one server may
//! serve all of them.
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ::redis::cluster::ClusterClient;
use ::redis::io::tcp::TcpSettings;
use ::redis::{Client, ConnectionInfo, IntoConnectionInfo, TlsCertificates, parse_redis_url};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de;
use serde::{Deserialize, Deserializer, Serialize};

use crate::secret::{Secret, SecretError, SecretSource};
use crate::written::{address_or_fields, schema};

/// A Redis as settings name it: its address alone, or with a password and roots.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct RedisServer(Written);

/// Address, password and roots of a Redis.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Written {
    /// `redis://HOST:PORT`, or `rediss://` for TLS; with a user before the host (`USER@HOST`) and a database behind it (`/0`).
    url: String,
    /// The user's password. Absent: none is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    password: Option<SecretSource>,
    /// Roots that the server's certificate must lead to: a file in PEM, relative to the configuration. Absent: the roots of the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ca: Option<PathBuf>,
    /// The address is that of a node of a Redis Cluster. For `leases` only: a log is in one server.
    #[serde(default)]
    cluster: bool,
}

/// How long a node of a cluster may take.
#[derive(Clone, Copy, Debug)]
pub struct ClusterWaits {
    /// To accept a connection.
    pub connect: Duration,
    /// To answer a command.
    pub answer: Duration,
}

/// Why a Redis cannot be used as it is written.
#[derive(Debug, thiserror::Error)]
pub enum RedisSettingsError {
    /// The address is none, or says too much.
    #[error("{0}")]
    Address(String),
    /// The password cannot be read.
    #[error("password: {0}")]
    Password(#[from] SecretError),
    /// The roots cannot be read.
    #[error("ca: {}: {problem}", path.display())]
    Roots {
        /// The file.
        path: PathBuf,
        /// The problem.
        problem: String,
    },
}

impl RedisServer {
    /// The address, which names no password.
    pub fn url(&self) -> &str {
        &self.0.url
    }

    /// Checks the address; password and roots are read when a client is made.
    pub fn check(&self) -> Result<(), RedisSettingsError> {
        let wrong = |problem: &str| Err(RedisSettingsError::Address(problem.to_owned()));
        let Some(url) = parse_redis_url(&self.0.url).filter(|url| matches!(url.scheme(), "redis" | "rediss")) else {
            return wrong("this is no address of a Redis, such as redis://localhost:6379 or rediss://user@host:6380/0");
        };
        if url.password().is_some() {
            return wrong("a password does not belong into this file: write `password: {env: NAME}` or `{file: PATH}`");
        }
        if url.query().is_some() || url.fragment().is_some() {
            return wrong("the address of a Redis ends after its database: remove what follows ? or #");
        }
        if self.0.ca.is_some() && url.scheme() == "redis" {
            return wrong("`ca` is for TLS: begin the address with rediss://");
        }
        let info = self.0.url.as_str().into_connection_info();
        let info = info.map_err(|error| RedisSettingsError::Address(error.to_string()))?;
        if self.0.cluster && info.redis_settings().db() != 0 {
            return wrong("a Redis Cluster has database 0 alone: remove the one behind the address");
        }
        Ok(())
    }

    /// Whether the address is that of a node of a Redis Cluster.
    pub fn is_cluster(&self) -> bool {
        self.0.cluster
    }

    /// Makes a client of one server, without connecting. Reads password and roots; relative paths start at `base`.
    pub fn client(&self, base: &Path) -> Result<Client, RedisSettingsError> {
        if self.0.cluster {
            return Err(RedisSettingsError::Address(NO_CLUSTER.to_owned()));
        }
        let (info, certificates) = self.connection(base)?;
        let client = match certificates {
            Some(certificates) => Client::build_with_tls(info, certificates),
            None => Client::open(info),
        };
        client.map_err(|error| RedisSettingsError::Address(error.to_string()))
    }

    /// Makes a client of a cluster, as [`RedisServer::client`] does of one server.
    pub fn cluster_client(&self, base: &Path, waits: ClusterWaits) -> Result<ClusterClient, RedisSettingsError> {
        let (info, certificates) = self.connection(base)?;
        let builder = ClusterClient::builder([info])
            .connection_timeout(waits.connect)
            .response_timeout(waits.answer)
            .tcp_settings(TcpSettings::default().set_nodelay(true))
            // Whoever sends a command knows whether it may be repeated.
            .retries(0);
        let builder = match certificates {
            Some(certificates) => builder.certs(certificates),
            None => builder,
        };
        builder.build().map_err(|error| RedisSettingsError::Address(error.to_string()))
    }

    fn connection(&self, base: &Path) -> Result<(ConnectionInfo, Option<TlsCertificates>), RedisSettingsError> {
        self.check()?;
        let address = |error: ::redis::RedisError| RedisSettingsError::Address(error.to_string());
        let info = self.0.url.as_str().into_connection_info().map_err(address)?;
        let info = info.set_tcp_settings(TcpSettings::default().set_nodelay(true));
        let password = self.0.password.as_ref().map(|password| password.read(base)).transpose()?;
        let settings = info.redis_settings().clone();
        let settings = match password.as_ref().map(Secret::expose) {
            Some(password) => settings.set_password(password),
            None => settings,
        };
        let info = info.set_redis_settings(settings);
        if !self.0.url.starts_with("rediss://") {
            return Ok((info, None));
        }
        // One cryptography in the whole program. Fails if it is installed already.
        let _installed = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
        let root_cert = self.0.ca.as_ref().map(|ca| read_roots(&base.join(ca))).transpose()?;
        Ok((info, Some(TlsCertificates { client_tls: None, root_cert })))
    }
}

fn read_roots(path: &Path) -> Result<Vec<u8>, RedisSettingsError> {
    let roots = |problem: String| RedisSettingsError::Roots { path: path.to_owned(), problem };
    let text = std::fs::read(path).map_err(|error| roots(error.to_string()))?;
    let found = text.windows(BEGIN.len()).any(|part| part == BEGIN);
    if found { Ok(text) } else { Err(roots("it holds no certificate in PEM".to_owned())) }
}

/// What is said where only one server will do.
pub const NO_CLUSTER: &str =
    "this has to be in one server: remove `cluster: true`, and name a Redis that is no cluster";

/// How a certificate begins.
const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";

impl fmt::Display for RedisServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.url)
    }
}

impl From<&str> for Written {
    fn from(url: &str) -> Self {
        Written { url: url.to_owned(), password: None, ca: None, cluster: false }
    }
}

impl From<&str> for RedisServer {
    fn from(url: &str) -> Self {
        RedisServer(url.into())
    }
}

impl<'de> Deserialize<'de> for RedisServer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "an address such as redis://localhost:6379, or `url`, `password` and `ca`";
        let server = RedisServer(address_or_fields(deserializer, expected)?);
        server.check().map_err(de::Error::custom)?;
        Ok(server)
    }
}

impl JsonSchema for RedisServer {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "RedisServer".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let description = "A Redis: its address alone (`redis://localhost:6379`), or these fields.";
        schema::<Written>(generator, description, "^rediss?://")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(yaml: &str) -> Result<RedisServer, String> {
        crate::yaml::parse(Path::new("weir.yaml"), yaml).map_err(|error| error.to_string())
    }

    #[test]
    fn an_address_alone_or_with_a_password_is_a_server() {
        assert_eq!(read("redis://localhost:6379").expect("good").url(), "redis://localhost:6379");
        let server =
            read("{url: 'rediss://weir@redis.internal:6380/2', password: {env: X}, ca: ca.pem}").expect("good");
        assert_eq!(server.to_string(), "rediss://weir@redis.internal:6380/2");
    }

    #[test]
    fn an_address_that_is_none_or_says_a_secret_is_refused_with_the_remedy() {
        for (yaml, words) in [
            ("localhost:6379", "no address of a Redis"),
            ("http://localhost", "no address of a Redis"),
            ("redis://:hunter2@localhost", "password: {env: NAME}"),
            ("rediss://localhost/#insecure", "ends after its database"),
            ("{url: 'redis://localhost', ca: ca.pem}", "begin the address with rediss://"),
            ("{url: 'redis://localhost', pasword: x}", "pasword"),
            ("{url: 'redis://localhost/2', cluster: true}", "database 0 alone"),
        ] {
            let error = read(yaml).expect_err(yaml);
            assert!(error.contains(words) && !error.contains("hunter2"), "{yaml}: {error}");
        }
    }

    #[test]
    fn a_client_has_the_password_of_its_place_and_says_nothing_of_it() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("key"), "a-long-password\n").expect("written");
        let server = read("{url: 'redis://weir@localhost:7000/3', password: {file: key}}").expect("good");
        let client = server.client(dir.path()).expect("a client");
        let settings = client.get_connection_info().redis_settings();
        assert_eq!(
            (settings.username(), settings.password(), settings.db()),
            (Some("weir"), Some("a-long-password"), 3)
        );
        assert!(!format!("{server:?}").contains("a-long"));
    }

    #[test]
    fn a_cluster_is_no_server() {
        let server = read("{url: 'redis://localhost:7000', cluster: true}").expect("good");
        let refused = server.client(Path::new("")).expect_err("one server").to_string();
        assert!(server.is_cluster() && refused.contains("remove `cluster: true`"), "{refused}");
    }

    #[test]
    fn roots_that_are_none_are_named() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("ca.pem"), "no certificate").expect("written");
        let server = read("{url: 'rediss://localhost', ca: ca.pem}").expect("good");
        let error = server.client(dir.path()).expect_err("no roots").to_string();
        assert!(error.contains("ca.pem") && error.contains("no certificate"), "{error}");
    }
}

//! A PostgreSQL that weir uses: how its address, password and roots are written, and what a connection needs of them.
use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de;
use serde::{Deserialize, Deserializer, Serialize};
use tokio_postgres::Config;
use tokio_postgres::config::Host;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, version};

use crate::secret::{SecretError, SecretSource};
use crate::written::{address_or_fields, schema};

/// The longest name of a schema, in bytes: PostgreSQL's own bound.
const SCHEMA_MAX_BYTES: usize = 63;
/// The schema that holds the tables unless another is named.
const DEFAULT_SCHEMA: &str = "weir";

/// A schema of a PostgreSQL database as settings name it: its address alone, or with a password, roots and a schema.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct PostgresServer(Written);

/// Address, password, roots and schema of a PostgreSQL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Written {
    /// `postgres://USER@HOST:PORT/DATABASE`. Connections to other machines are by TLS, and the certificate must name the host;
    /// `?sslmode=disable` behind the address turns that off, on a closed network.
    url: String,
    /// The user's password. Absent: none is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    password: Option<SecretSource>,
    /// Roots that the server's certificate must lead to: a file in PEM, relative to the configuration. Absent: the roots of the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ca: Option<PathBuf>,
    /// The schema that holds the tables: `a` to `z`, digits and `_`. It is made if it is not there. Absent: `weir`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    schema: Option<String>,
}

/// Why a PostgreSQL cannot be used as it is written.
#[derive(Debug, thiserror::Error)]
pub enum PostgresSettingsError {
    /// The address is none, or says too much.
    #[error("{0}")]
    Address(Cow<'static, str>),
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

fn wrong(problem: &'static str) -> PostgresSettingsError {
    PostgresSettingsError::Address(problem.into())
}

impl PostgresServer {
    /// The address, which names no password.
    pub fn url(&self) -> &str {
        &self.0.url
    }

    /// The schema.
    pub fn schema(&self) -> &str {
        self.0.schema.as_deref().unwrap_or(DEFAULT_SCHEMA)
    }

    /// Checks the address; password and roots are read when a connection is made.
    pub fn check(&self) -> Result<(), PostgresSettingsError> {
        let (_, is_secure) = self.parts()?;
        if self.0.ca.is_some() && !is_secure {
            return Err(wrong("`ca` is for TLS: remove ?sslmode=disable, or end the address in ?sslmode=verify-full"));
        }
        if !is_schema(self.schema()) {
            return Err(wrong("`schema` is a name of 1 to 63 of a-z, 0-9 and `_`, which begins with a letter"));
        }
        Ok(())
    }

    /// What a connection needs. Reads password and roots; relative paths start at `base`.
    pub fn connection(&self, base: &Path) -> Result<(Config, Option<Arc<ClientConfig>>), PostgresSettingsError> {
        let (mut config, is_secure) = self.parts()?;
        if let Some(password) = &self.0.password {
            config.password(password.read(base)?.expose());
        }
        Ok((config, is_secure.then(|| self.tls(base)).transpose()?))
    }

    /// Reads the address, and whether connections are by TLS.
    fn parts(&self) -> Result<(Config, bool), PostgresSettingsError> {
        let none = || wrong("this is no address of a PostgreSQL, such as postgres://weir@localhost:5432/weir");
        let (address, query) = self.0.url.split_once('?').unwrap_or((&self.0.url, ""));
        let rest = ["postgres://", "postgresql://"].into_iter().find_map(|scheme| address.strip_prefix(scheme));
        let (hosts, database) = rest.ok_or_else(none)?.rsplit_once('/').ok_or_else(none)?;
        let user = match hosts.rsplit_once('@') {
            Some((user, _)) if user.contains(':') => {
                return Err(wrong(
                    "a password does not belong into this file: write `password: {env: NAME}` or `{file: PATH}`",
                ));
            }
            Some((user, _)) => user,
            None => "",
        };
        if user.is_empty() || database.is_empty() {
            return Err(wrong("the address names a user and a database: postgres://USER@HOST:PORT/DATABASE"));
        }
        let config = Config::from_str(address).map_err(|_| none())?;
        let is_secure = match query {
            "" => !config.get_hosts().iter().all(is_near),
            "sslmode=verify-full" => true,
            "sslmode=disable" => false,
            _ if query.starts_with("sslmode=") => {
                return Err(wrong("`sslmode` is `verify-full`, which is the default to other machines, or `disable`"));
            }
            _ => return Err(wrong("only `sslmode` may follow the ? of an address")),
        };
        Ok((config, is_secure))
    }

    fn tls(&self, base: &Path) -> Result<Arc<ClientConfig>, PostgresSettingsError> {
        let roots = match &self.0.ca {
            Some(ca) => roots_of(&base.join(ca))?,
            None => {
                let mut roots = RootCertStore::empty();
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
                roots
            }
        };
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_protocol_versions(&[&version::TLS13, &version::TLS12]);
        let builder = builder.map_err(|error| PostgresSettingsError::Address(error.to_string().into()))?;
        Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
    }
}

/// Whether a host is this machine.
fn is_near(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback()),
        Host::Unix(_) => true,
    }
}

fn is_schema(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    name.len() <= SCHEMA_MAX_BYTES && name.starts_with(|c: char| c.is_ascii_lowercase()) && name.bytes().all(is_plain)
}

fn roots_of(path: &Path) -> Result<RootCertStore, PostgresSettingsError> {
    let wrong = |problem: String| PostgresSettingsError::Roots { path: path.to_owned(), problem };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| wrong(error.to_string()))? {
        roots.add(certificate.map_err(|error| wrong(error.to_string()))?).map_err(|error| wrong(error.to_string()))?;
    }
    if roots.is_empty() { Err(wrong("it holds no certificate in PEM".to_owned())) } else { Ok(roots) }
}

impl fmt::Display for PostgresServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.url)
    }
}

impl From<&str> for Written {
    fn from(url: &str) -> Self {
        Written { url: url.to_owned(), password: None, ca: None, schema: None }
    }
}

impl<'de> Deserialize<'de> for PostgresServer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected =
            "an address such as postgres://weir@localhost:5432/weir, or `url`, `password`, `ca` and `schema`";
        let server = PostgresServer(address_or_fields(deserializer, expected)?);
        server.check().map_err(de::Error::custom)?;
        Ok(server)
    }
}

impl JsonSchema for PostgresServer {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "PostgresServer".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let description =
            "A PostgreSQL, 15 or newer: its address alone (`postgres://weir@localhost:5432/weir`), or these fields.";
        schema::<Written>(generator, description, "^postgres(ql)?://")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(yaml: &str) -> Result<PostgresServer, String> {
        crate::yaml::parse(Path::new("weir.yaml"), yaml).map_err(|error| error.to_string())
    }

    #[test]
    fn an_address_alone_or_with_more_is_a_server() {
        let server = read("postgres://weir@localhost:5432/weir").expect("good");
        assert_eq!((server.url(), server.schema()), ("postgres://weir@localhost:5432/weir", "weir"));
        let server = read("{url: 'postgresql://w@db.internal/books', password: {env: X}, ca: ca.pem, schema: eu_1}");
        let server = server.expect("good");
        assert_eq!((server.to_string().as_str(), server.schema()), ("postgresql://w@db.internal/books", "eu_1"));
    }

    #[test]
    fn an_address_that_is_none_or_says_a_secret_is_refused_with_the_remedy() {
        for (yaml, words) in [
            ("localhost:5432", "no address of a PostgreSQL"),
            ("mysql://w@h/d", "no address of a PostgreSQL"),
            ("postgres://weir:hunter2@h/d", "password: {env: NAME}"),
            ("postgres://weir:hun/ter2@h/d", "password: {env: NAME}"),
            ("postgres://h:5432/d", "names a user and a database"),
            ("postgres://weir@h:5432/", "names a user and a database"),
            ("postgres://weir@h:port/d", "no address of a PostgreSQL"),
            ("postgres://weir@h/d?sslmode=require", "`verify-full`"),
            ("postgres://weir@h/d?password=hunter2", "only `sslmode`"),
            ("{url: 'postgres://weir@h/d?sslmode=disable', ca: ca.pem}", "remove ?sslmode=disable"),
            ("{url: 'postgres://weir@localhost/d', ca: ca.pem}", "verify-full"),
            ("{url: 'postgres://weir@h/d', schema: 'a b'}", "`schema` is a name"),
            ("{url: 'postgres://weir@h/d', pasword: hunter2}", "pasword"),
        ] {
            let error = read(yaml).expect_err(yaml);
            assert!(error.contains(words) && !error.contains("hunter2"), "{yaml}: {error}");
        }
    }

    #[test]
    fn other_machines_are_reached_by_tls_unless_told_otherwise() {
        for (url, is_secure) in [
            ("postgres://w@db.internal/d", true),
            ("postgres://w@10.0.0.7:5432/d", true),
            ("postgres://w@db.internal/d?sslmode=disable", false),
            ("postgres://w@localhost/d", false),
            ("postgres://w@127.0.0.1:5432/d", false),
            ("postgres://w@%2Fvar%2Frun%2Fpostgresql/d", false),
            ("postgres://w@localhost/d?sslmode=verify-full", true),
            ("postgres://w@localhost:5432,db.internal:5432/d", true),
        ] {
            let (_, tls) = read(url).expect("good").connection(Path::new("")).expect("read");
            assert_eq!(tls.is_some(), is_secure, "{url}");
        }
    }

    #[test]
    fn a_connection_has_the_password_of_its_place_and_says_nothing_of_it() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("key"), "a-long-password\n").expect("written");
        let server = read("{url: 'postgres://weir@localhost/d', password: {file: key}}").expect("good");
        let (config, _) = server.connection(dir.path()).expect("read");
        assert_eq!((config.get_user(), config.get_dbname()), (Some("weir"), Some("d")));
        assert_eq!(config.get_password(), Some(&b"a-long-password"[..]));
        assert!(!format!("{server:?}").contains("a-long"));
    }

    #[test]
    fn roots_that_are_none_are_named() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("ca.pem"), "no certificate").expect("written");
        let server = read("{url: 'postgres://w@h/d', ca: ca.pem}").expect("good");
        let error = server.connection(dir.path()).map(drop).expect_err("no roots").to_string();
        assert!(error.contains("ca.pem") && error.contains("no certificate"), "{error}");
    }
}

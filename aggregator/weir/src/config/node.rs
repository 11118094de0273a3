//! One `weir serve` among several: `node:` of weir.yaml.
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use weir_contract::id::is_gateway_name;

use super::ConfigError;

/// This server among several that share one event log and one ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NodeFile {
    /// Its name, another one for each node: 1 to 64 of A-Z, a-z, 0-9, `.`, `_` and `-`.
    name: String,
    /// Where the other nodes reach it: `https://HOST:PORT`. `http://` to other machines needs `allow_plaintext`.
    address: String,
    /// Roots that the other nodes' certificates must lead to: a file in PEM, relative to the configuration. Absent: well-known public roots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ca: Option<PathBuf>,
}

/// The settings of `node:`, after validation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeSettings {
    /// Its name.
    pub name: String,
    /// Where the other nodes reach it: scheme, host and port.
    pub address: String,
    /// The file of roots that the other nodes' certificates must lead to.
    pub ca: Option<PathBuf>,
}

impl NodeFile {
    /// Checks the settings of the file at `path`; relative paths in them start at `base`. The flags say whether log and ledger are
    /// elsewhere.
    pub(super) fn check(
        self,
        path: &Path,
        base: &Path,
        (has_log, has_ledger): (bool, bool),
        allow_plaintext: bool,
    ) -> Result<NodeSettings, ConfigError> {
        let wrong = |field, problem: &str| {
            Err(ConfigError::Field { path: path.to_owned(), field, problem: problem.to_owned() })
        };
        if !has_log || !has_ledger {
            return wrong(
                "node",
                "nodes share an event log and a ledger: give `log: redis://…` or `log: kafka://…`, and `ledger: postgres://…`",
            );
        }
        if !is_gateway_name(&self.name) {
            return wrong("node.name", "must be 1 to 64 of A-Z, a-z, 0-9, `.`, `_` and `-`");
        }
        let Some((is_secure, host)) = parts(&self.address) else {
            return wrong("node.address", "is no address such as https://10.0.0.3:8090");
        };
        if !is_secure && !is_near(host) && !allow_plaintext {
            return wrong(
                "node.address",
                "is on the network in the clear, and so would be tokens: use https:// and `tls`, or on a closed network \
                 `allow_plaintext: true`",
            );
        }
        if !is_secure && self.ca.is_some() {
            return wrong("node.ca", "is for addresses that begin with https://");
        }
        Ok(NodeSettings { name: self.name, address: self.address, ca: self.ca.map(|ca| base.join(ca)) })
    }
}

/// Whether an address is by TLS, and its host; None if it is more or less than scheme, host and port.
fn parts(address: &str) -> Option<(bool, &str)> {
    let secure = address.strip_prefix("https://").map(|rest| (true, rest));
    let (is_secure, rest) = secure.or_else(|| address.strip_prefix("http://").map(|rest| (false, rest)))?;
    let (host, port) = rest.rsplit_once(':')?;
    let name = host.strip_prefix('[').and_then(|v6| v6.strip_suffix(']'));
    let is_host = match name {
        Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte)),
    };
    (is_host && port.parse::<u16>().is_ok_and(|port| port > 0)).then_some((is_secure, host))
}

/// Whether a host is this machine.
fn is_near(host: &str) -> bool {
    let bare = host.trim_matches(['[', ']']);
    host == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    const ELSEWHERE: &str = "log: 'redis://r:1'\nledger: 'postgres://weir@p/weir'\n";

    fn parse(text: &str) -> Result<Option<NodeSettings>, String> {
        let config = Config::parse(Path::new("/etc/weir/weir.yaml"), text);
        config.map(|config| config.node).map_err(|error| error.to_string())
    }

    #[test]
    fn a_node_has_a_name_and_an_address() {
        assert_eq!(parse("").expect("good"), None);
        let node = parse(&format!("{ELSEWHERE}node: {{name: a, address: 'https://10.0.0.3:8090', ca: tls/ca.pem}}"));
        let node = node.expect("good").expect("a node");
        assert_eq!((node.name.as_str(), node.address.as_str()), ("a", "https://10.0.0.3:8090"));
        assert_eq!(node.ca.as_deref(), Some(Path::new("/etc/weir/tls/ca.pem")));
        for address in ["http://127.0.0.1:1", "http://localhost:1", "http://[::1]:1", "https://weir-0.weir:8090"] {
            assert!(parse(&format!("{ELSEWHERE}node: {{name: a, address: '{address}'}}")).is_ok(), "{address}");
        }
        let open = "allow_plaintext: true\nnode: {name: a, address: 'http://10.0.0.3:8090'}";
        assert!(parse(&format!("{ELSEWHERE}{open}")).is_ok());
    }

    #[test]
    fn whatever_is_wrong_with_it_is_named() {
        let node = "node: {name: a, address: 'https://h:1'}";
        for (text, words) in [
            (node.to_owned(), "node: nodes share an event log and a ledger"),
            (format!("log: 'redis://r:1'\n{node}"), "and `ledger: postgres://…`"),
            (format!("{ELSEWHERE}node: {{name: 'a b', address: 'https://h:1'}}"), "node.name: must be 1 to 64"),
            (format!("{ELSEWHERE}node: {{name: a, address: 'https://h'}}"), "node.address: is no address"),
            (format!("{ELSEWHERE}node: {{name: a, address: 'https://h:1/x'}}"), "node.address: is no address"),
            (format!("{ELSEWHERE}node: {{name: a, address: 'https://u@h:1'}}"), "node.address: is no address"),
            (format!("{ELSEWHERE}node: {{name: a, address: 'http://10.0.0.3:1'}}"), "in the clear"),
            (format!("{ELSEWHERE}node: {{name: a, address: 'http://localhost:1', ca: x}}"), "node.ca: is for"),
            (format!("{ELSEWHERE}node: {{name: a, address: 'https://h:1', adress: x}}"), "adress"),
        ] {
            let error = parse(&text).expect_err(&text);
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}

//! The settings that all nodes of a fleet must have alike, as digests that can be compared.
use std::collections::BTreeMap;

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::ConfigFile;

/// What each node has of its own. Log and ledger are known by what is in them.
const OWN: [&str; 7] = ["listen", "tls", "allow_plaintext", "data", "log", "ledger", "node"];
/// How much of a digest is kept: enough to tell settings apart.
const DIGEST_BYTES: usize = 4;

/// Digests of the settings that all nodes have alike, by their names in weir.yaml. What a setting's files hold is not part of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shared(BTreeMap<String, String>);

impl Shared {
    pub(super) fn of(file: &ConfigFile) -> Self {
        let Ok(Value::Object(fields)) = serde_json::to_value(file) else { return Shared::default() };
        let is_shared = |(name, value): &(String, Value)| !value.is_null() && !OWN.contains(&name.as_str());
        let digest = |value: &Value| hex::encode(&Sha256::digest(value.to_string())[..DIGEST_BYTES]);
        Shared(fields.into_iter().filter(is_shared).map(|(name, value)| (name, digest(&value))).collect())
    }

    /// As one line, for the table of nodes.
    pub(crate) fn line(&self) -> String {
        self.0.iter().map(|(name, digest)| format!("{name}={digest}")).collect::<Vec<_>>().join(",")
    }

    /// The names of the settings that a line of another node says otherwise.
    pub(crate) fn differs(&self, line: &str) -> Vec<String> {
        let pairs = line.split(',').filter_map(|pair| pair.split_once('='));
        let theirs: BTreeMap<&str, &str> = pairs.collect();
        let ours: BTreeMap<&str, &str> = self.0.iter().map(|(name, digest)| (name.as_str(), digest.as_str())).collect();
        let mut names: Vec<&str> = ours.keys().chain(theirs.keys()).copied().collect();
        names.sort_unstable();
        names.dedup();
        names.into_iter().filter(|name| ours.get(name) != theirs.get(name)).map(str::to_owned).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::Config;

    fn shared(text: &str) -> super::Shared {
        Config::parse(Path::new("/etc/weir/weir.yaml"), text).expect("good").shared
    }

    #[test]
    fn nodes_differ_by_what_they_must_have_alike_and_by_nothing_else() {
        let a = shared("listen: 127.0.0.1:1\ndata: a\ngrace: 5m\ntokens: [{name: g, scopes: [ingest], env: T}]\n");
        let b = shared("listen: 127.0.0.1:2\ndata: b\ngrace: 5m\ntokens: [{name: g, scopes: [ingest], env: T}]\n");
        assert_eq!(a.differs(&b.line()), [""; 0], "{a:?} {b:?}");
        let c = shared("grace: 6m\nlog_retention: 50d\ntokens: [{name: g, scopes: [ingest], env: T}]\n");
        assert_eq!(a.differs(&c.line()), ["grace", "log_retention"]);
        assert_eq!(c.differs(&a.line()), ["grace", "log_retention"]);
    }
}

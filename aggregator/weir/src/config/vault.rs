//! The settings of the vault.
use std::collections::BTreeMap;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use weir_filter::policy::own_keys;
use weir_tenants::vault::KeySource;

use super::ConfigError;
use super::home::TenantsHome;

/// The vault of tenants' own keys at providers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct VaultFile {
    /// The key-encryption key: `{file: PATH}`, `{env: NAME}` or `{command: [PROGRAM, ARGUMENT, …]}`.
    pub key: KeySource,
    /// The one before it, until `weir byok rotate` has wrapped everything with the new one. Not for commands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_key: Option<KeySource>,
    /// Asks the provider whether it takes a key before the key is stored: an address for each provider, which is asked by `GET`
    /// with the key. Absent: no provider is asked.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub check: BTreeMap<String, String>,
}

/// The settings of the vault, after validation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VaultConfig {
    /// The key-encryption key.
    pub key: KeySource,
    /// The one before it.
    pub previous_key: Option<KeySource>,
    /// Which address says whether a provider takes a key.
    pub check: BTreeMap<String, String>,
}

/// Checks what the shape cannot say.
pub(super) fn check(path: &Path, home: &TenantsHome, file: VaultFile) -> Result<VaultConfig, ConfigError> {
    let wrong = |field, problem: String| ConfigError::Field { path: path.to_owned(), field, problem };
    if *home != TenantsHome::Database {
        return Err(wrong("vault", "the vault is a part of the database: say `tenants_database: true`".to_owned()));
    }
    if matches!(file.previous_key, Some(KeySource::Command(_))) {
        let problem = "the keys of before that a command wraps are known by themselves: leave it out".to_owned();
        return Err(wrong("vault.previous_key", problem));
    }
    for source in [Some(&file.key), file.previous_key.as_ref()].into_iter().flatten() {
        if matches!(source, KeySource::Command(command) if command.is_empty()) {
            return Err(wrong("vault.key", "name the command".to_owned()));
        }
    }
    for (provider, address) in &file.check {
        own_keys::provider(provider).map_err(|problem| wrong("vault.check", format!("{provider}: {problem}")))?;
        if !is_private(address) {
            return Err(wrong("vault.check", format!("{provider}: an address begins with https://")));
        }
    }
    Ok(VaultConfig { key: file.key, previous_key: file.previous_key, check: file.check })
}

/// Whether nobody on the way reads what is sent there.
fn is_private(address: &str) -> bool {
    reqwest::Url::parse(address).is_ok_and(|address| match address.scheme() {
        "https" => address.has_host(),
        "http" => address.host_str() == Some("127.0.0.1"),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::is_private;

    #[test]
    fn a_provider_is_asked_where_nobody_reads_along() {
        assert!(is_private("https://api.openai.com/v1/models") && is_private("http://127.0.0.1:8080/models"));
        for address in
            ["http://api.openai.com", "http://127.0.0.1:80@example.com/", "http://127.0.0.1.example.com", "x", ""]
        {
            assert!(!is_private(address), "{address}");
        }
    }
}

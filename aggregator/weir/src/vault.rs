//! The vault as the server and the commands use it: opened by the configuration, and the question to a provider whether it takes a key.
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::{Mutex, OwnedMutexGuard};
use weir_database::Place;
use weir_filter::policy::own_keys;
use weir_tenants::store::TenantStore;
use weir_tenants::store::vault::rotate::VaultError;
use weir_tenants::vault::{KeyRing, ProviderSecret};

use crate::config::vault::VaultConfig;

/// How long a provider may take to say whether it takes a key.
const CHECK_MAX: Duration = Duration::from_secs(10);

/// An open vault.
#[derive(Clone, Debug)]
pub(crate) struct Vault {
    /// Its settings.
    pub(crate) config: VaultConfig,
    /// Its key-encryption keys.
    pub(crate) ring: KeyRing,
}

impl Vault {
    /// Opens the vault of a configuration; relative files lie in `base`.
    pub(crate) fn open(store: &TenantStore, config: &VaultConfig, base: &Path) -> Result<Self, VaultError> {
        let ring = store.open_vault(&config.key, config.previous_key.as_ref(), base)?;
        Ok(Vault { config: config.clone(), ring })
    }

    /// Whether the vault at `place` could be opened. Writes nothing.
    pub(crate) fn can_open(place: &Place, config: &VaultConfig, base: &Path) -> Result<(), VaultError> {
        TenantStore::check_vault(place, &config.key, config.previous_key.as_ref(), base)
    }

    /// This vault with the keys of its next rotation.
    pub(crate) fn next(&self, store: &TenantStore) -> Result<Self, VaultError> {
        let ring = store.next_ring(&self.ring, &self.config.key)?;
        Ok(Vault { config: self.config.clone(), ring })
    }

    /// Asks the provider whether it takes a key, where the configuration says how. Only a clear no keeps it out: a provider that does
    /// not answer says nothing of the key.
    pub(crate) async fn check(&self, provider: &str, secret: &ProviderSecret) -> Result<(), RefusedKey> {
        let Some(address) = self.config.check.get(provider) else { return Ok(()) };
        let Ok(of) = own_keys::provider(provider) else { return Ok(()) };
        let header = own_keys::usual_header(of);
        let client = reqwest::Client::builder().timeout(CHECK_MAX).redirect(reqwest::redirect::Policy::none()).build();
        let asked = match client {
            Ok(client) => {
                let request = client.get(address).header(header.as_str(), header.value(secret.expose()));
                // Anthropic answers nothing without it; others pass over it.
                request.header("anthropic-version", "2023-06-01").send().await
            }
            Err(error) => Err(error),
        };
        match asked.map(|answer| answer.status().as_u16()) {
            Ok(status @ (401 | 403)) => Err(RefusedKey { provider: provider.to_owned(), status }),
            Ok(_) => Ok(()),
            Err(error) => {
                tracing::warn!(provider, error = %error.without_url(), "a key is stored without a look at it: the provider does not answer");
                Ok(())
            }
        }
    }
}

/// The provider refuses a key.
#[derive(Debug, thiserror::Error)]
#[error("{provider} refuses this key (status {status}); it is not stored")]
pub(crate) struct RefusedKey {
    provider: String,
    status: u16,
}

/// The vault of a server; None where there is none.
#[derive(Debug, Default)]
pub(crate) struct VaultInForce {
    current: RwLock<Option<Arc<Vault>>>,
    /// Held while it changes.
    changing: Arc<Mutex<()>>,
}

impl VaultInForce {
    /// The vault of a server that starts.
    pub(crate) fn new(vault: Option<Vault>) -> Self {
        VaultInForce { current: RwLock::new(vault.map(Arc::new)), changing: Arc::default() }
    }

    /// The vault.
    pub(crate) fn current(&self) -> Option<Arc<Vault>> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keeps other changes out until the guard is dropped: rotations and changes of the configuration go one after the other.
    pub(crate) async fn change(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.changing).lock_owned().await
    }

    /// Puts another in its place.
    pub(crate) fn replace(&self, vault: Option<Vault>) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = vault.map(Arc::new);
    }
}

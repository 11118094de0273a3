//! What is remembered of the tenant's own keys that a routed request goes up with.
use std::rc::Rc;

use crate::routing::breaker::Account;
use crate::routing::handed::RequestKeys;
use crate::vault::OwnKeys;

/// What is known of a tenant's own keys when its request comes in.
#[derive(Debug)]
pub(super) struct KnownKeys {
    /// Weir serve has said who has keys. The tenants of the configuration do not say it.
    pub(super) is_fetched: bool,
    pub(super) keys: Option<Rc<OwnKeys>>,
}

/// The keys that a routed request goes up with.
#[derive(Debug)]
pub(super) struct Paid {
    pub(super) keys: RequestKeys,
    /// Their number, as the upstream role is told it.
    pub(super) number: u64,
}

impl Paid {
    /// Whether the tenant's own key goes to a provider.
    pub(super) fn pays(&self, provider: &str) -> bool {
        self.keys.iter().any(|key| *key.provider == *provider)
    }

    /// Whose account an attempt at a provider uses.
    pub(super) fn account(paid: Option<&Self>, provider: &str) -> Account {
        if paid.is_some_and(|paid| paid.pays(provider)) { Account::Tenant } else { Account::House }
    }
}

//! Tenants' own keys at providers: kept sealed as they were delivered, and opened for the first request that needs one.
//!
//! A large state brings many of them, and to open one takes as long as to decide about a request: none is opened while a state is
//! taken in. An opened key is in the memory of this VM only. Nothing here is ever written into a log, an event, a metric or an answer.
pub(crate) mod rule;

use std::cell::{OnceCell, RefCell};
use std::rc::Rc;

use weir_contract::Timestamp;
use weir_contract::directory::Tenant;
use weir_contract::vault::{PROVIDER_KEYS_MAX, is_secret};
pub use weir_key_delivery::from_seed;
use weir_key_delivery::{Label, Opener};
use zeroize::Zeroizing;

/// Opens the keys of one page.
pub(crate) type PageOpener = Rc<RefCell<Opener>>;

/// A tenant's own keys, and what holds where one is missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnKeys {
    keys: Vec<OwnKey>,
    /// Whether the operator's key serves the tenant where its own is missing or cannot be used.
    pub house_key: bool,
}

/// A tenant's key at one provider.
#[derive(Clone)]
struct OwnKey {
    provider: Box<str>,
    version: u64,
    expires: Option<Timestamp>,
    /// None where it was not handed over.
    sealed: Option<(Box<str>, PageOpener)>,
    /// The key once it was needed; None in there if it does not open.
    opened: OnceCell<Option<Zeroizing<String>>>,
}

impl PartialEq for OwnKey {
    fn eq(&self, other: &Self) -> bool {
        let parts = |key: &OwnKey| (key.version, key.expires, key.sealed.is_some());
        self.provider == other.provider && parts(self) == parts(other)
    }
}

impl Eq for OwnKey {}

impl std::fmt::Debug for OwnKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OwnKey").field("provider", &self.provider).finish_non_exhaustive()
    }
}

impl OwnKey {
    fn secret(&self, tenant: &str) -> Option<&str> {
        let open = || {
            let (sealed, opener) = self.sealed.as_ref()?;
            let label = Label { tenant, provider: &self.provider, version: self.version };
            opener.try_borrow_mut().ok()?.open(label, sealed).filter(|secret| is_secret(secret))
        };
        self.opened.get_or_init(open).as_ref().map(|secret| secret.as_str())
    }
}

/// Why a tenant's own key does not serve a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyFault {
    /// The tenant has none for this provider.
    Missing,
    /// It has one that this gateway was not given, or cannot open.
    Unavailable,
    /// It has expired.
    Expired,
    /// The provider refuses it.
    Refused,
    /// The request would go to a cluster that is not the provider's.
    Misrouted,
}

impl OwnKeys {
    /// The keys of a tenant as it arrives; None if it has none and no fallback.
    pub(crate) fn of(tenant: &Tenant, opener: Option<&PageOpener>) -> Option<Rc<Self>> {
        if tenant.provider_keys.is_empty() && !tenant.house_key {
            return None;
        }
        let keys = tenant.provider_keys.iter().take(PROVIDER_KEYS_MAX).map(|key| OwnKey {
            provider: key.provider.clone(),
            version: key.version,
            expires: key.expires,
            sealed: key.sealed.clone().zip(opener.map(Rc::clone)),
            opened: OnceCell::new(),
        });
        Some(Rc::new(OwnKeys { keys: keys.collect(), house_key: tenant.house_key }))
    }

    /// Whether one of them was not handed over.
    pub(crate) fn lacks_some(&self) -> bool {
        self.keys.iter().any(|key| key.sealed.is_none())
    }

    /// The key of `tenant`, whose keys these are, at a provider.
    pub(crate) fn at(&self, tenant: &str, provider: &str, now: Timestamp) -> Result<&str, KeyFault> {
        let key = self.keys.iter().find(|key| *key.provider == *provider).ok_or(KeyFault::Missing)?;
        if key.expires.is_some_and(|expires| now >= expires) {
            return Err(KeyFault::Expired);
        }
        key.secret(tenant).ok_or(KeyFault::Unavailable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;
    use weir_key_delivery::{Recipient, Sender};

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
    const SECRET: &str = "sk-proj-0123456789abcdef";

    fn tenant(keys: &str) -> Tenant {
        serde_json::from_str(&format!(r#"{{"id":"acme","plan":"p","provider_keys":[{keys}]}}"#)).expect("a tenant")
    }

    fn delivered(provider: &str, more: &str) -> (Tenant, PageOpener) {
        let mut recipient = Recipient::new([7; 32]);
        let mut sender = Sender::new([9; 32], &recipient.ask()).expect("a call");
        let label = Label { tenant: "acme", provider, version: 1 };
        let sealed = sender.seal(label, SECRET).expect("sealed");
        let keys = format!(r#"{{"provider":"openai","version":1,"sealed_bytes":64,"sealed":"{sealed}"{more}}}"#);
        let opener = recipient.opener(&sender.public()).expect("a key");
        (tenant(&keys), Rc::new(RefCell::new(opener)))
    }

    fn at(tenant: &Tenant, opener: Option<&PageOpener>) -> Result<String, KeyFault> {
        OwnKeys::of(tenant, opener).expect("it has some").at("acme", "openai", NOW).map(str::to_owned)
    }

    #[test]
    fn a_delivered_key_serves_its_provider_only() {
        let (tenant, opener) = delivered("openai", "");
        let keys = OwnKeys::of(&tenant, Some(&opener)).expect("it has some");
        assert_eq!(keys.at("acme", "openai", NOW), Ok(SECRET));
        assert_eq!(keys.at("acme", "groq", NOW), Err(KeyFault::Missing));
        assert_eq!(keys.at("acme", "openai", NOW), Ok(SECRET), "and is opened once");
        assert!(!keys.lacks_some() && !format!("{keys:?}").contains("0123456789"));
    }

    #[test]
    fn a_key_that_was_sealed_as_another_ones_is_unavailable() {
        let (tenant, opener) = delivered("groq", "");
        assert_eq!(at(&tenant, Some(&opener)), Err(KeyFault::Unavailable));
    }

    #[test]
    fn a_key_that_was_not_handed_over_is_unavailable_and_no_missing_one() {
        let tenant = tenant(r#"{"provider":"openai","version":1,"sealed_bytes":64}"#);
        assert_eq!(at(&tenant, None), Err(KeyFault::Unavailable));
        assert!(OwnKeys::of(&tenant, None).is_some_and(|keys| keys.lacks_some()));
    }

    #[test]
    fn a_key_ends_when_it_expires() {
        let (tenant, opener) = delivered("openai", &format!(r#","expires":"{NOW}""#));
        assert_eq!(at(&tenant, Some(&opener)), Err(KeyFault::Expired));
    }

    #[test]
    fn a_tenant_without_keys_needs_no_note() {
        assert_eq!(OwnKeys::of(&tenant(""), None), None);
    }
}

//! Tenants' own keys at providers: opened as a delivery arrives, and chosen for a request.
//!
//! A key is in the memory of this VM only. Nothing here is ever written into a log, an event, a metric or an answer.
use std::rc::Rc;

use weir_contract::Timestamp;
use weir_contract::directory::Tenant;
use weir_contract::vault::{PROVIDER_KEYS_MAX, is_secret};
use weir_key_delivery::{Label, Opener};
use zeroize::Zeroizing;

/// A tenant's own keys, and what holds where one is missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnKeys {
    keys: Vec<OwnKey>,
    /// Whether the operator's key serves the tenant where its own is missing or cannot be used.
    pub house_key: bool,
}

/// A tenant's key at one provider.
#[derive(Clone, PartialEq, Eq)]
struct OwnKey {
    provider: Box<str>,
    expires: Option<Timestamp>,
    /// None where it was not handed over, or does not open.
    secret: Option<Zeroizing<String>>,
}

impl std::fmt::Debug for OwnKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OwnKey").field("provider", &self.provider).finish_non_exhaustive()
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
    /// The keys of a tenant as it arrives; None where it has none and needs no note of that.
    pub(crate) fn of(tenant: &Tenant, opener: Option<&mut Opener>) -> Option<Rc<Self>> {
        if tenant.provider_keys.is_empty() && !tenant.house_key {
            return None;
        }
        let mut opener = opener;
        let mut open = |key: &weir_contract::vault::ProviderKey| {
            let label = Label { tenant: tenant.id.as_str(), provider: &key.provider, version: key.version };
            let opened = opener.as_mut()?.open(label, key.sealed.as_deref()?)?;
            Some(opened).filter(|secret| is_secret(secret))
        };
        let keys = tenant.provider_keys.iter().take(PROVIDER_KEYS_MAX);
        let keys = keys.map(|key| OwnKey { provider: key.provider.clone(), expires: key.expires, secret: open(key) });
        Some(Rc::new(OwnKeys { keys: keys.collect(), house_key: tenant.house_key }))
    }

    /// Whether one of them was not handed over.
    pub(crate) fn lacks_some(&self) -> bool {
        self.keys.iter().any(|key| key.secret.is_none())
    }

    /// The key at a provider.
    pub(crate) fn at(&self, provider: &str, now: Timestamp) -> Result<&str, KeyFault> {
        let key = self.keys.iter().find(|key| *key.provider == *provider).ok_or(KeyFault::Missing)?;
        if key.expires.is_some_and(|expires| now >= expires) {
            return Err(KeyFault::Expired);
        }
        key.secret.as_ref().map(|secret| secret.as_str()).ok_or(KeyFault::Unavailable)
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

    fn delivered(provider: &str, more: &str) -> (Tenant, Opener) {
        let mut recipient = Recipient::new([7; 32]);
        let mut sender = Sender::new([9; 32], &recipient.ask()).expect("a call");
        let label = Label { tenant: "acme", provider, version: 1 };
        let sealed = sender.seal(label, SECRET).expect("sealed");
        let keys = format!(r#"{{"provider":"openai","version":1,"sealed_bytes":64,"sealed":"{sealed}"{more}}}"#);
        (tenant(&keys), recipient.opener(&sender.public()).expect("a key"))
    }

    fn at(tenant: &Tenant, opener: Option<&mut Opener>) -> Result<String, KeyFault> {
        OwnKeys::of(tenant, opener).expect("it has some").at("openai", NOW).map(str::to_owned)
    }

    #[test]
    fn a_delivered_key_serves_its_provider_only() {
        let (tenant, mut opener) = delivered("openai", "");
        let keys = OwnKeys::of(&tenant, Some(&mut opener)).expect("it has some");
        assert_eq!(keys.at("openai", NOW), Ok(SECRET));
        assert_eq!(keys.at("groq", NOW), Err(KeyFault::Missing));
        assert!(!keys.lacks_some() && !format!("{keys:?}").contains("0123456789"));
    }

    #[test]
    fn a_key_that_was_sealed_as_another_ones_is_unavailable() {
        let (tenant, mut opener) = delivered("groq", "");
        assert_eq!(at(&tenant, Some(&mut opener)), Err(KeyFault::Unavailable));
    }

    #[test]
    fn a_key_that_was_not_handed_over_is_unavailable_and_no_missing_one() {
        let tenant = tenant(r#"{"provider":"openai","version":1,"sealed_bytes":64}"#);
        assert_eq!(at(&tenant, None), Err(KeyFault::Unavailable));
        assert!(OwnKeys::of(&tenant, None).is_some_and(|keys| keys.lacks_some()));
    }

    #[test]
    fn a_key_ends_when_it_expires() {
        let (tenant, mut opener) = delivered("openai", &format!(r#","expires":"{NOW}""#));
        assert_eq!(at(&tenant, Some(&mut opener)), Err(KeyFault::Expired));
    }

    #[test]
    fn a_tenant_without_keys_needs_no_note() {
        assert_eq!(OwnKeys::of(&tenant(""), None), None);
    }
}

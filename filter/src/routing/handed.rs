//! Tenants' own keys for requests that are under way, from the downstream role to the upstream role.
//!
//! Both roles run in one VM. What they tell each other through the gateway's state of the stream names the keys only, by a number that
//! nobody can guess: the keys themselves stay in the VM's memory, and go when the request ends. An attempt that does not find them
//! here fails: it never goes up with the operator's key instead.
use std::rc::{Rc, Weak};

use zeroize::Zeroizing;

use super::Catalogue;
use crate::hash::{Keyed, Map};
use crate::vault::rule::OwnKeyRule;

/// The most requests under way in a worker that have keys of their own. A further one is refused.
pub(crate) const REQUESTS_MAX: usize = 65_536;

/// How many entries there are at least before those of requests that have ended are taken out.
const SWEEP_AT: usize = 64;

/// A key for one provider.
#[derive(Debug)]
pub(crate) struct HandedKey {
    /// The provider, by its name in the catalogue.
    pub(crate) provider: Rc<str>,
    /// The header that takes it.
    pub(crate) header: &'static str,
    /// Its value.
    pub(crate) value: Secret,
}

/// A header's value that is never shown.
pub(crate) struct Secret(Zeroizing<String>);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

impl Secret {
    pub(crate) fn new(value: String) -> Self {
        Secret(Zeroizing::new(value))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// The keys of one request. The table forgets them once the request does.
pub(crate) type RequestKeys = Rc<[HandedKey]>;

/// The keys of all requests under way in a worker.
#[derive(Debug)]
pub struct Handed {
    keyed: Keyed,
    count: u64,
    keys: Map<u64, Weak<[HandedKey]>>,
    sweep_at: usize,
}

impl Handed {
    /// None yet. `keyed` makes the numbers, so that those of a VM before this one find nothing.
    pub(crate) fn new(keyed: Keyed) -> Self {
        Handed { keyed, count: 0, keys: keyed.map(), sweep_at: SWEEP_AT }
    }

    /// Keeps keys for as long as the request has them. Returns their number; None: there are too many.
    pub(crate) fn keep(&mut self, keys: &RequestKeys) -> Option<u64> {
        if self.keys.len() >= self.sweep_at {
            self.keys.retain(|_, keys| keys.strong_count() > 0);
            self.sweep_at = self.keys.len().saturating_mul(2).clamp(SWEEP_AT, REQUESTS_MAX);
        }
        if self.keys.len() >= REQUESTS_MAX {
            return None;
        }
        self.count = self.count.wrapping_add(1);
        let number = self.keyed.of(&[b"own keys", &self.count.to_le_bytes()[..]].concat());
        self.keys.insert(number, Rc::downgrade(keys));
        Some(number)
    }

    /// The keys under a number.
    pub(crate) fn get(&self, number: u64) -> Option<RequestKeys> {
        self.keys.get(&number)?.upgrade()
    }
}

impl Catalogue {
    /// Whether a provider takes tenants' own keys.
    pub(crate) fn uses_own_keys(&self) -> bool {
        self.providers.iter().any(|provider| provider.own_key.is_some())
    }

    /// The providers that take tenants' own keys: the bit and name of each, and what it does with them.
    pub(crate) fn own_keys(&self) -> impl Iterator<Item = (u32, &str, &Rc<OwnKeyRule>)> {
        let bits = (0_u32..).map(|at| 1_u32.checked_shl(at).unwrap_or(0));
        let places = self.providers.iter().zip(bits);
        places.filter_map(|(provider, bit)| Some((bit, &*provider.name, provider.own_key.as_ref()?)))
    }

    /// What the provider of a model does with tenants' own keys.
    pub(crate) fn own_key_of(&self, model: &str) -> Option<&Rc<OwnKeyRule>> {
        self.providers.get(self.provider_at(model)?)?.own_key.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn keys(secret: &str) -> RequestKeys {
        let value = Secret::new(secret.to_owned());
        Rc::from([HandedKey { provider: "one".into(), header: "authorization", value }])
    }

    fn handed() -> Handed {
        Handed::new(Keyed::new([7; 16]))
    }

    #[test]
    fn a_table_that_was_nearly_full_has_room_again() {
        let mut handed = handed();
        let living: Vec<RequestKeys> = (0..40_000).map(|_| keys("sk")).collect();
        assert!(living.iter().all(|keys| handed.keep(keys).is_some()));
        drop(living);
        assert!(
            (0..2 * REQUESTS_MAX).all(|_| handed.keep(&keys("sk")).is_some()),
            "requests that have ended are taken out"
        );
    }

    #[test]
    fn keys_are_there_while_their_request_is_and_no_longer() {
        let mut handed = handed();
        let first = keys("sk-first");
        let (known, gone) = (handed.keep(&first).expect("room"), handed.keep(&keys("sk-second")).expect("room"));
        assert_eq!(handed.get(known).expect("keys")[0].value.as_str(), "sk-first");
        assert!(handed.get(gone).is_none(), "its request has ended");
        drop(first);
        assert!(handed.get(known).is_none());
    }

    #[test]
    fn numbers_of_another_vm_find_nothing() {
        let (mut handed, mut next) = (handed(), Handed::new(Keyed::new([8; 16])));
        let all = keys("sk");
        let before = handed.keep(&all).expect("room");
        next.keep(&all);
        assert!(next.get(before).is_none());
    }

    #[test]
    fn requests_that_have_ended_take_no_room() {
        let mut handed = handed();
        let lasting: Vec<RequestKeys> = (0..100).map(|_| keys("sk")).collect();
        assert!(lasting.iter().all(|keys| handed.keep(keys).is_some()));
        for _ in 0..10_000 {
            assert!(handed.keep(&keys("sk")).is_some());
        }
        assert!(handed.keys.len() <= 2 * lasting.len() + SWEEP_AT, "{}", handed.keys.len());
    }

    #[test]
    fn beyond_the_bound_no_request_is_taken_on() {
        let mut handed = handed();
        let all = keys("a-secret");
        assert!((0..REQUESTS_MAX).all(|_| handed.keep(&all).is_some()));
        assert!(handed.keep(&all).is_none());
        assert!(!format!("{all:?}").contains("a-secret"));
    }
}

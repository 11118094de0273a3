//! Which of tenants' own accounts at providers are to be left alone, since their limit is used up.
//!
//! A provider that says so by 429 with `Retry-After` is passed by until then for requests of this tenant alone, and is no less good for the
//! operator's account and for other tenants'. Each worker of the gateway learns that for itself: an account that another worker has found
//! at its limit costs one more attempt. Without `Retry-After`, and where a key is refused, nothing is remembered.
use weir_contract::Timestamp;

use super::breaker::RETRY_AFTER_MAX_SECS;
use super::told::Attempted;
use crate::hash::Keyed;

/// How many accounts are remembered. A further one takes the place of another, which is then tried again.
const ACCOUNTS_MAX: usize = 1024;

/// Tenants' own accounts that have asked for patience.
#[derive(Debug)]
pub struct OwnAccounts {
    keyed: Keyed,
    /// By the hash of tenant and provider: that hash, and until when.
    waits: Vec<Option<(u64, Timestamp)>>,
}

impl OwnAccounts {
    pub(crate) fn new(keyed: Keyed) -> Self {
        OwnAccounts { keyed, waits: Vec::new() }
    }

    /// Whether the tenant's account at a provider is to be left alone.
    pub(crate) fn waits(&self, tenant: &str, provider: &str, now: Timestamp) -> bool {
        if self.waits.is_empty() {
            return false;
        }
        let key = self.key(tenant, provider);
        self.waits.get(place(key)).copied().flatten().is_some_and(|(found, until)| found == key && now < until)
    }

    /// Takes in how an attempt with the tenant's own key went.
    pub(crate) fn learn(&mut self, tenant: &str, attempt: &Attempted<'_>, now: Timestamp) {
        let wait_secs = attempt.retry_after_secs.filter(|_| attempt.is_about_account() && attempt.is_failure());
        if wait_secs.is_none() && self.waits.is_empty() {
            return;
        }
        let key = self.key(tenant, attempt.provider);
        if self.waits.is_empty() {
            self.waits.resize(ACCOUNTS_MAX, None);
        }
        let Some(place) = self.waits.get_mut(place(key)) else { return };
        match wait_secs {
            Some(secs) => {
                let until = now.plus_millis(secs.min(RETRY_AFTER_MAX_SECS).saturating_mul(1000));
                *place = Some((key, until));
            }
            // It has answered: the wait is over.
            None if !attempt.is_failure() => *place = place.filter(|(found, _)| *found != key),
            None => {}
        }
    }

    fn key(&self, tenant: &str, provider: &str) -> u64 {
        self.keyed.of(&[tenant.as_bytes(), b"\0", provider.as_bytes()].concat())
    }
}

const fn place(key: u64) -> usize {
    (key % ACCOUNTS_MAX as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn attempt(status: u16, retry_after_secs: Option<u64>) -> Attempted<'static> {
        Attempted { provider: "one", model: "a", status: Some(status), retry_after_secs, failure: None }
    }

    #[test]
    fn an_account_is_left_alone_for_as_long_as_it_says_and_no_other_is() {
        let mut accounts = OwnAccounts::new(Keyed::new([1; 16]));
        for (status, secs) in [(429, None), (503, Some(30)), (401, Some(30)), (200, None)] {
            accounts.learn("acme", &attempt(status, secs), NOW);
            assert!(!accounts.waits("acme", "one", NOW), "{status}");
        }
        accounts.learn("acme", &attempt(429, Some(30)), NOW);
        assert!(accounts.waits("acme", "one", NOW.plus_millis(29_999)));
        assert!(!accounts.waits("acme", "one", NOW.plus_millis(30_000)));
        assert!(!accounts.waits("acme", "two", NOW) && !accounts.waits("globex", "one", NOW));
        accounts.learn("acme", &attempt(503, None), NOW);
        assert!(accounts.waits("acme", "one", NOW), "that says nothing of the account");
        accounts.learn("acme", &attempt(200, None), NOW);
        assert!(!accounts.waits("acme", "one", NOW), "it has answered");
        accounts.learn("acme", &attempt(429, Some(u64::MAX)), NOW);
        assert!(!accounts.waits("acme", "one", NOW.plus_millis(RETRY_AFTER_MAX_SECS * 1000)));
    }

    #[test]
    fn more_accounts_than_are_remembered_are_tried_again() {
        let mut accounts = OwnAccounts::new(Keyed::new([1; 16]));
        let tenants: Vec<String> = (0..8 * ACCOUNTS_MAX).map(|at| format!("t{at}")).collect();
        tenants.iter().for_each(|tenant| accounts.learn(tenant, &attempt(429, Some(30)), NOW));
        let waiting = tenants.iter().filter(|tenant| accounts.waits(tenant, "one", NOW)).count();
        assert!((ACCOUNTS_MAX / 2..=ACCOUNTS_MAX).contains(&waiting), "{waiting}");
    }
}

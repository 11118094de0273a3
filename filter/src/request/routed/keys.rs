//! Tenants' own keys at providers of the catalogue: where one is missing the provider's models drop out; the others go to the upstream
//! role by the number under which this worker keeps them.
use std::rc::Rc;

use weir_contract::Timestamp;

use super::super::admitted::Admitted;
use super::super::paid::{KnownKeys, Paid};
use super::SERVED;
use crate::head::{Pair, is};
use crate::refusal::Refusal;
use crate::routing::handed::{Handed, HandedKey, RequestKeys, Secret};
use crate::routing::told;
use crate::routing::{Catalogue, Chosen, Misfit, OwnAccounts};
use crate::vault::KeyFault;
use crate::vault::rule::OwnKeyRule;
use crate::worker::FilterState;

/// Providers by how a tenant's own keys stand there, a bit each.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct OwnStanding {
    /// No key serves the tenant.
    pub(super) keyless: u32,
    /// Its own does.
    pub(super) own: u32,
    /// Of these: its account there is to be left alone for a while.
    pub(super) waiting: u32,
}

impl Admitted {
    /// Looks up the tenant's own keys, where a provider of the catalogue takes them.
    pub(in crate::request) fn read_own_keys(&mut self, state: &FilterState, now: Timestamp) {
        if !self.policy.catalogue().is_some_and(|catalogue| catalogue.uses_own_keys()) {
            return;
        }
        let tenants = state.fetched_tenants(now);
        let tenant = tenants.and_then(|tenants| tenants.tenant(self.identity.tenant.as_str()));
        let keys = tenant.and_then(|tenant| tenant.own_keys.cloned());
        self.known_keys = Some(Box::new(KnownKeys { is_fetched: tenants.is_some(), keys }));
    }

    /// The key of a request for a provider with this rule; None: the operator's serves it.
    fn key_at(&self, rule: &OwnKeyRule, now: Timestamp) -> Result<Option<&str>, KeyFault> {
        let known = self.known_keys.as_ref().filter(|known| known.is_fetched).ok_or(KeyFault::Unavailable)?;
        rule.key(self.identity.tenant.as_str(), known.keys.as_ref(), now)
    }

    /// How the tenant's own keys stand at the providers of the catalogue.
    pub(super) fn own_standing(&self, catalogue: &Catalogue, accounts: &OwnAccounts, now: Timestamp) -> OwnStanding {
        let mut standing = OwnStanding::default();
        if self.known_keys.is_none() {
            return standing;
        }
        for (bit, provider, rule) in catalogue.own_keys() {
            match self.key_at(rule, now) {
                Ok(Some(_)) if accounts.waits(self.identity.tenant.as_str(), provider, now) => {
                    standing.own |= bit;
                    standing.waiting |= bit;
                }
                Ok(Some(_)) => standing.own |= bit,
                Ok(None) => {}
                Err(_) => standing.keyless |= bit,
            }
        }
        standing
    }

    /// Whether a request for a model goes up with the tenant's own key.
    pub(super) fn pays_for(&self, catalogue: &Catalogue, model: &str, now: Timestamp) -> bool {
        let rule = self.known_keys.as_ref().and_then(|_| catalogue.own_key_of(model));
        rule.is_some_and(|rule| matches!(self.key_at(rule, now), Ok(Some(_))))
    }

    /// Keeps the keys for the chosen models. Where all of them take the tenant's own, it is the tenant who pays whatever happens.
    pub(super) fn take_keys(
        &mut self,
        catalogue: &Catalogue,
        chosen: &Chosen,
        handed: &mut Handed,
        now: Timestamp,
    ) -> Result<Option<Paid>, Refusal> {
        if self.known_keys.is_none() {
            return Ok(None);
        }
        let mut keys = Vec::new();
        for (model, rule) in chosen.models.iter().filter_map(|model| Some((model, catalogue.own_key_of(model)?))) {
            let Some((_, provider)) = catalogue.provider_of(model) else { continue };
            if let Some(key) = self.key_at(rule, now).map_err(Refusal::ProviderKey)? {
                let value = Secret::new(rule.header.value(key));
                keys.push(HandedKey { provider, header: rule.header.as_str(), value });
            }
        }
        if keys.is_empty() {
            return Ok(None);
        }
        let pays_all = keys.len() == chosen.models.len();
        self.own_key =
            chosen.models.first().filter(|_| pays_all).and_then(|model| catalogue.own_key_of(model).cloned());
        let keys: RequestKeys = keys.into();
        let number = handed.keep(&keys).ok_or(Refusal::ProviderKey(KeyFault::Unavailable))?;
        Ok(Some(Paid { keys, number }))
    }

    /// The refusal of a request that no candidate fits: where all lack a key of the tenant's own, that is why.
    pub(super) fn unserved(&self, catalogue: &Catalogue, dropped: &[(Rc<str>, Misfit)], now: Timestamp) -> Refusal {
        let fault = |model: &str| self.key_at(catalogue.own_key_of(model)?, now).err();
        match dropped.first() {
            Some((model, _)) if dropped.iter().all(|(_, misfit)| *misfit == Misfit::Key) => {
                fault(model).map_or(Refusal::NoModelFits, Refusal::ProviderKey)
            }
            _ => Refusal::NoModelFits,
        }
    }

    /// Notes whose key the last attempt had, where none has served: a client that has left may have its prompt charged all the same.
    /// `attempts`: the state of the stream.
    pub(in crate::request) fn note_last_payer(&mut self, attempts: Option<&[u8]>) {
        let Some(routed) = self.routed.as_ref().filter(|routed| routed.paid.is_some() && routed.served.is_none())
        else {
            return;
        };
        let text = attempts.and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default();
        let Some(last) = told::attempts(text).last() else { return };
        let pays = routed.paid.as_ref().is_some_and(|paid| paid.pays(last.provider));
        self.own_key = routed.catalogue.own_key_of(last.model).filter(|_| pays).cloned();
    }

    /// Notes whose key has served, by the answer's head.
    pub(in crate::request) fn note_payer(&mut self, pairs: &[Pair<'_>]) {
        let Some(routed) = self.routed.as_ref().filter(|routed| routed.paid.is_some()) else { return };
        let served = pairs.iter().find(|(name, _)| is(name, SERVED)).map(|(_, value)| *value);
        let mut words = served.and_then(|served| std::str::from_utf8(served).ok()).unwrap_or_default().split(';');
        let (Some(provider), Some(model)) = (words.next(), words.next()) else { return };
        let pays = routed.paid.as_ref().is_some_and(|paid| paid.pays(provider));
        self.own_key = routed.catalogue.own_key_of(model).filter(|_| pays).cloned();
    }
}

//! Requests that go up with the tenant's own key at a provider.
//!
//! The key goes into the provider's header of requests to the provider's clusters, and nowhere else. Where it does not serve, the
//! request is refused in every mode: it never goes up with the operator's key unless the tenant's record or the route says so.
use weir_config::tenant_key::KeyHeader;
use weir_contract::{SecurityKind, Timestamp};

use super::Edits;
use super::admitted::Admitted;
use super::keeper::Keeper;
use crate::head::Head;
use crate::refusal::Refusal;
use crate::vault::KeyFault;
use crate::vault::rule::OwnKeyRule;
use crate::worker::{FilterState, Worker};

/// Where Envoy's own route leads.
const CLUSTER: [&str; 2] = ["xds", "cluster_name"];
/// The service of Kong's own route.
const SERVICE: [&str; 2] = ["kong", "service_name"];
/// The host that a plugin of Kong, or `preserve_host`, has put in the place of the service's; empty where none has.
const OTHER_HOST: [&str; 2] = ["ngx", "upstream_host"];

/// Puts the tenant's own key into the head, if the route uses it.
pub(super) fn begin(
    admitted: &mut Admitted,
    head: &Head<'_>,
    edits: &mut Edits,
    state: &FilterState,
    now: Timestamp,
) -> Result<(), Refusal> {
    let Some(rule) = admitted.route.as_ref().and_then(|route| route.own_key.clone()) else { return Ok(()) };
    take_out_others(head, edits);
    if !leads_to(&rule, state) {
        return Err(Refusal::ProviderKey(KeyFault::Misrouted));
    }
    match put(&rule, admitted.identity.tenant.as_str(), edits, state, now)? {
        Payer::Tenant => {
            // A pool is the quota of the operator's account.
            admitted.beside.retain(|beside| !beside.is_of_pool());
            admitted.own_key = Some(rule);
            admitted.head_goes_first = state.is_kong();
        }
        Payer::House => {}
    }
    Ok(())
}

/// Whether the request is on its way to the rule's provider, as far as the gateway proves it.
fn leads_to(rule: &OwnKeyRule, state: &FilterState) -> bool {
    let property = state.identity.ports.property;
    if !state.is_kong() {
        return property(&CLUSTER).is_some_and(|cluster| rule.leads_to(&cluster));
    }
    property(&SERVICE).is_some_and(|service| rule.leads_to(&service))
        && property(&OTHER_HOST).is_some_and(|host| host.is_empty())
}

/// Whose key a request goes up with.
enum Payer {
    Tenant,
    House,
}

fn put(
    rule: &OwnKeyRule,
    tenant: &str,
    edits: &mut Edits,
    state: &FilterState,
    now: Timestamp,
) -> Result<Payer, Refusal> {
    // The tenants of the configuration do not say who has a key.
    let Some(tenants) = state.fetched_tenants(now) else { return Err(Refusal::ProviderKey(KeyFault::Unavailable)) };
    let own_keys = tenants.tenant(tenant).and_then(|tenant| tenant.own_keys);
    match rule.key(tenant, own_keys, now).map_err(Refusal::ProviderKey)? {
        Some(key) => {
            edits.set.push((rule.header.as_str(), rule.header.value(key).into()));
            Ok(Payer::Tenant)
        }
        None => Ok(Payer::House),
    }
}

/// Takes out every key that the client sends along: one of a second header might be the one that the provider reads.
fn take_out_others(head: &Head<'_>, edits: &mut Edits) {
    for name in KeyHeader::ALL.map(KeyHeader::as_str) {
        if head.value(name).is_some() && !edits.remove.iter().any(|known| **known == *name) {
            edits.remove.push(name.into());
        }
    }
}

impl Admitted {
    /// Has another answer stand in the place of the provider's 401 to the tenant's own key: the client's credential is good, and
    /// the provider's words may repeat a part of the key. True if it is such an answer.
    pub(super) fn hide_refusal_of_own_key(&mut self) -> bool {
        if self.own_key.is_none() || self.response.status != 401 {
            return false;
        }
        let refusal = Refusal::ProviderKey(KeyFault::Refused);
        let body = refusal.reply(self.api, &self.request_id).body.into_bytes();
        if !self.head_goes_first {
            self.response.status = refusal.status();
        }
        self.keeper = Some(Box::new(Keeper::Replace(refusal.status(), body)));
        self.own_key_refused = true;
        true
    }

    /// Reports a finding if the provider has refused the tenant's own key.
    pub(super) fn tell_own_key(&self, worker: &mut Worker, now: Timestamp) {
        let Some(rule) = self.own_key.as_ref().filter(|_| self.own_key_refused) else { return };
        self.find(worker, SecurityKind::RefusedProviderKey, rule.provider.as_str(), 1, &[], now);
    }
}

#[cfg(test)]
mod tests;

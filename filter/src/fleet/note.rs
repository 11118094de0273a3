//! A lease that a worker sees to.
use std::rc::Rc;

use weir_config::plans::Unreachable;
use weir_contract::lease::{Definition, Key, Owner, Report};
use weir_contract::{TenantId, Timestamp};

use crate::limit::account::Account;
use crate::limit::lease::renewal::Totals;
use crate::limit::{Bucket, Center, Demand};

/// What a report needs to know of a lease beside its totals.
#[derive(Debug)]
pub(super) struct Note {
    /// Whose record has the lease: the tenant's, or that of a pool.
    pub(super) tenant: Box<str>,
    /// The bucket among the tenant's buckets.
    pub(super) bucket_id: u64,
    pub(super) bucket: Bucket,
    pub(super) center: Rc<Center>,
    limit: Box<str>,
    account: Option<Rc<Account>>,
    part: Option<u64>,
    definition: Definition,
    share: bool,
    /// The largest draw since the last report.
    pub(super) largest: u64,
    /// When a request last asked.
    pub(super) at: Timestamp,
    /// When to look at the lease again.
    pub(super) next: Timestamp,
}

impl Note {
    pub(super) fn new(demand: &Demand<'_>, now: Timestamp) -> Self {
        let Demand { tenant, limit, charge, center } = *demand;
        Note {
            tenant: tenant.into(),
            bucket_id: charge.bucket_id,
            bucket: limit.bucket,
            center: Rc::clone(center),
            limit: limit.name.clone(),
            account: limit.account.clone(),
            part: limit.part(charge.bucket_id),
            definition: limit.definition(),
            share: limit.fleet == Some(Unreachable::Share),
            largest: charge.cost.max(1),
            at: now,
            next: now,
        }
    }

    /// A request has asked again, maybe under another configuration.
    pub(super) fn again(&mut self, demand: &Demand<'_>, now: Timestamp) {
        let largest = self.largest;
        let is_other = self.bucket != demand.limit.bucket || self.account != demand.limit.account;
        if is_other || !Rc::ptr_eq(&self.center, demand.center) {
            *self = Note::new(demand, now);
        }
        self.share = demand.limit.fleet == Some(Unreachable::Share);
        self.largest = largest.max(demand.charge.cost);
        (self.at, self.next) = (now, now);
    }

    /// The report of these totals; None for a name that the protocol does not have.
    pub(super) fn report(&self, totals: Totals) -> Option<Report> {
        let owner = match &self.account {
            Some(account) => account.owner.clone(),
            None => Owner::Tenant(TenantId::new(&self.tenant).ok()?),
        };
        let part = self.part.map(|part| format!("{part:016x}"));
        Some(Report {
            key: Key { owner, limit: self.limit.to_string(), part },
            definition: self.definition.clone(),
            tier: self.account.as_ref().and_then(|account| account.tier.clone()),
            lease: totals.number,
            epoch: totals.epoch,
            granted: totals.granted,
            spent: totals.spent,
            returned: totals.returned,
            want: totals.want,
            largest: totals.largest,
            share: self.share,
            heard_ms: totals.heard,
        })
    }
}

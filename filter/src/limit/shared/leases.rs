//! What renewals change in a tenant's record.
use weir_contract::Timestamp;

use super::{Pass, SharedBuckets};
use crate::limit::Fault;
use crate::limit::lease::Lease;
use crate::limit::lease::renewal::{Applied, Arrived, Step, Wanted};
use crate::store::Store;

/// The result of [`SharedBuckets::step_lease`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stepped {
    pub(crate) step: Step,
    /// Units of a lease that ended unspent; None where none ended.
    pub(crate) lapsed: Option<u64>,
}

impl<S: Store> SharedBuckets<'_, S> {
    /// Decides what to tell the center of a lease, and remembers it as told.
    pub(crate) fn step_lease(
        &mut self,
        tenant: &str,
        id: u64,
        wanted: &Wanted,
        now: Timestamp,
    ) -> Result<Stepped, Fault> {
        self.update(tenant, |mut record| {
            let Some(lease) = record.lease_or_new(id, now) else {
                return Pass::Done(Stepped { step: Step::Rest, lapsed: None });
            };
            let lapsed = lease.expire(now);
            let step = lease.step(wanted, now);
            let stepped = Stepped { step, lapsed };
            if lapsed.is_some() || matches!(step, Step::Report(_)) {
                Pass::Write(record, stepped)
            } else {
                Pass::Done(stepped)
            }
        })
    }

    /// Takes in what the center answered about a lease.
    pub(crate) fn apply_to_lease(
        &mut self,
        tenant: &str,
        id: u64,
        arrived: &Arrived<'_>,
        now: Timestamp,
    ) -> Result<Applied, Fault> {
        self.update(tenant, |mut record| match record.lease(id).map(|lease| lease.apply(arrived, now)) {
            None | Some(Applied::Ignored) => Pass::Done(Applied::Ignored),
            Some(applied) => Pass::Write(record, applied),
        })
    }

    /// What a lease holds; below 0, what is owed. 0 where there is none, or the store fails.
    pub fn lease_balance(&mut self, tenant: &str, id: u64) -> i64 {
        let balance = self.update(tenant, |mut record| Pass::Done(record.lease(id).map(|lease| lease.balance())));
        balance.ok().flatten().unwrap_or(0)
    }

    /// Changes a lease; `change` returns false where there is nothing to write.
    pub(crate) fn change_lease(
        &mut self,
        tenant: &str,
        id: u64,
        now: Timestamp,
        mut change: impl FnMut(&mut Lease) -> bool,
    ) -> Result<(), Fault> {
        self.update(tenant, |mut record| {
            let is_changed = record.lease_or_new(id, now).is_some_and(&mut change);
            if is_changed { Pass::Write(record, ()) } else { Pass::Done(()) }
        })
    }
}

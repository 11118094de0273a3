//! Counts refused requests by tenant and minute. One event per refusal would let a flood of refusals flood the
//! aggregator.
use std::collections::BTreeMap;

use weir_contract::{RefusedData, TenantId, Timestamp};

/// The most tenants that are counted by name in one minute; further ones are counted together, without a name.
pub const TENANTS_MAX: usize = 1_000;

const MINUTE_MS: u64 = 60_000;

/// The current minute.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    minute: Timestamp,
    tenants: BTreeMap<Option<TenantId>, BTreeMap<&'static str, u64>>,
}

/// One tenant's counts of a minute that is over.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Minute {
    /// Its start.
    pub start: Timestamp,
    /// The tenant; None if no credential proved one.
    pub tenant: Option<TenantId>,
    /// How many, and why.
    pub data: RefusedData,
}

impl Refusals {
    /// Counts one.
    pub(crate) fn count(&mut self, tenant: Option<&TenantId>, code: &'static str, now: Timestamp) {
        if self.tenants.is_empty() {
            self.minute = minute(now);
        }
        let mut tenant = tenant.cloned();
        if self.tenants.len() >= TENANTS_MAX && !self.tenants.contains_key(&tenant) {
            tenant = None;
        }
        *self.tenants.entry(tenant).or_default().entry(code).or_default() += 1;
    }

    /// The minute's sums once it is over. Refusals between its end and the next tick belong to it.
    pub(crate) fn close(&mut self, now: Timestamp) -> Vec<Minute> {
        if minute(now) == self.minute { Vec::new() } else { self.take() }
    }

    /// The sums so far, even if the minute is not over. Later refusals of that minute make another event.
    pub(crate) fn take(&mut self) -> Vec<Minute> {
        let start = self.minute;
        std::mem::take(&mut self.tenants)
            .into_iter()
            .map(|(tenant, counts)| {
                let counts = counts.into_iter().map(|(code, count)| (code.to_owned(), count)).collect();
                Minute { start, tenant, data: RefusedData { counts } }
            })
            .collect()
    }
}

/// The minute that a moment lies in, by its start.
pub(super) fn minute(now: Timestamp) -> Timestamp {
    Timestamp::from_millis(now.as_millis() - now.as_millis() % MINUTE_MS)
}

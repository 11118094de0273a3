//! A limit as people see it.
use serde::{Deserialize, Serialize};
use weir_contract::lease::Definition;

use super::Limit;

/// The state of one limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitView {
    /// Size and refill in force: the strictest that a live gateway has.
    pub definition: Definition,
    /// What is left of each tier; one without a name for a limit without tiers.
    pub tiers: Vec<TierView>,
    /// Who may spend how much.
    pub holders: Vec<HolderView>,
    /// Units set aside for gateways that cannot reach the center.
    pub set_aside: u64,
    /// Units that may be out since the center lost its memory.
    pub unknown: u64,
}

/// One tier of a limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TierView {
    /// Its name; empty for what no tier reserves.
    pub name: String,
    /// Its share.
    pub percent: u8,
    /// Whole units left of its own; below 0 is a debt.
    pub level: i64,
    /// Whole units that it can have now, with what others lend.
    pub available: u64,
}

/// One lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HolderView {
    /// The gateway process.
    pub gateway: String,
    /// The tier that it draws on; empty without tiers.
    pub tier: String,
    /// Units that it may still spend, as far as the center knows.
    pub holds: u64,
    /// Units that it was granted since the lease began.
    pub granted: u64,
    /// Whether it asks for each request instead.
    pub draws: bool,
    /// Milliseconds until the lease ends unless it is renewed.
    pub ends_in_ms: u64,
}

impl Limit {
    /// Its state at `now`.
    pub fn view(&mut self, now: u64) -> LimitView {
        self.advance(now);
        let tier = |index| {
            let (name, percent, level) = self.tiers.describe(index);
            let available = self.tiers.available(index, &self.size);
            TierView { name: name.to_owned(), percent, level, available }
        };
        let holder = |lease: &super::Lease| HolderView {
            gateway: lease.gateway.clone(),
            tier: self.tiers.describe(lease.tier).0.to_owned(),
            holds: lease.belief(),
            granted: lease.granted,
            draws: lease.wants && !lease.holds,
            ends_in_ms: lease.expires_ms.saturating_sub(self.at_ms),
        };
        LimitView {
            definition: self.size.definition.clone(),
            tiers: (0..self.tiers.len()).map(tier).collect(),
            holders: self.leases.iter().map(holder).collect(),
            set_aside: self.shares.iter().map(|share| share.bucket).sum(),
            unknown: self.unknown,
        }
    }
}

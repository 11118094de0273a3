//! Limits beside those of plans: a provider account's quota, which tenants share, and the hard budgets of a tenant.
use weir_contract::Timestamp;
use weir_contract::lease::{Owner, Tier};
use weir_contract::stage::Scope;

/// Whose a limit is that no plan has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    /// The fleet's name of the owner.
    pub(crate) owner: Owner,
    /// The tier that requests draw on; None for what no tier reserves.
    pub(crate) tier: Option<String>,
    /// The share of that tier, in percent.
    pub(crate) percent: u8,
    /// All tiers of the owner, as the fleet is told.
    pub(crate) tiers: Vec<Tier>,
    /// The period of a hard budget; None for a pool.
    pub(crate) term: Option<Term>,
}

/// One period of a hard budget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Term {
    /// The budget's name.
    pub(crate) budget: Box<str>,
    /// Of a cost.
    pub(crate) currency: Option<Box<str>>,
    /// The requests that it covers.
    pub(crate) scope: Scope,
    pub(crate) starts: Timestamp,
    /// None for a budget without periods.
    pub(crate) ends: Option<Timestamp>,
}

//! Limits that are not a tenant's alone: of a provider account whose quota tenants share.
use weir_contract::lease::{Owner, Tier};

use super::Limit;

/// Whose a limit is, where it is not the tenant's own.
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
}

/// Limits in a record of their own in the shared data, since the requests of several tenants draw from them.
#[derive(Debug, PartialEq)]
pub(crate) struct LimitSet {
    /// The record's name.
    pub(crate) record: Box<str>,
    pub(crate) limits: Vec<Limit>,
}

/// Stands in the name of a record that is not a tenant's: no tenant's id has it.
const MARK: char = '*';

/// The name of the record of a pool's tier.
pub(crate) fn pool_record(pool: &str, tier: &str) -> Box<str> {
    format!("pool{MARK}{pool}{MARK}{tier}").into()
}

/// Whether a record is a tenant's own.
pub fn is_of_tenant(record: &str) -> bool {
    !record.contains(MARK)
}

//! Limits beside those of plans, each kind in a record of its own in the shared data.
use std::rc::Rc;

use super::Limit;

/// Limits in a record of their own in the shared data. Clones share them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LimitSet {
    /// The record's name.
    pub(crate) record: Rc<str>,
    pub(crate) limits: Rc<[Limit]>,
}

/// Stands in the name of a record that is not a tenant's: no tenant's id has it.
const MARK: char = '*';

/// The name of the record of a pool's tier.
pub(crate) fn pool_record(pool: &str, tier: &str) -> Rc<str> {
    format!("pool{MARK}{pool}{MARK}{tier}").into()
}

/// The name of the record of a tenant's hard budgets. `salt`: of the server that grants their leases.
pub(crate) fn budget_record(tenant: &str, salt: u64) -> Rc<str> {
    format!("budget{MARK}{tenant}{MARK}{salt:x}").into()
}

/// Whether a record is that of a tenant's plan.
pub fn is_of_tenant(record: &str) -> bool {
    !record.contains(MARK)
}

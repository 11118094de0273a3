//! Hard budgets of tenants that come, or change their plans: gateways are told of them in the same version of the directory. Until the
//! next look of the ledger they would let everything pass.
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use weir_clock::Clock;
use weir_contract::TenantId;
use weir_contract::directory::Tenant;
use weir_contract::hard::HardBudget;
use weir_ledger::amount::Pico;
use weir_steer::engine::Rules;
use weir_steer::hard;
use weir_steer::raise::Raise;
use weir_tenants::{Arrivals, Arriving, Overlay};

use super::{App, BudgetsInForce};
use crate::budgets::OwnAmounts;

/// Tenants of which gateways were told as they came, and not yet as the ledger has them; at most as many as the directory has.
#[derive(Debug, Default)]
pub(super) struct Arrived {
    came: Mutex<HashMap<String, Came>>,
    /// The raises of which gateways are told.
    raises: RwLock<Vec<Raise>>,
}

/// A tenant as it came, or as it changed its plan.
#[derive(Debug)]
struct Came {
    plan: String,
    /// Its own amounts of budgets.
    own: BTreeMap<String, Pico>,
    /// What was laid over it before.
    before: Option<Arc<dyn Overlay>>,
}

impl Arrived {
    /// Takes the tenants that the rules of the ledger have as they came.
    pub(super) fn take(&self, rules: &Rules, own: &OwnAmounts) -> Vec<String> {
        let mut arrived = self.came.lock().unwrap_or_else(PoisonError::into_inner);
        let none = BTreeMap::new();
        let is_followed = |tenant: &String, came: &Came| {
            rules.plans.get(tenant) == Some(&came.plan) && *own.get(tenant).unwrap_or(&none) == came.own
        };
        let followed = arrived.iter().filter(|(tenant, came)| is_followed(tenant, came));
        let followed: Vec<String> = followed.map(|(tenant, _)| tenant.clone()).collect();
        followed.iter().for_each(|tenant| drop(arrived.remove(tenant)));
        followed
    }

    /// Whether gateways were told of a tenant as it came, and it was not taken.
    pub(super) fn has(&self, tenant: &TenantId) -> bool {
        self.came.lock().unwrap_or_else(PoisonError::into_inner).contains_key(tenant.as_str())
    }

    pub(super) fn know_raises(&self, raises: Vec<Raise>) {
        *self.raises.write().unwrap_or_else(PoisonError::into_inner) = raises;
    }
}

/// Tells of hard budgets with a tenant's coming.
#[derive(Debug)]
pub(super) struct HardAtArrival {
    budgets: Arc<BudgetsInForce>,
    clock: Arc<dyn Clock>,
}

impl HardAtArrival {
    pub(super) fn of(app: &App) -> Arc<Self> {
        Arc::new(HardAtArrival { budgets: Arc::clone(&app.0.budgets), clock: Arc::clone(&app.0.clock) })
    }
}

impl Arrivals for HardAtArrival {
    fn overlay(&self, entry: Arriving<'_>, laid: Option<&Arc<dyn Overlay>>) -> Option<Arc<dyn Overlay>> {
        let (arrived, id) = (&self.budgets.arrived, entry.id.as_str());
        let raises = arrived.raises.read().unwrap_or_else(PoisonError::into_inner);
        let budgets = self.budgets.configured();
        let hard = hard::of_arriving(&budgets, (id, entry.plan), entry.budgets, &raises, self.clock.now());
        if hard.is_empty() && laid.is_none() {
            return None;
        }
        let mut came = arrived.came.lock().unwrap_or_else(PoisonError::into_inner);
        // Of changes that follow each other fast, only the last one is laid over what was there.
        let before = match came.remove(id) {
            Some(came) => came.before,
            None => laid.cloned(),
        };
        let now = Came { plan: entry.plan.to_owned(), own: entry.budgets.clone(), before: before.clone() };
        came.insert(id.to_owned(), now);
        Some(Arc::new(OtherHardBudgets { before, hard }))
    }
}

/// What was laid over a tenant before, with other hard budgets.
#[derive(Debug)]
struct OtherHardBudgets {
    before: Option<Arc<dyn Overlay>>,
    hard: Vec<HardBudget>,
}

impl Overlay for OtherHardBudgets {
    fn lay_over(&self, tenant: &mut Tenant) {
        if let Some(before) = &self.before {
            before.lay_over(tenant);
        }
        tenant.hard_budgets.clone_from(&self.hard);
    }
}

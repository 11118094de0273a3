//! Hard budgets of a tenant: limits of the fleet that never refill, one for each period.
use std::rc::Rc;

use weir_contract::hard::{HARD_BUDGETS_MAX, HardBudget, HardMeasure};
use weir_contract::lease::{Owner, PERIOD_MAX_MS};
use weir_contract::{TenantId, Timestamp};

use super::account::{Account, Term};
use super::{Bucket, Limit, Unit, Unreachable};

/// Compiles the hard budgets of a tenant; those that no limit can be are left out, and so is what is beyond
/// [`HARD_BUDGETS_MAX`]: weir serve sends none of either.
pub(crate) fn compile(tenant: &TenantId, budgets: &[HardBudget]) -> Rc<[Limit]> {
    budgets.iter().take(HARD_BUDGETS_MAX).filter_map(|budget| limit(tenant, budget)).collect()
}

fn limit(tenant: &TenantId, budget: &HardBudget) -> Option<Limit> {
    let unit = match budget.of {
        HardMeasure::Requests => Unit::Requests,
        HardMeasure::Tokens => Unit::Tokens,
        HardMeasure::Cost => Unit::Cost,
    };
    let HardBudget { budget: name, currency, scope, starts, ends, .. } = budget;
    let account = Account {
        owner: Owner::Tenant(tenant.clone()),
        tier: None,
        percent: 100,
        tiers: Vec::new(),
        term: Some(Term {
            budget: name.clone(),
            currency: currency.clone(),
            scope: scope.clone(),
            starts: *starts,
            ends: *ends,
        }),
    };
    let length_ms = ends.map_or(PERIOD_MAX_MS, |ends| ends.millis_since(*starts)).clamp(1, PERIOD_MAX_MS);
    let bucket = Bucket::fixed(budget.amount, length_ms);
    // Nothing may be spent where weir serve does not answer: that is what makes it hard.
    let limit = Limit::of_account(&budget.limit(), unit, bucket, &Rc::new(account), Unreachable::Refuse);
    let fits = limit.definition().check().is_ok() && limit.key(tenant, limit.shared_bucket_id()).check().is_ok();
    fits.then_some(limit)
}

/// Whether a limit is the period of its budget that holds at `now`: the last one that has begun, else the first. `all`: the
/// tenant's.
pub(crate) fn is_current(limit: &Limit, all: &[Limit], now: Timestamp) -> bool {
    let Some(term) = limit.term() else { return true };
    let others =
        all.iter().filter_map(Limit::term).filter(|other| other.budget == term.budget && other.starts != term.starts);
    match term.starts <= now {
        true => !others.into_iter().any(|other| other.starts <= now && other.starts > term.starts),
        false => !others.into_iter().any(|other| other.starts < term.starts),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;
    use weir_contract::stage::Scope;

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    fn budget(starts: u64, ends: Option<u64>) -> HardBudget {
        HardBudget {
            budget: "daily".into(),
            of: HardMeasure::Tokens,
            amount: 5_000_000_000_000,
            currency: None,
            scope: Scope::Tenant,
            starts: at(starts),
            ends: ends.map(at),
        }
    }

    fn limits(budgets: &[HardBudget]) -> Rc<[Limit]> {
        compile(&TenantId::new("acme").expect("an id"), budgets)
    }

    #[test]
    fn the_period_that_holds_is_the_last_that_has_begun() {
        let all = limits(&[budget(100, Some(200)), budget(200, Some(300))]);
        let holds = |now| all.iter().map(|limit| is_current(limit, &all, at(now))).collect::<Vec<_>>();
        assert_eq!(holds(150), [true, false]);
        assert_eq!(holds(200), [false, true]);
        assert_eq!(holds(900), [false, true], "it is over, and nothing follows it");
        assert_eq!(holds(50), [true, false], "this gateway's clock is behind");
    }

    #[test]
    fn a_budget_never_refills_and_may_be_larger_than_any_rate() {
        let all = limits(&[budget(0, None), HardBudget { amount: 0, ..budget(0, None) }]);
        assert_eq!(all.len(), 1, "an amount of 0 is no limit");
        let definition = all[0].definition();
        assert_eq!((definition.capacity, definition.refill), (5_000_000_000_000, 0));
        assert_eq!(
            all[0].reserves_max(),
            weir_contract::lease::COUNT_MAX,
            "a request that is too large is refused, not admitted"
        );
        assert_eq!(definition.check(), Ok(()));
    }
}

//! Hard budgets, as the directory tells a gateway: not a single request begins beyond the amount.
//!
//! A hard budget is a limit of the whole fleet that never refills ([`crate::lease`]), with its period in the key. A tenant of the
//! directory carries every hard budget that it has, for the current period and the next one, so that a gateway needs nobody when
//! a period ends.
//!
//! # Constraints
//!
//! - Periods of one budget are told in their order. A gateway draws on the last one that has begun by its clock, or on the
//!   first where none has; if that one is over, it refuses the request, since nobody knows what is left.
//! - The amount may change within a period (a raise): what has been used stays used.
//! - A gateway of an earlier version refuses a page with a field that it does not know. So a gateway that reads hard budgets says
//!   so ([`crate::stage::KNOWS_HEADER`], [`KNOWS_HARD_BUDGETS`]), and a server leaves the field out for any other.
use serde::{Deserialize, Serialize};

use crate::stage::Scope;
use crate::time::Timestamp;

/// The most hard budgets of one tenant, each period counted.
pub const HARD_BUDGETS_MAX: usize = 16;
/// The word in [`crate::stage::KNOWS_HEADER`] that asks for hard budgets.
pub const KNOWS_HARD_BUDGETS: &str = "hard_budgets";
/// What the name of a budget's limit begins with: no limit of a plan has a slash.
const LIMIT_PREFIX: &str = "budget/";

/// What a hard budget counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum HardMeasure {
    /// LLM tokens, input and output.
    Tokens,
    /// Requests.
    Requests,
    /// Cost, in millionths of the budget's currency.
    Cost,
}

/// One period of a hard budget of a tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct HardBudget {
    /// The budget's name: 1 to 40 of `a-z 0-9 . _ -`.
    pub budget: Box<str>,
    /// What it counts.
    pub of: HardMeasure,
    /// How many units the period has.
    pub amount: u64,
    /// Of a cost, its currency by ISO 4217.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<Box<str>>,
    /// The requests that it covers.
    #[serde(default, skip_serializing_if = "Scope::is_whole")]
    pub scope: Scope,
    /// The first moment of the period.
    pub starts: Timestamp,
    /// The first moment after it; absent for a budget without periods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends: Option<Timestamp>,
}

impl HardBudget {
    /// The name of its limit in the whole fleet: with the period, so that nothing is ever reset.
    pub fn limit(&self) -> String {
        format!("{LIMIT_PREFIX}{}/{}", self.budget, self.starts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const DAILY: &str = r#"{"budget":"daily","of":"tokens","amount":5000,"starts":"2026-11-28T00:00:00.000Z","ends":"2026-11-29T00:00:00.000Z"}"#;

    #[test]
    fn a_hard_budget_is_read_as_it_is_written_and_names_its_period() {
        let daily: HardBudget = serde_json::from_str(DAILY).expect("a budget");
        assert_eq!(serde_json::to_string(&daily).expect("json"), DAILY);
        assert_eq!(daily.limit(), "budget/daily/2026-11-28T00:00:00.000Z");
        let key = crate::lease::Key {
            owner: crate::lease::Owner::Pool("p".into()),
            limit: HardBudget { budget: "b".repeat(40).into(), ..daily }.limit(),
            part: None,
        };
        assert_eq!(key.check(), Ok(()), "the longest name fits");
    }
}

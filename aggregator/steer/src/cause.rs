//! Why stages and amounts of budgets change: what history and audit say beside each change.
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use weir_contract::Timestamp;

use crate::budget::Budget;
use crate::counters::Counter;
use crate::raise::Raise;
use weir_ledger::amount::Pico;

/// Why a stage or an amount has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Usage was counted.
    #[default]
    Usage,
    /// The period of the budget ended.
    PeriodEnded,
    /// A person raised or paused the budget, or took that back.
    Person,
    /// The date of a raise or of a pause is over.
    RaiseEnded,
    /// The configuration, the tenant's plan or its billing period has changed.
    Rules,
    /// Costs were computed again.
    Prices,
    /// Usage without a price was counted, or with one in another currency.
    Unpriced,
    /// What was used was counted again from the ledger's sums, after a crash or after a command had counted events.
    Recount,
}

impl Cause {
    /// Every cause.
    const ALL: [Cause; 8] = [
        Cause::Usage,
        Cause::PeriodEnded,
        Cause::Person,
        Cause::RaiseEnded,
        Cause::Rules,
        Cause::Prices,
        Cause::Unpriced,
        Cause::Recount,
    ];

    /// The name in tables and answers.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Cause::Usage => "usage",
            Cause::PeriodEnded => "period_ended",
            Cause::Person => "person",
            Cause::RaiseEnded => "raise_ended",
            Cause::Rules => "rules",
            Cause::Prices => "prices",
            Cause::Unpriced => "unpriced",
            Cause::Recount => "recount",
        }
    }

    /// The cause of that name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Cause::ALL.into_iter().find(|cause| cause.as_str() == name)
    }

    /// As people read it.
    pub const fn words(self) -> &'static str {
        match self {
            Cause::Usage => "usage was counted",
            Cause::PeriodEnded => "the period ended",
            Cause::Person => "a person changed the amount",
            Cause::RaiseEnded => "the date of a raise or pause is over",
            Cause::Rules => "the configuration, the plan or the billing period changed",
            Cause::Prices => "costs were computed again",
            Cause::Unpriced => "usage without a price was counted",
            Cause::Recount => "usage was counted again from the sums",
        }
    }
}

/// A cause, and what there is to say about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reason {
    pub(crate) cause: Cause,
    /// Who decided it and why, where a person is behind it; else empty.
    pub(crate) why: String,
}

impl Reason {
    /// A cause that needs no more words.
    pub(crate) fn of(cause: Cause) -> Self {
        Reason { cause, why: String::new() }
    }

    /// Says why a budget of cost has left its first stage, where its used amount would not.
    pub(crate) fn beside(self, budget: &Budget, counter: &Counter, amount: Pico) -> Self {
        let Counter { used, unpriced, .. } = *counter;
        if self.cause != Cause::Usage || budget.stage(used, amount) == budget.stage_lacking(used, amount, unpriced) {
            return self;
        }
        let why = format!("{unpriced} requests have no price in {}, and the used amount lacks them", budget.unit());
        Reason { cause: Cause::Unpriced, why }
    }

    /// A raise has begun, or taken the place of another.
    pub(crate) fn begun(raise: &Raise) -> Self {
        Reason { cause: Cause::Person, why: raise.words() }
    }

    /// A raise holds no longer at `now`: its date is over, or a person has taken it back.
    pub(crate) fn over(raise: &Raise, now: Timestamp) -> Self {
        let cause = if raise.until <= now { Cause::RaiseEnded } else { Cause::Person };
        let how = if cause == Cause::Person { "taken back: " } else { "over: " };
        Reason { cause, why: format!("{how}{}", raise.words()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_is_read_by_its_name() {
        assert!(Cause::ALL.into_iter().all(|cause| Cause::from_name(cause.as_str()) == Some(cause)));
        let named = |cause: &Cause| serde_json::to_value(cause).expect("JSON") == cause.as_str();
        assert!(Cause::ALL.iter().all(named), "the names in answers are those of the table");
    }
}

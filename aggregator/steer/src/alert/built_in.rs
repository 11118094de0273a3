//! The rules that every installation has.
use std::collections::BTreeMap;

use weir_contract::time::HOUR_MS;
use weir_ledger::amount::{PICO, Pico};
use weir_settings::duration::Millis;

use super::file::{ConditionFile, Quantity, RuleFile, Severity};

/// The rule that tells tenants of their own keys.
pub(crate) const OWN_KEY: &str = "own-key-failing";
const DAY_MS: u64 = 24 * HOUR_MS;

/// The built-in rules, in the order of the documentation.
pub(super) fn rules() -> Vec<RuleFile> {
    let mut rules = of_money();
    rules.extend(of_system());
    rules
}

fn of_money() -> Vec<RuleFile> {
    use Quantity::{
        BudgetForecastPercent, CostPerRequest, CostSharePercent, Margin, MarginPercent, Requests, SuccessPercent,
        UnpricedTokens,
    };
    let drift = |name: &str, by: &str| RuleFile {
        at_least_requests: 200,
        hold: minutes(10),
        action: action("look at what was deployed last: weir review, weir margin --by feature,prompt_version"),
        ..rule(name, Some(by), vec![rises(CostPerRequest, 50, 7 * DAY_MS)])
    };
    vec![
        RuleFile {
            window: Some(Millis(7 * DAY_MS)),
            at_least_requests: 100,
            hold: minutes(60),
            action: action("weir margin, and weir price compare for another plan"),
            ..rule("margin-low", Some("tenant"), vec![below(MarginPercent, 50)])
        },
        RuleFile {
            window: Some(Millis(7 * DAY_MS)),
            at_least_requests: 100,
            hold: minutes(60),
            severity: Severity::Critical,
            action: action("this tenant costs more than it pays: weir margin, weir budgets"),
            ..rule("margin-negative", Some("tenant"), vec![below(Margin, 0)])
        },
        drift("cost-drift-feature", "feature"),
        drift("cost-drift-prompt", "prompt_version"),
        RuleFile {
            window: Some(Millis(30 * DAY_MS)),
            at_least_values: 10,
            action: action("one tenant decides what you pay: weir margin"),
            ..rule("tenant-concentration", Some("tenant"), vec![above(CostSharePercent, 40)])
        },
        RuleFile {
            window: Some(Millis(HOUR_MS)),
            at_least_requests: 100,
            severity: Severity::Critical,
            action: action("a client may be retrying what fails: weir events list, weir usage --by outcome"),
            ..rule("failing-burst", Some("tenant"), vec![rises(Requests, 100, DAY_MS), below(SuccessPercent, 90)])
        },
        RuleFile {
            hold: minutes(60),
            action: action("weir budgets show, weir budgets raise"),
            ..rule("budget-forecast", None, vec![above(BudgetForecastPercent, 100)])
        },
        RuleFile {
            action: action("give the model a price: weir prices show MODEL, then weir reprice"),
            ..rule("unpriced-usage", Some("model"), vec![above(UnpricedTokens, 0)])
        },
    ]
}

fn of_system() -> Vec<RuleFile> {
    use Quantity::{CriticalFindings, Differences, HeldRows, MissingNumbers, OwnKeyFailures, SecondsWithoutEvents};
    vec![
        RuleFile {
            severity: Severity::Critical,
            action: action("weir status says which gateways are silent"),
            ..rule("usage-not-arriving", None, vec![above(SecondsWithoutEvents, 600)])
        },
        RuleFile {
            hold: minutes(10),
            action: action("weir ledger names them; weir replay brings back what an access log has"),
            ..rule("numbers-missing", None, vec![above(MissingNumbers, 0)])
        },
        RuleFile { action: action("weir stripe status"), ..rule("rows-held", None, vec![above(HeldRows, 0)]) },
        RuleFile {
            severity: Severity::Critical,
            action: action("weir reconcile"),
            ..rule("stripe-differs", None, vec![above(Differences, 0)])
        },
        RuleFile {
            severity: Severity::Critical,
            action: action("weir audit security says whose answers held what is others'"),
            ..rule("foreign-records", None, vec![above(CriticalFindings, 0)])
        },
        RuleFile {
            window: Some(Millis(HOUR_MS)),
            action: action(
                "the tenant's own key at a provider is missing, over or refused: weir byok list, weir audit security",
            ),
            ..rule(OWN_KEY, None, vec![above(OwnKeyFailures, 0)])
        },
    ]
}

fn rule(name: &str, by: Option<&str>, when: Vec<ConditionFile>) -> RuleFile {
    RuleFile {
        name: name.to_owned(),
        when,
        by: by.map(str::to_owned),
        tenant: None,
        only: None,
        window: None,
        at_least_requests: 0,
        at_least_values: 0,
        hold: None,
        severity: Severity::Warning,
        labels: BTreeMap::new(),
        action: None,
        currency: None,
    }
}

fn condition(measure: Quantity) -> ConditionFile {
    ConditionFile { measure, above: None, below: None, rises_by: None, falls_by: None, against: None }
}

fn above(measure: Quantity, limit: i128) -> ConditionFile {
    ConditionFile { above: Some(Pico(limit * PICO)), ..condition(measure) }
}

fn below(measure: Quantity, limit: i128) -> ConditionFile {
    ConditionFile { below: Some(Pico(limit * PICO)), ..condition(measure) }
}

fn rises(measure: Quantity, percent: i128, against_ms: u64) -> ConditionFile {
    ConditionFile { rises_by: Some(Pico(percent * PICO)), against: Some(Millis(against_ms)), ..condition(measure) }
}

fn minutes(minutes: u64) -> Option<Millis> {
    Some(Millis(minutes * 60_000))
}

fn action(text: &str) -> Option<String> {
    Some(text.to_owned())
}

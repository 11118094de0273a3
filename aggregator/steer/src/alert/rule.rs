//! Rules as they are compiled from the configuration, the built-in ones among them.
use std::collections::{BTreeMap, HashSet};

use weir_contract::TenantId;
use weir_contract::glob::Glob;
use weir_contract::stage::is_budget_name;
use weir_contract::time::HOUR_MS;
use weir_ledger::amount::{Currency, Pico};
use weir_settings::duration::Millis;

use super::file::{ConditionFile, Kind, Quantity, RuleFile, Severity};

/// The most rules: each is evaluated every time.
pub(crate) const RULES_MAX: usize = 100;
/// The most conditions of a rule.
const CONDITIONS_MAX: usize = 4;
/// The most labels of a rule.
const LABELS_MAX: usize = 10;
/// The longest action, in characters.
const ACTION_MAX_CHARS: usize = 500;
/// The longest window, in milliseconds.
pub(crate) const WINDOW_MAX_MS: u64 = 90 * 24 * HOUR_MS;
/// The window where a rule names none.
const WINDOW_MS: u64 = 24 * HOUR_MS;
/// The span to compare with where a condition names none.
const AGAINST_MS: u64 = 7 * 24 * HOUR_MS;
/// The longest `for`.
const HOLD_MAX_MS: u64 = 7 * 24 * HOUR_MS;
/// The values of `by`.
const BY: [&str; 8] = ["tenant", "plan", "feature", "prompt_version", "model", "class", "route", "credential"];

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its name.
    pub name: Box<str>,
    /// What its quantities are about.
    pub kind: Kind,
    /// The conditions; never empty.
    pub when: Vec<Condition>,
    /// What has an alert of its own; None: everything together.
    pub by: Option<Box<str>>,
    /// Only requests of this tenant.
    pub tenant: Option<Box<str>>,
    /// The window, in milliseconds.
    pub window_ms: u64,
    /// How long the conditions hold before it fires, in milliseconds.
    pub hold_ms: u64,
    /// How severe it is.
    pub severity: Severity,
    /// Labels of its messages.
    pub labels: BTreeMap<String, String>,
    /// What to do.
    pub action: Option<Box<str>>,
    /// Only amounts in this currency.
    pub currency: Option<Currency>,
    pub(crate) only: Option<Glob>,
    pub(crate) at_least_requests: u64,
    pub(crate) at_least_values: u64,
    /// Whether it is one of weir's own.
    pub built_in: bool,
}

/// A condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition {
    /// The quantity.
    pub measure: Quantity,
    /// How it is compared.
    pub compare: Compare,
}

/// How a quantity is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compare {
    /// It is greater than this.
    Above(Pico),
    /// It is smaller than this.
    Below(Pico),
    /// It exceeds that of an earlier span by more than so many percent.
    RisesBy(Pico, Earlier),
    /// It falls below that of an earlier span by more than so many percent.
    FallsBy(Pico, Earlier),
}

/// A span before the window, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Earlier(pub u64);

impl Condition {
    /// The earlier span that it compares with.
    pub fn earlier(&self) -> Option<Earlier> {
        match self.compare {
            Compare::RisesBy(_, earlier) | Compare::FallsBy(_, earlier) => Some(earlier),
            Compare::Above(_) | Compare::Below(_) => None,
        }
    }
}

/// Why rules cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("alerts.rules[{at}]: {problem}")]
pub struct RuleError {
    /// The place in the list.
    pub at: usize,
    /// The problem, and what would be valid.
    pub problem: String,
}

/// Checks and compiles rules, and adds the built-in ones that are neither replaced nor among `without`.
pub fn compile(files: &[RuleFile], without: &[String]) -> Result<Vec<Rule>, RuleError> {
    let mut names = HashSet::new();
    let mut rules = Vec::with_capacity(files.len());
    for (at, file) in files.iter().enumerate() {
        let wrong = |problem: String| RuleError { at, problem };
        if at >= RULES_MAX {
            return Err(wrong(format!("at most {RULES_MAX} rules")));
        }
        if !is_budget_name(&file.name) || !names.insert(file.name.as_str()) {
            return Err(wrong("name: 1 to 40 characters of a-z 0-9 . _ -, and another for each".to_owned()));
        }
        if file.name.starts_with(RESERVED_NAMES) {
            return Err(wrong(format!("name: {RESERVED_NAMES}… are names of weir's own alerts")));
        }
        rules.push(Rule::of(file, false).map_err(wrong)?);
    }
    for file in super::built_in::rules() {
        if names.contains(file.name.as_str()) || without.contains(&file.name) {
            continue;
        }
        let wrong = |problem: String| RuleError { at: files.len(), problem };
        rules.push(Rule::of(&file, true).map_err(wrong)?);
    }
    Ok(rules)
}

/// Whether weir has a rule of that name.
pub fn is_built_in(name: &str) -> bool {
    super::built_in::rules().iter().any(|rule| rule.name == name)
}

impl Rule {
    fn of(file: &RuleFile, built_in: bool) -> Result<Self, String> {
        let conditions = file.when.iter().map(Condition::of).collect::<Result<Vec<_>, _>>()?;
        let Some(first) = conditions.first().filter(|_| conditions.len() <= CONDITIONS_MAX) else {
            return Err(format!("when: name 1 to {CONDITIONS_MAX} conditions"));
        };
        let kind = first.measure.kind();
        if conditions.iter().any(|condition| condition.measure.kind() != kind) {
            return Err("when: conditions about requests, about budgets and about the installation do not go together"
                .to_owned());
        }
        if kind != Kind::Sums && conditions.iter().any(|condition| condition.earlier().is_some()) {
            return Err("when: only quantities of requests and money can be compared with an earlier span".to_owned());
        }
        check_subject(file, kind)?;
        check_texts(file)?;
        let window_ms = file.window.map_or(WINDOW_MS, |Millis(window)| window);
        if !span_is_valid(window_ms) {
            return Err("window: 1h to 90d, in whole hours, since sums are kept by the hour".to_owned());
        }
        let hold_ms = file.hold.map_or(0, |Millis(hold)| hold);
        if hold_ms > HOLD_MAX_MS {
            return Err("for: at most 7d".to_owned());
        }
        Ok(Rule {
            name: file.name.as_str().into(),
            kind,
            when: conditions,
            by: file.by.as_deref().map(Into::into),
            tenant: file.tenant.as_deref().map(Into::into),
            window_ms,
            hold_ms,
            severity: file.severity,
            labels: file.labels.clone(),
            action: file.action.as_deref().map(Into::into),
            currency: file.currency,
            only: file.only.as_deref().map(Glob::new),
            at_least_requests: file.at_least_requests,
            at_least_values: file.at_least_values,
            built_in,
        })
    }

    /// Whether each currency has an alert of its own.
    pub(crate) fn has_currency(&self) -> bool {
        self.when.iter().any(|condition| condition.measure.has_currency())
    }

    /// Whether marks of deploys are its boundary: it compares ratios by feature or prompt version with an earlier span. What grows with its
    /// window would mean something else in a shorter one.
    pub fn heeds_deploys(&self) -> bool {
        self.earlier().next().is_some()
            && matches!(self.by.as_deref(), Some("feature" | "prompt_version"))
            && !self.when.iter().any(|condition| condition.measure.grows())
    }

    /// The earlier spans that it compares with.
    pub fn earlier(&self) -> impl Iterator<Item = Earlier> {
        self.when.iter().filter_map(Condition::earlier)
    }
}

impl Condition {
    fn of(file: &ConditionFile) -> Result<Self, String> {
        let earlier = file.against.map_or(AGAINST_MS, |Millis(against)| against);
        if !span_is_valid(earlier) {
            return Err("when.against: 1h to 90d, in whole hours".to_owned());
        }
        let earlier = Earlier(earlier);
        let compare = match (file.above, file.below, file.rises_by, file.falls_by) {
            (Some(limit), None, None, None) => Compare::Above(limit),
            (None, Some(limit), None, None) => Compare::Below(limit),
            (None, None, Some(percent), None) => Compare::RisesBy(percent, earlier),
            (None, None, None, Some(percent)) => Compare::FallsBy(percent, earlier),
            _ => return Err("when: give exactly one of above, below, rises_by and falls_by".to_owned()),
        };
        let percent = match compare {
            Compare::RisesBy(percent, _) | Compare::FallsBy(percent, _) => Some(percent),
            Compare::Above(_) | Compare::Below(_) => None,
        };
        if percent.is_none() && file.against.is_some() {
            return Err("when.against: only rises_by and falls_by compare with an earlier span".to_owned());
        }
        let (Compare::Above(number)
        | Compare::Below(number)
        | Compare::RisesBy(number, _)
        | Compare::FallsBy(number, _)) = compare;
        if !number.is_writable() {
            return Err("when: a number has at most 15 digits before the point".to_owned());
        }
        if percent.is_some_and(|percent| percent.0 <= 0) {
            return Err("when: rises_by and falls_by are above 0 percent".to_owned());
        }
        Ok(Condition { measure: file.measure, compare })
    }
}

fn span_is_valid(millis: u64) -> bool {
    (HOUR_MS..=WINDOW_MAX_MS).contains(&millis) && millis.is_multiple_of(HOUR_MS)
}

fn check_subject(file: &RuleFile, kind: Kind) -> Result<(), String> {
    if let Some(by) = file.by.as_deref().filter(|by| !BY.contains(by)) {
        return Err(format!("by: {by:?} is not one of {}", BY.join(", ")));
    }
    let is_about_sums =
        file.by.is_some() || file.window.is_some() || file.at_least_requests > 0 || file.at_least_values > 0;
    if kind != Kind::Sums && (file.by.is_some() || file.at_least_requests > 0 || file.at_least_values > 0)
        || kind == Kind::Budgets && is_about_sums
    {
        return Err(
            "by, window, at_least_requests and at_least_values are for quantities of requests and money".to_owned()
        );
    }
    if kind == Kind::System && (file.tenant.is_some() || file.only.is_some()) {
        return Err("tenant and only: this quantity is one of the whole installation".to_owned());
    }
    if let Some(tenant) = file.tenant.as_deref().filter(|id| TenantId::new(id).is_err()) {
        return Err(format!("tenant: {tenant:?} is no id of a tenant"));
    }
    Ok(())
}

fn check_texts(file: &RuleFile) -> Result<(), String> {
    if file.labels.len() > LABELS_MAX {
        return Err(format!("labels: at most {LABELS_MAX}"));
    }
    let is_name = |name: &str| {
        name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            && name.bytes().next().is_some_and(|b| !b.is_ascii_digit())
    };
    if let Some(name) = file.labels.keys().find(|name| !is_name(name) || RESERVED_LABELS.contains(&name.as_str())) {
        return Err(format!(
            "labels: {name:?}: a name is of a-z A-Z 0-9 _, begins with no digit, and is none of {}",
            RESERVED_LABELS.join(", ")
        ));
    }
    match &file.action {
        _ if file.labels.values().chain(&file.only).any(|text| text.contains(char::is_control)) => {
            Err("labels and only: no control characters".to_owned())
        }
        Some(action) if action.trim().is_empty() || action.chars().count() > ACTION_MAX_CHARS => {
            Err(format!("action: 1 to {ACTION_MAX_CHARS} characters"))
        }
        _ => Ok(()),
    }
}

/// How names of alerts begin that no rule makes: those of budgets, and tests.
const RESERVED_NAMES: &str = "weir_";
/// Labels that weir sets itself.
const RESERVED_LABELS: [&str; 7] = ["alertname", "severity", "subject", "tenant", "budget", "currency", "service"];

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(text: &str) -> Result<Vec<Rule>, RuleError> {
        compile(&serde_saphyr::from_str::<Vec<RuleFile>>(text).expect("the shape"), &[])
    }

    #[test]
    fn the_built_in_rules_are_valid_and_each_can_be_replaced_or_left_out() {
        let all = compile(&[], &[]).expect("valid");
        assert!(all.len() >= 10 && all.iter().all(|rule| rule.built_in));
        let replaced =
            rules("[{name: margin-low, by: tenant, when: [{measure: margin_percent, below: 30}]}]").expect("valid");
        assert_eq!(replaced.len(), all.len());
        assert_eq!(replaced.iter().filter(|rule| &*rule.name == "margin-low").count(), 1);
        let without = compile(&[], &["margin-low".to_owned()]).expect("valid");
        assert_eq!(without.len(), all.len() - 1);
    }

    #[test]
    fn a_rule_that_cannot_be_meant_is_refused_with_its_place_and_a_remedy() {
        let cases = [
            ("[{name: A, when: [{measure: cost, above: 1}]}]", "name"),
            ("[{name: weir_budget, when: [{measure: cost, above: 1}]}]", "weir's own"),
            ("[{name: a, labels: {team: \"a\\nb\"}, when: [{measure: cost, above: 1}]}]", "control characters"),
            ("[{name: a, when: []}]", "1 to 4"),
            ("[{name: a, when: [{measure: cost}]}]", "exactly one"),
            ("[{name: a, when: [{measure: cost, above: 1, below: 2}]}]", "exactly one"),
            ("[{name: a, when: [{measure: cost, above: 1, against: 1d}]}]", "against"),
            ("[{name: a, when: [{measure: cost, rises_by: 0}]}]", "above 0"),
            ("[{name: a, when: [{measure: cost, above: 1}, {measure: held_rows, above: 0}]}]", "go together"),
            ("[{name: a, when: [{measure: held_rows, rises_by: 1}]}]", "earlier span"),
            ("[{name: a, by: user, when: [{measure: cost, above: 1}]}]", "by:"),
            ("[{name: a, by: tenant, when: [{measure: held_rows, above: 0}]}]", "by, window"),
            ("[{name: a, window: 90m, when: [{measure: cost, above: 1}]}]", "whole hours"),
            ("[{name: a, for: 30d, when: [{measure: cost, above: 1}]}]", "for:"),
            ("[{name: a, tenant: 'a b', when: [{measure: cost, above: 1}]}]", "tenant"),
            ("[{name: a, labels: {severity: x}, when: [{measure: cost, above: 1}]}]", "labels"),
            ("[{name: a, action: '', when: [{measure: cost, above: 1}]}]", "action"),
        ];
        for (text, needle) in cases {
            let error = rules(text).expect_err(text).to_string();
            assert!(error.starts_with("alerts.rules[0]") && error.contains(needle), "{text}: {error}");
        }
    }
}

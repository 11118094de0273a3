//! What in `alerts` names nobody and nothing that is known. It may be right later, since tenants and plans come and go: so it is told, and not refused.
use std::collections::{BTreeMap, HashMap};

use weir_contract::glob;

use crate::alert::file::{Kind, RuleFile};
use crate::alert::rule::Rule;
use crate::budget::Budget;
use crate::receiver::AlertsFile;
use crate::subject;

/// What is known where `alerts` is used.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// The plan of each tenant.
    pub plans: &'a HashMap<String, String>,
    /// The budgets.
    pub budgets: &'a [Budget],
    /// The rules in force.
    pub rules: &'a [Rule],
}

impl Known<'_> {
    fn has_tenant(&self, tenant: &str) -> bool {
        tenant.is_empty() || self.plans.contains_key(tenant)
    }

    fn has_plan(&self, plan: &str) -> bool {
        self.plans.values().any(|known| known == plan)
    }
}

/// A sentence for each field that names what is not there.
pub fn doubts(file: &AlertsFile, known: Known<'_>) -> Vec<String> {
    let mut doubts = Vec::new();
    for (at, receiver) in file.receivers.iter().enumerate() {
        let place = format!("alerts.receivers[{at}] ({})", receiver.name);
        for tenant in receiver.tenants.iter().chain(&receiver.tenant) {
            if !known.has_tenant(subject::tenant(tenant)) {
                doubts.push(format!("{place}: there is no tenant {tenant:?}: it hears nothing of it"));
            }
        }
        for pattern in &receiver.rules {
            if !known.rules.iter().any(|rule| glob::matches(pattern, &rule.name)) {
                doubts.push(format!("{place}: the rule {pattern:?} is among `alerts.without`: it hears nothing of it"));
            }
        }
    }
    doubts.extend(named(&file.owners, "alerts.owners", "tenant", |tenant| known.has_tenant(tenant)));
    doubts.extend(named(&file.playbooks, "alerts.playbooks", "tenant of the plan", |plan| known.has_plan(plan)));
    for (at, (file, rule)) in file.rules.iter().zip(known.rules).enumerate() {
        let place = format!("alerts.rules[{at}] ({})", file.name);
        doubts.extend(of_rule(file, rule, known).map(|doubt| format!("{place}: {doubt}: its alert never fires")));
    }
    doubts
}

fn named<'a, T>(
    of: &'a BTreeMap<String, T>,
    place: &'a str,
    what: &'a str,
    is_known: impl Fn(&str) -> bool + 'a,
) -> impl Iterator<Item = String> + 'a {
    let unknown = of.keys().filter(move |name| !is_known(name));
    unknown.map(move |name| format!("{place}: there is no {what} {name:?}"))
}

/// Why a rule finds nothing, as far as that is known.
fn of_rule(file: &RuleFile, rule: &Rule, known: Known<'_>) -> Option<String> {
    if let Some(tenant) = file.tenant.as_deref().filter(|tenant| !known.has_tenant(tenant)) {
        return Some(format!("there is no tenant {tenant:?}"));
    }
    let only = file.only.as_deref()?;
    let (what, is_there) = match (rule.kind, file.by.as_deref()) {
        (Kind::Sums, Some("tenant")) => ("tenant", known.plans.keys().any(|tenant| glob::matches(only, tenant))),
        (Kind::Sums, Some("plan")) => ("tenant of a plan", known.plans.values().any(|plan| glob::matches(only, plan))),
        (Kind::Budgets, _) => ("budget and tenant", has_budget(only, known)),
        _ => return None,
    };
    (!is_there).then(|| format!("there is no {what} {only:?} (`only`)"))
}

/// Whether a pattern of `BUDGET of SUBJECT` is that of a budget which somebody has.
fn has_budget(only: &str, known: Known<'_>) -> bool {
    known.budgets.iter().any(|budget| {
        let of = |subject: &str| glob::matches(only, &format!("{} of {subject}", budget.name));
        // End users are known once they have used something.
        budget.per_user
            || (budget.shared && of(&format!("{}{}", subject::SHARED_MARK, budget.name)))
            || known.plans.iter().any(|(tenant, plan)| budget.applies(tenant, Some(plan)) && of(tenant))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::rule;
    use crate::budget;

    fn of(text: &str) -> Vec<String> {
        let file: AlertsFile = serde_saphyr::from_str(text).expect("the shape");
        let budgets = "[{name: monthly, of: requests, amount: 5, period: month, plans: [pro]}]";
        let budgets = budget::compile(&serde_saphyr::from_str::<Vec<_>>(budgets).expect("the shape")).expect("good");
        let rules = rule::compile(&file.rules, &file.without).expect("good");
        let plans = [("acme".to_owned(), "pro".to_owned()), ("globex".to_owned(), "free".to_owned())].into();
        doubts(&file, Known { plans: &plans, budgets: &budgets, rules: &rules })
    }

    #[test]
    fn what_names_nobody_is_told_with_its_place() {
        let cases = [
            (
                "receivers: [{name: chat, slack: {env: S}, tenants: [acmee]}]",
                "alerts.receivers[0] (chat): there is no tenant \"acmee\"",
            ),
            ("receivers: [{name: own, slack: {env: S}, tenant: acmee}]", "(own): there is no tenant"),
            (
                "{without: [margin-low], receivers: [{name: r, slack: {env: S}, rules: [margin-low]}]}",
                "among `alerts.without`",
            ),
            ("owners: {acmee: Ann}", "alerts.owners: there is no tenant \"acmee\""),
            ("playbooks: {prro: {warn: x}}", "alerts.playbooks: there is no tenant of the plan \"prro\""),
            (
                "rules: [{name: a, tenant: acmee, when: [{measure: cost, above: 1}]}]",
                "alerts.rules[0] (a): there is no tenant",
            ),
            (
                "rules: [{name: a, by: tenant, only: 'x*', when: [{measure: cost, above: 1}]}]",
                "no tenant \"x*\" (`only`)",
            ),
            (
                "rules: [{name: a, by: plan, only: prro, when: [{measure: cost, above: 1}]}]",
                "no tenant of a plan \"prro\"",
            ),
            (
                "rules: [{name: a, only: 'monthly of globex', when: [{measure: budget_forecast_percent, above: 100}]}]",
                "no budget and tenant",
            ),
        ];
        for (text, needle) in cases {
            let found = of(text);
            assert!(found.len() == 1 && found[0].contains(needle), "{text}: {found:?}");
        }
    }

    #[test]
    fn what_is_there_or_cannot_be_known_is_no_doubt() {
        let text = "
receivers: [{name: a, slack: {env: S}, tenants: [acme, '#family'], rules: ['margin-*']}, {name: b, slack: {env: S}, tenant: globex}]
owners: {acme: Ann}
playbooks: {pro: {warn: x}}
rules:
- {name: a, by: feature, only: support, when: [{measure: cost, above: 1}]}
- {name: b, only: 'monthly of *', when: [{measure: budget_forecast_percent, above: 100}]}
";
        assert_eq!(of(text), [""; 0]);
    }
}

//! The budgets of a tenant, as far as they concern one request: which stage holds, and which plan it puts in force.
//!
//! The stage is chosen by the head, and again once the body has told model and class. The most severe stage among the budgets
//! that cover the request counts.
use std::fmt::Write;
use std::rc::Rc;

use weir_contract::stage::{BudgetStage, Scope, Stage};
use weir_contract::{Class, Timestamp};

use super::admitted::Admitted;
use super::budgets::Budgets;
use crate::limit::headers::Header;
use crate::plan::Plan;
use crate::refusal::{OverBudget, Refusal};

/// The header that tells clients about budgets.
const HEADER: &str = "x-weir-budget";

impl Admitted {
    /// Chooses the stage again, now that the body has told model and class.
    pub(super) fn enter_stage_by_body(&mut self, now: Timestamp) {
        if self.budgets.as_ref().is_some_and(Budgets::needs_body) {
            self.enter_stage(now);
        }
    }

    /// Chooses the stage that holds, and puts its plan in force.
    pub(super) fn enter_stage(&mut self, now: Timestamp) {
        let Some(mut budgets) = self.budgets.take() else { return };
        budgets.deciding = self.deciding(&budgets, self.model.as_deref(), now);
        let plan = Rc::clone(budgets.plan_at(budgets.stage()));
        budgets.changed_late = self.reservation.first_done && !Rc::ptr_eq(&plan, &self.identity.plan);
        self.identity.plan = plan;
        self.budgets = Some(budgets);
    }

    /// The stage that would hold if this model served the request, and the plan in force then.
    pub(super) fn stage_with(&self, model: &str, now: Timestamp) -> (Stage, Rc<Plan>) {
        let Some(budgets) = &self.budgets else { return (Stage::Ok, Rc::clone(&self.identity.plan)) };
        let deciding = self.deciding(budgets, Some(model), now).and_then(|at| budgets.stages.get(at));
        let stage = deciding.map_or(Stage::Ok, |budget| budget.stage);
        (stage, Rc::clone(budgets.plan_at(stage)))
    }

    /// The place of the budget that counts for a model.
    fn deciding(&self, budgets: &Budgets, model: Option<&str>, now: Timestamp) -> Option<usize> {
        let covers = |budget: &BudgetStage| budget.holds(now) && self.is_covered_with(budgets, model, budget);
        let holding = budgets.stages.iter().enumerate().filter(|(_, budget)| covers(budget));
        // Of equals the first: the directory has the most severe first.
        holding.max_by_key(|(at, budget)| (budget.stage, std::cmp::Reverse(*at))).map(|(at, _)| at)
    }

    fn is_covered(&self, budgets: &Budgets, budget: &BudgetStage) -> bool {
        self.is_covered_with(budgets, self.model.as_deref(), budget)
    }

    fn is_covered_with(&self, budgets: &Budgets, model: Option<&str>, budget: &BudgetStage) -> bool {
        let route = self.route.as_deref();
        match &budget.scope {
            Scope::Tenant => true,
            Scope::Feature(feature) => self.feature() == Some(feature),
            Scope::Route(name) => route.is_some_and(|route| route.name.as_deref() == Some(name)),
            Scope::Class(class) => self.classes.any(|one| one == *class),
            Scope::Model(pattern) => model.is_some_and(|model| weir_contract::glob::matches(pattern, model)),
            Scope::Key(key) => *self.identity.credential_id == **key,
            Scope::Keys(keys) => keys.iter().any(|key| *self.identity.credential_id == **key),
            Scope::User(user) => budgets.is_user(user),
        }
    }

    /// The product feature: of the credential, else of the route, else as a header names it.
    pub(super) fn feature(&self) -> Option<&str> {
        let of_route = || self.route.as_deref().and_then(|route| route.feature.as_deref());
        self.identity.feature.as_deref().or_else(of_route).or(self.labels.feature.as_deref())
    }

    /// Refuses the request if the stage that holds refuses it.
    pub(super) fn check_stage(&self, now: Timestamp) -> Result<(), Refusal> {
        let Some(budgets) = &self.budgets else { return Ok(()) };
        let Some(deciding) = budgets.deciding() else { return Ok(()) };
        let staged = budgets.base.staged.at(deciding.stage);
        let Some(refuses) = staged.and_then(|staged| staged.refuses.as_ref()) else { return Ok(()) };
        let route = self.route.as_deref().and_then(|route| route.name.as_deref());
        let is_class = |class: Class| refuses.has_class(class);
        if !refuses.is_all() && !self.classes.any(is_class) && !refuses.has_label(self.feature(), route) {
            return Ok(());
        }
        let of_stage = |budget: &&BudgetStage| budget.stage >= deciding.stage && budget.holds(now);
        let ends = budgets
            .stages
            .iter()
            .filter(of_stage)
            .filter(|budget| self.is_covered(budgets, budget))
            .map(|budget| budget.ends);
        // Every one of them must end; one without periods never does.
        let last = ends.reduce(|one, other| Some(one?.max(other?))).flatten();
        let wait_ms = last.map(|ends| ends.millis_since(now));
        Err(Refusal::Budget(OverBudget { status: refuses.status, wait_ms }))
    }

    /// The budget and the stage that hold for the request.
    pub(super) fn budget_stage(&self) -> Option<&BudgetStage> {
        self.budgets.as_ref()?.deciding()
    }

    /// The header that says how far the budgets of the request are used, where the configuration asks for it.
    pub(super) fn budget_header(&self, now: Timestamp) -> Option<Header> {
        let budgets = self.budgets.as_ref().filter(|_| self.policy.limit_headers.budget)?;
        let mut value = String::new();
        for budget in budgets.stages.iter().filter(|budget| budget.holds(now) && self.is_covered(budgets, budget)) {
            write_budget(budget, &mut value).ok()?;
        }
        (!value.is_empty()).then_some((HEADER, value))
    }
}

/// One item of a structured list (RFC 9651).
fn write_budget(budget: &BudgetStage, value: &mut String) -> std::fmt::Result {
    if !value.is_empty() {
        value.push_str(", ");
    }
    let used = format!("{}.{:03}", budget.used_permille / 1_000, budget.used_permille % 1_000);
    let used = used.trim_end_matches('0');
    let zero = if used.ends_with('.') { "0" } else { "" };
    write!(value, "{};stage={};used={used}{zero}", budget.budget, budget.stage)?;
    match budget.ends {
        Some(ends) => write!(value, ";resets=@{}", ends.as_secs()),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;

//! What is remembered of the budgets of a request's tenant; `staged` works with it.
use std::rc::Rc;

use weir_contract::stage::{BudgetStage, Scope, Stage};

use crate::emit::labels::LabelRules;
use crate::identity::Identity;
use crate::limit::Limit;
use crate::plan::{Plan, staged};

/// The budgets of the request's tenant that are past their first threshold.
#[derive(Debug)]
pub(super) struct Budgets {
    pub(super) stages: Rc<[BudgetStage]>,
    /// The plan while all budgets have room.
    pub(super) base: Rc<Plan>,
    /// The place in `stages` of the one that counts.
    pub(super) deciding: Option<usize>,
    /// The plan changed once the body was known, after the first draw.
    pub(super) changed_late: bool,
    /// The end user as events name it, where a budget is one user's.
    user: Option<Box<str>>,
    /// Whether a budget is of a model or a class, which only the body tells for certain.
    needs_body: bool,
}

impl Budgets {
    /// None for a tenant whose budgets all have room.
    pub(super) fn of(identity: &Identity, labels: &LabelRules) -> Option<Self> {
        let (stages, base) = (Rc::clone(identity.stages.as_ref()?), Rc::clone(&identity.plan));
        let (mut needs_body, mut is_of_user) = (false, false);
        for budget in &*stages {
            needs_body |= matches!(budget.scope, Scope::Model(_) | Scope::Class(_));
            is_of_user |= matches!(budget.scope, Scope::User(_));
        }
        let user = identity.user.as_deref().filter(|_| is_of_user);
        let user = user.and_then(|user| labels.user(&identity.tenant, user)).map(Into::into);
        Some(Budgets { stages, base, deciding: None, changed_late: false, user, needs_body })
    }

    /// Whether the end user of the request has this name.
    pub(super) fn is_user(&self, name: &str) -> bool {
        self.user.as_deref() == Some(name)
    }

    /// Whether the stage may be another one once the body is known.
    pub(super) fn needs_body(&self) -> bool {
        self.needs_body
    }

    pub(super) fn deciding(&self) -> Option<&BudgetStage> {
        self.stages.get(self.deciding?)
    }

    pub(super) fn stage(&self) -> Stage {
        self.deciding().map_or(Stage::Ok, |budget| budget.stage)
    }

    /// The plan in force in a stage.
    pub(super) fn plan_at(&self, stage: Stage) -> &Rc<Plan> {
        self.base.staged.at(stage).map_or(&self.base, |staged| &staged.plan)
    }

    /// Whether a limit must be drawn from although the draw by the head is done.
    pub(super) fn adds(&self, limit: &Limit) -> bool {
        self.changed_late && staged::is_of_stage(limit)
    }
}

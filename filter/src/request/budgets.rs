//! What is remembered of the budgets of a request's tenant; `staged` works with it.
use std::rc::Rc;

use weir_contract::stage::{BudgetStage, Stage};

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
}

impl Budgets {
    /// None for a tenant whose budgets all have room.
    pub(super) fn of(stages: Option<&Rc<[BudgetStage]>>, plan: &Rc<Plan>) -> Option<Box<Self>> {
        let (stages, base) = (Rc::clone(stages?), Rc::clone(plan));
        Some(Box::new(Budgets { stages, base, deciding: None, changed_late: false }))
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

//! Looks at every subject again: rules, raises or plans have changed, or costs were computed again.
use std::collections::HashMap;

use super::{
    Arc, Budget, Change, Counter, Counters, Engine, InForce, LedgerError, Moment, Pico, Portion, Reason, Recount,
    Stage, Step, Timestamp, Transaction, past, stages, subject,
};

impl Engine {
    /// Counts what new budgets have used so far, compares every counter with its amount, and writes anew which stages are in
    /// force.
    pub(super) fn review_all(
        &mut self,
        tx: &Transaction<'_>,
        moment: Moment,
        recount: Recount,
    ) -> Result<(), LedgerError> {
        let in_force = stages::all(tx)?;
        tx.execute("DELETE FROM budget_stage", [])?;
        if recount != Recount::Nothing {
            self.count_past_again(tx, recount)?;
        }
        let mut step = Step::new(tx, moment);
        for subject in self.subjects(tx)? {
            self.know(&mut step, &subject)?;
            let Some(mut known) = self.known.get_mut(&*subject).map(std::mem::take) else { continue };
            self.move_periods(&step, &subject, &mut known.counters)?;
            self.begin_new(tx, &subject, &mut known.counters, moment)?;
            if recount != Recount::Nothing {
                self.count_again(&mut step, &subject, &mut known.counters, recount)?;
            }
            self.evaluate(&mut step, &subject, &mut known.counters)?;
            self.enforce_all(tx, &subject, &known.counters, moment, &in_force)?;
            self.put_back(&subject, known);
        }
        self.note_amounts(&mut step)?;
        // The server looks again while there are more.
        self.end_periods(tx, moment).map(drop)
    }

    /// Notes the raises that have changed no stage.
    fn note_amounts(&mut self, step: &mut Step<'_, '_>) -> Result<(), LedgerError> {
        let budgets = Arc::clone(&self.rules.budgets);
        for ((subject, name), reason) in self.reasons.left() {
            let Some(at) = budgets.iter().position(|budget| *budget.name == *name) else { continue };
            let Some(budget) = budgets.get(at) else { continue };
            self.know(step, &subject)?;
            let counter = self.known.get_mut(subject.as_str()).and_then(|known| known.counters.of(at)).copied();
            let counter = match counter.filter(|counter| counter.period.holds(step.moment.now)) {
                Some(counter) => counter,
                None => {
                    let period = self.period(step.tx, (at, budget), &subject, step.moment.now)?;
                    // The clock may be behind: then the period has a counter among those of the past.
                    let past = past::read(step.tx, &subject, &budget.name, period.start)?;
                    let none = past::Past { used: Pico::ZERO, stage: Stage::Ok };
                    let past::Past { used, stage } = past.unwrap_or(none);
                    Counter { budget: at, period, used, stage, unpriced: 0 }
                }
            };
            let amount = self.amount(&subject, budget).unwrap_or_default();
            let (subject, Counter { period, used, stage, .. }) = (&*subject, counter);
            let change = Change { subject, budget, period, was: stage, stage, used, amount, reason: &reason };
            change.note(step.tx, step.moment, false)?;
        }
        Ok(())
    }

    /// Everybody who has a counter, a budget or both.
    fn subjects(&self, tx: &Transaction<'_>) -> Result<Vec<String>, LedgerError> {
        let mut select = tx.prepare("SELECT subject FROM budget_use")?;
        let counted = select.query_map([], |row| row.get::<_, String>(0))?;
        let mut subjects: Vec<String> = counted.collect::<Result<_, _>>()?;
        if !self.rules.budgets.is_empty() {
            subjects.extend(self.rules.plans.keys().cloned());
            let of = |budget: &Budget| budget.named_tenants().map(|tenant| budget.subject(tenant)).collect::<Vec<_>>();
            subjects.extend(self.rules.budgets.iter().flat_map(of));
        }
        subjects.sort_unstable();
        subjects.dedup();
        Ok(subjects)
    }

    /// Begins counters of budgets that a tenant has and nothing has counted yet, if its period has used something.
    fn begin_new(
        &mut self,
        tx: &Transaction<'_>,
        subject: &str,
        counters: &mut Counters,
        moment: Moment,
    ) -> Result<(), LedgerError> {
        let budgets = Arc::clone(&self.rules.budgets);
        for (at, budget) in budgets.iter().enumerate() {
            let plan = self.rules.plans.get(subject::tenant(subject)).map(String::as_str);
            if !budget.counts(subject, plan) || counters.of(at).is_some() {
                continue;
            }
            let period = self.period(tx, (at, budget), subject, moment.now)?;
            let used = self.used_so_far(tx, subject, budget, period)?;
            if let Some(Portion { used, unpriced }) = used.filter(|used| *used != Portion::default()) {
                counters.list.push(Counter { budget: at, period, used, stage: Stage::Ok, unpriced });
                counters.is_urgent = true;
            }
        }
        Ok(())
    }

    /// Counts past periods again.
    fn count_past_again(&mut self, tx: &Transaction<'_>, recount: Recount) -> Result<(), LedgerError> {
        let budgets = Arc::clone(&self.rules.budgets);
        for budget in budgets.iter().filter(|budget| recount.concerns(budget)) {
            let mut select =
                tx.prepare("SELECT subject, period_start, period_end FROM budget_past WHERE budget = ?1")?;
            let rows = select.query_map([&*budget.name], |row| {
                let (start, end) = (row.get::<_, u64>(1)?, row.get::<_, u64>(2)?);
                Ok((row.get::<_, String>(0)?, Timestamp::from_millis(start), Timestamp::from_millis(end)))
            })?;
            for (subject, start, end) in rows.collect::<Result<Vec<_>, _>>()? {
                let period = super::Period { start, end: Some(end) };
                let Some(before) = past::read(tx, &subject, &budget.name, start)? else { continue };
                let used = self.used_so_far(tx, &subject, budget, period)?.map_or(before.used, |sums| sums.used);
                past::write(tx, &subject, &budget.name, period, past::Past { used, ..before })?;
            }
        }
        Ok(())
    }

    /// Puts the stages of a subject in force. Those whose periods are over stay for a while: the clock may be ahead.
    fn enforce_all(
        &self,
        tx: &Transaction<'_>,
        subject: &str,
        counters: &Counters,
        moment: Moment,
        in_force: &HashMap<(String, String), InForce>,
    ) -> Result<(), LedgerError> {
        for counter in &counters.list {
            let Some(budget) = self.rules.budgets.get(counter.budget) else { continue };
            if counter.stage == Stage::Ok || !stages::is_kept(counter.period, moment.now) {
                continue;
            }
            let amount = self.amount(subject, budget).unwrap_or_default();
            let Counter { period, used, stage, .. } = *counter;
            // One that was not in force has just come in force, and its end would be news.
            let new = InForce { since: moment.now, over_noted: false };
            let of = in_force.get(&(subject.to_owned(), budget.name.to_string())).copied().unwrap_or(new);
            let reason = &Reason::default();
            let change = Change { subject, budget, period, was: stage, stage, used, amount, reason };
            change.enforce(tx, of, moment)?;
        }
        Ok(())
    }
}

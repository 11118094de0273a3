//! Budgets of what tenants pay: price plans say that over all of a period, so it is measured now and then, and not counted.
use std::sync::Arc;

use super::{
    Counter, Counters, Engine, Followed, LedgerError, MeasuredUse, Moment, Past, Period, Stage, Step, Transaction,
    past, stages,
};

impl Engine {
    /// Takes what was measured, and compares it with the amounts.
    pub(super) fn take_all_measured(
        &mut self,
        tx: &Transaction<'_>,
        measured: &[MeasuredUse],
        moment: Moment,
    ) -> Result<(), LedgerError> {
        let budgets = Arc::clone(&self.rules.budgets);
        let mut step = Step::new(tx, moment);
        for of_subject in measured.chunk_by(|a, b| a.subject == b.subject) {
            let Some(subject) = of_subject.first().map(|first| first.subject.as_str()) else { continue };
            self.know(&mut step, subject)?;
            let Some(mut known) = self.known.get_mut(subject).map(std::mem::take) else { continue };
            for one in of_subject {
                // Since it was measured the configuration may have changed.
                let at = budgets.iter().position(|budget| *budget.name == *one.budget && budget.of.is_charged());
                if let Some(at) = at.filter(|at| known.budgets.contains(at)) {
                    self.put_measured(&step, &mut known.counters, at, one)?;
                }
            }
            self.evaluate(&mut step, subject, &mut known.counters)?;
            self.put_back(subject, known);
        }
        self.followed = Some(Followed { moment: self.signal.last(moment), changed: step.changed, unpriced: 0 });
        Ok(())
    }

    /// Puts what was measured in the place of what was known; another period takes the place of the one before.
    fn put_measured(
        &self,
        step: &Step<'_, '_>,
        counters: &mut Counters,
        at: usize,
        measured: &MeasuredUse,
    ) -> Result<(), LedgerError> {
        let MeasuredUse { subject, budget, start, end, used } = measured;
        let new = Counter {
            budget: at,
            period: Period { start: *start, end: *end },
            used: *used,
            stage: Stage::Ok,
            unpriced: 0,
        };
        let ended = match counters.of(at) {
            None => {
                counters.list.push(new);
                None
            }
            Some(counter) if counter.period == new.period => {
                counter.used = new.used;
                None
            }
            Some(counter) => Some(std::mem::replace(counter, new)),
        };
        // It follows from the sums, but not from those that a start reads again.
        (counters.has_changed, counters.is_urgent) = (true, true);
        let Some(ended) = ended else { return Ok(()) };
        past::write(step.tx, subject, budget, ended.period, Past { used: ended.used, stage: ended.stage })?;
        if stages::release(step.tx, subject, budget)?
            && let Some(budget) = self.rules.budgets.get(at)
        {
            self.note_end(step, subject, budget, ended)?;
        }
        Ok(())
    }
}

//! Notes what ends by itself: stages whose periods are over, and periods that another billing anchor moves.
use weir_fault::{self as fault, Point};
use weir_ledger::periods;

use super::{
    Arc, Budget, Cause, Change, Counter, Counters, Engine, Followed, LedgerError, Moment, Past, Pico, Portion, Reason,
    Span, Stage, Step, Transaction, past, stages, subject,
};

/// The most ends of stages that one transaction notes, so that none takes long.
const ENDED_MAX: usize = 500;

impl Engine {
    /// Notes the ends of stages whose periods are over; gateways have let go of them by their own clocks. Returns whether there may be
    /// more.
    pub(super) fn end_periods(&mut self, tx: &Transaction<'_>, moment: Moment) -> Result<bool, LedgerError> {
        let ended = stages::ended(tx, moment.now, ENDED_MAX)?;
        let (budgets, mut step) = (Arc::clone(&self.rules.budgets), Step::new(tx, moment));
        for (subject, name) in &ended {
            stages::note_ended(tx, subject, name)?;
            if fault::hit(Point::StageLostToTheClock) {
                stages::release(tx, subject, name)?;
            }
            let Some(at) = budgets.iter().position(|budget| *budget.name == **name) else { continue };
            self.know(&mut step, subject)?;
            let counter = self.known.get_mut(subject.as_str()).and_then(|known| known.counters.of(at)).copied();
            if let (Some(counter), Some(budget)) = (counter, budgets.get(at)) {
                self.note_end(&step, subject, budget, counter)?;
            }
        }
        if !ended.is_empty() {
            self.followed = Some(Followed { moment: self.signal.last(moment), changed: true, unpriced: 0 });
        }
        Ok(ended.len() == ENDED_MAX)
    }

    /// Notes that a budget's stage has ended with its period.
    pub(super) fn note_end(
        &self,
        step: &Step<'_, '_>,
        subject: &str,
        budget: &Budget,
        counter: Counter,
    ) -> Result<(), LedgerError> {
        let amount = self.amount(subject, budget).unwrap_or_default();
        let Counter { period, used, stage: was, .. } = counter;
        let reason = &Reason::of(Cause::PeriodEnded);
        Change { subject, budget, period, was, stage: Stage::Ok, used, amount, reason }.note(
            step.tx,
            step.moment,
            false,
        )
    }

    /// Puts counters whose billing periods have another anchor now into the period that it gives them. Their stages follow when they
    /// are evaluated.
    pub(super) fn move_periods(
        &self,
        step: &Step<'_, '_>,
        subject: &str,
        counters: &mut Counters,
    ) -> Result<(), LedgerError> {
        for counter in &mut counters.list {
            let of = self.rules.budgets.get(counter.budget).filter(|budget| budget.span == Span::BillingPeriod);
            let Some(budget) = of else { continue };
            let anchor = periods::anchor_of(step.tx, subject::tenant(subject))?;
            if budget.period(|| anchor, counter.period.start) == counter.period {
                continue;
            }
            let period = budget.period(|| anchor, step.moment.now);
            let past = Past { used: counter.used, stage: counter.stage };
            if !budget.per_user {
                past::write(step.tx, subject, &budget.name, counter.period, past)?;
            }
            // No sums are kept of some requests: what was used since an earlier start counts as well.
            let known = if period.start > counter.period.start { Pico::ZERO } else { counter.used };
            let known = Portion { used: known, unpriced: if known == Pico::ZERO { 0 } else { counter.unpriced } };
            let Portion { used, unpriced } = self.used_so_far(step.tx, subject, budget, period)?.unwrap_or(known);
            (counter.used, counter.unpriced) = (used, unpriced);
            counter.period = period;
            counters.is_urgent = true;
        }
        Ok(())
    }
}

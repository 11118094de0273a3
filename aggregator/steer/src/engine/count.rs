//! Adds what a transaction counts to the counters of its tenants.
use weir_ledger::periods::{self, Anchor};
use weir_ledger::steering::{Use, used_in};

use super::{
    Arc, Budget, Change, Counter, Counters, Engine, Known, LedgerError, Past, Period, Pico, Portion, Reason, Recount,
    Span, Stage, Step, Timestamp, Transaction, past, stages, subject,
};

impl Engine {
    /// Adds what a tenant has used, and compares it with the amounts. `others`: who else has used something.
    pub(super) fn follow_tenant(
        &mut self,
        step: &mut Step<'_, '_>,
        uses: &[Use<'_>],
        others: &mut Vec<String>,
    ) -> Result<(), LedgerError> {
        let Some(tenant) = uses.first().map(|used| used.tenant.as_str()) else { return Ok(()) };
        self.know(step, tenant)?;
        let Some(mut known) = self.known.get_mut(tenant).map(std::mem::take) else { return Ok(()) };
        let budgets = Arc::clone(&self.rules.budgets);
        for used in uses {
            for at in &known.budgets {
                let Some(budget) = budgets.get(*at).filter(|budget| budget.covers(used)) else { continue };
                let period = self.period(step.tx, (*at, budget), tenant, used.window)?;
                let portion = Portion {
                    used: Pico(budget.measure(&used.amounts, used.currency)),
                    unpriced: budget.lacking(&used.amounts, used.currency),
                };
                step.unpriced += portion.unpriced;
                let other = match used.user {
                    Some(user) => Some(subject::of_user(tenant, user)),
                    None => budget.shared.then(|| budget.subject(tenant)),
                };
                if let Some(subject) = other {
                    if used.user.is_some() && !self.admits_user(step, tenant, &subject)? {
                        continue;
                    }
                    self.know(step, &subject)?;
                    let Some(mut of) = self.known.get_mut(&*subject).map(std::mem::take) else { continue };
                    self.add(step, &subject, &mut of.counters, (*at, budget), (period, portion))?;
                    self.put_back(&subject, of);
                    others.push(subject);
                } else {
                    self.add(step, tenant, &mut known.counters, (*at, budget), (period, portion))?;
                }
            }
        }
        self.evaluate(step, tenant, &mut known.counters)?;
        self.put_back(tenant, known);
        Ok(())
    }

    pub(super) fn put_back(&mut self, subject: &str, known: Known) {
        if let Some(place) = self.known.get_mut(subject) {
            *place = known;
        }
    }

    /// The period of a budget that a window of a tenant belongs to.
    pub(super) fn period(
        &mut self,
        tx: &Transaction<'_>,
        (at, budget): (usize, &Budget),
        tenant: &str,
        window: Timestamp,
    ) -> Result<Period, LedgerError> {
        if budget.span == Span::BillingPeriod {
            let anchor = periods::anchor_of(tx, tenant)?;
            return Ok(budget.period(|| anchor, window));
        }
        if let Some(Some(last)) = self.periods.get(at)
            && last.holds(window)
        {
            return Ok(*last);
        }
        let period = budget.period(Anchor::default, window);
        if let Some(last) = self.periods.get_mut(at) {
            *last = Some(period);
        }
        Ok(period)
    }

    /// Adds an amount to a budget's counter of a period, which becomes the current one unless it is an earlier one.
    fn add(
        &self,
        step: &mut Step<'_, '_>,
        subject: &str,
        counters: &mut Counters,
        (at, budget): (usize, &Budget),
        (period, portion): (Period, Portion),
    ) -> Result<(), LedgerError> {
        if let Some(counter) = counters.of(at) {
            if period.start < counter.period.start && budget.per_user {
                // Of users no past period is kept: there may be any number of them.
                return Ok(());
            }
            if period.start < counter.period.start {
                return self.add_to_past(step, subject, (at, budget), (period, portion));
            }
            if period.start > counter.period.start {
                let past = Past { used: counter.used, stage: counter.stage };
                if !budget.per_user {
                    past::write(step.tx, subject, &budget.name, counter.period, past)?;
                }
                past::expire(step.tx, step.moment.now)?;
                if stages::release(step.tx, subject, &budget.name)? {
                    self.note_end(step, subject, budget, *counter)?;
                }
                // Something of this period may have been counted before the tenant had the budget.
                let used = self.used_so_far(step.tx, subject, budget, period)?;
                if used.is_some() {
                    step.fresh.insert((subject.into(), at, period.start));
                }
                let Portion { used, unpriced } = used.unwrap_or_default();
                *counter = Counter { budget: at, period, used, stage: Stage::Ok, unpriced };
                counters.is_urgent = true;
            }
        } else {
            let used = self.used_so_far(step.tx, subject, budget, period)?;
            if used.is_some() {
                step.fresh.insert((subject.into(), at, period.start));
            }
            let Portion { used, unpriced } = used.unwrap_or_default();
            counters.list.push(Counter { budget: at, period, used, stage: Stage::Ok, unpriced });
        }
        counters.has_changed = true;
        counters.is_urgent |= !budget.scope.is_whole() || budget.per_user;
        if let Some(counter) = counters.of(at)
            && !step.is_fresh(subject, at, period)
        {
            counter.used += portion.used;
            counter.unpriced += portion.unpriced;
        }
        Ok(())
    }

    /// What a budget of all requests has used in a period so far, by the sums. None for any other budget: no sums are kept by
    /// what it covers, or what it counts is measured apart.
    pub(super) fn used_so_far(
        &self,
        tx: &Transaction<'_>,
        subject: &str,
        budget: &Budget,
        period: Period,
    ) -> Result<Option<Portion>, LedgerError> {
        if !budget.scope.is_whole() || budget.per_user || budget.of.is_charged() {
            return Ok(None);
        }
        let tenants: Vec<&str> = if budget.shared { budget.named_tenants().collect() } else { vec![subject] };
        let end = period.end.unwrap_or(Timestamp::from_millis(u64::MAX));
        let mut sum = Portion::default();
        for tenant in tenants {
            for (currency, amounts) in used_in(tx, tenant, period.start, end)? {
                sum.used += Pico(budget.measure(&amounts, currency));
                sum.unpriced += budget.lacking(&amounts, currency);
            }
        }
        Ok(Some(sum))
    }

    /// Adds to a period that is over, for an event that came late.
    fn add_to_past(
        &self,
        step: &mut Step<'_, '_>,
        subject: &str,
        (at, budget): (usize, &Budget),
        (period, portion): (Period, Portion),
    ) -> Result<(), LedgerError> {
        let (tx, moment) = (step.tx, step.moment);
        let mut past = match past::read(tx, subject, &budget.name, period.start)? {
            Some(past) => past,
            None => {
                let used = self.used_so_far(tx, subject, budget, period)?;
                if used.is_some() {
                    step.fresh.insert((subject.into(), at, period.start));
                }
                Past { used: used.unwrap_or_default().used, stage: Stage::Ok }
            }
        };
        if !step.is_fresh(subject, at, period) {
            past.used += portion.used;
        }
        // What a past period lacks is not kept: the stage that it had stays.
        let amount = self.amount(subject, budget);
        let stage = amount.map_or(Stage::Ok, |amount| budget.stage(past.used, amount)).max(past.stage);
        if stage != past.stage {
            let amount = self.amount(subject, budget).unwrap_or_default();
            let (was, used, reason) = (past.stage, past.used, &Reason::default());
            Change { subject, budget, period, was, stage, used, amount, reason }.note(tx, moment, false)?;
            past.stage = stage;
        }
        past::write(tx, subject, &budget.name, period, past)
    }

    /// Counts a subject's current periods again from the sums, which have everything of the transaction.
    pub(super) fn count_again(
        &self,
        step: &mut Step<'_, '_>,
        subject: &str,
        counters: &mut Counters,
        recount: Recount,
    ) -> Result<(), LedgerError> {
        for counter in &mut counters.list {
            let concerned = self.rules.budgets.get(counter.budget).filter(|budget| recount.concerns(budget));
            let Some(budget) = concerned else { continue };
            if let Some(Portion { used, unpriced }) = self.used_so_far(step.tx, subject, budget, counter.period)? {
                (counter.used, counter.unpriced) = (used, unpriced);
                counters.is_urgent = true;
                step.fresh.insert((subject.into(), counter.budget, counter.period.start));
            }
        }
        Ok(())
    }
}

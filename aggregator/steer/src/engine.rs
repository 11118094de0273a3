//! Follows what the ledger counts: adds to what budgets have used, and notes each change of a stage.
//!
//! Counters stay in memory. Their rows are written some at a time: a counter of all requests follows from the sums of the ledger, and
//! is counted again from them where a row may be behind. What does not follow from sums is written in the transaction that changes
//! it. A counter that does not exist yet begins with the sums of its period, which have the current transaction already; so
//! nothing of that transaction is added to it.
use std::collections::{HashMap as StdHashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::HashMap;
use rusqlite::Transaction;
use tokio::sync::Notify;
use weir_contract::Timestamp;
use weir_contract::stage::Stage;
use weir_ledger::amount::Pico;
use weir_ledger::periods;
use weir_ledger::steering::{Moment, Steering, Use, used_in};
use weir_ledger::{LedgerError, periods::Anchor};

use crate::budget::Budget;
use crate::calendar::Period;
use crate::counters::{Counter, Counters};
use crate::file::{Measure, Span};
use crate::past::{self, Past};
use crate::raise::{self, Raise};
use crate::stages::{self, Change};

mod review;

/// What the engine tells others.
#[derive(Debug, Default)]
pub struct Signal {
    changes: AtomicU64,
    position: AtomicU64,
    at: AtomicU64,
    unwritten: AtomicU64,
    /// Wakes the one task that tells gateways.
    changed: Notify,
}

impl Signal {
    /// Returns once a stage in force has changed since it was called last.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// A number that rises with each change of a stage in force.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// The position of the log up to which budgets are evaluated.
    pub fn evaluated_through(&self) -> u64 {
        self.position.load(Ordering::Acquire)
    }

    /// How many rows are behind what is known; writing them needs no event.
    pub fn unwritten(&self) -> u64 {
        self.unwritten.load(Ordering::Acquire)
    }

    /// When the last evaluated record was received; None before the first.
    pub fn evaluated_at(&self) -> Option<Timestamp> {
        Some(self.at.load(Ordering::Acquire)).filter(|at| *at > 0).map(Timestamp::from_millis)
    }

    fn note(&self, followed: Followed) {
        self.position.store(followed.moment.position, Ordering::Release);
        self.at.fetch_max(followed.moment.now.as_millis(), Ordering::AcqRel);
        if followed.changed {
            self.changes.fetch_add(1, Ordering::AcqRel);
            self.changed.notify_one();
        }
    }
}

/// The rules that the engine works by.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// The budgets.
    pub budgets: Arc<[Budget]>,
    /// The plan of each tenant.
    pub plans: Arc<StdHashMap<String, String>>,
}

/// Follows the ledger.
#[derive(Debug)]
pub struct Engine {
    rules: Rules,
    /// The raises that are not over, by subject and budget.
    raises: HashMap<(String, String), Raise>,
    /// What is known of the table `budget_use`.
    known: HashMap<Box<str>, Known>,
    /// Subjects whose rows are behind what is known, the longest first. Each is here once.
    unwritten: VecDeque<Box<str>>,
    /// Whether the rows of subjects that are not known are exact. They are not once a failed transaction has made the engine forget
    /// what was not written.
    trusts_rows: bool,
    /// The last period of each budget: most windows lie in the same one.
    periods: Vec<Option<Period>>,
    /// What the transaction under way did; told once it is committed.
    followed: Option<Followed>,
    signal: Arc<Signal>,
}

/// The most rows that a transaction writes of counters that changed without consequence: a stage that begins, a period that ends and a
/// budget of some requests are always written at once. Sums that follow from the ledger can wait; after a crash they are
/// counted again.
const WRITTEN_MAX: usize = 500;

/// What a transaction did.
#[derive(Clone, Copy, Debug)]
struct Followed {
    moment: Moment,
    /// A stage in force has changed.
    changed: bool,
}

/// What is known of a subject.
#[derive(Debug, Default)]
struct Known {
    /// The places of the budgets that a tenant has.
    budgets: Vec<usize>,
    counters: Counters,
}

/// A transaction under way.
struct Step<'t, 'c> {
    tx: &'t Transaction<'c>,
    moment: Moment,
    /// Counters that begin with the sums, which have everything of this transaction: subject, budget, start of the period.
    fresh: HashSet<(Box<str>, usize, Timestamp)>,
    /// A stage in force has changed.
    changed: bool,
}

impl<'t, 'c> Step<'t, 'c> {
    fn new(tx: &'t Transaction<'c>, moment: Moment) -> Self {
        Step { tx, moment, fresh: HashSet::new(), changed: false }
    }

    fn is_fresh(&self, subject: &str, budget: usize, period: Period) -> bool {
        !self.fresh.is_empty() && self.fresh.contains(&(subject.into(), budget, period.start))
    }
}

impl Engine {
    /// An engine that knows nothing yet; the ledger has it review everything before it follows.
    pub fn new(rules: Rules, signal: Arc<Signal>) -> Self {
        let periods = vec![None; rules.budgets.len()];
        let (raises, known, unwritten) = (HashMap::default(), HashMap::default(), VecDeque::new());
        Engine { rules, raises, known, unwritten, trusts_rows: true, periods, followed: None, signal }
    }

    /// Reads the row of a subject, unless it is known.
    fn know(&mut self, step: &mut Step<'_, '_>, subject: &str) -> Result<(), LedgerError> {
        if self.known.contains_key(subject) {
            return Ok(());
        }
        let plan = self.rules.plans.get(subject).map(String::as_str);
        let has = |(at, budget): (usize, &Budget)| budget.applies(subject, plan).then_some(at);
        let budgets = self.rules.budgets.iter().enumerate().filter_map(has).collect();
        let mut counters = Counters::read(step.tx, subject, &self.rules.budgets)?;
        // A tenant that gets a budget back begins with the sums again: in between, nothing was added.
        let is_its = |counter: &Counter| {
            self.rules.budgets.get(counter.budget).is_some_and(|budget| match budget.shared {
                true => budget.subject("") == subject,
                false => budget.applies(subject, plan),
            })
        };
        let (list, lost): (Vec<_>, Vec<_>) = counters.list.iter().partition(|counter| is_its(counter));
        counters.is_urgent |= !lost.is_empty();
        let name = |counter: &Counter| self.rules.budgets.get(counter.budget).map(|budget| budget.name.to_string());
        counters.gone.extend(lost.iter().filter_map(name));
        counters.list = list;
        for budget in counters.gone.drain(..) {
            past::forget(step.tx, subject, &budget)?;
        }
        if !self.trusts_rows {
            self.count_again(step, subject, &mut counters, Recount::All)?;
        }
        self.known.insert(subject.into(), Known { budgets, counters });
        Ok(())
    }

    /// Adds what a tenant has used, and compares it with the amounts.
    fn follow_tenant(
        &mut self,
        step: &mut Step<'_, '_>,
        uses: &[Use<'_>],
        shared: &mut Vec<String>,
    ) -> Result<(), LedgerError> {
        let Some(tenant) = uses.first().map(|used| used.tenant.as_str()) else { return Ok(()) };
        self.know(step, tenant)?;
        let Some(mut known) = self.known.get_mut(tenant).map(std::mem::take) else { return Ok(()) };
        let budgets = Arc::clone(&self.rules.budgets);
        for used in uses {
            for at in &known.budgets {
                let Some(budget) = budgets.get(*at).filter(|budget| budget.covers(used)) else { continue };
                let period = self.period(step.tx, (*at, budget), tenant, used.window)?;
                let amount = budget.measure(&used.amounts, used.currency);
                if budget.shared {
                    let subject = budget.subject(tenant);
                    self.know(step, &subject)?;
                    let Some(mut of) = self.known.get_mut(&*subject).map(std::mem::take) else { continue };
                    self.add(step, &subject, &mut of.counters, (*at, budget), (period, amount))?;
                    self.put_back(&subject, of);
                    shared.push(subject);
                } else {
                    self.add(step, tenant, &mut known.counters, (*at, budget), (period, amount))?;
                }
            }
        }
        self.evaluate(step, tenant, &mut known.counters)?;
        self.put_back(tenant, known);
        Ok(())
    }

    fn put_back(&mut self, subject: &str, known: Known) {
        if let Some(place) = self.known.get_mut(subject) {
            *place = known;
        }
    }

    /// The period of a budget that a window of a tenant belongs to.
    fn period(
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
        (period, amount): (Period, i128),
    ) -> Result<(), LedgerError> {
        if let Some(counter) = counters.of(at) {
            if period.start < counter.period.start {
                return self.add_to_past(step, subject, (at, budget), (period, amount));
            }
            if period.start > counter.period.start {
                let past = Past { used: counter.used, stage: counter.stage };
                past::write(step.tx, subject, &budget.name, counter.period, past)?;
                past::expire(step.tx, step.moment.now)?;
                stages::release(step.tx, subject, &budget.name)?;
                *counter = Counter { budget: at, period, used: Pico::ZERO, stage: Stage::Ok };
                counters.is_urgent = true;
            }
        } else {
            let used = self.used_so_far(step.tx, subject, budget, period)?;
            if used.is_some() {
                step.fresh.insert((subject.into(), at, period.start));
            }
            counters.list.push(Counter { budget: at, period, used: used.unwrap_or_default(), stage: Stage::Ok });
        }
        counters.has_changed = true;
        counters.is_urgent |= !budget.scope.is_whole();
        if let Some(counter) = counters.of(at)
            && !step.is_fresh(subject, at, period)
        {
            counter.used.0 += amount;
        }
        Ok(())
    }

    /// What a budget of all requests has used in a period so far, by the sums. None for any other budget: no sums are kept by
    /// what it covers.
    fn used_so_far(
        &self,
        tx: &Transaction<'_>,
        subject: &str,
        budget: &Budget,
        period: Period,
    ) -> Result<Option<Pico>, LedgerError> {
        if !budget.scope.is_whole() {
            return Ok(None);
        }
        let tenants: Vec<&str> = if budget.shared { budget.named_tenants().collect() } else { vec![subject] };
        let end = period.end.unwrap_or(Timestamp::from_millis(u64::MAX));
        let mut sum = 0;
        for tenant in tenants {
            for (currency, amounts) in used_in(tx, tenant, period.start, end)? {
                sum += budget.measure(&amounts, currency);
            }
        }
        Ok(Some(Pico(sum)))
    }

    /// Adds to a period that is over, for an event that came late.
    fn add_to_past(
        &self,
        step: &mut Step<'_, '_>,
        subject: &str,
        (at, budget): (usize, &Budget),
        (period, amount): (Period, i128),
    ) -> Result<(), LedgerError> {
        let (tx, moment) = (step.tx, step.moment);
        let mut past = match past::read(tx, subject, &budget.name, period.start)? {
            Some(past) => past,
            None => {
                let used = self.used_so_far(tx, subject, budget, period)?;
                if used.is_some() {
                    step.fresh.insert((subject.into(), at, period.start));
                }
                Past { used: used.unwrap_or_default(), stage: Stage::Ok }
            }
        };
        if !step.is_fresh(subject, at, period) {
            past.used.0 += amount;
        }
        let stage = self.stage(subject, budget, past.used, moment.now);
        if stage != past.stage {
            let amount = self.amount(subject, budget, moment.now).unwrap_or_default();
            let (was, used) = (past.stage, past.used);
            Change { subject, budget, period, was, stage, used, amount }.write(tx, moment, false)?;
            past.stage = stage;
        }
        past::write(tx, subject, &budget.name, period, past)
    }

    /// Counts a subject's current periods again from the sums, which have everything of the transaction.
    fn count_again(
        &self,
        step: &mut Step<'_, '_>,
        subject: &str,
        counters: &mut Counters,
        recount: Recount,
    ) -> Result<(), LedgerError> {
        for counter in &mut counters.list {
            let concerned = self.rules.budgets.get(counter.budget).filter(|budget| recount.concerns(budget));
            let Some(budget) = concerned else { continue };
            if let Some(used) = self.used_so_far(step.tx, subject, budget, counter.period)? {
                counter.used = used;
                counters.is_urgent = true;
                step.fresh.insert((subject.into(), counter.budget, counter.period.start));
            }
        }
        Ok(())
    }

    /// Compares the counters of a subject with the amounts, and writes them if that cannot wait.
    fn evaluate(&mut self, step: &mut Step<'_, '_>, subject: &str, counters: &mut Counters) -> Result<(), LedgerError> {
        let budgets = Arc::clone(&self.rules.budgets);
        let (tx, moment) = (step.tx, step.moment);
        for counter in &mut counters.list {
            let Some(budget) = budgets.get(counter.budget) else { continue };
            let stage = self.stage(subject, budget, counter.used, moment.now);
            if stage == counter.stage {
                continue;
            }
            let amount = self.amount(subject, budget, moment.now).unwrap_or_default();
            let Counter { period, used, stage: was, .. } = *counter;
            let is_current = period.end.is_none_or(|end| moment.now < end);
            Change { subject, budget, period, was, stage, used, amount }.write(tx, moment, is_current)?;
            counter.stage = stage;
            counters.is_urgent = true;
            step.changed |= is_current;
        }
        if counters.is_urgent {
            counters.write(tx, subject, &budgets)?;
        } else if counters.has_changed && !counters.is_queued {
            counters.is_queued = true;
            self.unwritten.push_back(subject.into());
        }
        Ok(())
    }

    /// Writes at most `most` rows that are behind.
    fn write_some(&mut self, tx: &Transaction<'_>, most: usize) -> Result<(), LedgerError> {
        for _ in 0..most {
            let Some(subject) = self.unwritten.pop_front() else { break };
            let Some(known) = self.known.get_mut(&subject) else { continue };
            known.counters.is_queued = false;
            if known.counters.has_changed {
                known.counters.write(tx, &subject, &self.rules.budgets)?;
            }
        }
        Ok(())
    }

    fn tell_unwritten(&self) {
        self.signal.unwritten.store(self.unwritten.len() as u64, Ordering::Release);
    }

    /// Whether it has followed the log to this position since it was made.
    fn has_followed(&self, moment: Moment) -> bool {
        self.signal.evaluated_through() == moment.position
    }

    /// Notes how far the rows follow the log, if none is behind.
    fn note_followed(&self, tx: &Transaction<'_>, moment: Moment) -> Result<(), LedgerError> {
        if self.unwritten.is_empty() {
            tx.prepare_cached("UPDATE budget_followed SET position = ?1")?.execute([moment.position])?;
        }
        Ok(())
    }

    fn stage(&self, subject: &str, budget: &Budget, used: Pico, now: Timestamp) -> Stage {
        self.amount(subject, budget, now).map_or(Stage::Ok, |amount| budget.stage(used, amount))
    }

    /// The amount in force; None while the budget is paused.
    fn amount(&self, subject: &str, budget: &Budget, now: Timestamp) -> Option<Pico> {
        let raised = || self.raises.get(&(subject.to_owned(), budget.name.to_string()));
        match if self.raises.is_empty() { None } else { raised() } {
            Some(raise) if raise.holds(now) => raise.amount,
            _ => Some(budget.amount(subject)),
        }
    }
}

/// What must be counted again from the sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Recount {
    Nothing,
    Costs,
    All,
}

impl Recount {
    fn concerns(self, budget: &Budget) -> bool {
        budget.scope.is_whole()
            && match self {
                Recount::Nothing => false,
                Recount::Costs => budget.of == Measure::Cost,
                Recount::All => true,
            }
    }
}

impl Steering for Engine {
    fn follow(&mut self, tx: &Transaction<'_>, uses: &[Use<'_>], moment: Moment) -> Result<(), LedgerError> {
        let (mut step, mut shared) = (Step::new(tx, moment), Vec::new());
        if !self.rules.budgets.is_empty() {
            for of_tenant in uses.chunk_by(|a, b| a.tenant == b.tenant) {
                self.follow_tenant(&mut step, of_tenant, &mut shared)?;
            }
        }
        shared.sort_unstable();
        shared.dedup();
        for subject in &shared {
            let Some(mut known) = self.known.get_mut(&**subject).map(std::mem::take) else { continue };
            self.evaluate(&mut step, subject, &mut known.counters)?;
            self.put_back(subject, known);
        }
        self.write_some(tx, WRITTEN_MAX)?;
        self.note_followed(tx, moment)?;
        self.followed = Some(Followed { moment, changed: step.changed });
        Ok(())
    }

    fn review(&mut self, tx: &Transaction<'_>, moment: Moment, costs_changed: bool) -> Result<(), LedgerError> {
        self.write_some(tx, usize::MAX)?;
        self.known.clear();
        let raises = raise::active(tx, moment.now)?.into_iter();
        self.raises = raises.map(|raise| ((raise.subject.clone(), raise.budget.clone()), raise)).collect();
        let followed: u64 = tx.query_row("SELECT position FROM budget_followed", [], |row| row.get(0))?;
        let is_exact = self.trusts_rows && (followed == moment.position || self.has_followed(moment));
        let recount = match (is_exact, costs_changed) {
            // A command counted events while no server ran, or a crash took what was not written.
            (false, _) => Recount::All,
            (true, true) => Recount::Costs,
            (true, false) => Recount::Nothing,
        };
        self.trusts_rows = true;
        self.review_all(tx, moment, recount)?;
        stages::expire(tx, moment.now)?;
        self.note_followed(tx, moment)?;
        self.followed = Some(Followed { moment, changed: true });
        Ok(())
    }

    fn flush(&mut self, tx: &Transaction<'_>, moment: Moment) -> Result<bool, LedgerError> {
        self.write_some(tx, WRITTEN_MAX)?;
        if self.has_followed(moment) {
            self.note_followed(tx, moment)?;
        }
        self.tell_unwritten();
        Ok(!self.unwritten.is_empty())
    }

    fn committed(&mut self) {
        if let Some(followed) = self.followed.take() {
            self.signal.note(followed);
            self.tell_unwritten();
        }
    }

    fn forget(&mut self) {
        self.followed = None;
        self.trusts_rows &= self.unwritten.is_empty();
        self.unwritten.clear();
        self.known.clear();
    }
}

//! Follows what the ledger counts: adds to what budgets have used, and notes each change of a stage.
//!
//! Counters stay in memory, and are written with each transaction that changes them. A counter that does not exist yet begins with
//! the sums of its period, which have the current transaction already; so nothing of that transaction is added to it.
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

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
    pub plans: Arc<HashMap<String, String>>,
}

/// Follows the ledger.
#[derive(Debug)]
pub struct Engine {
    rules: Rules,
    /// The raises that are not over, by subject and budget.
    raises: HashMap<(String, String), Raise>,
    /// What is known of the table `budget_use`.
    known: HashMap<String, Known>,
    /// What the transaction under way did; told once it is committed.
    followed: Option<Followed>,
    signal: Arc<Signal>,
}

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

/// A counter that begins in the current transaction, and so has everything of it: subject, budget, start of the period.
type Fresh = HashSet<(String, usize, Timestamp)>;

impl Engine {
    /// An engine that knows nothing yet; the ledger has it review everything before it follows.
    pub fn new(rules: Rules, signal: Arc<Signal>) -> Self {
        Engine { rules, raises: HashMap::new(), known: HashMap::new(), followed: None, signal }
    }

    fn knows(&mut self, tx: &Transaction<'_>, subject: &str) -> Result<(), LedgerError> {
        if self.known.contains_key(subject) {
            return Ok(());
        }
        let plan = self.rules.plans.get(subject).map(String::as_str);
        let has = |(at, budget): (usize, &Budget)| budget.applies(subject, plan).then_some(at);
        let budgets = self.rules.budgets.iter().enumerate().filter_map(has).collect();
        let mut counters = Counters::read(tx, subject, &self.rules.budgets)?;
        // A tenant that gets a budget back begins with the sums again: in between, nothing was added.
        let is_its = |counter: &Counter| {
            self.rules.budgets.get(counter.budget).is_some_and(|budget| match budget.shared {
                true => budget.subject("") == subject,
                false => budget.applies(subject, plan),
            })
        };
        let (list, lost): (Vec<_>, Vec<_>) = counters.list.iter().partition(|counter| is_its(counter));
        counters.dirty |= !lost.is_empty();
        let name = |counter: &Counter| self.rules.budgets.get(counter.budget).map(|budget| budget.name.to_string());
        counters.gone.extend(lost.iter().filter_map(name));
        counters.list = list;
        for budget in counters.gone.drain(..) {
            past::forget(tx, subject, &budget)?;
        }
        self.known.insert(subject.to_owned(), Known { budgets, counters });
        Ok(())
    }

    /// Adds what a tenant has used; `touched` gets the subjects whose counters have changed.
    fn add(
        &mut self,
        tx: &Transaction<'_>,
        used: &Use<'_>,
        fresh: &mut Fresh,
        touched: &mut Vec<String>,
        moment: Moment,
    ) -> Result<(), LedgerError> {
        let tenant = used.tenant.as_str();
        self.knows(tx, tenant)?;
        let count = self.known.get(tenant).map_or(0, |known| known.budgets.len());
        for place in 0..count {
            let Some(at) = self.known.get(tenant).and_then(|known| known.budgets.get(place).copied()) else { break };
            let budgets = Arc::clone(&self.rules.budgets);
            let Some(budget) = budgets.get(at).filter(|budget| budget.covers(used)) else { continue };
            let amount = budget.measure(&used.amounts, used.currency);
            let subject = budget.subject(tenant);
            if subject != tenant {
                self.knows(tx, &subject)?;
            }
            let period = period_of(tx, budget, tenant, used.window)?;
            if self.enter(tx, &subject, (at, budget), period, fresh, moment)? {
                self.count(&subject, (at, period), amount, fresh);
                if touched.last() != Some(&subject) {
                    touched.push(subject);
                }
            } else {
                self.add_to_past(tx, &subject, (at, budget), (period, amount), fresh, moment)?;
            }
        }
        Ok(())
    }

    /// Makes `period` the current one of a budget, unless it is an earlier one: then it returns false.
    fn enter(
        &mut self,
        tx: &Transaction<'_>,
        subject: &str,
        (at, budget): (usize, &Budget),
        period: Period,
        fresh: &mut Fresh,
        moment: Moment,
    ) -> Result<bool, LedgerError> {
        let counters = &mut self.known.entry(subject.to_owned()).or_default().counters;
        let begun = match counters.of(at) {
            Some(counter) if counter.period.start == period.start => return Ok(true),
            Some(counter) if period.start < counter.period.start => return Ok(false),
            Some(counter) => {
                let past = Past { used: counter.used, stage: counter.stage };
                past::write(tx, subject, &budget.name, counter.period, past)?;
                past::expire(tx, moment.now)?;
                stages::release(tx, subject, &budget.name)?;
                *counter = Counter { budget: at, period, used: Pico::ZERO, stage: Stage::Ok };
                true
            }
            None => false,
        };
        if !begun {
            let used = self.used_so_far(tx, subject, budget, period)?;
            if used.is_some() {
                fresh.insert((subject.to_owned(), at, period.start));
            }
            let counter = Counter { budget: at, period, used: used.unwrap_or_default(), stage: Stage::Ok };
            let counters = &mut self.known.entry(subject.to_owned()).or_default().counters;
            counters.list.push(counter);
        }
        Ok(true)
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

    /// Adds to the counter of the current period.
    fn count(&mut self, subject: &str, (at, period): (usize, Period), amount: i128, fresh: &Fresh) {
        let is_fresh = !fresh.is_empty() && fresh.contains(&(subject.to_owned(), at, period.start));
        let Some(counters) = self.known.get_mut(subject).map(|known| &mut known.counters) else { return };
        if let Some(counter) = counters.of(at).filter(|_| !is_fresh) {
            counter.used.0 += amount;
        }
        counters.dirty = true;
    }

    /// Adds to a period that is over, for an event that came late.
    fn add_to_past(
        &mut self,
        tx: &Transaction<'_>,
        subject: &str,
        (at, budget): (usize, &Budget),
        (period, amount): (Period, i128),
        fresh: &mut Fresh,
        moment: Moment,
    ) -> Result<(), LedgerError> {
        let key = (subject.to_owned(), at, period.start);
        let before = past::read(tx, subject, &budget.name, period.start)?;
        let mut past = match before {
            Some(past) => past,
            None => {
                let used = self.used_so_far(tx, subject, budget, period)?;
                if used.is_some() {
                    fresh.insert(key.clone());
                }
                Past { used: used.unwrap_or_default(), stage: Stage::Ok }
            }
        };
        if !fresh.contains(&key) {
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

    /// Compares the counters of a subject with the amounts, and writes them. Returns whether a stage in force changes.
    fn evaluate(&mut self, tx: &Transaction<'_>, subject: &str, moment: Moment) -> Result<bool, LedgerError> {
        let Some(mut known) = self.known.remove(subject) else { return Ok(false) };
        let budgets = Arc::clone(&self.rules.budgets);
        let mut changed = false;
        for counter in &mut known.counters.list {
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
            known.counters.dirty = true;
            changed |= is_current;
        }
        if known.counters.dirty {
            known.counters.write(tx, subject, &budgets)?;
        }
        self.known.insert(subject.to_owned(), known);
        Ok(changed)
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

fn note_followed(tx: &Transaction<'_>, moment: Moment) -> Result<(), LedgerError> {
    tx.prepare_cached("UPDATE budget_followed SET position = ?1")?.execute([moment.position])?;
    Ok(())
}

/// The period of a budget that a window of a tenant belongs to.
fn period_of(tx: &Transaction<'_>, budget: &Budget, tenant: &str, window: Timestamp) -> Result<Period, LedgerError> {
    let anchor = match budget.span {
        Span::BillingPeriod => periods::anchor_of(tx, tenant)?,
        _ => Anchor::default(),
    };
    Ok(budget.period(|| anchor, window))
}

impl Steering for Engine {
    fn follow(&mut self, tx: &Transaction<'_>, uses: &[Use<'_>], moment: Moment) -> Result<(), LedgerError> {
        let (mut fresh, mut touched, mut changed) = (Fresh::new(), Vec::new(), false);
        if !self.rules.budgets.is_empty() {
            for used in uses {
                self.add(tx, used, &mut fresh, &mut touched, moment)?;
            }
        }
        touched.sort_unstable();
        touched.dedup();
        for subject in &touched {
            changed |= self.evaluate(tx, subject, moment)?;
        }
        note_followed(tx, moment)?;
        self.followed = Some(Followed { moment, changed });
        Ok(())
    }

    fn review(&mut self, tx: &Transaction<'_>, moment: Moment, costs_changed: bool) -> Result<(), LedgerError> {
        self.known.clear();
        self.raises = raise::active(tx, moment.now)?
            .into_iter()
            .map(|raise| ((raise.subject.clone(), raise.budget.clone()), raise))
            .collect();
        let followed: u64 = tx.query_row("SELECT position FROM budget_followed", [], |row| row.get(0))?;
        let recount = match () {
            // A command counted events while no server ran.
            () if followed != moment.position => Recount::All,
            () if costs_changed => Recount::Costs,
            () => Recount::Nothing,
        };
        self.review_all(tx, moment, recount)?;
        stages::expire(tx, moment.now)?;
        note_followed(tx, moment)?;
        self.followed = Some(Followed { moment, changed: true });
        Ok(())
    }

    fn committed(&mut self) {
        if let Some(followed) = self.followed.take() {
            self.signal.note(followed);
        }
    }

    fn forget(&mut self) {
        self.followed = None;
        self.known.clear();
    }
}

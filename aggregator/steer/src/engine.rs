//! Follows what the ledger counts: adds to what budgets have used, and notes each change of a stage.
//!
//! Counters stay in memory. Their rows are written some at a time: a counter of all requests follows from the sums of the ledger, and
//! is counted again from them where a row may be behind. What does not follow from sums is written in the transaction that changes
//! it. A counter that does not exist yet begins with the sums of its period, which have the current transaction already; so
//! nothing of that transaction is added to it.
mod count;
mod ends;
mod gone;
mod measured;
mod reasons;
mod review;
mod users;

use std::collections::{HashMap as StdHashMap, HashSet, VecDeque};
use std::sync::Arc;

use foldhash::HashMap;
use weir_contract::Timestamp;
use weir_contract::stage::Stage;
use weir_database::Transaction;
use weir_fault::{self as fault, Point};
use weir_ledger::LedgerError;
use weir_ledger::amount::Pico;
use weir_ledger::steering::{MeasuredUse, Moment, Steering, Use};

use crate::budget::Budget;
use crate::calendar::Period;
use crate::cause::{Cause, Reason};
use crate::counters::{Counter, Counters, Gone};
use crate::file::{Measure, Span};
use crate::known::{self, Differences};
use crate::past::{self, Past};
use crate::raise::{self, Raise};
use crate::signal::Followed;
pub use crate::signal::Signal;
use crate::stages::{self, Change, InForce};
use crate::subject;
use reasons::Reasons;

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
    /// Why stages change that the transaction under way changes.
    reasons: Reasons,
    /// How the configuration differs from the one of the review before.
    differences: Differences,
    /// Whether it has looked at everything since it was made: then it knows which raises are new.
    has_reviewed: bool,
    /// What is known of the table `budget_use`.
    known: HashMap<Box<str>, Known>,
    /// Subjects whose rows are behind what is known, the longest first. Each is here once.
    unwritten: VecDeque<Box<str>>,
    /// How many end users have a row; None as long as nobody has asked.
    users: Option<u64>,
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
    /// Requests that amounts of cost lack.
    unpriced: u64,
}

/// What a budget has used, and the requests that this lacks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Portion {
    used: Pico,
    unpriced: u64,
}

impl<'t, 'c> Step<'t, 'c> {
    fn new(tx: &'t Transaction<'c>, moment: Moment) -> Self {
        Step { tx, moment, fresh: HashSet::new(), changed: false, unpriced: 0 }
    }

    fn is_fresh(&self, subject: &str, budget: usize, period: Period) -> bool {
        !self.fresh.is_empty() && self.fresh.contains(&(subject.into(), budget, period.start))
    }
}

impl Engine {
    /// An engine that knows nothing yet; the ledger has it review everything before it follows.
    pub fn new(rules: Rules, signal: Arc<Signal>) -> Self {
        let periods = vec![None; rules.budgets.len()];
        Engine {
            rules,
            raises: HashMap::default(),
            reasons: Reasons::default(),
            differences: Differences::default(),
            has_reviewed: false,
            known: HashMap::default(),
            unwritten: VecDeque::new(),
            users: None,
            trusts_rows: true,
            periods,
            followed: None,
            signal,
        }
    }

    /// Reads the row of a subject, unless it is known.
    fn know(&mut self, step: &mut Step<'_, '_>, subject: &str) -> Result<(), LedgerError> {
        if self.known.contains_key(subject) {
            return Ok(());
        }
        let plan = self.rules.plans.get(subject::tenant(subject)).map(String::as_str);
        let has = |(at, budget): (usize, &Budget)| budget.applies(subject, plan).then_some(at);
        let is_tenant = subject::user(subject).is_none();
        let budgets = self.rules.budgets.iter().enumerate().filter(|_| is_tenant).filter_map(has).collect();
        let mut counters = Counters::read(step.tx, subject, &self.rules.budgets)?;
        // A tenant that gets a budget back begins with the sums again: in between, nothing was added.
        let is_its = |counter: &Counter| {
            self.rules.budgets.get(counter.budget).is_some_and(|budget| budget.counts(subject, plan))
        };
        let (list, lost): (Vec<_>, Vec<_>) = counters.list.iter().partition(|counter| is_its(counter));
        counters.is_urgent |= !lost.is_empty();
        let gone = |&Counter { budget, period, used, stage, .. }: &Counter| {
            let budget = self.rules.budgets.get(budget)?.name.to_string();
            Some(Gone { budget, period, used, stage })
        };
        counters.gone.extend(lost.iter().filter_map(gone));
        counters.list = list;
        for gone in counters.gone.drain(..) {
            self.note_gone(step, subject, &gone)?;
        }
        if !self.trusts_rows {
            self.count_again(step, subject, &mut counters, Recount::All)?;
        }
        self.known.insert(subject.into(), Known { budgets, counters });
        Ok(())
    }

    /// Compares the counters of a subject with the amounts, and writes them if that cannot wait.
    fn evaluate(&mut self, step: &mut Step<'_, '_>, subject: &str, counters: &mut Counters) -> Result<(), LedgerError> {
        let budgets = Arc::clone(&self.rules.budgets);
        let (tx, moment) = (step.tx, step.moment);
        for counter in &mut counters.list {
            let Some(budget) = budgets.get(counter.budget) else { continue };
            if self.end_mode(step, subject, budget, counter)? {
                counters.is_urgent = true;
                step.changed = true;
            }
            let stage = self.stage(subject, budget, counter);
            if stage == counter.stage {
                continue;
            }
            let amount = self.amount(subject, budget).unwrap_or_default();
            let Counter { period, used, stage: was, .. } = *counter;
            let reason = &self.reasons.take(subject, &budget.name, &self.differences).beside(budget, counter, amount);
            Change { subject, budget, period, was, stage, used, amount, reason }.write(tx, moment)?;
            counter.stage = stage;
            counters.is_urgent = true;
            step.changed = true;
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
        self.signal.note_unwritten(self.unwritten.len());
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

    fn stage(&self, subject: &str, budget: &Budget, counter: &Counter) -> Stage {
        let Counter { used, unpriced, .. } = *counter;
        self.amount(subject, budget).map_or(Stage::Ok, |amount| budget.stage_lacking(used, amount, unpriced))
    }

    /// The amount in force; None while the budget is paused. Raises end when the server looks at them, and not by the time of a record:
    /// that may be counted long after it was received, or the clock was wrong then.
    fn amount(&self, subject: &str, budget: &Budget) -> Option<Pico> {
        // A raise is a tenant's, and so is that of each of its users.
        let whose = if budget.per_user { subject::tenant(subject) } else { subject };
        let raised = || self.raises.get(&(whose.to_owned(), budget.name.to_string()));
        match if self.raises.is_empty() { None } else { raised() } {
            Some(raise) => raise.amount,
            None => Some(budget.amount(subject)),
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
            && !budget.per_user
            && match self {
                Recount::Nothing => false,
                Recount::Costs => budget.of == Measure::Cost,
                Recount::All => true,
            }
    }
}

impl Steering for Engine {
    fn counts_users(&self) -> bool {
        self.rules.budgets.iter().any(|budget| budget.per_user)
    }

    fn take_measured(
        &mut self,
        tx: &Transaction<'_>,
        measured: &[MeasuredUse],
        moment: Moment,
    ) -> Result<(), LedgerError> {
        self.take_all_measured(tx, measured, moment)
    }

    fn follow(&mut self, tx: &Transaction<'_>, uses: &[Use<'_>], moment: Moment) -> Result<(), LedgerError> {
        let (mut step, mut others) = (Step::new(tx, moment), Vec::new());
        if !self.rules.budgets.is_empty() {
            for of_tenant in uses.chunk_by(|a, b| a.tenant == b.tenant) {
                self.follow_tenant(&mut step, of_tenant, &mut others)?;
            }
        }
        others.sort_unstable();
        others.dedup();
        for subject in &others {
            let Some(mut known) = self.known.get_mut(&**subject).map(std::mem::take) else { continue };
            self.evaluate(&mut step, subject, &mut known.counters)?;
            self.put_back(subject, known);
        }
        self.write_some(tx, WRITTEN_MAX)?;
        self.note_followed(tx, moment)?;
        self.followed = Some(Followed { moment, changed: step.changed, unpriced: step.unpriced });
        Ok(())
    }

    fn review(&mut self, tx: &Transaction<'_>, moment: Moment, costs_changed: bool) -> Result<(), LedgerError> {
        self.write_some(tx, usize::MAX)?;
        self.users = None;
        self.known.clear();
        let over = raise::note_over(tx, moment.now)?;
        let raises = raise::active(tx, moment.now)?.into_iter();
        let raises = raises.map(|raise| ((raise.subject.clone(), raise.budget.clone()), raise)).collect();
        let before = match fault::hit(Point::RaiseOutlivesItsDate) && self.has_reviewed {
            true => self.raises.clone(),
            false => std::mem::replace(&mut self.raises, raises),
        };
        let followed: u64 = tx.query_row("SELECT position FROM budget_followed", [], |row| row.get(0))?;
        let is_exact =
            self.trusts_rows && !known::is_empty(tx)? && (followed == moment.position || self.has_followed(moment));
        let recount = match (is_exact, costs_changed) {
            // A command counted events while no server ran, a crash took what was not written, or a version before counted.
            (false, _) => Recount::All,
            (true, true) => Recount::Costs,
            (true, false) => Recount::Nothing,
        };
        self.trusts_rows = true;
        let cause = match recount {
            _ if costs_changed => Cause::Prices,
            Recount::All => Cause::Recount,
            _ => Cause::Rules,
        };
        let known_before = self.has_reviewed.then_some(&before);
        self.differences = known::note(tx, &self.rules.budgets, moment.now)?;
        self.reasons = Reasons::of(cause, known_before, &self.raises, &over, moment.now);
        self.review_all(tx, moment, recount)?;
        (self.reasons, self.differences) = (Reasons::default(), Differences::default());
        self.has_reviewed = true;
        stages::expire(tx, moment.now)?;
        self.note_followed(tx, moment)?;
        self.followed = Some(Followed { moment, changed: true, unpriced: 0 });
        Ok(())
    }

    fn flush(&mut self, tx: &Transaction<'_>, moment: Moment) -> Result<bool, LedgerError> {
        let may_have_ended = self.end_periods(tx, moment)?;
        self.write_some(tx, WRITTEN_MAX)?;
        if self.has_followed(moment) {
            self.note_followed(tx, moment)?;
        }
        self.tell_unwritten();
        Ok(may_have_ended || !self.unwritten.is_empty())
    }

    fn committed(&mut self) {
        if let Some(followed) = self.followed.take() {
            self.signal.note(followed);
            self.tell_unwritten();
        }
    }

    fn forget(&mut self) {
        self.followed = None;
        (self.reasons, self.differences) = (Reasons::default(), Differences::default());
        self.trusts_rows &= self.unwritten.is_empty();
        self.unwritten.clear();
        self.users = None;
        if !fault::hit(Point::CountersOutliveRollback) {
            self.known.clear();
        }
    }
}

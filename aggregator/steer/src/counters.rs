//! What the budgets of a subject have used in their current periods: one row of `budget_use`.
//!
//! The row is a text with a line for each budget: name, a hash of what is counted, start of the period, trillionths of the unit,
//! stage, and of a budget of
//! cost the requests that the amount lacks. One row for all budgets of a subject keeps the cost of counting low: a transaction writes one row for each
//! tenant that has used something.
use std::fmt::Write;

use weir_contract::Timestamp;
use weir_contract::stage::Stage;
use weir_database::{Connection, OptionalExtension, Transaction, params};
use weir_ledger::LedgerError;
use weir_ledger::amount::Pico;

use crate::budget::Budget;
use crate::calendar::Period;

/// The fields that every line has.
const FIELDS: usize = 6;

/// What one budget has used in a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counter {
    /// The place in the list of budgets.
    pub(crate) budget: usize,
    pub(crate) period: Period,
    pub(crate) used: Pico,
    pub(crate) stage: Stage,
    /// Requests that the used amount lacks: they have no price, or one in another currency.
    pub(crate) unpriced: u64,
}

/// The counters of a subject.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counters {
    pub(crate) list: Vec<Counter>,
    /// The row differs from what is in memory.
    pub(crate) has_changed: bool,
    /// The row must be written in this transaction.
    pub(crate) is_urgent: bool,
    /// The row waits to be written.
    pub(crate) is_queued: bool,
    /// Budgets in the row that no longer exist, or count something else now.
    pub(crate) gone: Vec<Gone>,
}

/// What a subject had used of a budget that it no longer has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Gone {
    pub(crate) budget: String,
    pub(crate) period: Period,
    pub(crate) used: Pico,
    pub(crate) stage: Stage,
}

impl Counters {
    /// Reads a row. Lines of budgets that no longer exist, or count something else now, are left out.
    pub(crate) fn read(db: &Connection, subject: &str, budgets: &[Budget]) -> Result<Self, LedgerError> {
        let sql = "SELECT used FROM budget_use WHERE subject = ?1";
        let text: Option<String> = db.prepare_cached(sql)?.query_row([subject], |row| row.get(0)).optional()?;
        Self::parse(&text.unwrap_or_default(), budgets)
    }

    /// Reads the text of a row.
    pub(crate) fn parse(text: &str, budgets: &[Budget]) -> Result<Self, LedgerError> {
        let mut counters = Counters::default();
        for line in text.lines() {
            let wrong = || LedgerError::Inconsistent(format!("budget_use has the line {line:?}"));
            let parts: Vec<&str> = line.split(' ').collect();
            let (parts, unpriced) = match parts[..] {
                [.., unpriced] if parts.len() == FIELDS + 1 => {
                    (&parts[..FIELDS], unpriced.parse().map_err(|_| wrong())?)
                }
                _ => (&parts[..], 0),
            };
            let [name, counted, start, end, used, stage] = *parts else { return Err(wrong()) };
            let millis = |text: &str| text.parse().map(Timestamp::from_millis).map_err(|_| wrong());
            let end = if end == "-" { None } else { Some(millis(end)?) };
            let period = Period { start: millis(start)?, end };
            let used = Pico(used.parse().map_err(|_| wrong())?);
            let stage = Stage::from_name(stage).ok_or_else(wrong)?;
            let is = |budget: &Budget| *budget.name == *name && *budget.counted == *counted;
            match budgets.iter().position(is) {
                Some(budget) => counters.list.push(Counter { budget, period, used, stage, unpriced }),
                None => {
                    counters.is_urgent = true;
                    counters.gone.push(Gone { budget: name.to_owned(), period, used, stage });
                }
            }
        }
        Ok(counters)
    }

    /// Writes the row.
    pub(crate) fn write(&mut self, tx: &Transaction<'_>, subject: &str, budgets: &[Budget]) -> Result<(), LedgerError> {
        let mut text = String::with_capacity(self.list.len() * 64);
        for counter in &self.list {
            let Counter { budget, period, used, stage, unpriced } = counter;
            let Some(budget) = budgets.get(*budget) else { continue };
            let written = write!(text, "{} {} {} ", budget.name, budget.counted, period.start.as_millis());
            let written = written.and_then(|()| match period.end {
                Some(end) => write!(text, "{}", end.as_millis()),
                None => write!(text, "-"),
            });
            written
                .and_then(|()| write!(text, " {} {stage}", used.0))
                .and_then(|()| if *unpriced > 0 { write!(text, " {unpriced}") } else { Ok(()) })
                .and_then(|()| writeln!(text))
                .map_err(|_| LedgerError::Inconsistent("a budget cannot be written".to_owned()))?;
        }
        let sql = "INSERT INTO budget_use(subject, used) VALUES (?1, ?2)
             ON CONFLICT (subject) DO UPDATE SET used = excluded.used";
        tx.prepare_cached(sql)?.execute(params![subject, text])?;
        (self.has_changed, self.is_urgent) = (false, false);
        Ok(())
    }

    /// The counter of a budget.
    pub(crate) fn of(&mut self, budget: usize) -> Option<&mut Counter> {
        self.list.iter_mut().find(|counter| counter.budget == budget)
    }
}

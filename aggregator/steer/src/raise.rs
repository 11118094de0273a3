//! Other amounts until a date: who raised a budget or paused it, and why.
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use weir_contract::Timestamp;
use weir_database::{Connection, Row, params};
use weir_ledger::amount::{PICO, Pico};
use weir_ledger::{LedgerError, audit};

/// The most raises in force at a time: each is looked at whenever its budget is evaluated.
pub(crate) const RAISES_MAX: usize = 10_000;
/// The longest reason, in characters.
pub(crate) const WHY_MAX_CHARS: usize = 250;
/// The longest raise, in milliseconds: a year. What holds for longer belongs in the configuration.
const UNTIL_MAX_MS: u64 = 366 * 24 * 3_600 * 1_000;

/// Who the audit names for changes that no person makes.
pub const AUTOMATIC: &str = "weir";

/// Another amount for one subject of a budget, until a date.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Raise {
    /// Its number.
    pub id: i64,
    /// The tenant, or `#` and the name of a shared budget.
    pub subject: String,
    /// The budget.
    pub budget: String,
    /// The amount; absent if the budget is paused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub amount: Option<Pico>,
    /// The first moment at which the usual amount counts again.
    pub until: Timestamp,
    /// Who raised it.
    pub who: String,
    /// The reason.
    pub why: String,
    /// When.
    pub at: Timestamp,
    /// When it was taken back before its date.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
}

impl Raise {
    /// As people read it.
    pub fn words(&self) -> String {
        let act = self.amount.map_or_else(|| "paused".to_owned(), |amount| format!("raised to {amount}"));
        format!("{act} by {} until {}: {}", self.who, self.until, self.why)
    }
}

/// What a person asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRaise {
    /// The tenant, or `#` and the name of a shared budget.
    pub subject: String,
    /// The budget.
    pub budget: String,
    /// The amount; None pauses the budget.
    pub amount: Option<Pico>,
    /// The first moment at which the usual amount counts again.
    pub until: Timestamp,
    /// Who asks.
    pub who: String,
    /// The reason.
    pub why: String,
    /// The usual amount, with which the new one is compared.
    pub usual: Pico,
    /// Whether the budget counts whole things: tokens or requests.
    pub is_whole: bool,
    /// Whether the amount may be below the one in force.
    pub lowers: bool,
}

/// A raise that is in force now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Raised {
    /// The raise.
    #[serde(flatten)]
    pub raise: Raise,
    /// The raise or pause that it takes the place of. It does not come back, though its date may be the later one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<Raise>,
}

/// Why a budget cannot be raised.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RaiseError {
    /// It ends before it begins.
    #[error("until: {0} is over; name a moment in the future")]
    Over(Timestamp),
    /// It ends too late.
    #[error(
        "until: {until} is too far away; at most {max}, a year from now. Change the amount in weir.yaml for longer"
    )]
    Far {
        /// What is asked for.
        until: Timestamp,
        /// The latest date.
        max: Timestamp,
    },
    /// Nobody says why.
    #[error("why: give a reason of 1 to {WHY_MAX_CHARS} characters on one line; it stands in the audit")]
    Why,
    /// Not an amount that can be used up.
    #[error("amount: above 0, with at most 15 digits before the point; to let everything pass, pause the budget")]
    Amount,
    /// A part of a token or of a request.
    #[error("amount: {0} is no whole number, and this budget counts tokens or requests")]
    Fraction(Pico),
    /// It would lower the amount.
    #[error(
        "amount: {amount} is below {in_force}, which is in force: say that it may be below it (`--lower`, `lower: true`)"
    )]
    Lowers {
        /// What is asked for.
        amount: Pico,
        /// The amount in force.
        in_force: Pico,
    },
    /// Too many of them.
    #[error("{RAISES_MAX} budgets are raised already; change amounts in weir.yaml instead")]
    TooMany,
}

impl RaiseError {
    /// Whether the request itself is wrong, whatever is in force and whatever the time.
    pub fn is_malformed(&self) -> bool {
        matches!(self, RaiseError::Why | RaiseError::Amount)
    }
}

/// Notes a raise in place of the one before, in the audit as well. The caller reviews the budgets after it.
pub fn add(db: &mut Connection, new: &NewRaise, now: Timestamp) -> Result<Result<Raised, RaiseError>, LedgerError> {
    if let Err(error) = check(new, now) {
        return Ok(Err(error));
    }
    let tx = db.transaction()?;
    let active = active(&tx, now)?;
    let replaces =
        active.iter().rev().find(|raise| raise.subject == new.subject && raise.budget == new.budget).cloned();
    let in_force = replaces.as_ref().and_then(|raise| raise.amount).unwrap_or(new.usual);
    if let Some(amount) = new.amount.filter(|amount| *amount < in_force && !new.lowers) {
        return Ok(Err(RaiseError::Lowers { amount, in_force }));
    }
    if active.len() >= RAISES_MAX && replaces.is_none() {
        return Ok(Err(RaiseError::TooMany));
    }
    end_in(&tx, &new.subject, &new.budget, now)?;
    let sql = "INSERT INTO budget_raise(subject, budget, amount, until, who, why, at) VALUES (?1,?2,?3,?4,?5,?6,?7)
               RETURNING id";
    let amount = new.amount.map(|amount| amount.to_string());
    let (until, at) = (new.until.as_millis(), now.as_millis());
    let row = params![new.subject, new.budget, amount, until, new.who, new.why, at];
    let id = tx.query_row(sql, row, |row| row.get(0))?;
    let (act, to) = match &amount {
        Some(amount) => ("budgets.raise", format!(" to {amount}")),
        None => ("budgets.pause", String::new()),
    };
    let instead = replaces.as_ref().map_or_else(String::new, |raise| format!(" (instead of: {})", raise.words()));
    let detail = format!("{} of {}{to} until {}: {}{instead}", new.budget, new.subject, new.until, new.why);
    audit::note(&tx, now, &new.who, act, &detail)?;
    tx.commit()?;
    let NewRaise { subject, budget, amount, until, who, why, .. } = new.clone();
    let raise = Raise { id, subject, budget, amount, until, who, why, at: now, ended_at: None };
    Ok(Ok(Raised { raise, replaces }))
}

/// Whether a text can be a reason.
pub fn is_reason(why: &str) -> bool {
    !why.trim().is_empty() && why.chars().count() <= WHY_MAX_CHARS && !why.contains(char::is_control)
}

fn check(new: &NewRaise, now: Timestamp) -> Result<(), RaiseError> {
    if new.until <= now {
        return Err(RaiseError::Over(new.until));
    }
    let max = now.plus_millis(UNTIL_MAX_MS);
    if new.until > max {
        return Err(RaiseError::Far { until: new.until, max });
    }
    if !is_reason(&new.why) {
        return Err(RaiseError::Why);
    }
    match new.amount {
        Some(amount) if amount.0 <= 0 || !amount.is_writable() => Err(RaiseError::Amount),
        Some(amount) if new.is_whole && amount.0 % PICO != 0 => Err(RaiseError::Fraction(amount)),
        _ => Ok(()),
    }
}

/// Takes back the raise of a subject; returns false if there is none. The caller reviews the budgets after it.
pub fn end(db: &mut Connection, subject: &str, budget: &str, who: &str, now: Timestamp) -> Result<bool, LedgerError> {
    let tx = db.transaction()?;
    let ended = end_in(&tx, subject, budget, now)?;
    if ended {
        audit::note(&tx, now, who, "budgets.resume", &format!("{budget} of {subject}"))?;
    }
    tx.commit()?;
    Ok(ended)
}

fn end_in(tx: &Connection, subject: &str, budget: &str, now: Timestamp) -> Result<bool, LedgerError> {
    let sql =
        "UPDATE budget_raise SET ended_at = ?3 WHERE subject = ?1 AND budget = ?2 AND until > ?3 AND ended_at IS NULL";
    Ok(tx.execute(sql, params![subject, budget, now.as_millis()])? > 0)
}

/// The raises in force.
pub fn active(db: &Connection, now: Timestamp) -> Result<Vec<Raise>, LedgerError> {
    let sql = "SELECT id, subject, budget, amount, until, who, why, at, ended_at FROM budget_raise
               WHERE until > ?1 AND ended_at IS NULL ORDER BY id";
    let mut select = db.prepare_cached(sql)?;
    let rows = select.query_map([now.as_millis()], read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Whether the date of a raise is over and no review has seen that.
pub fn has_over(db: &Connection, now: Timestamp) -> Result<bool, LedgerError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM budget_raise WHERE over_noted = 0 AND ended_at IS NULL AND until <= ?1)";
    Ok(db.prepare_cached(sql)?.query_row([now.as_millis()], |row| row.get(0))?)
}

/// Notes in the audit which raises have ended by their date since the last look, and returns them.
pub(crate) fn note_over(tx: &Connection, now: Timestamp) -> Result<Vec<Raise>, LedgerError> {
    let sql = "UPDATE budget_raise SET over_noted = 1 WHERE over_noted = 0 AND ended_at IS NULL AND until <= ?1
               RETURNING id, subject, budget, amount, until, who, why, at, ended_at";
    let mut update = tx.prepare_cached(sql)?;
    let over: Vec<Raise> = update.query_map([now.as_millis()], read)?.collect::<Result<_, _>>()?;
    for raise in &over {
        let detail = format!("{} of {}: {}", raise.budget, raise.subject, raise.words());
        audit::note(tx, raise.until, AUTOMATIC, "budgets.raise_over", &detail)?;
    }
    Ok(over)
}

fn read(row: &Row<'_>) -> Result<Raise, weir_database::Error> {
    let millis = |column| row.get::<_, u64>(column).map(Timestamp::from_millis);
    Ok(Raise {
        id: row.get(0)?,
        subject: row.get(1)?,
        budget: row.get(2)?,
        amount: row.get::<_, Option<String>>(3)?.and_then(|text| Pico::parse(&text)),
        until: millis(4)?,
        who: row.get(5)?,
        why: row.get(6)?,
        at: millis(7)?,
        ended_at: row.get::<_, Option<u64>>(8)?.map(Timestamp::from_millis),
    })
}

//! The port through which budgets follow what the ledger counts.
//!
//! The ledger knows no budgets. In each transaction, once the sums are written, it tells what the transaction added; whatever
//! the port writes becomes durable with the position of the log, or not at all. The tables `budget_…` belong to the port.
use std::fmt::Debug;

use rusqlite::{Connection, Transaction, params};
use weir_contract::{TenantId, Timestamp};
use weir_event_log::Position;

use crate::amount::{Currency, Pico};
use crate::line::Line;
use crate::{LedgerError, SqliteLedger};

/// What one transaction added to a tenant's window, for requests that share all these traits.
#[derive(Clone, Copy, Debug)]
pub struct Use<'a> {
    /// The tenant.
    pub tenant: &'a TenantId,
    /// The start of the window.
    pub window: Timestamp,
    /// The model that served, the class, the route, the feature and the credential; empty where there is none.
    pub model: &'a str,
    /// See `model`.
    pub class: &'a str,
    /// See `model`.
    pub route: &'a str,
    /// See `model`.
    pub feature: &'a str,
    /// See `model`.
    pub credential: &'a str,
    /// What was used.
    pub amounts: UsedAmounts,
    /// The currency of the cost; None if nothing has a price.
    pub currency: Option<Currency>,
}

/// What was used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UsedAmounts {
    /// Requests.
    pub requests: u64,
    /// Input tokens, cached ones included.
    pub input_tokens: u64,
    /// Output tokens, reasoning included.
    pub output_tokens: u64,
    /// What the house pays for it.
    pub cost: Pico,
}

/// Where a transaction stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The last record that it counts.
    pub position: Position,
    /// When that record was received, or the clock's time where no record is counted.
    pub now: Timestamp,
}

/// Follows what is counted.
pub trait Steering: Debug + Send {
    /// Takes what a transaction adds. The tables of sums have it already.
    fn follow(&mut self, tx: &Transaction<'_>, uses: &[Use<'_>], moment: Moment) -> Result<(), LedgerError>;

    /// Compares everything with its rules again: the rules are new, or sums have changed in another way.
    fn review(&mut self, tx: &Transaction<'_>, moment: Moment, costs_changed: bool) -> Result<(), LedgerError>;

    /// Writes some of what it knows and has not written. Returns whether more is left.
    fn flush(&mut self, tx: &Transaction<'_>, moment: Moment) -> Result<bool, LedgerError>;

    /// The transaction that it followed, reviewed or flushed last is committed.
    fn committed(&mut self);

    /// Forgets what it remembers of the tables: a transaction was rolled back.
    fn forget(&mut self);
}

impl<'a> Use<'a> {
    pub(crate) fn of(line: &'a Line) -> Self {
        let [model, class, route, feature, _, _, credential, _] = &line.combination.dimensions;
        let amounts = &line.amounts;
        Use {
            tenant: &line.tenant,
            window: line.window,
            model,
            class,
            route,
            feature,
            credential,
            amounts: UsedAmounts {
                requests: amounts.requests,
                input_tokens: amounts.input_tokens,
                output_tokens: amounts.output_tokens,
                cost: amounts.cost,
            },
            currency: line.combination.currency,
        }
    }
}

/// What a tenant has used in windows that start in a span, by currency.
pub fn used_in(
    db: &Connection,
    tenant: &str,
    from: Timestamp,
    to: Timestamp,
) -> Result<Vec<(Option<Currency>, UsedAmounts)>, LedgerError> {
    // By the index `cost_tenant`: the other way, by window, would read the rows of all tenants.
    let sql = "SELECT currency, sum(requests), sum(input_tokens), sum(output_tokens), sum(cost_units), sum(cost_pico)
               FROM cost INDEXED BY cost_tenant WHERE tenant = ?1 AND window_start >= ?2 AND window_start < ?3 GROUP BY currency";
    let mut select = db.prepare_cached(sql)?;
    let (from, to) = (from.as_millis(), i64::try_from(to.as_millis()).unwrap_or(i64::MAX));
    let rows = select.query_map(params![tenant, from, to], |row| {
        let amounts = UsedAmounts {
            requests: row.get(1)?,
            input_tokens: row.get(2)?,
            output_tokens: row.get(3)?,
            cost: Pico::of_columns(row.get(4)?, row.get(5)?),
        };
        Ok((Currency::parse(row.get_ref(0)?.as_str().unwrap_or_default()), amounts))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

impl SqliteLedger {
    /// Follows with `steering` from now on, and lets it look at everything once. The transaction is on disk when this returns.
    pub fn set_steering(&mut self, steering: Option<Box<dyn Steering>>, now: Timestamp) -> Result<(), LedgerError> {
        while self.flush_steering(now)? {}
        self.steering = steering;
        self.review_steering(now, false)
    }

    /// Lets the port write what it has not written; returns whether more is left. For moments without events.
    pub fn flush_steering(&mut self, now: Timestamp) -> Result<bool, LedgerError> {
        self.check_whole()?;
        let Some(mut steering) = self.steering.take() else { return Ok(false) };
        let moment = Moment { position: self.position(), now };
        let outcome = self.db.transaction().map_err(LedgerError::from).and_then(|tx| {
            let more = steering.flush(&tx, moment)?;
            tx.commit()?;
            Ok(more)
        });
        match &outcome {
            Ok(_) => steering.committed(),
            Err(_) => steering.forget(),
        }
        self.steering = Some(steering);
        self.remember_failure(outcome)
    }

    /// Lets the port compare everything with its rules again.
    pub fn review_steering(&mut self, now: Timestamp, costs_changed: bool) -> Result<(), LedgerError> {
        let Some(mut steering) = self.steering.take() else { return Ok(()) };
        let moment = Moment { position: self.position(), now };
        let outcome = self.durably(|db| {
            let tx = db.transaction()?;
            steering.review(&tx, moment, costs_changed)?;
            Ok(tx.commit()?)
        });
        match outcome {
            Ok(()) => steering.committed(),
            Err(_) => steering.forget(),
        }
        self.steering = Some(steering);
        outcome
    }
}

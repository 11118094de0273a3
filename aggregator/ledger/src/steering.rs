//! The port through which budgets follow what the ledger counts.
//!
//! The ledger knows no budgets. In each transaction, once the sums are written, it tells what the transaction added; whatever
//! the port writes becomes durable with the position of the log, or not at all. The tables `budget_…` belong to the port.
use std::collections::BTreeMap;
use std::fmt::Debug;

use weir_contract::{TenantId, Timestamp, UsageData};
use weir_database::{Connection, Transaction, params};
use weir_event_log::Position;
use weir_event_log::redact::is_user;

use crate::amount::{Currency, Pico};
use crate::cost::EventCost;
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
    /// The end user, where the row is one user's. Such rows repeat what the others have, name no trait, and come only if the port
    /// asks for them.
    pub user: Option<&'a str>,
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
    /// Those of the requests that used something without a price, which the cost lacks.
    pub unpriced_requests: u64,
}

/// Where a transaction stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The last record that it counts.
    pub position: Position,
    /// When that record was received, or the clock's time where no record is counted.
    pub now: Timestamp,
}

/// What a budget has used by a measurement outside of the ledger's transactions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeasuredUse {
    /// The tenant, or the name under which the budget is counted.
    pub subject: String,
    /// The budget.
    pub budget: String,
    /// The first moment of its period.
    pub start: Timestamp,
    /// The first moment after it; None for a budget without periods.
    pub end: Option<Timestamp>,
    /// What is used of it.
    pub used: Pico,
}

/// Follows what is counted.
pub trait Steering: Debug + Send {
    /// Whether it counts what each end user has used.
    fn counts_users(&self) -> bool {
        false
    }

    /// Takes what was measured.
    fn take_measured(
        &mut self,
        tx: &Transaction<'_>,
        measured: &[MeasuredUse],
        moment: Moment,
    ) -> Result<(), LedgerError>;

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
    /// Its place among those of a transaction. Those that share one differ in amounts only, whose order changes no sum.
    pub(crate) fn place(&self) -> impl Ord + use<'a> {
        let Use { tenant, window, model, class, route, feature, credential, user, currency, .. } = *self;
        (tenant, window, user, [model, class, route, feature, credential], currency)
    }

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
            user: None,
            amounts: UsedAmounts {
                requests: amounts.requests,
                input_tokens: amounts.input_tokens,
                output_tokens: amounts.output_tokens,
                cost: amounts.cost,
                unpriced_requests: if line.combination.unpriced == 0 { 0 } else { amounts.requests },
            },
            currency: line.combination.currency,
        }
    }
}

/// What end users have used in one transaction.
#[derive(Debug, Default)]
pub(crate) struct UserSums(BTreeMap<UserKey, UsedAmounts>);

/// Tenant, window, user, currency.
type UserKey = (TenantId, Timestamp, String, Option<Currency>);

impl UserSums {
    /// Adds a request, if it names its user as gateways do.
    pub(crate) fn add(
        &mut self,
        (tenant, window): (&TenantId, Timestamp),
        data: &UsageData<'_>,
        cost: Option<&EventCost>,
    ) {
        // A name of zeros is what is left of a user who was forgotten.
        let is_somebody = |user: &&str| is_user(user) && !user.trim_end_matches('0').ends_with(':');
        let Some(user) = data.user.as_deref().filter(is_somebody) else { return };
        let key = (tenant.clone(), window, user.to_owned(), cost.and_then(|cost| cost.currency));
        let sum = self.0.entry(key).or_default();
        sum.requests += 1;
        sum.input_tokens += data.usage.input_tokens.unwrap_or(0);
        sum.output_tokens += data.usage.output_tokens.unwrap_or(0);
        sum.cost += cost.map(|cost| cost.cost).unwrap_or_default();
        sum.unpriced_requests += u64::from(cost.is_some_and(|cost| !cost.unpriced.is_empty()));
    }

    /// One row for each user, window and currency.
    pub(crate) fn uses(&self) -> impl Iterator<Item = Use<'_>> {
        self.0.iter().map(|((tenant, window, user, currency), amounts)| Use {
            tenant,
            window: *window,
            model: "",
            class: "",
            route: "",
            feature: "",
            credential: "",
            user: Some(user),
            amounts: *amounts,
            currency: *currency,
        })
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
    let sql = "SELECT currency, sum(requests), sum(input_tokens), sum(output_tokens), sum(cost_units), sum(cost_pico),
                      sum(unpriced_requests) FROM cost INDEXED BY cost_tenant WHERE tenant = ?1 AND window_start >= ?2 AND window_start < ?3 GROUP BY currency";
    let mut select = db.prepare_cached(sql)?;
    let (from, to) = (from.as_millis(), i64::try_from(to.as_millis()).unwrap_or(i64::MAX));
    let rows = select.query_map(params![tenant, from, to], |row| {
        let amounts = UsedAmounts {
            requests: row.get(1)?,
            input_tokens: row.get(2)?,
            output_tokens: row.get(3)?,
            cost: Pico::of_columns(row.get(4)?, row.get(5)?),
            unpriced_requests: row.get(6)?,
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
        let outcome = self.steer(now, |steering, db, moment| {
            let tx = db.transaction()?;
            let more = steering.flush(&tx, moment)?;
            tx.commit()?;
            Ok(more)
        });
        let outcome = outcome.map(|more| more.unwrap_or(false));
        self.remember_failure(outcome)
    }

    /// Lets the port compare everything with its rules again.
    pub fn review_steering(&mut self, now: Timestamp, costs_changed: bool) -> Result<(), LedgerError> {
        self.steer_durably(now, |steering, tx, moment| steering.review(tx, moment, costs_changed))
    }

    /// Hands over what budgets have used that are measured outside of transactions.
    pub fn note_measured(&mut self, now: Timestamp, measured: &[MeasuredUse]) -> Result<(), LedgerError> {
        self.steer_durably(now, |steering, tx, moment| steering.take_measured(tx, measured, moment))
    }

    fn steer_durably(
        &mut self,
        now: Timestamp,
        work: impl FnOnce(&mut dyn Steering, &Transaction<'_>, Moment) -> Result<(), LedgerError>,
    ) -> Result<(), LedgerError> {
        let Some(mut steering) = self.steering.take() else { return Ok(()) };
        let moment = Moment { position: self.position(), now };
        let outcome = self.durably(|db| {
            let tx = db.transaction()?;
            work(&mut *steering, &tx, moment)?;
            Ok(tx.commit()?)
        });
        match outcome {
            Ok(()) => steering.committed(),
            Err(_) => steering.forget(),
        }
        self.steering = Some(steering);
        outcome
    }

    /// Lets the port work in a transaction of its own; None without a port.
    fn steer<T>(
        &mut self,
        now: Timestamp,
        work: impl FnOnce(&mut dyn Steering, &mut Connection, Moment) -> Result<T, LedgerError>,
    ) -> Result<Option<T>, LedgerError> {
        let Some(mut steering) = self.steering.take() else { return Ok(None) };
        let moment = Moment { position: self.position(), now };
        let outcome = work(&mut *steering, &mut self.db, moment);
        match outcome {
            Ok(_) => steering.committed(),
            Err(_) => steering.forget(),
        }
        self.steering = Some(steering);
        outcome.map(Some)
    }
}

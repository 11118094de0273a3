//! Chooses customer, billing period and hold for an amount.
//!
//! The choice is made when a row is made, and again when a held row is released. Once an attempt may have reached the
//! provider it stands: from then on only the provider's summaries can tell what happened.
use weir_contract::Timestamp;
use weir_database::{Connection, params};
use weir_fault::{self as fault, Point};

use super::policy::{BillingPolicy, Late};
use super::{BillingError, Hold, Identity, mapping, schedule, sender};
use weir_ledger::periods::{self, Period};

/// The largest amount that the provider takes: 15 digits.
pub(super) const VALUE_MAX: i64 = 999_999_999_999_999;
/// The provider takes nothing older than 35 days. An hour before, in milliseconds.
pub(super) const AGE_MAX_MS: u64 = (35 * 24 - 1) * 3_600_000;
/// The oldest time given to an amount that moves to a later period, in milliseconds before now: it stays acceptable
/// through some days of outage.
const MOVED_BACK_MAX_MS: u64 = 28 * 24 * 3_600_000;

/// An amount of a window that has no row yet.
#[derive(Clone, Debug)]
pub(super) struct UnbilledAmount {
    pub(super) tenant: String,
    pub(super) meter: String,
    pub(super) event_name: String,
    pub(super) window: Timestamp,
    pub(super) window_end: Timestamp,
    pub(super) revision: i64,
    pub(super) value: i64,
    /// The customer, if already chosen; it does not change.
    pub(super) customer: Option<String>,
}

/// The customer, time and hold chosen for an amount.
#[derive(Clone, Debug)]
pub(super) struct Assignment {
    pub(super) customer: Option<String>,
    pub(super) identifier: Option<String>,
    pub(super) timestamp: u64,
    pub(super) period: Period,
    pub(super) moved: bool,
    pub(super) hold: Option<Hold>,
}

/// Chooses customer, period and hold.
pub(super) struct Assigner<'a> {
    pub(super) db: &'a Connection,
    pub(super) policy: &'a BillingPolicy,
    pub(super) now: Timestamp,
    restored_at: Timestamp,
}

impl<'a> Assigner<'a> {
    pub(super) fn open(db: &'a Connection, policy: &'a BillingPolicy, now: Timestamp) -> Result<Self, BillingError> {
        Ok(Assigner { db, policy, now, restored_at: sender::restored_at(db)? })
    }

    /// Makes the choice. `verified`: the provider's summaries show that it does not have the amount.
    pub(super) fn assign(&self, amount: &UnbilledAmount, verified: bool) -> Result<Assignment, BillingError> {
        let customer = match &amount.customer {
            Some(customer) => Some(customer.clone()),
            None => mapping::customer(self.db, &amount.tenant, amount.window)?,
        };
        let anchor = periods::anchor_of(self.db, &amount.tenant)?;
        let mut timestamp = self.inside(amount);
        let mut period = anchor.period(timestamp);
        let mut moved = false;
        let late = self.policy.is_invoiced(period.end, self.now);
        let unsettled = self.is_unsettled(amount, period, verified)?;
        // An amount that the provider may have must be verified in its own hour, so it is not moved.
        if late && !unsettled && self.policy.late == Late::NextPeriod {
            period = anchor.period(self.now);
            let oldest = Timestamp::from_millis(self.now.as_millis().saturating_sub(MOVED_BACK_MAX_MS));
            timestamp = period.start.max(oldest);
            moved = true;
        }
        let identifier = customer.as_deref().map(|customer| self.identifier(amount, customer));
        let mut assignment =
            Assignment { customer, identifier, timestamp: timestamp.as_secs(), period, moved, hold: None };
        assignment.hold = self.hold(amount, &assignment, late && !moved, unsettled)?;
        assert_eq!(assignment.customer.is_some(), assignment.identifier.is_some(), "an identifier names a customer");
        assert!(assignment.hold.is_some() || assignment.customer.is_some(), "what is sent has a customer");
        Ok(assignment)
    }

    /// Returns true if the provider may already have an amount from before the ledger was restored. A verified hour
    /// settles that, unless the amount may have been billed in a later period or to another customer.
    fn is_unsettled(&self, amount: &UnbilledAmount, own: Period, verified: bool) -> Result<bool, BillingError> {
        if amount.window >= self.restored_at {
            return Ok(false);
        }
        if fault::hit(Point::RestoredMoved) {
            return Ok(!verified && !self.policy.is_invoiced(own.end, self.now));
        }
        let moves = self.policy.late == Late::NextPeriod;
        Ok(!verified
            || moves && self.policy.is_invoiced(own.end, self.restored_at)
            || mapping::changed_unseen(self.db, &amount.tenant, self.restored_at)?)
    }

    fn hold(
        &self,
        amount: &UnbilledAmount,
        assignment: &Assignment,
        late: bool,
        unsettled: bool,
    ) -> Result<Option<Hold>, BillingError> {
        let Some(customer) = &assignment.customer else { return Ok(Some(Hold::NoCustomer)) };
        Ok(if amount.value.unsigned_abs() > VALUE_MAX.unsigned_abs() {
            Some(Hold::TooLarge)
        } else if unsettled {
            Some(Hold::Restored)
        } else if late {
            Some(Hold::Invoiced)
        } else if assignment.timestamp * 1_000 + AGE_MAX_MS < self.now.as_millis() {
            Some(Hold::TooOld)
        } else if amount.value < 0
            && self.period_sum(customer, &amount.event_name, assignment.period)? + amount.value < 0
        {
            Some(Hold::BelowZero)
        } else {
            None
        })
    }

    /// The sum of a customer's period, with all rows sent or still to be sent.
    fn period_sum(&self, customer: &str, event_name: &str, period: Period) -> Result<i64, BillingError> {
        if fault::hit(Point::BelowZeroSent) {
            return Ok(VALUE_MAX);
        }
        let sql = "SELECT coalesce(sum(value), 0) FROM outbox
                   WHERE customer = ?1 AND event_name = ?2 AND timestamp >= ?3 AND timestamp < ?4
                     AND state IN ('reported', 'pending')";
        let bounds = (period.start.as_secs(), period.end.as_secs());
        let sum =
            self.db.prepare_cached(sql)?.query_row(params![customer, event_name, bounds.0, bounds.1], |r| r.get(0))?;
        Ok(sum)
    }

    /// The moment that an amount is billed at: the last second of its window, so that a subscription that begins within
    /// the hour receives it; never later than now, which the provider would refuse.
    fn inside(&self, amount: &UnbilledAmount) -> Timestamp {
        let last = Timestamp::from_secs(amount.window_end.as_secs().saturating_sub(1));
        last.min(self.now).max(amount.window)
    }

    fn identifier(&self, amount: &UnbilledAmount, customer: &str) -> String {
        Identity {
            ledger: &self.policy.ledger,
            account: &self.policy.account,
            customer,
            tenant: &amount.tenant,
            meter: &amount.meter,
            event_name: &amount.event_name,
            window: amount.window,
            revision: amount.revision,
        }
        .identifier()
    }

    /// Makes the choice again for a row that no attempt under way can have carried to the provider.
    pub(super) fn reassign(&self, id: i64, verified: bool) -> Result<(), BillingError> {
        let amount = read(self.db, id)?;
        let assignment = self.assign(&amount, verified)?;
        let (state, reason) = words(assignment.hold);
        // A changed body needs a new idempotency key; the identifier stays.
        self.db
            .prepare_cached(
                "UPDATE outbox SET customer = ?2, identifier = ?3, timestamp = ?4, period_start = ?5, period_end = ?6,
                   moved = ?7, state = ?8, reason = ?9, not_before = 0, unsure_at = NULL, key_number = key_number + 1,
                   held_at = CASE WHEN ?8 = 'held' THEN coalesce(held_at, ?10) END
                 WHERE id = ?1 AND state <> 'reported' AND in_flight IS NULL",
            )?
            .execute(params![
                id,
                assignment.customer,
                assignment.identifier,
                assignment.timestamp,
                assignment.period.start.as_millis(),
                assignment.period.end.as_millis(),
                assignment.moved,
                state,
                reason,
                self.now.as_millis(),
            ])?;
        if assignment.hold == Some(Hold::Restored) {
            schedule::schedule(self.db, id, self.now)?;
        }
        Ok(())
    }

    /// Holds a row.
    pub(super) fn hold_row(&self, id: i64, hold: Hold) -> Result<(), BillingError> {
        self.db
            .prepare_cached(
                "UPDATE outbox SET state = 'held', reason = ?2, held_at = ?3 WHERE id = ?1 AND state = 'pending'",
            )?
            .execute(params![id, hold.as_str(), self.now.as_millis()])?;
        if matches!(hold, Hold::Unsure | Hold::Restored) {
            schedule::schedule(self.db, id, self.now)?;
        }
        Ok(())
    }

    /// Inserts a row and returns its number.
    pub(super) fn insert(&self, amount: &UnbilledAmount, kind: &str) -> Result<i64, BillingError> {
        let assignment = self.assign(amount, false)?;
        if fault::hit(Point::HeldForgotten) && assignment.hold.is_some() && kind == "usage" {
            return Ok(0);
        }
        let (state, reason) = words(assignment.hold);
        let (account, now) = (&self.policy.account, self.now.as_millis());
        let id = self
            .db
            .prepare_cached(
                "INSERT INTO outbox(window_start, tenant, meter, revision, value, account, livemode, event_name, customer,
                                    identifier, timestamp, state, reason, created_at, kind, window_end, period_start,
                                    period_end, moved, held_at)
                 VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,?19,
                         CASE WHEN ?12 = 'held' THEN ?14 END)
                 RETURNING id",
            )?
            .query_row(
                params![
                amount.window.as_millis(),
                amount.tenant,
                amount.meter,
                amount.revision,
                amount.value,
                account.id,
                account.livemode,
                amount.event_name,
                assignment.customer,
                assignment.identifier,
                assignment.timestamp,
                state,
                reason,
                now,
                kind,
                amount.window_end.as_millis(),
                assignment.period.start.as_millis(),
                assignment.period.end.as_millis(),
                assignment.moved,
            ],
                |row| row.get(0),
            )?;
        if assignment.hold == Some(Hold::Restored) {
            schedule::schedule(self.db, id, self.now)?;
        }
        Ok(id)
    }
}

fn words(hold: Option<Hold>) -> (&'static str, Option<&'static str>) {
    (if hold.is_some() { "held" } else { "pending" }, hold.map(Hold::as_str))
}

fn read(db: &Connection, id: i64) -> Result<UnbilledAmount, BillingError> {
    let sql = "SELECT tenant, meter, event_name, window_start, window_end, revision, value, customer
               FROM outbox WHERE id = ?1";
    let amount = db.prepare_cached(sql)?.query_row([id], |row| {
        let time = |column| Ok::<_, weir_database::Error>(Timestamp::from_millis(row.get::<_, u64>(column)?));
        Ok(UnbilledAmount {
            tenant: row.get(0)?,
            meter: row.get(1)?,
            event_name: row.get(2)?,
            window: time(3)?,
            window_end: time(4)?,
            revision: row.get(5)?,
            value: row.get(6)?,
            customer: row.get(7)?,
        })
    })?;
    Ok(amount)
}

/// The next revision of a window.
pub(super) fn next_revision(
    db: &Connection,
    window: Timestamp,
    tenant: &str,
    meter: &str,
) -> Result<i64, BillingError> {
    if fault::hit(Point::RevisionReused) {
        let sql =
            "UPDATE outbox SET revision = -id WHERE window_start = ?1 AND tenant = ?2 AND meter = ?3 AND revision = 0";
        db.execute(sql, params![window.as_millis(), tenant, meter])?;
        let sql =
            "UPDATE outbox SET identifier = identifier || '#' || id WHERE revision = -id AND identifier NOT LIKE '%#%'";
        db.execute(sql, [])?;
        return Ok(0);
    }
    let sql =
        "SELECT coalesce(max(revision) + 1, 0) FROM outbox WHERE window_start = ?1 AND tenant = ?2 AND meter = ?3";
    let key = params![window.as_millis(), tenant, meter];
    Ok(db.prepare_cached(sql)?.query_row(key, |row| row.get(0))?)
}

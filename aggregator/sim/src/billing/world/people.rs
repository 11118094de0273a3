//! The actions of people: change customers, correct sums, release held rows.
use std::collections::HashMap;

use weir_contract::Timestamp;

use super::{DAY_MS, HOUR_MS, World};
use crate::billing::plan::{Adjustment, Change, TENANTS};
use weir_billing::outbox::view::{AdjustRequest, RetryFilter, SettleRequest, Settlement};
use weir_billing::outbox::{BillingError, adjust, held, settle};

impl World {
    /// The customers in the tenants file now.
    pub(super) fn customers(&self) -> HashMap<String, String> {
        let latest =
            |(tenant, changes): (&&str, &Vec<Change>)| Some(((*tenant).to_owned(), changes.last()?.customer.clone()?));
        self.plan.changes.iter().filter_map(latest).collect()
    }

    pub(super) fn remap(&mut self) {
        let tenant = TENANTS[self.rng.usize(..TENANTS.len())];
        let Some(changes) = self.plan.changes.get_mut(tenant) else { return };
        if changes.last().is_some_and(|change| change.noted_ms.is_none()) {
            return;
        }
        // Avoids a case that no code can detect: a customer that changes and changes back, both unseen.
        let since = self.backup.as_ref().map_or(u64::MAX, |backup| backup.taken_ms);
        if changes.last().is_some_and(|change| change.noted_ms.is_some_and(|noted_ms| noted_ms >= since)) {
            return;
        }
        let customer = (self.rng.u8(..4) > 0).then(|| format!("cus_{tenant}_{}", changes.len()));
        if customer.is_none() && changes.last().is_some_and(|change| change.customer.is_none()) {
            return;
        }
        changes.push(Change { customer, tried_ms: None, noted_ms: None });
        self.summary.count("remapped");
    }

    pub(super) fn adjust(&mut self) -> Result<(), String> {
        let (tenant, at_ms) = (TENANTS[self.rng.usize(..3)], self.now_ms - self.rng.u64(..2 * DAY_MS));
        let meter = if self.rng.bool() { "requests" } else { "input_tokens" };
        let value = self.rng.i64(1..300) * if self.rng.u8(..3) == 0 { 1 } else { -1 };
        let why = format!("correction {}", self.plan.adjustments.len());
        let at_ms = at_ms / HOUR_MS * HOUR_MS + self.rng.u64(..HOUR_MS);
        let at_ms = at_ms.min(self.now_ms);
        let request = AdjustRequest {
            tenant: tenant.to_owned(),
            meter: meter.to_owned(),
            window: Timestamp::from_millis(at_ms),
            value,
            why: why.clone(),
        };
        let (policy, now) = (self.policy.clone(), self.now());
        let made = self.ask(move |ledger| match adjust::adjust(ledger, &policy, &request, "the simulator", now) {
            Ok(_) => Ok(true),
            Err(BillingError::Adjustment(_) | BillingError::Unknown(_)) => Ok(false),
            Err(error) => Err(error),
        })?;
        let invoiced = self.plan.period_end(tenant, self.plan.window(tenant, at_ms)) + self.plan.invoice_delay_ms;
        if made == Some(false) {
            let refused_rightly = self.plan.holds_late && invoiced <= self.now_ms;
            return if refused_rightly { Ok(()) } else { Err(format!("{why} is refused, and an invoice takes it")) };
        }
        let acknowledged = made.is_some();
        let (tenant, meter) = (tenant.to_owned(), meter.to_owned());
        self.plan.adjustments.push(Adjustment { tenant, meter, at_ms, value, why, acknowledged, lost: false });
        self.summary.count("adjusted");
        Ok(())
    }

    pub(super) fn lose_customers(&mut self) {
        let mut all: Vec<String> = self.customers().into_values().collect();
        all.sort();
        all.retain(|_| self.rng.u8(..3) == 0);
        self.provider.gone = all;
    }

    /// Somebody bills a held row by other means, or lets it go for good.
    pub(super) fn settle_held(&mut self) -> Result<(), String> {
        let certain = ["held no_customer", "held invoiced", "held below_zero", "held refused"];
        let held: Vec<i64> =
            self.rows.iter().filter(|(_, row)| certain.contains(&row.as_str())).map(|(id, _)| *id).collect();
        if held.is_empty() {
            return Ok(());
        }
        let outcome = if self.rng.bool() { Settlement::Invoiced } else { Settlement::Void };
        let (rows, reference) = (vec![held[self.rng.usize(..held.len())]], "ii_sim".to_owned());
        let (request, now) = (SettleRequest { rows, outcome, reference, why: "by hand".to_owned() }, self.now());
        self.ask(move |ledger| ledger.durably(|db| settle::settle(db, &request, "the simulator", now)))?;
        self.summary.count("settled by hand");
        Ok(())
    }

    pub(super) fn retry_held(&mut self) -> Result<(), String> {
        let (policy, now) = (self.policy.clone(), self.now());
        self.ask(move |ledger| ledger.durably(|db| held::retry(db, &policy, &RetryFilter::default(), now)))?;
        Ok(())
    }
}

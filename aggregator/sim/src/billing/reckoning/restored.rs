//! Checks a restored ledger: whatever the provider received since the backup is billed once, or waits for a person.
//!
//! In an hour of a customer and meter with amounts unknown to the ledger, single rows prove little, because two equal
//! amounts cannot be told apart. Only the sum must hold.
use std::collections::{BTreeMap, BTreeSet};

use super::{Result, Row, UNDER_WAY_MAX_MS};
use crate::billing::plan::{Plan, Restored};
use crate::billing::provider::{Provider, Taken};
use crate::gateways::Item;

/// Customer, meter, hour.
type Lane<'a> = (&'a str, &'a str, u64);

/// Reasons for holding rows that the provider may or may not have.
const DOUBT: [&str; 3] = ["restored", "unsure", "taken_elsewhere"];

/// Amounts that the provider accepted between backup and restore.
pub(super) struct Unknown<'a> {
    restored: Option<Restored>,
    lanes: BTreeSet<Lane<'a>>,
    identifiers: BTreeSet<&'a str>,
}

fn lane(taken: &Taken) -> Lane<'_> {
    (&taken.event.customer, &taken.event.event_name, taken.event.timestamp / 3_600)
}

fn lane_of(row: &Row) -> Lane<'_> {
    (row.customer.as_deref().unwrap_or_default(), &row.event_name, row.timestamp_s / 3_600)
}

impl<'a> Unknown<'a> {
    pub(super) fn new(plan: &Plan, provider: &'a Provider) -> Self {
        let within = |taken: &&Taken| {
            plan.restored.is_some_and(|at| (at.from_ms..at.to_ms + UNDER_WAY_MAX_MS).contains(&taken.at_ms))
        };
        let all: Vec<&Taken> = provider.taken.iter().filter(within).collect();
        Unknown {
            restored: plan.restored,
            lanes: all.iter().map(|taken| lane(taken)).collect(),
            identifiers: all.iter().map(|taken| taken.event.identifier.as_str()).collect(),
        }
    }

    pub(super) fn has(&self, taken: &Taken) -> bool {
        self.identifiers.contains(taken.event.identifier.as_str())
    }

    pub(super) fn has_lane_of(&self, row: &Row) -> bool {
        self.lanes.contains(&lane_of(row))
    }

    /// Returns true if the row's state may be wrong about whether the provider has it.
    pub(super) fn blurs(&self, row: &Row) -> bool {
        self.has_lane_of(row) || row.identifier.as_deref().is_some_and(|name| self.identifiers.contains(name))
    }

    /// Returns true if the row is held for a reason that a restore explains.
    pub(super) fn excuses(&self, plan: &Plan, row: &Row) -> bool {
        let Some(restored) = self.restored else { return false };
        let changes = plan.changes.get(row.tenant.as_str());
        let remapped = changes.is_some_and(|all| {
            all.iter().any(|change| change.noted_ms >= Some(restored.to_ms) && change.tried_ms.is_some())
        });
        let invoiced = plan.period_end(&row.tenant, row.window_ms) + plan.invoice_delay_ms <= restored.to_ms;
        row.window_ms < restored.to_ms && (self.blurs(row) || remapped || invoiced)
    }

    /// Checks each hour: its sum is the ledger's, or a person must look at it, or nothing was added to the amounts
    /// unknown to the ledger.
    pub(super) fn check_lanes(&self, rows: &[Row], provider: &Provider) -> Result<()> {
        let Some(restored) = self.restored else { return Ok(()) };
        for lane in &self.lanes {
            let here: Vec<&Row> = rows.iter().filter(|row| lane_of(row) == *lane).collect();
            let reported = |row: &&&Row| row.state == "reported";
            let sum: i64 = here.iter().filter(reported).map(|row| row.value).sum();
            let names: BTreeSet<&str> =
                here.iter().filter(reported).filter_map(|row| row.identifier.as_deref()).collect();
            let taken: Vec<&Taken> = provider.taken.iter().filter(|taken| self::lane(taken) == *lane).collect();
            let total: i64 = taken.iter().map(|taken| taken.event.value).sum();
            let named = |taken: &&&Taken| names.contains(taken.event.identifier.as_str());
            let unknown: i64 =
                taken.iter().filter(|taken| self.has(taken) && !named(taken)).map(|taken| taken.event.value).sum();
            // Rows that did not move and were sent since the restore were verified first, and verification leaves
            // nothing unknown.
            let added =
                taken.iter().filter(|taken| taken.at_ms >= restored.to_ms + UNDER_WAY_MAX_MS).filter(named).any(
                    |taken| {
                        let same = |row: &&&Row| row.identifier.as_deref() == Some(taken.event.identifier.as_str());
                        here.iter().find(same).is_some_and(|row| !row.moved && row.window_ms < restored.to_ms)
                    },
                );
            let doubt = here.iter().any(|row| DOUBT.contains(&row.reason.as_str()));
            if !(doubt || total == sum || total == sum + unknown && !added) {
                return Err(format!(
                    "{lane:?} comes to {total} at Stripe; the ledger has {sum}, and {unknown} it does not know"
                ));
            }
        }
        Ok(())
    }

    /// Checks that nothing is billed twice: any surplus at Stripe was lost for good, or is held in doubt.
    pub(super) fn check_totals(&self, rows: &[Row], items: &[Item], plan: &Plan, provider: &Provider) -> Result<()> {
        if self.restored.is_none() {
            return Ok(());
        }
        let names = plan.event_names();
        let mut over: BTreeMap<(&str, &str), (i64, i64)> = BTreeMap::new();
        for row in rows {
            let entry = over.entry((&row.tenant, &row.event_name)).or_default();
            entry.0 -= if row.state == "reported" { row.value } else { 0 };
            entry.1 += if DOUBT.contains(&row.reason.as_str()) { row.value.abs() } else { 0 };
        }
        for taken in &provider.taken {
            let tenant = taken.event.customer.split('_').nth(1).unwrap_or_default();
            over.entry((tenant, &taken.event.event_name)).or_default().0 += taken.event.value;
        }
        for adjustment in plan.adjustments.iter().filter(|adjustment| adjustment.lost) {
            let Some(name) = names.get(&adjustment.meter) else { continue };
            over.entry((&adjustment.tenant, name)).or_default().1 += adjustment.value.abs();
        }
        for item in plan.lost_items.iter().filter_map(|number| items.get(*number)) {
            for (_, tenant, meter, _, amount) in item.amounts.iter().filter(|amount| amount.3.is_empty()) {
                let Some(name) = names.get(*meter) else { continue };
                over.entry((tenant, name)).or_default().1 += amount.cast_signed();
            }
        }
        match over.iter().find(|(_, (over, doubt))| over.abs() > *doubt) {
            Some((whose, (over, doubt))) => {
                Err(format!("{whose:?}: Stripe has {over} over what is reported, and only {doubt} is in doubt"))
            }
            None => Ok(()),
        }
    }
}

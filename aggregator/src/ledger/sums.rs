//! The sums of one transaction: gathered in memory, written once.
use std::collections::{BTreeMap, HashMap};

use rusqlite::{Transaction, params};
use weir_contract::{RefusedData, TenantId, Timestamp, UsageData};

use super::analysis::Analysis;
use super::{LedgerError, signed};
use crate::meters::{Exclusion, Meters};

/// What is gathered for one tenant, window and meter.
#[derive(Clone, Debug, Default)]
struct Sum {
    billable: u64,
    excluded: [u64; Exclusion::ALL.len()],
}

/// By tenant, then by window; a vector entry for each meter.
#[derive(Debug, Default)]
pub(super) struct Sums {
    usage: HashMap<TenantId, BTreeMap<Timestamp, Vec<Sum>>>,
    refused: BTreeMap<(Timestamp, Option<TenantId>, String), u64>,
    analysis: Analysis,
}

impl Sums {
    /// Adds an event's usage to its window.
    pub(super) fn usage(&mut self, meters: &Meters, tenant: TenantId, time: Timestamp, data: &UsageData<'_>) {
        let window = time.hour();
        self.analysis.add(&tenant, window, data);
        let windows = self.usage.entry(tenant).or_default();
        let sums = windows.entry(window).or_insert_with(|| vec![Sum::default(); meters.names().len()]);
        for (meter, measure) in meters.measure(window, data) {
            let sum = &mut sums[meter];
            match measure.excluded {
                None => sum.billable += measure.amount,
                Some(reason) => sum.excluded[reason as usize] += measure.amount,
            }
        }
    }

    /// Adds a minute's refusals to its window.
    pub(super) fn refused(&mut self, tenant: Option<&TenantId>, time: Timestamp, data: RefusedData) {
        for (reason, count) in data.counts {
            *self.refused.entry((time.hour(), tenant.cloned(), reason)).or_default() += count;
        }
    }

    /// Writes everything.
    pub(super) fn write(&self, tx: &Transaction<'_>, meters: &Meters) -> Result<(), LedgerError> {
        let mut usage = tx.prepare_cached(
            "INSERT INTO usage(window_start, tenant, meter, billable) VALUES (?1,?2,?3,?4)
             ON CONFLICT DO UPDATE SET billable = billable + excluded.billable",
        )?;
        let mut excluded = tx.prepare_cached(
            "INSERT INTO excluded(window_start, tenant, meter, reason, amount) VALUES (?1,?2,?3,?4,?5)
             ON CONFLICT DO UPDATE SET amount = amount + excluded.amount",
        )?;
        for (tenant, window, meter, sum) in self.each(meters) {
            let window = signed(window.as_millis());
            if sum.billable > 0 {
                usage.execute(params![window, tenant.as_str(), meter, signed(sum.billable)])?;
            }
            for (reason, amount) in Exclusion::ALL.iter().zip(sum.excluded).filter(|(_, amount)| *amount > 0) {
                excluded.execute(params![window, tenant.as_str(), meter, reason.as_str(), signed(amount)])?;
            }
        }
        self.write_refused(tx)?;
        self.analysis.write(tx)
    }

    fn each<'a>(&'a self, meters: &'a Meters) -> impl Iterator<Item = (&'a TenantId, Timestamp, &'a str, &'a Sum)> {
        self.usage.iter().flat_map(move |(tenant, windows)| {
            windows.iter().flat_map(move |(window, sums)| {
                meters.names().iter().zip(sums).map(move |(meter, sum)| (tenant, *window, meter.as_str(), sum))
            })
        })
    }

    fn write_refused(&self, tx: &Transaction<'_>) -> Result<(), LedgerError> {
        let mut refused = tx.prepare_cached(
            "INSERT INTO refused(window_start, tenant, reason, count) VALUES (?1,?2,?3,?4)
             ON CONFLICT DO UPDATE SET count = count + excluded.count",
        )?;
        for ((window, tenant, reason), count) in &self.refused {
            let tenant = tenant.as_ref().map_or("", TenantId::as_str);
            refused.execute(params![signed(window.as_millis()), tenant, reason, signed(*count)])?;
        }
        Ok(())
    }
}

//! Adds up one transaction in memory, and writes each sum once.
use std::collections::BTreeMap;

use foldhash::HashMap;
use weir_contract::{RefusedData, TenantId, Timestamp, UsageData};
use weir_database::types::{ToSqlOutput, ValueRef};
use weir_database::{Transaction, Values, params_from_iter};

use super::analysis::{Analysis, Marks};
use super::carry::FractionCarry;
use super::flags::FlagSums;
use super::steering::{Use, UserSums};
use super::{LedgerError, costs, signed, totals};
use crate::cost::EventCost;
use crate::meters::{Exclusion, Meters};
use crate::reading::Reading;

/// The sum of one tenant, window and meter.
#[derive(Clone, Debug, Default)]
struct Sum {
    billable: u64,
    excluded: [u64; Exclusion::ALL.len()],
}

/// By tenant, then by window, then by the meter's number.
#[derive(Debug, Default)]
pub(super) struct Sums {
    usage: HashMap<TenantId, BTreeMap<Timestamp, Vec<Sum>>>,
    refused: BTreeMap<(Timestamp, Option<TenantId>, String), u64>,
    analysis: Analysis,
    flags: FlagSums,
    /// What end users have used, where a budget asks for it.
    users: Option<UserSums>,
    carry: FractionCarry,
}

impl Sums {
    /// Empty sums. `counts_users`: of end users as well.
    pub(super) fn new(counts_users: bool) -> Self {
        Sums { users: counts_users.then(UserSums::default), ..Sums::default() }
    }

    /// Adds an event's usage to its window.
    pub(super) fn usage(
        &mut self,
        tx: &Transaction<'_>,
        meters: &Meters,
        (tenant, window): (&TenantId, Timestamp),
        data: &UsageData<'_>,
        cost: (Option<EventCost>, Marks),
    ) -> Result<(), LedgerError> {
        self.flags.add((tenant, window), data, (cost.0.as_ref(), cost.1));
        if let Some(users) = &mut self.users {
            users.add((tenant, window), data, cost.0.as_ref());
        }
        self.analysis.add(tenant, window, data, cost);
        let names = meters.names();
        let (known, carry) = (&mut self.usage, &mut self.carry);
        if !known.contains_key(tenant) {
            known.insert(tenant.clone(), BTreeMap::new());
        }
        let windows = known.get_mut(tenant).ok_or(LedgerError::Closed)?;
        let sums = windows.entry(window).or_insert_with(|| vec![Sum::default(); names.len()]);
        for (meter, measure) in meters.measure(window, data) {
            let mut amount = measure.amount;
            if measure.nano > 0 {
                amount += carry.add(tx, tenant, (meter, &names[meter]), measure.excluded, measure.nano)?;
            }
            let sum = &mut sums[meter];
            match measure.excluded {
                None => sum.billable += amount,
                Some(reason) => sum.excluded[reason as usize] += amount,
            }
        }
        Ok(())
    }

    /// Adds a reading to its window.
    pub(super) fn reading(
        &mut self,
        tx: &Transaction<'_>,
        meters: &Meters,
        window: Timestamp,
        reading: &Reading,
    ) -> Result<(), LedgerError> {
        let (names, tenant) = (meters.names(), &reading.tenant);
        let windows = self.usage.entry(tenant.clone()).or_default();
        let sums = windows.entry(window).or_insert_with(|| vec![Sum::default(); names.len()]);
        for (meter, measure) in meters.measure_reading(window, reading) {
            sums[meter].billable += measure.amount;
            if measure.nano > 0 {
                sums[meter].billable += self.carry.add(tx, tenant, (meter, &names[meter]), None, measure.nano)?;
            }
        }
        Ok(())
    }

    /// Adds a minute's refusals to its window.
    pub(super) fn refused(&mut self, tenant: Option<&TenantId>, time: Timestamp, data: &RefusedData) {
        for (reason, count) in &data.counts {
            *self.refused.entry((time.hour(), tenant.cloned(), reason.clone())).or_default() += count;
        }
    }

    /// Writes what is billed, excluded or refused.
    pub(super) fn write(&self, tx: &Transaction<'_>, meters: &Meters) -> Result<(), LedgerError> {
        let (mut usage, mut excluded) = (Vec::new(), Vec::new());
        let mut totals: BTreeMap<(&str, String), u64> = BTreeMap::new();
        for (tenant, window, meter, sum) in self.each(meters) {
            let window = signed(window.as_millis())?;
            *totals.entry(("billable", meter.to_owned())).or_default() += sum.billable;
            if sum.billable > 0 {
                usage.push(vec![window.into(), text(tenant.as_str()), text(meter), signed(sum.billable)?.into()]);
            }
            for (reason, amount) in Exclusion::ALL.iter().zip(sum.excluded).filter(|(_, amount)| *amount > 0) {
                let key = [window.into(), text(tenant.as_str()), text(meter), text(reason.as_str())];
                excluded.push(key.into_iter().chain([signed(amount)?.into()]).collect());
                *totals.entry(("excluded", format!("{meter} {}", reason.as_str()))).or_default() += amount;
            }
        }
        write_billable(tx, &usage)?;
        tx.insert_rows(
            "excluded AS kept(window_start, tenant, meter, reason, amount)",
            "ON CONFLICT (window_start, tenant, meter, reason) DO UPDATE SET amount = CAST(kept.amount + excluded.amount AS INTEGER)",
            &excluded,
        )?;
        for ((kind, key), value) in &totals {
            totals::add(tx, kind, key, signed(*value)?)?;
        }
        self.write_refused(tx)?;
        self.carry.write(tx, meters.names())
    }

    /// Writes what requests cost, and the sums by dimensions.
    pub(super) fn write_costs(&self, tx: &Transaction<'_>) -> Result<(), LedgerError> {
        costs::write(tx, &costs::of_lines(self.analysis.lines()))?;
        costs::note_unpriced(tx, self.analysis.lines(), 1)?;
        self.flags.write(tx)?;
        self.analysis.write(tx)
    }

    /// What was used, for budgets; sorted by tenant and window, and further so that the same events cause the same writes in the same order.
    pub(super) fn uses(&self) -> Vec<Use<'_>> {
        let of_users = self.users.iter().flat_map(UserSums::uses);
        let mut uses: Vec<_> = self.analysis.lines().map(Use::of).chain(of_users).collect();
        uses.sort_unstable_by(|a, b| a.place().cmp(&b.place()));
        uses
    }

    /// Sorted by the tables' keys: neighbours share a page, and the same events cause the same writes.
    fn each<'a>(&'a self, meters: &'a Meters) -> impl Iterator<Item = (&'a TenantId, Timestamp, &'a str, &'a Sum)> {
        let windows = |(tenant, windows): (&'a TenantId, &'a BTreeMap<Timestamp, Vec<Sum>>)| {
            windows.iter().map(move |(window, sums)| (*window, tenant, sums))
        };
        let mut all: Vec<_> = self.usage.iter().flat_map(windows).collect();
        all.sort_unstable_by_key(|(window, tenant, _)| (*window, *tenant));
        all.into_iter().flat_map(|(window, tenant, sums)| {
            meters.names().iter().zip(sums).map(move |(meter, sum)| (tenant, window, meter.as_str(), sum))
        })
    }

    fn write_refused(&self, tx: &Transaction<'_>) -> Result<(), LedgerError> {
        let mut rows = Vec::with_capacity(self.refused.len());
        for ((window, tenant, reason), count) in &self.refused {
            let tenant = tenant.as_ref().map_or("", TenantId::as_str);
            rows.push(vec![signed(window.as_millis())?.into(), text(tenant), text(reason), signed(*count)?.into()]);
        }
        Ok(tx.insert_rows(
            "refused(window_start, tenant, reason, count)",
            "ON CONFLICT (window_start, tenant, reason) DO UPDATE SET count = CAST(refused.count + excluded.count AS INTEGER)",
            &rows,
        )?)
    }
}

/// Adds what is billed. The casts keep a sum that would leave SQLite's integers at their end: as a float it, and every total with it, could
/// not be read again.
fn write_billable(tx: &Transaction<'_>, rows: &[Values<'_>]) -> Result<(), LedgerError> {
    let into = "usage(window_start, tenant, meter, billable)";
    let conflict = "ON CONFLICT (window_start, tenant, meter)
                    DO UPDATE SET billable = CAST(usage.billable + excluded.billable AS INTEGER), open = 1";
    if tx.is_postgres() {
        return Ok(tx.insert_rows(into, conflict, rows)?);
    }
    // A sum that is open is the usual one: no index changes with it.
    let mut open = tx.prepare_cached(
        "UPDATE usage SET billable = CAST(billable + ?4 AS INTEGER) WHERE window_start = ?1 AND tenant = ?2 AND meter = ?3 AND open = 1",
    )?;
    for row in rows {
        if open.execute(params_from_iter(row))? == 0 {
            tx.insert_rows(into, conflict, std::slice::from_ref(row))?;
        }
    }
    Ok(())
}

fn text(text: &str) -> ToSqlOutput<'_> {
    ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes()))
}

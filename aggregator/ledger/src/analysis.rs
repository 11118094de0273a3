//! Sums by model, class, route, feature and other dimensions. Nothing is billed from them, and they expire.
//!
//! A row holds the units of each kind that requests of one provider, model and tariff used in a window, so that they can be
//! priced again ([`crate::reprice`]), and what they cost. `cost` sums the same rows by tenant, for ever.
mod rows;

use foldhash::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hasher;

use siphasher::sip128::{Hasher128, SipHasher13};
use weir_contract::{TenantId, Timestamp, UsageData};
use weir_database::Transaction;

use super::{LedgerError, roll, values};
use crate::amount::Currency;
use crate::cost::{EventCost, Tariff, quantities};
use crate::line::truncated;
pub(crate) use crate::line::{Amounts, Combination, Line};
pub use crate::line::{DIMENSIONS, Marks, OTHER, dimensions, failed};
pub(crate) use rows::{FLAG_COLUMNS, Table, read_window, replace_window, windows_from};

/// How long analysis sums are kept, in days.
pub(crate) const ANALYSIS_DAYS: u64 = 90;
/// The most combinations of dimensions of one tenant in one window. Clients choose the values of some dimensions, so
/// further combinations are summed under [`OTHER`], by model; of more than twice as many, under one row.
pub const COMBINATIONS_MAX: u32 = 500;
/// The analysis sums of one transaction, by a hash of tenant, window and values: a lookup builds no key.
#[derive(Debug, Default)]
pub(super) struct Analysis(HashMap<u128, Line>);

impl Analysis {
    /// Adds an event; `cost` is None if there is no price book.
    pub(super) fn add(
        &mut self,
        tenant: &TenantId,
        window: Timestamp,
        data: &UsageData<'_>,
        cost: (Option<EventCost>, Marks),
    ) {
        self.add_by(&dimensions(data), (tenant, window), data, cost);
    }

    /// Adds an event under other dimensions than its own.
    pub(super) fn add_by(
        &mut self,
        dimensions: &[&str; DIMENSIONS.len()],
        (tenant, window): (&TenantId, Timestamp),
        data: &UsageData<'_>,
        (cost, marks): (Option<EventCost>, Marks),
    ) {
        let marks = marks.with(Marks::UNCOSTED, cost.is_none());
        let cost = cost.unwrap_or_else(|| EventCost {
            quantities: quantities(data),
            tariff: Tariff::of(data),
            ..EventCost::default()
        });
        let provider = truncated(data.provider.as_deref());
        let key = key(tenant, window, (dimensions, provider), (&cost, marks));
        let line = match self.0.entry(key) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(Line {
                window,
                tenant: tenant.clone(),
                combination: Combination {
                    dimensions: dimensions.map(Into::into),
                    provider: provider.into(),
                    tariff: cost.tariff.clone(),
                    marks,
                    unpriced: cost.unpriced.bits(),
                    currency: cost.currency,
                },
                amounts: Amounts::default(),
            }),
        };
        let usage = &data.usage;
        line.amounts.add(&Amounts {
            requests: 1,
            input_tokens: usage.input_tokens.unwrap_or(0),
            output_tokens: usage.output_tokens.unwrap_or(0),
            cache_read_tokens: usage.cache_read_tokens.unwrap_or(0),
            cache_write_tokens: usage.cache_write_tokens.unwrap_or(0),
            reasoning_tokens: usage.reasoning_tokens.unwrap_or(0),
            quantities: cost.quantities,
            cost: cost.cost,
        });
    }

    /// The rows.
    pub(super) fn lines(&self) -> impl Iterator<Item = &Line> {
        self.0.values()
    }

    /// Writes everything.
    pub(super) fn write(&self, tx: &Transaction<'_>) -> Result<(), LedgerError> {
        let mut late = values::Late::begin(tx)?;
        rows::write_all(tx, Table::Analysis, &self.sorted(), |line, combination| late.note(line, combination))?;
        late.write(tx)
    }

    /// Writes everything to another table.
    pub(super) fn write_to(&self, tx: &Transaction<'_>, table: Table) -> Result<(), LedgerError> {
        rows::write_all(tx, table, &self.sorted(), |_, _| ())
    }

    /// Sorted by the table's key: neighbours share a page, and the same events cause the same writes.
    fn sorted(&self) -> Vec<&Line> {
        let mut lines: Vec<&Line> = self.0.values().collect();
        lines.sort_unstable_by_key(|line| (line.window, &line.tenant, &line.combination));
        lines
    }
}

/// Drops the sums of the days before `before`.
pub(super) fn expire(tx: &Transaction<'_>, before: Timestamp) -> Result<(), LedgerError> {
    let before = roll::day_start(before);
    values::expire(tx, before)?;
    tx.prepare_cached("DELETE FROM analysis WHERE window_start < ?1")?.execute([before.as_millis()])?;
    Ok(())
}

fn key(
    tenant: &TenantId,
    window: Timestamp,
    (dimensions, provider): (&[&str; DIMENSIONS.len()], &str),
    (cost, marks): (&EventCost, Marks),
) -> u128 {
    let mut hasher = SipHasher13::new();
    hasher.write_u64(window.as_millis());
    hasher.write_u64(cost.tariff.over);
    hasher.write_u64(u64::from(cost.unpriced.bits()) << 8 | u64::from(marks.0));
    let currency = cost.currency.as_ref().map_or("", Currency::as_str);
    for text in dimensions.iter().chain(&[tenant.as_str(), provider, &*cost.tariff.tier, currency]) {
        hasher.write(text.as_bytes());
        // No text contains this byte, so it keeps neighbouring texts apart.
        hasher.write_u8(0xff);
    }
    hasher.finish128().as_u128()
}

//! Sums by model, class, route, feature and other dimensions. Nothing is billed from them, and they expire.
//!
//! A row holds the units of each kind that requests of one provider, model and tariff used in a window, so that they can be
//! priced again ([`crate::reprice`]), and what they cost. `cost` sums the same rows by tenant, for ever.
mod rows;

use foldhash::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hasher;

use rusqlite::Transaction;
use siphasher::sip128::{Hasher128, SipHasher13};
use weir_contract::{Outcome, TenantId, Timestamp, UsageData, UsageStatus};

use super::{LedgerError, roll, values};
use crate::amount::{Currency, Pico};
use crate::cost::{EventCost, KindSet, Quantities, Tariff, assumes_one_image, quantities};
use crate::view::cost::CostSums;
pub(crate) use rows::{read_window, replace_window, windows_from};

/// How long analysis sums are kept, in days.
pub(crate) const ANALYSIS_DAYS: u64 = 90;
/// The most combinations of dimensions of one tenant in one window. Clients choose the values of some dimensions, so
/// further combinations are summed under [`OTHER`], by model; of more than twice as many, under one row.
pub const COMBINATIONS_MAX: u32 = 500;
/// The value of all dimensions beyond [`COMBINATIONS_MAX`].
pub const OTHER: &str = "(other)";
/// The longest value of a dimension, in bytes; the rest is cut.
const VALUE_MAX_BYTES: usize = 128;

/// The dimensions, by the names of their columns.
pub const DIMENSIONS: [&str; 8] =
    ["model", "class", "route", "feature", "prompt_version", "environment", "credential", "plan"];

/// Marks of requests, as bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Marks(pub u8);

impl Marks {
    /// The upstream answered with an error, broke off or took too long.
    pub(crate) const FAILED: Marks = Marks(1);
    /// An earlier request had its idempotency key.
    pub(crate) const RETRIED: Marks = Marks(2);
    /// Its usage is estimated.
    pub const ESTIMATED: Marks = Marks(4);
    /// The tenant pays for it, with a key of its own.
    pub(crate) const OWN_KEY: Marks = Marks(8);
    /// There was no price book, so its cost was not computed.
    pub(crate) const UNCOSTED: Marks = Marks(16);
    /// Its units by kind are not known: it was counted before costs were.
    pub(crate) const UNTOLD: Marks = Marks(32);

    /// The marks that an event's data shows.
    pub fn of(data: &UsageData<'_>) -> Self {
        let estimated = data.usage.status == UsageStatus::Estimated || assumes_one_image(data);
        Marks::default().with(Marks::FAILED, failed(data)).with(Marks::ESTIMATED, estimated)
    }

    /// These marks, and `mark` if `is` is true.
    #[must_use]
    pub fn with(self, mark: Marks, is: bool) -> Self {
        if is { Marks(self.0 | mark.0) } else { Marks(self.0 & !mark.0) }
    }

    /// Returns true if `mark` is set.
    pub fn has(self, mark: Marks) -> bool {
        self.0 & mark.0 != 0
    }
}

/// Returns true if the upstream answered with an error, broke off or took too long.
pub fn failed(data: &UsageData<'_>) -> bool {
    !matches!(data.outcome, Outcome::Ok | Outcome::ClientClosed)
}

/// The sums of one combination.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Amounts {
    pub(crate) requests: u64,
    pub(crate) input_tokens: u64,
    pub(crate) output_tokens: u64,
    pub(crate) cache_read_tokens: u64,
    pub(crate) cache_write_tokens: u64,
    pub(crate) reasoning_tokens: u64,
    pub(crate) quantities: Quantities,
    pub(crate) cost: Pico,
}

/// What keeps sums apart within a window of a tenant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Combination {
    /// Values of [`DIMENSIONS`].
    pub(crate) dimensions: [Box<str>; DIMENSIONS.len()],
    pub(crate) provider: Box<str>,
    pub(crate) tariff: Tariff,
    pub(crate) marks: Marks,
    /// The bits of a [`KindSet`].
    pub(crate) unpriced: u32,
    pub(crate) currency: Option<Currency>,
}

impl Combination {
    /// The model that served.
    pub(crate) fn model(&self) -> &str {
        &self.dimensions[0]
    }

    /// The combination that it is summed under once there are too many.
    fn folded(&self, with_model: bool) -> Self {
        let other = || Box::<str>::from(OTHER);
        let mut folded = self.clone();
        folded.dimensions = [(); DIMENSIONS.len()].map(|()| other());
        if with_model {
            folded.dimensions[0] = self.dimensions[0].clone();
        } else {
            (folded.provider, folded.tariff) = (other(), Tariff::default());
        }
        folded
    }
}

/// One row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) window: Timestamp,
    pub(crate) tenant: TenantId,
    pub(crate) combination: Combination,
    pub(crate) amounts: Amounts,
}

impl Line {
    /// What the row adds to the cost of its tenant. None if the cost was not computed.
    pub(crate) fn sums(&self) -> Option<CostSums> {
        let (Combination { marks, unpriced, .. }, a) = (&self.combination, &self.amounts);
        if marks.has(Marks::UNCOSTED) {
            return None;
        }
        let lacking = KindSet::of_bits(*unpriced);
        let tokens = a.quantities.each().filter(|(kind, _)| kind.is_token() && lacking.contains(*kind));
        let requests = |is: bool| if is { a.requests } else { 0 };
        let cost = |mark| if marks.has(mark) { a.cost } else { Pico::ZERO };
        Some(CostSums {
            requests: a.requests,
            failed_requests: requests(marks.has(Marks::FAILED)),
            retried_requests: requests(marks.has(Marks::RETRIED)),
            estimated_requests: requests(marks.has(Marks::ESTIMATED)),
            unpriced_requests: requests(!lacking.is_empty()),
            own_key_requests: requests(marks.has(Marks::OWN_KEY)),
            input_tokens: a.input_tokens,
            output_tokens: a.output_tokens,
            cache_read_tokens: a.cache_read_tokens,
            cache_write_tokens: a.cache_write_tokens,
            reasoning_tokens: a.reasoning_tokens,
            unpriced_tokens: tokens.map(|(_, tokens)| tokens).sum(),
            cost: a.cost,
            failed_cost: cost(Marks::FAILED),
            retried_cost: cost(Marks::RETRIED),
            estimated_cost: cost(Marks::ESTIMATED),
        })
    }
}

impl Amounts {
    fn add(&mut self, other: &Amounts) {
        self.requests += other.requests;
        self.input_tokens += other.input_tokens;
        self.output_tokens += other.output_tokens;
        self.cache_read_tokens += other.cache_read_tokens;
        self.cache_write_tokens += other.cache_write_tokens;
        self.reasoning_tokens += other.reasoning_tokens;
        self.quantities.add(&other.quantities);
        self.cost += other.cost;
    }
}

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
        (cost, marks): (Option<EventCost>, Marks),
    ) {
        let marks = marks.with(Marks::UNCOSTED, cost.is_none());
        let cost = cost.unwrap_or_else(|| EventCost {
            quantities: quantities(data),
            tariff: Tariff::of(data),
            ..EventCost::default()
        });
        let (dimensions, provider) = (dimensions(data), truncated(data.provider.as_deref()));
        let key = key(tenant, window, (&dimensions, provider), (&cost, marks));
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
        // Sorted by the table's key: neighbours share a page, and the same events cause the same writes.
        let mut lines: Vec<&Line> = self.0.values().collect();
        lines.sort_unstable_by_key(|line| (line.window, &line.tenant, &line.combination));
        let mut late = values::Late::begin(tx)?;
        for line in lines {
            let combination = rows::write(tx, line)?;
            late.note(line, &combination);
        }
        late.write(tx)
    }
}

/// Drops the sums of the days before `before`.
pub(super) fn expire(tx: &Transaction<'_>, before: Timestamp) -> Result<(), LedgerError> {
    let before = roll::day_start(before);
    values::expire(tx, before)?;
    tx.prepare_cached("DELETE FROM analysis WHERE window_start < ?1")?.execute([before.as_millis()])?;
    Ok(())
}

/// The values of [`DIMENSIONS`] of an event.
pub fn dimensions<'a>(data: &'a UsageData<'_>) -> [&'a str; DIMENSIONS.len()] {
    let rest = [&data.route, &data.feature, &data.prompt_version, &data.environment, &data.credential_id];
    let [route, feature, prompt_version, environment, credential] = rest.map(|text| truncated(text.as_deref()));
    let plan = truncated(Some(&data.plan));
    [model(data), data.class.as_str(), route, feature, prompt_version, environment, credential, plan]
}

/// The model that served, as rows name it.
pub(crate) fn model<'a>(data: &'a UsageData<'_>) -> &'a str {
    truncated(data.response_model.as_deref().or(data.request_model.as_deref()))
}

/// A value as rows hold it.
pub(crate) fn truncated(text: Option<&str>) -> &str {
    let text = text.unwrap_or_default();
    if text.len() <= VALUE_MAX_BYTES {
        return text;
    }
    let end = (0..=VALUE_MAX_BYTES).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    &text[..end]
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

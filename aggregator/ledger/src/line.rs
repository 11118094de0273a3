//! A row of sums by dimensions: what keeps rows apart, and what they sum.
use weir_contract::{Outcome, TenantId, Timestamp, UsageData, UsageStatus};

use crate::amount::{Currency, Pico};
use crate::cost::{KindSet, Quantities, Tariff, assumes_one_image};
use crate::view::cost::CostSums;

/// The value of all dimensions of further combinations, once a tenant has too many.
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
        Marks::default()
            .with(Marks::FAILED, failed(data))
            .with(Marks::ESTIMATED, estimated)
            .with(Marks::OWN_KEY, !data.paid_by.is_house())
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
    pub(crate) fn folded(&self, with_model: bool) -> Self {
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
    pub(crate) fn add(&mut self, other: &Amounts) {
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

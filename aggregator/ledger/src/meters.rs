//! Meters: how much an event counts for, or why it counts for nothing.
pub mod weight;

use std::ops::Range;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use weight::{ClientSet, ModelWeights, WEIGHED_MODELS_MAX, Weight};
use weir_contract::{Class, Outcome, PaidBy, Timestamp, UsageData, UsageStatus, glob};

use crate::reading::{self, Reading};

/// The most meters of one configuration, versions included. Each measures every event.
pub(crate) const METERS_MAX: usize = 64;
/// The longest name of a meter, in bytes.
pub(crate) const METER_NAME_MAX_BYTES: usize = 64;

/// A meter: the sum of a field over the events that meet its conditions, or of imported readings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Meter {
    /// Its name in the ledger: lower-case letters, digits and `_`.
    pub name: String,
    /// The field to sum.
    pub sum: Field,
    /// The conditions. Absent: none.
    #[serde(rename = "where", default, skip_serializing_if = "Conditions::is_empty")]
    pub conditions: Conditions,
    /// The factor of the field. Absent: 1.
    #[serde(default, skip_serializing_if = "Weight::is_one")]
    pub weight: Weight,
    /// Further factors, by the model that answered: credits per model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<ModelWeights>,
    /// The first hour that this version measures. Absent: all hours. To change a meter, add a version with the same
    /// name and a later hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effective_from: Option<Timestamp>,
}

/// Fields that a meter can sum: fields that the provider or weir reports, none that a client sets; and readings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Field {
    /// 1 for each request.
    Requests,
    /// Every input token, cached ones included.
    InputTokens,
    /// Every output token, reasoning included.
    OutputTokens,
    /// Input tokens read from a cache.
    CacheReadTokens,
    /// Input tokens written to a cache.
    CacheWriteTokens,
    /// Output tokens spent thinking.
    ReasoningTokens,
    /// The named entry of `usage.details`.
    Detail(String),
    /// Imported readings of this name. They come from no request, so their meter has no conditions.
    Reading(String),
}

/// The conditions that an event must meet to count. Empty lists are ignored. No client can set these fields.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Conditions {
    /// The allowed outcomes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outcome: Vec<Outcome>,
    /// The allowed statuses of usage.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub usage: Vec<UsageStatus>,
    /// The allowed classes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub class: Vec<Class>,
    /// The allowed plans.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plan: Vec<String>,
    /// The allowed routes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub route: Vec<String>,
    /// Who pays the provider: `house`, or `tenant` with a key of its own. For a fee of the platform.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paid_by: Vec<PaidBy>,
    /// Answered by one of these models; where the provider names none, the one sent to it. `*` stands for any text here, in
    /// `plan` and in `route`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub response_model: Vec<String>,
    /// Refused, as are the following fields: clients can set them.
    #[serde(default, skip_serializing)]
    #[schemars(skip)]
    pub request_model: ClientSet,
    /// Refused.
    #[serde(default, skip_serializing)]
    #[schemars(skip)]
    pub feature: ClientSet,
    /// Refused.
    #[serde(default, skip_serializing)]
    #[schemars(skip)]
    pub prompt_version: ClientSet,
    /// Refused.
    #[serde(default, skip_serializing)]
    #[schemars(skip)]
    pub user: ClientSet,
    /// Refused.
    #[serde(default, skip_serializing)]
    #[schemars(skip)]
    pub service_tier: ClientSet,
    /// Refused.
    #[serde(default, skip_serializing)]
    #[schemars(skip)]
    pub idempotency_key_hash: ClientSet,
}

impl Conditions {
    fn is_empty(&self) -> bool {
        *self == Conditions::default()
    }

    /// The first reason that excludes the event, if any.
    fn exclude(&self, data: &UsageData<'_>) -> Option<Exclusion> {
        if !allows(&self.outcome, &data.outcome) {
            return Some(Exclusion::Outcome);
        }
        if !allows(&self.usage, &data.usage.status) {
            return Some(Exclusion::UsageStatus);
        }
        let rest = allows(&self.class, &data.class)
            && allows(&self.paid_by, &data.paid_by)
            && allows_text(&self.plan, Some(&data.plan))
            && allows_text(&self.route, data.route.as_deref())
            && allows_text(&self.response_model, model(data));
        if rest { None } else { Some(Exclusion::Condition) }
    }
}

/// The model that answered, as far as it is known: Bedrock, Cohere and others name none, and answer by the one they are sent.
fn model<'a>(data: &'a UsageData<'_>) -> Option<&'a str> {
    data.response_model.as_deref().or(data.request_model.as_deref())
}

fn allows<T: PartialEq>(allowed: &[T], value: &T) -> bool {
    allowed.is_empty() || allowed.contains(value)
}

fn allows_text(allowed: &[String], value: Option<&str>) -> bool {
    allowed.is_empty() || value.is_some_and(|value| allowed.iter().any(|pattern| glob::matches(pattern, value)))
}

/// Why an event's amount is excluded from billing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exclusion {
    /// The event belongs to a test environment.
    Environment,
    /// The meter does not count this outcome.
    Outcome,
    /// The usage is less reliable than the meter demands.
    UsageStatus,
    /// The event fails another condition of the meter.
    Condition,
    /// None of the meter's weights is of its model. The amount is the field's, as it was measured.
    NoWeight,
}

impl Exclusion {
    /// Every reason, in the order of their numbers.
    pub const ALL: [Exclusion; 5] =
        [Exclusion::Environment, Exclusion::Outcome, Exclusion::UsageStatus, Exclusion::Condition, Exclusion::NoWeight];

    /// The reason as a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Exclusion::Environment => "environment",
            Exclusion::Outcome => "outcome",
            Exclusion::UsageStatus => "usage_status",
            Exclusion::Condition => "condition",
            Exclusion::NoWeight => "no_weight",
        }
    }
}

impl Field {
    /// The field's value in an event; None if unknown.
    fn of(&self, data: &UsageData<'_>) -> Option<u64> {
        let usage = &data.usage;
        match self {
            Field::Requests => Some(1),
            Field::InputTokens => usage.input_tokens,
            Field::OutputTokens => usage.output_tokens,
            Field::CacheReadTokens => usage.cache_read_tokens,
            Field::CacheWriteTokens => usage.cache_write_tokens,
            Field::ReasoningTokens => usage.reasoning_tokens,
            Field::Detail(name) => usage.details.get(name).copied(),
            Field::Reading(_) => None,
        }
    }
}

/// The amount of an event or a reading on one meter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measure {
    /// Whole units.
    pub amount: u64,
    /// Billionths of a unit, less than one unit. They are carried until they make a whole one.
    pub nano: u64,
    /// Why the amount is not billed; None if it is billed.
    pub excluded: Option<Exclusion>,
}

/// All meters, validated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meters {
    /// Sorted by name, then by `effective_from`.
    versions: Vec<Meter>,
    names: Vec<String>,
    /// The range of versions of each name.
    places: Vec<Range<usize>>,
    test_environments: Vec<String>,
    /// Names of readings that are costs, and need no meter.
    costs: Vec<String>,
}

/// Why meters cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MeterError {
    /// There are more than [`METERS_MAX`].
    #[error("{0} meters; at most {METERS_MAX}, versions included")]
    TooMany(usize),
    /// The name is too long or has other characters than allowed.
    #[error("meter {0:?}: a name is 1 to {METER_NAME_MAX_BYTES} of a-z 0-9 _")]
    Name(String),
    /// Two versions start at the same hour.
    #[error("meter {0:?} is there twice from the same hour; give the later version an effective_from of its own")]
    Twice(String),
    /// The meter has both `weight` and `weights`.
    #[error("meter {0:?}: give it `weight` or `weights`, not both")]
    TwoWeights(String),
    /// More weights than [`WEIGHED_MODELS_MAX`].
    #[error("meter {0:?}: at most {WEIGHED_MODELS_MAX} models are weighed by name; use `otherwise`")]
    TooManyWeights(String),
    /// No reading can have this name.
    #[error("meter {0:?}: a reading's name is 1 to 64 of a-z 0-9 _")]
    ReadingName(String),
    /// The meter of readings has conditions or weights that apply to requests only.
    #[error(
        "meter {0:?}: readings come from no request, so `where` and `weights` cannot choose among them; leave them out"
    )]
    ReadingConditions(String),
    /// The weight has more than three decimals: readings have six, and sums keep nine.
    #[error("meter {0:?}: the weight of readings has at most three decimals, so that every product is exact")]
    ReadingWeight(String),
    /// A version starts in the middle of an hour.
    #[error("meter {0:?}: effective_from is not a full hour; windows are never split")]
    NotAnHour(String),
}

impl Meters {
    /// Validates and sorts meters.
    pub fn new(mut versions: Vec<Meter>, test_environments: Vec<String>) -> Result<Self, MeterError> {
        if versions.len() > METERS_MAX {
            return Err(MeterError::TooMany(versions.len()));
        }
        versions.iter().try_for_each(check)?;
        versions.sort_by(|a, b| (&a.name, a.effective_from).cmp(&(&b.name, b.effective_from)));
        for pair in versions.windows(2) {
            if (&pair[0].name, pair[0].effective_from) == (&pair[1].name, pair[1].effective_from) {
                return Err(MeterError::Twice(pair[0].name.clone()));
            }
        }
        let (mut names, mut places, mut start) = (Vec::new(), Vec::new(), 0);
        for same in versions.chunk_by(|a, b| a.name == b.name) {
            names.extend(same.first().map(|meter| meter.name.clone()));
            places.push(start..start + same.len());
            start += same.len();
        }
        Ok(Meters { versions, names, places, test_environments, costs: Vec::new() })
    }

    /// The names, each once. A meter's number is its index here.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// All versions.
    pub fn versions(&self) -> &[Meter] {
        &self.versions
    }

    /// The measures of an event of `window`, each with its meter's number.
    pub fn measure(&self, window: Timestamp, data: &UsageData<'_>) -> impl Iterator<Item = (usize, Measure)> {
        let test = data.environment.as_deref().is_some_and(|env| self.test_environments.iter().any(|t| t == env));
        self.places.iter().enumerate().filter_map(move |(number, versions)| {
            let meter = self.version(versions, window)?;
            let measured = meter.sum.of(data)?;
            let excluded = if test { Some(Exclusion::Environment) } else { meter.conditions.exclude(data) };
            let (weighed, excluded) = match meter.weigh(measured, data) {
                Some(weighed) => (weighed, excluded),
                None => ((measured, 0), excluded.or(Some(Exclusion::NoWeight))),
            };
            let (amount, nano) = weighed;
            Some((number, Measure { amount, nano, excluded }))
        })
    }

    /// The measures of a reading of `window`, each with its meter's number.
    pub fn measure_reading(&self, window: Timestamp, reading: &Reading) -> impl Iterator<Item = (usize, Measure)> {
        self.places.iter().enumerate().filter_map(move |(number, versions)| {
            let meter = self.version(versions, window)?;
            if !matches!(&meter.sum, Field::Reading(name) if *name == *reading.name) {
                return None;
            }
            let (amount, nano) = meter.weight.times_micro(reading.amount.micro());
            Some((number, Measure { amount, nano, excluded: None }))
        })
    }

    /// These meters, and readings of `names`, which are costs and need no meter.
    #[must_use]
    pub fn with_costs(self, names: Vec<String>) -> Self {
        Meters { costs: names, ..self }
    }

    /// Refuses a reading that would count for nothing; the error says why.
    pub fn check_reading(&self, reading: &Reading) -> Result<(), String> {
        let hour = reading.time.hour();
        if self.costs.iter().any(|name| **name == *reading.name) || self.measure_reading(hour, reading).next().is_some()
        {
            return Ok(());
        }
        let Reading { name, .. } = reading;
        Err(format!(
            "name: no meter sums readings of {name:?} in the hour {hour}; give one `sum: {{reading: {name}}}`, in force at \
             that hour, or list it in `other_costs`"
        ))
    }

    /// The version that applies in `window`.
    fn version(&self, versions: &Range<usize>, window: Timestamp) -> Option<&Meter> {
        let effective = |meter: &&Meter| meter.effective_from.is_none_or(|from| from <= window);
        self.versions.get(versions.clone())?.iter().rev().find(effective)
    }
}

impl Meter {
    /// The event's `amount` times the meter's weight, as whole units and billionths. None if no weight applies.
    fn weigh(&self, amount: u64, data: &UsageData<'_>) -> Option<(u64, u64)> {
        match &self.weights {
            None => Some(self.weight.times(amount)),
            // One product of the two would need more than nine decimals: `check` allows one of them only.
            Some(weights) => Some(weights.of(model(data))?.times(amount)),
        }
    }
}

fn check(meter: &Meter) -> Result<(), MeterError> {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    if meter.name.is_empty() || meter.name.len() > METER_NAME_MAX_BYTES || !meter.name.bytes().all(fits) {
        return Err(MeterError::Name(meter.name.clone()));
    }
    if let Some(weights) = &meter.weights {
        if !meter.weight.is_one() {
            return Err(MeterError::TwoWeights(meter.name.clone()));
        }
        if weights.response_model.len() > WEIGHED_MODELS_MAX {
            return Err(MeterError::TooManyWeights(meter.name.clone()));
        }
    }
    if let Field::Reading(name) = &meter.sum {
        check_readings(meter, name)?;
    }
    match meter.effective_from {
        Some(from) if from.hour() != from => Err(MeterError::NotAnHour(meter.name.clone())),
        _ => Ok(()),
    }
}

fn check_readings(meter: &Meter, name: &str) -> Result<(), MeterError> {
    if !reading::is_name(name) {
        return Err(MeterError::ReadingName(meter.name.clone()));
    }
    if !meter.conditions.is_empty() || meter.weights.is_some() {
        return Err(MeterError::ReadingConditions(meter.name.clone()));
    }
    if !meter.weight.is_in_thousandths() {
        return Err(MeterError::ReadingWeight(meter.name.clone()));
    }
    Ok(())
}

/// The meters of a configuration that names none.
pub fn defaults() -> Vec<Meter> {
    let meter = |name: &str, sum, conditions| Meter {
        name: name.to_owned(),
        sum,
        conditions,
        weight: Weight::default(),
        weights: None,
        effective_from: None,
    };
    // Tokens cost money whatever happened to the answer; a request counts if the caller received an answer, or
    // cancelled it.
    let known = Conditions { usage: vec![UsageStatus::Complete, UsageStatus::Estimated], ..Conditions::default() };
    let answered = Conditions { outcome: vec![Outcome::Ok, Outcome::ClientClosed], ..Conditions::default() };
    vec![
        meter("requests", Field::Requests, answered),
        meter("input_tokens", Field::InputTokens, known.clone()),
        meter("output_tokens", Field::OutputTokens, known.clone()),
        meter("cache_read_tokens", Field::CacheReadTokens, known.clone()),
        meter("reasoning_tokens", Field::ReasoningTokens, known),
    ]
}

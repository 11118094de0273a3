//! `price_plans` and `planned`: what tenants pay, and what is planned.
use std::path::Path;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use weir_contract::{TenantId, Timestamp};
use weir_ledger::periods::{Anchor, Period};
use weir_money::amount::{Currency, Pico};
use weir_money::exact::Exact;
use weir_money::plans::file::PricePlanFile;
use weir_money::plans::{PlansError, PricePlans};
use weir_settings::yaml::located::Node;

use super::ConfigError;

/// The most planned numbers.
const PLANNED_MAX: usize = 100_000;

/// What tenants pay, and what is planned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Finances {
    /// What tenants pay.
    pub plans: PricePlans,
    /// What is planned.
    pub planned: Vec<Planned>,
}

/// What a tenant is planned to cost and to bring in within a month.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Planned {
    /// The tenant.
    pub tenant: TenantId,
    /// The calendar month in UTC: `2026-11`.
    pub month: Month,
    /// The currency of both numbers.
    #[schemars(with = "String")]
    pub currency: Currency,
    /// Planned cost. Absent: none is planned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub cost: Option<Pico>,
    /// Planned revenue. Absent: none is planned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub revenue: Option<Pico>,
}

/// A calendar month in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Month(Timestamp);

impl Month {
    /// The month that contains `at`.
    pub fn of(at: Timestamp) -> Self {
        Month(Anchor::default().period(at).start)
    }

    /// Its first moment, and that of the next.
    pub fn period(self) -> Period {
        Anchor::default().period(self.0)
    }
}

impl TryFrom<String> for Month {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no month; write year and month, such as 2026-11");
        let (year, month) = text.split_once('-').ok_or_else(wrong)?;
        let digits = |part: &str, count: usize| part.len() == count && part.bytes().all(|b| b.is_ascii_digit());
        if !digits(year, 4) || !digits(month, 2) {
            return Err(wrong());
        }
        Timestamp::parse(&format!("{text}-01T00:00:00Z")).map(Month).ok_or_else(wrong)
    }
}

impl From<Month> for String {
    fn from(month: Month) -> String {
        month.0.to_string().chars().take(7).collect()
    }
}

impl JsonSchema for Month {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Month".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"description": "A month: `2026-11`.", "type": "string", "pattern": "^[0-9]{4}-[0-9]{2}$"})
    }
}

/// Why price plans or planned numbers cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FinancesError {
    /// A price plan.
    #[error(transparent)]
    Plans(#[from] PlansError),
    /// There are more planned numbers than [`PLANNED_MAX`].
    #[error("planned: {0} entries; at most {PLANNED_MAX}")]
    TooMany(usize),
    /// A planned number is negative.
    #[error("planned[{0}]: {1} is negative; write 0 or more")]
    Negative(usize, Pico),
    /// A planned number has too many digits.
    #[error("planned[{0}]: {1} is too large; an amount has at most 15 digits before the point")]
    TooLarge(usize, Pico),
    /// A tenant has two entries for a month.
    #[error("planned[{0}]: {1} has an entry for this month and currency already; keep one of them")]
    Twice(usize, TenantId),
}

impl FinancesError {
    /// The path of the field.
    pub fn field(&self) -> String {
        match self {
            FinancesError::Plans(error) => error.path.clone(),
            FinancesError::TooMany(_) => "planned".to_owned(),
            FinancesError::Negative(number, _)
            | FinancesError::TooLarge(number, _)
            | FinancesError::Twice(number, _) => format!("planned[{number}]"),
        }
    }
}

/// Checks both; an error says where it stands in `text`.
pub(super) fn check(
    path: &Path,
    text: &str,
    plans: Vec<PricePlanFile>,
    planned: Vec<Planned>,
    meters: &[String],
) -> Result<Finances, ConfigError> {
    let located = |source: FinancesError| {
        let (line, column) = Node::parse(path, text).map_or((0, 0), |document| {
            let location = document.find(&source.field()).0.location;
            (location.line, location.column)
        });
        ConfigError::Finances { path: path.to_owned(), line, column, source: Box::new(source) }
    };
    let plans = PricePlans::new(plans, meters).map_err(|error| located(error.into()))?;
    check_planned(&planned).map_err(located)?;
    Ok(Finances { plans, planned })
}

fn check_planned(planned: &[Planned]) -> Result<(), FinancesError> {
    if planned.len() > PLANNED_MAX {
        return Err(FinancesError::TooMany(planned.len()));
    }
    let mut known = std::collections::HashSet::new();
    for (number, entry) in planned.iter().enumerate() {
        for amount in [entry.cost, entry.revenue].into_iter().flatten() {
            if amount.is_negative() {
                return Err(FinancesError::Negative(number, amount));
            }
            if !amount.is_writable() {
                return Err(FinancesError::TooLarge(number, amount));
            }
        }
        if !known.insert((&entry.tenant, String::from(entry.month), entry.currency)) {
            return Err(FinancesError::Twice(number, entry.tenant.clone()));
        }
    }
    Ok(())
}

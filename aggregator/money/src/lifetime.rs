//! What a tenant is worth over its lifetime against what it cost to win, and how long it took to its first answer.
use serde::{Deserialize, Serialize};
use weir_contract::Timestamp;

use crate::amount::{Currency, Pico};
use crate::margin::Unpriced;
use crate::ratio::Percent;

/// A lifetime value below this multiple of the acquisition cost is marked.
pub(crate) const HEALTHY: Percent = Percent::whole(300);

/// One tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LifetimeRow {
    /// The tenant.
    pub tenant: String,
    /// When it was created, as the tenants file says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
    /// When its first request was answered: with usage, and without an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_answer: Option<Timestamp>,
    /// Seconds from its creation to then; absent if one of the two is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds_to_first_answer: Option<u64>,
    /// The currency of the amounts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<Currency>,
    /// What it has paid so far, by its price plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revenue: Option<Pico>,
    /// What it is worth, as readings say; without such readings what it has left over so far: its margin since it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime_value: Option<Pico>,
    /// True if readings say it.
    pub stated: bool,
    /// What winning it cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acquisition_cost: Option<Pico>,
    /// The one as a multiple of the other, in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ratio: Option<Percent>,
    /// True if the ratio is below 3:1.
    pub below: bool,
    /// Usage without a price since it began: the measured value lacks its cost.
    #[serde(default, skip_serializing_if = "Unpriced::is_none")]
    pub unpriced: Unpriced,
}

/// What is known of a tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// When it was created.
    pub created_at: Option<Timestamp>,
    /// When its first request was answered.
    pub first_answer: Option<Timestamp>,
    /// Its worth and the cost of winning it.
    pub worth: Option<Worth>,
}

/// What a tenant is worth, and what it cost to win it, in one currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Worth {
    /// The currency of all amounts.
    pub currency: Currency,
    /// What it has paid so far.
    pub revenue: Option<Pico>,
    /// What it is worth: stated by readings, or measured.
    pub value: Option<Pico>,
    /// True if readings state it.
    pub stated: bool,
    /// What winning it cost.
    pub acquisition_cost: Option<Pico>,
    /// Usage without a price: the measured worth lacks its cost.
    pub unpriced: Unpriced,
}

impl LifetimeRow {
    /// The row of a tenant.
    pub fn new(tenant: String, known: Known) -> Self {
        let seconds = match (known.created_at, known.first_answer) {
            (Some(created), Some(first)) => Some(first.millis_since(created) / 1_000),
            _ => None,
        };
        let lifetime_value = known.worth.and_then(|worth| worth.value);
        let acquisition_cost = known.worth.and_then(|worth| worth.acquisition_cost);
        let ratio = match (lifetime_value, acquisition_cost) {
            (Some(value), Some(cost)) => Percent::of(value.0, cost.0),
            _ => None,
        };
        LifetimeRow {
            tenant,
            created_at: known.created_at,
            first_answer: known.first_answer,
            seconds_to_first_answer: seconds,
            currency: known.worth.map(|worth| worth.currency),
            revenue: known.worth.and_then(|worth| worth.revenue),
            lifetime_value,
            stated: known.worth.is_some_and(|worth| worth.stated),
            acquisition_cost,
            ratio,
            below: lifetime_value
                .zip(acquisition_cost)
                .is_some_and(|(value, cost)| cost > Pico::ZERO && HEALTHY.is_above(value.0, cost.0)),
            unpriced: known.worth.map_or_else(Unpriced::default, |worth| worth.unpriced),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_below_three_times_the_cost_is_marked() {
        let row = |value: &str| {
            let (value, acquisition_cost) = (Pico::parse(value), Pico::parse("100"));
            let worth = Worth {
                currency: Currency::USD,
                revenue: None,
                value,
                stated: false,
                acquisition_cost,
                unpriced: Unpriced::default(),
            };
            LifetimeRow::new("t".to_owned(), Known { worth: Some(worth), ..Known::default() })
        };
        assert!(row("299.99").below);
        assert!(row("299.999999").below, "though it is shown as 300.00");
        assert!(!row("300").below);
        assert_eq!(row("300").ratio, Some(Percent::whole(300)));
    }

    #[test]
    fn the_time_to_the_first_answer_is_told_in_seconds() {
        let time = |text| Timestamp::parse(text);
        let (created_at, first_answer) = (time("2026-11-01T10:30:00Z"), time("2026-11-01T10:30:42Z"));
        let row = LifetimeRow::new("t".to_owned(), Known { created_at, first_answer, worth: None });
        assert_eq!(row.seconds_to_first_answer, Some(42));
    }
}

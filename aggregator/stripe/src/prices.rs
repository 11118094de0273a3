//! Stripe's prices, as far as they can be compared with price plans.
use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::StripeSink;
use super::requests::Named;
use super::wire::shorten;
use weir_billing::RequestError;

/// A price, with amounts as the decimals of the currency's smallest unit that Stripe writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StripePrice {
    /// `price_…`
    pub id: String,
    /// The names that its owner gave it.
    pub names: Vec<String>,
    /// The currency's three letters, in lower case.
    pub currency: String,
    /// The name of the events whose meter it has; None for a fee.
    pub event_name: Option<String>,
    /// The length of its periods: `1 month`.
    pub period: String,
    /// How quantities become money.
    pub scheme: StripeScheme,
}

/// How quantities become money.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StripeScheme {
    /// The same for each unit.
    PerUnit(String),
    /// Tiers, each of which prices the units that fall into it.
    Graduated(Vec<StripeTier>),
    /// Tiers, one of which prices all units.
    Volume(Vec<StripeTier>),
    /// A scheme that is not compared, in words.
    Other(String),
}

/// A tier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StripeTier {
    /// The last unit; None for the last tier.
    pub up_to: Option<u64>,
    /// The price of a unit.
    pub unit: String,
    /// Due once if the tier is reached.
    pub flat: String,
}

#[derive(Debug, Deserialize)]
struct PriceBody {
    id: String,
    currency: String,
    billing_scheme: String,
    #[serde(default)]
    lookup_key: Option<String>,
    #[serde(default)]
    nickname: Option<String>,
    #[serde(default)]
    recurring: Option<Recurring>,
    #[serde(default)]
    tiers: Option<Vec<TierBody>>,
    #[serde(default)]
    tiers_mode: Option<String>,
    #[serde(default)]
    transform_quantity: Option<serde_json::Value>,
    #[serde(default)]
    unit_amount_decimal: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Recurring {
    interval: String,
    interval_count: u64,
    #[serde(default)]
    meter: Option<String>,
}

#[derive(Debug, Deserialize)]
struct TierBody {
    #[serde(default)]
    up_to: Option<u64>,
    #[serde(default)]
    unit_amount_decimal: Option<String>,
    #[serde(default)]
    flat_amount_decimal: Option<String>,
}

impl Named for PriceBody {
    fn id(&self) -> &str {
        &self.id
    }
}

impl StripeSink {
    /// Every active recurring price that has one of these meters, or none.
    pub async fn prices(&self, names: &BTreeSet<String>) -> Result<Vec<StripePrice>, RequestError> {
        let mut meters = BTreeMap::new();
        for name in names {
            for id in self.meters_named(&BTreeSet::from([name.clone()])).await? {
                meters.insert(id, name.clone());
            }
        }
        // Without being asked to, Stripe leaves tiers out of lists.
        let query =
            [("active", "true".to_owned()), ("type", "recurring".to_owned()), ("expand[]", "data.tiers".to_owned())];
        let bodies = self.list::<PriceBody>("/v1/prices", &query).await?;
        Ok(bodies.into_iter().filter_map(|body| body.read(&meters)).collect())
    }
}

impl PriceBody {
    /// None for a price of another meter.
    fn read(self, meters: &BTreeMap<String, String>) -> Option<StripePrice> {
        let scheme = self.scheme();
        let recurring = self.recurring?;
        let event_name = match &recurring.meter {
            Some(meter) => Some(meters.get(meter)?.clone()),
            None => None,
        };
        Some(StripePrice {
            id: shorten(&self.id),
            names: [self.lookup_key, self.nickname].into_iter().flatten().map(|name| shorten(&name)).collect(),
            currency: shorten(&self.currency),
            event_name,
            period: format!("{} {}", recurring.interval_count, shorten(&recurring.interval)),
            scheme,
        })
    }

    fn scheme(&self) -> StripeScheme {
        let amount = |text: &Option<String>| text.as_deref().map_or_else(|| "0".to_owned(), shorten);
        if self.transform_quantity.as_ref().is_some_and(|transform| !transform.is_null()) {
            return StripeScheme::Other("it divides quantities before it prices them".to_owned());
        }
        let tiers = || {
            let tier = |tier: &TierBody| StripeTier {
                up_to: tier.up_to,
                unit: amount(&tier.unit_amount_decimal),
                flat: amount(&tier.flat_amount_decimal),
            };
            self.tiers.as_ref().map(|tiers| tiers.iter().map(tier).collect())
        };
        match (self.billing_scheme.as_str(), self.tiers_mode.as_deref(), &self.unit_amount_decimal) {
            ("per_unit", _, Some(unit)) => StripeScheme::PerUnit(shorten(unit)),
            ("tiered", Some("graduated"), _) => tiers().map_or_else(without_tiers, StripeScheme::Graduated),
            ("tiered", Some("volume"), _) => tiers().map_or_else(without_tiers, StripeScheme::Volume),
            _ => StripeScheme::Other("its amount is chosen by others".to_owned()),
        }
    }
}

fn without_tiers() -> StripeScheme {
    StripeScheme::Other("Stripe shows no tiers of it".to_owned())
}

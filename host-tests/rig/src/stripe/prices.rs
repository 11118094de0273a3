//! `GET /v1/prices`, and what an invoice line of a price amounts to.

use super::call::Params;
use super::error::ApiError;
use super::meters::{Meters, page};
use serde_json::{Value, json};

/// Trillionths of the currency's smallest unit: the decimals of `unit_amount_decimal`.
const FRACTIONS: i128 = 1_000_000_000_000;

/// A price.
#[derive(Debug, Clone)]
pub struct Price {
    /// Three letters in lower case, as Stripe writes them.
    pub currency: &'static str,
    /// The name of the events whose meter it has; none for a fee.
    pub event_name: Option<String>,
    /// The name that its owner gave it.
    pub lookup_key: Option<String>,
    /// How quantities become money.
    pub scheme: Scheme,
    /// Whether new subscriptions may use it.
    pub active: bool,
}

/// How quantities become money. Amounts are decimals of the currency's smallest unit.
#[derive(Debug, Clone)]
pub enum Scheme {
    /// The same for each unit.
    PerUnit(String),
    /// Tiers, each of which prices the units that fall into it.
    Graduated(Vec<PriceTier>),
    /// Tiers, one of which prices all units.
    Volume(Vec<PriceTier>),
}

/// A tier.
#[derive(Debug, Clone)]
pub struct PriceTier {
    /// The last unit; none for the last tier.
    pub up_to: Option<u64>,
    /// The price of a unit.
    pub unit_amount_decimal: String,
    /// Due once if the tier is reached.
    pub flat_amount_decimal: Option<String>,
}

impl Price {
    /// The lines of an invoice for a quantity, in the currency's smallest unit. Stripe rounds each, half up.
    #[must_use]
    pub fn lines(&self, quantity: u64) -> Vec<i64> {
        match &self.scheme {
            Scheme::PerUnit(unit) => vec![rounded(fractions(unit) * i128::from(quantity))],
            Scheme::Graduated(tiers) => {
                let (mut lines, mut start) = (Vec::new(), 0);
                for (number, tier) in tiers.iter().enumerate() {
                    if number > 0 && quantity <= start {
                        break;
                    }
                    let end = tier.up_to.unwrap_or(u64::MAX).min(quantity);
                    lines.extend(tier.lines(end - start));
                    start = end;
                }
                lines
            }
            Scheme::Volume(tiers) => {
                let tier = tiers.iter().find(|tier| tier.up_to.is_none_or(|end| quantity <= end));
                tier.map(|tier| tier.lines(quantity)).unwrap_or_default()
            }
        }
    }

    fn json(&self, id: &str, meters: &Meters, with_tiers: bool, livemode: bool) -> Value {
        let meter = self.event_name.as_ref().and_then(|name| meters.named(name)).map(|meter| meter.id.clone());
        let usage_type = if meter.is_some() { "metered" } else { "licensed" };
        let (scheme, mode, unit, tiers) = match &self.scheme {
            Scheme::PerUnit(unit) => ("per_unit", None, Some(unit), None),
            Scheme::Graduated(tiers) => ("tiered", Some("graduated"), None, Some(tiers)),
            Scheme::Volume(tiers) => ("tiered", Some("volume"), None, Some(tiers)),
        };
        let mut price = json!({
            "id": id,
            "object": "price",
            "active": self.active,
            "billing_scheme": scheme,
            "currency": self.currency,
            "livemode": livemode,
            "lookup_key": self.lookup_key,
            "nickname": null,
            "recurring": {"interval": "month", "interval_count": 1, "meter": meter, "usage_type": usage_type},
            "tiers_mode": mode,
            "type": "recurring",
            "unit_amount_decimal": unit,
        });
        // Stripe leaves tiers out of a list unless it is asked to expand them.
        if let (true, Some(tiers)) = (with_tiers, tiers) {
            price["tiers"] = tiers.iter().map(PriceTier::json).collect();
        }
        price
    }
}

impl PriceTier {
    fn lines(&self, quantity: u64) -> Vec<i64> {
        let units = rounded(fractions(&self.unit_amount_decimal) * i128::from(quantity));
        let flat = self.flat_amount_decimal.as_deref().map(fractions).filter(|flat| *flat != 0).map(rounded);
        std::iter::once(units).chain(flat).collect()
    }

    fn json(&self) -> Value {
        json!({"up_to": self.up_to, "unit_amount_decimal": self.unit_amount_decimal,
            "flat_amount_decimal": self.flat_amount_decimal})
    }
}

/// A decimal with at most twelve places, in trillionths.
fn fractions(decimal: &str) -> i128 {
    let (whole, rest) = decimal.split_once('.').unwrap_or((decimal, ""));
    let digits = format!("{whole}{rest:0<12}");
    digits.parse().unwrap_or_default()
}

fn rounded(fractions: i128) -> i64 {
    i64::try_from((fractions + FRACTIONS / 2) / FRACTIONS).unwrap_or(i64::MAX)
}

#[derive(Debug, Default)]
pub(super) struct Prices(Vec<Price>);

impl Prices {
    pub(super) fn add(&mut self, price: Price) -> String {
        self.0.push(price);
        id(self.0.len() - 1)
    }

    /// An active price.
    pub(super) fn find(&self, wanted: &str) -> Option<&Price> {
        let found = self.0.iter().enumerate().find(|(index, _)| id(*index) == wanted);
        found.map(|(_, price)| price).filter(|price| price.active)
    }

    pub(super) fn list(&self, params: &Params, meters: &Meters, livemode: bool) -> Result<Value, ApiError> {
        params.only(&["active", "currency", "type", "limit", "starting_after", "expand["])?;
        let active = params.choice("active", &["true", "false"])?;
        let with_tiers = params.get("expand[]") == Some("data.tiers");
        let wanted = |price: &Price| {
            active.is_none_or(|active| price.active == (active == "true"))
                && params.get("currency").is_none_or(|currency| price.currency == currency)
        };
        let newest_first = self.0.iter().enumerate().rev().filter(|(_, price)| wanted(price));
        let objects = newest_first.map(|(index, price)| price.json(&id(index), meters, with_tiers, livemode));
        page(params, objects.collect(), "/v1/prices")
    }
}

fn id(index: usize) -> String {
    format!("price_rig{index:08}")
}

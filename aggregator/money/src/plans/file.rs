//! The shape of `price_plans` in the configuration.
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use weir_contract::Timestamp;

use crate::amount::{Currency, Pico};

/// A price plan, or a later version of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PricePlanFile {
    /// Its name. An entry with the same name and a later `effective_from` is a later version.
    pub name: String,
    /// The currency of every amount of the plan.
    #[schemars(schema_with = "currency")]
    pub currency: Currency,
    /// The first hour of this version. Absent: from the beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effective_from: Option<Timestamp>,
    /// Plans of the tenants file whose tenants pay by this plan; `*` stands for any text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plans: Vec<String>,
    /// Tenants that pay by this plan, whatever their plan in the tenants file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tenants: Vec<String>,
    /// Due for each billing period. Absent: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "amount")]
    pub base_fee: Option<Pico>,
    /// The least that a billing period costs, base fee included. Absent: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "amount")]
    pub minimum: Option<Pico>,
    /// The price of each request, by the meter `requests`. Absent: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "amount")]
    pub per_request: Option<Pico>,
    /// Prices of usage, by meter.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub charges: Vec<ChargeFile>,
    /// Credits that usage burns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credits: Option<CreditsFile>,
    /// The factor of measured cost that the tenant pays, such as 3. Absent: cost is not passed on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "amount")]
    pub cost_plus: Option<Pico>,
    /// Whether a part of a billing period has a part of base fee, minimum and granted credits: by `day`, or `none`. Absent: `day`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prorate: Option<Prorate>,
}

/// How parts of billing periods are priced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Prorate {
    /// By days that have begun, of the period's days.
    #[default]
    Day,
    /// A part costs as much as the whole.
    None,
}

/// The price of a meter's units: `per_unit`, `graduated` or `volume`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChargeFile {
    /// The meter.
    pub meter: String,
    /// Units of each billing period that cost nothing; with `per_unit`. Absent: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub included: Option<u64>,
    /// The price of a unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "amount")]
    pub per_unit: Option<Pico>,
    /// Tiers, each of which prices the units that fall into it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub graduated: Option<Vec<TierFile>>,
    /// Tiers, of which the one that the sum falls into prices all units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<Vec<TierFile>>,
    /// The currency, where it is said again; it must be the plan's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "currency")]
    pub currency: Option<Currency>,
}

/// A tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TierFile {
    /// The last unit of the tier. Absent in the last tier only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub up_to: Option<u64>,
    /// The price of a unit. Absent: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "amount")]
    pub per_unit: Option<Pico>,
    /// Due once if the tier is reached. Absent: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "amount")]
    pub flat: Option<Pico>,
}

/// Credits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreditsFile {
    /// Credits granted at the start of each billing period.
    #[schemars(schema_with = "amount")]
    pub grant: Pico,
    /// The billing periods after which a grant expires, 1 to 36. Absent: 1, the end of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_after: Option<u32>,
    /// Credits that a unit of each meter burns: `{input_tokens: 0.001}`. Those that expire first are burnt first.
    #[schemars(schema_with = "rates")]
    pub burn: BTreeMap<String, Pico>,
    /// The price of a credit beyond those granted. Absent: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "amount")]
    pub per_credit: Option<Pico>,
}

fn amount(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "description": "A decimal with at most twelve digits after the point: `0.000002`.",
        "type": ["string", "number"],
        "pattern": r"^[0-9]{1,15}(\.[0-9]{1,12})?$",
        "minimum": 0,
    })
}

fn currency(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "description": "The three letters of a currency: `EUR`.",
        "type": "string",
        "pattern": "^[A-Za-z]{3}$",
    })
}

fn rates(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "additionalProperties": amount(generator)})
}

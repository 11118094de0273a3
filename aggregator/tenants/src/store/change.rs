//! What callers ask the database to change, and why it may refuse.
use std::collections::BTreeMap;

use serde::de::{self, DeserializeOwned};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use weir_contract::directory::{KEYS_MAX, KeyHash, TENANTS_MAX};
use weir_contract::placement::Placement;
use weir_contract::scopes::Scopes;
use weir_contract::{TenantId, Timestamp};
use weir_ledger::amount::Pico;
use weir_ledger::periods::Interval;
use weir_settings::duration::Millis;

use super::view::Standing;
use crate::vault::envelope::NoRandomness;

/// The longest time that a rotated key stays in force beside its successor, in milliseconds.
pub(crate) const OVERLAP_MAX_MS: u64 = 90 * 24 * 3_600 * 1_000;

/// Who changes something, when, and under which `Idempotency-Key`.
#[derive(Clone, Debug)]
pub struct By {
    /// The person or token.
    pub who: String,
    /// When.
    pub at: Timestamp,
    /// The `Idempotency-Key`.
    pub key: Option<String>,
}

/// Why a change is refused. Nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// There is no such tenant.
    #[error("there is no tenant {0}")]
    NoTenant(String),
    /// The tenant has no such key.
    #[error("tenant {tenant} has no key {key}")]
    NoKey {
        /// The tenant.
        tenant: TenantId,
        /// The key's name.
        key: String,
    },
    /// The tenant has no such address for alerts.
    #[error("the tenant has no such address")]
    NoAddress,
    /// The name is taken.
    #[error("{0} is there already; ids are never reused")]
    Taken(String),
    /// The caller knows another version.
    #[error("the tenant is at version {now}; read it again")]
    Stale {
        /// Its version.
        now: u64,
    },
    /// No flag of this name is declared.
    #[error("there is no flag {0}")]
    NoFlag(String),
    /// The caller knows another version of a flag.
    #[error("the flag is at version {now}; read it again")]
    StaleFlag {
        /// Its version.
        now: u64,
    },
    /// The value is not valid.
    #[error("{0}")]
    Invalid(String),
    /// What the tenant would be contradicts itself.
    #[error("{0}")]
    Contradiction(&'static str),
    /// A moment that should lie ahead is over.
    #[error("`{0}` is over")]
    Over(&'static str),
    /// There is no room.
    #[error("at most {TENANTS_MAX} tenants and {KEYS_MAX} keys")]
    Full,
    /// The `Idempotency-Key` belongs to another request.
    #[error("this Idempotency-Key came with another request")]
    OtherRequest,
    /// The tenant's data key does not open.
    #[error(
        "the tenant's part of the vault cannot be opened: its key-encryption key is another one, or its rows were changed"
    )]
    Unreadable,
    /// A rotation of the vault came between.
    #[error("the vault was rotated meanwhile; try again")]
    Rotated,
    /// There is no randomness.
    #[error(transparent)]
    Random(#[from] NoRandomness),
    /// The database failed.
    #[error("the database of tenants: {0}")]
    Database(#[from] weir_database::Error),
    /// A value cannot be written as JSON.
    #[error("the database of tenants: {0}")]
    Json(#[from] serde_json::Error),
}

/// A new tenant.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewTenant {
    /// Its id.
    pub id: TenantId,
    /// Its plan.
    pub plan: String,
    /// What it is known by beside its id.
    #[serde(default)]
    pub identifiers: Vec<String>,
    /// Where it is kept apart from others.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "object_or_null")]
    pub placement: Option<Placement>,
    /// The person or team that looks after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Its own amounts of budgets, by the budget's name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub budgets: BTreeMap<String, Pico>,
    /// The Stripe customer that pays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stripe_customer: Option<String>,
    /// The beginning of one of its billing periods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub billing_anchor: Option<Timestamp>,
    /// The length of its billing periods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub billing_interval: Option<Interval>,
}

/// A change of a tenant, as a JSON merge patch (RFC 7396): absent members stay, null takes a value away.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TenantPatch {
    /// Where it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<Standing>,
    /// Its plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// What it is known by beside its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identifiers: Option<Vec<String>>,
    /// Where it is kept apart from others; replaced as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "some_object_or_null")]
    pub placement: Option<Option<Placement>>,
    /// The person or team that looks after it.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "some")]
    pub owner: Option<Option<String>>,
    /// Its own amounts of budgets, by the budget's name; replaced as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budgets: Option<BTreeMap<String, Pico>>,
    /// The Stripe customer that pays.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "some")]
    pub stripe_customer: Option<Option<String>>,
    /// The beginning of one of its billing periods.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "some")]
    pub billing_anchor: Option<Option<Timestamp>>,
    /// The length of its billing periods.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "some")]
    pub billing_interval: Option<Option<Interval>>,
}

/// Reads a member that is there: null is a value.
fn some<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// Reads what is written as an object: serde would take a list of its values as well.
pub fn object<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<T, D::Error> {
    match Value::deserialize(deserializer)? {
        value @ Value::Object(_) => serde_json::from_value(value).map_err(de::Error::custom),
        _ => Err(de::Error::custom("expected an object")),
    }
}

/// The same, or null.
fn object_or_null<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Option<T>, D::Error> {
    let value = Option::<Value>::deserialize(deserializer)?;
    value.map(object).transpose().map_err(de::Error::custom)
}

/// The same as a member that is there.
fn some_object_or_null<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    object_or_null(deserializer).map(Some)
}

/// Reads a list of objects, or null.
pub fn objects<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Option<Vec<T>>, D::Error> {
    let values = Option::<Vec<Value>>::deserialize(deserializer)?;
    let read = |values: Vec<Value>| values.into_iter().map(object).collect::<Result<Vec<T>, _>>();
    values.map(read).transpose().map_err(de::Error::custom)
}

/// A new key.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewKey {
    /// Its name, which appears in events. Absent: `key-1`, `key-2` and so on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Overrides the tenant's plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// The environment of usage under it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// The product feature it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feature: Option<String>,
    /// What it may be used for: classes of requests, and routes as `route:NAME`. Absent: everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Scopes>,
    /// When it expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
}

/// A rotation: a new key of the same kind, and an end for the old one.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rotation {
    /// How long the old key stays in force, at most 90 days. Absent: a day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlap: Option<Millis>,
    /// The new key's name. Absent: as for a new key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

/// A key that is made: the caller keeps the key itself, the database its hash.
#[derive(Clone, Debug)]
pub struct Made {
    /// The key.
    pub key: String,
}

impl Made {
    pub(super) fn hash(&self) -> KeyHash {
        KeyHash::of(self.key.as_bytes())
    }
}

//! Tenants as the gateway knows them: written in its configuration, or polled from `weir serve`.
use serde::{Deserialize, Serialize};

use crate::flags::Flags;
use crate::hard::HardBudget;
use crate::placement::Placement;
use crate::scopes::Scopes;
use crate::stage::BudgetStage;
use crate::tenant::TenantId;
use crate::time::Timestamp;
use crate::vault::ProviderKey;

/// The most tenants of one directory.
pub const TENANTS_MAX: usize = 100_000;
/// The most keys of one directory.
pub const KEYS_MAX: usize = 200_000;
/// The most identifiers of one tenant.
pub const IDENTIFIERS_MAX: usize = 64;
/// The longest identifier, in bytes.
pub const IDENTIFIER_MAX_BYTES: usize = 128;
/// The most bytes of one page of `GET /v1/directory`.
pub const PAGE_MAX_BYTES: usize = 256 * 1024;

/// The most tenants and keys, together, of one difference: a gateway applies it in one step, between two requests.
pub const DIFFERENCE_MAX_ROWS: usize = 1_500;

/// One tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Tenant {
    /// Its name, which never changes.
    pub id: TenantId,
    /// The name of its plan.
    pub plan: String,
    /// Whether it may use the service.
    #[serde(default)]
    pub state: TenantState,
    /// Its API keys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<ApiKey>,
    /// What it is known by beside its id: names, domains, secrets. Other tenants' answers show `[redacted]` in their place
    /// where the gateway's configuration says `redact`. At most 64, each of at most 128 bytes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub identifiers: Vec<String>,
    /// Where it is kept apart from others; the upstream learns of it in headers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placement: Option<Box<Placement>>,
    /// Its budgets that are not within their first stage, the most severe first; the server computes them. At most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<BudgetStage>,
    /// The same of groups of keys and of end users, apart for gateways of earlier versions. At most 128.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub further_stages: Vec<BudgetStage>,
    /// Its hard budgets, each with its current period and the next; the server computes them. At most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hard_budgets: Vec<HardBudget>,
    /// Its own keys at providers, which the server hands over; they cannot stand in a configuration. At most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schemars(skip))]
    pub provider_keys: Vec<ProviderKey>,
    /// Whether the operator's key serves it where its own is missing or cannot be used; the server says so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[cfg_attr(feature = "schema", schemars(skip))]
    pub house_key: bool,
}

/// Whether the tenant may use the service.
// Quotas belong here: a used-up quota of a day or a month is a state that the server sets from the ledger's totals and that a
// gateway refuses like a suspension. Rates are the gateway's; sums are the ledger's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum TenantState {
    /// It may use the service.
    #[default]
    Active,
    /// It may not use the service: 403.
    Suspended,
}

/// One API key of a tenant. Only its hash is kept, never the key itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "TenantKey"))]
#[serde(deny_unknown_fields)]
pub struct ApiKey {
    /// The key's public name, which appears in events.
    pub id: String,
    /// SHA-256 of the whole key.
    pub sha256: KeyHash,
    /// Overrides the tenant's plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// The environment of usage under this key, such as `production` or `test`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// The product feature this key belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feature: Option<String>,
    /// What it may be used for: classes of requests, and routes as `route:NAME`. At most 32. Absent: everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Scopes>,
    /// The moment from which weir refuses it. Absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
}

/// SHA-256 of an API key, 64 hex digits in text.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyHash(pub [u8; 32]);

impl KeyHash {
    /// The hash of a key as the client sends it.
    pub fn of(key: &[u8]) -> Self {
        use sha2::{Digest, Sha256};
        KeyHash(Sha256::digest(key).into())
    }
}

#[cfg(feature = "schema")]
crate::text_schema!(
    KeyHash,
    "SHA-256 in hex: 64 digits",
    "411ceca50ab2c146c57c1fa4cb69e75822d84a3c5bf06beddbde329eb79e3b06",
    "^[0-9A-Fa-f]{64}$"
);

impl std::fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyHash({self})")
    }
}

impl std::fmt::Display for KeyHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl Serialize for KeyHash {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for KeyHash {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = crate::text::Text::deserialize(deserializer)?;
        let mut hash = [0; 32];
        hex::decode_to_slice(text.as_bytes(), &mut hash)
            .map_err(|_| serde::de::Error::custom("sha256 is 64 hex digits; `weir keys hash` prints them"))?;
        Ok(KeyHash(hash))
    }
}

/// The most revocations of one directory: each is needed only until its token has expired.
pub const REVOKED_MAX: usize = 1_000;
/// The longest name of a revoked token or key, in bytes.
pub const REVOKED_MAX_BYTES: usize = 128;

/// Tokens and keys that are refused although their signature is good.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Revoked {
    /// `jti` of tokens.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tokens: Vec<String>,
    /// `kid` of keys that sign tokens, of any issuer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,
}

impl Revoked {
    /// Whether nothing is revoked.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty() && self.keys.is_empty()
    }

    /// Whether it keeps to [`REVOKED_MAX`] and [`REVOKED_MAX_BYTES`].
    pub fn fits(&self) -> bool {
        let all = || self.tokens.iter().chain(&self.keys);
        all().count() <= REVOKED_MAX && all().all(|name| !name.is_empty() && name.len() <= REVOKED_MAX_BYTES)
    }
}

/// One page of `GET /v1/directory`.
///
/// A whole state is one page or more, chained by `next`. With `?since=VERSION` the answer may be the difference to
/// that version: always one page, on which every changed tenant is complete, with at most [`DIFFERENCE_MAX_ROWS`]. If
/// there is no such difference (an unknown version, or too many changes), the answer is the whole state.
///
/// Beside these members a page may have the [parts](crate::catalogue) `catalogue` and `figures`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// The version of the whole directory this page is part of; also the ETag.
    pub version: String,
    /// The version that this page is the difference to; absent in a whole state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Where the next page starts; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// The public key under which the tenants' own keys on this page are sealed to the gateway that asked, in hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed_by: Option<String>,
    /// The tenants, or those that changed since.
    pub tenants: Vec<Tenant>,
    /// Tenants removed since.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<TenantId>,
    /// All revocations, on the first page.
    #[serde(default, skip_serializing_if = "Revoked::is_empty")]
    pub revoked: Revoked,
    /// All feature flags, on the first page, for a gateway that asks for them.
    #[serde(default, skip_serializing_if = "Flags::is_empty")]
    pub flags: Flags,
    /// How many tenants and keys the whole state has; a state with other sums is invalid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub totals: Option<Totals>,
}

/// How much a directory holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Tenants.
    pub tenants: usize,
    /// Keys of all of them.
    pub keys: usize,
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn a_minimal_tenant_is_active_and_has_no_keys() {
        let tenant: Tenant = serde_json::from_str(r#"{"id":"acme","plan":"starter"}"#).expect("a tenant");
        assert_eq!((tenant.state, tenant.keys.len()), (TenantState::Active, 0));
    }

    #[test]
    fn a_key_is_known_by_its_hash() {
        let hash = KeyHash::of(b"sk_weir_demo");
        let text = serde_json::to_string(&hash).expect("json");
        assert_eq!(text.len(), 66);
        assert_eq!(serde_json::from_str::<KeyHash>(&text).expect("hash"), hash);
        assert!(serde_json::from_str::<KeyHash>("\"12\"").is_err());
    }

    #[test]
    fn an_unknown_field_of_a_tenant_is_an_error() {
        let error = serde_json::from_str::<Tenant>(r#"{"id":"acme","plan":"p","paln":"x"}"#).expect_err("refused");
        assert!(error.to_string().contains("paln"), "{error}");
    }
}

//! What people write about routes on which tenants use keys of their own: a part of [`super::shape`].
use serde::{Deserialize, Serialize};

/// Sends requests up with the tenant's own key at a provider.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct TenantKey {
    /// The provider whose key it is, by weir's name of it: `openai`, `anthropic`, …
    pub provider: String,
    /// The gateway's clusters that lead to this provider; on Kong the names of its services. A request that would go anywhere else
    /// is refused, so that no key reaches another host.
    pub clusters: Vec<String>,
    /// The header that carries the key. Absent: the provider's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<KeyHeader>,
    /// Whether a tenant without a key is refused. `false`: it goes up with the operator's key. A tenant whose key has expired or
    /// cannot be used is refused in either case, unless its record says `fallback: house`.
    #[serde(default = "default_required")]
    pub required: bool,
}

/// A header that carries a provider's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum KeyHeader {
    /// `authorization: Bearer …`
    Authorization,
    /// `x-api-key`
    XApiKey,
    /// `api-key`
    ApiKey,
    /// `x-goog-api-key`
    XGoogApiKey,
}

impl KeyHeader {
    /// All of them.
    pub const ALL: [KeyHeader; 4] =
        [KeyHeader::Authorization, KeyHeader::XApiKey, KeyHeader::ApiKey, KeyHeader::XGoogApiKey];

    /// The header's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            KeyHeader::Authorization => "authorization",
            KeyHeader::XApiKey => "x-api-key",
            KeyHeader::ApiKey => "api-key",
            KeyHeader::XGoogApiKey => "x-goog-api-key",
        }
    }

    /// The header's value for a key.
    pub fn value(self, key: &str) -> String {
        match self {
            KeyHeader::Authorization => format!("Bearer {key}"),
            KeyHeader::XApiKey | KeyHeader::ApiKey | KeyHeader::XGoogApiKey => key.to_owned(),
        }
    }
}

fn default_required() -> bool {
    true
}

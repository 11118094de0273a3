//! Identity in the configuration: its sources, and the tenant directory.
use serde::{Deserialize, Deserializer, Serialize};

use crate::Span;
use crate::algorithm::Algorithm;
use crate::jwk::Jwk;
use crate::secret::Secret;

/// How tenants identify themselves.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Sources of identity. Each claims the credentials that have its form; an invalid credential is refused even if
    /// another one is valid.
    pub sources: Vec<Source>,
    /// Subdomains that name tenants.
    #[serde(default)]
    pub subdomain: Option<Subdomain>,
    /// The answer to a valid credential of an unknown tenant.
    #[serde(default)]
    pub unknown_tenant: UnknownTenant,
}

/// The answer for an unknown tenant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum UnknownTenant {
    /// 403.
    #[default]
    Forbidden,
    /// 404.
    NotFound,
}

/// One source of identity.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// JSON web tokens (RFC 7519) of one issuer, in `Authorization: Bearer`.
    Jwt(Box<Jwt>),
    /// API keys of the tenants.
    ApiKey(ApiKey),
    /// A header that another gateway has set.
    Header(TrustedHeader),
}

/// JSON web tokens of one issuer. It needs `keys`, `jwks`, or both.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Jwt {
    /// The `iss` claim of the tokens that this source claims.
    pub issuer: String,
    /// The token's `aud` must name one of these. Empty: weir does not check `aud`.
    #[serde(default)]
    pub audiences: Vec<String>,
    /// The claim with the tenant's id: names joined by dots (`org.id`), or a list of names where names contain dots or
    /// slashes (`["https://example.com/org", "id"]`).
    pub tenant_claim: ClaimPath,
    /// The claim that names the plan. A token without it has the directory's plan.
    #[serde(default)]
    pub plan_claim: Option<ClaimPath>,
    /// The claim that names the end user.
    #[serde(default)]
    pub user_claim: Option<ClaimPath>,
    /// The issuer's keys.
    #[serde(default)]
    pub keys: Vec<JwtKey>,
    /// The issuer's JSON web key set: its keys, or where to fetch them.
    #[serde(default)]
    pub jwks: Option<Jwks>,
    /// The largest difference between the issuer's clock and this one's that weir tolerates.
    #[serde(default = "default_leeway")]
    pub leeway: Span,
}

/// The names that lead to a claim, outermost first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct ClaimPath(pub Vec<String>);

#[cfg(feature = "schema")]
impl schemars::JsonSchema for ClaimPath {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ClaimPath".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "claim names joined by dots, or a list of names",
            "examples": ["org.id"],
            "type": ["string", "array"],
            "items": {"type": "string", "minLength": 1},
            "minItems": 1,
            "minLength": 1,
        })
    }
}

impl<'de> Deserialize<'de> for ClaimPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Names;
        impl<'de> serde::de::Visitor<'de> for Names {
            type Value = Vec<String>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("claim names joined by dots, such as org.id, or a list of names")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Vec<String>, E> {
                Ok(text.split('.').map(str::to_owned).collect())
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut list: A) -> Result<Vec<String>, A::Error> {
                let mut names = Vec::new();
                while let Some(name) = list.next_element()? {
                    names.push(name);
                }
                Ok(names)
            }
        }
        let names = deserializer.deserialize_any(Names)?;
        if names.is_empty() || names.iter().any(String::is_empty) {
            return Err(serde::de::Error::custom("a claim's name is not empty; write org.id, or [\"org\", \"id\"]"));
        }
        Ok(ClaimPath(names))
    }
}

/// A key that verifies tokens: exactly one of `secret`, `pem` and `jwk`.
#[derive(Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct JwtKey {
    /// The key's `kid`. A token that names a key is verified with that key only.
    #[serde(default)]
    pub kid: Option<String>,
    /// The only algorithm that this key verifies. A `jwk` may name it itself.
    #[serde(default)]
    pub algorithm: Option<Algorithm>,
    /// A shared secret, at least as long as the hash (RFC 7518, 3.2): 32 bytes for HS256.
    #[serde(default)]
    pub secret: Option<Secret>,
    /// A public key in PEM: `BEGIN PUBLIC KEY`, or `BEGIN RSA PUBLIC KEY`.
    #[serde(default)]
    pub pem: Option<String>,
    /// A JSON web key.
    #[serde(default)]
    pub jwk: Option<Jwk>,
}

impl std::fmt::Debug for JwtKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JwtKey").field("kid", &self.kid).field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

/// A JSON web key set (RFC 7517): `keys`, or a `url` and the `cluster` to fetch it through.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Jwks {
    /// The set's keys.
    #[serde(default)]
    pub keys: Vec<Jwk>,
    /// The address of the set: `https://auth.example.com/jwks.json`.
    #[serde(default)]
    pub url: Option<String>,
    /// The gateway's name for that server: an Envoy cluster; `host:port` on Kong.
    #[serde(default)]
    pub cluster: Option<String>,
    /// How often the set is fetched. A shorter `Cache-Control: max-age` of the answer takes precedence.
    #[serde(default = "default_jwks_refresh")]
    pub refresh: Span,
    /// The shortest time between two fetches caused by tokens with unknown keys.
    #[serde(default = "default_jwks_refetch")]
    pub refetch: Span,
    /// How long a fetch may take.
    #[serde(default = "default_timeout")]
    pub timeout: Span,
    /// The algorithm of RSA keys that do not name one.
    #[serde(default = "default_rsa_algorithm")]
    pub rsa_algorithm: Algorithm,
}

/// API keys.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "ApiKeySource"))]
#[serde(deny_unknown_fields)]
pub struct ApiKey {
    /// The header that carries the key. In `authorization` the key follows `Bearer`.
    #[serde(default = "default_key_header")]
    pub header: String,
    /// The text that every key starts with. A credential that starts with it belongs to this source.
    #[serde(default)]
    pub prefix: String,
}

/// A header that another gateway has set. Needs `networks`, `peers`, or both; with both, both must match.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct TrustedHeader {
    /// The header with the tenant's id.
    pub header: String,
    /// The header with the plan's name.
    #[serde(default)]
    pub plan_header: Option<String>,
    /// The header with the end user.
    #[serde(default)]
    pub user_header: Option<String>,
    /// Trusted networks, in CIDR form: `10.0.0.0/8`. Envoy needs `use_remote_address: true`, else the client can claim
    /// any address.
    #[serde(default)]
    pub networks: Vec<String>,
    /// Trusted identities in the client's certificate: a URI or DNS name of its subject alternative names
    /// (`spiffe://example.com/edge`), as verified by the gateway.
    #[serde(default)]
    pub peers: Vec<String>,
}

/// Subdomains that name tenants: `acme.api.example.com`. They only confirm the tenant of a credential, except on routes
/// that are `anonymous`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Subdomain {
    /// The domain whose subdomains name tenants: `api.example.com`.
    pub domain: String,
}

/// The tenant directory to poll: `weir serve`.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Directory {
    /// The gateway's name for the aggregator: an Envoy cluster; `host:port` on Kong.
    pub cluster: String,
    /// The path of the directory.
    #[serde(default = "default_directory_path")]
    pub path: String,
    /// The `:authority` of the calls.
    #[serde(default = "super::default_authority")]
    pub authority: String,
    /// The bearer token with the scope `directory`.
    pub token: Secret,
    /// How often the gateway asks for changes where the aggregator does not hold calls until something changes (`wait`); a
    /// suspension or revocation then takes this long to apply.
    #[serde(default = "default_directory_refresh")]
    pub refresh: Span,
    /// How long the aggregator may hold a call until something changes; the change is then in force within a second. At most
    /// half of `staleness_max` is asked for. `0s`: not at all.
    #[serde(default = "default_directory_wait")]
    pub wait: Span,
    /// How long one call may take.
    #[serde(default = "default_timeout")]
    pub timeout: Span,
    /// What counts until the directory has answered for the first time.
    #[serde(default)]
    pub at_start: AtStart,
    /// The greatest age of the last confirmed state; beyond it requests are refused with 503. Absent: no bound; a
    /// gateway that cannot reach its directory keeps the last state.
    #[serde(default)]
    pub staleness_max: Option<Span>,
    /// A secret of at least 32 random bytes from which each worker makes the key pair to which tenants' own keys are sealed. Kong
    /// needs it for `tenant_key`, since it has no randomness that nobody can guess; in Envoy it is mixed in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receive_keys_seed: Option<Secret>,
}

/// Which tenants a gateway knows until its directory has answered for the first time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum AtStart {
    /// None: requests with a credential are answered 503.
    #[default]
    Wait,
    /// Those of `tenants`, so that a gateway can start while weir serve is away. Whom weir serve has suspended or revoked since
    /// they were written is let in until then.
    Inline,
}

impl std::fmt::Debug for Directory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Directory").field("cluster", &self.cluster).field("path", &self.path).finish_non_exhaustive()
    }
}

fn default_directory_wait() -> Span {
    Span::from_secs(25)
}

fn default_leeway() -> Span {
    Span::from_secs(30)
}

fn default_key_header() -> String {
    "authorization".to_owned()
}

/// Providers announce a new key hours to days before they sign with it.
fn default_jwks_refresh() -> Span {
    Span::from_secs(300)
}

/// Bounds the delay until a key that is used at once is known. A flood of invented key names costs the issuer one fetch
/// in this time from each worker.
fn default_jwks_refetch() -> Span {
    Span::from_secs(10)
}

fn default_rsa_algorithm() -> Algorithm {
    Algorithm::RS256
}

fn default_directory_path() -> String {
    "/v1/directory".to_owned()
}

fn default_directory_refresh() -> Span {
    Span::from_secs(10)
}

fn default_timeout() -> Span {
    Span::from_secs(5)
}

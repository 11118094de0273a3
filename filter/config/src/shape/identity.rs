//! Who it is: sources of identity, and the tenant directory.
use serde::{Deserialize, Deserializer, Serialize};

use crate::Span;
use crate::algorithm::Algorithm;
use crate::key::jwk::Jwk;

/// How tenants prove who they are.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Sources of identity. Each claims the credentials that have its shape; a claimed credential that is not valid is
    /// refused, whatever the others would say.
    pub sources: Vec<Source>,
    /// Subdomains that name tenants.
    #[serde(default)]
    pub subdomain: Option<Subdomain>,
    /// What a valid credential of a tenant that is not known here is answered.
    #[serde(default)]
    pub unknown_tenant: UnknownTenant,
}

/// The answer where the tenant is not known.
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
    /// API keys out of the directory.
    ApiKey(ApiKey),
    /// A header that another gateway has set.
    Header(TrustedHeader),
}

/// JSON web tokens of one issuer. It needs `keys`, `jwks`, or both.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Jwt {
    /// The `iss` claim that this source claims.
    pub issuer: String,
    /// The token's `aud` must name one of these. Empty: `aud` is not looked at.
    #[serde(default)]
    pub audiences: Vec<String>,
    /// Where the tenant's id stands: claim names joined by dots (`org.id`), or a list of names, for names that have dots or
    /// slashes themselves (`["https://example.com/org", "id"]`).
    pub tenant_claim: ClaimPath,
    /// Where the plan's name stands. A token without it has the directory's plan.
    #[serde(default)]
    pub plan_claim: Option<ClaimPath>,
    /// Where the end user stands.
    #[serde(default)]
    pub user_claim: Option<ClaimPath>,
    /// Keys of the issuer that stand here.
    #[serde(default)]
    pub keys: Vec<JwtKey>,
    /// A JSON web key set: written here, or fetched.
    #[serde(default)]
    pub jwks: Option<Jwks>,
    /// How far the issuer's clock may be from ours.
    #[serde(default = "default_leeway")]
    pub leeway: Span,
}

/// The names on the way to a claim.
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
    /// `kid`: tokens that name a key are verified under that one only.
    #[serde(default)]
    pub kid: Option<String>,
    /// The only algorithm this key verifies. A `jwk` may name it itself.
    #[serde(default)]
    pub algorithm: Option<Algorithm>,
    /// A shared secret, at least as long as the hash (RFC 7518, 3.2): 32 bytes for HS256.
    #[serde(default)]
    pub secret: Option<String>,
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

/// A JSON web key set (RFC 7517): `keys` that stand here, or a `url` and the `cluster` to fetch it through.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Jwks {
    /// The set's keys.
    #[serde(default)]
    pub keys: Vec<Jwk>,
    /// Where the set is: `https://auth.example.com/jwks.json`.
    #[serde(default)]
    pub url: Option<String>,
    /// The gateway's name for that place: an Envoy cluster; `host:port` on Kong.
    #[serde(default)]
    pub cluster: Option<String>,
    /// How often it is fetched. An answer's `Cache-Control: max-age` may make it more often.
    #[serde(default = "default_jwks_refresh")]
    pub refresh: Span,
    /// How long after one fetch the next may follow, when tokens name keys that the set does not have.
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
    /// The header that carries the key. In `authorization` it stands behind `Bearer`.
    #[serde(default = "default_key_header")]
    pub header: String,
    /// What every key starts with: it claims the credential for this source.
    #[serde(default)]
    pub prefix: String,
}

/// A header that another gateway has set. Somebody must be trusted: `networks`, `peers`, or both, which then must both hold.
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
    /// Networks whose word is taken, in CIDR form: `10.0.0.0/8`. Envoy needs `use_remote_address: true`, else the address
    /// is what the client says it is.
    #[serde(default)]
    pub networks: Vec<String>,
    /// Identities in the client's certificate whose word is taken: a URI or DNS name of its subject alternative names
    /// (`spiffe://example.com/edge`), as verified by the gateway.
    #[serde(default)]
    pub peers: Vec<String>,
}

/// Subdomains that name tenants: `acme.api.example.com`. They only confirm what a credential says, except on routes that
/// are `anonymous`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Subdomain {
    /// The domain below which tenants have theirs: `api.example.com`.
    pub domain: String,
}

/// Where the tenants are polled from: `weir serve`.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Directory {
    /// The gateway's name for the aggregator: an Envoy cluster; `host:port` on Kong.
    pub cluster: String,
    /// The path there.
    #[serde(default = "default_directory_path")]
    pub path: String,
    /// The `:authority` of the calls.
    #[serde(default = "super::default_authority")]
    pub authority: String,
    /// The bearer token with the scope `directory`.
    pub token: String,
    /// How often it is asked for changes: how long a suspension or a revocation takes to be in force.
    #[serde(default = "default_directory_refresh")]
    pub refresh: Span,
    /// How long one call may take.
    #[serde(default = "default_timeout")]
    pub timeout: Span,
    /// How old the last confirmed state may grow before requests are refused with 503. Absent: as old as it gets; then a
    /// gateway that has lost its directory goes on with what it knows.
    #[serde(default)]
    pub staleness_max: Option<Span>,
}

impl std::fmt::Debug for Directory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Directory").field("cluster", &self.cluster).field("path", &self.path).finish_non_exhaustive()
    }
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

/// A key that is used at once is known this much later at most; a flood of made-up names costs the issuer no more than
/// one fetch in this time from each worker.
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

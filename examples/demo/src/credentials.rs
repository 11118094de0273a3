//! Who the demo's clients say they are, truly or not.

use crate::settings;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::Sha256;

/// The life of a token, in seconds: long enough for a working day of experiments.
const VALID_S: i64 = 8 * 3600;

/// The life of a link to a tenant's own page: the longest that weir takes.
const LINK_VALID_S: i64 = 300;

/// Makes the demo's tokens (JWT, HS256) and knows its API keys.
#[derive(Debug, Clone)]
pub(crate) struct Issuer {
    secret: String,
    issuer: String,
    audience: String,
    key_end: String,
    link_key: String,
    now: Timestamp,
}

impl Issuer {
    pub(crate) fn new(now: Timestamp) -> anyhow::Result<Self> {
        let (secret, issuer, audience) = settings::issuer()?;
        let (key_end, link_key) = (settings::key_end()?, settings::link_key()?);
        Ok(Self { secret, issuer, audience, key_end, link_key, now })
    }

    /// A token that is good for `tenant`.
    pub(crate) fn token(&self, tenant: &str) -> String {
        sign(&self.claims(tenant, VALID_S), &self.secret)
    }

    /// The API key of `tenant`.
    pub(crate) fn api_key(&self, tenant: &str) -> String {
        settings::api_key(tenant, &self.key_end)
    }

    /// The path of a link to the own page of `tenant`, as its backend signs them.
    pub(crate) fn link(&self, tenant: &str) -> String {
        let exp = self.now.as_second() + LINK_VALID_S;
        let claims = json!({"sub": tenant, "name": "somebody of the demo", "exp": exp, "jti": "the link of the guide"});
        format!("/ui/link?token={}", sign(&claims, &self.link_key))
    }

    /// A token of yesterday.
    pub(crate) fn expired_token(&self, tenant: &str) -> String {
        sign(&self.claims(tenant, -24 * 3600), &self.secret)
    }

    /// A token signed with a wrong key.
    pub(crate) fn forged_token(&self, tenant: &str) -> String {
        sign(&self.claims(tenant, VALID_S), "another secret, of more than thirty-two bytes")
    }

    fn claims(&self, tenant: &str, valid_s: i64) -> Value {
        let now_s = self.now.as_second();
        json!({"iss": self.issuer, "aud": self.audience, "sub": "user-1", "org": {"id": tenant},
            "iat": now_s.min(now_s + valid_s), "exp": now_s + valid_s})
    }
}

fn sign(claims: &Value, secret: &str) -> String {
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!("{}.{}", encode(&json!({"alg": "HS256", "typ": "JWT"})), encode(claims));
    let signature = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).map(|mut mac| {
        mac.update(text.as_bytes());
        mac.finalize().into_bytes()
    });
    // HMAC takes keys of every length.
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature.unwrap_or_default()))
}

//! A tenant's own page by a link that a backend of the operator's signs: a JSON Web Token (RFC 7519) with HS256. It opens once, for the
//! tenant that it names, and begins a session of an hour.
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use weir_config::algorithm::Algorithm;
use weir_contract::TenantId;
use weir_contract::directory::KeyHash;
use weir_keys::Key;
use weir_keys::check::no_native;

use super::UiError;
use super::asked::Ask;
use super::cookies::{self, Shown};
use super::guard::person;
use super::sessions::Holder;
use super::sign_in::{begin, moves_on};
use crate::config::ConfigError;
use crate::config::tokens::{Scope, Token, is_name};
use crate::config::ui::links::Links;
use crate::metrics::ui::SignedIn;
use crate::server::App;
use crate::server::auth::check_present;
use crate::server::error::ApiError;
use crate::text::is_obeyed;

/// How far ahead the end of a link may be, in seconds.
const AHEAD_MAX_SECS: u64 = 300;
/// The most links whose names are remembered until they end. Further ones have to wait.
const USED_MAX: usize = 10_000;
/// The longest name of a link, in bytes, and of a person, in characters.
const NAME_MAX: usize = 200;
/// What the audit says beside the person's name.
const NAME: &str = "a signed link";

/// Who signs links, and which of them have opened.
#[derive(Debug)]
pub(super) struct Signer {
    key: Key,
    settings: Links,
    /// Ends of links, in seconds, by the hash of their names.
    used: Mutex<HashMap<KeyHash, u64>>,
}

/// Why a link does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum LinkError {
    /// It is not signed with this key, or not as it must be.
    #[error("this link is not valid: it needs a JSON Web Token, signed with HS256 and the key of `ui.links`")]
    Signature,
    /// A claim is missing or wrong.
    #[error(
        "this link is not valid: it needs the claims `sub` (the tenant), `exp` (in seconds) and `jti` (a name of its own)"
    )]
    Claims,
    /// It is over, or lasts too long.
    #[error("this link has expired, or would last for more than five minutes: load the page that it came from again")]
    Time,
    /// It has opened.
    #[error("this link has been used: load the page that it came from again")]
    Used,
    /// Too many have opened.
    #[error("too many links have been used in the last minutes: try again in a minute")]
    Full,
}

/// The head of a JSON Web Token. One with conditions (`crit`) is refused.
#[derive(Deserialize)]
struct Head {
    alg: String,
    crit: Option<serde_json::Value>,
}

/// What a link says.
#[derive(Debug, Deserialize)]
struct Claims {
    sub: TenantId,
    exp: u64,
    jti: String,
    name: Option<String>,
}

/// What the address says.
#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    token: String,
}

fn is_person(name: &str) -> bool {
    is_name(name, NAME_MAX)
}

/// Begins a session for whoever has a good link. A look at its head alone, as programs that check links have it, opens nothing.
pub(super) async fn get_link(
    State(app): State<App>,
    method: Method,
    headers: HeaderMap,
    Ask(asked): Ask<Asked>,
) -> Result<Response, UiError> {
    if method == Method::HEAD {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let none = ApiError::NotConfigured("links open no page here: the configuration has no `ui.links`");
    let signer = app.0.ui.links.as_ref().ok_or(none)?;
    let now_secs = app.0.clock.now().as_millis() / 1_000;
    let refused = |error: LinkError| {
        app.0.metrics.ui.signed_in(SignedIn::Refused);
        ApiError::NotLetIn(error.to_string())
    };
    let claims = signer.check(&asked.token, now_secs).map_err(refused)?;
    // Browsers keep sessions of frames apart by the site around them, which alone ends one by another link of its own.
    if !cookies::is_framed(&headers, app.0.ui.settings.is_https) {
        check_nobody_else(&app, &headers, &claims.sub)?;
    }
    check_present(&app, claims.sub.as_str())?;
    if !app.directory().current().plans().contains_key(claims.sub.as_str()) {
        return Err(ApiError::Unknown(format!("there is no tenant {}", claims.sub)).into());
    }
    signer.use_up(&claims, now_secs).map_err(refused)?;
    let shown = if signer.settings.frames.is_empty() { Shown::Here } else { Shown::InFrames };
    let cookies = begin(&app, &headers, holder(claims), shown).await?;
    Ok(moves_on(cookies, None, app.0.ui.theme.brand()))
}

/// Refuses a link in a browser where somebody else is signed in: any site can lead a browser to one, and that may not end a session nor
/// put a person into another tenant's. The link stays good.
fn check_nobody_else(app: &App, headers: &HeaderMap, tenant: &TenantId) -> Result<(), ApiError> {
    let Some(here) = person(app, headers).filter(|here| !here.is_of(tenant)) else { return Ok(()) };
    Err(ApiError::NotLetIn(format!(
        "{} is signed in here: sign out first, or open this link of {tenant} in a private window",
        here.name()
    )))
}

fn holder(claims: Claims) -> Holder {
    let Claims { sub, name, .. } = claims;
    let person = name.unwrap_or_else(|| sub.to_string());
    let one = KeyHash::of(format!("{NAME}\n{sub}\n{person}").as_bytes());
    let mut token = Token::of(NAME, vec![Scope::Tenant(sub)], NAME);
    token.person = Some(person.into());
    Holder::Person(token.into(), one)
}

impl Signer {
    /// Reads the key; a relative file lies in `base`.
    pub(super) fn new(settings: Links, base: &Path) -> Result<Self, ConfigError> {
        let field = "ui.links.key";
        let secret = settings.key.read(base).map_err(|source| ConfigError::Secret { field, source })?;
        let key = Key::secret(None, Algorithm::HS256, secret.expose().as_bytes());
        let wrong = |error: weir_keys::KeyError| ConfigError::Field {
            path: base.to_owned(),
            field,
            problem: error.to_string(),
        };
        Ok(Signer { key: key.map_err(wrong)?, settings, used: Mutex::default() })
    }

    /// Sites that may show a tenant's own page in a frame.
    pub(super) fn frames(&self) -> &[String] {
        &self.settings.frames
    }

    /// The claims of a good link.
    fn check(&self, token: &str, now_secs: u64) -> Result<Claims, LinkError> {
        let claims = self.read(token).ok_or(LinkError::Signature)?;
        let claims: Claims = serde_json::from_slice(&claims).map_err(|_| LinkError::Claims)?;
        let is_jti = !claims.jti.is_empty() && claims.jti.len() <= NAME_MAX;
        if !is_jti || claims.jti.contains(is_obeyed) || !claims.name.as_deref().is_none_or(is_person) {
            return Err(LinkError::Claims);
        }
        if claims.exp <= now_secs || claims.exp > now_secs.saturating_add(AHEAD_MAX_SECS) {
            return Err(LinkError::Time);
        }
        Ok(claims)
    }

    /// Uses a link up, which has not opened before.
    fn use_up(&self, claims: &Claims, now_secs: u64) -> Result<(), LinkError> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.retain(|_, end| *end > now_secs);
        if used.len() >= USED_MAX {
            return Err(LinkError::Full);
        }
        match used.insert(KeyHash::of(claims.jti.as_bytes()), claims.exp) {
            Some(_) => Err(LinkError::Used),
            None => Ok(()),
        }
    }

    /// The claims of a token with a good signature (RFC 7515, compact form).
    fn read(&self, token: &str) -> Option<Vec<u8>> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (head, claims) = signed.split_once('.')?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).ok();
        let head: Head = serde_json::from_slice(&decode(head)?).ok()?;
        let is_good = head.alg == "HS256"
            && head.crit.is_none()
            && self.key.verifies(signed.as_bytes(), &decode(signature)?, no_native);
        if is_good { decode(claims) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use weir_settings::secret::SecretSource;

    use super::*;

    /// The example of RFC 7515, A.1, whose claims are none of a link.
    const RFC: &str = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    const RFC_KEY: &str = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
    const NOW: u64 = 1_800_000_000;

    fn signer(secret: &[u8]) -> Signer {
        let key = Key::secret(None, Algorithm::HS256, secret).expect("a key");
        let settings = Links { key: SecretSource::Env("KEY".to_owned()), frames: Vec::new() };
        Signer { key, settings, used: Mutex::default() }
    }

    /// A token that is signed with `sign`.
    fn token(head: &serde_json::Value, claims: &serde_json::Value, sign: impl Fn(&str) -> Vec<u8>) -> String {
        let part = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(head), part(claims));
        let signature = URL_SAFE_NO_PAD.encode(sign(&signed));
        format!("{signed}.{signature}")
    }

    #[test]
    fn the_example_of_the_standard_has_a_good_signature() {
        let signer = signer(&URL_SAFE_NO_PAD.decode(RFC_KEY).expect("base64"));
        assert!(signer.read(RFC).is_some_and(|claims| claims.starts_with(b"{\"iss\":\"joe\"")));
        assert_eq!(signer.check(RFC, NOW).expect_err("no link"), LinkError::Claims);
        for wrong in [
            RFC.replace("OEjXk", "OEjXl"),
            RFC.replace("qb2UiL", "qb24iL"),
            format!("{RFC}."),
            String::new(),
            "a.b".to_owned(),
        ] {
            assert_eq!(signer.check(&wrong, NOW).expect_err("refused"), LinkError::Signature, "{wrong}");
        }
    }

    #[test]
    fn an_algorithm_that_signs_nothing_or_conditions_are_refused() {
        let signer = signer(&[7; 32]);
        let claims = json!({"sub": "acme", "exp": NOW + 60, "jti": "1"});
        for head in
            [json!({"alg": "none"}), json!({"alg": "HS512"}), json!({"alg": "HS256", "crit": ["b64"]}), json!({})]
        {
            let unsigned = token(&head, &claims, |_| Vec::new());
            assert_eq!(signer.check(&unsigned, NOW).expect_err("refused"), LinkError::Signature, "{head}");
        }
    }
}

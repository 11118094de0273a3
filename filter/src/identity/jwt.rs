//! Verifies JSON web tokens (RFC 7519).
//!
//! The key determines the algorithm, never the token: a token whose header names another is refused before any key is
//! used. Claims are checked before the signature, because that is cheaper; a signature draws on the worker's budget.
use std::rc::Rc;

use serde_json::{Map, Value};
use weir_config::ConfigError;
use weir_config::shape::{ClaimPath, Jwt, JwtKey};
use weir_contract::directory::Revoked;
use weir_contract::{TenantId, Timestamp};

use super::algorithm::{Algorithm, Family};
use super::budget::Budget;
use super::jws::Jws;
use super::key::Key;
use super::key::check::{Native, native_hash, no_native};
use super::key::jwk::{KEYS_MAX, KeySet};
use super::keyring::{JwksEndpoint, Keyring};
use crate::refusal::{Invalid, Refusal};

/// The most keys that are tried for a token that names none.
const TRIED_MAX: usize = 4;

/// One issuer and what its tokens must say.
#[derive(Debug)]
pub struct Issuer {
    issuer: Box<str>,
    audiences: Vec<String>,
    tenant_claim: ClaimPath,
    plan_claim: Option<ClaimPath>,
    user_claim: Option<ClaimPath>,
    leeway_ms: u64,
    credential_id: Rc<str>,
    /// Keys from the configuration.
    keys: Vec<Rc<Key>>,
    /// Keys of the configuration's set that cannot be used, as the log tells them.
    ignored: Vec<String>,
    /// Where more keys are fetched.
    remote: Option<JwksEndpoint>,
}

/// What a valid token says.
#[derive(Debug, PartialEq)]
pub struct Claims {
    /// The tenant's id.
    pub tenant: Box<str>,
    /// The plan's name.
    pub plan: Option<Box<str>>,
    /// The end user.
    pub user: Option<Rc<str>>,
    /// `jwt:` and the issuer.
    pub credential_id: Rc<str>,
    /// When the token expires, leeway included.
    pub until: Timestamp,
    /// The token's own name, by which it can be revoked.
    pub jti: Option<Box<str>>,
}

/// A token whose signature is good.
#[derive(Debug)]
pub struct Verified {
    /// What it says.
    pub claims: Claims,
    /// The key that signed it.
    pub key: Rc<Key>,
}

/// Why a token is invalid, or cannot be verified now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unverified {
    /// It is not good.
    Invalid(Invalid),
    /// It names an unknown key of this issuer (by index), whose set may be fetched.
    UnknownKey(usize),
    /// No key of the issuer is known yet.
    NoKeysYet,
    /// The worker's budget for signatures is used up.
    OverBudget,
}

impl From<Invalid> for Unverified {
    fn from(invalid: Invalid) -> Self {
        Unverified::Invalid(invalid)
    }
}

impl From<Unverified> for Refusal {
    fn from(unverified: Unverified) -> Self {
        match unverified {
            Unverified::Invalid(invalid) => Refusal::InvalidCredential(invalid),
            Unverified::UnknownKey(_) => Refusal::InvalidCredential(Invalid::Unknown),
            Unverified::NoKeysYet => Refusal::NotReady,
            Unverified::OverBudget => Refusal::Busy,
        }
    }
}

/// What verification needs besides the token.
#[derive(Debug)]
pub struct VerifyContext<'a> {
    /// The issuers' fetched keys.
    pub keyring: &'a Keyring,
    /// What is revoked.
    pub revoked: &'a Revoked,
    /// What may be spent on signatures.
    pub budget: &'a mut Budget,
    /// The gateway's own verifier.
    pub native: Native,
    /// The time.
    pub now: Timestamp,
}

impl Issuer {
    /// Checks and compiles one issuer; `path` is where it stands in the configuration.
    pub fn compile(jwt: Jwt, path: &str) -> Result<Self, ConfigError> {
        let mut keys = Vec::new();
        for (at, key) in jwt.keys.iter().enumerate() {
            keys.push(Rc::new(compile_key(key, &format!("{path}.keys[{at}]"))?));
        }
        let (mut remote, mut ignored) = (None, Vec::new());
        if let Some(jwks) = &jwt.jwks {
            let at = format!("{path}.jwks");
            let mut set = KeySet::default();
            for (k, jwk) in jwks.keys.iter().enumerate() {
                set.add(k, jwk, Key::jwk(jwk, jwks.rsa_algorithm));
            }
            if let Some(first) = set.ignored.first().filter(|_| set.keys.is_empty()) {
                return Err(ConfigError::new(&at, format_args!("no key of the set can be used; {first}")));
            }
            keys.extend(set.keys.into_iter().map(Rc::new));
            ignored = set.ignored.iter().map(|key| format!("{at}.{key}")).collect();
            remote = JwksEndpoint::compile(jwks, &at)?;
        }
        if keys.is_empty() && remote.is_none() {
            return Err(ConfigError::new(
                format!("{path}.keys"),
                "name at least one key, or a jwks with keys or a url",
            ));
        }
        if keys.len() > KEYS_MAX {
            return Err(ConfigError::new(
                format!("{path}.keys"),
                format_args!("an issuer has at most {KEYS_MAX} keys"),
            ));
        }
        Ok(Issuer {
            credential_id: format!("jwt:{}", jwt.issuer).into(),
            issuer: jwt.issuer.into(),
            audiences: jwt.audiences,
            tenant_claim: jwt.tenant_claim,
            plan_claim: jwt.plan_claim,
            user_claim: jwt.user_claim,
            leeway_ms: jwt.leeway.as_millis(),
            keys,
            ignored,
            remote,
        })
    }

    /// The `iss` claim.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The keys that the configuration has.
    pub(crate) fn own_keys(&self) -> &[Rc<Key>] {
        &self.keys
    }

    /// Keys of the configuration's set that cannot be used, and why: for the log.
    pub fn ignored_keys(&self) -> &[String] {
        &self.ignored
    }

    /// Where its keys are fetched.
    pub fn remote(&self) -> Option<&JwksEndpoint> {
        self.remote.as_ref()
    }

    fn check_time(&self, claims: &Map<String, Value>, now: Timestamp) -> Result<Timestamp, Invalid> {
        let until = moment(claims.get("exp").ok_or(Invalid::Claims)?)?.plus_millis(self.leeway_ms);
        if now >= until {
            return Err(Invalid::Expired);
        }
        match claims.get("nbf").map(moment).transpose()? {
            Some(from) if now.plus_millis(self.leeway_ms) < from => Err(Invalid::NotYet),
            _ => Ok(until),
        }
    }

    /// `aud` is a string or a list of strings (RFC 7519, 4.1.3).
    fn check_audience(&self, claims: &Map<String, Value>) -> Result<(), Invalid> {
        let names = |value: &Value| value.as_str().is_some_and(|name| self.audiences.iter().any(|own| own == name));
        let meant = match claims.get("aud") {
            Some(Value::Array(list)) => list.iter().any(names),
            Some(value) => names(value),
            None => false,
        };
        if meant || self.audiences.is_empty() { Ok(()) } else { Err(Invalid::Audience) }
    }

    /// Finds the key that signed it; each try draws its algorithm's cost from the budget.
    fn check_signature(
        &self,
        at: usize,
        jws: &Jws<'_>,
        context: &mut VerifyContext<'_>,
    ) -> Result<Rc<Key>, Unverified> {
        let kid = jws.header.kid.as_deref();
        let fetched = context.keyring.keys(at);
        if self.keys.is_empty() && fetched.is_none() {
            return Err(Unverified::NoKeysYet);
        }
        let all = || self.keys.iter().chain(fetched.into_iter().flatten());
        let named = all().filter(|key| key.answers_to(kid) && !is_revoked(context.revoked, key));
        let mut tried = if self.remote.is_some() { Unverified::UnknownKey(at) } else { Invalid::Unknown.into() };
        for key in named.take(TRIED_MAX) {
            if key.algorithm().name() != jws.header.alg {
                tried = Invalid::Algorithm.into();
                continue;
            }
            if !context.budget.take(price(key.algorithm(), context.native), context.now) {
                return Err(Unverified::OverBudget);
            }
            if key.verifies(jws.signed.as_bytes(), &jws.signature, context.native) {
                return Ok(Rc::clone(key));
            }
            tried = Invalid::Signature.into();
        }
        Err(tried)
    }

    fn read(&self, claims: &Map<String, Value>, until: Timestamp) -> Result<Claims, Invalid> {
        let tenant = find(&self.tenant_claim, claims).ok_or(Invalid::Claims)?;
        TenantId::new(tenant).map_err(|_| Invalid::Claims)?;
        Ok(Claims {
            tenant: tenant.into(),
            plan: self.plan_claim.as_ref().and_then(|path| find(path, claims)).map(Into::into),
            user: self.user_claim.as_ref().and_then(|path| find(path, claims)).map(Into::into),
            credential_id: Rc::clone(&self.credential_id),
            until,
            jti: claims.get("jti").and_then(Value::as_str).map(Into::into),
        })
    }
}

/// Whether a key is revoked by its name.
pub(crate) fn is_revoked(revoked: &Revoked, key: &Key) -> bool {
    key.kid().is_some_and(|kid| revoked.keys.iter().any(|name| name == kid))
}

/// The cost of one verification in microseconds: far less if the gateway does it. A token that is not cached draws this
/// from its worker's budget.
fn price(algorithm: Algorithm, native: Native) -> u64 {
    let asks = !std::ptr::fn_addr_eq(native, no_native as Native);
    let in_wasm = cost_in_wasm_us(algorithm.family());
    if asks && native_hash(algorithm).is_some() { in_wasm / 80 } else { in_wasm }
}

/// The cost of one verification in WebAssembly, in microseconds, measured in Envoy.
const fn cost_in_wasm_us(family: Family) -> u64 {
    match family {
        Family::Secret => 10,
        Family::Ed25519 => 650,
        Family::Rsa => 3_400,
        Family::P256 => 7_000,
    }
}

/// Seconds since the epoch (RFC 7519, section 2); a fraction is cut, a time before the epoch is the epoch.
fn moment(value: &Value) -> Result<Timestamp, Invalid> {
    if let Some(secs) = value.as_u64() {
        return Ok(Timestamp::from_secs(secs));
    }
    match value.as_f64() {
        Some(secs) if secs.is_finite() => Ok(Timestamp::from_secs(secs as u64)),
        _ => Err(Invalid::Claims),
    }
}

fn compile_key(key: &JwtKey, path: &str) -> Result<Key, ConfigError> {
    let named =
        || key.algorithm.ok_or_else(|| ConfigError::new(format!("{path}.algorithm"), "name the key's algorithm"));
    let kid = key.kid.as_deref();
    match (&key.secret, &key.pem, &key.jwk) {
        (Some(secret), None, None) => {
            Key::secret(kid, named()?, secret.expose().as_bytes()).map_err(|error| ("secret", error))
        }
        (None, Some(pem), None) => Key::pem(kid, named()?, pem).map_err(|error| ("pem", error)),
        (None, None, Some(jwk)) => {
            let mut jwk = jwk.clone();
            jwk.kid = jwk.kid.or_else(|| key.kid.clone());
            jwk.alg = jwk.alg.or_else(|| key.algorithm.map(|algorithm| algorithm.name().to_owned()));
            Key::jwk(&jwk, Algorithm::RS256).map_err(|error| ("jwk", error))
        }
        _ => return Err(ConfigError::new(path, "give exactly one of secret, pem and jwk")),
    }
    .map_err(|(field, error)| ConfigError::new(format!("{path}.{field}"), error))
}

/// The text at `path` in the claims.
fn find<'c>(path: &ClaimPath, claims: &'c Map<String, Value>) -> Option<&'c str> {
    let (first, rest) = path.0.split_first()?;
    let found = rest.iter().try_fold(claims.get(first)?, |value, name| value.get(name))?;
    found.as_str()
}

/// Verifies a token against the issuer it names.
pub fn verify(token: &str, issuers: &[Issuer], context: &mut VerifyContext<'_>) -> Result<Verified, Unverified> {
    let jws = Jws::parse(token)?;
    let claims: Map<String, Value> = serde_json::from_slice(&jws.payload).map_err(|_| Invalid::Malformed)?;
    let named = claims.get("iss").and_then(Value::as_str).ok_or(Invalid::Claims)?;
    let mut known = issuers.iter().enumerate();
    let (at, issuer) = known.find(|(_, issuer)| *issuer.issuer == *named).ok_or(Invalid::Unknown)?;
    let until = issuer.check_time(&claims, context.now)?;
    issuer.check_audience(&claims)?;
    let read = issuer.read(&claims, until)?;
    if read.jti.as_ref().is_some_and(|jti| context.revoked.tokens.iter().any(|name| **name == **jti)) {
        return Err(Invalid::Revoked.into());
    }
    let key = issuer.check_signature(at, &jws, context)?;
    Ok(Verified { claims: read, key })
}

#[cfg(test)]
mod tests;

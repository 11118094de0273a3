use super::*;
use crate::identity::algorithm::Algorithm;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use hmac::{Hmac, Mac};
use serde_json::json;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;
use weir_config::Secret;
use weir_config::Span;

const SECRET: &str = "an HS256 secret of at least 32 bytes";
const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

fn path(names: &[&str]) -> ClaimPath {
    ClaimPath(names.iter().map(|name| (*name).to_owned()).collect())
}

fn shape() -> Jwt {
    let key = JwtKey {
        kid: Some("k1".into()),
        algorithm: Some(Algorithm::HS256),
        secret: Some(Secret::Text(SECRET.into())),
        ..JwtKey::default()
    };
    Jwt {
        issuer: "https://auth.example.com".into(),
        audiences: vec!["api".into()],
        tenant_claim: path(&["org", "id"]),
        plan_claim: Some(path(&["plan"])),
        user_claim: Some(path(&["sub"])),
        keys: vec![key],
        jwks: None,
        leeway: Span::from_secs(30),
    }
}

fn issuer() -> Issuer {
    Issuer::compile(shape(), "jwt").expect("an issuer")
}

/// Verifies with nothing fetched and a full budget.
fn judge(token: &str, issuers: &[Issuer], revoked: &Revoked) -> Result<Verified, Unverified> {
    let (keyring, mut budget) = (Keyring::new(issuers.len(), NOW), Budget::new(NOW));
    let native = crate::identity::key::check::no_native;
    verify(token, issuers, &mut VerifyContext { keyring: &keyring, revoked, budget: &mut budget, native, now: NOW })
}

fn verify_at(token: &str, issuers: &[Issuer]) -> Result<Claims, Invalid> {
    judge(token, issuers, &Revoked::default()).map(|verified| verified.claims).map_err(|unverified| match unverified {
        Unverified::Invalid(invalid) => invalid,
        other => panic!("{other:?}"),
    })
}

fn claims() -> Value {
    json!({"iss": "https://auth.example.com", "aud": "api", "exp": 1_800_000_600, "org": {"id": "acme"}, "sub": "u1"})
}

fn token(header: &Value, claims: &Value, secret: &str) -> String {
    let text = format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(claims.to_string()));
    let mac = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).expect("a key").chain_update(&text);
    format!("{text}.{}", BASE64.encode(mac.finalize().into_bytes()))
}

fn verified(header: &Value, claims: &Value) -> Result<Claims, Invalid> {
    verify_at(&token(header, claims, SECRET), &[issuer()])
}

fn with(field: &str, value: Value) -> Result<Claims, Invalid> {
    let mut claims = claims();
    claims[field] = value;
    verified(&json!({"alg": "HS256"}), &claims)
}

#[test]
fn a_valid_token_names_tenant_and_user() {
    let claims = verified(&json!({"alg": "HS256", "kid": "k1", "typ": "JWT"}), &claims()).expect("valid");
    assert_eq!((&*claims.tenant, claims.plan.as_deref(), claims.user.as_deref()), ("acme", None, Some("u1")));
    assert_eq!(claims.until, Timestamp::from_secs(1_800_000_630));
}

#[test]
fn the_algorithm_is_the_keys_and_none_is_impossible() {
    for alg in ["none", "None", "HS384", "RS256", "hs256", ""] {
        assert_eq!(verified(&json!({"alg": alg}), &claims()).err(), Some(Invalid::Algorithm), "{alg}");
    }
    let unsigned = format!("{}.{}.", BASE64.encode(r#"{"alg":"none"}"#), BASE64.encode(claims().to_string()));
    assert!(verify_at(&unsigned, &[issuer()]).is_err());
}

#[test]
fn another_secret_and_another_key_id_are_refused() {
    let forged = token(&json!({"alg": "HS256"}), &claims(), "another secret of at least 32 bytes!");
    assert_eq!(verify_at(&forged, &[issuer()]).err(), Some(Invalid::Signature));
    let injected = verified(&json!({"alg": "HS256", "kid": "../../etc/passwd"}), &claims());
    assert_eq!(injected.err(), Some(Invalid::Unknown));
}

#[test]
fn a_critical_extension_that_is_not_understood_is_refused() {
    let header = json!({"alg": "HS256", "crit": ["b64"], "b64": false});
    assert_eq!(verified(&header, &claims()).err(), Some(Invalid::Malformed));
}

#[test]
fn time_is_checked_with_leeway() {
    assert!(with("exp", json!(1_799_999_971)).is_ok(), "expired within the leeway");
    assert_eq!(with("exp", json!(1_799_999_970)).err(), Some(Invalid::Expired));
    assert!(with("nbf", json!(1_800_000_030)).is_ok(), "soon enough");
    assert_eq!(with("nbf", json!(1_800_000_031)).err(), Some(Invalid::NotYet));
    assert!(with("exp", Value::Null).is_err(), "a token that never expires cannot be taken back");
}

#[test]
fn audience_is_a_string_or_a_list() {
    assert!(with("aud", json!(["other", "api"])).is_ok());
    for aud in [json!("other"), json!([]), json!(["API"]), json!({"api": true}), Value::Null] {
        assert_eq!(with("aud", aud.clone()).err(), Some(Invalid::Audience), "{aud}");
    }
}

#[test]
fn issuer_and_tenant_must_be_ours_and_well_formed() {
    assert_eq!(with("iss", json!("https://evil.example.com")).err(), Some(Invalid::Unknown));
    assert_eq!(with("iss", json!(7)).err(), Some(Invalid::Claims));
    for org in [json!({"id": "a\r\nx-admin: 1"}), json!({"id": 7}), json!("acme"), json!({})] {
        assert_eq!(with("org", org.clone()).err(), Some(Invalid::Claims), "{org}");
    }
}

#[test]
fn what_is_no_token_is_malformed() {
    for text in ["", "a.b.c", "..", "e30.e30.", "e30.e30"] {
        assert_eq!(verify_at(text, &[issuer()]).err(), Some(Invalid::Malformed), "{text}");
    }
}

#[test]
fn keys_that_the_token_brings_along_are_not_looked_at() {
    let header = json!({"alg": "HS256", "jwk": {"kty": "oct", "k": "AAAA"}, "jku": "https://evil.example.com/keys",
                        "x5u": "https://evil.example.com/cert"});
    let forged = token(&header, &claims(), "another secret of at least 32 bytes!");
    assert_eq!(verify_at(&forged, &[issuer()]).err(), Some(Invalid::Signature));
}

#[test]
fn a_public_key_is_never_used_as_a_secret() {
    let golden: Value = serde_json::from_str(include_str!("../../../golden/tokens.json")).expect("json");
    let pem = golden["pem"]["RS256"].as_str().expect("pem");
    let key = JwtKey { algorithm: Some(Algorithm::RS256), pem: Some(pem.into()), ..JwtKey::default() };
    let issuer = Issuer::compile(Jwt { keys: vec![key], ..shape() }, "jwt").expect("an issuer");
    let confused = token(&json!({"alg": "HS256"}), &claims(), pem);
    assert_eq!(verify_at(&confused, &[issuer]).err(), Some(Invalid::Algorithm));
}

#[test]
fn claims_are_found_below_names_with_dots_and_slashes() {
    let tenant_claim = path(&["https://example.com/org", "the.id"]);
    let issuer = Issuer::compile(Jwt { tenant_claim, ..shape() }, "jwt").expect("an issuer");
    let mut claims = claims();
    claims["https://example.com/org"] = json!({"the.id": "globex"});
    let verified = verify_at(&token(&json!({"alg": "HS256"}), &claims, SECRET), &[issuer]).expect("valid");
    assert_eq!(&*verified.tenant, "globex");
}

#[test]
fn each_of_several_issuers_has_its_own_keys() {
    let secret = "the other issuer's secret, 32 bytes";
    let key =
        JwtKey { algorithm: Some(Algorithm::HS256), secret: Some(Secret::Text(secret.into())), ..JwtKey::default() };
    let other = Jwt { issuer: "https://other.example.com".into(), keys: vec![key], ..shape() };
    let issuers = [issuer(), Issuer::compile(other, "jwt").expect("an issuer")];
    let mut claims = claims();
    claims["iss"] = json!("https://other.example.com");
    let header = json!({"alg": "HS256"});
    assert!(verify_at(&token(&header, &claims, secret), &issuers).is_ok());
    assert_eq!(verify_at(&token(&header, &claims, SECRET), &issuers).err(), Some(Invalid::Signature));
}

#[test]
fn a_token_is_revoked_by_its_own_name_or_its_keys() {
    let mut claims = claims();
    claims["jti"] = json!("t-1");
    let token = token(&json!({"alg": "HS256", "kid": "k1"}), &claims, SECRET);
    let after = |revoked: Revoked| judge(&token, &[issuer()], &revoked).err();
    let names = |name: &str| vec![name.to_owned()];
    assert_eq!(after(Revoked { tokens: names("t-2"), keys: names("k2") }), None);
    let revoked = Revoked { tokens: names("t-1"), ..Revoked::default() };
    assert_eq!(after(revoked), Some(Unverified::Invalid(Invalid::Revoked)));
    let revoked = Revoked { keys: names("k1"), ..Revoked::default() };
    assert_eq!(after(revoked), Some(Unverified::Invalid(Invalid::Unknown)));
}

#[test]
fn claims_are_refused_without_touching_the_budget_and_signatures_are_not() {
    let (keyring, revoked, issuers) = (Keyring::new(1, NOW), Revoked::default(), [issuer()]);
    let mut budget = Budget::new(NOW);
    let mut spend = |claims: &Value, times: usize| {
        let forged = token(&json!({"alg": "HS256"}), claims, "another secret of at least 32 bytes!");
        let native = crate::identity::key::check::no_native;
        let judge = |budget: &mut Budget| {
            verify(
                &forged,
                &issuers,
                &mut VerifyContext { keyring: &keyring, revoked: &revoked, budget, native, now: NOW },
            )
            .err()
        };
        (0..times).filter_map(|_| judge(&mut budget)).last()
    };
    let mut expired = claims();
    expired["exp"] = json!(1);
    assert_eq!(spend(&expired, 30_000), Some(Unverified::Invalid(Invalid::Expired)));
    assert_eq!(spend(&claims(), 25_000), Some(Unverified::Invalid(Invalid::Signature)));
    assert_eq!(spend(&claims(), 1), Some(Unverified::OverBudget));
}

#[test]
fn a_key_that_fits_no_algorithm_is_refused_at_the_start() {
    let path_of = |key: JwtKey| compile_key(&key, "keys[0]").err().map(|error| error.path);
    let secret = |secret: &str| JwtKey { secret: Some(Secret::Text(secret.into())), ..JwtKey::default() };
    assert_eq!(
        path_of(JwtKey { algorithm: Some(Algorithm::HS256), ..secret("short") }).as_deref(),
        Some("keys[0].secret")
    );
    assert_eq!(
        path_of(JwtKey { algorithm: Some(Algorithm::RS256), ..secret(SECRET) }).as_deref(),
        Some("keys[0].secret")
    );
    assert_eq!(path_of(secret(SECRET)).as_deref(), Some("keys[0].algorithm"));
    assert_eq!(path_of(JwtKey { pem: Some("x".into()), ..secret(SECRET) }).as_deref(), Some("keys[0]"));
}

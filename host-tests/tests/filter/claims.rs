//! The claims of a token, in tokens that the test signs.
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use ed25519_dalek::{Signer, SigningKey};
use serde_json::{Value, json};
use weir_host_tests::on_both_gateways;
use weir_host_tests::scenario::{Gateway, GatewayBuilder, Request, get, ok};

use crate::common::config;

/// 2026-11-21T03:14:15Z, when these scenarios start.
const NOW: u64 = 1_795_230_855;

/// A token of these claims, beside what every one has, signed by key number `key`.
fn token(key: u8, claims: Value) -> String {
    let mut all = json!({"iss": "https://claims.example.com", "exp": NOW + 600, "tenant": "acme"});
    let Value::Object(claims) = claims else { panic!("claims are an object") };
    claims.into_iter().for_each(|(name, value)| all[name] = value);
    let header = json!({"alg": "EdDSA", "kid": "key-1"});
    let signed = format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(all.to_string()));
    let signature = SigningKey::from_bytes(&[key; 32]).sign(signed.as_bytes());
    format!("{signed}.{}", BASE64.encode(signature.to_bytes()))
}

fn start(gateway: GatewayBuilder) -> Gateway {
    let public = SigningKey::from_bytes(&[1; 32]).verifying_key();
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "kid": "key-1", "x": BASE64.encode(public.as_bytes())});
    let mut config = config();
    config["plans"]["starter"] = json!({});
    config["identity"]["sources"] = json!([{"jwt": {
        "issuer": "https://claims.example.com", "tenant_claim": "tenant", "plan_claim": "plan", "user_claim": "sub",
        "jwks": {"keys": [jwk]}}}]);
    gateway.config(&config).at("2026-11-21T03:14:15Z").start()
}

fn models(token: &str) -> Request {
    get("/v1/models").bearer(token)
}

on_both_gateways! {
    fn a_token_counts_from_its_first_to_its_last_moment(gateway) {
        let gateway = start(gateway);
        let status = |claims: Value| gateway.send(models(&token(1, claims))).reply().status();
        // Clocks may differ by 30 s.
        assert_eq!(status(json!({"nbf": NOW + 31})), 401, "not yet valid");
        assert_eq!(status(json!({"exp": NOW - 31})), 401, "expired");
        assert_eq!(status(json!({"exp": "never"})), 401, "no time");
        gateway.send(models(&token(1, json!({"nbf": NOW + 29})))).upstream(ok()).assert_status(200);
        gateway.send(models(&token(1, json!({"exp": NOW - 29})))).upstream(ok()).assert_status(200);
    }

    fn a_signature_of_another_key_is_refused(gateway) {
        let gateway = start(gateway);
        gateway.send(models(&token(2, json!({})))).reply().assert_status(401);
        gateway.send(models(&token(1, json!({})))).upstream(ok()).assert_status(200);
    }

    fn a_line_break_in_a_claim_breaks_nothing(gateway) {
        let gateway = start(gateway);
        for tenant in ["acme\r\nx-tenant-plan: gold", "acme\n", "acme\0", "a b", ""] {
            let reply = gateway.send(models(&token(1, json!({"tenant": tenant})))).reply();
            assert!(matches!(reply.status(), 401 | 403), "{tenant:?}: {}", reply.text());
        }
        gateway.send(models(&token(1, json!({"plan": "starter\r\nx-tenant-id: globex"})))).reply().assert_status(403);
        let user = token(1, json!({"sub": "ann\r\nx-tenant-id: globex"}));
        let upstream = gateway.send(models(&user)).upstream(ok()).upstream_request();
        assert_eq!(upstream.header("x-tenant-id"), Some("acme"));
        assert!(upstream.header("x-tenant-user").unwrap_or_default().is_empty(), "no such user can be named");
        let user = gateway.send(models(&token(1, json!({"sub": "ann@example.com"})))).upstream(ok()).upstream_request();
        assert_eq!(user.header("x-tenant-user"), Some("ann@example.com"));
    }
}

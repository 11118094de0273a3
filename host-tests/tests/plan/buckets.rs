//! Whose bucket a request draws from.
use crate::common::{ACME, CHAT, config, used};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use ed25519_dalek::{Signer, SigningKey};
use serde_json::{Value, json};
use weir_contract::directory::KeyHash;
use weir_host_tests::on_both_gateways;
use weir_host_tests::scenario::{Gateway, Request, ok, post};

const ISSUER: &str = "https://issuer.example.com";
const SECOND_KEY: &str = "sk_weir_second";

fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

/// acme's token for one of its users.
fn token(user: &str) -> String {
    let header = json!({"alg": "EdDSA", "kid": "k"});
    let claims = json!({"iss": ISSUER, "exp": 4_102_444_800_u64, "tenant": "acme", "sub": user});
    let signed = format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(claims.to_string()));
    format!("{signed}.{}", BASE64.encode(key().sign(signed.as_bytes()).to_bytes()))
}

/// A plan with one limit of one request an hour for each of `per`; acme has two keys, and users with tokens.
fn each(per: &Value) -> Value {
    let mut config = config(json!({"limits": [{"name": "each", "count": "requests", "rate": "1/h", "per": per}]}));
    let public = BASE64.encode(key().verifying_key().as_bytes());
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": public});
    config["identity"]["sources"].as_array_mut().expect("sources").push(json!({"jwt": {
        "issuer": ISSUER, "tenant_claim": "tenant", "user_claim": "sub", "jwks": {"keys": [jwk]}}}));
    let second = json!({"id": "second", "sha256": KeyHash::of(SECOND_KEY.as_bytes())});
    config["tenants"][0]["keys"].as_array_mut().expect("keys").push(second);
    config["routes"] =
        json!([{"name": "one", "match": {"path_prefix": "/one"}}, {"name": "two", "match": {"path_prefix": "/two"}}]);
    config
}

fn ask(path: &str, credential: &str, model: &str) -> Request {
    post(path).bearer(credential).json(&json!({"model": model, "messages": []}))
}

fn admitted(gateway: &Gateway, request: Request) -> bool {
    let sent = gateway.send(request);
    let passes = sent.seen_upstream().is_some();
    if passes {
        sent.upstream(ok().json(&used(1, 1))).assert_status(200);
    } else {
        sent.reply().assert_status(429);
    }
    passes
}

on_both_gateways! {
    fn each_class_route_key_user_and_model_may_have_a_bucket_of_its_own(gateway) {
        let (anna, ben) = (token("anna"), token("ben"));
        let rows: [(&[&str], Request, Request); 7] = [
            (&["class"], ask(CHAT, ACME, "m"), ask("/v1/embeddings", ACME, "m")),
            (&["route"], ask("/one/chat", ACME, "m"), ask("/two/chat", ACME, "m")),
            (&["key"], ask(CHAT, ACME, "m"), ask(CHAT, SECOND_KEY, "m")),
            (&["user"], ask(CHAT, &anna, "m"), ask(CHAT, &ben, "m")),
            (&["model"], ask(CHAT, ACME, "m"), ask(CHAT, ACME, "other")),
            (&["user", "model"], ask(CHAT, &anna, "m"), ask(CHAT, &anna, "other")),
            (&["user", "model"], ask(CHAT, &anna, "m"), ask(CHAT, &ben, "m")),
        ];
        for (per, first, second) in rows {
            let gateway = gateway.clone().config(each(&json!(per))).start();
            let told = [first.clone(), first, second.clone(), second].map(|request| admitted(&gateway, request));
            assert_eq!(told, [true, false, true, false], "{per:?}");
        }
    }

    fn what_a_limit_does_not_look_at_makes_no_difference(gateway) {
        let gateway = gateway.config(each(&json!([]))).start();
        assert!(admitted(&gateway, ask("/one/chat", ACME, "m")));
        for request in [ask("/two/chat", ACME, "m"), ask(CHAT, SECOND_KEY, "m"), ask(CHAT, &token("anna"), "other")] {
            assert!(!admitted(&gateway, request));
        }
    }

    fn a_model_that_is_replaced_counts_as_the_one_it_is_replaced_by(gateway) {
        let mut config = each(&json!(["model"]));
        config["plans"]["p"]["models"] = json!({"allow": ["mini"], "otherwise": {"replace": "mini"}});
        let gateway = gateway.config(config).start();
        assert!(admitted(&gateway, ask(CHAT, ACME, "made-up-1")));
        for name in ["made-up-2", "made-up-3", "mini"] {
            assert!(!admitted(&gateway, ask(CHAT, ACME, name)), "{name}: all of them are mini");
        }
    }

    fn a_chain_of_its_own_has_rules_of_its_own_and_the_tenants_buckets(gateway) {
        let plan = |models: Value| config(json!({"requests": {"rate": "2/h"}, "models": {"allow": models}}));
        let gateway = gateway.config(plan(json!(["a"]))).also_config(plan(json!(["b"]))).start();
        let sent = |chain: usize, model: &str| gateway.send(ask(CHAT, ACME, model).through_chain(chain));
        sent(0, "b").reply().assert_status(403);
        sent(1, "a").reply().assert_status(403);
        sent(0, "a").upstream(ok().json(&used(1, 1))).assert_status(200);
        sent(1, "b").upstream(ok().json(&used(1, 1))).assert_status(200);
        sent(0, "a").reply().assert_status(429);
    }
}

//! Verifies tokens, which this crate takes apart, with the keys of `weir-keys`.
use base64::Engine;
use weir_config::algorithm::Algorithm;
use weir_config::jwk::Jwk;
use weir_keys::check::{native_hash, no_native};
use weir_keys::jwk::read_set;
use weir_keys::{Key, KeyError, der};

use crate::identity::jws::Jws;
use serde_json::{Value, json};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

fn key(jwk: &Value) -> Result<Key, KeyError> {
    Key::jwk(&serde_json::from_value::<Jwk>(jwk.clone()).expect("a key"), Algorithm::RS256)
}

fn verifies(key: &Key, token: &str) -> bool {
    let jws = Jws::parse(token).expect("a token");
    key.verifies(jws.signed.as_bytes(), &jws.signature, no_native)
}

/// All ways of changing a token that keep it well-formed.
fn spoilt(token: &str) -> Vec<String> {
    let (signed, signature) = token.rsplit_once('.').expect("a token");
    let flipped = |at: usize| {
        let mut bytes = crate::identity::jws::decode(signature).expect("base64url");
        bytes[at] ^= 1;
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
    };
    let last = crate::identity::jws::decode(signature).expect("base64url").len() - 1;
    let mut other = signed.to_owned();
    other.replace_range(
        signed.len() - 4..signed.len() - 3,
        if signed.as_bytes()[signed.len() - 4] == b'A' { "B" } else { "A" },
    );
    vec![
        format!("{signed}.{}", flipped(0)),
        format!("{signed}.{}", flipped(last)),
        format!("{other}.{signature}"),
        format!("{signed}."),
        format!("{signed}.AAAA"),
        format!("{signed}.{}", base64::engine::general_purpose::URL_SAFE_NO_PAD.encode([0; 64])),
    ]
}

const JOE: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

/// RFC 7515, A.1, A.2, A.3, and RFC 8037, A.4: the key, the header, the payload, the signature.
fn vectors() -> [(Value, String); 4] {
    let hs256 = json!({"kty": "oct", "alg": "HS256",
        "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"});
    let rs256 = json!({"kty": "RSA", "e": "AQAB", "n": concat!(
        "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pC",
        "gNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg6",
        "65xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRW",
        "yuXpoQ")});
    let es256 = json!({"kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"});
    let eddsa = json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
    [
        (hs256, format!("eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.{JOE}.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")),
        (
            rs256,
            format!(
                "eyJhbGciOiJSUzI1NiJ9.{JOE}.{}",
                concat!(
                    "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CU",
                    "Ar7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_d",
                    "O--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0ig",
                    "cN_IoypGlUPQGe77Rw"
                )
            ),
        ),
        (
            es256,
            format!(
                "eyJhbGciOiJFUzI1NiJ9.{JOE}.{}",
                "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
            ),
        ),
        (
            eddsa,
            format!(
                "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.{}",
                "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
            ),
        ),
    ]
}

#[test]
fn the_vectors_of_the_rfcs_verify_and_nothing_near_them_does() {
    for (jwk, token) in vectors() {
        let key = key(&jwk).expect("a key");
        assert!(verifies(&key, &token), "{jwk}");
        for spoilt in spoilt(&token) {
            assert!(!verifies(&key, &spoilt), "{spoilt}");
        }
    }
}

#[test]
fn what_openssl_signs_verifies_under_every_algorithm_and_under_no_other_key() {
    let golden: Value = serde_json::from_str(include_str!("../../golden/tokens.json")).expect("json");
    let tokens = golden["tokens"].as_array().expect("tokens");
    assert_eq!(tokens.len(), 9);
    for entry in tokens {
        let token = entry["token"].as_str().expect("text");
        for jwk in golden["keys"].as_array().expect("keys") {
            let (key, own) = (key(jwk).expect("a key"), jwk["alg"] == entry["algorithm"]);
            assert_eq!(verifies(&key, token), own, "{} by {}", entry["algorithm"], jwk["alg"]);
            assert!(!own || spoilt(token).iter().all(|spoilt| !verifies(&key, spoilt)), "{}", entry["algorithm"]);
        }
    }
}

#[test]
fn pem_and_jwk_of_one_key_are_the_same_key() {
    let golden: Value = serde_json::from_str(include_str!("../../golden/tokens.json")).expect("json");
    for (name, algorithm) in [
        ("RS256", Algorithm::RS256),
        ("RS256-pkcs1", Algorithm::RS256),
        ("ES256", Algorithm::ES256),
        ("EdDSA", Algorithm::EdDSA),
    ] {
        let pem = golden["pem"][name].as_str().expect("pem");
        let jwk = golden["keys"].as_array().expect("keys").iter().find(|key| key["alg"] == algorithm.name());
        let mut jwk = jwk.expect("a key").clone();
        jwk.as_object_mut().expect("an object").remove("kid");
        assert!(Key::pem(None, algorithm, pem) == key(&jwk), "{name}");
        assert_eq!(Key::pem(None, Algorithm::HS256, pem).err(), Some(KeyError::Mismatch(Algorithm::HS256)), "{name}");
    }
    for text in
        ["", "-----BEGIN PUBLIC KEY-----", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "secret"]
    {
        assert_eq!(Key::pem(None, Algorithm::RS256, text).err(), Some(KeyError::Pem), "{text}");
    }
}

#[test]
fn what_is_no_key_is_refused() {
    let short = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode([0xff; 128]);
    let cases = [
        json!({"kty": "oct", "alg": "HS512", "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ"}),
        json!({"kty": "oct", "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}),
        json!({"kty": "RSA", "n": short, "e": "AQAB"}),
        json!({"kty": "RSA", "n": "", "e": ""}),
        json!({"kty": "RSA", "alg": "ES256", "n": short, "e": "AQAB"}),
        json!({"kty": "EC", "crv": "P-256", "x": "AAAA", "y": "AAAA"}),
        json!({"kty": "EC", "crv": "P-384", "x": "AAAA", "y": "AAAA"}),
        json!({"kty": "OKP", "crv": "Ed25519", "x": "AAAA"}),
        // The neutral element: it would verify what nobody signed.
        json!({"kty": "OKP", "crv": "Ed25519", "x": "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}),
        json!({"kty": "RSA", "alg": "none", "n": short, "e": "AQAB"}),
        json!({"kty": "OKP", "crv": "Ed25519", "key_ops": ["sign"], "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}),
        json!({"kty": "OKP", "crv": "X25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}),
        json!({"kty": "OKP", "crv": "Ed25519", "use": "enc", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}),
    ];
    for jwk in cases {
        assert!(key(&jwk).is_err(), "{jwk}");
    }
}

#[test]
fn a_set_gives_its_public_keys_and_leaves_out_what_it_does_not_understand() {
    let [(secret, _), (rsa, _), (ec, _), (okp, _)] = vectors();
    let set = json!({"keys": [secret, rsa, {"kty": "AKP", "pub": "x"}, ec, 7, {"alg": "RS256"}, okp]});
    let set = read_set(set.to_string().as_bytes(), Algorithm::PS256).expect("a set");
    let algorithms: Vec<_> = set.keys.iter().map(Key::algorithm).collect();
    assert_eq!(algorithms, [Algorithm::PS256, Algorithm::ES256, Algorithm::EdDSA], "a published secret is none");
    let ignored: Vec<_> = set.ignored.iter().map(ToString::to_string).collect();
    assert_eq!(ignored.len(), 4, "{ignored:?}");
    assert!(
        ignored[0].starts_with("keys[0]") && ignored[0].ends_with("a secret that is published is none"),
        "{ignored:?}"
    );
    for text in ["", "{}", "[]", r#"{"keys":{}}"#, "<html>"] {
        assert!(read_set(text.as_bytes(), Algorithm::RS256).is_none(), "{text}");
    }
}

#[test]
fn keys_in_plain_base64_are_the_same_keys() {
    for (jwk, token) in vectors() {
        let mut plain = jwk.clone();
        for member in ["n", "x", "y", "k"] {
            if let Some(text) =
                plain.get(member).and_then(Value::as_str).map(|text| text.replace('-', "+").replace('_', "/"))
            {
                let padding = "=".repeat((4 - text.len() % 4) % 4);
                plain[member] = json!(text + &padding);
            }
        }
        let jws = Jws::parse(&token).expect("a token");
        let key = key(&plain).unwrap_or_else(|error| panic!("{plain}: {error}"));
        assert!(key.verifies(jws.signed.as_bytes(), &jws.signature, no_native), "{plain}");
    }
    let [_, (mut mixed, _), ..] = vectors();
    mixed["n"] = json!("-+".repeat(200));
    assert!(key(&mixed).is_err(), "two alphabets at once are none");
}

#[test]
fn the_gateway_is_asked_where_it_can_verify_and_its_word_counts() {
    for (jwk, token) in vectors() {
        let key = key(&jwk).expect("a key");
        let jws = Jws::parse(&token).expect("a token");
        let asked = |native| key.verifies(jws.signed.as_bytes(), &jws.signature, native);
        let native = native_hash(key.algorithm()).is_some();
        assert_eq!(asked(|_| Some(false)), !native, "{jwk}");
        assert!(asked(|signed| Some(signed.hash == "sha256" && der::read_spki(signed.spki).is_some())), "{jwk}");
        assert!(asked(|_| None), "{jwk}");
    }
}

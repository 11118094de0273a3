//! Dispatched calls on Envoy.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{Signature, SigningKey};
use rsa::pkcs8::EncodePublicKey as _;
use rsa::{BigUint, RsaPublicKey};
use serde_json::Value;
use weir_host_tests::scenario::{Gateway, get, ok};

use crate::probe::{callbacks, envoy, outcome};

const CALL_ON_TICK: &str = "configure: tick_every 1000\ntick: dispatch weir /x\n\
                            call_response: get_header call :status";
/// A `SubjectPublicKeyInfo` of P-256 up to its point.
const P256_INFO: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
const YES: &str = "Ok \"\\u{8}\\u{1}\"";
const NO: &str = "Ok none";
const STATUS: &str = "call_response: get_header call :status";

fn gateway_with_a_call() -> Gateway {
    let gateway = envoy(CALL_ON_TICK).start();
    gateway.worker(0).tick();
    gateway
}

#[test]
fn a_call_to_an_unknown_cluster_or_without_a_path_is_a_bad_argument() {
    let script = "request_headers: dispatch nosuch /x; dispatch weir none";
    let gateway = envoy(script).without_cluster("nosuch").start();
    gateway.send(get("/")).upstream(ok());
    assert_eq!(outcome(&gateway, "request_headers: dispatch nosuch /x"), "BadArgument");
    assert_eq!(outcome(&gateway, "request_headers: dispatch weir none"), "BadArgument");
}

#[test]
fn a_dead_cluster_answers_with_a_synthesized_503() {
    let gateway = gateway_with_a_call();
    gateway.next_call("weir").find_nobody();
    assert_eq!(outcome(&gateway, STATUS), "Ok \"503\"");
    assert_eq!(callbacks(&gateway, &["call_response"]), ["call_response(3, 98, 0)"]);
}

#[test]
fn a_call_that_times_out_answers_with_a_synthesized_504() {
    let gateway = gateway_with_a_call();
    gateway.next_call("weir").time_out();
    assert_eq!(outcome(&gateway, STATUS), "Ok \"504\"");
}

#[test]
fn a_call_that_is_reset_answers_with_no_header_at_all() {
    let gateway = gateway_with_a_call();
    gateway.next_call("weir").reset();
    assert_eq!(callbacks(&gateway, &["call_response"]), ["call_response(0, 0, 0)"]);
    assert_eq!(outcome(&gateway, STATUS), "NotFound");
}

#[test]
fn an_answer_is_cut_at_32_megabytes() {
    let gateway = gateway_with_a_call();
    gateway.next_call("weir").answer(200, "x".repeat((32 << 20) + 1));
    assert_eq!(callbacks(&gateway, &["call_response"]), [format!("call_response(2, {}, 0)", 32 << 20)]);
}

/// What Envoy is asked, as a script says it: fields 1 to 4 of a protobuf message.
fn verify(fields: [&[u8]; 4]) -> String {
    let mut script = "request_headers: foreign_function verify_signature ".to_owned();
    for (number, field) in (1_u8..).zip(fields) {
        let head = [number << 3 | 2, field.len() as u8 & 0x7f | 0x80, (field.len() >> 7) as u8];
        script.extend(head.iter().chain(field).map(|byte| format!("{byte:02x}")));
    }
    script
}

fn answer(script: &str) -> String {
    let gateway = envoy(script).start();
    gateway.send(get("/")).upstream(ok());
    outcome(&gateway, script)
}

#[test]
fn the_host_verifies_signatures() {
    let text = b"header.claims";
    let key = SigningKey::from_slice(&[7; 32]).expect("a key");
    let signature: Signature = key.sign(text);
    let key = [P256_INFO, key.verifying_key().to_encoded_point(false).as_bytes()].concat();
    let signature = signature.to_der();
    let (key, signature) = (key.as_slice(), signature.as_bytes());
    assert_eq!(answer(&verify([b"sha256", key, signature, text])), YES);
    assert_eq!(answer(&verify([b"sha256", key, signature, b"header.claimS"])), NO);
    assert_eq!(answer(&verify([b"md5", key, signature, text])), NO);
    assert_eq!(answer(&verify([b"sha256", b"no key", signature, text])), NO);
    assert_eq!(answer(&verify([b"sha256", key, &[], text])), NO);

    let entry = golden("RS256");
    let (signed, signature) = entry["token"].as_str().and_then(|token| token.rsplit_once('.')).expect("a token");
    let signature = URL_SAFE_NO_PAD.decode(signature).expect("base64");
    let key = rsa_key();
    assert_eq!(answer(&verify([b"sha256", &key, &signature, signed.as_bytes()])), YES);
    assert_eq!(answer(&verify([b"sha512", &key, &signature, signed.as_bytes()])), NO);

    assert_eq!(answer("request_headers: foreign_function verify_signature ff"), "BadArgument");
    assert_eq!(answer("request_headers: foreign_function compress"), "NotFound");
}

/// A token of `filter/golden` that OpenSSL has signed.
fn golden(algorithm: &str) -> Value {
    let golden = all_golden();
    let tokens = golden["tokens"].as_array().expect("tokens");
    tokens.iter().find(|entry| entry["algorithm"] == algorithm).expect("an algorithm").clone()
}

fn all_golden() -> Value {
    serde_json::from_str(include_str!("../../../../filter/golden/tokens.json")).expect("json")
}

/// The key of RS256's token, a `SubjectPublicKeyInfo`.
fn rsa_key() -> Vec<u8> {
    let golden = all_golden();
    let keys = golden["keys"].as_array().expect("keys");
    let key = keys.iter().find(|key| key["kid"] == "rs256").expect("a key");
    let number = |name: &str| {
        let bytes = URL_SAFE_NO_PAD.decode(key[name].as_str().expect("text")).expect("base64");
        BigUint::from_bytes_be(&bytes)
    };
    let key = RsaPublicKey::new(number("n"), number("e")).expect("a key");
    key.to_public_key_der().expect("DER").into_vec()
}

#[test]
fn a_call_outlives_the_stream_that_made_it_and_answers_the_root() {
    let gateway = envoy("request_headers: dispatch weir /x\ncall_response: get_header call :status").start();
    gateway.send(get("/")).upstream(ok());
    assert_eq!(callbacks(&gateway, &["delete"]).len(), 1);
    gateway.next_call("weir").answer(200, "");
    assert_eq!(outcome(&gateway, STATUS), "Ok \"200\"");
}

#[test]
fn the_answer_to_a_call_lets_a_held_request_go() {
    let script = "request_headers: dispatch auth /keys; pause\ncall_response: resume_all request";
    let gateway = envoy(script).start();
    let sent = gateway.send(get("/"));
    assert!(sent.is_paused());
    gateway.next_call("auth").answer(200, "{}");
    assert!(!sent.is_paused());
    sent.upstream(ok()).assert_status(200);
}

#[test]
fn a_call_can_be_answered_by_itself() {
    let gateway = envoy(CALL_ON_TICK).start();
    gateway.answer_all("weir", |call| {
        assert_eq!(call.path(), "/x");
        weir_host_tests::scenario::status(202)
    });
    gateway.tick();
    gateway.assert_no_calls();
    assert_eq!(outcome(&gateway, STATUS), "Ok \"202\"");
}

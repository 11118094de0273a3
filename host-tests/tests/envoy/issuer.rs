//! An issuer of tokens: signs them, publishes its keys, counts the fetches, and goes away on demand.
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use ed25519_dalek::{Signer, SigningKey};
use serde_json::{Value, json};
use weir_rig::server::{Handler, Reset, Server};

/// What its tokens say in `iss`.
pub(crate) const ISSUER: &str = "https://issuer.example.com";

#[derive(Debug, Default)]
struct State {
    published: Vec<u8>,
    fetches: usize,
    down: bool,
}

/// A running issuer. Its keys are numbered: key 7 is named `key-7`.
#[derive(Debug)]
pub(crate) struct Issuer {
    server: Server,
    state: Arc<Mutex<State>>,
}

impl Issuer {
    pub(crate) fn start(published: &[u8]) -> Self {
        let state = Arc::new(Mutex::new(State { published: published.to_vec(), ..State::default() }));
        let shared = Arc::clone(&state);
        let handler: Handler = Arc::new(move |_request: Request<Body>| {
            let response = answer(&mut shared.lock().expect("lock"));
            Box::pin(async move { Ok::<_, Reset>(response) })
        });
        Issuer { server: Server::start("issuer", handler).expect("a port"), state }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// From now on the set has these keys.
    pub(crate) fn publish(&self, keys: &[u8]) {
        self.state.lock().expect("lock").published = keys.to_vec();
    }

    /// From now on it answers 503, or its set again.
    pub(crate) fn down(&self, down: bool) {
        self.state.lock().expect("lock").down = down;
    }

    /// How often its set was asked for.
    pub(crate) fn fetches(&self) -> usize {
        self.state.lock().expect("lock").fetches
    }
}

fn answer(state: &mut State) -> Response<Body> {
    state.fetches += 1;
    let status = if state.down { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    let keys: Vec<Value> = state.published.iter().map(|key| jwk(*key)).collect();
    Response::builder().status(status).body(json!({"keys": keys}).to_string().into()).expect("a response")
}

fn jwk(key: u8) -> Value {
    let public = SigningKey::from_bytes(&[key; 32]).verifying_key();
    json!({"kty": "OKP", "crv": "Ed25519", "kid": format!("key-{key}"), "x": BASE64.encode(public.as_bytes())})
}

/// acme's token number `number`, signed by `key`, which it says is `kid`; valid until the year 2100.
pub(crate) fn token(key: u8, kid: &str, number: usize) -> String {
    let header = json!({"alg": "EdDSA", "kid": kid});
    let claims = json!({"iss": ISSUER, "exp": 4_102_444_800_u64, "tenant": "acme", "jti": number.to_string()});
    let signed = format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(claims.to_string()));
    let signature = SigningKey::from_bytes(&[key; 32]).sign(signed.as_bytes());
    format!("{signed}.{}", BASE64.encode(signature.to_bytes()))
}

//! A stand-in for Kong Gateway without Wasm, as far as a neighbour can tell: what it does to headers on the way in and out,
//! who it says the consumer is, and what it answers when its upstream is gone.
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header};
use serde_json::{Value, json};
use weir_rig::server::{Handler, Reset, Server};

/// Above any body that a test sends.
const BODY_MAX_BYTES: usize = 8 << 20;

/// Of one connection; neither a request nor an answer carries them on.
const HOP_BY_HOP: [&str; 6] = ["connection", "keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade"];

/// What Kong's authentication plugins set for a consumer, and clear where they do not run into one.
const OF_THE_CONSUMER: [&str; 4] =
    ["x-consumer-id", "x-consumer-custom-id", "x-consumer-username", "x-credential-identifier"];

/// How this Kong is configured.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Where its service is.
    pub(crate) service: SocketAddr,
    /// `trusted_ips` names the neighbour that calls: its X-Forwarded-* are kept.
    pub(crate) trusts_caller: bool,
    /// The credentials of `key-auth` and each one's `custom_id`; None: the plugin is not on.
    pub(crate) consumers: Option<BTreeMap<String, String>>,
    /// Headers of a client that pass as consumers' are cleared first, as `kong-before-envoy.yml` has it.
    pub(crate) clears_first: bool,
    /// What `request-transformer` adds as `authorization` where there is none.
    pub(crate) adds_authorization: Option<String>,
}

impl Settings {
    pub(crate) fn to(service: SocketAddr) -> Self {
        Settings { service, trusts_caller: false, consumers: None, clears_first: true, adds_authorization: None }
    }

    /// `key-auth` with these pairs of key and `custom_id`.
    pub(crate) fn consumers(self, consumers: &[(&str, &str)]) -> Self {
        let pairs = consumers.iter().map(|(key, id)| ((*key).to_owned(), (*id).to_owned()));
        Settings { consumers: Some(pairs.collect()), ..self }
    }
}

/// Starts it on a free port.
pub(crate) fn start(settings: Settings) -> Server {
    // Names go out with capitals, as nginx writes those that Kong sets.
    let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
    let client = client.http1_title_case_headers().build().expect("an HTTP client");
    let settings = Arc::new(settings);
    let handler: Handler = Arc::new(move |request| {
        let (settings, client) = (Arc::clone(&settings), client.clone());
        Box::pin(async move { Ok::<_, Reset>(proxy(&settings, &client, request).await) })
    });
    Server::start("kong", handler).expect("a port")
}

async fn proxy(settings: &Settings, client: &reqwest::Client, request: Request<Body>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let Ok(headers) = to_service(settings, &parts.headers, parts.uri.path()) else {
        return refusal(401, &json!({"message": "No API key found in request"}));
    };
    let body = to_bytes(body, BODY_MAX_BYTES).await.unwrap_or_default();
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    let url = format!("http://{}{target}", settings.service);
    match client.request(parts.method, url).headers(headers).body(body).send().await {
        Ok(answer) => to_client(answer.into()),
        Err(_) => refusal(502, &json!({"message": "An invalid response was received from the upstream server"})),
    }
}

fn without_hops(headers: &HeaderMap) -> HeaderMap {
    let mut kept = headers.clone();
    HOP_BY_HOP.iter().for_each(|name| drop(kept.remove(*name)));
    kept
}

fn set(headers: &mut HeaderMap, name: &'static str, value: &str) {
    headers.insert(HeaderName::from_static(name), HeaderValue::from_str(value).expect("a header's value"));
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// The headers that the service receives; an error if `key-auth` does not know the key.
fn to_service(settings: &Settings, from: &HeaderMap, path: &str) -> Result<HeaderMap, ()> {
    let mut headers = without_hops(from);
    headers.remove(header::CONTENT_LENGTH);
    let host = headers.remove(header::HOST);
    if settings.clears_first {
        OF_THE_CONSUMER.iter().for_each(|name| drop(headers.remove(*name)));
    }
    if let Some(consumers) = &settings.consumers {
        let key = headers.remove("apikey");
        let id = key.as_ref().and_then(|key| key.to_str().ok()).and_then(|key| consumers.get(key)).ok_or(())?;
        set(&mut headers, "x-consumer-id", "0b5b2c5e-6c1d-4c40-9a0c-0d9e0f6a1c11");
        set(&mut headers, "x-consumer-custom-id", id);
        set(&mut headers, "x-consumer-username", &format!("{id}, by name"));
        set(&mut headers, "x-credential-identifier", "1d2c8d2e-2f4b-4dd5-a8d2-4b7f5a4f9a55");
    }
    forward(&mut headers, settings.trusts_caller, host.as_ref(), path);
    if let Some(value) = &settings.adds_authorization
        && !headers.contains_key(header::AUTHORIZATION)
    {
        set(&mut headers, "authorization", value);
    }
    Ok(headers)
}

fn forward(headers: &mut HeaderMap, trusts_caller: bool, host: Option<&HeaderValue>, path: &str) {
    let caller = "127.0.0.1";
    let chain = text(headers, "x-forwarded-for").map_or(caller.to_owned(), |before| format!("{before}, {caller}"));
    set(headers, "x-forwarded-for", &chain);
    set(headers, "x-real-ip", caller);
    let host = host.and_then(|host| host.to_str().ok()).unwrap_or_default().to_owned();
    for (name, own) in [
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", &host),
        ("x-forwarded-port", "8000"),
        ("x-forwarded-path", path),
    ] {
        if !(trusts_caller && headers.contains_key(name)) {
            set(headers, name, own);
        }
    }
    set(headers, "via", "1.1 kong/3.11.0");
    set(headers, "x-kong-request-id", "6a2b1f3c4d5e6f708192a3b4c5d6e7f8");
}

fn to_client(answer: axum::http::Response<reqwest::Body>) -> Response<Body> {
    let (mut parts, body) = answer.into_parts();
    parts.headers = without_hops(&parts.headers);
    set(&mut parts.headers, "via", "1.1 kong/3.11.0");
    set(&mut parts.headers, "x-kong-upstream-latency", "3");
    set(&mut parts.headers, "x-kong-proxy-latency", "1");
    set(&mut parts.headers, "x-kong-request-id", "6a2b1f3c4d5e6f708192a3b4c5d6e7f8");
    Response::from_parts(parts, Body::new(body))
}

fn refusal(status: u16, body: &Value) -> Response<Body> {
    let answer = Response::builder().status(status).header("content-type", "application/json; charset=utf-8");
    answer.header("x-kong-response-latency", "0").body(Body::from(body.to_string())).expect("a response")
}

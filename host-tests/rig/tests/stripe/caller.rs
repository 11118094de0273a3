//! A caller of the stand-in who has a clock: one line a call.

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use weir_rig::stripe::{Account, Limits, Outcome, Stripe};

/// 2026-11-21T03:00:00Z, a whole hour.
pub(crate) const START_S: i64 = 1_795_230_000;

pub(crate) struct Caller {
    pub(crate) stripe: Stripe,
    pub(crate) now: Timestamp,
    key: String,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Caller {
    /// A sandbox account without limits, with the customer `cus_acme` and the meter `tokens`.
    pub(crate) fn open() -> Self {
        let mut caller = Self::empty(Account::sandbox());
        caller.stripe.set_limits(Limits::NONE);
        caller.stripe.add_customer("cus_acme");
        let meter = [("display_name", "Tokens"), ("event_name", "tokens"), ("default_aggregation[formula]", "sum")];
        assert_eq!(caller.post("/v1/billing/meters", &meter).status, 200);
        caller
    }

    pub(crate) fn empty(account: Account) -> Self {
        let key = account.secret_key.clone();
        Self { stripe: Stripe::new(account), now: Timestamp::from_second(START_S).unwrap(), key }
    }

    pub(crate) fn pass(&mut self, time: SignedDuration) {
        self.now += time;
    }

    pub(crate) fn get(&mut self, path: &str) -> Answer {
        let request = self.request(Method::GET, path).body(Bytes::new()).unwrap();
        self.send(&request)
    }

    pub(crate) fn post(&mut self, path: &str, form: &[(&str, &str)]) -> Answer {
        let request = self.form(path, form, None);
        self.send(&request)
    }

    pub(crate) fn post_with_key(&mut self, path: &str, form: &[(&str, &str)], key: &str) -> Answer {
        let request = self.form(path, form, Some(key));
        self.send(&request)
    }

    /// Sends one meter event for `cus_acme`, of now.
    pub(crate) fn report(&mut self, value: &str, identifier: &str) -> Answer {
        self.post("/v1/billing/meter_events", &event(value, identifier))
    }

    pub(crate) fn total(&self) -> i64 {
        self.stripe.total("cus_acme", "tokens")
    }

    pub(crate) fn form(&self, path: &str, form: &[(&str, &str)], key: Option<&str>) -> Request<Bytes> {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let mut builder = self.request(Method::POST, path).header("content-type", "application/x-www-form-urlencoded");
        if let Some(key) = key {
            builder = builder.header("idempotency-key", key);
        }
        builder.body(Bytes::from(body)).unwrap()
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> http::request::Builder {
        Request::builder().method(method).uri(path).header("authorization", format!("Bearer {}", self.key))
    }

    pub(crate) fn send(&mut self, request: &Request<Bytes>) -> Answer {
        match self.outcome(request) {
            Outcome::Answer(response) => Answer::of(response),
            other => panic!("no answer, but {other:?}"),
        }
    }

    pub(crate) fn outcome(&mut self, request: &Request<Bytes>) -> Outcome {
        self.stripe.handle(self.now, request)
    }
}

impl Answer {
    pub(crate) fn of(response: http::Response<Bytes>) -> Self {
        let (head, body) = response.into_parts();
        Self { status: head.status.as_u16(), headers: head.headers, body: serde_json::from_slice(&body).unwrap() }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn error(&self, field: &str) -> &str {
        self.body["error"][field].as_str().unwrap_or_default()
    }
}

/// The fields of a meter event for `cus_acme`.
pub(crate) fn event<'a>(value: &'a str, identifier: &'a str) -> [(&'a str, &'a str); 4] {
    [
        ("event_name", "tokens"),
        ("payload[stripe_customer_id]", "cus_acme"),
        ("payload[value]", value),
        ("identifier", identifier),
    ]
}

//! The state machine: from a time and a request to what happens.
//!
//! In the order in which Stripe looks: is it there at all, who calls, how often, was this call executed before, is it
//! well formed, is the series free; then the work; then what may go wrong after the work.

use super::call::Call;
use super::customers::{Customer, Customers};
use super::error::ApiError;
use super::fault::{Fault, Faults, Foreign};
use super::idempotency::{Keys, Saved};
use super::limits::{Kind, Limits, Locks, RateLimiter, Series};
use super::meter_events::{self, Draft, IDENTIFIER_MAX, MeterEvent, MeterEventState, MeterEvents};
use super::meters::Meters;
use super::prices::{Price, Prices};
use super::subscriptions::{Subscription, SubscriptionItem, Subscriptions};
use super::summaries::View;
use super::v2::{self, Sessions};
use super::webhook::{CoreEvents, Delivery};
use super::{Account, auth};
use bytes::Bytes;
use http::{Method, Request, Response};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::collections::HashSet;

/// Stripe: one account, its meters, customers and meter events.
#[derive(Debug)]
pub struct Stripe {
    account: Account,
    meters: Meters,
    customers: HashSet<String>,
    directory: Customers,
    subscriptions: Subscriptions,
    prices: Prices,
    events: MeterEvents,
    sessions: Sessions,
    core_events: CoreEvents,
    keys: Keys,
    locks: Locks,
    rate: RateLimiter,
    faults: Faults,
    summary_lag: SignedDuration,
    requests: u64,
    unnamed: u64,
}

/// The caller's view of the outcome.
#[derive(Debug)]
pub enum Outcome {
    /// An answer.
    Answer(Response<Bytes>),
    /// The connection is reset.
    Reset,
    /// Nothing, ever.
    Hang,
    /// A head with this status, and a body that never ends.
    Endless(u16),
}

/// A call that is being worked on: it holds its series and its key until [`Stripe::finish`].
#[derive(Debug)]
#[must_use = "a call holds its lock until it is finished"]
pub struct Begun {
    outcome: Outcome,
    series: Option<Series>,
    key: Option<String>,
}

impl Stripe {
    /// An account without meters or customers, with the documented limits of its mode.
    #[must_use]
    pub fn new(account: Account) -> Self {
        let limits = if account.livemode { Limits::LIVE } else { Limits::SANDBOX };
        Self {
            account,
            meters: Meters::default(),
            customers: HashSet::new(),
            directory: Customers::default(),
            subscriptions: Subscriptions::default(),
            prices: Prices::default(),
            events: MeterEvents::default(),
            sessions: Sessions::default(),
            core_events: CoreEvents::default(),
            keys: Keys::default(),
            locks: Locks::default(),
            rate: RateLimiter::new(limits),
            faults: Faults::default(),
            summary_lag: SignedDuration::ZERO,
            requests: 0,
            unnamed: 0,
        }
    }

    /// The account that this is.
    #[must_use]
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// Makes a customer known.
    pub fn add_customer(&mut self, id: &str) {
        self.customers.insert(id.to_owned());
    }

    /// Creates a meter that sums, as `POST /v1/billing/meters` would. One of that name that is there already stays.
    pub fn add_meter(&mut self, now: Timestamp, event_name: &str) {
        self.meters.add(event_name, now);
    }

    /// Subscribes a customer to a price by the month for every meter there is, with billing periods anchored at this unix
    /// second.
    pub fn add_subscription(&mut self, customer: &str, billing_cycle_anchor_s: i64) {
        let items = self.meters.event_names().map(|name| SubscriptionItem::monthly(Some(name))).collect();
        self.subscribe(Subscription::new(customer, "active", billing_cycle_anchor_s, items));
    }

    /// Makes a subscription.
    pub fn subscribe(&mut self, subscription: Subscription) {
        self.subscriptions.add(subscription);
    }

    /// Makes a price and returns its id.
    pub fn add_price(&mut self, price: Price) -> String {
        self.prices.add(price)
    }

    /// Cancels all subscriptions of a customer.
    pub fn end_subscriptions(&mut self, customer: &str) {
        self.subscriptions.end_all(customer);
    }

    /// Other limits than those of the account's mode.
    pub fn set_limits(&mut self, limits: Limits) {
        self.rate = RateLimiter::new(limits);
    }

    /// Takes back every session of v2 before its time.
    pub fn revoke_sessions(&mut self) {
        self.sessions.revoke();
    }

    /// From now on, meter events show in summaries this long after they were taken.
    pub fn set_summary_lag(&mut self, lag: SignedDuration) {
        self.summary_lag = lag;
    }

    /// The next `times` calls that send meter events meet this fault, after those already planned.
    pub fn fail_next(&mut self, times: usize, fault: Fault) {
        self.faults.push(times, fault);
    }

    /// Of the coming calls that make, change or remove customers and subscriptions, the one after `after` others meets this fault.
    pub fn fail_provisioning(&mut self, after: usize, fault: Fault) {
        self.faults.push_provisioning(after, fault);
    }

    /// A customer of somebody else's making, with metadata.
    pub fn add_customer_with(&mut self, now: Timestamp, id: &str, metadata: &[(&str, &str)]) {
        let metadata = metadata.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.directory.add(id, metadata, now);
        self.add_customer(id);
    }

    /// Every customer that was made by a call or with metadata, deleted ones too.
    #[must_use]
    pub fn customers(&self) -> &[Customer] {
        self.directory.all()
    }

    /// Every subscription, canceled ones too.
    #[must_use]
    pub fn subscriptions(&self) -> &[Subscription] {
        self.subscriptions.all()
    }

    /// Resets every connection until then.
    pub fn down_until(&mut self, until: Timestamp) {
        self.faults.set_down_until(until);
    }

    /// Every meter event ever taken, oldest first.
    #[must_use]
    pub fn meter_events(&self) -> &[MeterEvent] {
        self.events.all()
    }

    /// The sum of the values that count for a customer and a meter, whatever the summaries show yet.
    #[must_use]
    pub fn total(&self, customer: &str, event_name: &str) -> i64 {
        self.total_between(customer, event_name, i64::MIN, i64::MAX)
    }

    /// The same over the usage of `start_s` (inclusive) to `end_s` (exclusive), unix seconds.
    #[must_use]
    pub fn total_between(&self, customer: &str, event_name: &str, start_s: i64, end_s: i64) -> i64 {
        let series = Series { customer: customer.to_owned(), event_name: event_name.to_owned() };
        let inside = |event: &&MeterEvent| start_s <= event.timestamp_s && event.timestamp_s < end_s;
        let value = |event: &MeterEvent| match event.state {
            MeterEventState::Counted(value) => value,
            MeterEventState::Cancelled | MeterEventState::Refused(_) => 0,
        };
        self.events.of(&series).filter(inside).map(value).sum()
    }

    /// The webhook calls that tell of the errors found since this was last asked. Fetch the whole events afterwards.
    pub fn webhooks(&mut self, now: Timestamp) -> Vec<Delivery> {
        let errors = self.events.take_errors();
        self.core_events.report(&self.account, now, &errors, &self.meters)
    }

    /// From now on whole events are answered as this, whatever they are: what Stripe may say one day.
    pub fn replace_core_events(&mut self, body: Option<Value>) {
        self.core_events.replace(body);
    }

    /// Answers a call that takes no time.
    pub fn handle(&mut self, now: Timestamp, request: &Request<Bytes>) -> Outcome {
        let begun = self.begin(now, request);
        self.finish(begun)
    }

    /// Starts a call. All of its work is done at once; until it is finished, it is in the way of others.
    pub fn begin(&mut self, now: Timestamp, request: &Request<Bytes>) -> Begun {
        self.requests += 1;
        if self.faults.is_down(now) {
            return Begun::at_once(Outcome::Reset);
        }
        let call = match Call::parse(request) {
            Ok(call) => call,
            Err(error) => return Begun::at_once(self.refuse(&error)),
        };
        let fault = self.faults.take(&call);
        match fault {
            Some(Fault::ResetBefore) => return Begun::at_once(Outcome::Reset),
            Some(Fault::HangBefore) => return Begun::at_once(Outcome::Hang),
            Some(Fault::RateLimit(retry_after_s)) => {
                return Begun::at_once(self.refuse(&ApiError::rate_limit(retry_after_s)));
            }
            Some(Fault::LockTimeout) => return Begun::at_once(self.refuse(&ApiError::lock_timeout())),
            Some(Fault::ForeignBefore(status, foreign)) => {
                return Begun::at_once(foreign_answer(&call, status, foreign));
            }
            _ => {}
        }
        self.admitted(now, &call, fault).unwrap_or_else(|error| Begun::at_once(self.refuse(&error)))
    }

    /// Ends a call: what it held is free again, and its outcome is known.
    pub fn finish(&mut self, begun: Begun) -> Outcome {
        if let Some(series) = &begun.series {
            self.locks.release(series);
        }
        if let Some(key) = &begun.key {
            self.keys.end(key);
        }
        begun.outcome
    }

    fn admitted(&mut self, now: Timestamp, call: &Call, fault: Option<Fault>) -> Result<Begun, ApiError> {
        if call.path == "/v2/billing/meter_event_stream" {
            self.sessions.check(now, call)?;
        } else {
            auth::check(&self.account, call)?;
        }
        self.rate.admit(now, kind(call))?;
        let key = Keys::of(call)?;
        if let Some(key) = &key
            && let Some(saved) = self.keys.find(now, key, call)?
        {
            return Ok(Begun::at_once(self.answer(&saved, Some(key), true)));
        }
        let series = self.series(call);
        if let Some(series) = &series {
            self.locks.lock(series)?;
        }
        let outcome = self.execute(now, call, fault, key.as_deref());
        if let Some(key) = &key {
            self.keys.begin(key);
        }
        Ok(Begun { outcome, series, key })
    }

    fn execute(&mut self, now: Timestamp, call: &Call, fault: Option<Fault>, key: Option<&str>) -> Outcome {
        let result = match fault {
            Some(Fault::ErrorBefore(status)) => Err(ApiError::api(status)),
            Some(Fault::ErrorAfter(status)) => self.work(now, call).and(Err(ApiError::api(status))),
            _ => self.work(now, call),
        };
        let saved = match &result {
            Ok(body) => Saved { status: 200, body: body.clone() },
            Err(error) => Saved { status: error.status, body: error.body() },
        };
        if let Some(key) = key
            && result.as_ref().err().is_none_or(|error| error.executed)
        {
            self.keys.save(now, key, call, saved.clone());
        }
        match (fault, result) {
            (Some(Fault::ResetAfter), _) => Outcome::Reset,
            (Some(Fault::HangAfter), _) => Outcome::Hang,
            (Some(Fault::ForeignAfter(status, foreign)), _) => foreign_answer(call, status, foreign),
            (_, Ok(_)) => self.answer(&saved, key, false),
            (_, Err(error)) => self.refuse(&error),
        }
    }

    fn work(&mut self, now: Timestamp, call: &Call) -> Result<Value, ApiError> {
        let livemode = self.account.livemode;
        let segments: Vec<&str> = call.path.split('/').skip(1).collect();
        match (&call.method, segments.as_slice()) {
            (&Method::GET, ["v1", "account"]) => Ok(json!({"id": self.account.id, "object": "account"})),
            (&Method::POST, ["v1", "billing", "meters"]) => self.meters.create(&call.params, livemode, now),
            (&Method::GET, ["v1", "billing", "meters"]) => self.meters.list(&call.params, livemode),
            (&Method::GET, ["v1", "billing", "meters", id]) => self.meters.retrieve(id, livemode),
            (&Method::POST, ["v1", "billing", "meters", id]) => self.meters.update(id, call, livemode, now),
            (&Method::POST, ["v1", "billing", "meters", id, "deactivate"]) => {
                self.meters.set_active(id, false, livemode, now)
            }
            (&Method::POST, ["v1", "billing", "meters", id, "reactivate"]) => {
                self.meters.set_active(id, true, livemode, now)
            }
            (&Method::GET, ["v1", "billing", "meters", id, "event_summaries"]) => self.summaries(now, id, call),
            (&Method::POST, ["v1", "billing", "meter_events"]) => self.create_meter_event(now, call),
            (&Method::POST, ["v1", "billing", "meter_event_adjustments"]) => self.cancel_meter_event(now, call),
            (method, ["v1", "customers", rest @ ..]) => self.work_customers(now, method, rest, call),
            (&Method::POST, ["v1", "subscriptions"]) => self.create_subscription(now, call),
            (&Method::POST, ["v1", "subscriptions", id]) => self.subscriptions.update(id, &call.params),
            (&Method::DELETE, ["v1", "subscriptions", id]) => self.subscriptions.cancel(id),
            (&Method::GET, ["v1", "subscriptions"]) => self.subscriptions.list(&call.params, &self.meters, livemode),
            (&Method::GET, ["v1", "prices"]) => self.prices.list(&call.params, &self.meters, livemode),
            (&Method::GET, ["v1", "subscription_items"]) => self.subscriptions.items(&call.params, &self.meters),
            (_, ["v2", rest @ ..]) => self.work_v2(now, call, rest),
            _ => Err(unknown(call)),
        }
    }

    fn work_customers(
        &mut self,
        now: Timestamp,
        method: &Method,
        path: &[&str],
        call: &Call,
    ) -> Result<Value, ApiError> {
        match (method, path) {
            (&Method::POST, []) => {
                let made = self.directory.create(&call.params, now)?;
                self.customers.extend(made["id"].as_str().map(str::to_owned));
                Ok(made)
            }
            (&Method::GET, ["search"]) => self.directory.search(&call.params, now),
            (&Method::GET, []) => self.directory.list(&call.params),
            (&Method::DELETE, [id]) => {
                self.subscriptions.end_all(id);
                self.directory.delete(id)
            }
            _ => Err(unknown(call)),
        }
    }

    fn create_subscription(&mut self, now: Timestamp, call: &Call) -> Result<Value, ApiError> {
        let customer = call.params.required("customer")?;
        if !self.customers.contains(customer) {
            return Err(ApiError::no_such("customer", customer).status(400).param("customer"));
        }
        let prices = &self.prices;
        let known = |id: &str| prices.find(id).map(|price| SubscriptionItem::monthly(price.event_name.as_deref()));
        self.subscriptions.create(&call.params, known, now)
    }

    fn work_v2(&mut self, now: Timestamp, call: &Call, path: &[&str]) -> Result<Value, ApiError> {
        v2::check_version(call)?;
        match (&call.method, path) {
            (&Method::POST, ["billing", "meter_event_session"]) => Ok(self.sessions.create(now, self.account.livemode)),
            (&Method::POST, ["billing", "meter_event_stream"]) => {
                for draft in v2::drafts(call, now, &mut self.unnamed)? {
                    // The stream drops a repeated identifier without a word.
                    if self.events.check_unique(now, &draft.identifier).is_ok() {
                        self.events.record(now, draft, &self.meters, &self.customers);
                    }
                }
                Ok(json!({}))
            }
            (&Method::GET, ["core", "events", id]) => {
                self.core_events.get(id).cloned().ok_or_else(|| ApiError::no_such("event", id))
            }
            _ => Err(unknown(call)),
        }
    }

    fn create_meter_event(&mut self, now: Timestamp, call: &Call) -> Result<Value, ApiError> {
        call.params.only(&["event_name", "payload[", "identifier", "timestamp"])?;
        let event_name = call.params.required_text("event_name", 100)?.to_owned();
        let payload = call.params.object("payload");
        if payload.is_empty() {
            return Err(ApiError::missing("payload"));
        }
        let timestamp_s = call.params.integer("timestamp")?.unwrap_or(now.as_second());
        let out_of_range = |code| {
            let message = "The timestamp must be within the past 35 calendar days and at most 5 minutes in the future.";
            ApiError::invalid(message).code(code).param("timestamp")
        };
        meter_events::check_time(now, timestamp_s).map_err(out_of_range)?;
        let identifier = call.params.text("identifier", IDENTIFIER_MAX)?.map(str::to_owned);
        let identifier = identifier.unwrap_or_else(|| v2::generated(&mut self.unnamed));
        self.events.check_unique(now, &identifier)?;
        let draft = Draft { identifier, event_name, payload: payload.clone(), timestamp_s };
        let event = self.events.record(now, draft, &self.meters, &self.customers);
        Ok(json!({
            "object": "billing.meter_event",
            "created": now.as_second(),
            "event_name": event.event_name,
            "identifier": event.identifier,
            "livemode": self.account.livemode,
            "payload": payload,
            "timestamp": event.timestamp_s,
        }))
    }

    fn cancel_meter_event(&mut self, now: Timestamp, call: &Call) -> Result<Value, ApiError> {
        call.params.only(&["event_name", "type", "cancel["])?;
        call.params.choice("type", &["cancel"])?.ok_or_else(|| ApiError::missing("type"))?;
        let event_name = call.params.required_text("event_name", 100)?;
        let identifier = call.params.required_text("cancel[identifier]", IDENTIFIER_MAX)?;
        self.events.cancel(now, event_name, identifier)?;
        Ok(json!({"object": "billing.meter_event_adjustment", "type": "cancel", "status": "pending",
            "event_name": event_name, "cancel": {"identifier": identifier}, "livemode": self.account.livemode}))
    }

    fn summaries(&self, now: Timestamp, id: &str, call: &Call) -> Result<Value, ApiError> {
        let (lag, livemode) = (self.summary_lag, self.account.livemode);
        let view = View { now, lag, livemode, meter: self.meters.with_id(id)?, events: &self.events };
        view.list(&call.params)
    }

    /// The customer and meter that a call to `meter_events` is about.
    fn series(&self, call: &Call) -> Option<Series> {
        if kind(call) != Kind::MeterEvent {
            return None;
        }
        let event_name = call.params.get("event_name")?.to_owned();
        let payload = call.params.object("payload");
        let draft = Draft { identifier: String::new(), event_name, payload, timestamp_s: 0 };
        Some(draft.series(&self.meters)).filter(|series| !series.customer.is_empty())
    }

    fn answer(&self, saved: &Saved, key: Option<&str>, replayed: bool) -> Outcome {
        let mut builder = self.head(saved.status);
        if let Some(key) = key {
            builder = builder.header("idempotency-key", key);
        }
        if replayed {
            builder = builder.header("idempotent-replayed", "true");
        }
        respond(builder, &saved.body)
    }

    fn refuse(&self, error: &ApiError) -> Outcome {
        let mut builder = self.head(error.status);
        if let Some(should_retry) = error.should_retry {
            builder = builder.header("stripe-should-retry", should_retry.to_string());
        }
        if let Some(seconds) = error.retry_after_s {
            builder = builder.header("retry-after", seconds);
        }
        respond(builder, &error.body())
    }

    fn head(&self, status: u16) -> http::response::Builder {
        Response::builder()
            .status(status)
            .header("content-type", "application/json")
            .header("request-id", format!("req_rig{:08}", self.requests))
            .header("stripe-version", super::API_VERSION)
    }
}

impl Begun {
    fn at_once(outcome: Outcome) -> Self {
        Self { outcome, series: None, key: None }
    }
}

/// An answer from a proxy between Stripe and the caller.
fn foreign_answer(call: &Call, status: u16, foreign: Foreign) -> Outcome {
    let authorization = call.header("authorization").unwrap_or_default();
    let Some(body) = foreign.body(authorization) else { return Outcome::Endless(status) };
    let mut builder = Response::builder().status(status);
    if foreign == Foreign::KeyEcho {
        builder = builder.header("request-id", authorization);
    }
    builder.body(Bytes::from(body)).map_or(Outcome::Reset, Outcome::Answer)
}

fn respond(builder: http::response::Builder, body: &Value) -> Outcome {
    let response = builder.body(Bytes::from(body.to_string()));
    response.map_or(Outcome::Reset, Outcome::Answer)
}

fn kind(call: &Call) -> Kind {
    match call.path.as_str() {
        "/v1/billing/meter_events" => Kind::MeterEvent,
        "/v2/billing/meter_event_stream" => Kind::Stream,
        _ => Kind::Other,
    }
}

fn unknown(call: &Call) -> ApiError {
    let message = format!("Unrecognized request URL ({}: {}).", call.method, call.path);
    ApiError::invalid(message).status(404)
}

//! Meter events: how they are taken, checked afterwards, cancelled and kept.
//!
//! A 200 means taken, not billed: whether the meter and the customer exist and the value is a number is found out after
//! the answer, and told by webhook only. The stand-in finds out at once, and reports when asked to
//! ([`super::Stripe::webhooks`]).

use super::error::ApiError;
use super::limits::Series;
use super::meters::Meters;
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

/// The longest identifier, in characters.
pub(super) const IDENTIFIER_MAX: usize = 100;

/// An identifier is refused a second time for this long, and an event can be cancelled for this long.
pub(super) const UNIQUE_FOR: SignedDuration = SignedDuration::from_hours(24);

/// An event may be of this far in the past...
const PAST_MAX: SignedDuration = SignedDuration::from_hours(35 * 24);

/// ... and this far in the future.
const FUTURE_MAX: SignedDuration = SignedDuration::from_mins(5);

/// A value has at most this many digits.
const DIGITS_MAX: usize = 15;

/// A meter event that Stripe took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeterEvent {
    /// Unique for 24 hours.
    pub identifier: String,
    /// Which meter.
    pub event_name: String,
    /// `cus_…`, empty when the event named none.
    pub customer: String,
    /// The value as it was sent.
    pub value: String,
    /// When the usage happened, unix seconds.
    pub timestamp_s: i64,
    /// When it was taken.
    pub received_at: Timestamp,
    /// Whether it counts.
    pub state: MeterEventState,
}

/// Whether a meter event counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MeterEventState {
    /// It counts, with this value.
    Counted(i64),
    /// It was cancelled.
    Cancelled,
    /// It was refused after it had been taken, with this code.
    Refused(&'static str),
}

/// A meter event on its way in.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    pub(super) identifier: String,
    pub(super) event_name: String,
    pub(super) payload: BTreeMap<String, String>,
    pub(super) timestamp_s: i64,
}

/// An error found after the event was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LateError {
    pub(super) code: &'static str,
    pub(super) event_name: String,
    pub(super) identifier: String,
}

#[derive(Debug, Default)]
pub(super) struct MeterEvents {
    all: Vec<MeterEvent>,
    by_series: HashMap<Series, Vec<usize>>,
    identifiers: HashMap<String, usize>,
    /// Identifiers in the order in which they run out.
    expiring: VecDeque<usize>,
    errors: Vec<LateError>,
}

impl MeterEvents {
    pub(super) fn all(&self) -> &[MeterEvent] {
        &self.all
    }

    pub(super) fn of(&self, series: &Series) -> impl Iterator<Item = &MeterEvent> {
        self.by_series.get(series).into_iter().flatten().filter_map(|index| self.all.get(*index))
    }

    pub(super) fn take_errors(&mut self) -> Vec<LateError> {
        std::mem::take(&mut self.errors)
    }

    /// Refuses an identifier that was used in the last 24 hours.
    pub(super) fn check_unique(&mut self, now: Timestamp, identifier: &str) -> Result<(), ApiError> {
        self.forget(now);
        if !self.identifiers.contains_key(identifier) {
            return Ok(());
        }
        let message = format!("An event already exists with identifier {identifier}.");
        Err(ApiError::invalid(message).executed())
    }

    /// Takes an event and finds out whether it counts.
    pub(super) fn record(
        &mut self,
        now: Timestamp,
        draft: Draft,
        meters: &Meters,
        customers: &HashSet<String>,
    ) -> &MeterEvent {
        let judged = judge(&draft, now, meters, customers);
        let state = match judged {
            Ok(value) => MeterEventState::Counted(value),
            Err(code) => MeterEventState::Refused(code),
        };
        if let Err(code) = judged {
            let (event_name, identifier) = (draft.event_name.clone(), draft.identifier.clone());
            self.errors.push(LateError { code, event_name, identifier });
        }
        let index = self.all.len();
        let series = draft.series(meters);
        self.identifiers.insert(draft.identifier.clone(), index);
        self.expiring.push_back(index);
        self.by_series.entry(series.clone()).or_default().push(index);
        self.all.push(MeterEvent {
            value: draft.payload.get(draft.value_key(meters)).cloned().unwrap_or_default(),
            identifier: draft.identifier,
            event_name: draft.event_name,
            customer: series.customer,
            timestamp_s: draft.timestamp_s,
            received_at: now,
            state,
        });
        &self.all[index]
    }

    /// Voids one whole event, while its identifier is known.
    pub(super) fn cancel(&mut self, now: Timestamp, event_name: &str, identifier: &str) -> Result<(), ApiError> {
        self.forget(now);
        let index = self.identifiers.get(identifier).copied();
        let event = index.and_then(|index| self.all.get_mut(index)).filter(|event| event.event_name == event_name);
        let message = || format!("No event of the last 24 hours was found with identifier {identifier}.");
        let event = event.ok_or_else(|| ApiError::invalid(message()).param("cancel[identifier]").executed())?;
        event.state = MeterEventState::Cancelled;
        Ok(())
    }

    fn forget(&mut self, now: Timestamp) {
        while let Some(event) = self.expiring.front().and_then(|index| self.all.get(*index)) {
            if now.duration_since(event.received_at) < UNIQUE_FOR {
                return;
            }
            self.identifiers.remove(&event.identifier);
            self.expiring.pop_front();
        }
    }
}

impl Draft {
    /// Whose usage of what this is; the customer is empty where the payload names none.
    pub(super) fn series(&self, meters: &Meters) -> Series {
        let key = meters.named(&self.event_name).map_or("stripe_customer_id", |meter| meter.customer_key.as_str());
        let customer = self.payload.get(key).cloned().unwrap_or_default();
        Series { customer, event_name: self.event_name.clone() }
    }

    fn value_key<'a>(&self, meters: &'a Meters) -> &'a str {
        meters.named(&self.event_name).map_or("value", |meter| meter.value_key.as_str())
    }
}

/// The v1 API refuses a time out of range at once, the v2 stream later.
pub(super) fn check_time(now: Timestamp, timestamp_s: i64) -> Result<(), &'static str> {
    let age_s = now.as_second() - timestamp_s;
    if age_s > PAST_MAX.as_secs() {
        return Err("timestamp_too_far_in_past");
    }
    if -age_s > FUTURE_MAX.as_secs() { Err("timestamp_in_future") } else { Ok(()) }
}

fn judge(draft: &Draft, now: Timestamp, meters: &Meters, customers: &HashSet<String>) -> Result<i64, &'static str> {
    check_time(now, draft.timestamp_s)?;
    let meter = meters.named(&draft.event_name).ok_or("no_meter")?;
    if meter.deactivated_at.is_some() {
        return Err("archived_meter");
    }
    let customer = draft.payload.get(&meter.customer_key).ok_or("meter_event_no_customer_defined")?;
    if !customers.contains(customer) {
        return Err("meter_event_customer_not_found");
    }
    whole_number(draft.payload.get(&meter.value_key).map_or("", String::as_str))
}

/// Digits with an optional sign: no point, no exponent, no spaces.
fn whole_number(text: &str) -> Result<i64, &'static str> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("meter_event_invalid_value");
    }
    if digits.len() > DIGITS_MAX {
        return Err("meter_event_value_too_many_digits");
    }
    text.parse().map_err(|_| "meter_event_invalid_value")
}

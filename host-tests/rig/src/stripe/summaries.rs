//! `GET /v1/billing/meters/{id}/event_summaries`: what Stripe says it has counted.
//!
//! Undocumented and chosen here: windows without events are left out, and the newest comes first, as in Stripe's other
//! lists.

use super::call::Params;
use super::error::ApiError;
use super::limits::Series;
use super::meter_events::{MeterEvent, MeterEventState, MeterEvents};
use super::meters::{Formula, Meter, page};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const MINUTE_S: i64 = 60;
const HOUR_S: i64 = 60 * MINUTE_S;
const DAY_S: i64 = 24 * HOUR_S;

/// The events of a sum, and the time of the question.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) now: Timestamp,
    /// An event shows this long after it was taken.
    pub(super) lag: SignedDuration,
    pub(super) livemode: bool,
    pub(super) meter: &'a Meter,
    pub(super) events: &'a MeterEvents,
}

impl View<'_> {
    pub(super) fn list(&self, params: &Params) -> Result<Value, ApiError> {
        params.only(&["customer", "start_time", "end_time", "value_grouping_window", "limit", "starting_after"])?;
        let customer = params.required("customer")?.to_owned();
        let step_s = match params.choice("value_grouping_window", &["hour", "day"])? {
            Some("hour") => Some(HOUR_S),
            Some(_) => Some(DAY_S),
            None => None,
        };
        let start_s = bound(params, "start_time", step_s)?;
        let end_s = bound(params, "end_time", step_s)?;
        if end_s <= start_s {
            return Err(ApiError::invalid("end_time must be after start_time").param("end_time"));
        }
        let series = Series { customer, event_name: self.meter.event_name.clone() };
        let mut windows: BTreeMap<i64, Vec<&MeterEvent>> = BTreeMap::new();
        for event in self.visible(&series).filter(|event| (start_s..end_s).contains(&event.timestamp_s)) {
            let window = step_s.map_or(start_s, |step| event.timestamp_s.div_euclid(step) * step);
            windows.entry(window).or_default().push(event);
        }
        let width_s = step_s.unwrap_or(end_s - start_s);
        let newest_first = windows.iter().rev();
        let summaries = newest_first.map(|(window, events)| self.summary(*window, width_s, events)).collect();
        page(params, summaries, &format!("/v1/billing/meters/{}/event_summaries", self.meter.id))
    }

    fn visible(&self, series: &Series) -> impl Iterator<Item = &MeterEvent> {
        let shown = |event: &&MeterEvent| self.now.duration_since(event.received_at) >= self.lag;
        self.events.of(series).filter(shown).filter(|event| matches!(event.state, MeterEventState::Counted(_)))
    }

    fn summary(&self, start_s: i64, width_s: i64, events: &[&MeterEvent]) -> Value {
        // Stripe gives a float; exact for every whole number below 2^53.
        #[allow(clippy::cast_precision_loss, reason = "the protocol's own type")]
        let value = aggregate(self.meter, events) as f64;
        json!({
            "id": format!("mtrusg_{}_{start_s}_{width_s}", self.meter.id),
            "object": "billing.meter_event_summary",
            "aggregated_value": value,
            "start_time": start_s,
            "end_time": start_s + width_s,
            "livemode": self.livemode,
            "meter": self.meter.id,
        })
    }
}

/// One number of the events of one series, which come in the order in which they were taken.
fn aggregate(meter: &Meter, events: &[&MeterEvent]) -> i64 {
    let events = &standing(meter, events);
    let value = |event: &&MeterEvent| match event.state {
        MeterEventState::Counted(value) => value,
        MeterEventState::Cancelled | MeterEventState::Refused(_) => 0,
    };
    match meter.formula {
        Formula::Sum => events.iter().map(value).sum(),
        Formula::Count => i64::try_from(events.len()).unwrap_or(i64::MAX),
        Formula::Last => events.iter().max_by_key(|event| event.timestamp_s).map_or(0, value),
    }
}

/// The events that remain where a newer one overwrites that of its hour or day.
fn standing<'a>(meter: &Meter, events: &[&'a MeterEvent]) -> Vec<&'a MeterEvent> {
    let step_s = match meter.event_time_window {
        None => return events.to_vec(),
        Some("hour") => HOUR_S,
        Some(_) => DAY_S,
    };
    let newest: BTreeMap<i64, &MeterEvent> =
        events.iter().map(|event| (event.timestamp_s.div_euclid(step_s), *event)).collect();
    newest.into_values().collect()
}

/// A bound in unix seconds: whole minutes, and whole windows where usage is grouped.
fn bound(params: &Params, name: &str, step_s: Option<i64>) -> Result<i64, ApiError> {
    let value: i64 = params.integer(name)?.ok_or_else(|| ApiError::missing(name))?;
    let (step_s, unit) = match step_s {
        None => (MINUTE_S, "minute"),
        Some(HOUR_S) => (HOUR_S, "hour"),
        Some(_) => (DAY_S, "day"),
    };
    if value.rem_euclid(step_s) == 0 {
        return Ok(value);
    }
    Err(ApiError::invalid(format!("{name} must be aligned with {unit} boundaries")).param(name))
}

//! `/v1/billing/meters`: create, list, retrieve, rename, deactivate, reactivate.

use super::call::{Call, Params};
use super::error::ApiError;
use jiff::Timestamp;
use serde_json::{Value, json};

/// A page has at most this many objects.
pub(super) const PAGE_MAX: usize = 100;

/// A page has this many objects when the call does not say.
const PAGE_DEFAULT: usize = 10;

/// How a meter makes one number of many events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Formula {
    Sum,
    Count,
    Last,
}

#[derive(Debug, Clone)]
pub(super) struct Meter {
    pub(super) id: String,
    pub(super) display_name: String,
    pub(super) event_name: String,
    pub(super) formula: Formula,
    pub(super) customer_key: String,
    pub(super) value_key: String,
    pub(super) event_time_window: Option<&'static str>,
    pub(super) created: i64,
    updated: i64,
    pub(super) deactivated_at: Option<i64>,
}

#[derive(Debug, Default)]
pub(super) struct Meters(Vec<Meter>);

impl Formula {
    const NAMES: [&'static str; 3] = ["sum", "count", "last"];

    fn name(self) -> &'static str {
        match self {
            Self::Sum => "sum",
            Self::Count => "count",
            Self::Last => "last",
        }
    }

    fn parse(params: &Params) -> Result<Self, ApiError> {
        let name = "default_aggregation[formula]";
        match params.choice(name, &Self::NAMES)? {
            Some("sum") => Ok(Self::Sum),
            Some("count") => Ok(Self::Count),
            Some(_) => Ok(Self::Last),
            None => Err(ApiError::missing(name)),
        }
    }
}

impl Meter {
    fn parse(params: &Params, serial: usize, now: Timestamp) -> Result<Self, ApiError> {
        params.only(&[
            "display_name",
            "event_name",
            "default_aggregation[formula]",
            "customer_mapping[",
            "value_settings[",
            "event_time_window",
        ])?;
        params.choice("customer_mapping[type]", &["by_id"])?;
        let key = |name: &str, default: &str| params.get(name).unwrap_or(default).to_owned();
        Ok(Self {
            id: format!("mtr_rig{serial:08}"),
            display_name: params.required_text("display_name", 250)?.to_owned(),
            event_name: params.required_text("event_name", 100)?.to_owned(),
            formula: Formula::parse(params)?,
            customer_key: key("customer_mapping[event_payload_key]", "stripe_customer_id"),
            value_key: key("value_settings[event_payload_key]", "value"),
            event_time_window: params.choice("event_time_window", &["hour", "day"])?,
            created: now.as_second(),
            updated: now.as_second(),
            deactivated_at: None,
        })
    }

    fn json(&self, livemode: bool) -> Value {
        let active = self.deactivated_at.is_none();
        json!({
            "id": self.id,
            "object": "billing.meter",
            "created": self.created,
            "customer_mapping": {"event_payload_key": self.customer_key, "type": "by_id"},
            "default_aggregation": {"formula": self.formula.name()},
            "display_name": self.display_name,
            "event_name": self.event_name,
            "event_time_window": self.event_time_window,
            "livemode": livemode,
            "status": if active { "active" } else { "inactive" },
            "status_transitions": {"deactivated_at": self.deactivated_at},
            "updated": self.updated,
            "value_settings": {"event_payload_key": self.value_key},
        })
    }
}

impl Meters {
    /// The active meter of this name, else one that is not active, else none.
    pub(super) fn named(&self, event_name: &str) -> Option<&Meter> {
        let mut named = self.0.iter().filter(|meter| meter.event_name == event_name);
        named.clone().find(|meter| meter.deactivated_at.is_none()).or_else(|| named.next())
    }

    pub(super) fn event_names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|meter| meter.event_name.as_str())
    }

    pub(super) fn with_id(&self, id: &str) -> Result<&Meter, ApiError> {
        self.0.iter().find(|meter| meter.id == id).ok_or_else(|| ApiError::no_such("billing meter", id))
    }

    pub(super) fn add(&mut self, event_name: &str, now: Timestamp) {
        let form = [("display_name", event_name), ("event_name", event_name), ("default_aggregation[formula]", "sum")];
        // The only refusal possible is that there is one already.
        let _ = self.create(&Params::of(&form), false, now);
    }

    pub(super) fn create(&mut self, params: &Params, livemode: bool, now: Timestamp) -> Result<Value, ApiError> {
        let meter = Meter::parse(params, self.0.len() + 1, now)?;
        if self.named(&meter.event_name).is_some_and(|known| known.deactivated_at.is_none()) {
            let message = format!("An active meter already exists with event name {}.", meter.event_name);
            return Err(ApiError::invalid(message).param("event_name").executed());
        }
        let body = meter.json(livemode);
        self.0.push(meter);
        Ok(body)
    }

    pub(super) fn retrieve(&self, id: &str, livemode: bool) -> Result<Value, ApiError> {
        self.with_id(id).map(|meter| meter.json(livemode))
    }

    /// `POST /v1/billing/meters/{id}`: nothing but the display name can change.
    pub(super) fn update(&mut self, id: &str, call: &Call, livemode: bool, now: Timestamp) -> Result<Value, ApiError> {
        call.params.only(&["display_name"])?;
        let name = call.params.required_text("display_name", 250)?.to_owned();
        self.change(id, livemode, now, |meter| meter.display_name = name)
    }

    pub(super) fn set_active(
        &mut self,
        id: &str,
        active: bool,
        livemode: bool,
        now: Timestamp,
    ) -> Result<Value, ApiError> {
        let deactivated_at = (!active).then(|| now.as_second());
        self.change(id, livemode, now, |meter| meter.deactivated_at = deactivated_at)
    }

    fn change(
        &mut self,
        id: &str,
        livemode: bool,
        now: Timestamp,
        change: impl FnOnce(&mut Meter),
    ) -> Result<Value, ApiError> {
        let meter = self.0.iter_mut().find(|meter| meter.id == id);
        let meter = meter.ok_or_else(|| ApiError::no_such("billing meter", id))?;
        change(meter);
        meter.updated = now.as_second();
        Ok(meter.json(livemode))
    }

    pub(super) fn list(&self, params: &Params, livemode: bool) -> Result<Value, ApiError> {
        params.only(&["limit", "starting_after", "ending_before", "status"])?;
        let status = params.choice("status", &["active", "inactive"])?;
        let newest_first = self.0.iter().rev().map(|meter| meter.json(livemode));
        let wanted = newest_first.filter(|meter| status.is_none_or(|status| meter["status"] == status));
        page(params, wanted.collect(), "/v1/billing/meters")
    }
}

/// One page of `objects`, in Stripe's list shape.
pub(super) fn page(params: &Params, objects: Vec<Value>, url: &str) -> Result<Value, ApiError> {
    let limit = params.integer::<usize>("limit")?.unwrap_or(PAGE_DEFAULT);
    if limit == 0 || limit > PAGE_MAX {
        let message = format!("Invalid limit: must be between 1 and {PAGE_MAX}");
        return Err(ApiError::invalid(message).param("limit"));
    }
    let from = match params.get("starting_after") {
        None => 0,
        Some(id) => {
            let position = objects.iter().position(|object| object["id"] == id);
            1 + position.ok_or_else(|| ApiError::no_such("object", id).param("starting_after"))?
        }
    };
    let has_more = objects.len() > from + limit;
    let data: Vec<Value> = objects.into_iter().skip(from).take(limit).collect();
    Ok(json!({"object": "list", "url": url, "has_more": has_more, "data": data}))
}

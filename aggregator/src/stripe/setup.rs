//! What `weir stripe setup` looks at and makes: meters, and where subscriptions begin their billing periods.
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use weir_contract::Timestamp;

use super::StripeSink;
use super::ask::Named;
use crate::billing::AskError;
use crate::webhook::{Whole, is_id};

/// Under which names the events that weir sends carry customer and value.
const CUSTOMER_KEY: &str = "stripe_customer_id";
const VALUE_KEY: &str = "value";
/// Billing periods that begin at a full hour never split a window; in seconds.
const HOUR_SECS: u64 = 3_600;

/// How a meter of the configuration stands at Stripe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum MeterState {
    /// As it must be.
    Good {
        /// Stripe's name of it.
        id: String,
    },
    /// Not there: `--apply` makes it.
    Missing,
    /// Made just now.
    Created {
        /// Stripe's name of it.
        id: String,
    },
    /// There, and not usable.
    Wrong {
        /// Stripe's name of it.
        id: String,
        /// What is wrong and what to do.
        problem: String,
    },
}

/// A subscription whose billing periods begin in the middle of an hour.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unaligned {
    /// Stripe's name of it.
    pub subscription: String,
    /// The customer.
    pub customer: String,
    /// The beginning of one of its periods.
    pub anchor: Timestamp,
    /// How long a period is: `day`, `week`, `month`, `year`.
    pub interval: String,
    /// Periods of several intervals are not known to weir: the tenants file must say where they begin.
    pub interval_count: u64,
}

/// What was found, and made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetupView {
    /// The account and mode.
    pub account: String,
    /// Whether anything was changed: without `--apply` nothing is.
    pub applied: bool,
    /// Stripe's meters that the configuration names.
    pub meters: BTreeMap<String, MeterState>,
    /// Subscriptions of tenants' customers with anchors in the middle of an hour.
    pub unaligned: Vec<Unaligned>,
    /// Subscriptions that were looked at.
    pub subscriptions: u64,
}

impl SetupView {
    /// Whether something is left to do.
    pub fn needs_work(&self) -> bool {
        self.meters.values().any(|state| matches!(state, MeterState::Missing | MeterState::Wrong { .. }))
    }
}

#[derive(Clone, Debug, Deserialize)]
struct Meter {
    id: String,
    event_name: String,
    status: String,
    default_aggregation: Aggregation,
    customer_mapping: Mapping,
    value_settings: ValueSettings,
    #[serde(default)]
    event_time_window: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
struct Aggregation {
    formula: String,
}

#[derive(Clone, Debug, Deserialize)]
struct Mapping {
    event_payload_key: String,
}

#[derive(Clone, Debug, Deserialize)]
struct ValueSettings {
    event_payload_key: String,
}

#[derive(Debug, Deserialize)]
struct Subscription {
    id: String,
    customer: String,
    billing_cycle_anchor: u64,
    #[serde(default)]
    items: Items,
}

#[derive(Debug, Default, Deserialize)]
struct Items {
    data: Vec<Item>,
}

#[derive(Debug, Deserialize)]
struct Item {
    price: Price,
}

#[derive(Debug, Deserialize)]
struct Price {
    recurring: Option<Recurring>,
}

#[derive(Debug, Deserialize)]
struct Recurring {
    interval: String,
    #[serde(default)]
    interval_count: u64,
}

impl Named for Meter {
    fn id(&self) -> &str {
        &self.id
    }
}

impl Named for Subscription {
    fn id(&self) -> &str {
        &self.id
    }
}

impl Meter {
    /// What keeps it from being used, if anything does.
    fn problem(&self) -> Option<String> {
        const NEW: &str =
            "that cannot be changed: deactivate it and let setup make a new one, or configure another name";
        let wrong = |what: String| Some(format!("{what}; {NEW}"));
        if self.status != "active" {
            return Some("it is inactive: reactivate it in Stripe's dashboard, or configure another name".to_owned());
        }
        if self.default_aggregation.formula != "sum" {
            return wrong(format!("it takes the {} of events, not their sum", self.default_aggregation.formula));
        }
        if self.customer_mapping.event_payload_key != CUSTOMER_KEY {
            return wrong(format!("it reads the customer from {:?}", self.customer_mapping.event_payload_key));
        }
        if self.value_settings.event_payload_key != VALUE_KEY {
            return wrong(format!("it reads the value from {:?}", self.value_settings.event_payload_key));
        }
        let window = self.event_time_window.as_ref()?;
        wrong(format!(
            "its event_time_window is {window:?}: later events overwrite earlier ones, and corrections would"
        ))
    }
}

impl StripeSink {
    /// Looks at the meters `names`, and makes those that are missing if told to `apply`.
    pub async fn setup(
        &self,
        account: String,
        names: &BTreeSet<String>,
        customers: &BTreeSet<String>,
        apply: bool,
    ) -> Result<SetupView, AskError> {
        let known = self.list::<Meter>("/v1/billing/meters", &[]).await?;
        let mut view = SetupView { account, applied: apply, ..SetupView::default() };
        for name in names {
            let named = || known.iter().filter(|meter| meter.event_name == *name);
            let found = named().find(|meter| meter.status == "active").or_else(|| named().next());
            let state = match (found.map(|meter| (meter.id.clone(), meter.problem())), apply) {
                (Some((id, None)), _) => MeterState::Good { id },
                (Some((id, Some(problem))), _) => MeterState::Wrong { id, problem },
                (None, false) => MeterState::Missing,
                (None, true) => MeterState::Created { id: self.create_meter(name).await? },
            };
            view.meters.insert(name.clone(), state);
        }
        let query = [("status", "active".to_owned())];
        for subscription in self.list::<Subscription>("/v1/subscriptions", &query).await? {
            view.subscriptions += 1;
            if customers.contains(&subscription.customer) && subscription.billing_cycle_anchor % HOUR_SECS != 0 {
                view.unaligned.push(unaligned(subscription));
            }
        }
        Ok(view)
    }

    async fn create_meter(&self, name: &str) -> Result<String, AskError> {
        let form = [
            ("display_name", name),
            ("event_name", name),
            ("default_aggregation[formula]", "sum"),
            ("customer_mapping[type]", "by_id"),
            ("customer_mapping[event_payload_key]", CUSTOMER_KEY),
            ("value_settings[event_payload_key]", VALUE_KEY),
        ];
        let meter: Meter = self.post("/v1/billing/meters", &format!("weir-setup-{name}"), &form).await?;
        Ok(meter.id)
    }

    /// The name of the events that a meter takes.
    pub async fn event_name(&self, meter: &str) -> Result<String, AskError> {
        if !is_id(meter) {
            return Err(super::ask::refused(format!("{meter:?} is no id")));
        }
        Ok(self.get::<Meter>(&format!("/v1/billing/meters/{meter}"), &[]).await?.event_name)
    }

    /// A whole event, by the id that its thin form gave. The caller has checked the id.
    pub async fn core_event(&self, id: &str) -> Result<Whole, AskError> {
        self.get(&format!("/v2/core/events/{id}"), &[]).await
    }
}

fn unaligned(subscription: Subscription) -> Unaligned {
    let recurring = subscription.items.data.into_iter().find_map(|item| item.price.recurring);
    let (interval, interval_count) =
        recurring.map_or(("month".to_owned(), 1), |recurring| (recurring.interval, recurring.interval_count.max(1)));
    Unaligned {
        subscription: subscription.id,
        customer: subscription.customer,
        anchor: Timestamp::from_secs(subscription.billing_cycle_anchor),
        interval,
        interval_count,
    }
}

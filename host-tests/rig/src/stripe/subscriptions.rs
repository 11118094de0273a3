//! `GET /v1/subscriptions` and `/v1/subscription_items`: only what is needed to see where billing periods begin.

use super::call::Params;
use super::error::ApiError;
use super::meters::{Meters, page};
use serde_json::{Value, json};

/// How many items Stripe lists with their subscription. A stand-in's guess.
const ITEMS_SHOWN: usize = 10;

/// A subscription of a customer.
#[derive(Debug, Clone)]
pub struct Subscription {
    /// `cus_…`
    pub customer: String,
    /// Stripe's word: `active`, `past_due`, …
    pub status: &'static str,
    /// Where its periods begin, unix seconds.
    pub billing_cycle_anchor_s: i64,
    /// Its items.
    pub items: Vec<SubscriptionItem>,
}

/// An item of a subscription.
#[derive(Debug, Clone)]
pub struct SubscriptionItem {
    /// The name of the events whose meter its price has; none for a fee or a seat.
    pub event_name: Option<String>,
    /// `day`, `week`, `month`, `year`.
    pub interval: &'static str,
    /// How many of them a period has.
    pub interval_count: u64,
    /// When its period ends, unix seconds, where that is said.
    pub current_period_end_s: Option<i64>,
}

impl SubscriptionItem {
    /// A price by the month with the meter of these events, or without one.
    #[must_use]
    pub fn monthly(event_name: Option<&str>) -> Self {
        let event_name = event_name.map(str::to_owned);
        Self { event_name, interval: "month", interval_count: 1, current_period_end_s: None }
    }

    fn json(&self, id: &str, meters: &Meters) -> Value {
        let meter = self.event_name.as_ref().and_then(|name| meters.named(name)).map(|meter| meter.id.clone());
        let usage_type = if meter.is_some() { "metered" } else { "licensed" };
        let recurring = json!({"interval": self.interval, "interval_count": self.interval_count, "meter": meter,
            "usage_type": usage_type});
        let mut item =
            json!({"id": id, "object": "subscription_item", "price": {"object": "price", "recurring": recurring}});
        if let Some(end) = self.current_period_end_s {
            item["current_period_end"] = json!(end);
        }
        item
    }
}

#[derive(Debug, Default)]
pub(super) struct Subscriptions(Vec<Subscription>);

impl Subscriptions {
    pub(super) fn add(&mut self, subscription: Subscription) {
        self.0.push(subscription);
    }

    pub(super) fn end_all(&mut self, customer: &str) {
        self.0.iter_mut().filter(|known| known.customer == customer).for_each(|known| known.status = "canceled");
    }

    pub(super) fn list(&self, params: &Params, meters: &Meters, livemode: bool) -> Result<Value, ApiError> {
        params.only(&["customer", "status", "limit", "starting_after"])?;
        let (customer, status) = (params.get("customer"), params.get("status"));
        let wanted = |entry: &&(usize, &Subscription)| {
            let of_customer = customer.is_none_or(|wanted| entry.1.customer == wanted);
            let of_status = match status {
                None => entry.1.status != "canceled",
                Some("all") => true,
                Some(status) => entry.1.status == status,
            };
            of_customer && of_status
        };
        let entries: Vec<(usize, &Subscription)> = self.0.iter().enumerate().rev().collect();
        let objects = entries.iter().filter(wanted).map(|(index, subscription)| {
            let items = items(*index, subscription, meters);
            json!({
                "id": id(*index),
                "object": "subscription",
                "customer": subscription.customer,
                "billing_cycle_anchor": subscription.billing_cycle_anchor_s,
                "status": subscription.status,
                "items": {"object": "list", "has_more": items.len() > ITEMS_SHOWN,
                    "data": items.iter().take(ITEMS_SHOWN).collect::<Vec<_>>()},
                "livemode": livemode,
            })
        });
        page(params, objects.collect(), "/v1/subscriptions")
    }

    pub(super) fn items(&self, params: &Params, meters: &Meters) -> Result<Value, ApiError> {
        params.only(&["subscription", "limit", "starting_after"])?;
        let wanted = params.required("subscription")?;
        let found = self.0.iter().enumerate().find(|(index, _)| id(*index) == wanted);
        let (index, subscription) = found.ok_or_else(|| ApiError::no_such("subscription", wanted))?;
        page(params, items(index, subscription, meters), "/v1/subscription_items")
    }
}

fn id(index: usize) -> String {
    format!("sub_rig{index:08}")
}

fn items(index: usize, subscription: &Subscription, meters: &Meters) -> Vec<Value> {
    let items = subscription.items.iter().enumerate();
    items.map(|(number, item)| item.json(&format!("si_rig{index:08}x{number}"), meters)).collect()
}

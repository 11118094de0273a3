//! `/v1/subscriptions` and `/v1/subscription_items`: what is needed to see where billing periods begin, and to provision.

use super::call::Params;
use super::error::ApiError;
use super::meters::{Meters, page};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeMap;

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
    /// What its maker attached to it.
    pub metadata: BTreeMap<String, String>,
    /// Whether it ends with its period.
    pub ends_with_period: bool,
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

impl Subscription {
    /// A subscription of somebody else's making.
    #[must_use]
    pub fn new(
        customer: &str,
        status: &'static str,
        billing_cycle_anchor_s: i64,
        items: Vec<SubscriptionItem>,
    ) -> Self {
        let (customer, metadata) = (customer.to_owned(), BTreeMap::new());
        Self { customer, status, billing_cycle_anchor_s, items, metadata, ends_with_period: false }
    }
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
    pub(super) fn all(&self) -> &[Subscription] {
        &self.0
    }

    /// Makes a subscription to prices that `known` finds.
    pub(super) fn create(
        &mut self,
        params: &Params,
        known: impl Fn(&str) -> Option<SubscriptionItem>,
        now: Timestamp,
    ) -> Result<Value, ApiError> {
        params.only(&["customer", "items[", "billing_cycle_anchor", "proration_behavior", "metadata["])?;
        let customer = params.required("customer")?.to_owned();
        let mut items = Vec::new();
        while let Some(price) = params.get(&format!("items[{}][price]", items.len())) {
            let no_such = || ApiError::no_such("price", price).status(400).param("items[0][price]");
            items.push(known(price).ok_or_else(no_such)?);
        }
        if items.is_empty() {
            return Err(ApiError::missing("items"));
        }
        let anchor = params.integer("billing_cycle_anchor")?.unwrap_or_else(|| now.as_second());
        if anchor < now.as_second() {
            let message = "billing_cycle_anchor must be a timestamp in the future.";
            return Err(ApiError::invalid(message).param("billing_cycle_anchor"));
        }
        let metadata = params.object("metadata");
        let subscription = Subscription {
            customer,
            status: "active",
            billing_cycle_anchor_s: anchor,
            items,
            metadata,
            ends_with_period: false,
        };
        self.0.push(subscription);
        self.short(self.0.len() - 1)
    }

    pub(super) fn cancel(&mut self, wanted: &str) -> Result<Value, ApiError> {
        let index = self.index(wanted)?;
        if self.0[index].status == "canceled" {
            return Err(ApiError::no_such("subscription", wanted));
        }
        self.0[index].status = "canceled";
        self.short(index)
    }

    pub(super) fn update(&mut self, wanted: &str, params: &Params) -> Result<Value, ApiError> {
        params.only(&["cancel_at_period_end"])?;
        let index = self.index(wanted)?;
        self.0[index].ends_with_period = params.required("cancel_at_period_end")? == "true";
        self.short(index)
    }

    fn index(&self, wanted: &str) -> Result<usize, ApiError> {
        (0..self.0.len()).find(|index| id(*index) == wanted).ok_or_else(|| ApiError::no_such("subscription", wanted))
    }

    fn short(&self, index: usize) -> Result<Value, ApiError> {
        let subscription = self.0.get(index).ok_or_else(|| ApiError::api(500))?;
        Ok(json!({"id": id(index), "object": "subscription", "customer": subscription.customer,
            "status": subscription.status, "metadata": subscription.metadata}))
    }

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
                "metadata": subscription.metadata,
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

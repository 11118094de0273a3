//! `GET /v1/subscriptions`: only what is needed to see where billing periods begin.

use super::call::Params;
use super::error::ApiError;
use super::meters::page;
use serde_json::{Value, json};

#[derive(Debug, Default)]
pub(super) struct Subscriptions(Vec<Subscription>);

#[derive(Debug)]
struct Subscription {
    customer: String,
    billing_cycle_anchor_s: i64,
}

impl Subscriptions {
    pub(super) fn add(&mut self, customer: &str, billing_cycle_anchor_s: i64) {
        self.0.push(Subscription { customer: customer.to_owned(), billing_cycle_anchor_s });
    }

    pub(super) fn list(&self, params: &Params, livemode: bool) -> Result<Value, ApiError> {
        params.only(&["customer", "status", "limit", "starting_after"])?;
        let customer = params.get("customer");
        let of_customer = |entry: &&(usize, &Subscription)| customer.is_none_or(|wanted| entry.1.customer == wanted);
        let entries: Vec<(usize, &Subscription)> = self.0.iter().enumerate().rev().collect();
        let objects = entries.iter().filter(of_customer).map(|(index, subscription)| {
            json!({
                "id": format!("sub_rig{index:08}"),
                "object": "subscription",
                "customer": subscription.customer,
                "billing_cycle_anchor": subscription.billing_cycle_anchor_s,
                "status": "active",
                "items": {"object": "list", "data": [
                    {"object": "subscription_item", "price": {"recurring": {"interval": "month", "interval_count": 1}}},
                ]},
                "livemode": livemode,
            })
        });
        page(params, objects.collect(), "/v1/subscriptions")
    }
}

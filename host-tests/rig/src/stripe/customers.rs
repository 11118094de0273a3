//! `/v1/customers`: made, searched, listed and deleted, as far as provisioning needs them.

use super::call::Params;
use super::error::ApiError;
use super::meters::page;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// How long a search misses a new customer: Stripe says less than a minute.
const SEARCH_LAG: SignedDuration = SignedDuration::from_secs(30);

/// A customer.
#[derive(Debug, Clone)]
pub struct Customer {
    /// `cus_…`
    pub id: String,
    /// What its maker attached to it.
    pub metadata: BTreeMap<String, String>,
    /// Whether it was deleted.
    pub deleted: bool,
    created: Timestamp,
}

#[derive(Debug, Default)]
pub(super) struct Customers(Vec<Customer>);

impl Customers {
    pub(super) fn add(&mut self, id: &str, metadata: BTreeMap<String, String>, created: Timestamp) {
        self.0.push(Customer { id: id.to_owned(), metadata, deleted: false, created });
    }

    pub(super) fn all(&self) -> &[Customer] {
        &self.0
    }

    pub(super) fn create(&mut self, params: &Params, now: Timestamp) -> Result<Value, ApiError> {
        params.only(&["name", "email", "metadata["])?;
        params.text("name", 256)?;
        params.text("email", 512)?;
        let id = format!("cus_rig{:08}", self.0.len());
        self.add(&id, params.object("metadata"), now);
        self.0.last().map(json_of).ok_or_else(|| ApiError::api(500))
    }

    /// One clause, `metadata['KEY']:'VALUE'`.
    pub(super) fn search(&self, params: &Params, now: Timestamp) -> Result<Value, ApiError> {
        params.only(&["query", "limit", "page"])?;
        let wrong = || ApiError::invalid("The query is not one that the stand-in knows.").param("query");
        let clause = params.required("query")?.strip_prefix("metadata['").ok_or_else(wrong)?;
        let (key, value) = clause.split_once("']:'").ok_or_else(wrong)?;
        let value = value.strip_suffix('\'').ok_or_else(wrong)?.replace("\\'", "'").replace("\\\\", "\\");
        let is_meant = |customer: &&Customer| {
            !customer.deleted
                && customer.metadata.get(key) == Some(&value)
                && now.duration_since(customer.created) >= SEARCH_LAG
        };
        let data: Vec<Value> = self.0.iter().filter(is_meant).map(json_of).collect();
        Ok(json!({"object": "search_result", "url": "/v1/customers/search", "has_more": false, "data": data}))
    }

    pub(super) fn list(&self, params: &Params) -> Result<Value, ApiError> {
        params.only(&["created[", "limit", "starting_after"])?;
        let since = params.integer::<i64>("created[gte]")?.unwrap_or(i64::MIN);
        let is_meant = |customer: &&Customer| !customer.deleted && customer.created.as_second() >= since;
        page(params, self.0.iter().rev().filter(is_meant).map(json_of).collect(), "/v1/customers")
    }

    pub(super) fn delete(&mut self, id: &str) -> Result<Value, ApiError> {
        let found = self.0.iter_mut().find(|customer| customer.id == id && !customer.deleted);
        found.ok_or_else(|| ApiError::no_such("customer", id))?.deleted = true;
        Ok(json!({"id": id, "object": "customer", "deleted": true}))
    }
}

fn json_of(customer: &Customer) -> Value {
    json!({"id": customer.id, "object": "customer", "created": customer.created.as_second(), "metadata": customer.metadata})
}

//! Customers and subscriptions of tenants that come and go.
//!
//! Both carry the tenant and the provisioning in their metadata, so that they are found again. A search finds what was there
//! before: it may miss what is a minute old. A list misses nothing, and finds what this provisioning made.
use serde::Deserialize;
use serde_json::Value;
use weir_contract::Timestamp;

use super::{StripeSink, body, lost, wire};

/// The metadata that names the tenant.
const TENANT: &str = "metadata[weir_tenant]";
/// The metadata that names the provisioning.
const PROVISIONING: &str = "metadata[weir_provisioning]";
/// How far Stripe's clock may be behind ours, in seconds.
const CLOCK_ERROR_SECS: u64 = 600;
/// The most pages that a list reads, each of a hundred.
const PAGES_MAX: usize = 200;
const PAGE: &str = "100";

/// What came of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is done, or there, under this id.
    Done(String),
    /// There is none.
    Missing,
    /// Stripe refused it for good, and did nothing.
    Refused(String),
    /// Nobody knows whether it was done; a repeat under the same key tells.
    Unsure(String),
    /// It failed after it may have been done, and the key would repeat that answer.
    Broken(String),
}

/// Whose customer or subscription it is.
#[derive(Clone, Copy, Debug)]
pub struct Owner<'a> {
    /// The tenant.
    pub tenant: &'a str,
    /// The provisioning.
    pub provisioning: &'a str,
}

/// A customer that is to be made.
#[derive(Clone, Copy, Debug)]
pub struct NewCustomer<'a> {
    /// The customer's name.
    pub name: Option<&'a str>,
    /// Where invoices go.
    pub email: Option<&'a str>,
}

/// A subscription that is to be made.
#[derive(Clone, Copy, Debug)]
pub struct NewSubscription<'a> {
    /// The customer.
    pub customer: &'a str,
    /// The prices.
    pub prices: &'a [String],
    /// Where its first whole period begins. Absent: now.
    pub anchor: Option<Timestamp>,
}

#[derive(Debug, Deserialize)]
struct Object {
    id: String,
    #[serde(default)]
    object: String,
    #[serde(default)]
    status: String,
    #[serde(default)]
    deleted: bool,
    #[serde(default)]
    metadata: Value,
}

#[derive(Debug, Deserialize)]
struct Objects {
    data: Vec<Object>,
    has_more: bool,
}

impl Object {
    fn is_of(&self, key: &str, value: &str) -> bool {
        self.metadata.get(key).and_then(Value::as_str) == Some(value)
    }

    fn is_live(&self) -> bool {
        !self.deleted && !matches!(self.status.as_str(), "canceled" | "incomplete_expired")
    }
}

impl StripeSink {
    /// Looks for a tenant's customer that was there before.
    pub async fn find_customer(&self, tenant: &str) -> Outcome {
        let query = format!("metadata['weir_tenant']:'{}'", tenant.replace('\\', "\\\\").replace('\'', "\\'"));
        let query = [("query", query), ("limit", PAGE.to_owned())];
        match self.objects("/v1/customers/search", &query).await {
            Ok(found) => first(found.data.into_iter().filter(|object| object.is_of("weir_tenant", tenant))),
            Err(outcome) => outcome,
        }
    }

    /// Makes a tenant's customer.
    pub async fn make_customer(&self, owner: Owner<'_>, new: NewCustomer<'_>, key: &str) -> Outcome {
        let mut form = vec![(TENANT, owner.tenant), (PROVISIONING, owner.provisioning)];
        form.extend(new.name.map(|name| ("name", name)));
        form.extend(new.email.map(|email| ("email", email)));
        self.made("/v1/customers", "customer", key, &form).await
    }

    /// Looks for the customer that a provisioning may have made since it began.
    pub async fn list_customer(&self, owner: Owner<'_>, since: Timestamp) -> Outcome {
        let since = since.as_secs().saturating_sub(CLOCK_ERROR_SECS).to_string();
        self.ours("/v1/customers", &[("created[gte]", since)], owner).await
    }

    /// Deletes a customer.
    pub async fn delete_customer(&self, id: &str) -> Outcome {
        self.removed(self.client.delete(format!("{}/v1/customers/{id}", self.url))).await
    }

    /// Looks for a customer's subscription of this tenant that was there before.
    pub async fn find_subscription(&self, tenant: &str, customer: &str) -> Outcome {
        let query = [("customer", customer.to_owned()), ("limit", PAGE.to_owned())];
        match self.objects("/v1/subscriptions", &query).await {
            Ok(found) => first(found.data.into_iter().filter(|object| object.is_of("weir_tenant", tenant))),
            Err(outcome) => outcome,
        }
    }

    /// Makes a tenant's subscription.
    pub async fn make_subscription(&self, owner: Owner<'_>, new: NewSubscription<'_>, key: &str) -> Outcome {
        let anchor = new.anchor.map(|anchor| anchor.as_secs().to_string());
        let names: Vec<String> = (0..new.prices.len()).map(|number| format!("items[{number}][price]")).collect();
        let mut form = vec![(TENANT, owner.tenant), (PROVISIONING, owner.provisioning), ("customer", new.customer)];
        form.extend(names.iter().map(String::as_str).zip(new.prices.iter().map(String::as_str)));
        if let Some(anchor) = &anchor {
            form.extend([("billing_cycle_anchor", anchor.as_str()), ("proration_behavior", "none")]);
        }
        self.made("/v1/subscriptions", "subscription", key, &form).await
    }

    /// Looks for the subscription that a provisioning may have made.
    pub async fn list_subscription(&self, owner: Owner<'_>, customer: &str) -> Outcome {
        self.ours("/v1/subscriptions", &[("customer", customer.to_owned())], owner).await
    }

    /// Cancels a subscription now.
    pub async fn cancel_subscription(&self, id: &str) -> Outcome {
        self.removed(self.client.delete(format!("{}/v1/subscriptions/{id}", self.url))).await
    }

    /// Lets a subscription end with its period, so that its last usage is invoiced as ever. Without an idempotency key: twice is
    /// as once, and under a key Stripe would repeat a failure for a day.
    pub async fn end_subscription(&self, id: &str) -> Outcome {
        let form = [("cancel_at_period_end", "true")];
        self.removed(self.client.post(format!("{}/v1/subscriptions/{id}", self.url)).form(&form)).await
    }

    async fn made(&self, path: &str, kind: &str, key: &str, form: &[(&str, &str)]) -> Outcome {
        let request = self.client.post(format!("{}{path}", self.url)).header("idempotency-key", key).form(form);
        match self.answered(request).await {
            Ok(body) => match serde_json::from_slice::<Object>(&body) {
                Ok(object) if object.object == kind && super::webhook::is_id(&object.id) => Outcome::Done(object.id),
                _ => Outcome::Unsure(format!("the answer to {path} is no {kind}: somebody else answers")),
            },
            // Something that the request names is missing.
            Err(Outcome::Missing) => Outcome::Refused(format!("Stripe knows something of the new {kind} no more")),
            Err(outcome) => outcome,
        }
    }

    async fn removed(&self, request: reqwest::RequestBuilder) -> Outcome {
        match self.answered(request).await {
            Ok(body) => match serde_json::from_slice::<Object>(&body) {
                Ok(object) => Outcome::Done(object.id),
                Err(_) => Outcome::Unsure("the answer is not Stripe's: somebody else answers".to_owned()),
            },
            Err(outcome) => outcome,
        }
    }

    /// Reads a list to its end: an object on its last page counts as any other.
    async fn ours(&self, path: &str, query: &[(&str, String)], owner: Owner<'_>) -> Outcome {
        let mut cursor: Option<String> = None;
        for _ in 0..PAGES_MAX {
            let mut query = query.to_vec();
            query.push(("limit", PAGE.to_owned()));
            query.extend(cursor.take().map(|last| ("starting_after", last)));
            let Objects { data, has_more } = match self.objects(path, &query).await {
                Ok(found) => found,
                Err(outcome) => return outcome,
            };
            cursor = data.last().map(|object| object.id.clone());
            let found = first(data.into_iter().filter(|object| object.is_of("weir_provisioning", owner.provisioning)));
            if found != Outcome::Missing || !has_more {
                return found;
            }
        }
        Outcome::Unsure(format!("{path} has more than {PAGES_MAX} pages"))
    }

    async fn objects(&self, path: &str, query: &[(&str, String)]) -> Result<Objects, Outcome> {
        let body = self.answered(self.client.get(format!("{}{path}", self.url)).query(query)).await?;
        let wrong = |_| Outcome::Unsure(format!("the answer to {path} is no list: somebody else answers"));
        serde_json::from_slice(&body).map_err(wrong)
    }

    async fn answered(&self, request: reqwest::RequestBuilder) -> Result<Vec<u8>, Outcome> {
        if let Some((pacer, per_second)) = &self.pace {
            tokio::time::sleep(pacer.slot(*per_second)).await;
        }
        let unsure = |error: reqwest::Error| Outcome::Unsure(lost(&error).detail);
        let response = request.send().await.map_err(unsure)?;
        let (status, head) = (response.status().as_u16(), wire::Head::of(response.headers()));
        let Some(body) = body::read(response, body::ASKED_MAX_BYTES).await.map_err(unsure)? else {
            return Err(Outcome::Unsure("the answer is longer than any of Stripe's".to_owned()));
        };
        if (200..300).contains(&status) { Ok(body) } else { Err(failed(status, &head, &body)) }
    }
}

fn first(mut found: impl Iterator<Item = Object>) -> Outcome {
    match found.find(|object| object.is_live() && super::webhook::is_id(&object.id)) {
        Some(object) => Outcome::Done(object.id),
        None => Outcome::Missing,
    }
}

/// What a failure says about the work.
fn failed(status: u16, head: &wire::Head, body: &[u8]) -> Outcome {
    let detail = wire::message(status, head, body).detail;
    let Some(code) = wire::error_code(body) else { return Outcome::Unsure(detail) };
    match (status, code.as_str()) {
        (500.., _) => Outcome::Broken(detail),
        (_, "lock_timeout" | "rate_limit" | "idempotency_key_in_use") => Outcome::Unsure(detail),
        (404, _) => Outcome::Missing,
        // A wrong key says nothing about an earlier call.
        (401 | 403 | 429, _) => Outcome::Unsure(detail),
        (400 | 402, _) if head.should_retry != Some(true) => Outcome::Refused(detail),
        // Among them 408, 409 and 424: the work may have been done before it failed.
        _ => Outcome::Broken(detail),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(kind: &str, code: &str) -> Vec<u8> {
        serde_json::json!({"error": {"type": kind, "code": code, "message": "no"}}).to_string().into_bytes()
    }

    #[test]
    fn only_stripes_own_failure_uses_a_key_up_and_only_its_own_refusal_is_final() {
        let of = |status, body: &[u8]| failed(status, &wire::Head::default(), body);
        for status in [408, 409, 424, 500, 503] {
            assert!(matches!(of(status, &error("api_error", "")), Outcome::Broken(_)), "{status}");
        }
        assert!(matches!(of(400, &error("invalid_request_error", "resource_missing")), Outcome::Refused(_)));
        assert_eq!(of(404, &error("invalid_request_error", "resource_missing")), Outcome::Missing);
        for (status, body) in [
            (502, b"<html>".to_vec()),
            (400, b"{}".to_vec()),
            (404, b"nginx".to_vec()),
            (401, error("invalid_request_error", "")),
            (403, error("invalid_request_error", "")),
            (409, error("idempotency_error", "idempotency_key_in_use")),
            (429, error("invalid_request_error", "rate_limit")),
            (400, error("invalid_request_error", "lock_timeout")),
        ] {
            assert!(matches!(of(status, &body), Outcome::Unsure(_)), "{status}");
        }
    }
}

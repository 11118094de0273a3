//! Requests to Stripe other than meter events: the account, the meters and their sums.
use std::collections::BTreeSet;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use weir_contract::Timestamp;
use weir_contract::time::HOUR_MS;

use super::webhook::is_id;
use super::{StripeSink, body, wire};
use weir_billing::{Account, ProviderMessage, RequestError, Summary};
use weir_contract::whole::whole;

/// Stripe's largest page.
const PAGE: u32 = 100;
/// The most pages read: room for a quarter's hours, or 5,000 meters.
const PAGES_MAX: usize = 50;

#[derive(Debug, Deserialize)]
struct AccountBody {
    id: String,
}

#[derive(Debug, Deserialize)]
struct Page<T> {
    #[serde(default)]
    object: ListObject,
    data: Vec<T>,
    has_more: bool,
}

/// The name in every list of Stripe. Without it, another service's empty list would mean that Stripe accepted nothing.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ListObject {
    #[default]
    List,
}

#[derive(Debug, Deserialize)]
struct MeterBody {
    id: String,
    event_name: String,
    #[serde(default)]
    status: String,
}

#[derive(Debug, Deserialize)]
struct SummaryBody {
    id: String,
    start_time: u64,
    /// Stripe sends a floating-point number. Weir reads its text, so that a sum that is not whole is never rounded.
    aggregated_value: serde_json::Number,
}

pub(super) trait Named {
    fn id(&self) -> &str;
}

impl Named for MeterBody {
    fn id(&self) -> &str {
        &self.id
    }
}

impl Named for SummaryBody {
    fn id(&self) -> &str {
        &self.id
    }
}

impl StripeSink {
    /// `GET /v1/account`.
    pub(super) async fn fetch_account(&self) -> Result<Account, RequestError> {
        let body: AccountBody = self.get("/v1/account", &[]).await?;
        if !body.id.starts_with("acct_") || !is_id(&body.id) {
            return Err(refused("the answer to /v1/account names no account: somebody else answers".to_owned()));
        }
        Ok(Account { id: body.id, livemode: self.account.livemode })
    }

    /// `GET /v1/billing/meters/{id}/event_summaries`, by the hour.
    pub(super) async fn fetch_summaries(
        &self,
        customer: &str,
        event_name: &str,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<Summary>, RequestError> {
        let path = format!("/v1/billing/meters/{}/event_summaries", self.meter_id(event_name).await?);
        let query = [
            ("customer", customer.to_owned()),
            ("start_time", from.as_secs().to_string()),
            ("end_time", to.as_secs().to_string()),
            ("value_grouping_window", "hour".to_owned()),
        ];
        let mut summaries = Vec::new();
        for body in self.list::<SummaryBody>(&path, &query).await? {
            let value = whole(&body.aggregated_value).ok_or_else(|| {
                refused(format!("the summary of {customer} is {}, no exact whole number", body.aggregated_value))
            })?;
            let hour = Timestamp::from_secs(body.start_time);
            if !hour.as_millis().is_multiple_of(HOUR_MS) || hour < from || hour >= to {
                return Err(refused(format!("a summary of the hours from {from} to {to} starts at {hour}")));
            }
            summaries.push(Summary { hour, value });
        }
        summaries.sort_by_key(|summary| summary.hour);
        Ok(summaries)
    }

    /// The id of the meter for events of this name: the active one, if there are several.
    async fn meter_id(&self, event_name: &str) -> Result<String, RequestError> {
        if let Some(id) = self.meter_ids.lock().await.get(event_name) {
            return Ok(id.clone());
        }
        let mut meters = self.list::<MeterBody>("/v1/billing/meters", &[]).await?;
        meters.sort_by_key(|meter| meter.status == "active");
        let mut known = self.meter_ids.lock().await;
        known.extend(meters.into_iter().map(|meter| (meter.event_name, meter.id)));
        known.get(event_name).cloned().ok_or_else(|| refused(format!("Stripe has no meter for events {event_name:?}")))
    }

    /// Reads all pages of `GET path`.
    pub(super) async fn list<T: DeserializeOwned + Named>(
        &self,
        path: &str,
        query: &[(&str, String)],
    ) -> Result<Vec<T>, RequestError> {
        let (mut all, mut cursor) = (Vec::new(), None);
        for _ in 0..PAGES_MAX {
            let (page, next) = self.page(path, query, cursor).await?;
            all.extend::<Vec<T>>(page);
            if next.is_none() {
                return Ok(all);
            }
            cursor = next;
        }
        Err(refused(format!("{path} has more than {PAGES_MAX} pages; none of it is used")))
    }

    /// Reads the page of `GET path` after `cursor`. Returns it with the cursor of the next page, if there is one.
    pub(super) async fn page<T: DeserializeOwned + Named>(
        &self,
        path: &str,
        query: &[(&str, String)],
        cursor: Option<String>,
    ) -> Result<(Vec<T>, Option<String>), RequestError> {
        let mut query = query.to_vec();
        query.push(("limit", PAGE.to_string()));
        query.extend(cursor.map(|last| ("starting_after", last)));
        let Page { object: ListObject::List, data, has_more } = self.get::<Page<T>>(path, &query).await?;
        let last = data.last().map(|last| last.id().to_owned());
        if has_more && last.is_none() {
            return Err(refused(format!("a page of {path} is empty, and more of them follow")));
        }
        Ok((data, last.filter(|_| has_more)))
    }

    /// Stripe's ids of all meters, active or not, that take events of these names.
    pub(super) async fn meters_named(&self, names: &BTreeSet<String>) -> Result<BTreeSet<String>, RequestError> {
        let meters = self.list::<MeterBody>("/v1/billing/meters", &[]).await?;
        Ok(meters.into_iter().filter(|meter| names.contains(&meter.event_name)).map(|meter| meter.id).collect())
    }

    /// `GET path`.
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, String)],
    ) -> Result<T, RequestError> {
        self.answer(path, self.client.get(format!("{}{path}", self.url)).query(query)).await
    }

    /// `POST path` with a form, under an idempotency key: a repeat has no second effect.
    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        key: &str,
        form: &[(&str, &str)],
    ) -> Result<T, RequestError> {
        let request = self.client.post(format!("{}{path}", self.url)).header("idempotency-key", key).form(form);
        self.answer(path, request).await
    }

    async fn answer<T: DeserializeOwned>(
        &self,
        path: &str,
        request: reqwest::RequestBuilder,
    ) -> Result<T, RequestError> {
        if let Some((pacer, per_second)) = &self.pace {
            tokio::time::sleep(pacer.slot(*per_second)).await;
        }
        let lost = |error: reqwest::Error| RequestError::Unavailable(super::lost(&error));
        let response = request.send().await.map_err(lost)?;
        let (status, head) = (response.status().as_u16(), wire::Head::of(response.headers()));
        let Some(body) = body::read(response, body::ASKED_MAX_BYTES).await.map_err(lost)? else {
            let problem = format!("the answer to {path} is longer than {} bytes", body::ASKED_MAX_BYTES);
            return Err(refused(problem));
        };
        answered(status, &head, &body)?;
        serde_json::from_slice(&body).map_err(|error| refused(format!("Stripe's answer to {path}: {error}")))
    }
}

fn answered(status: u16, head: &wire::Head, body: &[u8]) -> Result<(), RequestError> {
    if (200..300).contains(&status) {
        return Ok(());
    }
    let message = wire::message(status, head, body);
    let again = status >= 500 || matches!(status, 409 | 429) || head.should_retry == Some(true);
    Err(match status {
        _ if again => RequestError::Unavailable(message),
        403 => RequestError::Forbidden(message),
        _ => RequestError::Refused(message),
    })
}

pub(super) fn refused(detail: String) -> RequestError {
    RequestError::Refused(ProviderMessage { detail: wire::shorten(&detail), request_id: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_is_read_exactly_or_not_at_all() {
        let number = |text: &str| whole(&serde_json::from_str(text).expect("a number"));
        assert_eq!(number("12"), Some(12));
        assert_eq!(number("12.0"), Some(12));
        assert_eq!(number("-999999999999999.0"), Some(-999_999_999_999_999));
        assert_eq!(number("12.5"), None);
        assert_eq!(number("9007199254740993.0"), None, "a double cannot tell it from its neighbour");
        assert_eq!(number("1e300"), None);
    }
}

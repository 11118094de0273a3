//! Where tenants' billing periods begin, as Stripe has it: in the items of live subscriptions whose price has a meter of ours.
//!
//! Seats and fees beside it, in the same subscription or another, say nothing about when usage is billed.
use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};
use weir_contract::Timestamp;

use super::StripeSink;
use super::requests::{Named, refused};
use weir_billing::RequestError;
use weir_ledger::LedgerError;
use weir_ledger::periods::{Anchor, Interval};
use weir_ledger::thread::LedgerHandle;

/// Subscriptions that bill usage, or will: all but those that never began and those that ended.
const LIVE: [&str; 5] = ["active", "trialing", "past_due", "unpaid", "paused"];
/// The most pages of subscriptions that one look-up reads, each of a hundred. More are an error, not cut off.
const SUBSCRIPTION_PAGES_MAX: usize = 10_000;

/// Where the billing periods of a subscription's metered item begin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Periods {
    /// Stripe's name of the subscription.
    pub subscription: String,
    /// The customer.
    pub customer: String,
    /// The beginning of one of its periods.
    pub anchor: Timestamp,
    /// How long a period is: `day`, `week`, `month`, `year`.
    pub interval: String,
    /// Weir does not support periods of several intervals; the tenants file must give their anchor.
    pub interval_count: u64,
}

impl Periods {
    /// As weir cuts windows by it, if it can.
    fn anchor(&self) -> Option<Anchor> {
        (self.interval_count == 1).then_some(Anchor { at: self.anchor, interval: interval(&self.interval)? })
    }
}

/// A tenant whose billing periods do not follow from subscriptions.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Undecided {
    /// The tenant.
    pub tenant: String,
    /// Its customer.
    pub customer: String,
    /// Why, and what to do.
    pub problem: String,
}

/// Billing periods as Stripe has them.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    /// The number of subscriptions read.
    pub(super) subscriptions: u64,
    /// The metered items of the customers asked for.
    pub(super) periods: Vec<Periods>,
}

/// What is noted of them, by tenant.
#[derive(Clone, Debug, Default)]
pub(super) struct Decided {
    pub(super) anchors: Vec<(String, Anchor)>,
    pub(super) undecided: Vec<Undecided>,
    /// Tenants whose customer has no live subscription to a price with one of our meters, so that their usage bills nobody.
    pub(super) unpriced: Vec<String>,
}

impl Found {
    /// Decides the anchors of the tenants in `customers`. `now` reveals which anchors mean the same in different words.
    pub(super) fn decide(&self, customers: &HashMap<String, String>, now: Timestamp) -> Decided {
        let mut of: BTreeMap<&str, Vec<&Periods>> = BTreeMap::new();
        for periods in &self.periods {
            of.entry(&periods.customer).or_default().push(periods);
        }
        let mut decided = Decided::default();
        for (tenant, customer) in customers.iter().collect::<BTreeMap<_, _>>() {
            match of.get(customer.as_str()).map(|all| common(all, now)) {
                None => decided.unpriced.push(tenant.clone()),
                Some(Ok(anchor)) => decided.anchors.push((tenant.clone(), anchor)),
                Some(Err(problem)) => {
                    let (tenant, customer) = (tenant.clone(), customer.clone());
                    decided.undecided.push(Undecided { tenant, customer, problem });
                }
            }
        }
        decided
    }
}

/// The one anchor that all items share.
fn common(all: &[&Periods], now: Timestamp) -> Result<Anchor, String> {
    const SAY: &str = "say in the tenants file where periods begin (billing_anchor, billing_interval)";
    let mut known: Option<(Anchor, &str)> = None;
    for periods in all {
        let Some(anchor) = periods.anchor() else {
            let Periods { subscription, interval, interval_count, .. } = periods;
            return Err(format!(
                "{subscription} bills every {interval_count} × {interval}, which weir does not know; {SAY}"
            ));
        };
        match known {
            Some((first, of)) if first.interval != anchor.interval || first.period(now) != anchor.period(now) => {
                let other = &periods.subscription;
                return Err(format!("items of {of} and {other} with meters of weir begin their periods apart; {SAY}"));
            }
            Some(_) => {}
            None => known = Some((anchor, &periods.subscription)),
        }
    }
    known.map(|(anchor, _)| anchor).ok_or_else(|| SAY.to_owned())
}

fn interval(word: &str) -> Option<Interval> {
    serde_json::from_value(word.into()).ok()
}

#[derive(Debug, Deserialize)]
struct Subscription {
    id: String,
    customer: CustomerRef,
    status: String,
    billing_cycle_anchor: u64,
    #[serde(default)]
    items: Items,
}

/// A customer's id, alone or in the whole customer.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum CustomerRef {
    Id(String),
    Whole { id: String },
}

#[derive(Debug, Default, Deserialize)]
struct Items {
    data: Vec<Item>,
    #[serde(default)]
    has_more: bool,
}

#[derive(Debug, Deserialize)]
struct Item {
    id: String,
    price: Price,
    #[serde(default)]
    current_period_end: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct Price {
    #[serde(default)]
    recurring: Option<Recurring>,
}

#[derive(Debug, Deserialize)]
struct Recurring {
    interval: String,
    #[serde(default)]
    interval_count: u64,
    #[serde(default)]
    meter: Option<String>,
}

impl Named for Subscription {
    fn id(&self) -> &str {
        &self.id
    }
}

impl Named for Item {
    fn id(&self) -> &str {
        &self.id
    }
}

impl Subscription {
    fn customer(&self) -> &str {
        match &self.customer {
            CustomerRef::Id(id) | CustomerRef::Whole { id } => id,
        }
    }

    fn is_live(&self) -> bool {
        LIVE.contains(&self.status.as_str())
    }

    /// The periods of an item, if its price has one of `meters`.
    fn periods(&self, item: &Item, meters: &BTreeSet<String>) -> Option<Periods> {
        let recurring = item.price.recurring.as_ref()?;
        recurring.meter.as_ref().filter(|meter| meters.contains(*meter))?;
        Some(Periods {
            subscription: self.id.clone(),
            customer: self.customer().to_owned(),
            anchor: self.anchor(item, recurring),
            interval: recurring.interval.clone(),
            interval_count: recurring.interval_count.max(1),
        })
    }

    /// The beginning of one of the item's periods: the subscription's anchor if it agrees with the item's periods, because it
    /// keeps the 31st in February, too; otherwise the end of the item's own period.
    fn anchor(&self, item: &Item, recurring: &Recurring) -> Timestamp {
        let whole = Timestamp::from_secs(self.billing_cycle_anchor);
        let Some(end) = item.current_period_end.map(Timestamp::from_secs) else { return whole };
        let same = interval(&recurring.interval)
            .filter(|_| recurring.interval_count <= 1)
            .is_some_and(|interval| Anchor { at: whole, interval }.period(end).start == end);
        if same { whole } else { end }
    }
}

impl StripeSink {
    /// Reads the periods of the items that have one of `meters` (Stripe's ids) and belong to one of `customers`, or to `only`
    /// if given.
    pub(super) async fn fetch_periods(
        &self,
        meters: &BTreeSet<String>,
        customers: &BTreeSet<&str>,
        only: Option<&str>,
    ) -> Result<Found, RequestError> {
        let query: Vec<(&str, String)> = only.map(|customer| ("customer", customer.to_owned())).into_iter().collect();
        let mut found = Found::default();
        let mut cursor = None;
        for _ in 0..SUBSCRIPTION_PAGES_MAX {
            // Without a status Stripe lists all that were not canceled.
            let (page, next) = self.page::<Subscription>("/v1/subscriptions", &query, cursor).await?;
            for mut subscription in page.into_iter().filter(Subscription::is_live) {
                found.subscriptions += 1;
                if customers.contains(subscription.customer()) {
                    self.complete(&mut subscription).await?;
                    let items = &subscription.items.data;
                    found.periods.extend(items.iter().filter_map(|item| subscription.periods(item, meters)));
                }
            }
            let Some(next) = next else { return Ok(found) };
            cursor = Some(next);
        }
        let problem = format!(
            "there are more than {SUBSCRIPTION_PAGES_MAX} pages of subscriptions, and none of them is noted; say in the \
             tenants file where periods begin (billing_anchor)"
        );
        Err(refused(problem))
    }

    /// Reads all items of a subscription: Stripe lists only the first of them with it.
    async fn complete(&self, subscription: &mut Subscription) -> Result<(), RequestError> {
        if subscription.items.has_more {
            let query = [("subscription", subscription.id.clone())];
            subscription.items = Items { data: self.list("/v1/subscription_items", &query).await?, has_more: false };
        }
        Ok(())
    }
}

/// What a refresh did.
#[derive(Clone, Debug, Default)]
pub struct Refreshed {
    /// Tenants whose billing periods are known by subscriptions.
    pub noted: u64,
    /// Tenants whose subscriptions contradict each other, and whose entry in the tenants file has no anchor.
    pub undecided: Vec<Undecided>,
}

/// Records where tenants' billing periods begin according to Stripe, for all customers or for `only` one. `in_file` has the
/// anchors of the tenants file, which take precedence.
pub async fn refresh(
    sink: &StripeSink,
    ledger: &LedgerHandle,
    names: &BTreeSet<String>,
    customers: &HashMap<String, String>,
    in_file: &HashMap<String, Anchor>,
    only: Option<&str>,
    now: Timestamp,
) -> Result<Refreshed, RefreshError> {
    let asked: HashMap<String, String> = customers
        .iter()
        .filter(|(_, customer)| only.is_none_or(|only| only == customer.as_str()))
        .map(|(tenant, customer)| (tenant.clone(), customer.clone()))
        .collect();
    if asked.is_empty() {
        return Ok(Refreshed::default());
    }
    let meters = sink.meters_named(names).await?;
    let found = sink.fetch_periods(&meters, &asked.values().map(String::as_str).collect(), only).await?;
    let Decided { anchors, mut undecided, .. } = found.decide(&asked, now);
    undecided.retain(|undecided| !in_file.contains_key(&undecided.tenant));
    let noted = anchors.len() as u64;
    ledger.call(move |ledger| ledger.note_provider_anchors(&anchors, now)).await?;
    Ok(Refreshed { noted, undecided })
}

/// Why billing periods were not refreshed.
#[derive(Debug, thiserror::Error)]
pub enum RefreshError {
    /// Stripe did not say what it was asked.
    #[error("Stripe: {0}")]
    Request(#[from] RequestError),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn time(text: &str) -> Timestamp {
        Timestamp::parse(text).expect("a time")
    }

    fn item(meter: Value, interval: &str, more: Value) -> Value {
        let mut item =
            json!({"id": "si_1", "price": {"recurring": {"interval": interval, "interval_count": 1, "meter": meter}}});
        item.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        item
    }

    fn found(subscriptions: &[Value]) -> Found {
        let meters = ["mtr_1".to_owned()].into();
        let subscriptions: Vec<Subscription> =
            subscriptions.iter().map(|value| serde_json::from_value(value.clone()).expect("a subscription")).collect();
        let periods = subscriptions.iter().flat_map(|subscription| {
            subscription.items.data.iter().filter_map(|item| subscription.periods(item, &meters)).collect::<Vec<_>>()
        });
        Found { subscriptions: subscriptions.len() as u64, periods: periods.collect() }
    }

    fn subscription(id: &str, anchor: &str, items: &[Value]) -> Value {
        json!({"id": id, "customer": "cus_1", "status": "active", "billing_cycle_anchor": time(anchor).as_secs(),
               "items": {"data": items}})
    }

    fn decide(found: &Found) -> Decided {
        found.decide(&[("acme".to_owned(), "cus_1".to_owned())].into(), time("2026-11-20T00:00:00Z"))
    }

    #[test]
    fn the_item_with_our_meter_decides_and_seats_and_fees_say_nothing() {
        let yearly_fee = item(Value::Null, "year", json!({}));
        let other_meter = item("mtr_2".into(), "week", json!({}));
        let ours = item("mtr_1".into(), "month", json!({}));
        let metered = subscription("sub_1", "2026-01-31T10:37:22Z", &[yearly_fee, other_meter, ours]);
        let seats = subscription("sub_2", "2026-05-05T05:05:05Z", &[item(Value::Null, "month", json!({}))]);
        let decided = decide(&found(&[seats, metered]));
        let wanted = Anchor { at: time("2026-01-31T10:37:22Z"), interval: Interval::Month };
        assert_eq!(decided.anchors, [("acme".to_owned(), wanted)]);
        assert_eq!(decided.unpriced, [""; 0]);
    }

    #[test]
    fn an_item_with_periods_of_its_own_is_taken_at_its_word() {
        let end = time("2026-11-25T08:00:00Z");
        let own = item("mtr_1".into(), "week", json!({"current_period_end": end.as_secs()}));
        let decided = decide(&found(&[subscription("sub_1", "2026-01-01T00:00:00Z", &[own])]));
        assert_eq!(decided.anchors, [("acme".to_owned(), Anchor { at: end, interval: Interval::Week })]);
        let february = time("2026-02-28T10:00:00Z");
        let short = item("mtr_1".into(), "month", json!({"current_period_end": february.as_secs()}));
        let decided = decide(&found(&[subscription("sub_1", "2025-12-31T10:00:00Z", &[short])]));
        let wanted = Anchor { at: time("2025-12-31T10:00:00Z"), interval: Interval::Month };
        assert_eq!(decided.anchors, [("acme".to_owned(), wanted)], "the 31st stays the 31st");
    }

    #[test]
    fn subscriptions_that_agree_are_one_and_those_that_do_not_are_told() {
        let ours = || item("mtr_1".into(), "month", json!({}));
        let first = subscription("sub_1", "2026-01-15T10:00:00Z", &[ours()]);
        let same = subscription("sub_2", "2026-06-15T10:00:00Z", &[ours()]);
        assert_eq!(decide(&found(&[first.clone(), same])).anchors.len(), 1);
        let apart = subscription("sub_3", "2026-06-16T10:00:00Z", &[ours()]);
        let decided = decide(&found(&[first, apart]));
        assert_eq!(decided.anchors, []);
        let [undecided] = decided.undecided.as_slice() else { panic!("one: {decided:?}") };
        let problem = &undecided.problem;
        assert!(
            problem.contains("sub_1") && problem.contains("sub_3") && problem.contains("billing_anchor"),
            "{problem}"
        );
    }

    #[test]
    fn periods_of_several_intervals_and_customers_without_a_price_are_told() {
        let mut quarterly = item("mtr_1".into(), "month", json!({}));
        quarterly["price"]["recurring"]["interval_count"] = 3.into();
        let decided = decide(&found(&[subscription("sub_1", "2026-01-15T10:00:00Z", &[quarterly])]));
        assert!(decided.undecided[0].problem.contains("every 3 × month"), "{decided:?}");
        assert_eq!(decide(&found(&[])).unpriced, ["acme"]);
    }

    #[test]
    fn every_subscription_that_bills_is_live() {
        for (status, live) in [
            ("active", true),
            ("trialing", true),
            ("past_due", true),
            ("unpaid", true),
            ("paused", true),
            ("canceled", false),
            ("incomplete", false),
            ("incomplete_expired", false),
        ] {
            let mut value = subscription("sub_1", "2026-01-15T10:00:00Z", &[]);
            value["status"] = status.into();
            let subscription: Subscription = serde_json::from_value(value).expect("a subscription");
            assert_eq!(subscription.is_live(), live, "{status}");
        }
    }
}

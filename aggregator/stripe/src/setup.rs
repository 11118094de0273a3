//! `weir stripe setup`: checks and makes meters, and notes where subscriptions begin their billing periods.
use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};
use weir_contract::Timestamp;

use super::StripeSink;
use super::ask::Named;
use super::webhook::{FullEvent, is_id};
use weir_billing::{Account, AskError, BillingSink};
use weir_ledger::LedgerError;
use weir_ledger::periods::{Anchor, note_provider_anchors};
use weir_ledger::thread::LedgerHandle;

/// The names of customer and value in the events that weir sends.
const CUSTOMER_KEY: &str = "stripe_customer_id";
const VALUE_KEY: &str = "value";
/// Seconds in an hour. A billing period that begins on a full hour never splits a window.
const HOUR_SECS: u64 = 3_600;

/// The state of a configured meter at Stripe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum MeterState {
    /// The meter is as required.
    Good {
        /// Stripe's id of the meter.
        id: String,
    },
    /// The meter does not exist; `--apply` creates it.
    Missing,
    /// The meter was just created.
    Created {
        /// Stripe's id of the meter.
        id: String,
    },
    /// The meter exists and cannot be used.
    Wrong {
        /// Stripe's id of the meter.
        id: String,
        /// The problem and its remedy.
        problem: String,
    },
}

/// The billing periods of a subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Periods {
    /// Stripe's id of the subscription.
    pub subscription: String,
    /// The customer.
    pub customer: String,
    /// The beginning of one of its periods.
    pub anchor: Timestamp,
    /// The length of a period: `day`, `week`, `month`, `year`.
    pub interval: String,
    /// Intervals per period. Weir supports one; for others the tenants file must name the anchor.
    pub interval_count: u64,
}

/// The result of a setup.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetupView {
    /// The account and its mode.
    pub account: String,
    /// True if changes were made; never without `--apply`.
    pub applied: bool,
    /// Stripe's meters that the configuration names, and their state.
    pub meters: BTreeMap<String, MeterState>,
    /// Subscriptions of tenants' customers with anchors in the middle of an hour.
    pub unaligned: Vec<Periods>,
    /// The number of tenants whose billing periods were stored. The tenants file takes precedence.
    pub noted: u64,
    /// The periods of every tenant's customer.
    #[serde(skip)]
    periods: Vec<Periods>,
    /// The number of subscriptions checked.
    pub subscriptions: u64,
}

impl SetupView {
    /// Billing anchors by tenant, given each tenant's customer. Includes tenants whose subscriptions agree on one
    /// supported anchor.
    pub fn anchors(&self, customers: &HashMap<String, String>) -> Vec<(String, Anchor)> {
        let anchor = |customer: &String| {
            let mut of = self.periods.iter().filter(|periods| periods.customer == *customer).map(Periods::anchor);
            let first = of.next()??;
            of.all(|other| other == Some(first)).then_some(first)
        };
        customers.iter().filter_map(|(tenant, customer)| Some((tenant.clone(), anchor(customer)?))).collect()
    }

    /// Returns true if something is left to do.
    pub fn needs_work(&self) -> bool {
        self.meters.values().any(|state| matches!(state, MeterState::Missing | MeterState::Wrong { .. }))
    }
}

impl Periods {
    fn anchor(&self) -> Option<Anchor> {
        let interval = serde_json::from_value(self.interval.clone().into()).ok()?;
        (self.interval_count == 1).then_some(Anchor { at: self.anchor, interval })
    }
}

/// Checks meters and subscriptions. If told to apply, creates missing meters and stores tenants' billing periods.
pub async fn run(
    sink: &StripeSink,
    ledger: &LedgerHandle,
    names: &BTreeSet<String>,
    customers: &HashMap<String, String>,
    request: SetupRequest,
) -> Result<SetupView, SetupError> {
    let configured = &sink.account;
    let account = match sink.identify().await {
        // A restricted key may lack the right to read its account.
        Err(AskError::Forbidden(_)) => configured.clone(),
        message => message?,
    };
    if !configured.id.is_empty() && configured.id != account.id {
        return Err(SetupError::Account { key: account, configured: configured.id.clone() });
    }
    let of_tenants = customers.values().cloned().collect();
    let mut view = sink.setup(account.to_string(), names, &of_tenants, request.apply).await?;
    if request.apply {
        let anchors = view.anchors(customers);
        view.noted = anchors.len() as u64;
        ledger.call(move |ledger| ledger.durably(|db| note_provider_anchors(db, &anchors))).await?;
    }
    Ok(view)
}

/// Body of `POST /v1/stripe/setup`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetupRequest {
    /// True to create missing meters.
    #[serde(default)]
    pub apply: bool,
}

/// Why a setup fails.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// Stripe did not answer a question.
    #[error("Stripe: {0}")]
    Ask(#[from] AskError),
    /// The ledger cannot be written.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The key belongs to another account than the configuration names.
    #[error("the key is of {key}, and `stripe.account` says {configured}: use that account's key")]
    Account {
        /// The key's account.
        key: Account,
        /// The configured account.
        configured: String,
    },
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
    /// The reason why the meter cannot be used, if any.
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
    /// Checks the meters `names`. If told to `apply`, creates the missing ones.
    async fn setup(
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
            if customers.contains(&subscription.customer) {
                view.periods.push(periods(subscription));
            }
        }
        let unaligned = |periods: &&Periods| !periods.anchor.as_secs().is_multiple_of(HOUR_SECS);
        view.unaligned = view.periods.iter().filter(unaligned).cloned().collect();
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

    /// The name of the events that a meter accepts.
    pub async fn event_name(&self, meter: &str) -> Result<String, AskError> {
        if !is_id(meter) {
            return Err(super::ask::refused(format!("{meter:?} is no id")));
        }
        Ok(self.get::<Meter>(&format!("/v1/billing/meters/{meter}"), &[]).await?.event_name)
    }

    /// Fetches the full event with the id of its thin form. The caller has checked the id.
    pub async fn core_event(&self, id: &str) -> Result<FullEvent, AskError> {
        self.get(&format!("/v2/core/events/{id}"), &[]).await
    }
}

fn periods(subscription: Subscription) -> Periods {
    let recurring = subscription.items.data.into_iter().find_map(|item| item.price.recurring);
    let (interval, interval_count) =
        recurring.map_or(("month".to_owned(), 1), |recurring| (recurring.interval, recurring.interval_count.max(1)));
    Periods {
        subscription: subscription.id,
        customer: subscription.customer,
        anchor: Timestamp::from_secs(subscription.billing_cycle_anchor),
        interval,
        interval_count,
    }
}

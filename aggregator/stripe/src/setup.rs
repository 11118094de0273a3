//! `weir stripe setup`: checks and makes meters, and notes where subscriptions begin their billing periods.
use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};
use weir_contract::Timestamp;

use super::StripeSink;
use super::requests::Named;
use super::subscriptions::{Periods, Undecided};
use super::webhook::is_id;
use super::wire::shorten;
use weir_billing::{Account, BillingSink, RequestError};
use weir_ledger::LedgerError;
use weir_ledger::periods::Anchor;
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

/// What was found, and made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetupView {
    /// The account and its mode.
    pub account: String,
    /// True if changes were made; never without `--apply`.
    pub applied: bool,
    /// Stripe's meters that the configuration names, and their state.
    pub meters: BTreeMap<String, MeterState>,
    /// Metered items of tenants' customers with anchors in the middle of an hour.
    pub unaligned: Vec<Periods>,
    /// The number of tenants whose billing periods were stored. The tenants file takes precedence.
    pub noted: u64,
    /// Tenants whose billing periods do not follow from subscriptions, and of which the tenants file says nothing.
    #[serde(default)]
    pub undecided: Vec<Undecided>,
    /// Tenants whose customer has no live subscription to a price with one of these meters: their usage bills nobody.
    #[serde(default)]
    pub unpriced: Vec<String>,
    /// Live subscriptions that were looked at.
    pub subscriptions: u64,
}

impl SetupView {
    /// Whether something is left to do.
    pub fn needs_work(&self) -> bool {
        let unusable = |state: &MeterState| matches!(state, MeterState::Missing | MeterState::Wrong { .. });
        self.meters.values().any(unusable) || !self.undecided.is_empty()
    }
}

/// Tenants, as far as setup needs them.
#[derive(Clone, Copy, Debug)]
pub struct SetupTenants<'a> {
    /// The customer of each that has one.
    pub customers: &'a HashMap<String, String>,
    /// Where billing periods begin of which the tenants file says so.
    pub anchors: &'a HashMap<String, Anchor>,
}

/// Checks meters and subscriptions. If told to apply, creates missing meters and stores tenants' billing periods.
pub async fn run(
    sink: &StripeSink,
    ledger: &LedgerHandle,
    names: &BTreeSet<String>,
    tenants: SetupTenants<'_>,
    request: SetupRequest,
    now: Timestamp,
) -> Result<SetupView, SetupError> {
    let configured = &sink.account;
    let account = match sink.identify().await {
        // A restricted key may lack the right to read its account.
        Err(RequestError::Forbidden(_)) => configured.clone(),
        message => message?,
    };
    if !configured.id.is_empty() && configured.id != account.id {
        return Err(SetupError::Account { key: account, configured: configured.id.clone() });
    }
    let mut view = sink.setup(account.to_string(), names, request.apply).await?;
    let meters = sink.meters_named(names).await?;
    let customers = tenants.customers.values().map(String::as_str).collect();
    let found = sink.fetch_periods(&meters, &customers, None).await?;
    let decided = found.decide(tenants.customers, now);
    view.subscriptions = found.subscriptions;
    view.unaligned =
        found.periods.into_iter().filter(|periods| !periods.anchor.as_secs().is_multiple_of(HOUR_SECS)).collect();
    view.undecided = decided.undecided;
    view.undecided.retain(|undecided| !tenants.anchors.contains_key(&undecided.tenant));
    view.unpriced = decided.unpriced;
    if request.apply {
        view.noted = decided.anchors.len() as u64;
        ledger.call(move |ledger| ledger.note_provider_anchors(&decided.anchors, now)).await?;
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
    Request(#[from] RequestError),
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

impl Named for Meter {
    fn id(&self) -> &str {
        &self.id
    }
}

impl Meter {
    /// The reason why the meter cannot be used, if any.
    fn problem(&self) -> Option<String> {
        const NEW: &str =
            "that cannot be changed: deactivate it and let setup make a new one, or configure another name";
        let wrong = |what: String| Some(format!("{}; {NEW}", shorten(&what)));
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
    async fn setup(&self, account: String, names: &BTreeSet<String>, apply: bool) -> Result<SetupView, RequestError> {
        let known = self.list::<Meter>("/v1/billing/meters", &[]).await?;
        let mut view = SetupView { account, applied: apply, ..SetupView::default() };
        for name in names {
            let named = || known.iter().filter(|meter| meter.event_name == *name);
            let found = named().find(|meter| meter.status == "active").or_else(|| named().next());
            let state = match (found.map(|meter| (shorten(&meter.id), meter.problem())), apply) {
                (Some((id, None)), _) => MeterState::Good { id },
                (Some((id, Some(problem))), _) => MeterState::Wrong { id, problem },
                (None, false) => MeterState::Missing,
                (None, true) => MeterState::Created { id: self.create_meter(name).await? },
            };
            view.meters.insert(name.clone(), state);
        }
        Ok(view)
    }

    async fn create_meter(&self, name: &str) -> Result<String, RequestError> {
        let form = [
            ("display_name", name),
            ("event_name", name),
            ("default_aggregation[formula]", "sum"),
            ("customer_mapping[type]", "by_id"),
            ("customer_mapping[event_payload_key]", CUSTOMER_KEY),
            ("value_settings[event_payload_key]", VALUE_KEY),
        ];
        let meter: Meter = self.post("/v1/billing/meters", &format!("weir-setup-{name}"), &form).await?;
        if meter.event_name == name {
            return Ok(shorten(&meter.id));
        }
        Err(super::requests::refused(format!("a meter {:?} was made, and {name:?} was asked for", meter.event_name)))
    }

    /// The name of the events that a meter accepts.
    pub async fn event_name(&self, meter: &str) -> Result<String, RequestError> {
        if !is_id(meter) {
            return Err(super::requests::refused(format!("{meter:?} is no id")));
        }
        Ok(self.get::<Meter>(&format!("/v1/billing/meters/{meter}"), &[]).await?.event_name)
    }

    /// A whole event, by the id that its thin form gave, as it comes. The caller has checked the id.
    pub async fn core_event(&self, id: &str) -> Result<serde_json::Value, RequestError> {
        self.get(&format!("/v2/core/events/{id}"), &[]).await
    }
}

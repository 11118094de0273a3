//! Tenants that come and go in one call: takes the requests, answers how far they are, and drives the sagas ([`drive`]).
pub(super) mod answers;
pub(super) mod drive;
mod messages;
mod perform;
pub(super) mod skip;
mod turns;
mod vectors;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use tokio::sync::{Notify, OwnedMutexGuard, watch};
use weir_contract::TenantId;
use weir_provisioning::{Answer, Kind, Phase, Planned, Saga, Step};
use weir_tenants::store::change::{By, ChangeError, Made, NewTenant};
use weir_tenants::store::provisioning::{FirstKeyKind, JournalEntry, JournalPage, NewProvisioning, Saved, check};
use weir_tenants::store::view::KeyView;
use weir_vector_guard::collection_of;
use zeroize::Zeroizing;

use super::App;
use super::auth::require;
use super::error::{ApiError, object};
use super::keys;
use super::tenants::{by, kept};
use crate::config::provisioning::{Provisioning, VectorStore};
use crate::config::tokens::{Scope, random_token};
use crate::provisioning::{
    DeprovisionRequest, JournalQuery, ProvisionRequest, ProvisioningState, ProvisioningView, Spec,
};

/// How long a caller waits for the end of a saga before it is answered how far it is.
const ANSWER_AFTER: Duration = Duration::from_secs(25);
/// The longest name and e-mail address of a customer, in characters: Stripe's bounds.
const NAME_MAX_CHARS: usize = 256;
const EMAIL_MAX_CHARS: usize = 512;
/// The characters of a saga's name: 128 random bits in hex.
const NAME_CHARS: usize = 32;

/// The most sagas whose keys nobody was told are remembered. The oldest are forgotten first: who asks then is told another key.
const REMEMBERED_MAX: usize = 10_000;

/// What drives sagas, and what only memory knows of them.
#[derive(Debug, Default)]
pub(super) struct InProgress {
    /// A saga was begun.
    begun: Notify,
    /// Sees every step of every saga.
    went_on: watch::Sender<()>,
    /// Sagas whose pauses are over, because the other side has come forward. The database bounds how many there are.
    woken: Mutex<HashSet<i64>>,
    /// Sagas that somebody reads, changes and writes just now, each behind a lock of its own.
    alone: Mutex<HashMap<i64, Arc<tokio::sync::Mutex<()>>>>,
    /// Keys that nobody was told yet, by saga, at most [`REMEMBERED_MAX`]. They are gone with the process.
    keys: Mutex<BTreeMap<i64, Vec<Zeroizing<String>>>>,
}

impl InProgress {
    /// Ends the pause of a saga.
    fn wake(&self, number: i64) {
        self.woken.lock().unwrap_or_else(PoisonError::into_inner).insert(number);
        self.begun.notify_one();
    }

    fn take_woken(&self) -> HashSet<i64> {
        std::mem::take(&mut *self.woken.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until nobody else works on a saga, and keeps others from it.
    async fn alone(&self, number: i64) -> OwnedMutexGuard<()> {
        let lock = {
            let mut locks = self.alone.lock().unwrap_or_else(PoisonError::into_inner);
            locks.retain(|_, lock| Arc::strong_count(lock) > 1);
            Arc::clone(locks.entry(number).or_default())
        };
        lock.lock_owned().await
    }

    fn remember(&self, number: i64, keys: Vec<Zeroizing<String>>) {
        let mut known = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(number, keys);
        if known.len() > REMEMBERED_MAX {
            known.pop_first();
        }
    }

    fn take(&self, number: i64) -> Option<Vec<Zeroizing<String>>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).remove(&number)
    }

    fn remembers(&self, number: i64) -> bool {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&number)
    }
}

pub(super) async fn post_provisioning(
    State(app): State<App>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let by = by(&app, &headers, require(&app, &headers, Scope::Operator)?.name)?;
    let request: ProvisionRequest = object(&body)?;
    check(&request.tenant, &first_keys(&request))?;
    check_texts(&request)?;
    let (spec, saga) = provision(&app, &request)?;
    let saved = begin(&app, "provision", &request.tenant.id, (spec, saga), first_keys(&request), &by).await?;
    let view = view_after(&app, saved.number).await?;
    let mut view = with_keys(&app, view, &saved, &by).await?;
    view.warnings.extend(app.0.seen.plan_warning(&request.tenant.plan, app.0.clock.now()));
    Ok(answer(view))
}

pub(super) async fn post_deprovisioning(
    State(app): State<App>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let by = by(&app, &headers, require(&app, &headers, Scope::Operator)?.name)?;
    let request: DeprovisionRequest = object(&body)?;
    let id = request.tenant.to_string();
    let came = kept(&app, move |store| store.provisioned(&id)).await?;
    let (spec, saga) = deprovision(&app, &request, came.as_ref())?;
    let saved = begin(&app, "deprovision", &request.tenant, (spec, saga), Vec::new(), &by).await?;
    let (saved, journal) = read(&app, saved.number, None).await?;
    Ok(answer(view(saved, journal)?))
}

pub(super) async fn get_provisioning(
    State(app): State<App>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Json<ProvisioningView>, ApiError> {
    require(&app, &headers, Scope::Viewer)?;
    let (saved, journal) = read(&app, 0, Some(id)).await?;
    view(saved, journal).map(Json)
}

pub(super) async fn get_journal(
    State(app): State<App>,
    headers: HeaderMap,
    Path(id): Path<String>,
    query: Result<Query<JournalQuery>, QueryRejection>,
) -> Result<Json<JournalPage>, ApiError> {
    require(&app, &headers, Scope::Viewer)?;
    let Query(query) = query.map_err(|error| ApiError::Request(error.body_text()))?;
    let page = kept(&app, move |store| store.journal(&id, query.cursor.as_deref(), query.limit)).await?;
    page.map(Json).ok_or_else(unknown)
}

fn unknown() -> ApiError {
    ApiError::Unknown("no provisioning of this tenant is known".to_owned())
}

/// A tenant that did not come is an error, which says why.
fn answer(view: ProvisioningView) -> Response {
    match (view.state, &view.failure) {
        (ProvisioningState::Done, _) => (StatusCode::CREATED, Json(view)).into_response(),
        (ProvisioningState::Undone, Some(failure)) => {
            let problem = format!("{}: {}; everything is taken back", failure.step, failure.why);
            ApiError::Report(problem).into_response()
        }
        _ => (StatusCode::ACCEPTED, Json(view)).into_response(),
    }
}

async fn begin(
    app: &App,
    kind: &'static str,
    tenant: &TenantId,
    (spec, saga): (Spec, Saga),
    keys: Vec<FirstKeyKind>,
    by: &By,
) -> Result<Saved, ApiError> {
    let internal = |error: serde_json::Error| ApiError::internal(&error);
    let spec = serde_json::to_value(&spec).map_err(internal)?;
    let (saga, tenant, by) = (serde_json::to_string(&saga).map_err(internal)?, tenant.clone(), by.clone());
    let begun = kept(app, move |store| {
        store.begin_provisioning(&NewProvisioning { tenant: &tenant, kind, spec: &spec, saga: &saga, keys }, &by)
    });
    let begun = begun.await?;
    app.0.in_progress.begun.notify_one();
    Ok(begun.saved)
}

/// Refuses texts that Stripe would refuse.
fn check_texts(request: &ProvisionRequest) -> Result<(), ApiError> {
    for (what, text, max) in [("name", &request.name, NAME_MAX_CHARS), ("email", &request.email, EMAIL_MAX_CHARS)] {
        if text.as_ref().is_some_and(|text| text.chars().count() > max) {
            return Err(ApiError::Request(format!("`{what}` has at most {max} characters")));
        }
    }
    Ok(())
}

/// The steps by which a tenant comes, as the configuration says now.
fn provision(app: &App, request: &ProvisionRequest) -> Result<(Spec, Saga), ApiError> {
    let settings = &app.0.provisioning;
    let tenant = &request.tenant;
    let isolation = tenant.placement.as_ref().and_then(|placement| placement.isolation);
    let billing = settings.stripe.as_ref();
    let prices = billing.and_then(|billing| billing.prices.get(&tenant.plan)).cloned().unwrap_or_default();
    let collection = settings.collection.as_ref().filter(|collection| collection.is_for(isolation));
    let collection =
        collection.map(|collection| name_of(collection.store, &tenant.id, &collection.name)).transpose()?;
    let environment = settings.environment.as_ref().filter(|environment| environment.is_for(isolation));
    let mut steps: Vec<Planned> = Vec::new();
    let mut add = |wanted: bool, step: Step| steps.extend(wanted.then(|| Planned::from(step)));
    add(billing.is_some() && tenant.stripe_customer.is_none(), Step::Customer);
    add(!prices.is_empty(), Step::Subscription);
    add(!first_keys(request).is_empty(), Step::Keys);
    add(collection.is_some(), Step::Collection);
    steps.extend(
        environment.map(|environment| Planned { step: Step::Environment, patience_ms: Some(environment.wait_ms) }),
    );
    steps.push(Step::Budgets.into());
    steps.extend(settings.webhook.as_ref().map(|_| Planned::from(Step::Welcome)));
    steps.push(Step::Publish.into());
    let spec = Spec {
        id: name()?,
        request: serde_json::to_value(request).map_err(|error| ApiError::internal(&error))?,
        prices,
        anchor: settings.anchor(tenant.billing_anchor, app.0.clock.now()),
        collection,
        subscription: None,
    };
    Ok((spec, Saga::new(Kind::Provision, steps)))
}

/// The steps by which a tenant goes: what it came with is taken away, as far as weir made it.
fn deprovision(app: &App, request: &DeprovisionRequest, came: Option<&Saved>) -> Result<(Spec, Saga), ApiError> {
    let settings: &Provisioning = &app.0.provisioning;
    let came = came.and_then(|came| serde_json::from_str::<Saga>(&came.saga).ok());
    let came_with = |step| came.as_ref().and_then(|saga| saga.came_with(step)).map(str::to_owned);
    let (subscription, collection) = (came_with(Step::Subscription), came_with(Step::Collection));
    let has_environment = |saga: &Saga| {
        let prepares = saga.steps().iter().any(|progress| progress.step == Step::Environment);
        prepares && *saga.phase() == Phase::Done
    };
    let had_environment = settings.environment.is_some() && came.as_ref().is_some_and(has_environment);
    let mut steps = vec![Step::Suspend, Step::Report];
    steps.extend(subscription.as_ref().map(|_| Step::EndSubscription));
    steps.push(Step::Retain);
    steps.extend(collection.as_ref().map(|_| Step::DropCollection));
    steps.extend(had_environment.then_some(Step::ReleaseEnvironment));
    steps.extend(settings.webhook.as_ref().map(|_| Step::Goodbye));
    steps.push(Step::Archive);
    let request = serde_json::to_value(request).map_err(|error| ApiError::internal(&error))?;
    let spec = Spec { id: name()?, request, prices: Vec::new(), anchor: None, collection, subscription };
    Ok((spec, Saga::new(Kind::Deprovision, steps.into_iter().map(Planned::from))))
}

fn name() -> Result<String, ApiError> {
    let mut name = random_token().map_err(|error| ApiError::internal(&error))?;
    name.truncate(NAME_CHARS);
    Ok(name)
}

/// The name of a tenant's collection in a store, as its guard writes it.
fn name_of(store: VectorStore, tenant: &TenantId, name: &str) -> Result<String, ApiError> {
    let wrong = || ApiError::Request(format!("tenant {tenant}: its id is too long for a collection's name"));
    let name = collection_of(tenant.as_str(), name).ok_or_else(wrong)?;
    vectors::name(store, &name).ok_or_else(wrong)
}

fn first_keys(request: &ProvisionRequest) -> Vec<FirstKeyKind> {
    let one = || vec![FirstKeyKind { id: "key-1".to_owned(), ..FirstKeyKind::default() }];
    request.keys.clone().unwrap_or_else(one)
}

/// Waits for the end of a saga, and no longer than a caller does.
async fn view_after(app: &App, number: i64) -> Result<ProvisioningView, ApiError> {
    let mut went_on = app.0.in_progress.went_on.subscribe();
    let waited = tokio::time::timeout(ANSWER_AFTER, async {
        loop {
            let (saved, journal) = read(app, number, None).await?;
            if !saved.open || went_on.changed().await.is_err() {
                return view(saved, journal);
            }
        }
    });
    match waited.await {
        Ok(view) => view,
        Err(_) => {
            let (saved, journal) = read(app, number, None).await?;
            view(saved, journal)
        }
    }
}

/// Tells the keys of a tenant that came, once. Keys that nobody was told and that a restart has lost are replaced.
async fn with_keys(
    app: &App,
    mut view: ProvisioningView,
    saved: &Saved,
    by: &By,
) -> Result<ProvisioningView, ApiError> {
    let number = saved.number;
    if view.state != ProvisioningState::Done || view.keys.is_empty() || view.keys.iter().any(|key| key.told) {
        return Ok(view);
    }
    if let Some(keys) = app.0.in_progress.take(number) {
        if kept(app, move |store| store.tell_first_keys(number)).await? {
            for (shown, key) in view.keys.iter_mut().zip(keys) {
                (shown.key, shown.told) = (Some(key.to_string()), true);
            }
        }
        return Ok(view);
    }
    let made = made(view.keys.len())?;
    let (tenant, by, others) = (saved.tenant.clone(), by.clone(), made.clone());
    let told = kept(app, move |store| store.replace_first_keys(&tenant, number, &others, &by)).await?;
    let Some(told) = told else { return Ok(view) };
    for (shown, (KeyView { id, .. }, made)) in view.keys.iter_mut().zip(told.into_iter().zip(made)) {
        (shown.id, shown.key, shown.told) = (id, Some(made.key), true);
    }
    Ok(view)
}

fn made(count: usize) -> Result<Vec<Made>, ApiError> {
    (0..count).map(|_| keys::make().map_err(|error| ApiError::internal(&error))).collect()
}

/// A saga by its number, or the latest one of a tenant.
async fn read(app: &App, number: i64, tenant: Option<String>) -> Result<(Saved, Vec<JournalEntry>), ApiError> {
    let found = kept(app, move |store| match tenant {
        Some(tenant) => store.provisioning_of(&tenant),
        None => Ok(store.provisioning(number)?.map(|saved| (saved, Vec::new()))),
    });
    found.await?.ok_or_else(unknown)
}

fn view(saved: Saved, journal: Vec<JournalEntry>) -> Result<ProvisioningView, ApiError> {
    let saga: Saga = serde_json::from_str(&saved.saga).map_err(|error| ApiError::internal(&error))?;
    Ok(ProvisioningView::new(saved, &saga, journal))
}

/// The tenant as it is to be published.
fn tenant_of(request: ProvisionRequest, spec: &Spec, saga: &Saga) -> NewTenant {
    let mut tenant = request.tenant;
    if let Some(customer) = saga.made(Step::Customer) {
        tenant.stripe_customer = Some(customer.to_owned());
    }
    // One that was there before bills by its own anchor.
    if saga.has_made(Step::Subscription) {
        tenant.billing_anchor = tenant.billing_anchor.or(spec.anchor);
    }
    if let Some(endpoint) = saga.made(Step::Environment) {
        tenant.placement.get_or_insert_default().endpoint = Some(endpoint.into());
    }
    tenant
}

/// The answer of a change that the database refuses.
fn refused(error: &ChangeError) -> Answer {
    match error {
        ChangeError::Database(_) | ChangeError::Json(_) | ChangeError::Random(_) => Answer::Unsure(error.to_string()),
        _ => Answer::Refused(error.to_string()),
    }
}

//! Budgets in the server: the rules in force, the stages that gateways are told, and the routes about them.
mod arriving;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use tokio::time::{Instant, sleep};
use weir_contract::directory::Tenant;
use weir_contract::hard::HardBudget;
use weir_contract::stage::{BudgetStage, is_budget_name};
use weir_contract::{TenantId, Timestamp};
use weir_ledger::periods::{self, Anchor};
use weir_ledger::query::LedgerReader;
use weir_ledger::{LedgerError, SqliteLedger, tenant_plans};
use weir_steer::budget::Budget;
use weir_steer::engine::{Engine, Rules, Signal};
use weir_steer::file::Span;
use weir_steer::hard::{self, HardInForce};
use weir_steer::raise::{self, NewRaise, Raised};
use weir_steer::view::{self, InForce, Transition};
use weir_tenants::{Overlay, Snapshot};

use super::App;
use super::auth::{allow, require};
use super::error::{ApiError, object};
use super::finance::with_own_finance;
use super::read::{with_own_reader, with_reader};
use crate::budgets::{
    self, BudgetQuery, BudgetsView, HistoryQuery, NoBudget, OwnAmounts, PauseRequest, RaiseRequest, ResumeRequest,
    Resumed, subject,
};
use crate::config::tokens::{Scope, Token};
use arriving::{Arrived, HardAtArrival};

/// The longest time between two looks at what ends by itself: periods, raises.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The budgets in force.
#[derive(Debug)]
pub(crate) struct BudgetsInForce {
    rules: RwLock<Rules>,
    /// The budgets as the configuration says them, and tenants' own amounts.
    configured: RwLock<(Arc<[Budget]>, OwnAmounts)>,
    /// Where the billing periods of tenants begin that the directory says that of.
    anchors: RwLock<HashMap<String, Anchor>>,
    /// Tenants whose hard budgets gateways were told with their coming.
    arrived: Arrived,
    signal: Arc<Signal>,
    /// Stages that gateways are not told of, since their tenants have too many.
    untold: AtomicU64,
}

impl BudgetsInForce {
    pub(super) fn new(budgets: Vec<Budget>, tenants: &Snapshot) -> Self {
        let in_force = budgets::with_amounts(&budgets, tenants.budgets());
        let rules = Rules { budgets: in_force, plans: Arc::new(tenants.plans().clone()) };
        let configured = RwLock::new((budgets.into(), tenants.budgets().clone()));
        let (rules, anchors) = (RwLock::new(rules), RwLock::new(tenants.anchors().clone()));
        BudgetsInForce {
            rules,
            configured,
            anchors,
            arrived: Arrived::default(),
            signal: Arc::default(),
            untold: AtomicU64::new(0),
        }
    }

    /// What follows the ledger by these rules.
    pub(super) fn engine(&self) -> Engine {
        Engine::new(self.rules(), Arc::clone(&self.signal))
    }

    /// The rules in force.
    pub(super) fn rules(&self) -> Rules {
        self.rules.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The budgets as the configuration says them.
    fn configured(&self) -> Arc<[Budget]> {
        Arc::clone(&self.configured.read().unwrap_or_else(PoisonError::into_inner).0)
    }

    fn take_arrived(&self, rules: &Rules) -> Vec<String> {
        self.arrived.take(rules, &self.configured.read().unwrap_or_else(PoisonError::into_inner).1)
    }

    /// Whether tenants have other amounts of their own than those before.
    fn has_other_amounts(&self, tenants: &Snapshot) -> bool {
        self.configured.read().unwrap_or_else(PoisonError::into_inner).1 != *tenants.budgets()
    }

    /// How many stages gateways are not told of.
    pub(super) fn untold(&self) -> u64 {
        self.untold.load(Ordering::Relaxed)
    }

    /// What the ledger's thread tells.
    pub(super) fn signal(&self) -> &Signal {
        &self.signal
    }

    fn replace(&self, configured: Arc<[Budget]>, tenants: &Snapshot) {
        let budgets = budgets::with_amounts(&configured, tenants.budgets());
        let rules = Rules { budgets, plans: Arc::new(tenants.plans().clone()) };
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = rules;
        *self.configured.write().unwrap_or_else(PoisonError::into_inner) = (configured, tenants.budgets().clone());
        *self.anchors.write().unwrap_or_else(PoisonError::into_inner) = tenants.anchors().clone();
    }

    /// Whether these tenants have other budgets or billing periods than those before.
    fn concerns(&self, tenants: &Snapshot) -> bool {
        let rules = self.rules();
        let others = || self.has_other_amounts(tenants) || self.has_other_anchors(tenants);
        !rules.budgets.is_empty() && (*rules.plans != *tenants.plans() || others())
    }

    /// Whether the billing periods of these tenants begin at other moments, and a budget goes by them.
    fn has_other_anchors(&self, tenants: &Snapshot) -> bool {
        self.rules().budgets.iter().any(|budget| budget.span == Span::BillingPeriod)
            && *self.anchors.read().unwrap_or_else(PoisonError::into_inner) != *tenants.anchors()
    }
}

/// Notes where the billing periods of the tenants file begin, if a budget goes by them. Reporting notes them as well, where there is any.
pub(super) fn note_anchors(
    ledger: &mut SqliteLedger,
    budgets: &[Budget],
    anchors: &HashMap<String, Anchor>,
) -> Result<(), LedgerError> {
    if budgets.iter().any(|budget| budget.span == Span::BillingPeriod)
        && periods::note_tenants_anchors(ledger.db(), anchors)?
    {
        ledger.forget_splits();
    }
    Ok(())
}

/// Puts budgets in force for the tenants as they are now, and has the ledger look at all of them.
pub(super) async fn put_in_force(app: &App, budgets: Arc<[Budget]>) -> Result<(), LedgerError> {
    let tenants = app.0.directory.current();
    let anchors = tenants.anchors().clone();
    app.0.budgets.replace(Arc::clone(&budgets), &tenants);
    let (engine, now) = (app.0.budgets.engine(), app.0.clock.now());
    let steer = move |ledger: &mut SqliteLedger| {
        note_anchors(ledger, &budgets, &anchors)?;
        ledger.set_steering(Some(Box::new(engine)), now)
    };
    app.0.store.ledger.call(steer).await
}

/// Says what the budgets name and nobody has: it may be misspelt.
fn warn_unmatched(app: &App) {
    let now = app.0.clock.now();
    for problem in budgets::unmatched(&app.0.budgets.rules(), |plan| app.0.seen.has_plan(plan, now)) {
        tracing::warn!("{problem}");
    }
}

/// Takes in what the configuration says now, if it says something else.
pub(super) async fn reload(app: &App, budgets: Vec<Budget>) {
    // The texts: a budget has no other equality.
    if format!("{:?}", app.0.budgets.configured()) == format!("{:?}", Arc::<[Budget]>::from(budgets.clone())) {
        return;
    }
    match put_in_force(app, budgets.into()).await {
        Ok(()) => {
            tracing::info!("new budgets are in force");
            warn_unmatched(app);
        }
        Err(error) => tracing::error!(%error, "the new budgets are not in force"),
    }
}

/// Takes in tenants that have come, gone or changed their plans since the version `seen`, and notes their plans for bills. Looked at
/// once a second: each time every budget is evaluated, however many tenants have changed.
async fn follow_tenants(app: &App, seen: &mut String) {
    let tenants = app.0.directory.current();
    // Gateways learn neither of amounts nor of billing periods, so the version does not tell.
    let budgets = &app.0.budgets;
    if tenants.version() == seen && !budgets.has_other_amounts(&tenants) && !budgets.has_other_anchors(&tenants) {
        return;
    }
    let (plans, now) = (tenants.plans_now(), app.0.clock.now());
    if let Err(error) = app.0.store.ledger.call(move |ledger| tenant_plans::note(ledger.db(), &plans, now)).await {
        tracing::error!(%error, "the plans of tenants are not noted; trying again");
        return;
    }
    if app.0.budgets.concerns(&tenants)
        && let Err(error) = put_in_force(app, app.0.budgets.configured()).await
    {
        tracing::error!(%error, "budgets do not follow the tenants' new plans; trying again");
        return;
    }
    *seen = tenants.version().to_owned();
}

/// What gateways are told of a tenant's budgets, laid over its entry in the directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    stages: Vec<BudgetStage>,
    further: Vec<BudgetStage>,
    hard: Vec<HardBudget>,
}

impl Overlay for Told {
    fn lay_over(&self, tenant: &mut Tenant) {
        tenant.stages.clone_from(&self.stages);
        tenant.further_stages.clone_from(&self.further);
        tenant.hard_budgets.clone_from(&self.hard);
    }
}

/// Lays the stages and hard budgets that are in force over the directory, before the first gateway fetches it: one that learns of
/// tenants alone would take it that nothing bounds them.
pub(super) async fn begin(app: &App) -> Result<HashMap<String, Told>, ApiError> {
    app.0.directory.set_arrivals(HardAtArrival::of(app));
    let mut told = HashMap::new();
    look(app, &mut told).await?;
    warn_unmatched(app);
    Ok(told)
}

/// Tells gateways about stages as they change, for as long as the server runs. `told`: what they are told already.
pub(super) async fn tell(app: App, mut told: HashMap<String, Told>) {
    let mut seen = None;
    let mut next_end: Option<Timestamp> = None;
    let mut looked_at = Timestamp::default();
    let mut behind = false;
    let mut version = String::new();
    loop {
        follow_tenants(&app, &mut version).await;
        let (changes, now) = (app.0.budgets.signal.changes(), app.0.clock.now());
        let ended = next_end.is_some_and(|end| end <= now);
        // A clock that is set back brings stages back whose periods seemed to be over.
        if seen != Some(changes) || ended || now < looked_at {
            match look(&app, &mut told).await {
                Ok(end) => (seen, next_end, looked_at) = (Some(changes), end, now),
                Err(error) => tracing::error!(%error, "gateways are not told of stages; trying again"),
            }
        }
        if app.0.budgets.signal.unwritten() > 0 || ended || behind {
            let written = app.0.store.ledger.call(move |ledger| ledger.flush_steering(now)).await;
            behind = written.unwrap_or_else(|error| {
                tracing::warn!(%error, "what budgets have used is not written yet; trying again");
                true
            });
        }
        tokio::select! {
            () = app.0.budgets.signal.changed() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

/// Lays over the directory what has changed. Returns when the next stage or raise ends.
async fn look(app: &App, told: &mut HashMap<String, Told>) -> Result<Option<Timestamp>, ApiError> {
    let (rules, now) = (app.0.budgets.rules(), app.0.clock.now());
    if rules.budgets.is_empty() && told.is_empty() {
        return Ok(None);
    }
    // What was told of them as they came is told again as the ledger has it.
    let followed = app.0.budgets.take_arrived(&rules);
    told.extend(followed.into_iter().map(|tenant| (tenant, Told::default())));
    let read = move |reader: &mut LedgerReader| {
        let next_raise = raise::active(reader.db(), now)?.iter().map(|raise| raise.until).min();
        Ok((view::in_force(reader.db(), &rules, now)?, hard::in_force(reader.db(), &rules, now)?, next_raise))
    };
    let (stages, hard, next_raise) = with_own_reader(app, read).await?;
    let next_end = [stages.next_end, hard.next_end, next_raise].into_iter().flatten().min();
    app.0.budgets.arrived.know_raises(hard.raises.clone());
    app.0.budgets.untold.store(stages.left_out as u64, Ordering::Relaxed);
    let now_told = by_tenant(stages, hard);
    let mut overlays: Vec<(TenantId, Option<Arc<dyn Overlay>>)> = Vec::new();
    for tenant in told.keys().filter(|tenant| !now_told.contains_key(*tenant)) {
        overlays.extend(TenantId::new(tenant).ok().map(|id| (id, None)));
    }
    let is_new = |(tenant, of): &(&String, &Told)| told.get(*tenant) != Some(of);
    for (tenant, of) in now_told.iter().filter(is_new) {
        let overlay: Arc<dyn Overlay> = Arc::new(of.clone());
        overlays.extend(TenantId::new(tenant).ok().map(|id| (id, Some(overlay))));
    }
    if !overlays.is_empty() {
        // Of tenants that came or changed since the ledger was read, gateways were told more than it had.
        let has_arrived = |tenant: &TenantId| app.0.budgets.arrived.has(tenant);
        let large = app.0.directory.lay_over(overlays, has_arrived).map_err(|error| ApiError::internal(&error))?;
        if !large.is_empty() {
            tracing::warn!(tenants = ?large, "their entries are too large for their budgets, of which gateways do not learn");
        }
    }
    *told = now_told;
    Ok(next_end)
}

fn by_tenant(stages: InForce, hard: HardInForce) -> HashMap<String, Told> {
    let mut all: HashMap<String, Told> = HashMap::new();
    for (tenant, stages) in stages.stages {
        all.entry(tenant).or_default().stages = stages;
    }
    for (tenant, further) in stages.further {
        all.entry(tenant).or_default().further = further;
    }
    for (tenant, hard) in hard.budgets {
        all.entry(tenant).or_default().hard = hard;
    }
    all
}

/// How often budgets of revenue and credits are measured at most.
const MEASURE_EVERY: Duration = Duration::from_secs(5);
/// The pause is at least so many times as long as measuring took: it costs at most 2 % of one core.
const PAUSE_FACTOR: u32 = 50;

/// Measures budgets of revenue and credits for as long as the server runs.
pub(super) async fn measure(app: App) {
    loop {
        let begun = Instant::now();
        if app.0.budgets.rules().budgets.iter().any(|budget| budget.of.is_charged())
            && let Err(error) = measure_once(&app).await
        {
            tracing::error!(%error, "budgets of revenue and credits are not measured; trying again");
        }
        sleep(MEASURE_EVERY.max(begun.elapsed() * PAUSE_FACTOR)).await;
    }
}

async fn measure_once(app: &App) -> Result<(), ApiError> {
    app.0.store.catch_up().await?;
    let (rules, now) = (app.0.budgets.rules(), app.0.clock.now());
    let measured = with_own_finance(app, move |finance| finance.measured_budgets(&rules)).await?;
    Ok(app.0.store.ledger.call(move |ledger| ledger.note_measured(now, &measured)).await?)
}

/// Has the ledger look again whenever a raise has ended.
pub(super) async fn end_raises(app: App) {
    let mut active: Option<Vec<i64>> = None;
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let now = app.0.clock.now();
        if app.0.budgets.rules().budgets.is_empty() {
            continue;
        }
        let read =
            move |reader: &mut LedgerReader| Ok((raise::active(reader.db(), now)?, raise::has_over(reader.db(), now)?));
        let Ok((raises, has_over)) = with_own_reader(&app, read).await else { continue };
        let holding: Vec<i64> = raises.iter().map(|raise| raise.id).collect();
        // Nobody knows which ones held when the ledger looked at the start. One that has begun since was looked at then, unless the clock
        // was set back to before its end.
        if (has_over || active.as_ref().is_none_or(|before| *before != holding))
            && let Err(error) = app.0.store.ledger.call(move |ledger| ledger.review_steering(now, false)).await
        {
            tracing::error!(%error, "a raise has ended, and its budget is not evaluated yet");
            continue;
        }
        active = Some(holding);
    }
}

pub(super) async fn get_budgets(
    State(app): State<App>,
    headers: HeaderMap,
    query: Result<Query<BudgetQuery>, QueryRejection>,
) -> Result<Json<BudgetsView>, ApiError> {
    require(&app, &headers, Scope::Viewer)?;
    let Query(query) = query.map_err(|error| ApiError::Request(error.body_text()))?;
    list(&app, query).await.map(Json)
}

/// The budgets that a query asks for.
pub(super) async fn list(app: &App, query: BudgetQuery) -> Result<BudgetsView, ApiError> {
    let (rules, now) = (rules_with(app, query.tenant.as_deref()), app.0.clock.now());
    let budgets = with_reader(app, move |reader| budgets::budgets(reader, &rules, &query, now)).await??;
    let evaluated_through = app.0.budgets.signal.evaluated_through();
    Ok(BudgetsView { evaluated_through, lag_ms: lag_ms(app), budgets })
}

/// How long acknowledged events have been waiting to be evaluated.
pub(super) fn lag_ms(app: &App) -> u64 {
    let signal = app.0.budgets.signal();
    match signal.evaluated_at() {
        Some(at) if signal.evaluated_through() < app.0.store.log_end() => app.0.clock.now().millis_since(at),
        _ => 0,
    }
}

pub(super) async fn get_history(
    State(app): State<App>,
    headers: HeaderMap,
    query: Result<Query<HistoryQuery>, QueryRejection>,
) -> Result<Json<Vec<Transition>>, ApiError> {
    require(&app, &headers, Scope::Viewer)?;
    let Query(query) = query.map_err(|error| ApiError::Request(error.body_text()))?;
    if query.limit.is_some_and(|limit| !(1..=view::ROWS_MAX).contains(&limit)) {
        return Err(ApiError::Request(format!("`limit` is 1 to {}", view::ROWS_MAX)));
    }
    if query.before.is_some_and(|before| before < 1) {
        return Err(ApiError::Request("`before` is the number of a change, 1 or more".to_owned()));
    }
    let rules = rules_with(&app, query.subject.as_deref());
    Ok(Json(with_reader(&app, move |reader| budgets::history(reader, &rules, &query)).await??))
}

fn check_names(budget: &str, tenant: &str) -> Result<(), ApiError> {
    if !is_budget_name(budget) {
        return Err(ApiError::Request("`budget` is 1 to 40 characters of a-z 0-9 . _ -".to_owned()));
    }
    TenantId::new(tenant).map(drop).map_err(|error| ApiError::Request(format!("`tenant`: {error}")))
}

/// The rules in force, for a question about a tenant. One that has just come is in the directory before the ledger has its budgets.
pub(super) fn rules_with(app: &App, tenant: Option<&str>) -> Rules {
    let rules = app.0.budgets.rules();
    match tenant.filter(|tenant| !rules.plans.contains_key(*tenant)) {
        Some(_) => Rules { plans: Arc::new(app.0.directory.current().plans().clone()), ..rules },
        None => rules,
    }
}

impl From<NoBudget> for ApiError {
    fn from(error: NoBudget) -> Self {
        match error {
            NoBudget::Unknown { .. } | NoBudget::NoTenant { .. } | NoBudget::NotShared { .. } => {
                ApiError::Unknown(error.to_string())
            }
            NoBudget::NotIts { .. } => ApiError::Report(error.to_string()),
        }
    }
}

/// Raises a budget until a date. The ledger audits it, with the token's name.
pub(super) async fn post_raise(
    State(app): State<App>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Raised>, ApiError> {
    let token = require(&app, &headers, Scope::Admin)?;
    raise(&app, token, object(&body)?).await.map(Json)
}

/// Lets everything pass until a date, whatever a budget says.
pub(super) async fn post_pause(
    State(app): State<App>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Raised>, ApiError> {
    let token = require(&app, &headers, Scope::Admin)?;
    pause(&app, token, object(&body)?).await.map(Json)
}

/// Raises a budget for an administrator.
pub(super) async fn raise(app: &App, token: Token, request: RaiseRequest) -> Result<Raised, ApiError> {
    allow(&token, Scope::Admin)?;
    check_request(&request.budget, &request.tenant, &request.why)?;
    let rules = rules_with(app, Some(&request.tenant));
    put_in(app, request.by(&rules, token.name)?).await
}

/// Pauses a budget for an administrator.
pub(super) async fn pause(app: &App, token: Token, request: PauseRequest) -> Result<Raised, ApiError> {
    allow(&token, Scope::Admin)?;
    check_request(&request.budget, &request.tenant, &request.why)?;
    let rules = rules_with(app, Some(&request.tenant));
    put_in(app, request.by(&rules, token.name)?).await
}

fn check_request(budget: &str, tenant: &str, why: &str) -> Result<(), ApiError> {
    check_names(budget, tenant)?;
    if raise::is_reason(why) { Ok(()) } else { Err(ApiError::Request(raise::RaiseError::Why.to_string())) }
}

async fn put_in(app: &App, new: NewRaise) -> Result<Raised, ApiError> {
    let now = app.0.clock.now();
    let raised = app.0.store.ledger.call(move |ledger| {
        let raised = ledger.durably(|db| raise::add(db, &new, now))?;
        ledger.review_steering(now, false)?;
        Ok::<_, LedgerError>(raised)
    });
    raised.await?.map_err(|error| {
        if error.is_malformed() { ApiError::Request(error.to_string()) } else { ApiError::Report(error.to_string()) }
    })
}

/// Takes back a raise or a pause.
pub(super) async fn post_resume(
    State(app): State<App>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Resumed>, ApiError> {
    let token = require(&app, &headers, Scope::Admin)?;
    resume(&app, token, object(&body)?).await.map(Json)
}

/// Takes back a raise or a pause for an administrator.
pub(super) async fn resume(app: &App, token: Token, request: ResumeRequest) -> Result<Resumed, ApiError> {
    allow(&token, Scope::Admin)?;
    let ResumeRequest { budget, tenant } = request;
    check_names(&budget, &tenant)?;
    let (_, subject) = subject(&rules_with(app, Some(&tenant)), &budget, &tenant)?;
    let (now, who) = (app.0.clock.now(), token.name.to_string());
    let resumed = app.0.store.ledger.call(move |ledger| {
        let resumed = ledger.durably(|db| raise::end(db, &subject, &budget, &who, now))?;
        ledger.review_steering(now, false)?;
        Ok::<_, LedgerError>(resumed)
    });
    Ok(Resumed { resumed: resumed.await? })
}

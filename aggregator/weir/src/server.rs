//! The HTTP interface.
//!
//! | method and path | scope | |
//! |---|---|---|
//! | `POST /v1/events` | ingest | [`ingest`] |
//! | `GET /v1/directory` | directory | `directory` |
//! | `POST /v1/leases`, `/v1/leases/draw` | directory | `leases` |
//! | `GET /v1/limits` | viewer | `leases` |
//! | `POST /v1/readings` | readings | [`readings`] |
//! | `GET /v1/readings/{id}` | viewer | [`readings`] |
//! | `GET /v1/usage`, `/v1/analysis`, `/v1/ledger`, `/v1/events`, `/v1/events/{id}`, `/v1/stripe`, `/v1/audit`, `/v1/audit/security`, `/v1/audit/searches` | viewer | [`read`] |
//! | `GET /v1/cost`, `/v1/cost/models`, `/v1/cost/other`, `/v1/prices`, `/v1/prices/repricings` | viewer | `money` |
//! | `POST /v1/prices/reprice` | admin | `money` |
//! | `GET /v1/margin`, `/v1/bill`, `/v1/review`, `/v1/prices/compare`, `/v1/whatif`, `/v1/crossover`, `/v1/lifetime` | viewer | `finance` |
//! | `GET /v1/alerts` | viewer | `alerts` |
//! | `GET /v1/alerts/history` | viewer | `alerts` |
//! | `POST /v1/alerts/test` | admin | `alerts` |
//! | `POST /v1/alerts/silence`, `/unsilence`, `/ack` | operator | `alerts` |
//! | `GET /v1/deploys` | viewer | `alerts` |
//! | `POST /v1/deploys`, `DELETE /v1/deploys/{id}` | operator | `alerts` |
//! | `GET /v1/budgets`, `/v1/budgets/history` | viewer | `budgets` |
//! | `POST /v1/budgets/raise`, `/v1/budgets/pause`, `/v1/budgets/resume` | admin | `budgets` |
//! | `GET /v1/quarantine` | viewer | [`quarantine`] |
//! | `GET /v1/status` | viewer | `status` |
//! | `GET /v1/models` | viewer | `models` |
//! | `GET /v1/tenants`, `/v1/tenants/{id}`, `/v1/tenants/{id}/history`, `/v1/revoked` | viewer | `tenants` |
//! | `POST /v1/tenants`, `PATCH /v1/tenants/{id}`, `PUT /v1/revoked` | operator | `tenants` |
//! | `GET /v1/tenants/{id}/keys` | viewer | `keys` |
//! | `POST /v1/tenants/{id}/keys`, `/v1/tenants/{id}/keys/{key}/rotate`, `DELETE /v1/tenants/{id}/keys/{key}` | operator | `keys` |
//! | `GET /v1/tenants/{id}/alert-addresses` | viewer | `addresses` |
//! | `POST /v1/tenants/{id}/alert-addresses`, `…/{number}/prove`, `DELETE …/{number}` | operator | `addresses` |
//! | `GET /v1/tenants/{id}/provider-keys` | viewer | `byok` |
//! | `PATCH /v1/tenants/{id}/provider-keys`, `PUT`, `DELETE /v1/tenants/{id}/provider-keys/{provider}` | operator | `byok` |
//! | `POST /v1/byok/rotate` | admin | `byok` |
//! | `GET /v1/flags`, `/v1/flags/{name}`, `/v1/flags/{name}/history` | viewer | `flags` |
//! | `PUT`, `DELETE /v1/flags/{name}` | operator | `flags` |
//! | `POST /ofrep/v1/evaluate/flags`, `/ofrep/v1/evaluate/flags/{key}` | viewer, directory, or a tenant's own | `ofrep` |
//! | `POST /v1/provisionings`, `/v1/deprovisionings` | operator | `provisioning` |
//! | `GET /v1/tenants/{id}/provisioning`, `…/journal` | viewer | `provisioning` |
//! | `POST /v1/tenants/{id}/provisioning/skip` | operator | `provisioning::skip` |
//!
//! A token of the scope `tenant` opens its own tenant's entry, keys, keys at providers, addresses for alerts and usage. The scope `byok` beside `directory`
//! has the directory hand over tenants' own keys at providers.
//!
//! | method and path | scope | |
//! |---|---|---|
//! | `POST /v1/quarantine/retry`, `/v1/quarantine/drop` | operator | [`quarantine`] |
//! | `POST /v1/report` | operator | [`admin`] |
//! | `POST /v1/adjust`, `/v1/users/forget`, `/v1/audit` | admin | [`admin`] |
//! | `POST /v1/reconcile`, `/v1/stripe/errors/seen` | operator | [`billing_routes`] |
//! | `POST /v1/stripe/settle`, `/v1/stripe/setup`, `/v1/stripe/prices` | admin | [`billing_routes`] |
//! | `GET`, `POST /v1/tokens`, `DELETE /v1/tokens/{name}` | admin | `tokens` |
//! | `POST /v1/stripe/webhook` | Stripe's signature | `hooks` |
//! | `/ui` and below: pages for people | a session, begun with a token | `ui` |
//! | `GET /openapi.json` | none | [`read`] |
//! | `GET /metrics` | none on loopback, else metrics | [`health`] |
//! | `GET /healthz`, `/readyz` | none | [`health`] |
mod addresses;
pub mod admin;
mod alerts;
pub mod auth;
pub mod billing_routes;
mod budgets;
pub(crate) mod byok;
mod catalogue;
mod conditions;
mod connections;
pub(crate) mod directory;
pub mod error;
mod finance;
mod flags;
pub mod health;
mod hooks;
pub mod ingest;
pub(crate) mod keys;
mod leases;
mod models;
mod money;
pub mod node;
mod ofrep;
pub(crate) mod passed_on;
mod periods;
mod prices;
pub mod provider;
mod provisioning;
pub(crate) mod quarantine;
pub mod read;
pub mod readings;
mod reads;
pub mod run;
mod status;
mod tenants;
pub mod tls;
mod tokens;
mod ui;

use std::sync::{Arc, PoisonError, RwLock};

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn;
use axum::routing::{delete, get, post, put};
use tokio::sync::Semaphore;

use crate::config::catalogue::Catalogue;
use crate::config::finances::Finances;
use crate::config::home::TenantsHome;
use crate::config::prices::PriceSources;
use crate::config::provisioning::Provisioning;
use crate::config::tokens::{KeptTokens, Tokens};
use crate::export;
use crate::figures::LastMeasured;
use crate::fleet::Fleet;
use crate::leases::Leases;
use crate::metrics::Metrics;
use crate::metrics::node::NodeMetrics;
use crate::store::Store;
use crate::vault::VaultInForce;
use weir_billing::outbox::report::Reporter;
use weir_clock::Clock;
use weir_contract::flags::Flags;
use weir_contract::user::UserKey;
use weir_money::other::OtherCost;
use weir_money::prices::Book;
use weir_stripe::StripeSink;
use weir_tenants::Directory;
use weir_tenants::store::TenantStore;

/// The state that every handler shares.
#[derive(Clone, Debug)]
pub(crate) struct App(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    directory: Directory,
    leases: Leases,
    /// Tenants and tokens that the API changes.
    kept: Arc<TenantStore>,
    /// Where the tenants in force come from.
    home: TenantsHome,
    tokens: RwLock<Arc<Tokens>>,
    /// Those that were made by calls and commands.
    kept_tokens: RwLock<Arc<KeptTokens>>,
    metrics: Metrics,
    conditions: conditions::Conditions,
    clock: Arc<dyn Clock>,
    /// Places of reads.
    reads: reads::Reads,
    /// Room for bodies in memory, in units of [`ingest::ROOM_UNIT_BYTES`].
    room: Arc<Semaphore>,
    reporter: Option<Reporter<StripeSink>>,
    provider: Option<provider::ProviderAccess>,
    /// The price book in force.
    prices: prices::PricesInForce,
    finances: RwLock<Arc<Finances>>,
    other_costs: Vec<OtherCost>,
    /// How much tenants may use.
    budgets: Arc<budgets::BudgetsInForce>,
    /// Who is told.
    alerts: alerts::AlertsInForce,
    /// The keys under which gateways name users.
    user_keys: Vec<UserKey>,
    /// How the exports stand.
    exports: Vec<Arc<export::Progress>>,
    /// The vault of tenants' own keys at providers.
    vault: VaultInForce,
    /// The feature flags that the configuration declares.
    flags: RwLock<Arc<Flags>>,
    /// The catalogue of models.
    catalogue: catalogue::CatalogueInForce,
    /// Whether the ledger hangs.
    standstill: health::Standstill,
    /// The figures that gateways get.
    measured: LastMeasured,
    /// What happens when a tenant comes or goes.
    provisioning: Provisioning,
    /// Tenants on their way.
    in_progress: provisioning::InProgress,
    /// How long a window stays open after its end, in milliseconds.
    grace_ms: u64,
    /// What happened since the start.
    seen: status::Seen,
    /// Calls that wait for a change of the directory.
    waiters: directory::Waiters,
    /// Whether `/metrics` needs no token: nobody but this machine can ask.
    open_metrics: bool,
    /// The dashboard: who is signed in.
    ui: ui::Dashboard,
    /// The other nodes, if this server is one of several.
    fleet: Option<Fleet>,
}

/// The parts of a server.
#[derive(Debug)]
pub struct Parts {
    /// Event log and ledger.
    pub store: Store,
    /// The tenants in force.
    pub directory: Directory,
    /// The center of fleet-wide limits.
    pub leases: Leases,
    /// Tenants and tokens that the API changes.
    pub kept: TenantStore,
    /// Where the tenants in force come from.
    pub home: TenantsHome,
    /// The tokens.
    pub tokens: Tokens,
    /// Tokens that were made by calls and commands.
    pub kept_tokens: KeptTokens,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The reporter, if reporting is configured.
    pub reporter: Option<Reporter<StripeSink>>,
    /// What compares with Stripe and takes its calls, if there is a Stripe.
    pub provider: Option<provider::ProviderAccess>,
    /// What tenants pay, and what is planned.
    pub finances: Finances,
    /// Where the prices stand, and the book that is in force.
    pub prices: Option<(PriceSources, Option<Arc<Book>>)>,
    /// Costs that no request causes.
    pub other_costs: Vec<OtherCost>,
    /// How much tenants may use.
    pub(crate) budgets: budgets::BudgetsInForce,
    /// Who is told.
    pub(crate) alerts: alerts::AlertsInForce,
    /// The keys under which gateways name users.
    pub user_keys: Vec<UserKey>,
    /// How the exports stand.
    pub exports: Vec<Arc<export::Progress>>,
    /// The vault of tenants' own keys at providers.
    pub(crate) vault: VaultInForce,
    /// The feature flags that the configuration declares.
    pub flags: Flags,
    /// The catalogue of models.
    pub catalogue: Option<Catalogue>,
    /// What happens when a tenant comes or goes.
    pub provisioning: Provisioning,
    /// How long a window stays open after its end, in milliseconds.
    pub grace_ms: u64,
    /// Whether the server listens on loopback only.
    pub loopback: bool,
    /// The dashboard.
    pub(crate) ui: ui::Dashboard,
    /// The other nodes, if this server is one of several.
    pub(crate) fleet: Option<Fleet>,
    /// The metrics of the node.
    pub(crate) node: NodeMetrics,
}

impl App {
    /// Builds a server from its parts.
    pub(crate) fn new(parts: Parts) -> Self {
        let metrics = Metrics::new(parts.node);
        App(Arc::new(Inner {
            store: parts.store,
            directory: parts.directory,
            leases: parts.leases,
            kept: Arc::new(parts.kept),
            home: parts.home,
            tokens: RwLock::new(Arc::new(parts.tokens)),
            kept_tokens: RwLock::new(Arc::new(parts.kept_tokens)),
            reads: reads::Reads::new(&metrics.reads),
            metrics,
            conditions: conditions::Conditions::default(),
            clock: parts.clock,
            room: Arc::new(Semaphore::new(ingest::ROOM_UNITS)),
            reporter: parts.reporter,
            provider: parts.provider,
            finances: RwLock::new(Arc::new(parts.finances)),
            prices: parts.prices.map_or_else(prices::PricesInForce::default, |(sources, book)| {
                prices::PricesInForce::new(&sources, book)
            }),
            other_costs: parts.other_costs,
            budgets: Arc::new(parts.budgets),
            alerts: parts.alerts,
            user_keys: parts.user_keys,
            exports: parts.exports,
            vault: parts.vault,
            flags: RwLock::new(Arc::new(parts.flags)),
            catalogue: catalogue::CatalogueInForce::new(parts.catalogue),
            standstill: health::Standstill::default(),
            measured: LastMeasured::default(),
            provisioning: parts.provisioning,
            in_progress: provisioning::InProgress::default(),
            grace_ms: parts.grace_ms,
            seen: status::Seen::default(),
            waiters: directory::Waiters::default(),
            open_metrics: parts.loopback,
            ui: parts.ui,
            fleet: parts.fleet,
        }))
    }

    /// What tenants pay, and what is planned.
    fn finances(&self) -> Arc<Finances> {
        Arc::clone(&self.0.finances.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces both.
    fn replace_finances(&self, finances: Finances) {
        *self.0.finances.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(finances);
    }

    /// The feature flags that the configuration declares.
    fn flags(&self) -> Arc<Flags> {
        Arc::clone(&self.0.flags.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces them.
    fn replace_flags(&self, flags: Flags) {
        *self.0.flags.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(flags);
    }

    /// Replaces the tokens in force.
    pub(crate) fn replace_tokens(&self, tokens: Tokens) {
        *self.0.tokens.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(tokens);
    }

    /// Replaces those that were made by calls and commands.
    fn replace_kept_tokens(&self, tokens: KeptTokens) {
        *self.0.kept_tokens.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(tokens);
    }

    fn kept_tokens(&self) -> Arc<KeptTokens> {
        Arc::clone(&self.0.kept_tokens.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The tenants.
    pub(crate) fn directory(&self) -> &Directory {
        &self.0.directory
    }

    /// Ends all calls that wait for a change: the server stops.
    fn stop_waiting(&self) {
        self.0.waiters.stop();
    }

    /// How the exports stand.
    fn exports(&self) -> Vec<export::ExportStatus> {
        let end = self.0.store.log_end();
        self.0.exports.iter().map(|export| export.status(end)).collect()
    }

    /// The routes.
    pub(crate) fn router(&self) -> Router {
        Router::new()
            .route("/v1/status", get(status::get_status))
            .route("/v1/models", get(models::get_models))
            .route("/v1/events/{id}", get(read::get_event))
            .route("/v1/readings/{id}", get(readings::get_reading))
            .route("/v1/directory", get(directory::get_directory))
            .merge(tenant_routes())
            .merge(flag_routes())
            .route("/v1/tokens", get(tokens::get_tokens).post(tokens::post_token))
            .route("/v1/tokens/{name}", delete(tokens::delete_token))
            .route("/v1/revoked", get(tenants::get_revoked).put(tenants::put_revoked))
            .route("/v1/leases", post(leases::post_leases))
            .route("/v1/leases/draw", post(leases::post_draw))
            .route("/v1/limits", get(leases::get_limits))
            .route("/v1/usage", get(read::get_usage))
            .route("/v1/analysis", get(read::get_analysis))
            .route("/v1/cost", get(money::get_cost))
            .route("/v1/cost/models", get(money::get_models))
            .route("/v1/cost/other", get(money::get_other))
            .route("/v1/cost/events", get(money::get_events))
            .route("/v1/prices", get(money::get_prices))
            .route("/v1/prices/compare", get(finance::get_compare))
            .route("/v1/margin", get(finance::get_margin))
            .route("/v1/bill", get(finance::get_bill))
            .route("/v1/review", get(finance::get_review))
            .route("/v1/whatif", get(finance::get_whatif))
            .route("/v1/crossover", get(finance::get_crossover))
            .route("/v1/lifetime", get(finance::get_lifetime))
            .route("/v1/prices/repricings", get(money::get_repricings))
            .route("/v1/prices/reprice", post(money::post_reprice))
            .merge(alerts::routes::router())
            .merge(alerts::deploys::router())
            .route("/v1/budgets", get(budgets::get_budgets))
            .route("/v1/budgets/history", get(budgets::get_history))
            .route("/v1/budgets/raise", post(budgets::post_raise))
            .route("/v1/budgets/pause", post(budgets::post_pause))
            .route("/v1/budgets/resume", post(budgets::post_resume))
            .route("/v1/ledger", get(read::get_ledger))
            .route("/v1/stripe", get(billing_routes::get_stripe))
            .route("/v1/stripe/settle", post(billing_routes::post_settle))
            .route("/v1/stripe/errors/seen", post(billing_routes::post_seen))
            .route("/v1/stripe/webhook", post(hooks::post_webhook))
            .route("/v1/stripe/setup", post(billing_routes::post_setup))
            .route("/v1/stripe/prices", post(billing_routes::post_prices))
            .route("/v1/reconcile", post(billing_routes::post_reconcile))
            .route("/v1/quarantine", get(quarantine::get_quarantine))
            .route("/v1/quarantine/retry", post(quarantine::post_retry))
            .route("/v1/quarantine/drop", post(quarantine::post_drop))
            .route("/v1/audit", get(read::get_audit).post(admin::post_audit))
            .route("/v1/audit/security", get(read::get_findings))
            .route("/v1/audit/searches", get(read::get_searches))
            .route("/v1/report", post(admin::post_report))
            .route("/v1/adjust", post(admin::post_adjust))
            .route("/v1/users/forget", post(admin::post_forget))
            .route("/openapi.json", get(read::get_openapi))
            .route("/metrics", get(health::get_metrics))
            .route("/healthz", get(health::get_healthz))
            .route("/readyz", get(health::get_readyz))
            .merge(self.0.ui.router(self))
            .layer(from_fn(connections::bound_body))
            // These two have time-outs of their own.
            .route("/v1/events", post(ingest::post_events).get(read::get_events))
            .route("/v1/readings", post(readings::post_readings))
            .fallback(error::not_found)
            .method_not_allowed_fallback(error::method_not_allowed)
            .layer(DefaultBodyLimit::max(ingest::WIRE_MAX_BYTES))
            .with_state(self.clone())
    }

    fn tokens(&self) -> Arc<Tokens> {
        Arc::clone(&self.0.tokens.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes the store out; None if another holder exists.
    fn into_store(self) -> Option<Store> {
        Arc::into_inner(self.0).map(|inner| inner.store)
    }
}

/// The routes of tenants and their keys.
fn tenant_routes() -> Router<App> {
    Router::new()
        .route("/v1/tenants", get(tenants::get_tenants).post(tenants::post_tenant))
        .route("/v1/tenants/{id}", get(tenants::get_tenant).patch(tenants::patch_tenant))
        .route("/v1/tenants/{id}/history", get(tenants::get_history))
        .route("/v1/tenants/{id}/alert-addresses", get(addresses::get_addresses).post(addresses::post_address))
        .route("/v1/tenants/{id}/alert-addresses/{key}", delete(addresses::delete_address))
        .route("/v1/tenants/{id}/alert-addresses/{key}/prove", post(addresses::post_proof))
        .route("/v1/tenants/{id}/keys", get(keys::get_keys).post(keys::post_key))
        .route("/v1/tenants/{id}/keys/{key}", delete(keys::delete_key))
        .route("/v1/tenants/{id}/keys/{key}/rotate", post(keys::post_rotate))
        .route("/v1/tenants/{id}/provider-keys", get(byok::get_keys).patch(byok::patch_keys))
        .route("/v1/tenants/{id}/provider-keys/{name}", put(byok::put_key).delete(byok::delete_key))
        .route("/v1/byok/rotate", post(byok::post_rotate))
        .route("/v1/tenants/{id}/provisioning", get(provisioning::get_provisioning))
        .route("/v1/tenants/{id}/provisioning/journal", get(provisioning::get_journal))
        .route("/v1/tenants/{id}/provisioning/skip", post(provisioning::skip::post_skip))
        .route("/v1/tenants/{id}/environment", post(provisioning::answers::post_environment))
        .route("/v1/provisionings", post(provisioning::post_provisioning))
        .route("/v1/deprovisionings", post(provisioning::post_deprovisioning))
}

/// The routes of feature flags.
fn flag_routes() -> Router<App> {
    Router::new()
        .route("/v1/flags", get(flags::get_flags))
        .route("/v1/flags/{name}", get(flags::get_flag).put(flags::put_flag).delete(flags::delete_flag))
        .route("/v1/flags/{name}/history", get(flags::get_history))
        .route("/ofrep/v1/evaluate/flags", post(ofrep::post_flags))
        .route("/ofrep/v1/evaluate/flags/{key}", post(ofrep::post_flag))
}

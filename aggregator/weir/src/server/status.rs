//! `GET /v1/status`, and what the server remembers for it.
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use weir_contract::id::is_gateway_name;
use weir_contract::{Timestamp, plans};
use weir_ledger::validate::Configured;
use weir_ledger::view::LedgerView;
use weir_steer::view::{self, Lacking};
use weir_stripe::status::StatusView;

use super::auth::require;
use super::error::ApiError;
use super::{App, billing_routes, health, read};
use crate::budgets;
use crate::config::alerts::Alerts;
use crate::config::tokens::Scope;
use crate::fleet::{NodeRow, PartitionRow};
use crate::models::CatalogueUse;
use crate::status::alerts::AlertsStatus;
use crate::status::configurations::Configurations;
use crate::status::{
    self, BillingStatus, Fetch, GatewayStatus, NodeStatus, PartitionStatus, ProviderStatus, ServerStatus, SystemStatus,
};
use crate::store::DataDir;

/// How long an announcement of plans is believed, in milliseconds: several times the longest wait of a gateway.
const PLANS_KNOWN_MS: u64 = 300_000;
/// The most different lists of plans: more than fleets have kinds of gateways.
const PLAN_LISTS_MAX: usize = 64;

/// The most gateways whose catalogue is remembered: further ones are in no list.
const CATALOGUE_USERS_MAX: usize = 1_024;
/// The most tokens whose last use is remembered: more than people and machines have. That of further ones is not known.
const TOKENS_MAX: usize = 4_096;
/// The longest version of a catalogue that is remembered, in bytes.
const CATALOGUE_VERSION_MAX_BYTES: usize = 64;

/// What happened since the start. Bounded by the number of tokens, and by the constants above.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen(Arc<Mutex<Remembered>>);

#[derive(Debug, Default)]
struct Remembered {
    fetches: BTreeMap<String, (Timestamp, String)>,
    /// The plans that gateways have, each list with the time of its last announcement. At most [`PLAN_LISTS_MAX`].
    plans: BTreeMap<String, Timestamp>,
    /// The catalogue that each gateway has, by its name. At most [`CATALOGUE_USERS_MAX`].
    catalogues: BTreeMap<String, CatalogueUse>,
    /// When each token was last used, by its name. At most [`TOKENS_MAX`].
    tokens: BTreeMap<String, Timestamp>,
    last_report: Option<Timestamp>,
    next_report: Option<Timestamp>,
    /// Why the configuration on disk is not used.
    configuration: Option<String>,
    /// What gateways say of their configurations.
    configurations: Configurations,
    /// Whether that includes what stands in the event log since before the start.
    knows_log: bool,
}

impl App {
    /// Remembers whether the configuration on disk is used: why not, if not.
    pub(super) fn note_configuration(&self, problem: Option<String>) {
        self.0.metrics.config_read(problem.is_none());
        self.0.seen.with(|seen| seen.configuration = problem);
    }
}

impl Seen {
    fn with<T>(&self, act: impl FnOnce(&mut Remembered) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A token was used.
    pub(super) fn used(&self, token: &str, at: Timestamp) {
        self.with(|seen| {
            if let Some(last) = seen.tokens.get_mut(token) {
                *last = at;
            } else if seen.tokens.len() < TOKENS_MAX {
                seen.tokens.insert(token.to_owned(), at);
            }
        });
    }

    /// When a token was last used; None if that is not known.
    pub(super) fn last_used(&self, token: &str) -> Option<Timestamp> {
        self.with(|seen| seen.tokens.get(token).copied())
    }

    /// The directory was fetched under a token.
    pub(super) fn fetched(&self, token: String, at: Timestamp, version: &str) {
        self.with(|seen| seen.fetches.insert(token, (at, version.to_owned())));
    }

    /// A gateway has these plans, as [`weir_contract::plans`] writes them.
    pub(super) fn announced(&self, plans: &str, at: Timestamp) {
        self.with(|seen| {
            seen.plans.retain(|_, last| at.millis_since(*last) < PLANS_KNOWN_MS);
            if seen.plans.len() < PLAN_LISTS_MAX || seen.plans.contains_key(plans) {
                seen.plans.insert(plans.to_owned(), at);
            }
        });
    }

    /// What to tell if gateways announce plans, and none of them has this one.
    pub(super) fn plan_warning(&self, plan: &str, now: Timestamp) -> Option<String> {
        let told = || format!("no gateway has a plan {plan:?}: requests of its tenants are refused");
        self.is_missing(plan, now).then(told)
    }

    /// Whether gateways announce plans, and none of them has this one.
    fn is_missing(&self, plan: &str, now: Timestamp) -> bool {
        self.with(|seen| {
            let mut lists = seen.plans.iter().filter(|(_, last)| now.millis_since(**last) < PLANS_KNOWN_MS).peekable();
            lists.peek().is_some() && !lists.any(|(list, _)| plans::read(list).any(|known| known == plan))
        })
    }

    /// Whether a gateway has announced a plan lately.
    pub(super) fn has_plan(&self, plan: &str, now: Timestamp) -> bool {
        self.with(|seen| {
            let mut lists = seen.plans.iter().filter(|(_, last)| now.millis_since(**last) < PLANS_KNOWN_MS);
            lists.any(|(list, _)| plans::read(list).any(|known| known == plan))
        })
    }

    /// A gateway has this version of the catalogue, or cannot use it.
    pub(super) fn catalogue_used(&self, gateway: &str, version: &str, refused: bool, at: Timestamp) {
        if !is_gateway_name(gateway) || version.len() > CATALOGUE_VERSION_MAX_BYTES {
            return;
        }
        let (gateway, version) = (gateway.to_owned(), version.to_owned());
        self.with(|seen| {
            if seen.catalogues.len() >= CATALOGUE_USERS_MAX && !seen.catalogues.contains_key(&gateway) {
                seen.catalogues.retain(|_, last| at.millis_since(last.at) < PLANS_KNOWN_MS);
            }
            if seen.catalogues.len() < CATALOGUE_USERS_MAX || seen.catalogues.contains_key(&gateway) {
                seen.catalogues.insert(gateway.clone(), CatalogueUse { gateway, version, refused, at });
            }
        });
    }

    /// The catalogues that gateways have said to have lately, by their names.
    pub(super) fn catalogues(&self, now: Timestamp) -> Vec<CatalogueUse> {
        let is_late = |one: &&CatalogueUse| now.millis_since(one.at) < PLANS_KNOWN_MS;
        self.with(|seen| seen.catalogues.values().filter(is_late).cloned().collect())
    }

    /// Usage events say these configurations of gateways.
    pub(super) fn configured(&self, said: Vec<Configured>) {
        if !said.is_empty() {
            self.with(|seen| said.into_iter().for_each(|said| seen.configurations.says(said)));
        }
    }

    /// Lays what gateways say of their configurations over them. What they said before the start is in the event log, and read once.
    fn lay_configurations(&self, home: &DataDir, gateways: &mut [GatewayStatus]) {
        let knows_log = self.with(|seen| seen.knows_log);
        if let Some(before) = (!knows_log).then(|| Configurations::of_log(home)).flatten() {
            self.with(|seen| {
                seen.configurations.follow(before);
                seen.knows_log = true;
            });
        }
        self.with(|seen| seen.configurations.lay(gateways));
    }

    /// A report has ended.
    pub(super) fn reported(&self, at: Timestamp) {
        self.with(|seen| seen.last_report = Some(at));
    }

    /// The next report is due.
    pub(super) fn due(&self, at: Timestamp) {
        self.with(|seen| seen.next_report = Some(at));
    }

    fn fetches(&self) -> Vec<Fetch> {
        let fetch = |(token, (at, version)): (&String, &(Timestamp, String))| Fetch {
            token: token.clone(),
            at: *at,
            version: version.clone(),
        };
        self.with(|seen| seen.fetches.iter().map(fetch).collect())
    }
}

pub(super) async fn get_status(State(app): State<App>, headers: HeaderMap) -> Result<Json<SystemStatus>, ApiError> {
    require(&app, &headers, Scope::Viewer)?;
    system(&app).await.map(Json)
}

/// What the ledger says for the status, read at once: to open it for each of these takes longer than to read them.
struct Figures {
    ledger: LedgerView,
    stripe: Option<StatusView>,
    gateways: Vec<GatewayStatus>,
    providers: Vec<ProviderStatus>,
    alerts: AlertsStatus,
    /// Budgets that cannot count what was used.
    lacking: Vec<Lacking>,
}

async fn figures(app: &App, now: Timestamp) -> Result<Figures, ApiError> {
    let (alerts, base) = (app.0.alerts.current(), app.0.alerts.base().to_owned());
    let plans = app.0.directory.current();
    let doubts = alerts.doubts(app.0.home.plans(&plans), &app.0.budgets.rules().budgets);
    let (home, seen, log_end) = (app.0.store.home.clone(), app.0.seen.clone(), app.0.store.log_end());
    let (catalogue, rules) = (app.0.catalogue.current(), app.0.budgets.rules());
    let stripe = app.0.provider.as_ref().map(|_| billing_routes::status_totals(app));
    read::with_reader(app, move |reader| {
        let ledger = reader.totals()?;
        let doubts = unusable_receivers(&alerts, &base).chain(doubts).collect();
        let mut gateways = status::gateways(reader, now)?;
        seen.lay_configurations(&home, &mut gateways);
        Ok(Figures {
            ledger: LedgerView { log_position: log_end.max(ledger.position), ..ledger },
            stripe: stripe.map(|read| read(reader)).transpose()?,
            gateways,
            providers: status::providers(reader, catalogue.as_deref(), now)?,
            alerts: AlertsStatus::read(reader, &alerts, doubts, now)?,
            lacking: view::lacking(reader.db(), &rules, now)?,
        })
    })
    .await
}

/// How everything stands.
pub(super) async fn system(app: &App) -> Result<SystemStatus, ApiError> {
    let now = app.0.clock.now();
    let Figures { ledger, stripe, gateways, providers, alerts, lacking } = figures(app, now).await?;
    let (log, failure) = health::faults(app);
    let snapshot = app.0.directory.current();
    let (tenants, keys) = snapshot.counts();
    let server = ServerStatus {
        log,
        ledger: failure,
        tenants: tenants as u64,
        keys: keys as u64,
        directory: snapshot.version().to_owned(),
        fetches: app.0.seen.fetches(),
        log_place: app.0.store.home.log_place().label(),
        ledger_place: app.0.store.home.ledger().label(),
        exports: app.exports(),
        catalogue_refused_by: refusing(app, now),
        unknown_plans: unknown_plans(app, now),
        configuration: app.0.seen.with(|seen| seen.configuration.clone()),
        budgets: budget_problems(app, &lacking, now),
        nodes: nodes(app),
        partitions: partitions(app, ledger.log_position.saturating_sub(ledger.position)),
    };
    let (last, next) = app.0.seen.with(|seen| (seen.last_report, seen.next_report));
    let billing = stripe.as_ref().map(|status| (BillingStatus::of(status, last, next), status));
    Ok(SystemStatus::of(now, Some(server), (gateways, providers), (&ledger, alerts), billing))
}

/// The nodes of the fleet.
fn nodes(app: &App) -> Vec<NodeStatus> {
    let Some(fleet) = &app.0.fleet else { return Vec::new() };
    let view = fleet.known().view;
    let node = |node: &NodeRow| NodeStatus {
        name: node.name.clone(),
        address: node.address.clone(),
        version: node.version.clone(),
        tables: node.tables,
        owns: node.life == fleet.me.life,
        is_seen: !node.is_missing(),
        silent_ms: node.silent_ms,
        started: Some(node.started),
        note: node.note.clone(),
    };
    view.nodes.iter().map(node).collect()
}

/// Who owns what: this node owns the one partition, or it would not be asked.
fn partitions(app: &App, uncounted_records: u64) -> Vec<PartitionStatus> {
    let Some(fleet) = &app.0.fleet else { return Vec::new() };
    let partition = |partition: &PartitionRow| PartitionStatus {
        number: partition.number,
        owner: partition.owner.clone(),
        since: Some(partition.since),
        changes: partition.epoch,
        uncounted_records,
    };
    fleet.known().view.partitions.iter().map(partition).collect()
}

/// Receivers that nothing can be sent to. Reads their secrets.
fn unusable_receivers(of: &Alerts, base: &Path) -> impl Iterator<Item = String> {
    of.unusable(base).into_iter().map(|(at, problem)| {
        let name = of.receivers.get(at).map_or("", |receiver| receiver.name.as_str());
        format!("nothing can be sent to alerts.receivers[{at}] ({name}): {problem}")
    })
}

/// What is wrong with budgets: usage that they cannot count, and names that fit nobody.
fn budget_problems(app: &App, lacking: &[Lacking], now: Timestamp) -> Vec<String> {
    let mut problems = budgets::unmatched(&app.0.budgets.rules(), |plan| app.0.seen.has_plan(plan, now));
    problems.extend(lacking.iter().map(budgets::lacking_words));
    problems
}

/// Gateways that have refused the catalogue in force.
fn refusing(app: &App, now: Timestamp) -> Vec<String> {
    let Some(catalogue) = app.0.catalogue.current() else { return Vec::new() };
    let users = app.0.seen.catalogues(now).into_iter();
    users.filter(|user| user.refused && user.version == catalogue.version).map(|user| user.gateway).collect()
}

/// Plans of the catalogue's rules that no gateway has, each once.
fn unknown_plans(app: &App, now: Timestamp) -> Vec<String> {
    let Some(catalogue) = app.0.catalogue.current() else { return Vec::new() };
    let named = catalogue.says.routing.rules.iter().flat_map(|rule| &rule.matches.plans);
    let unknown: BTreeSet<&String> = named.filter(|plan| app.0.seen.is_missing(plan, now)).collect();
    unknown.into_iter().cloned().collect()
}

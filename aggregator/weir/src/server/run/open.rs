//! Opens what a server needs before it can answer, and builds the server from it.
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use super::{ServeError, tasks_of, watch, with_note};
use crate::config::home::TenantsHome;
use crate::config::leases::LeaseSettings;
use crate::config::prices::prices_of;
use crate::config::tokens::{KeptTokens, Tokens};
use crate::config::{Config, ConfigError};
use crate::export;
use crate::fleet::{Fleet, Member, claim};
use crate::leases::{self, Leases};
use crate::metrics::node::NodeMetrics;
use crate::reporting::{reporter, tenants};
use crate::server::alerts::AlertsInForce;
use crate::server::budgets::BudgetsInForce;
use crate::server::provider::ProviderAccess;
use crate::server::tls::Tls;
use crate::server::{App, Parts, budgets, flags, ui};
use crate::store::{DataDir, Lock, ServerNote, Store, StoreError};
use crate::vault::{Vault, VaultInForce};
use weir_billing::outbox::report::Reporter;
use weir_clock::Clock;
use weir_contract::user::UserKey;
use weir_database::Fence;
use weir_ledger::cost::Rules;
use weir_ledger::{LedgerError, SqliteLedger, tenant_plans};
use weir_money::prices::Book;
use weir_stripe::StripeSink;
use weir_tenants::Directory;
use weir_tenants::store::TenantStore;

/// The longest wait at start for Stripe to confirm the key's account.
const IDENTIFY_MAX: Duration = Duration::from_secs(5);
/// The same for a node that takes over, for which gateways wait.
const TAKEOVER_IDENTIFY_MAX: Duration = Duration::from_secs(1);

/// By what right a server opens its data directory.
#[derive(Debug)]
pub(in crate::server) struct Right {
    pub(in crate::server) lock: Arc<Lock>,
    /// The node that becomes the owner.
    pub(in crate::server) claim: Option<Arc<Member>>,
}

/// What a server has opened.
#[derive(Debug)]
pub(in crate::server) struct Opened {
    store: Store,
    prepared: Prepared,
    vault: Option<Vault>,
    leases: Leases,
    reporter: Option<Reporter<StripeSink>>,
    tokens: Tokens,
    user_keys: Vec<UserKey>,
    book: Option<Arc<Book>>,
}

/// What is read while the ledger counts nothing yet.
#[derive(Debug)]
struct Prepared {
    kept: TenantStore,
    directory: Directory,
    in_force: BudgetsInForce,
    /// What further connections of this process obey.
    fence: Fence,
    /// The number of the change of owner, of a node.
    epoch: Option<u64>,
}

/// Where a server listens, and what it is among others.
#[derive(Debug)]
pub(in crate::server) struct Place {
    pub(in crate::server) note: ServerNote,
    /// Whether it listens on loopback only.
    pub(in crate::server) loopback: bool,
    pub(in crate::server) tls: Option<Tls>,
    pub(in crate::server) fleet: Option<Fleet>,
    pub(in crate::server) metrics: NodeMetrics,
}

/// Refuses a key of another account. Without an answer within seconds events are taken all the same, and nothing is sent
/// before there is one.
async fn begin(reporter: &Reporter<StripeSink>, directory: &Directory, patience: Duration) -> Result<(), ServeError> {
    match tokio::time::timeout(patience, reporter.begin()).await {
        Ok(Ok((policy, None))) => tracing::info!(account = %policy.account, "reporting to Stripe"),
        Ok(Ok((_, Some(why)))) => tracing::error!(%why, "nothing is sent to Stripe before this is mended"),
        Ok(Err(error)) => return Err(ServeError::Billing(error)),
        Err(_) => tracing::error!("Stripe does not answer; nothing is sent before it does"),
    }
    reporter.note(|| tenants(directory)).await.map_err(ServeError::Billing)
}

/// The center of fleet-wide limits. `is_new` says that nothing was ever kept.
async fn center(
    settings: &LeaseSettings,
    (home, fence): (&DataDir, &Fence),
    is_new: bool,
    clock: &Arc<dyn Clock>,
) -> Result<Leases, ServeError> {
    let (clock, timing) = (Arc::clone(clock), settings.timing);
    if let Some(place) = &settings.place {
        return Ok(Leases::join(place, timing, &home.shared_leases(), clock).await?);
    }
    let kept = leases::Home { place: home.leases(), before: &home.leases_file(), fence };
    let failed = |source| StoreError::Io { path: home.leases().label().into(), source };
    Ok(Leases::start(kept, timing, is_new, clock).map_err(failed)?)
}

/// Opens all parts that `config` names. Returns also the number of the change of owner, if the right is that of a node.
pub(in crate::server) async fn open(
    config: Config,
    clock: Arc<dyn Clock>,
    right: Right,
) -> Result<(Opened, Option<u64>), ServeError> {
    let tokens = config.tokens()?;
    let user_keys = config.user_keys()?;
    let home = DataDir::of(&config);
    // A bad file is told before the data directory is touched.
    let from_file = Directory::open(config.tenants.file())?;
    let book = config.prices.book().map_err(ConfigError::from)?.map(Arc::new);
    let patience = if right.claim.is_some() { TAKEOVER_IDENTIFY_MAX } else { IDENTIFY_MAX };
    let (in_store, prices) = ((home.clone(), config.clone(), Arc::clone(&clock)), prices_of(book.clone()));
    let opening = tokio::task::spawn_blocking(move || open_store(in_store, right, from_file, prices));
    let (is_new, store, prepared) = opening.await.map_err(std::io::Error::other)??;
    flags::tell_left_out(prepared.kept.lay_flags(&config.flags, &prepared.directory).map_err(ServeError::Tokens)?);
    let vault = config.vault.as_ref().map(|vault| Vault::open(&prepared.kept, vault, &config.base)).transpose()?;
    let leases = center(&config.leases, (&home, &prepared.fence), is_new, &clock).await?;
    let reporter = reporter(&config, &store, Arc::clone(&clock))?;
    if let Some(reporter) = &reporter {
        begin(reporter, &prepared.directory, patience).await?;
    }
    let epoch = prepared.epoch;
    Ok((Opened { store, prepared, vault, leases, reporter, tokens, user_keys, book }, epoch))
}

/// Opens log and ledger. Returns also whether the data directory is new.
fn open_store(
    (home, config, clock): (DataDir, Config, Arc<dyn Clock>),
    right: Right,
    from_file: Directory,
    prices: weir_ledger::cost::Prices,
) -> Result<(bool, Store, Prepared), StoreError> {
    let (is_new, now, ledger_place) = (!home.exists(), clock.now(), home.ledger().clone());
    let rules = Rules { meters: config.meters.clone(), prices: Some(prices) };
    let (of_tenants, claims) = (home.clone(), right.claim);
    let prepare = |ledger: &mut SqliteLedger| {
        let claimed = claims.map(|me| claim(ledger.db(), &ledger_place, &me)).transpose();
        let epoch = claimed.map_err(LedgerError::from)?;
        let fence = ledger.db().fence();
        let kept = of_tenants.open_tenants(&fence, now)?;
        let directory = if config.tenants == TenantsHome::Database { kept.directory().clone() } else { from_file };
        let in_force = BudgetsInForce::new(config.budgets.clone(), &directory.current());
        budgets::note_anchors(ledger, &config.budgets, directory.current().anchors())?;
        tenant_plans::note(ledger.db(), &directory.current().plans_now(), now)?;
        ledger.set_steering(Some(Box::new(in_force.engine())), now)?;
        Ok(Prepared { kept, directory, in_force, fence, epoch })
    };
    let (store, prepared) = Store::open_with(home, right.lock, rules, clock, prepare)?;
    Ok((is_new, store, prepared))
}

/// Builds a server, and starts what it does beside answering.
pub(in crate::server) async fn build(
    config: &Config,
    opened: Opened,
    clock: Arc<dyn Clock>,
    place: Place,
) -> Result<(App, Vec<JoinHandle<()>>), ServeError> {
    let Opened { store, prepared, vault, leases, reporter, tokens, user_keys, book } = opened;
    let Prepared { kept, directory, in_force, fence: _, epoch: _ } = prepared;
    let kept_tokens = KeptTokens::new(kept.tokens().map_err(ServeError::Tokens)?);
    let provider = match (&config.stripe, &reporter) {
        (Some(stripe), Some(reporter)) => Some(ProviderAccess::new(config, stripe, reporter.pacer())?),
        _ => None,
    };
    let exports: Vec<_> =
        config.export.iter().map(|export| (export.clone(), export::Progress::of(&export.name))).collect();
    let app = App::new(Parts {
        store,
        directory,
        leases,
        kept,
        kept_tokens,
        home: config.tenants.clone(),
        tokens: with_note(tokens, &place.note),
        clock,
        reporter,
        provider,
        finances: config.finances.clone(),
        prices: Some((config.prices.clone(), book)),
        other_costs: config.other_costs.clone(),
        budgets: in_force,
        alerts: AlertsInForce::new(config.alerts.clone(), config.base.clone()),
        user_keys,
        exports: exports.iter().map(|(_, progress)| Arc::clone(progress)).collect(),
        vault: VaultInForce::new(vault),
        flags: config.flags.clone(),
        catalogue: config.catalogue.clone(),
        provisioning: config.provisioning.clone(),
        grace_ms: config.grace_ms,
        loopback: place.loopback,
        ui: ui::Dashboard::new(config.ui.clone(), &config.base)?,
        fleet: place.fleet,
        node: place.metrics,
    });
    let told = budgets::begin(&app).await.map_err(|error| ServeError::Budgets(error.to_string()))?;
    let mut tasks = tasks_of(&app, config, exports, told);
    tasks.push(tokio::spawn(watch(app.clone(), config.path.clone(), place.note, place.tls)));
    Ok((app, tasks))
}

//! Runs the server: binds, writes the note for commands, answers, stops within a bound. Meanwhile it watches files for
//! changes and prunes old records of the event log.
pub(super) mod open;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use open::{Place, Right, build, open};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use weir_contract::Timestamp;

use super::auth::of_commands;
use super::tls::{Tls, TlsError, TlsListener};
use super::{
    App, admin, alerts, budgets, byok, catalogue, conditions, connections, flags, models, periods, prices,
    provisioning, read, ui,
};
use crate::config::export::Export;
use crate::config::tokens::{COMMANDS, NoRandomness, Token, Tokens, random_token};
use crate::config::{Config, ConfigError};
use crate::export;
use crate::forget;
use crate::leases::LeasesError;
use crate::metrics::ConnectionMetrics;
use crate::metrics::node::NodeMetrics;
use crate::reporting::ReportingError;
use crate::store::{DataDir, ServerNote, StoreError};
use weir_billing::outbox::BillingError;
use weir_billing::outbox::view::ReportRequest;
use weir_clock::Clock;
use weir_event_log::AppendError;
use weir_ledger::files::PruneError;
use weir_settings::secret::masked;
use weir_tenants::store::vault::rotate::VaultError;
use weir_tenants::{DirectoryError, Reloaded};

/// How often files are checked for changes.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often old log records are pruned. The next constant is the pause between two steps.
const PRUNE_EVERY: Duration = Duration::from_secs(600);
const PRUNE_PAUSE: Duration = Duration::from_millis(200);
/// How often hours that are over are taken into sums by month. The next constant is the pause between two hours.
const ROLL_EVERY: Duration = Duration::from_secs(60);
const ROLL_PAUSE: Duration = Duration::from_millis(50);
/// How often forgotten users are removed from new events.
const FORGET_EVERY: Duration = Duration::from_secs(60);
/// The longest wait for open requests when the server stops.
const DRAIN_MAX: Duration = Duration::from_secs(10);
/// The longest wait for the ledger to count the rest of the log. The next start counts what remains.
const FINISH_MAX: Duration = Duration::from_secs(10);

/// Why a server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The configuration is not valid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The tenants file is not valid.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The tokens of the database cannot be read.
    #[error(transparent)]
    Tokens(weir_tenants::store::change::ChangeError),
    /// The vault cannot be opened.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The data directory cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Reporting cannot be set up.
    #[error(transparent)]
    Reporting(#[from] ReportingError),
    /// The key belongs to another account, or the ledger cannot be written.
    #[error(transparent)]
    Billing(BillingError),
    /// Which budgets are in force cannot be read.
    #[error("budgets: {0}")]
    Budgets(String),
    /// The address cannot be bound.
    #[error("cannot listen on {address}: {source}; choose another `listen`")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// Certificate or key cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The Redis of leases refuses.
    #[error(transparent)]
    Leases(#[from] LeasesError),
    /// A node is started without the settings of one.
    #[error("node: there are no settings of a node")]
    NoNode,
    /// The other nodes cannot be reached with these settings.
    #[error("node: {0}")]
    Peers(String),
    /// Another node has the name or the address of this one, or there are too many.
    #[error("{0}")]
    Refused(String),
    /// This node owned, and does not any more.
    #[error(
        "this node owns the event log and the ledger no longer: {0}. It ends, so that its supervisor starts it again and it \
         follows the new owner"
    )]
    Superseded(String),
    /// This node gave the ownership up.
    #[error(
        "this node gave the event log and the ledger up: {0}. It ends, so that its supervisor starts it again and it follows the \
         new owner"
    )]
    Yielded(String),
    /// The thread that keeps the table of nodes has ended.
    #[error("the thread that keeps the table of nodes has ended")]
    FleetEnded,
    /// The operating system provides no random bytes.
    #[error(transparent)]
    Random(#[from] NoRandomness),
    /// The connection loop failed.
    #[error("serving: {0}")]
    Io(#[from] std::io::Error),
}

/// The listeners of a server.
#[derive(Debug)]
pub(super) enum Listeners {
    /// Plain HTTP.
    Plain(TcpListener),
    /// TLS, and plain HTTP for commands on this machine, which need a token but no certificate.
    Tls(TlsListener, TcpListener),
}

/// Starts what a server does beside answering.
pub(super) fn tasks_of(
    app: &App,
    config: &Config,
    exports: Vec<(Export, Arc<export::Progress>)>,
    told: HashMap<String, budgets::Told>,
) -> Vec<JoinHandle<()>> {
    let mut tasks = vec![
        tokio::spawn(prune(app.clone(), config.log_retention_ms)),
        tokio::spawn(expire_audit(app.clone(), config.finding_retention_ms, config.search_retention_ms)),
        tokio::spawn(look_at_conditions(app.clone())),
        tokio::spawn(roll(app.clone())),
        tokio::spawn(budgets::tell(app.clone(), told)),
        tokio::spawn(budgets::end_raises(app.clone())),
        tokio::spawn(budgets::measure(app.clone())),
        tokio::spawn(alerts::tell(app.clone())),
        tokio::spawn(alerts::watch::watch(app.clone())),
        tokio::spawn(forget_again(app.clone())),
        tokio::spawn(provisioning::drive::drive(app.clone())),
        tokio::spawn(models::reread(app.clone())),
    ];
    tasks.extend(exports.into_iter().map(|(export, progress)| tokio::spawn(hand_on(app.clone(), export, progress))));
    if config.ui.is_enabled {
        tasks.push(tokio::spawn(ui::live::follow(app.clone())));
        tasks.push(tokio::spawn(ui::answers::follow(app.clone())));
    }
    if config.stripe.is_some() {
        tasks.push(tokio::spawn(periods::keep_fresh(app.clone())));
    }
    if let Some(every) = config.stripe.as_ref().and_then(|stripe| stripe.report_every_ms) {
        tasks.push(tokio::spawn(report_every(app.clone(), Duration::from_millis(every))));
    }
    tasks
}

/// A server that is listening.
#[derive(Debug)]
pub struct Server {
    app: App,
    listeners: Listeners,
    address: SocketAddr,
    home: DataDir,
    tasks: Vec<JoinHandle<()>>,
}

/// Listens, and returns the server's address and the one of commands.
pub(super) async fn listen(
    on: SocketAddr,
    tls: Option<&Tls>,
) -> Result<(Listeners, SocketAddr, SocketAddr), ServeError> {
    let failed = |source| ServeError::Listen { address: on, source };
    let listener = TcpListener::bind(on).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let Some(tls) = tls else { return Ok((Listeners::Plain(listener), address, reachable(address))) };
    let commands = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await?;
    let local = commands.local_addr()?;
    Ok((Listeners::Tls(tls.listen(listener)?, commands), address, local))
}

impl Server {
    /// Opens all parts that `config` names, and listens.
    pub async fn start(config: Config, clock: Arc<dyn Clock>) -> Result<Self, ServeError> {
        let tls = config.tls.clone().map(Tls::open).transpose()?;
        let home = DataDir::of(&config);
        let right = Right { lock: Arc::new(home.take_lock()?), claim: None };
        let (opened, _) = open(config.clone(), Arc::clone(&clock), right).await?;
        let (listeners, address, commands) = listen(config.listen, tls.as_ref()).await?;
        let note = ServerNote { address: commands, token: random_token()? };
        let metrics = NodeMetrics::default();
        metrics.owner.set(1);
        metrics.able.set(1);
        let loopback = address.ip().is_loopback();
        let place = Place { note: note.clone(), loopback, tls, fleet: None, metrics };
        let (app, tasks) = build(&config, opened, clock, place).await?;
        home.write_note(&note)?;
        Ok(Server { app, listeners, address, home, tasks })
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop`, then completes open requests and counting, within twice ten seconds.
    pub async fn run(self, stop: impl Future<Output = ()> + Send + 'static) -> Result<(), ServeError> {
        let (stopping, stopped) = tokio::sync::watch::channel(false);
        let waiting = self.app.clone();
        let told = tokio::spawn(async move {
            stop.await;
            waiting.stop_waiting();
            stopping.send_replace(true);
        });
        let (router, metrics) = (self.app.router(), self.app.0.metrics.connections());
        let serving = serve(self.listeners, router, metrics, stopped.clone());
        let drained = async {
            connections::until(stopped.clone()).await;
            tokio::time::sleep(DRAIN_MAX).await;
        };
        tokio::select! {
            () = serving => {}
            () = drained => tracing::warn!("some requests did not end in time; they are broken off"),
        }
        for task in self.tasks.into_iter().chain([told]) {
            task.abort();
            let _ = task.await;
        }
        self.home.remove_note();
        finish(self.app, FINISH_MAX).await;
        Ok(())
    }
}

/// Answers on all listeners until `stopped`, and what is under way then to its end.
pub(super) async fn serve(
    listeners: Listeners,
    router: Router,
    metrics: ConnectionMetrics,
    stopped: tokio::sync::watch::Receiver<bool>,
) {
    let limits = connections::Limits::default();
    match listeners {
        Listeners::Plain(listener) => connections::serve(listener, router, stopped, metrics, limits).await,
        Listeners::Tls(listener, commands) => {
            let open = connections::serve(listener, router.clone(), stopped.clone(), metrics.clone(), limits);
            let local = connections::serve(commands, router, stopped, metrics, limits);
            tokio::join!(open, local);
        }
    }
}

/// Lets the threads of log and ledger end. Whatever does not get done is done at the next start: the log has it.
pub(super) async fn finish(app: App, patience: Duration) {
    let Some(store) = app.into_store() else { return };
    let closing = tokio::task::spawn_blocking(move || store.close().finish());
    if tokio::time::timeout(patience, closing).await.is_err() {
        tracing::warn!("the ledger has not counted everything in the log; it goes on at the next start");
    }
}

/// An address that this machine can connect to, for a listener on all addresses.
fn reachable(address: SocketAddr) -> SocketAddr {
    let mut address = address;
    if address.ip().is_unspecified() {
        let ip =
            if address.is_ipv4() { std::net::Ipv4Addr::LOCALHOST.into() } else { std::net::Ipv6Addr::LOCALHOST.into() };
        address.set_ip(ip);
    }
    address
}

pub(super) fn with_note(tokens: Tokens, note: &ServerNote) -> Tokens {
    tokens.with(Token::of(COMMANDS, of_commands(), &note.token))
}

/// Watches the files, and puts changed tenants, tokens and certificates in force.
pub(super) async fn watch(app: App, config: PathBuf, note: ServerNote, mut tls: Option<Tls>) {
    let mut told: Option<String> = None;
    let mut known = Known { problem: String::new(), settings: Config::load(&config).ok(), told: Vec::new() };
    let mut counts = app.directory().current().counts();
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let problem = match app.directory().reload() {
            Ok(Reloaded::New) => {
                let now = app.directory().current();
                let (tenants, keys) = now.counts();
                tracing::info!(
                    version = now.version(),
                    tenants,
                    keys,
                    tenants_before = counts.0,
                    keys_before = counts.1,
                    "new tenants are in force"
                );
                if (tenants == 0 && counts.0 > 0) || (keys == 0 && counts.1 > 0) {
                    tracing::warn!("the tenants file names no tenants or no keys any more: gateways refuse every key");
                }
                counts = (tenants, keys);
                admin::note_tenants(&app).await.err().map(|error| error.to_string())
            }
            Ok(Reloaded::Same) => None,
            Err(error) => Some(masked(&error.to_string())),
        };
        if let Some(problem) = problem.filter(|problem| told.as_ref() != Some(problem)) {
            tracing::error!(%problem, "the tenants file is not used; the last good one stays in force");
            told = Some(problem);
        }
        if let Some(config) = reload_tokens(&app, &config, &note, &mut known) {
            prices::reload(&app, &config.prices).await;
            app.replace_finances(config.finances);
            budgets::reload(&app, config.budgets).await;
            app.0.alerts.replace(config.alerts);
            byok::reload(&app, config.vault, config.base).await;
            flags::reload(&app, config.flags).await;
            catalogue::reload(&app, config.catalogue);
        } else {
            app.0.metrics.prices_read(false);
        }
        if let Some(tls) = &mut tls {
            tls.reload();
        }
    }
}

/// What [`reload_tokens`] found last.
struct Known {
    problem: String,
    /// The settings of the start.
    settings: Option<Config>,
    /// Which of them the file says otherwise.
    told: Vec<&'static str>,
}

/// Returns the configuration if it is good.
fn reload_tokens(app: &App, path: &std::path::Path, note: &ServerNote, known: &mut Known) -> Option<Config> {
    match Config::load(path).and_then(|config| Ok((config.tokens()?, config))) {
        Ok((tokens, config)) => {
            app.replace_tokens(with_note(tokens, note));
            app.note_configuration(None);
            known.problem.clear();
            let changed = known.settings.as_ref().map_or_else(Vec::new, |settings| settings.differs(&config));
            if changed.is_empty() && !known.told.is_empty() {
                tracing::info!("the configuration says again what is in force");
                known.told = changed;
            } else if changed != known.told {
                tracing::warn!(
                    changed = changed.join(", "),
                    "the configuration changed; what is neither tokens, prices, price plans, budgets, alerts, flags, the catalogue of models nor the vault is in force after a restart"
                );
                known.told = changed;
            }
            Some(config)
        }
        Err(error) => {
            let problem = masked(&error.to_string());
            app.note_configuration(Some(problem.clone()));
            if known.problem != problem {
                tracing::error!(%problem, "the configuration is not used; tokens, prices, price plans, budgets, alerts and the catalogue of models stay as they are");
                known.problem = problem;
            }
            None
        }
    }
}

/// Tells what goes wrong with events, once when it begins and once when it is over.
async fn look_at_conditions(app: App) {
    loop {
        tokio::time::sleep(conditions::LOOK_EVERY).await;
        if let Ok(view) = read::own_totals_view(&app).await {
            app.0.conditions.look(&view, app.0.clock.elapsed());
        }
    }
}

/// Hands events on to a receiver.
async fn hand_on(app: App, export: Export, progress: Arc<export::Progress>) {
    export::run(&app.0.store, export, progress).await;
}

/// Removes forgotten users from events that came since: sent late, or replayed from a gateway's log.
async fn forget_again(app: App) {
    loop {
        tokio::time::sleep(FORGET_EVERY).await;
        match forget::apply(&app.0.store, app.0.clock.now()).await {
            Ok(Some(view)) if view.records + view.events > 0 => {
                tracing::info!(records = view.records, events = view.events, "forgotten users were taken out again");
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "forgotten users are still in new events; trying again"),
        }
    }
}

/// When the oldest record of the log was received, if that was before `before`. What cannot be read is as old as can be.
async fn oldest_kept(app: &App, before: Timestamp) -> Timestamp {
    let home = app.0.store.home.clone();
    let oldest = tokio::task::spawn_blocking(move || home.log_place().reader()?.read_after(0, 1)).await;
    match oldest {
        Ok(Ok(records)) => records.first().map_or(before, |record| record.received_at.min(before)),
        Ok(Err(_)) | Err(_) => Timestamp::from_millis(0),
    }
}

/// Drops what is older than the log keeps and counted, a little at a time.
async fn prune(app: App, retention_ms: u64) {
    loop {
        let store = &app.0.store;
        let before = Timestamp::from_millis(app.0.clock.now().as_millis().saturating_sub(retention_ms));
        let dropped = weir_ledger::files::prune(&store.log, &store.ledger, before).await;
        // Such a log drops its records itself, and may keep them for longer.
        let (dropped, before) = match dropped {
            Err(PruneError::Log(AppendError::Unsupported(_))) => (Ok(0), oldest_kept(&app, before).await),
            dropped => (dropped, before),
        };
        if let Err(error) = &dropped {
            tracing::warn!(%error, "old records could not be dropped; trying again");
        }
        if let Ok(records @ 1..) = dropped {
            tracing::debug!(records, "old records were dropped from the event log");
        }
        // A source is dropped once the log has none of its records, and never while it misses a number.
        let silent = store.ledger.call(move |ledger| ledger.drop_silent_sources(before)).await;
        if let Err(error) = &silent {
            tracing::warn!(%error, "silent sources could not be dropped; trying again");
        }
        // Only once the log has dropped the records: whatever it has can still be counted again.
        if dropped.as_ref().is_ok_and(|count| *count == 0)
            && let Err(error) = store.ledger.call(move |ledger| ledger.drop_old_books(before)).await
        {
            tracing::warn!(%error, "old price books could not be dropped; trying again");
        }
        let more = dropped.is_ok_and(|count| count > 0) || silent.is_ok_and(|count| count > 0);
        tokio::time::sleep(if more { PRUNE_PAUSE } else { PRUNE_EVERY }).await;
    }
}

/// Drops findings and searches that are older than they are kept, a little at a time.
async fn expire_audit(app: App, findings_ms: u64, searches_ms: u64) {
    loop {
        let now = app.0.clock.now().as_millis();
        let before = |kept_ms: u64| Timestamp::from_millis(now.saturating_sub(kept_ms));
        let (findings, searches) = (before(findings_ms), before(searches_ms));
        let expired = app.0.store.ledger.call(move |ledger| ledger.expire_audit(findings, searches)).await;
        if let Err(error) = &expired {
            tracing::warn!(%error, "old findings and searches could not be dropped; trying again");
        }
        let more = expired.is_ok_and(|count| count > 0);
        tokio::time::sleep(if more { PRUNE_PAUSE } else { PRUNE_EVERY }).await;
    }
}

/// Takes hours that are over into sums by month, one at a time.
async fn roll(app: App) {
    loop {
        let now = app.0.clock.now();
        let rolled = app.0.store.ledger.call(move |ledger| ledger.roll(now)).await;
        if let Err(error) = &rolled {
            tracing::warn!(%error, "an hour could not be taken into the sums by month; trying again");
        }
        tokio::time::sleep(if rolled.is_ok_and(|more| more) { ROLL_PAUSE } else { ROLL_EVERY }).await;
    }
}

async fn report_every(app: App, every: Duration) {
    let mut more = false;
    loop {
        if !std::mem::take(&mut more) {
            let wait_ms = u64::try_from(every.as_millis()).unwrap_or(u64::MAX);
            app.0.seen.due(app.0.clock.now().plus_millis(wait_ms));
            tokio::time::sleep(every).await;
        }
        let reported = admin::run(&app, ReportRequest::default()).await;
        more = reported.as_ref().is_ok_and(|view| view.more);
        match reported {
            Ok(view) if view.created + view.reported > 0 || view.stopped.is_some() => {
                tracing::info!(created = view.created, reported = view.reported, pending = view.pending,
                               held = ?view.held, stopped = ?view.stopped, "reported");
            }
            Ok(view) => tracing::debug!(pending = view.pending, "there was nothing to report"),
            Err(error) => tracing::error!(%error, "reporting failed; trying again"),
        }
    }
}

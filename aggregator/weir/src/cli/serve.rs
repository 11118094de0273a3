//! `weir serve`.
use std::path::Path;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use super::EXIT_DONE;
use super::access;
use super::render::{complain, say};
use crate::budgets;
use crate::config::Config;
use crate::server::directory::raise_open_files;
use crate::server::node::Node;
use crate::server::run::Server;
use crate::store::DataDir;
use weir_clock::SystemClock;
use weir_ledger::query::LedgerReader;
use weir_steer::engine::Rules;

/// The variable that says what is logged.
const LOG_VARIABLE: &str = "WEIR_LOG";
/// The beginning of the names of weir's own modules.
const OURS: &str = "weir";
/// The level of everything else.
const LIBRARIES: &str = "warn";

pub(super) fn run(path: &Path, check_only: bool) -> anyhow::Result<u8> {
    let (config, doubts) = check_all(path, check_only)?;
    if check_only {
        let home = DataDir::of(&config);
        let data = if home.exists() { "in use" } else { "new" };
        for problem in unmatched_budgets(&config)? {
            complain!("{}: warning: {problem}", path.display());
        }
        say!("{}: good; data directory {} ({data})", path.display(), home.dir().display());
        for doubt in doubts {
            say!("warning: {doubt}");
        }
        return Ok(EXIT_DONE);
    }
    let filter = log_filter(asked_for().as_deref())?;
    tracing_subscriber::fmt().json().with_env_filter(filter).with_writer(std::io::stderr).init();
    for doubt in doubts {
        tracing::warn!("{doubt}");
    }
    raise_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let served = runtime.block_on(serve(config));
    // Tasks still running have had their time; the log has every acknowledged event.
    runtime.shutdown_background();
    served.map(|()| EXIT_DONE)
}

#[allow(clippy::disallowed_methods, reason = "the one reader of the log's level")]
fn asked_for() -> Option<String> {
    std::env::var(LOG_VARIABLE).ok()
}

/// What is logged: weir's own lines of this level, and warnings of libraries, whose details concern connections. A directive for
/// a library (`hyper=debug`) is obeyed.
fn log_filter(asked: Option<&str>) -> anyhow::Result<EnvFilter> {
    let asked = asked.map(str::trim).filter(|asked| !asked.is_empty()).unwrap_or("info");
    let mut directives = Vec::new();
    for part in asked.split(',').map(str::trim) {
        match part.parse::<LevelFilter>() {
            Ok(level) => directives.extend([LIBRARIES.to_owned(), format!("{OURS}={level}")]),
            Err(_) => directives.push(part.to_owned()),
        }
    }
    EnvFilter::try_new(directives.join(",")).with_context(|| {
        format!("{LOG_VARIABLE}={asked}: expected a level (error, warn, info, debug, trace), or MODULE=LEVEL")
    })
}

async fn serve(config: Config) -> anyhow::Result<()> {
    if config.tokens.is_empty() {
        tracing::warn!("no tokens are configured: gateways cannot send events; add `tokens` to the configuration");
    }
    if config.node.is_none() && !DataDir::of(&config).exists() {
        tracing::info!(data = %config.data.display(), "a new data directory is started");
    }
    // Heard from the beginning: who sees that the server is there may tell it to stop at once.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut stop = Box::pin(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping");
    });
    if config.node.is_some() {
        return serve_node(config, stop).await;
    }
    let server = tokio::select! {
        started = Server::start(config, SystemClock::start()) => started?,
        () = &mut stop => return Ok(()),
    };
    tracing::info!(address = %server.address(), "listening");
    server.run(stop).await?;
    tracing::info!("stopped");
    Ok(())
}

/// As [`serve`], of one of several nodes.
async fn serve_node(config: Config, stop: impl Future<Output = ()> + Send + 'static) -> anyhow::Result<()> {
    let node = Node::start(config, SystemClock::start()).await?;
    tracing::info!(address = %node.address(), "listening");
    node.run(stop).await?;
    tracing::info!("stopped");
    Ok(())
}

/// What the budgets name and nobody has.
fn unmatched_budgets(config: &Config) -> anyhow::Result<Vec<String>> {
    let tenants = config.directory(SystemClock::start().now())?.current();
    let rules = Rules { budgets: config.budgets.clone().into(), plans: tenants.plans().clone().into() };
    Ok(budgets::unmatched(&rules, |_| false))
}

/// Reads and checks everything that a server reads before it starts. Returns also what may be meant otherwise, in sentences. One of several
/// nodes that is to start waits for what it does not reach.
fn check_all(path: &Path, check_only: bool) -> anyhow::Result<(Config, Vec<String>)> {
    let config = Config::load(path)?;
    config.tokens()?;
    let directory = config.directory(SystemClock::start().now())?;
    config.alerts.check_secrets(path, &config.base)?;
    let doubts = config.alerts.doubts(config.tenants.plans(&directory.current()), &config.budgets);
    if let Some(tls) = &config.tls {
        tls.load()?;
    }
    if let Some(stripe) = &config.stripe {
        config.stripe_key(stripe)?;
    }
    if let Some(key) = &config.signing_key {
        key.read(&config.base).context("signing_key")?;
    }
    config.prices.book()?;
    if config.node.is_some() && !check_only {
        return Ok((config, doubts));
    }
    let home = DataDir::of(&config);
    if let Some(log) = &config.log {
        log.check()?;
    }
    if let Some(leases) = &config.leases.place {
        access::block_on(async { Ok(crate::leases::check(leases).await?) })?;
    }
    if home.has_ledger()? {
        LedgerReader::open(home.ledger())?.check_meters(&config.meters)?;
    }
    Ok((config, doubts))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_weirs_own_and_a_library_is_heard_when_it_is_named() {
        let shown = |asked| log_filter(asked).map(|filter| filter.to_string());
        assert_eq!(shown(None).expect("good"), "weir=info,warn");
        assert_eq!(shown(Some("debug")).expect("good"), "weir=debug,warn");
        let named = shown(Some("debug,hyper=trace")).expect("good");
        assert!(named.contains("hyper=trace") && named.contains("weir=debug"), "{named}");
        assert!(shown(Some("=x=")).is_err_and(|error| error.to_string().contains("WEIR_LOG")));
    }
}

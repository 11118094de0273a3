//! `weir serve`.
use std::path::Path;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::EXIT_DONE;
use super::render::say;
use crate::config::Config;
use crate::server::run::Server;
use crate::store::DataDir;
use weir_clock::SystemClock;
use weir_ledger::query::LedgerReader;
use weir_tenants::Directory;

pub(super) fn run(path: &Path, check_only: bool) -> anyhow::Result<u8> {
    let config = check_all(path)?;
    if check_only {
        let home = DataDir::at(&config.data);
        let data = if home.exists() { "in use" } else { "new" };
        say!("{}: good; data directory {} ({data})", path.display(), home.dir().display());
        return Ok(EXIT_DONE);
    }
    let filter = EnvFilter::try_from_env("WEIR_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().json().with_env_filter(filter).with_writer(std::io::stderr).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(config))?;
    // Tasks still running have had their time; the log has every acknowledged event.
    runtime.shutdown_background();
    Ok(EXIT_DONE)
}

async fn serve(config: Config) -> anyhow::Result<()> {
    if config.tokens.is_empty() {
        tracing::warn!("no tokens are configured: gateways cannot send events; add `tokens` to the configuration");
    }
    if !DataDir::at(&config.data).exists() {
        tracing::info!(data = %config.data.display(), "a new data directory is started");
    }
    let server = Server::start(config, SystemClock::start()).await?;
    tracing::info!(address = %server.address(), "listening");
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping");
    };
    server.run(stop).await?;
    tracing::info!("stopped");
    Ok(())
}

/// Reads and checks everything that a server reads before it starts.
fn check_all(path: &Path) -> anyhow::Result<Config> {
    let config = Config::load(path)?;
    config.tokens()?;
    Directory::open(config.tenants.clone())?;
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
    let home = DataDir::at(&config.data);
    if home.ledger().exists() {
        LedgerReader::open(&home.ledger())?.check_meters(&config.meters)?;
    }
    Ok(config)
}

//! The real Alertmanager of Prometheus, from the folder that `make setup` fills.

use crate::probe::{self, Port};
use crate::process::{Process, Recipe};
use crate::workspace;
use serde_json::Value;
use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tempfile::TempDir;

/// It starts in a second; a busy machine may take longer.
const START_MAX: Duration = Duration::from_secs(30);
/// A route without receivers: alerts are only kept.
const CONFIG: &str = "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n";

/// A running Alertmanager. Dropping it kills it and removes its files.
#[derive(Debug)]
pub struct Alertmanager {
    process: Process,
    port: Port,
    _folder: TempDir,
}

impl Alertmanager {
    /// Starts it on a free loopback port.
    ///
    /// # Errors
    /// When there is no `alertmanager`, or it does not start; the message names the remedy.
    pub fn start() -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let port = Port::reserve()?;
        let config = folder.path().join("alertmanager.yml");
        std::fs::write(&config, CONFIG)?;
        let args = [
            format!("--config.file={}", config.display()),
            format!("--storage.path={}", folder.path().display()),
            format!("--web.listen-address={}", port.address()),
            // One instance alone needs no gossip.
            "--cluster.listen-address=".to_owned(),
        ];
        let recipe = Recipe {
            name: "alertmanager".to_owned(),
            program: workspace::alertmanager_binary()?,
            args: args.map(OsString::from).into(),
            env: Vec::new(),
            log: folder.path().join("alertmanager.log"),
        };
        let mut started = Self { process: Process::start(recipe)?, port, _folder: folder };
        started.wait()?;
        Ok(started)
    }

    fn wait(&mut self) -> io::Result<()> {
        let address = self.port.address();
        let is_ready = || probe::get(address, "/-/ready").ok().filter(|answer| answer.status == 200);
        self.process.wait_until(START_MAX, is_ready).map(drop)
    }

    /// Kills it.
    ///
    /// # Errors
    /// When it cannot be killed.
    pub fn kill(&mut self) -> io::Result<()> {
        self.process.kill()
    }

    /// Kills it and starts it again at the same address. It has forgotten all alerts.
    ///
    /// # Errors
    /// When it does not start.
    pub fn restart(&mut self) -> io::Result<()> {
        self.process.restart()?;
        self.wait()
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// The alerts that fire.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn alerts(&self) -> io::Result<Value> {
        probe::get(self.address(), "/api/v2/alerts?active=true")?.json()
    }
}

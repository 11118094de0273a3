//! `weir serve` as a process: on a port that stays its own, so that it can be killed and come back to the same gateways.

use crate::probe::{self, Answer, Port};
use crate::process::{Process, Recipe};
use crate::workspace;
use serde_json::{Value, json};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;
use tempfile::TempDir;

/// It is ready within milliseconds; a debug build on a busy machine takes longer to replay its log.
const START_MAX: Duration = Duration::from_secs(30);

/// A running `weir serve` with a folder of its own.
#[derive(Debug)]
pub struct Aggregator {
    process: Process,
    port: Port,
    binary: PathBuf,
    env: Vec<(String, String)>,
    // After the process: its files go when it is gone.
    folder: TempDir,
}

impl Aggregator {
    /// Starts it and waits until it is ready. `config` is what `weir.yaml` says; `listen` is put in here. `files` are
    /// written beside it (the tenants, for example), `env` holds the secrets that it names.
    ///
    /// # Errors
    /// When the binary cannot be built or does not get ready: the message ends with the last lines of its log.
    pub fn start(config: &Value, files: &[(&str, &str)], env: &[(&str, &str)]) -> io::Result<Self> {
        Self::start_on(Port::reserve()?, config.clone(), files, env)
    }

    /// As [`Aggregator::start`], as the node `name` of several, which `config` gives an event log and a ledger.
    ///
    /// # Errors
    /// As [`Aggregator::start`].
    pub fn start_node(name: &str, config: &Value, files: &[(&str, &str)], env: &[(&str, &str)]) -> io::Result<Self> {
        let port = Port::reserve()?;
        let mut config = config.clone();
        config["node"] = json!({"name": name, "address": format!("http://{}", port.address())});
        Self::start_on(port, config, files, env)
    }

    fn start_on(port: Port, mut config: Value, files: &[(&str, &str)], env: &[(&str, &str)]) -> io::Result<Self> {
        let binary = workspace::weir_binary()?;
        let folder = tempfile::Builder::new().prefix("weir-serve-").tempdir()?;
        config["listen"] = json!(port.address());
        // JSON is YAML.
        std::fs::write(folder.path().join("weir.yaml"), format!("{config:#}"))?;
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text)?;
        }
        let env: Vec<(String, String)> = env.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let recipe = Recipe {
            name: "weir serve".to_owned(),
            program: binary.clone(),
            args: vec!["serve".into(), "--config".into(), folder.path().join("weir.yaml").into()],
            env: env.clone(),
            log: folder.path().join("log"),
        };
        let mut aggregator = Self { process: Process::start(recipe)?, port, binary, env, folder };
        aggregator.wait_ready()?;
        Ok(aggregator)
    }

    /// Kills it at once, as `kill -9` does.
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub fn kill(&mut self) -> io::Result<()> {
        self.process.kill()
    }

    /// Starts it again on the same port and the same files, after killing it if it still runs.
    ///
    /// # Errors
    /// As [`Aggregator::start`].
    pub fn restart(&mut self) -> io::Result<()> {
        self.process.restart()?;
        self.wait_ready()
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Its configuration file; beside it lie its data and its log.
    #[must_use]
    pub fn config_file(&self) -> PathBuf {
        self.folder.path().join("weir.yaml")
    }

    /// The folder of its configuration, data and log.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The binary that runs.
    #[must_use]
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// All it has logged so far, over all its lives.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// `GET path` with a bearer token.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn get(&self, path: &str, token: &str) -> io::Result<Answer> {
        probe::call("GET", self.address(), path, &[("authorization", &format!("Bearer {token}"))])
    }

    /// Runs another command of `weir` under the same configuration and secrets, to its end.
    ///
    /// # Errors
    /// When the binary cannot be run. How it ended is in the output.
    pub fn command(&self, args: &[&str]) -> io::Result<Output> {
        let mut command = Command::new(&self.binary);
        command.args(args).arg("--config").arg(self.config_file());
        command.envs(self.env.iter().map(|(name, value)| (name, value))).output()
    }

    fn wait_ready(&mut self) -> io::Result<()> {
        let address = self.port.address();
        let ready = || probe::get(address, "/readyz").ok().filter(|answer| answer.status == 200).map(drop);
        self.process.wait_until(START_MAX, ready)
    }
}

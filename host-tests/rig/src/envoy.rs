//! The real Envoy, run with a configuration whose ports, clusters and code are put in at the start ([`Bootstrap`]).
//!
//! Every port is one that was free; which, is read back from Envoy's admin interface. The process, its files and its
//! ports are gone when the value is dropped.

mod bootstrap;

pub use bootstrap::{Bootstrap, BootstrapError};

use crate::probe::{self, Answer};
use crate::process::{Process, Recipe};
use crate::workspace;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

/// Compiling `weir.wasm` natively takes a second or two on a busy machine, and once per worker at worst.
const START_MAX: Duration = Duration::from_secs(60);

/// Counters of what became of listeners that Envoy was given.
const LISTENERS_TAKEN: &str = "listener_manager.lds.update_success";
const LISTENERS_REFUSED: &str = "listener_manager.lds.update_rejected";

/// How Envoy is run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Worker threads.
    pub concurrency: u32,
    /// `--log-level`.
    pub log_level: String,
    /// `--file-flush-interval-msec`: how long what an access log has may stay in memory.
    pub flush_ms: u32,
    /// `--drain-time-s`: how long a replaced listener continues, with its filters.
    pub drain_s: u32,
    /// `--component-log-level`, for example `wasm:debug,http:info`; empty for none.
    pub component_log_level: String,
    /// Variables added to its environment.
    pub env: Vec<(String, String)>,
    /// Listeners come from a file that Envoy watches, as a control plane would give them: [`Envoy::reload`] changes them.
    pub listeners_from_file: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            concurrency: 2,
            log_level: "info".to_owned(),
            flush_ms: 100,
            drain_s: 600,
            component_log_level: String::new(),
            env: shipped_secrets(),
            listeners_from_file: false,
        }
    }
}

/// The secrets that the shipped files take from Envoy's environment.
#[must_use]
pub(crate) fn shipped_secrets() -> Vec<(String, String)> {
    ["WEIR_GATEWAY_TOKEN", "WEIR_SIGNING_KEY"]
        .map(|name| (name.to_owned(), format!("{name} of the rig, of 32 bytes or more")))
        .into()
}

/// A running Envoy that serves traffic.
#[derive(Debug)]
pub struct Envoy {
    process: Process,
    admin: SocketAddr,
    listeners: BTreeMap<String, SocketAddr>,
    // After the process: its files go when it is gone.
    folder: TempDir,
}

impl Envoy {
    /// Starts Envoy and waits until its listeners take connections.
    ///
    /// # Errors
    /// When the binary is missing (`make setup` brings it), or Envoy refuses the configuration: the message ends with
    /// the last lines of its log.
    pub fn start(bootstrap: &Bootstrap, options: &Options) -> io::Result<Self> {
        let binary = workspace::envoy_binary()?;
        let folder = tempfile::Builder::new().prefix("weir-envoy-").tempdir()?;
        let admin_file = folder.path().join("admin");
        let config = match options.listeners_from_file {
            true => write_config(
                &bootstrap.clone().listeners_from(&write_listeners(bootstrap, folder.path())?),
                folder.path(),
            )?,
            false => write_config(bootstrap, folder.path())?,
        };
        let mut args: Vec<OsString> = vec!["--config-path".into(), config.into()];
        args.extend(["--admin-address-path".into(), admin_file.clone().into()]);
        // Hot restart is a fixed name in shared memory, which two Envoys on one machine would fight over.
        args.extend(["--disable-hot-restart".into(), "--drain-time-s".into(), options.drain_s.to_string().into()]);
        args.extend(["--file-flush-interval-msec".into(), options.flush_ms.to_string().into()]);
        args.extend(["--concurrency".into(), options.concurrency.to_string().into()]);
        args.extend(["--log-level".into(), options.log_level.clone().into()]);
        if !options.component_log_level.is_empty() {
            args.extend(["--component-log-level".into(), options.component_log_level.clone().into()]);
        }
        let log = folder.path().join("log");
        let recipe = Recipe { name: "Envoy".to_owned(), program: binary, args, env: options.env.clone(), log };
        let mut process = Process::start(recipe)?;
        let admin = process.wait_until(START_MAX, || std::fs::read_to_string(&admin_file).ok()?.trim().parse().ok())?;
        process.wait_until(START_MAX, || probe::get(admin, "/ready").ok().filter(|answer| answer.status == 200))?;
        let listeners = listeners(admin)?;
        Ok(Self { process, admin, listeners, folder })
    }

    /// Gives it the listeners of `bootstrap` and waits until they are in force. Connections that are open keep what they
    /// were accepted under until Envoy has drained them.
    ///
    /// # Errors
    /// When Envoy was not started with [`Options::listeners_from_file`], or refuses them.
    pub fn reload(&mut self, bootstrap: &Bootstrap) -> io::Result<()> {
        let count = |name: &str| self.stats(name).map(|found| found.values().sum::<u64>());
        let (taken, refused) = (count(LISTENERS_TAKEN)?, count(LISTENERS_REFUSED)?);
        write_listeners(bootstrap, self.folder.path())?;
        let admin = self.admin;
        let done = self.process.wait_until(START_MAX, || {
            let now = |name: &str| Some(stats(admin, name).ok()?.values().sum::<u64>());
            if now(LISTENERS_REFUSED)? > refused {
                return Some(Err(io::Error::other("Envoy refuses these listeners")));
            }
            let warming = now("listener_manager.total_listeners_warming")?;
            (now(LISTENERS_TAKEN)? > taken && warming == 0).then_some(Ok(()))
        })?;
        done.map_err(|error| io::Error::other(format!("{error}: {}", self.log())))
    }

    /// Where a listener takes connections.
    ///
    /// # Errors
    /// When the configuration has no listener of that name; the message lists those it has.
    pub fn listener(&self, name: &str) -> io::Result<SocketAddr> {
        let known = || self.listeners.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        let address = self.listeners.get(name).copied();
        address.ok_or_else(|| io::Error::other(format!("Envoy has no listener `{name}`; it has: {}", known())))
    }

    /// `http://127.0.0.1:PORT` of the first listener, by name.
    #[must_use]
    pub fn url(&self) -> String {
        self.listeners.values().next().map(|address| format!("http://{address}")).unwrap_or_default()
    }

    /// Its process id, to see what it costs.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Where the admin interface listens.
    #[must_use]
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Asks the admin interface, for example `/stats?filter=wasm`.
    ///
    /// # Errors
    /// When Envoy does not answer.
    pub fn ask(&self, path: &str) -> io::Result<Answer> {
        probe::get(self.admin, path)
    }

    /// Counters and gauges whose name contains `part`.
    ///
    /// # Errors
    /// When Envoy does not answer.
    pub fn stats(&self, part: &str) -> io::Result<BTreeMap<String, u64>> {
        stats(self.admin, part)
    }

    /// All it has logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Kills it at once, as `kill -9` does: what it had not flushed is lost.
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub fn kill(&mut self) -> io::Result<()> {
        self.process.kill()
    }

    /// Asks it to end in good order and waits: `on_done` runs, logs are flushed.
    ///
    /// # Errors
    /// When it has not ended after ten seconds.
    pub fn quit(mut self) -> io::Result<String> {
        // The answer may be lost to the very end it asks for.
        let _ = probe::call("POST", self.admin, "/quitquitquit", &[]);
        let ended = crate::clock::wait_for(Duration::from_secs(10), crate::process::POLL, || {
            self.process.exit_status().ok().flatten()
        });
        ended.map(|_| self.log()).ok_or_else(|| io::Error::other("Envoy did not end when asked to"))
    }
}

/// Has Envoy check a configuration, code included, without serving it.
///
/// # Errors
/// When Envoy refuses it; the message is what Envoy said.
pub fn validate(bootstrap: &Bootstrap) -> io::Result<()> {
    let folder = tempfile::Builder::new().prefix("weir-envoy-").tempdir()?;
    let config = write_config(bootstrap, folder.path())?;
    let checked = Command::new(workspace::envoy_binary()?)
        .args(["--mode", "validate", "--disable-hot-restart", "--log-level", "warn", "--config-path"])
        .arg(config)
        .envs(shipped_secrets())
        .output()?;
    if checked.status.success() {
        return Ok(());
    }
    Err(io::Error::other(String::from_utf8_lossy(&checked.stderr).into_owned()))
}

fn stats(admin: SocketAddr, part: &str) -> io::Result<BTreeMap<String, u64>> {
    let text = probe::get(admin, "/stats")?.body;
    let lines = text.lines().filter_map(|line| line.split_once(": "));
    let numbers = lines.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)));
    Ok(numbers.filter(|(name, _)| name.contains(part)).collect())
}

/// Puts the listeners into the watched file. By renaming: Envoy looks at moves only, and never sees half a file.
fn write_listeners(bootstrap: &Bootstrap, folder: &Path) -> io::Result<std::path::PathBuf> {
    let (new, path) = (folder.join("listeners.new"), folder.join("listeners.json"));
    std::fs::write(&new, bootstrap.listeners().to_string())?;
    std::fs::rename(&new, &path)?;
    Ok(path)
}

fn write_config(bootstrap: &Bootstrap, folder: &Path) -> io::Result<std::path::PathBuf> {
    let path = folder.join("envoy.json");
    std::fs::write(&path, bootstrap.to_string())?;
    Ok(path)
}

fn listeners(admin: SocketAddr) -> io::Result<BTreeMap<String, SocketAddr>> {
    let answer = probe::get(admin, "/listeners?format=json")?.json()?;
    let statuses = answer["listener_statuses"].as_array().cloned().unwrap_or_default();
    let pairs = statuses.iter().filter_map(|status| {
        let socket = &status["local_address"]["socket_address"];
        let port = u16::try_from(socket["port_value"].as_u64()?).ok()?;
        let address = format!("{}:{port}", socket["address"].as_str()?).parse().ok()?;
        Some((status["name"].as_str()?.to_owned(), address))
    });
    Ok(pairs.collect())
}

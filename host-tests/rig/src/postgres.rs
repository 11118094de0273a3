//! The real PostgreSQL of this machine: durable, killed and started again on the same port and the same files.

use crate::probe::Port;
use crate::process::{Process, Recipe};
use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

/// PostgreSQL starts in a second; after a kill, on a busy machine, it may take longer.
const START_MAX: Duration = Duration::from_secs(60);
/// How often a start after a kill is tried, and how long to wait before the next time.
const RESTARTS_MAX: u32 = 100;
const RESTART_PAUSE: Duration = Duration::from_millis(100);
/// The user of the database, who owns it and needs no password.
const USER: &str = "weir";
/// The name of those who need a password, before all others in `pg_hba.conf`.
const LOCKED: &str = "locked";

/// A running PostgreSQL. Dropping it kills it and removes its files.
#[derive(Debug)]
pub struct Postgres {
    process: Process,
    port: Port,
    programs: PathBuf,
    _folder: TempDir,
}

impl Postgres {
    /// Starts a server on a free loopback port, with one database that everybody on this machine may use.
    ///
    /// # Errors
    /// When there is no PostgreSQL, or it does not start; the message names the remedy.
    pub fn start() -> io::Result<Self> {
        Self::start_with(&[], None)
    }

    /// As [`Postgres::start`], with further settings (`max_connections=10`), and with TLS by a certificate and its key in PEM.
    ///
    /// # Errors
    /// As [`Postgres::start`].
    pub fn start_with(settings: &[&str], tls: Option<(&str, &str)>) -> io::Result<Self> {
        let programs = programs()?;
        let folder = tempfile::Builder::new().prefix("weir-postgres").tempdir_in("/tmp")?;
        give_away(folder.path())?;
        let data = folder.path().join("data");
        let initdb = programs.join("initdb");
        let options = ["--no-sync", "-U", USER, "--auth=trust", "--encoding=UTF8", "--no-locale", "-D"];
        let mut make = unprivileged(&initdb);
        make.1.extend(options.iter().map(OsString::from));
        make.1.push(data.clone().into());
        let made = Command::new(&make.0).args(&make.1).output()?;
        if !made.status.success() {
            return Err(io::Error::other(format!("initdb: {}", String::from_utf8_lossy(&made.stderr))));
        }
        allow(&data)?;
        let port = Port::reserve()?;
        let (program, mut args) = unprivileged(&programs.join("postgres"));
        let number = port.address().port().to_string();
        let own = ["-p", &number, "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-D"];
        args.extend(own.iter().map(OsString::from));
        args.push(data.into());
        if let Some((certificate, key)) = tls {
            let files =
                [("certificate", certificate), ("key", key)].map(|(name, text)| secret(folder.path(), name, text));
            let [certificate, key] = files;
            let settings =
                [format!("ssl_cert_file={}", certificate?), format!("ssl_key_file={}", key?), "ssl=on".to_owned()];
            args.extend(settings.into_iter().flat_map(|setting| ["-c".into(), OsString::from(setting)]));
        }
        args.extend(settings.iter().flat_map(|setting| ["-c".into(), OsString::from(setting)]));
        let log = folder.path().join("postgres.log");
        let recipe = Recipe { name: "postgres".to_owned(), program, args, env: Vec::new(), log };
        let mut server = Self { process: Process::start(recipe)?, port, programs, _folder: folder };
        server.wait()?;
        Ok(server)
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Its database as settings write it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("postgres://{USER}@{}/postgres", self.address())
    }

    /// The same for the user `locked`, who needs a password once it is made: `CREATE ROLE locked LOGIN PASSWORD '…'`.
    #[must_use]
    pub fn locked_url(&self) -> String {
        format!("postgres://{LOCKED}@{}/postgres", self.address())
    }

    /// Kills the server at once, as `kill -9` does. The processes of its connections end by themselves when they notice.
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub fn kill(&mut self) -> io::Result<()> {
        self.process.kill()
    }

    /// Starts it again on the same port and files, after killing it if it still runs, and waits until it answers.
    ///
    /// # Errors
    /// As [`Postgres::start`].
    pub fn restart(&mut self) -> io::Result<()> {
        let mut outcome = self.process.restart().and_then(|()| self.wait());
        // The processes of the killed one's connections hold its memory until they notice, and no server starts meanwhile.
        for _ in 0..RESTARTS_MAX {
            if outcome.is_ok() {
                break;
            }
            std::thread::sleep(RESTART_PAUSE);
            outcome = self.process.restart().and_then(|()| self.wait());
        }
        outcome
    }

    /// Runs statements and returns what `psql` prints of them: columns apart by `|`, a row a line.
    ///
    /// # Errors
    /// When a statement is refused; the message is the server's.
    pub fn run(&self, sql: &str) -> io::Result<String> {
        let output = Command::new(self.programs.join("psql"))
            .args([&self.url(), "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", sql])
            .output()?;
        if !output.status.success() {
            return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()));
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
    }

    /// Dumps a schema into a file, as an administrator would.
    ///
    /// # Errors
    /// When `pg_dump` fails; the message is its own.
    pub fn dump(&self, schema: &str, file: &Path) -> io::Result<()> {
        succeeds(Command::new(self.programs.join("pg_dump")).args([&self.url(), "-Fc", "-n", schema, "-f"]).arg(file))
    }

    /// Restores a dump into the database.
    ///
    /// # Errors
    /// When `pg_restore` fails; the message is its own.
    pub fn restore(&self, file: &Path) -> io::Result<()> {
        succeeds(Command::new(self.programs.join("pg_restore")).args(["-d", &self.url(), "--exit-on-error"]).arg(file))
    }

    fn wait(&mut self) -> io::Result<()> {
        let (ready, port) = (self.programs.join("pg_isready"), self.port.address().port().to_string());
        self.process.wait_until(START_MAX, || {
            let answer = Command::new(&ready).args(["-q", "-h", "127.0.0.1", "-p", &port, "-U", USER]).status();
            answer.is_ok_and(|status| status.success()).then_some(())
        })
    }
}

fn succeeds(command: &mut Command) -> io::Result<()> {
    let output = command.output()?;
    if output.status.success() {
        Ok(())
    } else {
        Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()))
    }
}

/// The folder of the latest PostgreSQL on this machine.
fn programs() -> io::Result<PathBuf> {
    let found = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().filter_map(|version| {
        let path = version.ok()?.path();
        let number: u32 = path.file_name()?.to_str()?.parse().ok()?;
        Some((number, path.join("bin")))
    });
    let latest = found.filter(|(_, programs)| programs.join("initdb").exists()).max();
    let missing = || io::Error::other("there is no PostgreSQL in /usr/lib/postgresql: run make setup");
    Ok(latest.ok_or_else(missing)?.1)
}

/// A program of PostgreSQL, which refuses to run as root, and its first arguments.
fn unprivileged(program: &Path) -> (PathBuf, Vec<OsString>) {
    if !is_root() {
        return (program.to_owned(), Vec::new());
    }
    let arguments = ["--reuid=postgres", "--regid=postgres", "--clear-groups"].map(OsString::from);
    ("/usr/bin/setpriv".into(), arguments.into_iter().chain([program.into()]).collect())
}

/// Asks [`LOCKED`] for a password, and nobody else.
fn allow(data: &Path) -> io::Result<()> {
    let path = data.join("pg_hba.conf");
    let rules = std::fs::read_to_string(&path)?;
    std::fs::write(&path, format!("host all {LOCKED} 127.0.0.1/32 scram-sha-256\n{rules}"))
}

/// Writes a file that only the server may read, and returns its path.
fn secret(folder: &Path, name: &str, text: &str) -> io::Result<String> {
    let path = folder.join(name);
    std::fs::write(&path, text)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    give_away(&path)?;
    Ok(path.display().to_string())
}

fn give_away(folder: &Path) -> io::Result<()> {
    if !is_root() {
        return Ok(());
    }
    let given = Command::new("chown").arg("postgres").arg(folder).status()?;
    if given.success() { Ok(()) } else { Err(io::Error::other("the folder of PostgreSQL cannot be given to its user")) }
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n")
}

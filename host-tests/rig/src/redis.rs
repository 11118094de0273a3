//! The real Redis, from the folder that `make setup` fills: durable unless told otherwise, killed and started again on the same port and
//! the same files.

use crate::probe::Port;
use crate::process::{Process, Recipe};
use crate::workspace;
use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

/// Redis starts in a tenth of a second; a busy machine may take longer.
const START_MAX: Duration = Duration::from_secs(30);
/// The longest wait for an answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// What keeps every acknowledged write.
const DURABLE: [&str; 8] =
    ["--appendonly", "yes", "--appendfsync", "always", "--save", "", "--maxmemory-policy", "noeviction"];

/// A running Redis. Dropping it kills it and removes its files.
#[derive(Debug)]
pub struct Redis {
    process: Process,
    port: Port,
    folder: TempDir,
}

impl Redis {
    /// Starts a durable Redis on a free loopback port.
    ///
    /// # Errors
    /// When there is no `redis-server`, or it does not start; the message names the remedy.
    pub fn start() -> io::Result<Self> {
        Self::start_with(&[])
    }

    /// Starts it with further arguments, which win: `--maxmemory 8mb`.
    ///
    /// # Errors
    /// As [`Redis::start`].
    pub fn start_with(arguments: &[&str]) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let port = Port::reserve()?;
        let own = [
            "--port".to_owned(),
            port.address().port().to_string(),
            "--bind".to_owned(),
            "127.0.0.1".to_owned(),
            "--dir".to_owned(),
            folder.path().display().to_string(),
        ];
        let all = own.into_iter().chain(DURABLE.iter().chain(arguments).map(|argument| (*argument).to_owned()));
        let recipe = Recipe {
            name: "redis-server".to_owned(),
            program: workspace::redis_binary()?,
            args: all.map(OsString::from).collect(),
            env: Vec::new(),
            log: folder.path().join("redis.log"),
        };
        let mut redis = Self { process: Process::start(recipe)?, port, folder };
        redis.wait()?;
        Ok(redis)
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Its address as settings write it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://{}", self.address())
    }

    /// The folder of its files.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The append-only file that grows.
    ///
    /// # Errors
    /// When there is none.
    pub fn growing_file(&self) -> io::Result<PathBuf> {
        let files = std::fs::read_dir(self.folder.path().join("appendonlydir"))?;
        let mut found: Vec<PathBuf> = files.filter_map(|file| Some(file.ok()?.path())).collect();
        found.retain(|path| path.to_string_lossy().ends_with(".incr.aof"));
        found.pop().ok_or_else(|| io::Error::other("there is no append-only file"))
    }

    /// Kills it at once, as `kill -9` does.
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub fn kill(&mut self) -> io::Result<()> {
        self.process.kill()
    }

    /// Starts it again on the same port and files, after killing it if it still runs. Does not wait until it answers.
    ///
    /// # Errors
    /// As [`Redis::start`].
    pub fn restart_at_once(&mut self) -> io::Result<()> {
        self.process.restart()
    }

    /// As [`Redis::restart_at_once`], and waits until it answers.
    ///
    /// # Errors
    /// As [`Redis::start`].
    pub fn restart(&mut self) -> io::Result<()> {
        self.restart_at_once()?;
        self.wait()
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Sends one command, with words that have no spaces, and returns the answer as it crosses the wire: `+OK`, `:7`, `-ERR …`.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn command(&self, command: &str) -> io::Result<String> {
        ask(self.address(), command)
    }

    fn wait(&mut self) -> io::Result<()> {
        let address = self.address();
        self.process.wait_until(START_MAX, || {
            let answer = ask(address, "PING").ok()?;
            (answer.starts_with("+PONG") || answer.starts_with("-NOAUTH")).then_some(())
        })
    }
}

/// A Redis Cluster of three masters without replicas. Dropping it kills them.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<Redis>,
    /// Reserved for what the nodes say to each other.
    _buses: Vec<Port>,
}

impl RedisCluster {
    /// The slots of a cluster.
    const SLOTS: usize = 16_384;
    const NODES: usize = 3;

    /// Starts the nodes, divides the slots among them, and waits until all agree.
    ///
    /// # Errors
    /// As [`Redis::start`]; and when they do not find each other.
    pub fn start() -> io::Result<Self> {
        let (mut nodes, mut buses) = (Vec::new(), Vec::new());
        for _ in 0..Self::NODES {
            let bus = Port::reserve()?;
            let port = bus.address().port().to_string();
            nodes.push(Redis::start_with(&["--cluster-enabled", "yes", "--cluster-port", &port])?);
            buses.push(bus);
        }
        for (at, node) in nodes.iter().enumerate() {
            let (from, to) = (at * Self::SLOTS / Self::NODES, (at + 1) * Self::SLOTS / Self::NODES - 1);
            obeyed(&node.command(&format!("CLUSTER ADDSLOTSRANGE {from} {to}"))?)?;
            let (own, bus) = (node.address().port(), buses[at].address().port());
            for other in &nodes[..at] {
                obeyed(&other.command(&format!("CLUSTER MEET 127.0.0.1 {own} {bus}"))?)?;
            }
        }
        let mut cluster = Self { nodes, _buses: buses };
        cluster.wait()?;
        Ok(cluster)
    }

    /// Its nodes.
    #[must_use]
    pub fn nodes(&self) -> &[Redis] {
        &self.nodes
    }

    /// Kills a node and starts it again on the same port and files; waits until all agree.
    ///
    /// # Errors
    /// As [`RedisCluster::start`].
    pub fn restart(&mut self, node: usize) -> io::Result<()> {
        self.nodes[node].restart()?;
        self.wait()
    }

    fn wait(&mut self) -> io::Result<()> {
        for at in 0..self.nodes.len() {
            let address = self.nodes[at].address();
            self.nodes[at].process.wait_until(START_MAX, || {
                let told = ask(address, "CLUSTER INFO").ok()?;
                let agrees = told.contains("cluster_state:ok") && told.contains("cluster_known_nodes:3");
                agrees.then_some(())
            })?;
        }
        Ok(())
    }
}

fn obeyed(answer: &str) -> io::Result<()> {
    if answer.starts_with("+OK") { Ok(()) } else { Err(io::Error::other(answer.to_owned())) }
}

fn ask(address: SocketAddr, command: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    stream.write_all(format!("{command}\r\n").as_bytes())?;
    let mut answer = [0; 4_096];
    let length = stream.read(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
}

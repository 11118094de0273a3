//! A real broker of Kafka's protocol, from the folder that `make setup` fills: Tansu, with its records in memory, or the durable one
//! that `make kafka-durable` builds, killed and started again on the same port and file.

use crate::probe::Port;
use crate::process::{Process, Recipe};
use crate::workspace;
use std::ffi::OsString;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

/// The broker starts in a tenth of a second; a busy machine may take longer.
const START_MAX: Duration = Duration::from_secs(30);

/// A running broker. Dropping it kills it and removes its files.
#[derive(Debug)]
pub struct Kafka {
    process: Process,
    port: Port,
    _folder: TempDir,
}

impl Kafka {
    /// Starts a broker with its records in memory, on a free loopback port.
    ///
    /// # Errors
    /// When there is no broker, or it does not start; the message names the remedy.
    pub fn start() -> io::Result<Self> {
        Self::start_as(workspace::kafka_binary()?, "memory://tansu/", None)
    }

    /// As [`Kafka::start`], behind something at `door` (`localhost:9093`), where clients are told to connect.
    ///
    /// # Errors
    /// As [`Kafka::start`].
    pub fn start_behind(door: &str) -> io::Result<Self> {
        Self::start_as(workspace::kafka_binary()?, "memory://tansu/", Some(door))
    }

    /// Starts a broker with its records in a file.
    ///
    /// # Errors
    /// As [`Kafka::start`].
    pub fn start_durable() -> io::Result<Self> {
        // It takes every path as one below the folder that it runs in.
        Self::start_as(workspace::durable_kafka_binary()?, "sqlite:///kafka.db", None)
    }

    fn start_as(program: PathBuf, storage: &str, door: Option<&str>) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let port = Port::reserve()?;
        let url = format!("tcp://{}", port.address());
        let told = door.map_or_else(|| url.clone(), |door| format!("tcp://{door}"));
        let here = [OsString::from("-c"), "cd \"$0\" && exec \"$@\"".into(), folder.path().into(), program.into()];
        let args = ["--storage-engine", storage, "--listener-url", &url, "--advertised-listener-url", &told];
        let recipe = Recipe {
            name: "tansu".to_owned(),
            program: "/bin/sh".into(),
            args: here.into_iter().chain(args.map(OsString::from)).collect(),
            env: Vec::new(),
            log: folder.path().join("kafka.log"),
        };
        let mut kafka = Self { process: Process::start(recipe)?, port, _folder: folder };
        kafka.wait()?;
        Ok(kafka)
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// A topic of it, as settings write it.
    #[must_use]
    pub fn url(&self, topic: &str) -> String {
        format!("kafka://{}/{topic}", self.address())
    }

    /// Makes a topic.
    ///
    /// # Errors
    /// When the broker refuses it.
    pub fn create_topic(&self, topic: &str, partitions: u32) -> io::Result<()> {
        let broker = format!("tcp://{}", self.address());
        let made = Command::new(workspace::kafka_binary()?)
            .args(["topic", "create", "--broker", &broker, "--partitions", &partitions.to_string(), topic])
            .output()?;
        if made.status.success() {
            Ok(())
        } else {
            Err(io::Error::other(String::from_utf8_lossy(&made.stderr).into_owned()))
        }
    }

    /// Kills it at once, as `kill -9` does.
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub fn kill(&mut self) -> io::Result<()> {
        self.process.kill()
    }

    /// Starts it again on the same port, after killing it if it still runs, and waits until it listens.
    ///
    /// # Errors
    /// As [`Kafka::start`].
    pub fn restart(&mut self) -> io::Result<()> {
        self.process.restart()?;
        self.wait()
    }

    fn wait(&mut self) -> io::Result<()> {
        let address = self.address();
        self.process.wait_until(START_MAX, || TcpStream::connect(address).ok().map(drop))
    }
}

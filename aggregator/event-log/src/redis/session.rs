//! A connection to the server: bounded waits, and the checks of a start.
use std::time::Duration;

use redis::{Client, Cmd, ConnectionLike, FromRedisValue, Pipeline, RedisError, Script, cmd};

use super::durable;
use super::errors::{failed, first, is_loading, is_unknown_script};
use crate::RedisProblem;
use crate::outside::pause;

/// The longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// The longest wait for an answer. A group of 4 MB takes milliseconds; a disk that stalls may take seconds.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest wait for a server that loads its data, and the pause between two looks.
const LOADING_MAX: Duration = Duration::from_secs(600);
const LOADING_PAUSE: Duration = Duration::from_millis(500);
/// Looks between two messages about loading.
const LOOKS_PER_MESSAGE: u32 = 10;

/// A connection to a server.
type Link = Box<dyn ConnectionLike + Send>;

/// A connection to a checked server.
pub(super) struct Session {
    client: Client,
    connection: Link,
    /// Checked at each connection, with this number of replicas; none for a reader.
    replicas: Option<u32>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Session(…)")
    }
}

impl Session {
    /// Connects to write, and checks that the server keeps what it acknowledges.
    pub(super) fn open(client: Client, replicas: u32) -> Result<Self, RedisProblem> {
        Self::start(client, Some(replicas))
    }

    /// Connects to read.
    pub(super) fn for_reading(client: Client) -> Result<Self, RedisProblem> {
        Self::start(client, None)
    }

    fn start(client: Client, replicas: Option<u32>) -> Result<Self, RedisProblem> {
        let connection = connect(&client).map_err(|error| failed(&error))?;
        let mut session = Session { client, connection, replicas };
        session.wait_for_loading()?;
        session.check()?;
        Ok(session)
    }

    /// Connects anew, and checks again: another server may answer by now. One that fails the check is not used.
    pub(super) fn reconnect(&mut self) -> Result<(), RedisProblem> {
        let mut connection = connect(&self.client).map_err(|error| failed(&error))?;
        if let Some(replicas) = self.replicas {
            durable::check(&mut *connection, replicas)?;
        }
        self.connection = connection;
        Ok(())
    }

    /// Checks version and durability.
    pub(super) fn check(&mut self) -> Result<(), RedisProblem> {
        self.replicas.map_or(Ok(()), |replicas| durable::check(&mut *self.connection, replicas))
    }

    /// Lets the server keep a script.
    pub(super) fn load(&mut self, script: &Script) -> Result<(), RedisError> {
        script.load(&mut *self.connection).map(drop)
    }

    /// Runs a call of `script`; loads it first if the server does not know it.
    pub(super) fn run_script<T: FromRedisValue>(&mut self, script: &Script, call: &Cmd) -> Result<T, RedisError> {
        match self.run(call) {
            Err(error) if is_unknown_script(&error) => {
                self.load(script)?;
                self.run(call)
            }
            answered => answered,
        }
    }

    /// Runs a command.
    pub(super) fn run<T: FromRedisValue>(&mut self, command: &Cmd) -> Result<T, RedisError> {
        command.query(&mut *self.connection)
    }

    /// Runs several commands in one exchange.
    pub(super) fn run_all<T: FromRedisValue>(&mut self, commands: &Pipeline) -> Result<T, RedisError> {
        commands.query(&mut *self.connection).map_err(first)
    }

    fn wait_for_loading(&mut self) -> Result<(), RedisProblem> {
        let (mut waited, mut looks) = (Duration::ZERO, 0);
        loop {
            match self.run::<()>(&cmd("PING")) {
                Ok(()) => return Ok(()),
                Err(error) if is_loading(&error) && waited >= LOADING_MAX => {
                    return Err(RedisProblem::Loading(waited.as_secs()));
                }
                Err(error) if is_loading(&error) => {}
                Err(error) => return Err(failed(&error)),
            }
            if looks % LOOKS_PER_MESSAGE == 0 {
                tracing::warn!(
                    waited_seconds = waited.as_secs(),
                    "the Redis of the event log loads its data; waiting for it"
                );
            }
            pause(LOADING_PAUSE);
            (waited, looks) = (waited + LOADING_PAUSE, looks + 1);
        }
    }
}

fn connect(client: &Client) -> Result<Link, RedisError> {
    #[cfg(feature = "simulated")]
    if let Some(servers) = crate::simulated::installed() {
        return servers.redis();
    }
    let connection = client.get_connection_with_timeout(CONNECT_TIMEOUT)?;
    connection.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    connection.set_write_timeout(Some(ANSWER_TIMEOUT))?;
    Ok(Box::new(connection))
}

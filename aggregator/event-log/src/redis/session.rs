//! A connection to the server: bounded waits, the checks of a start, and errors as the log needs them.
use std::time::Duration;

use redis::{Client, Cmd, Connection, ErrorKind, FromRedisValue, Pipeline, RedisError, Script, ServerErrorKind, cmd};

use super::durable;
use crate::{AppendError, RedisProblem};

/// The longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// The longest wait for an answer. A group of 4 MB takes milliseconds; a disk that stalls may take seconds.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest wait for a server that loads its data, and the pause between two looks.
const LOADING_MAX: Duration = Duration::from_secs(600);
const LOADING_PAUSE: Duration = Duration::from_millis(500);
/// Looks between two messages about loading.
const LOOKS_PER_MESSAGE: u32 = 10;

/// A connection to a checked server.
pub(super) struct Session {
    client: Client,
    connection: Connection,
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
            durable::check(&mut connection, replicas)?;
        }
        self.connection = connection;
        Ok(())
    }

    /// Checks version and durability.
    pub(super) fn check(&mut self) -> Result<(), RedisProblem> {
        self.replicas.map_or(Ok(()), |replicas| durable::check(&mut self.connection, replicas))
    }

    /// Lets the server keep a script.
    pub(super) fn load(&mut self, script: &Script) -> Result<(), RedisError> {
        script.load(&mut self.connection).map(drop)
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
        command.query(&mut self.connection)
    }

    /// Runs several commands in one exchange.
    pub(super) fn run_all<T: FromRedisValue>(&mut self, commands: &Pipeline) -> Result<T, RedisError> {
        commands.query(&mut self.connection).map_err(first)
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
            std::thread::sleep(LOADING_PAUSE);
            (waited, looks) = (waited + LOADING_PAUSE, looks + 1);
        }
    }
}

fn connect(client: &Client) -> Result<Connection, RedisError> {
    let connection = client.get_connection_with_timeout(CONNECT_TIMEOUT)?;
    connection.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    connection.set_write_timeout(Some(ANSWER_TIMEOUT))?;
    Ok(connection)
}

/// The first error among those of several commands.
fn first(error: RedisError) -> RedisError {
    let first = error.clone().into_server_errors().and_then(|errors| errors.first().map(|(_, error)| error.clone()));
    first.map_or(error, RedisError::from)
}

/// Returns true if the server does not have a script yet, or any more.
pub(super) fn is_unknown_script(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}

fn is_loading(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::BusyLoading)
}

/// The words of an error, with the remedy where there is one.
pub(super) fn failed(error: &RedisError) -> RedisProblem {
    let detail = error.detail().unwrap_or_default().to_owned();
    let remedy = match (error.code(), error.kind()) {
        (Some("WEIRLOST"), _) => return RedisProblem::Lost(detail),
        (Some("WEIRVERSION"), _) => return RedisProblem::Version(detail),
        (Some("WEIRFENCED"), _) => return RedisProblem::Fenced,
        (Some("NOAUTH" | "WRONGPASS"), _) | (_, ErrorKind::AuthenticationFailed) => {
            "; look at the user in the address and at `password`"
        }
        (_, ErrorKind::Server(ServerErrorKind::NoPerm)) => {
            "; the user needs the keys weir:log:* and +@read +@write +@stream +@scripting +@connection +info +config|get +wait"
        }
        (_, ErrorKind::Io) if error.is_connection_refusal() => "; see that it runs and that the address is right",
        _ => "",
    };
    RedisProblem::Failed(format!("{error}{remedy}"))
}

/// What an error of a command means for a record that was to be appended.
pub(super) enum Outcome {
    /// Nothing was written; the same may succeed later.
    Refused(AppendError),
    /// Whether it was written is unknown, or the server cannot answer now: ask again.
    Unknown(String),
    /// Nothing more may be written.
    Over(AppendError),
}

/// Sorts the error of a write.
pub(super) fn outcome(error: &RedisError) -> Outcome {
    match (error.code(), error.kind()) {
        (Some("WEIRLOST" | "WEIRFENCED" | "WEIRVERSION"), _) => {
            Outcome::Over(AppendError::Broken(failed(error).to_string()))
        }
        (Some("OOM"), _) => {
            Outcome::Refused(AppendError::Full(format!("{error}; give Redis more memory (`maxmemory`)")))
        }
        (_, ErrorKind::Io | ErrorKind::Parse | ErrorKind::Server(ServerErrorKind::BusyLoading)) => {
            Outcome::Unknown(error.to_string())
        }
        _ => Outcome::Refused(AppendError::Locked(failed(error).to_string())),
    }
}

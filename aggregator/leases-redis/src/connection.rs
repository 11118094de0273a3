//! The connection: one for all calls, made anew when it is lost, with bounded waits.
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use redis::aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig};
use redis::{Client, Cmd, ErrorKind, RedisError, ServerErrorKind, Value};

use crate::RedisLeasesError;

/// The longest waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waits {
    /// For a connection.
    connect: Duration,
    /// For an answer to one command.
    answer: Duration,
    /// For one call, with all its steps and repetitions.
    pub(crate) call: Duration,
}

impl Waits {
    /// A gateway ignores what comes later than two seconds after its call.
    pub(crate) const QUICK: Waits = Waits {
        connect: Duration::from_millis(500),
        answer: Duration::from_millis(800),
        call: Duration::from_millis(1_500),
    };

    /// For tests of what is answered, and not of how soon: the machine may be busy.
    #[cfg(test)]
    pub(crate) const LONG: Waits =
        Waits { connect: Duration::from_secs(60), answer: Duration::from_secs(60), call: Duration::from_secs(60) };
}

/// A connection to the server.
pub(crate) struct Connection {
    client: Client,
    waits: Waits,
    manager: Mutex<ConnectionManager>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connection(…)")
    }
}

impl Connection {
    /// Connects with the first command.
    pub(crate) fn lazy(client: Client, waits: Waits) -> Result<Self, RedisLeasesError> {
        let manager = Mutex::new(manager(&client, waits)?);
        Ok(Connection { client, waits, manager })
    }

    /// Sends one command.
    pub(crate) async fn send(&self, command: &Cmd) -> Result<Value, RedisError> {
        let mut manager = self.manager.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let sent = manager.req_packed_command(command).await.and_then(Value::extract_error);
        if sent.as_ref().is_err_and(is_no_master) {
            self.renew();
        }
        sent
    }

    /// Connects anew with the next command: after a fail-over another server may answer at the address.
    fn renew(&self) {
        if let Ok(new) = manager(&self.client, self.waits) {
            *self.manager.lock().unwrap_or_else(PoisonError::into_inner) = new;
        }
    }
}

fn manager(client: &Client, waits: Waits) -> Result<ConnectionManager, RedisLeasesError> {
    let config = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(waits.connect))
        .set_response_timeout(Some(waits.answer))
        .set_number_of_retries(0);
    ConnectionManager::new_lazy_with_config(client.clone(), config).map_err(|error| failed(&error))
}

fn is_no_master(error: &RedisError) -> bool {
    use ServerErrorKind::{MasterDown, ReadOnly};
    matches!(error.kind(), ErrorKind::Server(ReadOnly | MasterDown))
}

/// Whether the server does not have the script yet, or any more.
pub(crate) fn is_unknown_script(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}

/// The words of an error, with the remedy where there is one.
pub(crate) fn failed(error: &RedisError) -> RedisLeasesError {
    let remedy = match (error.code(), error.kind()) {
        (Some("NOAUTH" | "WRONGPASS"), _) | (_, ErrorKind::AuthenticationFailed) => {
            "; look at the user in the address and at `password`"
        }
        (_, ErrorKind::Server(ServerErrorKind::NoPerm)) => {
            "; the user needs the keys weir:leases:* and +get +set +mget +scan +time +info +eval +evalsha +@connection"
        }
        (Some("OOM"), _) => "; give Redis more memory (`maxmemory`)",
        (_, ErrorKind::Server(kind)) if is_passing(kind) => return RedisLeasesError::Away(error.to_string()),
        (_, ErrorKind::Server(_) | ErrorKind::Extension) => "",
        _ => return RedisLeasesError::Away(error.to_string()),
    };
    RedisLeasesError::Refused(format!("{error}{remedy}"))
}

fn is_passing(kind: ServerErrorKind) -> bool {
    use ServerErrorKind::{BusyLoading, MasterDown, ReadOnly, TryAgain};
    matches!(kind, BusyLoading | MasterDown | ReadOnly | TryAgain)
}

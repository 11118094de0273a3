//! The connection: one for all calls, made anew when it is lost, with bounded waits.
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use redis::aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig};
use redis::{Client, Cmd, ErrorKind, RedisError, ServerErrorKind, Value};

use crate::RedisLeasesError;

/// The longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
/// The longest wait for an answer to one command. A gateway waits two seconds for all of them.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(800);

/// A connection to the server.
pub(crate) struct Connection {
    client: Client,
    manager: Mutex<ConnectionManager>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connection(…)")
    }
}

impl Connection {
    /// Connects with the first command.
    pub(crate) fn lazy(client: Client) -> Result<Self, RedisLeasesError> {
        let manager = Mutex::new(manager(&client)?);
        Ok(Connection { client, manager })
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
        if let Ok(new) = manager(&self.client) {
            *self.manager.lock().unwrap_or_else(PoisonError::into_inner) = new;
        }
    }
}

fn manager(client: &Client) -> Result<ConnectionManager, RedisLeasesError> {
    let config = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        .set_response_timeout(Some(ANSWER_TIMEOUT))
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

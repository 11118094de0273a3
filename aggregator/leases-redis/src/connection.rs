//! The connection: one for all calls, made anew when it is lost, with bounded waits.
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig};
use redis::cluster::{ClusterClient, ClusterConfig};
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{MultipleNodeRoutingInfo, RoutingInfo, SingleNodeRoutingInfo};
use redis::{Client, Cmd, ErrorKind, FromRedisValue, RedisError, ServerErrorKind, Value, cmd};
use weir_settings::redis::ClusterWaits;

use crate::{LeasesPlace, RedisLeasesError};

/// How often a command is sent again that no node of a cluster has taken, and after which time.
const REPEATS_MAX: usize = 3;
const REPEAT_AFTER: Duration = Duration::from_millis(100);

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

/// A connection to the server, or to the nodes of a cluster.
pub(crate) struct Connection(Link);

enum Link {
    One { client: Client, waits: Waits, manager: Mutex<ConnectionManager> },
    Cluster { client: ClusterClient, connection: Mutex<ClusterConnection> },
}

/// One of the servers that hold keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    /// There is one.
    Only,
    /// A master of a cluster.
    Of {
        /// Its host.
        host: String,
        /// Its port.
        port: u16,
    },
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connection(…)")
    }
}

impl Connection {
    /// Connects with the first command.
    pub(crate) fn lazy(place: &LeasesPlace, waits: Waits) -> Result<Self, RedisLeasesError> {
        let link = if place.server.is_cluster() {
            let of_node = ClusterWaits { connect: waits.connect, answer: waits.answer };
            let client = place.server.cluster_client(&place.base, of_node)?;
            let connection = Mutex::new(client.get_pending_async_connection_with_config(ClusterConfig::new()));
            Link::Cluster { client, connection }
        } else {
            let client = place.server.client(&place.base)?;
            let manager = Mutex::new(manager(&client, waits)?);
            Link::One { client, waits, manager }
        };
        Ok(Connection(link))
    }

    /// Whether it is to a cluster.
    pub(crate) fn is_cluster(&self) -> bool {
        matches!(self.0, Link::Cluster { .. })
    }

    /// Sends one command, in a cluster to the node that has its keys. It is repeated only where a node says that it has not taken
    /// it: a draw that is taken twice would be spent twice.
    pub(crate) async fn send(&self, command: &Cmd) -> Result<Value, RedisError> {
        let mut sent = self.send_once(command).await;
        for _ in 0..REPEATS_MAX {
            if !(self.is_cluster() && sent.as_ref().is_err_and(is_untaken)) {
                break;
            }
            tokio::time::sleep(REPEAT_AFTER).await;
            sent = self.send_once(command).await;
        }
        sent
    }

    async fn send_once(&self, command: &Cmd) -> Result<Value, RedisError> {
        let sent = match &self.0 {
            Link::One { manager, .. } => copy(manager).req_packed_command(command).await,
            Link::Cluster { connection, .. } => copy(connection).req_packed_command(command).await,
        };
        self.seen(sent.and_then(Value::extract_error))
    }

    /// Sends one command to a node.
    pub(crate) async fn send_to(&self, node: &Node, command: &Cmd) -> Result<Value, RedisError> {
        let (Link::Cluster { connection, .. }, Node::Of { host, port }) = (&self.0, node) else {
            return self.send(command).await;
        };
        let to = SingleNodeRoutingInfo::ByAddress { host: host.clone(), port: *port };
        let sent = copy(connection).route_command(command.clone(), RoutingInfo::SingleNode(to)).await;
        self.seen(sent.and_then(Value::extract_error))
    }

    /// Every node that has keys.
    pub(crate) async fn nodes(&self) -> Result<Vec<Node>, RedisError> {
        let Link::Cluster { connection, .. } = &self.0 else { return Ok(vec![Node::Only]) };
        let masters = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
        let asked = copy(connection).route_command(cmd("PING"), masters).await;
        let answers = match self.seen(asked)? {
            Value::Map(answers) if !answers.is_empty() => answers,
            _ => {
                return Err(RedisError::from((
                    ErrorKind::ClusterConnectionNotFound,
                    "the cluster has no node that answers",
                )));
            }
        };
        let mut nodes = Vec::with_capacity(answers.len());
        for (name, _) in answers {
            let name = String::from_redis_value(name)?;
            let parts = name.rsplit_once(':').and_then(|(host, port)| Some((host.to_owned(), port.parse().ok()?)));
            nodes.extend(parts.map(|(host, port)| Node::Of { host, port }));
        }
        Ok(nodes)
    }

    /// Connects anew with the next command where this answer says that another server may be at the address.
    fn seen(&self, sent: Result<Value, RedisError>) -> Result<Value, RedisError> {
        match (&self.0, &sent) {
            (Link::One { client, waits, manager: old }, Err(error)) if is_no_master(error) => {
                if let Ok(new) = manager(client, *waits) {
                    *lock(old) = new;
                }
            }
            (Link::Cluster { client, connection }, Err(error)) if is_lost(error) => {
                *lock(connection) = client.get_pending_async_connection_with_config(ClusterConfig::new());
            }
            _ => {}
        }
        sent
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A handle of the shared connection.
fn copy<T: Clone>(shared: &Mutex<T>) -> T {
    lock(shared).clone()
}

fn manager(client: &Client, waits: Waits) -> Result<ConnectionManager, RedisLeasesError> {
    let config = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(waits.connect))
        .set_response_timeout(Some(waits.answer))
        .set_number_of_retries(0);
    ConnectionManager::new_lazy_with_config(client.clone(), config).map_err(|error| failed(&error))
}

/// Whether a cluster has none of the nodes that are known.
fn is_lost(error: &RedisError) -> bool {
    error.kind() == ErrorKind::ClusterConnectionNotFound
}

/// Whether a node says that it has not taken a command: its slot is elsewhere, or nowhere yet.
fn is_untaken(error: &RedisError) -> bool {
    use ServerErrorKind::{ClusterDown, Moved, TryAgain};
    matches!(error.kind(), ErrorKind::Server(Moved | TryAgain | ClusterDown))
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
            "; the user needs the keys weir:leases:* and +get +set +mget +scan +time +info +eval +evalsha +@connection, and in a cluster +cluster|slots +ping"
        }
        (Some("OOM"), _) => "; give Redis more memory (`maxmemory`)",
        (_, ErrorKind::Server(kind)) if is_passing(kind) => return RedisLeasesError::Away(error.to_string()),
        (_, ErrorKind::Server(_) | ErrorKind::Extension) => "",
        _ => return RedisLeasesError::Away(error.to_string()),
    };
    RedisLeasesError::Refused(format!("{error}{remedy}"))
}

fn is_passing(kind: ServerErrorKind) -> bool {
    use ServerErrorKind::{Ask, BusyLoading, ClusterDown, MasterDown, Moved, ReadOnly, TryAgain};
    matches!(kind, BusyLoading | MasterDown | ReadOnly | TryAgain | ClusterDown | Moved | Ask)
}

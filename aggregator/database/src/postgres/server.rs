use std::fmt::Debug;
use std::sync::Arc;

use tokio_postgres::Config;
use tokio_rustls::rustls::ClientConfig;

/// How a PostgreSQL database is reached.
pub trait Server: Debug + Send + Sync {
    /// Its address as people read it, without a password.
    fn label(&self) -> String;

    /// What a connection needs, or why it cannot be known. Asked for each connection, so that a changed password needs no restart.
    fn reach(&self) -> Result<Reach, String>;
}

/// What a connection to a PostgreSQL needs.
#[derive(Debug)]
pub struct Reach {
    /// Address, user, password and database.
    pub config: Config,
    /// TLS, which proves the server's name. None: the connection is in the clear.
    pub tls: Option<Arc<ClientConfig>>,
}

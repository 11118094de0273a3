//! Where a log is in a Redis: the server, the log's name, and the keys made from it.
use std::path::PathBuf;

use weir_settings::redis::{RedisServer, RedisSettingsError};

use super::session::Session;
use crate::{LogError, RedisProblem};

/// The name of a log whose settings give none.
pub const DEFAULT_NAME: &str = "weir";

/// Where a log is in a Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisPlace {
    /// The server.
    pub server: RedisServer,
    /// The directory where the relative paths of its settings start.
    pub base: PathBuf,
    /// The log's name, part of its keys.
    pub name: String,
    /// Replicas that must have a record before it is acknowledged. 0: the server's own disk must have it.
    pub replicas: u32,
}

impl RedisPlace {
    /// The log `name` on the server.
    pub fn new(server: RedisServer, name: &str) -> Self {
        RedisPlace { server, base: PathBuf::new(), name: name.to_owned(), replicas: 0 }
    }

    /// Address and name, as errors and commands say them.
    pub fn label(&self) -> String {
        format!("{} ({})", self.server, self.name)
    }

    pub(super) fn keys(&self) -> Keys {
        Keys::of(&self.name)
    }

    pub(super) fn failed(&self, source: impl Into<RedisProblem>) -> LogError {
        LogError::Redis { log: self.label(), source: source.into() }
    }

    pub(super) fn client(&self) -> Result<redis::Client, RedisSettingsError> {
        self.server.client(&self.base)
    }

    /// Connects, waits until the server has loaded its data, and checks its version and that what it acknowledges lasts.
    pub(super) fn connect(&self) -> Result<Session, LogError> {
        let client = self.client().map_err(|error| self.failed(error))?;
        Session::open(client, self.replicas).map_err(|problem| self.failed(problem))
    }

    /// Checks the server as a start does, and changes nothing.
    pub fn check(&self) -> Result<(), LogError> {
        self.connect().map(drop)
    }
}

/// The keys of a log's one partition. The part in braces is hashed in a cluster, so that they lie together; further partitions
/// get further numbers.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    /// A stream: one entry per record, with the position as its id.
    pub(super) stream: String,
    /// A hash: the log's format, name, epoch and ends.
    pub(super) meta: String,
    /// A hash that expires: who may write.
    pub(super) lease: String,
    /// A set: users whose names readers overwrite.
    pub(super) redacted: String,
}

impl Keys {
    /// The number of the only partition.
    const PARTITION: u32 = 0;

    pub(super) fn of(name: &str) -> Self {
        let key = |part: &str| format!("weir:log:{{{name}/{}}}:{part}", Self::PARTITION);
        Keys { stream: key("stream"), meta: key("meta"), lease: key("lease"), redacted: key("redacted") }
    }

    /// All of them, but for the lease.
    pub(super) fn kept(&self) -> [&str; 3] {
        [&self.stream, &self.meta, &self.redacted]
    }
}

//! The center's memory: its epoch, and since when an earlier one is lost. Every partition holds the same.
use redis::{Cmd, FromRedisValue, cmd};
use siphasher::sip::SipHasher13;
use std::hash::Hasher;
use weir_contract::lease::{Key, Owner};

use crate::connection::{Connection, failed};
use crate::{RedisLeasesError, script};

/// The partitions: limits of one tenant or pool are in one.
pub(crate) const PARTITIONS: u64 = 16;
/// How often a memory is read before the partitions must agree.
const READS_MAX: usize = 5;

/// The number of a memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Memory {
    pub(crate) epoch: u64,
    /// When it began, if an earlier one was lost; 0 if there was none.
    pub(crate) lost_ms: u64,
}

impl Memory {
    /// As the server keeps it.
    pub(crate) fn text(self) -> String {
        format!("{}:{}", self.epoch, self.lost_ms)
    }

    fn read(text: &str) -> Option<Self> {
        let (epoch, lost_ms) = text.split_once(':')?;
        Some(Memory { epoch: epoch.parse().ok()?, lost_ms: lost_ms.parse().ok()? })
    }
}

/// What was before an empty server, as far as this process knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Earlier {
    /// Nothing: it is new.
    Nothing,
    /// A memory that another process joined.
    Unknown,
    /// A memory of that epoch.
    Epoch(u64),
}

/// Names of keys.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    name: String,
}

impl Keys {
    pub(crate) fn of(name: &str) -> Self {
        Keys { name: name.to_owned() }
    }

    /// The key of the memory of a partition.
    pub(crate) fn memory(&self, partition: u64) -> String {
        format!("weir:leases:{{{}/{partition}}}:memory", self.name)
    }

    /// The key of a limit, and that of its partition's memory.
    pub(crate) fn limit(&self, key: &Key) -> Result<[String; 2], RedisLeasesError> {
        let partition = partition(&key.owner);
        let text = serde_json::to_string(key).map_err(|error| RedisLeasesError::Refused(error.to_string()))?;
        Ok([format!("weir:leases:{{{}/{partition}}}:limit:{text}", self.name), self.memory(partition)])
    }

    /// The pattern of all keys of limits.
    pub(crate) fn limits(&self) -> String {
        // A name has no character that a pattern reads as anything but itself.
        format!("weir:leases:{{{}/*}}:limit:*", self.name)
    }
}

/// The partition of a tenant's limits, or a pool's.
fn partition(owner: &Owner) -> u64 {
    let mut hasher = SipHasher13::new();
    match owner {
        Owner::Tenant(id) => hasher.write(id.as_str().as_bytes()),
        Owner::Pool(name) => hasher.write(name.as_bytes()),
    }
    hasher.finish() % PARTITIONS
}

/// The command that reads the time of the one node whose time a cluster's calls have, so that limits do not go back and forth
/// between the clocks of nodes.
pub(crate) fn time_of_one_node(keys: &Keys) -> Cmd {
    let mut time = cmd("EVAL");
    time.arg("return redis.call('TIME')").arg(1).arg(keys.memory(0));
    time
}

/// The server's time, in milliseconds, as `clock` asks for it.
pub(crate) async fn time(connection: &Connection, clock: &Cmd) -> Result<u64, RedisLeasesError> {
    let (seconds, micros): (u64, u64) = ask(connection, clock).await?;
    Ok(seconds * 1_000 + micros / 1_000)
}

/// Reads the memory, and begins one where there is none.
pub(crate) async fn join(
    connection: &Connection,
    keys: &Keys,
    earlier: Earlier,
    clock: &Cmd,
) -> Result<Memory, RedisLeasesError> {
    for _ in 0..READS_MAX {
        let mut found = Vec::new();
        for partition in 0..PARTITIONS {
            let text: Option<String> = ask(connection, cmd("GET").arg(keys.memory(partition))).await?;
            found.push(text.as_deref().and_then(Memory::read));
        }
        let newest = found.iter().flatten().max().copied();
        if let Some(memory) = newest.filter(|newest| found.iter().all(|one| *one == Some(*newest))) {
            return Ok(memory);
        }
        let now = time(connection, clock).await?;
        let memory = next(&found, newest, now, earlier);
        for partition in 0..PARTITIONS {
            let mut raise = cmd("EVAL");
            raise.arg(script::RAISE).arg(1).arg(keys.memory(partition)).arg(memory.epoch).arg(memory.lost_ms);
            let (): () = ask(connection, &raise).await?;
        }
    }
    Err(RedisLeasesError::Away("its partitions do not agree about the memory".to_owned()))
}

/// The memory that all partitions are to have.
fn next(found: &[Option<Memory>], newest: Option<Memory>, now: u64, earlier: Earlier) -> Memory {
    match newest {
        Some(newest) if found.iter().all(Option::is_some) => newest,
        Some(newest) => Memory { epoch: now.max(newest.epoch + 1), lost_ms: now },
        None => match earlier {
            Earlier::Nothing => Memory { epoch: now, lost_ms: 0 },
            Earlier::Unknown => Memory { epoch: now, lost_ms: now },
            Earlier::Epoch(epoch) => Memory { epoch: now.max(epoch + 1), lost_ms: now },
        },
    }
}

/// Refuses a server that drops limits when its memory is short.
pub(crate) async fn check(connection: &Connection) -> Result<(), RedisLeasesError> {
    for node in connection.nodes().await.map_err(|error| failed(&error))? {
        let info = connection.send_to(&node, cmd("INFO").arg("memory")).await.map_err(|error| failed(&error))?;
        let info = String::from_redis_value(info).map_err(|error| RedisLeasesError::Refused(error.to_string()))?;
        check_policy(&info)?;
    }
    Ok(())
}

fn check_policy(info: &str) -> Result<(), RedisLeasesError> {
    let value = |name: &str| {
        let find = |line: &str| line.split_once(':').filter(|(key, _)| *key == name).map(|(_, value)| value.to_owned());
        info.lines().find_map(find).unwrap_or_default()
    };
    let (max, policy) = (value("maxmemory"), value("maxmemory_policy"));
    if max == "0" || policy == "noeviction" {
        return Ok(());
    }
    let problem = format!(
        "`maxmemory-policy` is {policy}: a limit that is dropped when memory is short begins full; set it: CONFIG SET \
         maxmemory-policy noeviction"
    );
    Err(RedisLeasesError::Unsafe(problem))
}

/// Sends a command and reads its answer.
pub(crate) async fn ask<T: FromRedisValue>(connection: &Connection, command: &Cmd) -> Result<T, RedisLeasesError> {
    let value = connection.send(command).await.map_err(|error| failed(&error))?;
    T::from_redis_value(value).map_err(|error| RedisLeasesError::Refused(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000_000;

    #[test]
    fn a_memory_is_new_lost_or_as_new_as_the_newest() {
        let old = Memory { epoch: 7, lost_ms: 0 };
        let newer = Memory { epoch: 9, lost_ms: 8 };
        assert_eq!(next(&[None, None], None, NOW, Earlier::Nothing), Memory { epoch: NOW, lost_ms: 0 });
        assert_eq!(next(&[None, None], None, NOW, Earlier::Unknown), Memory { epoch: NOW, lost_ms: NOW });
        assert_eq!(next(&[Some(old), None], Some(old), NOW, Earlier::Nothing), Memory { epoch: NOW, lost_ms: NOW });
        assert_eq!(next(&[Some(old), Some(newer)], Some(newer), NOW, Earlier::Nothing), newer);
        let ahead = Earlier::Epoch(NOW + 5);
        assert_eq!(next(&[None], None, NOW, ahead), Memory { epoch: NOW + 6, lost_ms: NOW });
        assert_eq!(Memory::read(&newer.text()), Some(newer));
    }
}

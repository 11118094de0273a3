//! All limits of a server, for people and metrics.
use std::time::Duration;

use redis::{FromRedisValue, cmd};
use weir_contract::lease::Key;
use weir_leases::Limit;

use crate::RedisLeasesError;
use crate::connection::{Connection, failed};
use crate::memory::{Keys, ask};

/// How many keys one command looks at.
const KEYS_PER_SCAN: usize = 1_000;
/// The longest time for a survey.
const SURVEY_MAX: Duration = Duration::from_secs(5);

/// Limits as they were last asked.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// The server's time.
    pub now: u64,
    /// In the order of their keys.
    pub limits: Vec<(Key, Limit)>,
}

impl Survey {
    /// Looks at every limit until `max` of those that are wanted are found.
    pub(crate) async fn take(
        connection: &Connection,
        keys: &Keys,
        max: usize,
        wanted: impl Fn(&Key) -> bool,
        now: u64,
    ) -> Result<Self, RedisLeasesError> {
        let scan = scan(connection, keys, max, wanted);
        let late = RedisLeasesError::Away(format!("it has more keys than {} s are enough for", SURVEY_MAX.as_secs()));
        let mut limits = tokio::time::timeout(SURVEY_MAX, scan).await.unwrap_or(Err(late))?;
        limits.sort_by(|(one, _), (other, _)| one.cmp(other));
        limits.dedup_by(|(one, _), (other, _)| one == other);
        limits.truncate(max);
        Ok(Survey { now, limits })
    }
}

async fn scan(
    connection: &Connection,
    keys: &Keys,
    max: usize,
    wanted: impl Fn(&Key) -> bool,
) -> Result<Vec<(Key, Limit)>, RedisLeasesError> {
    let mut limits = Vec::new();
    for node in connection.nodes().await.map_err(|error| failed(&error))? {
        let mut cursor = 0_u64;
        loop {
            let mut command = cmd("SCAN");
            command.arg(cursor).arg("MATCH").arg(keys.limits()).arg("COUNT").arg(KEYS_PER_SCAN);
            let answer = connection.send_to(&node, &command).await.map_err(|error| failed(&error))?;
            let (next, names) = <(u64, Vec<String>)>::from_redis_value(answer).map_err(unreadable)?;
            limits.extend(read(connection, &names, &wanted).await?);
            cursor = next;
            if limits.len() >= max {
                return Ok(limits);
            }
            if cursor == 0 {
                break;
            }
        }
    }
    Ok(limits)
}

fn unreadable(error: impl std::fmt::Display) -> RedisLeasesError {
    RedisLeasesError::Refused(error.to_string())
}

/// Reads those limits that are wanted.
async fn read(
    connection: &Connection,
    names: &[String],
    wanted: &impl Fn(&Key) -> bool,
) -> Result<Vec<(Key, Limit)>, RedisLeasesError> {
    let known = names.iter().filter_map(|name| Some((name, limit_key(name)?))).filter(|(_, key)| wanted(key));
    let (names, found): (Vec<&String>, Vec<Key>) = known.unzip();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let texts: Vec<Option<String>> = ask(connection, cmd("MGET").arg(&names)).await?;
    let limit = |(key, text): (Key, Option<String>)| Some((key, serde_json::from_str(&text?).ok()?));
    Ok(found.into_iter().zip(texts).filter_map(limit).collect())
}

/// The key of the limit that a name of the server says.
fn limit_key(name: &str) -> Option<Key> {
    let (_, key) = name.split_once("}:limit:")?;
    serde_json::from_str(key).ok()
}

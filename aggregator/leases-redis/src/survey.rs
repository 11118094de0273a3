//! All limits of a server, for people and metrics.
use std::time::Duration;

use redis::cmd;
use weir_contract::lease::Key;
use weir_leases::Limit;

use crate::RedisLeasesError;
use crate::connection::Connection;
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
    let (mut cursor, mut limits) = (0_u64, Vec::new());
    loop {
        let mut command = cmd("SCAN");
        command.arg(cursor).arg("MATCH").arg(keys.limits()).arg("COUNT").arg(KEYS_PER_SCAN);
        let (next, names): (u64, Vec<String>) = ask(connection, &command).await?;
        let known = names.iter().filter_map(|name| Some((name, limit_key(name)?))).filter(|(_, key)| wanted(key));
        let (names, found): (Vec<&String>, Vec<Key>) = known.unzip();
        if !names.is_empty() {
            let texts: Vec<Option<String>> = ask(connection, cmd("MGET").arg(&names)).await?;
            for (key, text) in found.into_iter().zip(texts) {
                limits.extend(text.and_then(|text| Some((key, serde_json::from_str(&text).ok()?))));
            }
        }
        cursor = next;
        if cursor == 0 || limits.len() >= max {
            return Ok(limits);
        }
    }
}

/// The key of the limit that a name of the server says.
fn limit_key(name: &str) -> Option<Key> {
    let (_, key) = name.split_once("}:limit:")?;
    serde_json::from_str(key).ok()
}

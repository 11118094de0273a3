//! Checks that a server keeps what it acknowledges, and says how to mend it if it does not.
use std::collections::HashMap;

use redis::{ConnectionLike, RedisError, cmd};

use super::errors::failed;
use crate::RedisProblem;

/// The oldest version whose streams have all that the log needs, as people write it.
const NEEDED: &str = "7.0";
/// The same as numbers.
const NEEDED_VERSION: (u32, u32) = (7, 0);

/// What `CONFIG GET` must answer, and why.
const WANTED: [(&str, &str, &str); 3] = [
    ("appendonly", "yes", "without it a restart loses everything since the last snapshot"),
    ("appendfsync", "always", "with another value a crash loses the events of the last second"),
    ("no-appendfsync-on-rewrite", "no", "with `yes` a crash during a rewrite loses acknowledged events"),
];

/// Checks version, durability and eviction. With `replicas` the copies keep what is acknowledged, and the server's own disk need not.
pub(super) fn check(connection: &mut dyn ConnectionLike, replicas: u32) -> Result<(), RedisProblem> {
    let info: String = cmd("INFO").query(connection).map_err(|error| failed(&error))?;
    let info = parse(&info);
    let version = info.get("redis_version").copied().unwrap_or_default();
    if numbers(version) < Some(NEEDED_VERSION) {
        return Err(RedisProblem::TooOld { found: version.to_owned(), needed: NEEDED });
    }
    let policy = info.get("maxmemory_policy").copied().unwrap_or("noeviction");
    if policy.starts_with("allkeys") {
        return Err(RedisProblem::NotDurable(format!(
            "`maxmemory-policy` is {policy}: it drops events when memory is short; set it: CONFIG SET maxmemory-policy noeviction"
        )));
    }
    if info.get("role") == Some(&"slave") {
        return Err(RedisProblem::NotDurable("this is a replica: name the master in `log`".to_owned()));
    }
    if replicas > 0 {
        return check_replicas(&info, replicas);
    }
    let names: Vec<&str> = WANTED.iter().map(|(name, ..)| *name).collect();
    let found: Result<HashMap<String, String>, RedisError> = cmd("CONFIG").arg("GET").arg(names).query(connection);
    let found = found.map_err(|error| {
        RedisProblem::NotDurable(format!(
            "weir may not read its durability ({error}): allow CONFIG GET, or set `replicas` so that copies keep the events"
        ))
    })?;
    check_config(&found)
}

fn check_config(found: &HashMap<String, String>) -> Result<(), RedisProblem> {
    for (name, wanted, why) in WANTED {
        let value = found.get(name).map_or("unknown", String::as_str);
        if value != wanted {
            return Err(RedisProblem::NotDurable(format!(
                "`{name}` is {value}: {why}; set it: CONFIG SET {name} {wanted}, then CONFIG REWRITE (or set `replicas`)"
            )));
        }
    }
    Ok(())
}

fn check_replicas(info: &HashMap<&str, &str>, replicas: u32) -> Result<(), RedisProblem> {
    let connected: u32 = info.get("connected_slaves").and_then(|text| text.parse().ok()).unwrap_or(0);
    if connected >= replicas {
        return Ok(());
    }
    Err(RedisProblem::NotDurable(format!(
        "{connected} replicas are connected, `replicas` asks for {replicas}: start them, or lower it"
    )))
}

fn parse(info: &str) -> HashMap<&str, &str> {
    info.lines().filter_map(|line| line.split_once(':')).collect()
}

fn numbers(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split('.').map(|part| part.parse().ok());
    Some((parts.next()??, parts.next()??))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(numbers("10.2.1") > Some(NEEDED_VERSION) && numbers("7.0.15") >= Some(NEEDED_VERSION));
        for old in ["6.2.14", "2.8", "", "x"] {
            assert!(numbers(old) < Some(NEEDED_VERSION), "{old}");
        }
    }

    #[test]
    fn each_setting_that_loses_events_is_named_with_its_remedy() {
        let durable: HashMap<String, String> =
            WANTED.iter().map(|(name, value, _)| ((*name).to_owned(), (*value).to_owned())).collect();
        assert!(check_config(&durable).is_ok());
        for (name, ..) in WANTED {
            let mut found = durable.clone();
            found.insert(name.to_owned(), "other".to_owned());
            let error = check_config(&found).expect_err(name).to_string();
            assert!(error.contains(name) && error.contains("CONFIG SET"), "{error}");
            found.remove(name);
            assert!(check_config(&found).is_err(), "{name} unknown");
        }
    }
}

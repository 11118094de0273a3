//! Fetches the keys that issuers publish (RFC 7517, section 5) through the gateway.
//!
//! A set is fetched at the start and before it grows old. A token that names a key outside the set causes another
//! fetch as soon as the last one is long enough ago: one fetch for all, however many names are made up. While the
//! issuer does not answer, the last good set stays. A key that is in both the old and the new set stays the same
//! object, so that tokens verified under it stay verified.
use std::rc::Rc;

use weir_config::ConfigError;
use weir_config::shape::Jwks;
use weir_contract::Timestamp;

use super::algorithm::{Algorithm, Family};
use super::key::Key;
use super::key::jwk::{self, KeySet};
use crate::fetch::{Failure, Fetch, Fetched, Schedule, Target};

/// The most bytes of a set: 64 RSA keys with their certificates.
pub(crate) const SET_MAX_BYTES: usize = 256 * 1024;

/// Where an issuer's keys are.
#[derive(Debug)]
pub struct JwksEndpoint {
    cluster: Rc<str>,
    scheme: &'static str,
    authority: Rc<str>,
    path: Rc<str>,
    refresh_ms: u64,
    refetch_ms: u64,
    timeout_ms: u64,
    rsa: Algorithm,
}

impl JwksEndpoint {
    /// Checks where a set is fetched; None if the keys are in the configuration.
    pub fn compile(jwks: &Jwks, path: &str) -> Result<Option<Self>, ConfigError> {
        let (url, cluster) = match (&jwks.url, &jwks.cluster) {
            (None, None) if jwks.keys.is_empty() => {
                return Err(ConfigError::new(path, "give keys, or a url with its cluster"));
            }
            (None, None) => return Ok(None),
            (Some(url), Some(cluster)) if jwks.keys.is_empty() => (url, cluster),
            (Some(_), Some(_)) => return Err(ConfigError::new(path, "give either keys or a url with its cluster")),
            _ => {
                return Err(ConfigError::new(
                    path,
                    "url and cluster go together: the gateway fetches through the cluster",
                ));
            }
        };
        let wrong =
            || ConfigError::new(format!("{path}.url"), "a url is https://host/path, or http:// within a machine");
        let (scheme, rest) = url.split_once("://").ok_or_else(wrong)?;
        let scheme = ["https", "http"].into_iter().find(|known| *known == scheme).ok_or_else(wrong)?;
        let (authority, file) = rest.split_once('/').unwrap_or((rest, ""));
        if authority.is_empty() || rest.bytes().any(|byte| !byte.is_ascii_graphic()) {
            return Err(wrong());
        }
        if jwks.rsa_algorithm.family() != Family::Rsa {
            return Err(ConfigError::new(format!("{path}.rsa_algorithm"), "expected RS256, RS384, RS512 or PS256"));
        }
        for (field, span) in [("refresh", jwks.refresh), ("refetch", jwks.refetch), ("timeout", jwks.timeout)] {
            if span.as_millis() < 1_000 {
                return Err(ConfigError::new(format!("{path}.{field}"), "at least 1s"));
            }
        }
        Ok(Some(JwksEndpoint {
            cluster: cluster.as_str().into(),
            scheme,
            authority: authority.into(),
            path: format!("/{file}").into(),
            refresh_ms: jwks.refresh.as_millis(),
            refetch_ms: jwks.refetch.as_millis(),
            timeout_ms: jwks.timeout.as_millis(),
            rsa: jwks.rsa_algorithm,
        }))
    }
}

/// The fetched keys of every issuer, by its index.
#[derive(Debug)]
pub struct Keyring(Vec<Set>);

#[derive(Debug)]
struct Set {
    keys: Option<Vec<Rc<Key>>>,
    /// Keys of the last answer that cannot be used, and why.
    ignored: Vec<String>,
    schedule: Schedule,
    fetched: Option<Timestamp>,
}

/// What became of an issuer's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// The set is unchanged.
    Same,
    /// The set has other keys.
    Changed,
    /// There was no usable set; the old one stays.
    Failed(Failure),
}

impl Keyring {
    /// A keyring before the first fetch.
    pub fn new(issuers: usize, now: Timestamp) -> Self {
        Keyring(
            (0..issuers)
                .map(|_| Set { keys: None, ignored: Vec::new(), schedule: Schedule::due_at(now), fetched: None })
                .collect(),
        )
    }

    /// Takes over an issuer's keys from the ring of another configuration.
    pub fn inherit(&mut self, issuer: usize, from: &Keyring, at: usize) {
        if let (Some(set), Some(known)) = (self.0.get_mut(issuer), from.keys(at)) {
            set.keys = Some(known.to_vec());
        }
    }

    /// The keys of an issuer; None before its first set.
    pub fn keys(&self, issuer: usize) -> Option<&[Rc<Key>]> {
        self.0.get(issuer)?.keys.as_deref()
    }

    /// Keys of an issuer's last answer that cannot be used, and why: for the log.
    pub fn ignored(&self, issuer: usize) -> &[String] {
        self.0.get(issuer).map_or(&[], |set| &set.ignored)
    }

    /// A token names a key that the issuer's set does not have. True where a set that may have it is on its way: under
    /// way, or due in an instant.
    pub fn want(&mut self, issuer: usize, remote: &JwksEndpoint, now: Timestamp) -> bool {
        let Some(set) = self.0.get_mut(issuer) else { return false };
        let from = set.fetched.map_or(now, |fetched| fetched.plus_millis(remote.refetch_ms));
        set.schedule.not_later_than(from);
        set.schedule.is_due(now) || set.schedule.is_under_way()
    }

    /// The fetch that is due for an issuer, which is under way from now on.
    pub fn due(&mut self, issuer: usize, remote: &JwksEndpoint, now: Timestamp) -> Option<Fetch> {
        let set = self.0.get_mut(issuer)?;
        set.schedule.start(now).then(|| Fetch {
            target: Target::Keys(issuer),
            cluster: Rc::clone(&remote.cluster),
            scheme: remote.scheme,
            authority: Rc::clone(&remote.authority),
            path: remote.path.to_string(),
            headers: vec![("accept", "application/jwk-set+json, application/json".to_owned())],
            timeout_ms: remote.timeout_ms,
        })
    }

    /// Handles an issuer's answer, or its absence.
    pub fn answered(&mut self, issuer: usize, remote: &JwksEndpoint, answer: &Fetched<'_>, now: Timestamp) -> Renewal {
        let Some(set) = self.0.get_mut(issuer) else { return Renewal::Same };
        set.fetched = Some(now);
        match remote.read(answer) {
            Ok(read) if !read.keys.is_empty() => {
                set.ignore(&read);
                set.schedule.succeeded(remote.next_after(answer), now);
                set.replace(read.keys)
            }
            Ok(read) => {
                set.ignore(&read);
                set.schedule.failed(remote.refresh_ms, now);
                Renewal::Failed(Failure::NoUsableKey)
            }
            Err(failure) => {
                set.schedule.failed(remote.refresh_ms, now);
                Renewal::Failed(failure)
            }
        }
    }

    /// Milliseconds until the next fetch for an issuer.
    pub fn wait_ms(&self, issuer: usize, now: Timestamp) -> u64 {
        self.0.get(issuer).map_or(0, |set| set.schedule.wait_ms(now))
    }
}

impl JwksEndpoint {
    /// The gateway's name for the server.
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// Whether both are the same place.
    pub(crate) fn is_place_of(&self, other: &JwksEndpoint) -> bool {
        let place = |of: &JwksEndpoint| (of.cluster.clone(), of.authority.clone(), of.path.clone(), of.scheme, of.rsa);
        place(self) == place(other)
    }

    fn read(&self, answer: &Fetched<'_>) -> Result<KeySet, Failure> {
        let body = answer.ok()?;
        if body.len() > SET_MAX_BYTES {
            return Err(Failure::TooLong);
        }
        jwk::read_set(body, self.rsa).ok_or(Failure::NoSet)
    }

    /// Four fifths of the age that the issuer grants, so that a set is renewed before it expires, within the bounds
    /// of the configuration.
    fn next_after(&self, answer: &Fetched<'_>) -> u64 {
        let granted = answer.max_age_secs().map_or(u64::MAX, |secs| secs.saturating_mul(800));
        granted.clamp(self.refetch_ms, self.refresh_ms.max(self.refetch_ms))
    }
}

impl Set {
    fn ignore(&mut self, read: &KeySet) {
        self.ignored = read.ignored.iter().map(ToString::to_string).collect();
    }

    fn replace(&mut self, keys: Vec<Key>) -> Renewal {
        let old = self.keys.take().unwrap_or_default();
        let known = |key: Key| old.iter().find(|old| ***old == key).cloned().unwrap_or_else(|| Rc::new(key));
        let keys: Vec<Rc<Key>> = keys.into_iter().map(known).collect();
        let same = keys.len() == old.len() && old.iter().all(|old| keys.iter().any(|key| Rc::ptr_eq(key, old)));
        self.keys = Some(keys);
        if same { Renewal::Same } else { Renewal::Changed }
    }
}

#[cfg(test)]
mod tests;

//! Who is signed in. A session has a random name, of which only the hash is kept, and leads to the hash of a token. Sessions live in
//! memory: a restart ends them all.
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use weir_contract::directory::KeyHash;

use crate::config::tokens::{NoRandomness, random_token};

/// The most sessions. A further sign-in ends the one that was used longest ago.
const SESSIONS_MAX: usize = 1_000;
/// A session that is not used for this long ends.
const IDLE_MAX: Duration = Duration::from_secs(2 * 3_600);
/// A session ends after this time, however much it is used.
const AGE_MAX: Duration = Duration::from_secs(12 * 3_600);

/// All sessions.
#[derive(Debug, Default)]
pub(super) struct Sessions(Mutex<HashMap<KeyHash, Session>>);

/// A session. Times are those of [`weir_clock::Clock::elapsed`].
#[derive(Clone, Debug)]
pub(super) struct Session {
    /// The hash of the token that it was begun with.
    pub(super) token: KeyHash,
    /// What its forms carry.
    pub(super) csrf: String,
    began: Duration,
    used: Duration,
}

impl Session {
    fn is_over(&self, now: Duration) -> bool {
        now.saturating_sub(self.used) >= IDLE_MAX || now.saturating_sub(self.began) >= AGE_MAX
    }
}

impl Sessions {
    fn with<T>(&self, act: impl FnOnce(&mut HashMap<KeyHash, Session>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Begins a session, and returns its name.
    pub(super) fn begin(&self, token: KeyHash, now: Duration) -> Result<String, NoRandomness> {
        let (name, csrf) = (random_token()?, random_token()?);
        let session = Session { token, csrf, began: now, used: now };
        self.with(|sessions| {
            sessions.retain(|_, session| !session.is_over(now));
            if sessions.len() >= SESSIONS_MAX
                && let Some(oldest) = sessions.iter().min_by_key(|(_, session)| session.used).map(|(name, _)| *name)
            {
                sessions.remove(&oldest);
            }
            sessions.insert(KeyHash::of(name.as_bytes()), session);
        });
        Ok(name)
    }

    /// The session of this name, which is used now.
    pub(super) fn using(&self, name: &str, now: Duration) -> Option<Session> {
        self.with(|sessions| {
            let session = sessions.get_mut(&KeyHash::of(name.as_bytes())).filter(|session| !session.is_over(now))?;
            session.used = now;
            Some(session.clone())
        })
    }

    /// Whether there is a session of this name, without using it.
    pub(super) fn lasts(&self, name: &str, now: Duration) -> bool {
        self.with(|sessions| sessions.get(&KeyHash::of(name.as_bytes())).is_some_and(|session| !session.is_over(now)))
    }

    /// Ends a session.
    pub(super) fn end(&self, name: &str) {
        self.with(|sessions| sessions.remove(&KeyHash::of(name.as_bytes())));
    }

    /// How many there are; one that is over counts until the next begins.
    pub(super) fn count(&self) -> usize {
        self.with(|sessions| sessions.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn token() -> KeyHash {
        KeyHash::of(b"token")
    }

    #[test]
    fn a_session_ends_when_it_is_idle_and_when_it_is_old() {
        let sessions = Sessions::default();
        let name = sessions.begin(token(), MINUTE).expect("a session");
        assert!(sessions.using(&name, 119 * MINUTE).is_some());
        assert!(sessions.using(&name, 238 * MINUTE).is_some(), "used within two hours");
        assert!(sessions.lasts(&name, 357 * MINUTE) && !sessions.lasts(&name, 358 * MINUTE), "a look is no use");
        assert!(sessions.using(&name, 358 * MINUTE).is_none());
        let name = sessions.begin(token(), MINUTE).expect("a session");
        assert!((1..=720).all(|minute| sessions.using(&name, minute * MINUTE).is_some()));
        assert!(sessions.using(&name, 721 * MINUTE).is_none(), "twelve hours");
    }

    #[test]
    fn sessions_are_bounded_and_the_one_used_longest_ago_gives_way() {
        let sessions = Sessions::default();
        let begin = |second: usize| sessions.begin(token(), Duration::from_secs(second as u64)).expect("a session");
        let (first, second) = (begin(0), begin(1));
        let now = Duration::from_secs(2_000);
        assert!(sessions.using(&first, now).is_some());
        for at in 2..=SESSIONS_MAX {
            begin(at);
        }
        assert_eq!(sessions.count(), SESSIONS_MAX);
        assert!(sessions.lasts(&first, now) && !sessions.lasts(&second, now));
    }

    #[test]
    fn names_are_random_and_kept_as_hashes() {
        let sessions = Sessions::default();
        let names = [1, 2].map(|_| sessions.begin(token(), MINUTE).expect("a session"));
        assert_ne!(names[0], names[1]);
        assert!(names.iter().all(|name| name.len() == 64));
        let kept = format!("{sessions:?}");
        assert!(names.iter().all(|name| !kept.contains(name.as_str())));
        sessions.end(&names[0]);
        assert!(!sessions.lasts(&names[0], MINUTE) && sessions.lasts(&names[1], MINUTE));
    }
}

//! Who is signed in. A session has a random name, of which only the hash is kept, and leads to the hash of a token. Sessions live in
//! memory: a restart ends them all.
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use weir_contract::directory::KeyHash;

use crate::config::tokens::{NoRandomness, random_token};

/// The most sessions. A further sign-in ends the one that was used longest ago.
const SESSIONS_MAX: usize = 1_000;
/// The most sessions of one token, so that nobody ends those of others.
const SESSIONS_OF_TOKEN_MAX: usize = 16;
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
            if sessions.values().filter(|session| session.token == token).count() >= SESSIONS_OF_TOKEN_MAX {
                end_oldest(sessions, |session| session.token == token);
            }
            if sessions.len() >= SESSIONS_MAX {
                end_oldest(sessions, |_| true);
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

    /// The hash of the token of a session, without using it.
    pub(super) fn token(&self, name: &str, now: Duration) -> Option<KeyHash> {
        let found = |sessions: &mut HashMap<KeyHash, Session>| {
            let session = sessions.get(&KeyHash::of(name.as_bytes()))?;
            (!session.is_over(now)).then_some(session.token)
        };
        self.with(found)
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

/// Ends the session that was used longest ago of those that `is` names.
fn end_oldest(sessions: &mut HashMap<KeyHash, Session>, is: impl Fn(&Session) -> bool) {
    let of = sessions.iter().filter(|(_, session)| is(session));
    if let Some(oldest) = of.min_by_key(|(_, session)| session.used).map(|(name, _)| *name) {
        sessions.remove(&oldest);
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
        assert!(
            sessions.token(&name, 357 * MINUTE).is_some() && sessions.token(&name, 358 * MINUTE).is_none(),
            "a look is no use"
        );
        assert!(sessions.using(&name, 358 * MINUTE).is_none());
        let name = sessions.begin(token(), MINUTE).expect("a session");
        assert!((1..=720).all(|minute| sessions.using(&name, minute * MINUTE).is_some()));
        assert!(sessions.using(&name, 721 * MINUTE).is_none(), "twelve hours");
    }

    #[test]
    fn sessions_are_bounded_and_the_one_used_longest_ago_gives_way() {
        let sessions = Sessions::default();
        let begin = |second: usize| {
            let of = KeyHash::of(&second.to_le_bytes());
            sessions.begin(of, Duration::from_secs(second as u64)).expect("a session")
        };
        let (first, second) = (begin(0), begin(1));
        let now = Duration::from_secs(2_000);
        assert!(sessions.using(&first, now).is_some());
        for at in 2..=SESSIONS_MAX {
            begin(at);
        }
        assert_eq!(sessions.count(), SESSIONS_MAX);
        assert!(sessions.token(&first, now).is_some() && sessions.token(&second, now).is_none());
    }

    #[test]
    fn nobody_ends_the_sessions_of_another_token() {
        let sessions = Sessions::default();
        let other = sessions.begin(KeyHash::of(b"other"), MINUTE).expect("a session");
        let own: Vec<String> =
            (2..20).map(|minute| sessions.begin(token(), minute * MINUTE).expect("a session")).collect();
        assert_eq!(sessions.count(), 1 + SESSIONS_OF_TOKEN_MAX);
        assert!(sessions.token(&other, 20 * MINUTE).is_some(), "though it is the oldest");
        assert!(sessions.token(&own[1], 20 * MINUTE).is_none() && sessions.token(&own[2], 20 * MINUTE).is_some());
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
        assert!(sessions.token(&names[0], MINUTE).is_none() && sessions.token(&names[1], MINUTE).is_some());
    }
}

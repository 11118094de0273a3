//! Who is signed in. A session has a random name, of which only the hash is kept, and leads to its [`Holder`]. Sessions live in
//! memory: a restart ends them all.
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use weir_contract::TenantId;
use weir_contract::directory::KeyHash;

use crate::config::tokens::{NoRandomness, Token, random_token};

/// The most sessions. A further sign-in ends the one that was used longest ago.
const SESSIONS_MAX: usize = 1_000;
/// The most sessions of one token or person, so that nobody ends those of others.
const SESSIONS_OF_ONE_MAX: usize = 16;
/// The most sessions of one tenant's people: whoever signs links names them as it likes.
const SESSIONS_OF_TENANT_MAX: usize = 64;
/// The most forms of a session that are remembered: more than anybody sends by clicking twice.
const FORMS_MAX: usize = 32;
/// A session that is not used for this long ends.
const IDLE_MAX: Duration = Duration::from_secs(2 * 3_600);
/// A session of a token ends after this time, however much it is used.
const AGE_MAX: Duration = Duration::from_secs(12 * 3_600);
/// A session that others vouch for ends after this time: they may have let the person go meanwhile, and weir is not told.
const VOUCHED_AGE_MAX: Duration = Duration::from_secs(3_600);

/// All sessions.
#[derive(Debug, Default)]
pub(super) struct Sessions(Mutex<HashMap<KeyHash, Session>>);

/// Whose a session is.
#[derive(Clone, Debug)]
pub(super) enum Holder {
    /// That of whoever has the token of this hash, which is looked up for each request.
    Token(KeyHash),
    /// That of a person for whom an identity provider or a signed link vouches, with what they may do. Of one person and what vouches
    /// for them, all have the same hash.
    Person(Arc<Token>, KeyHash),
}

impl Holder {
    /// The token or person.
    pub(super) fn one(&self) -> KeyHash {
        let (Holder::Token(hash) | Holder::Person(_, hash)) = self;
        *hash
    }

    /// The tenant alone for which a link vouches.
    fn tenant(&self) -> Option<&TenantId> {
        match self {
            Holder::Token(_) => None,
            Holder::Person(token, _) => token.tenant(),
        }
    }

    fn age_max(&self) -> Duration {
        match self {
            Holder::Token(_) => AGE_MAX,
            Holder::Person(..) => VOUCHED_AGE_MAX,
        }
    }
}

/// A session. Times are those of [`weir_clock::Clock::elapsed`].
#[derive(Clone, Debug)]
pub(super) struct Session {
    /// Whose it is.
    pub(super) holder: Holder,
    /// What its forms carry.
    pub(super) csrf: String,
    /// The forms that were sent last.
    sent: VecDeque<KeyHash>,
    began: Duration,
    used: Duration,
}

impl Session {
    fn is_over(&self, now: Duration) -> bool {
        now.saturating_sub(self.used) >= IDLE_MAX || now.saturating_sub(self.began) >= self.holder.age_max()
    }
}

impl Sessions {
    fn with<T>(&self, act: impl FnOnce(&mut HashMap<KeyHash, Session>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Begins a session, and returns its name.
    pub(super) fn begin(&self, holder: Holder, now: Duration) -> Result<String, NoRandomness> {
        let (name, csrf, one, tenant) = (random_token()?, random_token()?, holder.one(), holder.tenant().cloned());
        let session = Session { holder, csrf, sent: VecDeque::new(), began: now, used: now };
        self.with(|sessions| {
            sessions.retain(|_, session| !session.is_over(now));
            make_room(sessions, SESSIONS_OF_ONE_MAX, |session| session.holder.one() == one);
            if let Some(tenant) = &tenant {
                make_room(sessions, SESSIONS_OF_TENANT_MAX, |session| session.holder.tenant() == Some(tenant));
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

    /// Whose a session is, without using it.
    pub(super) fn holder(&self, name: &str, now: Duration) -> Option<Holder> {
        let found = |sessions: &mut HashMap<KeyHash, Session>| {
            let session = sessions.get(&KeyHash::of(name.as_bytes()))?;
            (!session.is_over(now)).then(|| session.holder.clone())
        };
        self.with(found)
    }

    /// Whether a session sends this form for the first time.
    pub(super) fn is_first(&self, name: &str, form: KeyHash) -> bool {
        self.with(|sessions| {
            let Some(session) = sessions.get_mut(&KeyHash::of(name.as_bytes())) else { return false };
            if session.sent.contains(&form) {
                return false;
            }
            if session.sent.len() >= FORMS_MAX {
                session.sent.pop_front();
            }
            session.sent.push_back(form);
            true
        })
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

/// Ends a session of those that `is` names, if there are `max` of them.
fn make_room(sessions: &mut HashMap<KeyHash, Session>, max: usize, is: impl Fn(&Session) -> bool) {
    if sessions.values().filter(|session| is(session)).count() >= max {
        end_oldest(sessions, is);
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
    use crate::config::tokens::Scope;

    const MINUTE: Duration = Duration::from_secs(60);

    fn token() -> Holder {
        Holder::Token(KeyHash::of(b"token"))
    }

    #[test]
    fn a_session_ends_when_it_is_idle_and_when_it_is_old() {
        let sessions = Sessions::default();
        let name = sessions.begin(token(), MINUTE).expect("a session");
        assert!(sessions.using(&name, 119 * MINUTE).is_some());
        assert!(sessions.using(&name, 238 * MINUTE).is_some(), "used within two hours");
        assert!(
            sessions.holder(&name, 357 * MINUTE).is_some() && sessions.holder(&name, 358 * MINUTE).is_none(),
            "a look is no use"
        );
        assert!(sessions.using(&name, 358 * MINUTE).is_none());
        let name = sessions.begin(token(), MINUTE).expect("a session");
        assert!((1..=720).all(|minute| sessions.using(&name, minute * MINUTE).is_some()));
        assert!(sessions.using(&name, 721 * MINUTE).is_none(), "twelve hours");
    }

    #[test]
    fn a_session_that_others_vouch_for_ends_after_an_hour() {
        let sessions = Sessions::default();
        let person = Arc::new(Token::of("OpenID Connect", Vec::new(), "ada"));
        let name = sessions.begin(Holder::Person(person, KeyHash::of(b"ada")), MINUTE).expect("a session");
        assert!((1..=60).all(|minute| sessions.using(&name, minute * MINUTE).is_some()));
        assert!(sessions.using(&name, 61 * MINUTE).is_none());
    }

    #[test]
    fn a_form_counts_once_as_long_as_it_is_remembered() {
        let sessions = Sessions::default();
        let names = [1, 2].map(|_| sessions.begin(token(), MINUTE).expect("a session"));
        let form = |number: usize| KeyHash::of(&number.to_le_bytes());
        assert!(sessions.is_first(&names[0], form(0)) && !sessions.is_first(&names[0], form(0)));
        assert!(sessions.is_first(&names[1], form(0)), "another session");
        assert!((1..FORMS_MAX).all(|number| sessions.is_first(&names[0], form(number))));
        assert!(!sessions.is_first(&names[0], form(0)) && sessions.is_first(&names[0], form(FORMS_MAX)));
        assert!(sessions.is_first(&names[0], form(0)), "forgotten");
        assert!(!sessions.is_first("nobody", form(0)));
    }

    #[test]
    fn sessions_are_bounded_and_the_one_used_longest_ago_gives_way() {
        let sessions = Sessions::default();
        let begin = |second: usize| {
            let of = Holder::Token(KeyHash::of(&second.to_le_bytes()));
            sessions.begin(of, Duration::from_secs(second as u64)).expect("a session")
        };
        let (first, second) = (begin(0), begin(1));
        let now = Duration::from_secs(2_000);
        assert!(sessions.using(&first, now).is_some());
        for at in 2..=SESSIONS_MAX {
            begin(at);
        }
        assert_eq!(sessions.count(), SESSIONS_MAX);
        assert!(sessions.holder(&first, now).is_some() && sessions.holder(&second, now).is_none());
    }

    #[test]
    fn nobody_ends_the_sessions_of_another_token() {
        let sessions = Sessions::default();
        let other = sessions.begin(Holder::Token(KeyHash::of(b"other")), MINUTE).expect("a session");
        let own: Vec<String> =
            (2..20).map(|minute| sessions.begin(token(), minute * MINUTE).expect("a session")).collect();
        assert_eq!(sessions.count(), 1 + SESSIONS_OF_ONE_MAX);
        assert!(sessions.holder(&other, 20 * MINUTE).is_some(), "though it is the oldest");
        assert!(sessions.holder(&own[1], 20 * MINUTE).is_none() && sessions.holder(&own[2], 20 * MINUTE).is_some());
    }

    #[test]
    fn a_tenant_does_not_end_the_sessions_of_others_by_links_of_many_names() {
        let sessions = Sessions::default();
        let admin = sessions.begin(token(), MINUTE).expect("a session");
        let scope = Scope::Tenant(TenantId::new("acme").expect("a name"));
        let acme = Arc::new(Token::of("a link", vec![scope], "acme"));
        for number in 0..SESSIONS_MAX + 10 {
            let person = Holder::Person(Arc::clone(&acme), KeyHash::of(&number.to_le_bytes()));
            sessions.begin(person, 2 * MINUTE).expect("a session");
        }
        assert_eq!(sessions.count(), 1 + SESSIONS_OF_TENANT_MAX);
        assert!(sessions.holder(&admin, 2 * MINUTE).is_some());
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
        assert!(sessions.holder(&names[0], MINUTE).is_none() && sessions.holder(&names[1], MINUTE).is_some());
    }
}

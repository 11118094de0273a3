//! Who may read a follower's metrics: tokens of its configuration, as it is on disk, and others as the owner says.
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use weir_clock::Clock;
use weir_contract::directory::KeyHash;

use crate::config::Config;
use crate::config::tokens::{Scope, Tokens};

/// How often the configuration is read again, at most.
const READ_EVERY: Duration = Duration::from_secs(1);
/// How long an answer of the owner is believed: a revoked token opens metrics for no longer.
const BELIEVED: Duration = Duration::from_secs(5);
/// How long a token that was good stays so while the owner cannot be asked: metrics are needed then above all.
const BELIEVED_ALONE: Duration = Duration::from_secs(300);
/// The most answers that are remembered. Beyond them the oldest is forgotten, and those about good tokens last: anybody can ask about others.
const ANSWERS_MAX: usize = 64;

/// What a token opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opens {
    Metrics,
    /// The token is good, and not for metrics.
    Others,
    /// There is no such token.
    Nothing,
}

/// The tokens that are known.
#[derive(Debug)]
pub(super) struct Readers {
    path: PathBuf,
    clock: Arc<dyn Clock>,
    own: Mutex<(Tokens, Duration)>,
    answers: Mutex<HashMap<String, (Opens, Duration)>>,
}

impl Readers {
    /// `tokens` are those of the start.
    pub(super) fn new(config: &Config, tokens: Tokens, clock: Arc<dyn Clock>) -> Self {
        let now = clock.elapsed();
        Readers { path: config.path.clone(), clock, own: Mutex::new((tokens, now)), answers: Mutex::default() }
    }

    /// What a token opens; None if only the owner knows.
    pub(super) fn find(&self, token: &[u8]) -> Option<Opens> {
        let now = self.clock.elapsed();
        self.of_configuration(token, now).or_else(|| self.answered(token, now, BELIEVED))
    }

    /// What a token opens while the owner cannot be asked; None if that is not known.
    pub(super) fn find_alone(&self, token: &[u8]) -> Option<Opens> {
        self.answered(token, self.clock.elapsed(), BELIEVED_ALONE).filter(|opens| *opens == Opens::Metrics)
    }

    /// Remembers what the owner has answered.
    pub(super) fn learn(&self, token: &[u8], opens: Opens) {
        let now = self.clock.elapsed();
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.insert(KeyHash::of(token).to_string(), (opens, now));
        if answers.len() > ANSWERS_MAX {
            let oldest = answers
                .iter()
                .min_by_key(|(_, (opens, at))| (*opens == Opens::Metrics, *at))
                .map(|(hash, _)| hash.clone());
            oldest.map(|hash| answers.remove(&hash));
        }
    }

    fn of_configuration(&self, token: &[u8], now: Duration) -> Option<Opens> {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_sub(own.1) >= READ_EVERY {
            own.1 = now;
            // One that is not good leaves the last good one in force, as at the owner.
            if let Ok(tokens) = Config::load(&self.path).and_then(|config| config.tokens()) {
                own.0 = tokens;
            }
        }
        let opens = |scope| if scope { Opens::Metrics } else { Opens::Others };
        own.0.find(token).map(|token| opens(token.opens(&Scope::Metrics)))
    }

    fn answered(&self, token: &[u8], now: Duration, believed: Duration) -> Option<Opens> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let (opens, at) = answers.get(&KeyHash::of(token).to_string())?;
        (now.saturating_sub(*at) < believed).then_some(*opens)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_clock::ManualClock;
    use weir_contract::Timestamp;

    #[test]
    fn answers_of_the_owner_are_believed_for_seconds_and_bounded() {
        let dir = tempfile::tempdir().expect("a directory");
        let (path, secret) = (dir.path().join("weir.yaml"), dir.path().join("t"));
        std::fs::write(&path, "tokens: [{name: m, scopes: [metrics], file: t}]\n").expect("written");
        std::fs::write(&secret, "the-token-of-before-1234").expect("written");
        let config = Config::load(&path).expect("good");
        let clock = ManualClock::at(Timestamp::from_millis(0));
        let readers = Readers::new(&config, config.tokens().expect("read"), clock.clone());
        assert_eq!(readers.find(b"the-token-of-before-1234"), Some(Opens::Metrics));
        std::fs::write(&secret, "the-token-of-now-123456").expect("written");
        clock.advance(READ_EVERY);
        assert_eq!(readers.find(b"the-token-of-now-123456"), Some(Opens::Metrics), "a changed file holds");
        assert_eq!(readers.find(b"the-token-of-before-1234"), None, "and ends the token before");

        readers.learn(b"made", Opens::Metrics);
        readers.learn(b"none", Opens::Nothing);
        assert_eq!((readers.find(b"made"), readers.find(b"none")), (Some(Opens::Metrics), Some(Opens::Nothing)));
        clock.advance(BELIEVED);
        assert_eq!((readers.find(b"made"), readers.find_alone(b"made")), (None, Some(Opens::Metrics)));
        assert_eq!((readers.find(b"none"), readers.find_alone(b"none")), (None, None));
        clock.advance(BELIEVED_ALONE);
        assert_eq!(readers.find_alone(b"made"), None);
        readers.learn(b"made", Opens::Metrics);
        for number in 0..2 * ANSWERS_MAX {
            readers.learn(format!("token {number}").as_bytes(), Opens::Nothing);
        }
        assert_eq!(readers.answers.lock().expect("alone").len(), ANSWERS_MAX);
        assert_eq!(readers.find_alone(b"made"), Some(Opens::Metrics));
    }
}

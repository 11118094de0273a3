//! Why stages change in a transaction: raises that have begun or ended, else one cause for all.
use foldhash::HashMap;
use weir_contract::Timestamp;

use super::{Cause, Differences, Raise, Reason, subject};

/// The reasons of one transaction.
#[derive(Debug, Default)]
pub(super) struct Reasons {
    cause: Cause,
    /// By subject and budget.
    of_raises: HashMap<(String, String), Reason>,
}

impl Reasons {
    /// The reasons of a review. `before`: the raises in force at the review before, where that is known. `over`: those whose dates are
    /// over since.
    pub(super) fn of(
        cause: Cause,
        before: Option<&HashMap<(String, String), Raise>>,
        raises: &HashMap<(String, String), Raise>,
        over: &[Raise],
        now: Timestamp,
    ) -> Self {
        let mut of_raises: HashMap<(String, String), Reason> = HashMap::default();
        for raise in over {
            of_raises.insert((raise.subject.clone(), raise.budget.clone()), Reason::over(raise, now));
        }
        for (key, raise) in before.into_iter().flatten().filter(|(key, _)| !raises.contains_key(*key)) {
            of_raises.insert(key.clone(), Reason::over(raise, now));
        }
        let is_new = |key: &(String, String), raise: &Raise| before.is_some_and(|known| known.get(key) != Some(raise));
        for (key, raise) in raises.iter().filter(|(key, raise)| is_new(key, raise)) {
            of_raises.insert(key.clone(), Reason::begun(raise));
        }
        Reasons { cause, of_raises }
    }

    /// The reason of a change; that of a raise is given once, or to each of the tenant's users.
    pub(super) fn take(&mut self, subject: &str, budget: &str, differences: &Differences) -> Reason {
        let usual = || match differences.of(budget) {
            Some(words) => Reason { cause: Cause::Rules, why: words.to_owned() },
            None => Reason::of(self.cause),
        };
        if self.of_raises.is_empty() {
            return usual();
        }
        let usual = usual();
        let key = |whose: &str| (whose.to_owned(), budget.to_owned());
        let found = match subject::user(subject) {
            Some(_) => self.of_raises.get(&key(subject::tenant(subject))).cloned(),
            None => self.of_raises.remove(&key(subject)),
        };
        found.unwrap_or(usual)
    }

    /// The raises that changed no stage, in order.
    pub(super) fn left(&mut self) -> Vec<((String, String), Reason)> {
        let mut left: Vec<_> = self.of_raises.drain().collect();
        left.sort_by(|a, b| a.0.cmp(&b.0));
        left
    }
}

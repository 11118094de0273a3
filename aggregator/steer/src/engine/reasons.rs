//! Why stages change in a transaction: raises that have begun or ended, else one cause for all.
use foldhash::HashMap;
use weir_contract::Timestamp;

use super::{Cause, Raise, Reason};

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

    /// The reason of a change; that of a raise is given once.
    pub(super) fn take(&mut self, subject: &str, budget: &str) -> Reason {
        if self.of_raises.is_empty() {
            return Reason::of(self.cause);
        }
        let found = self.of_raises.remove(&(subject.to_owned(), budget.to_owned()));
        found.unwrap_or_else(|| Reason::of(self.cause))
    }

    /// The raises that changed no stage, in order.
    pub(super) fn left(&mut self) -> Vec<((String, String), Reason)> {
        let mut left: Vec<_> = self.of_raises.drain().collect();
        left.sort_by(|a, b| a.0.cmp(&b.0));
        left
    }
}

//! The flags in force, and what they say of the subjects of the last requests.
//!
//! A decision depends on the flags and on the subject alone, so that the second request of a subject costs a lookup. The test
//! `a_remembered_decision_is_the_one_that_would_be_made` compares the two.
use std::rc::Rc;

use hashbrown::HashTable;
use weir_contract::flags::{FlagBy, Flags, Subject};

use super::RequestFlags;
use crate::hash::Keyed;

/// The most subjects that a worker remembers: about 256 bytes each.
const SUBJECTS_MAX: usize = 1_024;

/// The flags in force.
#[derive(Debug)]
pub(crate) struct FlagsInForce {
    flags: Rc<Flags>,
    /// Whether users of one tenant may differ.
    by_user: bool,
    keyed: Keyed,
    known: HashTable<Known>,
}

/// A subject, and what the flags say of it.
#[derive(Debug)]
struct Known {
    hash: u64,
    tenant: Box<str>,
    plan: Box<str>,
    environment: Option<Box<str>>,
    user: Option<Box<str>>,
    decided: RequestFlags,
}

impl FlagsInForce {
    pub(crate) fn new(flags: Flags, keyed: Keyed) -> Self {
        let mut rules = flags.values().flat_map(|flag| &flag.rules);
        let by_user = rules.any(|rule| rule.by == FlagBy::User);
        FlagsInForce { flags: Rc::new(flags), by_user, keyed, known: HashTable::new() }
    }

    /// Decides all flags for a request. A full memory is emptied: subjects in use are back after one decision each.
    pub(crate) fn decide(&mut self, subject: &Subject<'_>) -> RequestFlags {
        let subject = Subject { user: subject.user.filter(|_| self.by_user), ..*subject };
        let user = subject.user.map_or(0, |user| self.keyed.of(user.as_bytes()));
        let hash = self.keyed.of(subject.tenant.as_bytes()) ^ user.rotate_left(32);
        if let Some(known) = self.known.find(hash, |known| known.is_of(hash, &subject)) {
            return known.decided.clone();
        }
        let decided = RequestFlags::decide(&self.flags, &subject);
        if self.known.len() >= SUBJECTS_MAX {
            self.known.clear();
        }
        let known = Known {
            hash,
            tenant: subject.tenant.into(),
            plan: subject.plan.into(),
            environment: subject.environment.map(Into::into),
            user: subject.user.map(Into::into),
            decided: decided.clone(),
        };
        self.known.insert_unique(hash, known, |known| known.hash);
        decided
    }
}

impl Known {
    fn is_of(&self, hash: u64, subject: &Subject<'_>) -> bool {
        self.hash == hash
            && *self.tenant == *subject.tenant
            && *self.plan == *subject.plan
            && self.environment.as_deref() == subject.environment
            && self.user.as_deref() == subject.user
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;
    use weir_contract::flags::check;
    use weir_seeded::SplitMix64;

    fn flags() -> Flags {
        let mut flags: Flags = serde_json::from_value(json!({
            "half": {"type": "bool", "default": false, "rules": [{"percent": "50%", "value": true}]},
            "mine": {"type": "bool", "default": false, "rules": [{"percent": "50%", "by": "user", "value": true}]},
            "tone": {"type": "string", "default": "long", "rules": [
                {"environments": ["test"], "value": "short"}, {"plans": ["pro"], "value": "dry"}]},
        }))
        .expect("flags");
        check(&mut flags).expect("good");
        flags
    }

    #[test]
    fn a_remembered_decision_is_the_one_that_would_be_made() {
        let mut in_force = FlagsInForce::new(flags(), Keyed::new([7; 16]));
        let mut random = SplitMix64::new(1);
        // More subjects than are remembered, and most of them several times.
        for _ in 0..20_000 {
            let tenant = format!("tenant-{}", random.below(60));
            let user = format!("user-{}", random.below(20));
            let subject = Subject {
                tenant: &tenant,
                plan: ["free", "pro"][random.index(2)],
                environment: [None, Some("test")][random.index(2)],
                user: Some(&*user).filter(|_| random.percent(80)),
            };
            let expected = RequestFlags::decide(&in_force.flags, &subject);
            assert_eq!(in_force.decide(&subject).dictionary(), expected.dictionary(), "{subject:?}");
            assert!(in_force.known.len() <= SUBJECTS_MAX);
        }
    }

    #[test]
    fn users_are_one_subject_where_no_flag_tells_them_apart() {
        let mut without = flags();
        without.remove("mine");
        let mut in_force = FlagsInForce::new(without, Keyed::new([7; 16]));
        for user in ["ann", "bob"] {
            in_force.decide(&Subject { tenant: "acme", plan: "p", environment: None, user: Some(user) });
        }
        assert_eq!(in_force.known.len(), 1);
    }
}

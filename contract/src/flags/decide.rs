//! Decides a flag for one request.
use sha2::{Digest, Sha256};

use super::percent::WHOLE;
use super::{Flag, FlagBy, FlagRule, FlagValue};

/// Whom a flag is decided for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Subject<'a> {
    /// The tenant.
    pub tenant: &'a str,
    /// The tenant's plan; empty where it is unknown.
    pub plan: &'a str,
    /// The environment of the credential.
    pub environment: Option<&'a str>,
    /// The end user.
    pub user: Option<&'a str>,
}

/// Why a flag has its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It has no rules.
    Static,
    /// None of its rules holds.
    Default,
    /// A rule holds.
    TargetingMatch,
    /// A rule holds for a part of those whom it names.
    Split,
}

impl Reason {
    /// The word of OpenFeature.
    pub const fn as_str(self) -> &'static str {
        match self {
            Reason::Static => "STATIC",
            Reason::Default => "DEFAULT",
            Reason::TargetingMatch => "TARGETING_MATCH",
            Reason::Split => "SPLIT",
        }
    }
}

impl Flag {
    /// The value for a subject. `name`: the flag's.
    pub fn decide(&self, name: &str, subject: &Subject<'_>) -> (&FlagValue, Reason) {
        match self.rule_for(name, subject).and_then(|at| self.rules.get(at)) {
            Some(rule) if rule.percent.is_some() => (&rule.value, Reason::Split),
            Some(rule) => (&rule.value, Reason::TargetingMatch),
            None if self.rules.is_empty() => (&self.default, Reason::Static),
            None => (&self.default, Reason::Default),
        }
    }

    /// The place of the rule that decides for a subject; None where the default does.
    pub fn rule_for(&self, name: &str, subject: &Subject<'_>) -> Option<usize> {
        self.rules.iter().position(|rule| rule.holds(name, subject))
    }
}

impl FlagRule {
    fn holds(&self, name: &str, subject: &Subject<'_>) -> bool {
        let has = |names: &[Box<str>], name: Option<&str>| {
            names.is_empty() || name.is_some_and(|name| names.iter().any(|one| **one == *name))
        };
        (self.tenants.is_empty() || self.tenants.iter().any(|tenant| tenant.as_str() == subject.tenant))
            && has(&self.plans, Some(subject.plan))
            && has(&self.environments, subject.environment)
            && self.percent.is_none_or(|percent| {
                let user = subject.user.filter(|_| self.by == FlagBy::User);
                place(name, subject.tenant, user) < percent.hundredths()
            })
    }
}

/// The place of a tenant, or of one of its users, under a flag: 0 to 9,999.
pub fn place(flag: &str, tenant: &str, user: Option<&str>) -> u16 {
    let mut hash = Sha256::new_with_prefix(flag.as_bytes());
    for part in std::iter::once(tenant).chain(user) {
        hash.update([0]);
        hash.update(part.as_bytes());
    }
    let first = hash.finalize().first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
    (first % u64::from(WHOLE)) as u16
}

//! The feature flags of a request: decided by its tenant, plan, environment and user, before its plan is asked.
use std::rc::Rc;

use weir_contract::flags::Subject;

use super::Edits;
use super::admitted::Admitted;
use crate::flags::{HEADER, RequestFlags};
use crate::identity::Identity;
use crate::policy::Route;
use crate::worker::FilterState;

/// Decides the flags of a request where something asks for them, and puts the rules in force that a plan has for one.
pub(super) fn decide(
    state: &mut FilterState,
    route: Option<&Rc<Route>>,
    identity: &mut Identity,
) -> Option<RequestFlags> {
    let flags = state.flags(route.and_then(|route| route.flags))?;
    let of_route = || route.and_then(|route| route.environment.as_deref());
    let subject = Subject {
        tenant: identity.tenant.as_str(),
        plan: &identity.plan.name,
        environment: identity.environment.as_deref().or_else(of_route),
        user: identity.user.as_deref(),
    };
    let decided = flags.decide(&subject);
    if let Some(plan) = identity.plan.flagged(&decided) {
        identity.plan = plan;
    }
    Some(decided)
}

impl Admitted {
    /// Tells the upstream the flags, where route or configuration say so.
    pub(super) fn tell_flags(&self, edits: &mut Edits) {
        let Some(flags) = &self.flags else { return };
        let of_route = self.route.as_ref().and_then(|route| route.flags);
        if self.policy.flags.as_ref().is_some_and(|policy| policy.tells(of_route)) {
            edits.set.extend(flags.dictionary().map(|text| (HEADER, text.to_owned().into())));
        }
    }
}

#[cfg(test)]
mod tests;

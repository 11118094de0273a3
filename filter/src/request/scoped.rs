//! Holds a request within the scopes of its API key.
use weir_contract::Class;
use weir_contract::scopes::{permit, permit_route};

use super::admitted::Admitted;
use crate::enforce::Body;
use crate::head::Head;
use crate::refusal::Refusal;

impl Admitted {
    /// The same by the head, which must leave no doubt about the route: by a header that weir takes out or sets, the gateway may have
    /// chosen one that the key may use, and chooses another one once the header is changed.
    pub(super) fn check_scopes_of_head(&self, head: &Head<'_>) -> Result<(), Refusal> {
        if self.identity.scopes.is_none() {
            return Ok(());
        }
        if head.injected.contains(&true) && self.policy.routes.may_be_named() {
            return Err(Refusal::ForbiddenHeader);
        }
        self.check_scopes()
    }

    /// Refuses a request for which its key may not be used. A body only adds classes, so the head alone refuses what its path or
    /// route decides.
    pub(super) fn check_scopes(&self) -> Result<(), Refusal> {
        let Some(scopes) = &self.identity.scopes else { return Ok(()) };
        let permitted = permit(scopes, self.route_name(), self.classes.iter());
        if permitted { Ok(()) } else { Err(Refusal::InsufficientScope) }
    }

    /// Whether the body decides what the request is taken for, and so whether its key may be used for it.
    pub(super) fn scopes_need_body(&self) -> bool {
        let Some(scopes) = &self.identity.scopes else { return false };
        let is_open = self.base_class == Class::Other || self.policy.class_rules.need_body();
        is_open && !permit_route(scopes, self.route_name())
    }

    /// The same with the body, which must be read, and say one thing only, where it decides: what weir does not see, the key may not do.
    pub(super) fn check_scopes_with(&self, body: &Body) -> Result<(), Refusal> {
        let is_seen = match body {
            Body::None => true,
            Body::Read(document) => !document.ambiguous,
            Body::Unread(_) => false,
        };
        if !is_seen && self.scopes_need_body() {
            return Err(Refusal::InsufficientScope);
        }
        self.check_scopes()
    }

    fn route_name(&self) -> Option<&str> {
        self.route.as_deref().and_then(|route| route.name.as_deref())
    }
}

#[cfg(test)]
mod tests;

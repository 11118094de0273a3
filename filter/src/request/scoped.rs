//! Holds a request within the scopes of its API key.
use weir_contract::scopes::permit;

use super::admitted::Admitted;
use crate::refusal::Refusal;

impl Admitted {
    /// Refuses a request for which its key may not be used. A body only adds classes, so the head alone refuses what its path or
    /// route decides.
    pub(super) fn check_scopes(&self) -> Result<(), Refusal> {
        let Some(scopes) = &self.identity.scopes else { return Ok(()) };
        let route = self.route.as_deref().and_then(|route| route.name.as_deref());
        if permit(scopes, route, self.classes.iter()) { Ok(()) } else { Err(Refusal::InsufficientScope) }
    }
}

#[cfg(test)]
mod tests;

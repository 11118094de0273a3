//! What a new configuration takes over from the one before it in the same worker, so that a change of the configuration works
//! while weir serve or an issuer is away.
use super::FilterState;

impl FilterState {
    /// Takes over tenants and keys that were fetched from the same places.
    pub fn inherit(&mut self, before: &FilterState) {
        if let (Some(poll), Some(origin), Some(from), Some(old_origin)) =
            (&mut self.poll, &self.policy.origin, &before.poll, &before.policy.origin)
            && origin.is_place_of(old_origin)
        {
            poll.inherit(from);
        }
        self.renew_flags();
        // One that this configuration cannot use leaves its own in force, and is told to the server.
        let _update = self.take_parts();
        for (at, issuer) in self.policy.sources.issuers().iter().enumerate() {
            let is_same = |old: &crate::identity::jwt::Issuer| {
                let places = issuer.remote().zip(old.remote());
                old.issuer() == issuer.issuer() && places.is_some_and(|(new, old)| new.is_place_of(old))
            };
            if let Some(old) = before.policy.sources.issuers().iter().position(is_same) {
                self.identity.keyring.inherit(at, &before.identity.keyring, old);
            }
        }
    }
}

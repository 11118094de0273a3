//! Whether a configuration can decide about requests, for the load balancer in front of the gateway.
use weir_contract::Timestamp;

use super::FilterState;
use crate::refusal::LocalReply;

impl FilterState {
    /// The answer of a route with `readiness: true`. It says no more than what is missing: anybody may ask.
    pub fn readiness(&self, now: Timestamp) -> LocalReply {
        let missing = [("directory", self.tenants(now).is_none()), ("keys", self.lacks_keys())];
        let missing: Vec<&str> = missing.into_iter().filter(|(_, missing)| *missing).map(|(name, _)| name).collect();
        let (status, word) = if missing.is_empty() { (200, "ready") } else { (503, "not_ready") };
        let mut headers =
            vec![("content-type", "application/json".to_owned()), ("cache-control", "no-store".to_owned())];
        if status == 503 {
            headers.push(("retry-after", "1".to_owned()));
        }
        let body = serde_json::json!({"status": word, "missing": missing}).to_string();
        LocalReply { status, headers, body }
    }

    /// Whether an issuer has no key yet: each of its tokens would be put off.
    fn lacks_keys(&self) -> bool {
        let issuers = self.policy.sources.issuers().iter().enumerate();
        issuers.filter(|(_, issuer)| issuer.remote().is_some()).any(|(at, issuer)| {
            issuer.own_keys().is_empty() && self.identity.keyring.keys(at).is_none_or(<[_]>::is_empty)
        })
    }
}

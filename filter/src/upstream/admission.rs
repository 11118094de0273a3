//! Which attempts are made, and with whose key.
use weir_contract::{AttemptFailure, Timestamp};

use super::{Attempt, Refused, Upstream};
use crate::refusal::{LocalReply, Refusal};
use crate::routing::handed::Handed;
use crate::routing::retries::Retries;
use crate::vault::KeyFault;

/// How an attempt goes to its provider.
#[derive(Debug, PartialEq, Eq)]
pub struct Admission {
    /// The body is awaited.
    pub awaits_body: bool,
    /// The header and value of the tenant's own key.
    pub key: Option<(&'static str, String)>,
}

/// Why an attempt is not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotTried {
    /// Nothing is left of the budget of retries.
    Retries,
    /// The tenant's own key is not there.
    Key,
    /// The role does not know the model that was chosen.
    Model,
}

impl Attempt {
    /// Whether it goes to the provider, and with which key: to be asked once its head is clean. `granted`: the gateway's state
    /// [`GRANTED`](crate::routing::told::GRANTED).
    ///
    /// # Errors
    /// The answer where it does not go: the tenant's own key is not there, or nothing is left of the budget of retries.
    pub fn admit(
        &mut self,
        upstream: &Upstream,
        (handed, retries): (&Handed, &mut Retries),
        granted: Option<&[u8]>,
        now: Timestamp,
    ) -> Result<Admission, (NotTried, LocalReply)> {
        if self.model.is_none() {
            // Routed by weir, and not to be sent as it is: with the operator's key and the client's name of the model.
            return match self.client {
                Some(_) => Err((NotTried::Model, unknown())),
                None => Ok(Admission { awaits_body: false, key: None }),
            };
        }
        let is_granted = || granted.is_some_and(|granted| granted == self.number.to_string().as_bytes());
        if self.number > 1 && !is_granted() && !retries.draw(self.terms.retry_budget, now) {
            self.refused = Refused::This;
            return Err((NotTried::Retries, unanswered()));
        }
        let Some(number) = self.terms.keys else { return Ok(Admission { awaits_body: true, key: None }) };
        let fault = Refusal::ProviderKey(KeyFault::Unavailable);
        let keys = handed.get(number).ok_or_else(|| (NotTried::Key, self.reply(fault)))?;
        let own = keys.iter().find(|key| *key.provider == *upstream.provider);
        self.has_own_key = own.is_some();
        Ok(Admission { awaits_body: true, key: own.map(|key| (key.header, key.value.as_str().to_owned())) })
    }

    /// Whether nothing was tried before it.
    pub fn is_first(&self) -> bool {
        self.number <= 1
    }

    /// Takes a further attempt from the budget of retries, where this one has failed and another may follow. Returns the number of the
    /// attempt that may; an error: none may any more, so that the client gets this one's answer.
    ///
    /// Where the limit of the tenant's own account is used up the next attempt is granted and draws nothing: the budget bounds prompts that
    /// are paid for several times while providers fail, and one tenant's account must not use up what all others have for that.
    ///
    /// # Errors
    /// [`NotTried`] if nothing is left.
    pub fn follow(&mut self, retries: &mut Retries, now: Timestamp) -> Result<Option<usize>, NotTried> {
        let is_limit = self.status == Some(429) || self.failure == Some(AttemptFailure::RateLimited);
        // A cloud says some failures by other statuses. A stream that breaks off has begun for the client.
        let fails = is_limit
            || self.failure == Some(AttemptFailure::ServerError)
            || self.status.is_some_and(|status| status >= 500);
        if !fails || self.model.is_none() || self.number >= self.chosen {
            return Ok(None);
        }
        if self.has_own_key && is_limit || retries.draw(self.terms.retry_budget, now) {
            return Ok(Some(self.number.saturating_add(1)));
        }
        self.refused = Refused::Next;
        Err(NotTried::Retries)
    }
}

/// What the client gets where this gateway's filters have different catalogues, as in the moment in which they change. The gateway tries
/// the next provider.
fn unknown() -> LocalReply {
    LocalReply {
        status: 503,
        headers: vec![("content-type", "text/plain".to_owned())],
        body: "The filter in front of the provider does not know the chosen model: give both roles of weir.wasm one catalogue."
            .to_owned(),
    }
}

/// What the client gets where no provider has answered and no further one is tried: the downstream role says it in its dialect, as it
/// does with the gateway's own text about a connection that failed.
fn unanswered() -> LocalReply {
    LocalReply {
        status: 503,
        headers: vec![("content-type", "text/plain".to_owned())],
        body: "The provider gave no answer, and no other is tried now.".to_owned(),
    }
}

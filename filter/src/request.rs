//! One request, from its first header to its end.
//!
//! The phases, in the order in which the plugin calls them, with a file for each:
//!
//! 1. `head`: [`Request::head`] identifies the tenant, draws what the head alone decides, and forwards the request, refuses
//!    it, or waits for its body.
//! 2. `body`: [`Request::body`] decides about a request that waits, once its body is there; [`Request::request_body`] counts
//!    the chunks of any other.
//! 3. `response`: [`Request::response_head`], [`Request::response_body`] and [`Request::response_trailers`] read the usage of
//!    the answer as it streams by.
//!    [`Request::answer`] and [`Request::answer_chunk`] judge an answer that is held (`held`).
//! 4. `end`: [`Request::end`] settles what was drawn and makes the request's one event.
//!
//! Each phase takes values and returns what the gateway is to do. A gateway may leave out any phase but the first and the
//! last.
//!
//! A request whose leases are too small waits for weir serve between the phases (`asked`).
//!
//! What the phases share: `admitted` is what is remembered of a request, `judge` asks its plan, `reservation` draws from its
//! limits, `beside` from the pool of its route, `edits` changes its head, `sealed` opens and seals the ids that its route keeps
//! apart, `guarded` keeps it with its tenant in a vector store, `routed` chooses the model that serves it, `own_key` sends it up with
//! the tenant's own key, `model_in_path` replaces the model that its path names, `staged` puts the plan of a budget's stage in force,
//! `flagged` decides feature flags, `scoped` holds it within the scopes of its key.
mod admitted;
mod asked;
mod beside;
mod body;
mod budgets;
mod chosen;
mod edits;
mod end;
mod flagged;
mod guarded;
mod head;
mod held;
mod judge;
mod keeper;
mod model_in_path;
mod own_key;
mod paid;
mod redaction;
mod reservation;
mod response;
mod routed;
mod scoped;
mod sealed;
mod staged;

use std::borrow::Cow;
use std::rc::Rc;

use weir_contract::Timestamp;

use crate::emit::EmittedEvent;
use crate::enforce::Changes;
use crate::head::Pair;
use crate::limit::{Center, Limiter};
use crate::refusal::{LocalReply, Refusal, Unread};
use crate::worker::{FilterState, Worker};
use admitted::Admitted;

pub use held::{ANSWER_MAX_BYTES, AnswerAction, Kept};
pub use response::EndFacts;

/// A request as it arrives.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// Its headers.
    pub pairs: &'a [Pair<'a>],
    /// It has no body.
    pub ends: bool,
    /// The configured route that the gateway's own route names. Look it up only where
    /// [`crate::policy::route::Routes::are_named_by_gateway`].
    pub route: Option<&'a [u8]>,
}

/// What the gateway does with a request after its head.
#[derive(Debug, PartialEq)]
pub enum HeadAction {
    /// Send it on, with these changes.
    Forward(Edits),
    /// Make these changes, and hold it until [`Request::body`] has decided. Kong shows the body whole and before the head
    /// goes on, so there is nothing to hold there.
    Hold(Edits),
    /// Answer it.
    Answer(LocalReply),
}

/// What the gateway does with a request that it held.
#[derive(Debug, PartialEq)]
pub enum BodyAction {
    /// Send it on, with these changes and, if there is one, this body instead of its own.
    Forward(Edits, Option<Vec<u8>>),
    /// Answer it.
    Answer(LocalReply),
}

/// Changes to a head: first everything in `remove` goes, all copies of it; then `set` is put in.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Edits {
    /// Names, lower case.
    pub remove: Vec<Rc<str>>,
    /// Names, lower case, and values.
    pub set: Vec<(&'static str, Cow<'static, str>)>,
    /// The value of [`crate::routing::told::CHOICE`] in the gateway's state of the stream.
    pub choice: Option<String>,
}

/// Changes to an answer's head.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ResponseEdits {
    /// Names, lower case.
    pub remove: Vec<&'static str>,
    /// Names, lower case, and values.
    pub set: Vec<(&'static str, String)>,
    /// Something may be taken out of the body, so its length is no longer known.
    pub shortens: bool,
    /// The answer is held, head and body: it goes on as [`Request::answer`] says, or [`Request::answer_chunk`].
    pub holds: bool,
}

/// What was decided about a request, for the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decided {
    /// A route lets it through without a look.
    Bypassed,
    /// A CORS preflight: it carries no credentials by design.
    Preflight,
    /// Nothing yet: its body is awaited.
    Awaited,
    /// Nothing yet: weir serve is asked for units that leases lack ([`Request::ask`]).
    Asking,
    /// Let through.
    Admitted,
    /// Let through without a look at its body, on which nothing in the plan depends.
    Unseen(Unread),
    /// Let through although the plan says no: weir observes.
    Observed(Refusal),
    /// Refused.
    Refused(Refusal),
}

/// A `POST` to weir serve for one request, which is held until [`Request::drew`] is told the answer.
#[derive(Debug)]
pub struct Ask {
    /// Where it goes; the path ends in [`crate::fleet::draw::PATH`].
    pub center: Rc<Center>,
    /// JSON.
    pub body: Vec<u8>,
}

/// A provider's answer on a route that nobody declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undeclared {
    /// What is to be logged; None where it was said before.
    pub warning: Option<String>,
}

/// A request between its callbacks.
#[derive(Debug, Default)]
pub struct Request(Stage);

#[derive(Debug, Default)]
enum Stage {
    /// Nothing is known yet.
    #[default]
    New,
    /// Nothing is left to do: bypassed, refused, or over.
    Done,
    /// Admitted: its end makes an event.
    Admitted(Box<Admitted>),
}

impl Request {
    /// Decides about a request by its head.
    pub fn head(
        &mut self,
        worker: &mut Worker,
        state: &mut FilterState,
        limiter: &mut impl Limiter,
        arrival: &Arrival<'_>,
        now: Timestamp,
    ) -> (Decided, HeadAction) {
        let (stage, mut decided, action) = head::decide(worker, state, limiter, arrival, now);
        self.0 = stage;
        self.hold_decision(&mut decided);
        (decided, action)
    }

    /// Refuses a request whose head the gateway cannot hand over whole.
    pub fn unreadable_head(
        &mut self,
        worker: &mut Worker,
        state: &FilterState,
        now: Timestamp,
    ) -> (Decided, HeadAction) {
        let (stage, decided, action) = head::refuse_unreadable(worker, state, now);
        self.0 = stage;
        (decided, action)
    }

    /// Decides about a request that waits for its body. None for one that does not wait.
    pub fn body(
        &mut self,
        worker: &mut Worker,
        limiter: &mut impl Limiter,
        body: Result<&[u8], Unread>,
        now: Timestamp,
    ) -> Option<(Decided, BodyAction)> {
        let admitted = self.admitted_mut().filter(|admitted| admitted.awaits_body)?;
        admitted.awaits_body = false;
        let (mut decided, action) = body::decide(admitted, worker, limiter, body, now);
        self.end_if_refused(decided);
        self.hold_decision(&mut decided);
        Some((decided, action))
    }

    /// Counts a chunk of the body of a request that does not wait. Returns the refusal once the body is larger than the plan
    /// allows and the head did not say so; the request ends there.
    pub fn request_body(
        &mut self,
        worker: &mut Worker,
        limiter: &mut impl Limiter,
        bytes: usize,
        now: impl FnOnce() -> Timestamp,
    ) -> Option<(Decided, LocalReply)> {
        let refused = body::count_chunk(self.admitted_mut()?, worker, limiter, bytes, now)?;
        self.end_if_refused(refused.0);
        Some(refused)
    }

    /// Whether its body passes by unread and is weighed: then each chunk goes to [`Request::weigh`], too.
    pub fn is_weighed(&self) -> bool {
        self.admitted().is_some_and(|admitted| admitted.weigher.is_some())
    }

    /// Weighs a chunk of a body that passes by; None: the gateway does not show it. Returns the refusal once the body names what
    /// tenants share and its route does not permit; the request ends there.
    pub fn weigh(
        &mut self,
        worker: &mut Worker,
        limiter: &mut impl Limiter,
        chunk: Option<&[u8]>,
        now: impl FnOnce() -> Timestamp,
    ) -> Option<(Decided, LocalReply)> {
        let refused = body::weigh(self.admitted_mut()?, worker, limiter, chunk, now)?;
        self.end_if_refused(refused.0);
        Some(refused)
    }

    /// A provider answers where no route declares one, so that usage is not read: to be counted, and told in these words
    /// where they are new. To be asked before the end.
    pub fn undeclared(&self, worker: &mut Worker) -> Option<Undeclared> {
        let admitted = self.admitted().filter(|admitted| admitted.response.is_undeclared_provider())?;
        let route = admitted.route.as_deref().and_then(|route| route.name.as_deref());
        Some(Undeclared { warning: worker.told.undeclared(route, &admitted.path) })
    }

    /// Records how many bytes of an awaited body are buffered; true once they exceed `body_max_bytes`, so that
    /// [`Request::body`] must decide now.
    pub fn body_buffered(&mut self, total: usize) -> bool {
        let Some(admitted) = self.admitted_mut() else { return false };
        admitted.request_bytes = total as u64;
        admitted.policy.body_max_bytes.is_none_or(|max| total as u64 > max)
    }

    /// Reads the head of the answer, by the upstream or by the gateway itself. `ends`: it has no body.
    pub fn response_head(&mut self, pairs: &[Pair<'_>], ends: bool, now: impl FnOnce() -> Timestamp) -> ResponseEdits {
        self.admitted_mut().map_or_else(ResponseEdits::default, |admitted| admitted.response_head(pairs, ends, now))
    }

    /// Reads a chunk of the answer's body; `ends` on the last. Returns what the client gets instead of it, where that
    /// differs.
    pub fn response_body(&mut self, chunk: &[u8], ends: bool, now: impl FnOnce() -> Timestamp) -> Option<Vec<u8>> {
        self.admitted_mut()?.response_body(chunk, ends, now)
    }

    /// Whether its answer is held, so that its body goes to [`Request::answer`] or [`Request::answer_chunk`].
    pub fn holds_answer(&self) -> bool {
        self.admitted().is_some_and(|admitted| admitted.held.is_some())
    }

    /// Whether [`Request::answer`] must decide now that the gateway has buffered so many bytes of a held answer; `ends`: all of it.
    pub fn answer_is_due(&self, buffered: usize, ends: bool) -> bool {
        let held = self.admitted().and_then(|admitted| admitted.held.as_ref());
        held.is_none_or(|held| held.is_due(buffered, ends))
    }

    /// Decides about a held answer. `body`: what the gateway has buffered; None where it does not show it. Asked again, about bytes
    /// that come behind an answer which was refused before its end, it says to drop them.
    pub fn answer(&mut self, body: Option<&[u8]>, now: impl FnOnce() -> Timestamp) -> Option<AnswerAction> {
        self.admitted_mut()?.answer(body, now)
    }

    /// Takes a chunk of a held answer where the gateway sends heads on and shows one chunk at a time (Kong). Returns what goes on in
    /// the place of the chunk, and what became of the answer once that is decided.
    pub fn answer_chunk(
        &mut self,
        chunk: &[u8],
        ends: bool,
        now: impl FnOnce() -> Timestamp,
    ) -> Option<(Vec<u8>, Option<Kept>)> {
        self.admitted_mut()?.answer_chunk(chunk, ends, now)
    }

    /// Whether a part of an answer that streams by waits: the gateway must let no trailers go by before [`Request::response_trailers`]
    /// has said what is left of the body.
    pub fn holds_back(&self) -> bool {
        self.admitted().is_some_and(Admitted::holds_back)
    }

    /// The gateway does not show a part of the answer, or does not change it. True: nothing of it may go on, since it may hold what is
    /// other tenants'.
    pub fn withhold_answer(&mut self) -> bool {
        self.admitted_mut().is_some_and(Admitted::withhold_answer)
    }

    /// Ends the answer's body where trailers follow it and no chunk was the last. `pairs`: the trailers, if
    /// [`Request::wants_trailers`], else none. Returns what is left of the body.
    pub fn response_trailers(&mut self, pairs: &[Pair<'_>], now: impl FnOnce() -> Timestamp) -> Option<Vec<u8>> {
        let admitted = self.admitted_mut()?;
        let rest = admitted.end_response_body(now);
        admitted.response.trailers(pairs);
        rest
    }

    /// Ends the request: settles what it drew and makes its event. Called again, or for a request that was not admitted, it
    /// does neither.
    pub fn end(
        &mut self,
        worker: &mut Worker,
        limiter: &mut impl Limiter,
        facts: &EndFacts<'_>,
        now: Timestamp,
    ) -> Option<EmittedEvent> {
        match std::mem::replace(&mut self.0, Stage::Done) {
            Stage::Admitted(mut admitted) => admitted.end(worker, limiter, facts, now),
            Stage::New | Stage::Done => None,
        }
    }

    /// Whether it waits for its body.
    pub fn awaits_body(&self) -> bool {
        self.admitted().is_some_and(|admitted| admitted.awaits_body)
    }

    /// What its plan has changed in it so far.
    pub fn changes(&self) -> Changes {
        self.admitted().map_or_else(Changes::default, |admitted| admitted.changes)
    }

    /// Whether [`Request::response_trailers`] needs the trailers themselves.
    pub fn wants_trailers(&self) -> bool {
        self.admitted().is_some_and(|admitted| admitted.response.ends_in_trailers())
    }

    /// Whether [`Request::end`] needs the attempts that the upstream role has listed.
    pub fn needs_attempts(&self) -> bool {
        self.admitted().is_some_and(|admitted| admitted.routed.is_some() && !admitted.writes_model)
    }

    /// Whether it still needs its callbacks.
    pub fn is_watched(&self) -> bool {
        self.admitted().is_some()
    }

    /// Whether [`Request::end`] needs to know why the gateway ended it: the answer broke off, or timed out.
    pub fn needs_details(&self) -> bool {
        let failed = |admitted: &Admitted| admitted.routed.is_some() && admitted.response.status >= 500;
        self.admitted().is_some_and(|admitted| admitted.response.needs_details() || failed(admitted))
    }

    fn admitted(&self) -> Option<&Admitted> {
        if let Stage::Admitted(admitted) = &self.0 { Some(admitted) } else { None }
    }

    fn admitted_mut(&mut self) -> Option<&mut Admitted> {
        if let Stage::Admitted(admitted) = &mut self.0 { Some(admitted) } else { None }
    }

    fn end_if_refused(&mut self, decided: Decided) {
        if matches!(decided, Decided::Refused(_)) {
            self.0 = Stage::Done;
        }
    }
}

#[cfg(test)]
mod tests;

//! One request, from its first header to its end.
//!
//! The plugin calls, in this order: [`Request::head`]; if that says so, [`Request::body`] once the body is there, else
//! [`Request::request_body`] for each chunk; then [`Request::response_head`] and [`Request::response_body`]; and, whatever
//! happened, [`Request::end`]. Each gives back what the gateway is to do. A gateway may leave out any step but the first
//! and the last.
//!
//! [`intake`] says whether a body is awaited, [`admission`] draws from limits and asks the plan, [`path`] puts another model
//! into the path, [`response`] follows the answer, [`event`] makes the event.
mod admission;
mod event;
mod intake;
mod path;
mod response;

use std::borrow::Cow;
use std::rc::Rc;

use weir_contract::{Class, Timestamp};
use weir_llm_usage::bytes::any;

use crate::body::Document;
use crate::config::shape::OnAnswers;
use crate::config::{Mode, Policy, Route};
use crate::emit::EmittedEvent;
use crate::emit::labels::RequestLabels;
use crate::enforce::{Body, Changes};
use crate::head::{Head, INJECTED, Pair};
use crate::identity::{self, Denied, Identity, Sources};
use crate::limit::Limiter;
use crate::refusal::{Api, LocalReply, Refusal, Unread};
use crate::shared_operations;
use crate::worker::{FilterState, Worker};
use admission::Reservation;
use intake::Intake;
use path::ModelInPath;

pub use response::EndFacts;
use response::Response;

/// How many headers weir puts in, mostly.
const SETS: usize = 6;

/// The longest request id that is taken over from the gateway.
const REQUEST_ID_MAX_BYTES: usize = 128;

/// A request as it arrives.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// Its headers.
    pub pairs: &'a [Pair<'a>],
    /// It has no body.
    pub ends: bool,
    /// The configured route that the gateway's own route names. To be asked for only where
    /// [`crate::config::route::Routes::are_named_by_gateway`].
    pub route: Option<&'a [u8]>,
}

/// What the gateway does with a request after its head.
#[derive(Debug, PartialEq)]
pub enum HeadAction {
    /// Send it on, with these changes.
    Forward(Edits),
    /// Make these changes, and hold it until [`Request::body`] has said what becomes of it. Kong shows the body whole
    /// and before the head goes on, so that there is nothing to hold there.
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
}

/// Changes to an answer's head.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ResponseEdits {
    /// Names, lower case, and values.
    pub set: Vec<(&'static str, String)>,
    /// Something may be taken out of the body: its length is not known any more.
    pub shortens: bool,
}

/// What was decided about a request, for the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decided {
    /// A route lets it through without a look.
    Bypassed,
    /// A CORS preflight: it carries no credentials by design.
    Preflight,
    /// Not yet: its body is awaited.
    Awaited,
    /// Let through.
    Admitted,
    /// Let through without a look at its body, which nothing in the plan depends on.
    Unseen(Unread),
    /// Let through although the plan says no: weir observes.
    Observed(Refusal),
    /// Refused.
    Refused(Refusal),
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

/// What is remembered of an admitted request.
#[derive(Debug)]
struct Admitted {
    policy: Rc<Policy>,
    identity: Identity,
    route: Option<Rc<Route>>,
    class: Class,
    api: Api,
    path: Rc<[u8]>,
    /// Which rules of classes its head allows.
    class_rules: u64,
    /// The model that the path names.
    path_model: Option<ModelInPath>,
    /// The model that was asked for.
    model: Option<Box<str>>,
    /// The model that it goes on with, where that is another.
    sent_model: Option<Box<str>>,
    /// What its plan has changed in it.
    changes: Changes,
    /// What it would have been refused for.
    observed: Option<Refusal>,
    /// A browser sent it, which shows the page only what it is allowed to.
    by_browser: bool,
    /// It waits for its body.
    awaits_body: bool,
    /// It came with a `content-length`, which an edit must change.
    has_length: bool,
    reservation: Reservation,
    input_estimate: Option<u64>,
    request_id: Box<str>,
    labels: RequestLabels,
    started: Timestamp,
    request_bytes: u64,
    response: Response,
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
        let head = Head::read(arrival.pairs);
        let policy = Rc::clone(&state.policy);
        let route = policy.routes.find(arrival.route, head.path);
        self.0 = Stage::Done;
        if head.misspelt {
            return refuse_head(worker, &policy, &head, Refusal::ForbiddenHeader.into(), now);
        }
        if let Err(refusal) = upgrade(&head, route) {
            return refuse_head(worker, &policy, &head, refusal.into(), now);
        }
        let unidentified = match route {
            Some(route) if route.bypass => Some(Decided::Bypassed),
            _ => head.preflight.then_some(Decided::Preflight),
        };
        if let Some(decided) = unidentified {
            let edits = anonymise(&head, &policy.sources);
            return match edits.reach(&head, state) {
                Ok(()) => (decided, HeadAction::Forward(edits)),
                Err(refusal) => refuse_head(worker, &policy, &head, refusal.into(), now),
            };
        }
        let anonymous = route.is_some_and(|route| route.anonymous);
        let identity = match identity::identify(state, &head, anonymous, now) {
            Ok(identity) => identity,
            Err(denied) => return refuse_head(worker, &policy, &head, denied, now),
        };
        let in_path = ModelInPath::read(&head, state.sets_path);
        let mut admitted = Box::new(Admitted::new(&policy, identity, route, &head, in_path, worker, now));
        let mut edits = introduce(&head, &admitted);
        if let Err(refusal) = operation(&head, route, admitted.class).and_then(|()| edits.reach(&head, state)) {
            return (Decided::Refused(refusal), HeadAction::Answer(admitted.reply(worker, refusal, now)));
        }
        let intake = intake::of(&policy, &admitted, &head, arrival.ends);
        admitted.awaits_body = intake == Intake::Hold;
        admitted.request_bytes = intake::content_length(&head).unwrap_or(0);
        let (decided, refusal) = match intake {
            Intake::Hold => (Decided::Awaited, admitted.draw_first(limiter, now).err()),
            Intake::Known(body) => {
                let judged = admitted.judge(&body, limiter, None, now);
                admitted.route_by(&mut edits, &body);
                (decided(&body), judged.err())
            }
        };
        let decided = match admitted.outcome(refusal, decided) {
            Decided::Refused(refusal) => {
                return (Decided::Refused(refusal), HeadAction::Answer(admitted.reply(worker, refusal, now)));
            }
            decided => decided,
        };
        let awaits_body = admitted.awaits_body;
        admitted.request_bytes = 0;
        self.0 = Stage::Admitted(admitted);
        (decided, if awaits_body { HeadAction::Hold(edits) } else { HeadAction::Forward(edits) })
    }

    /// Decides about a request whose head the gateway does not hand over whole: nothing in it can be relied on.
    pub fn unreadable_head(
        &mut self,
        worker: &mut Worker,
        state: &FilterState,
        now: Timestamp,
    ) -> (Decided, HeadAction) {
        self.0 = Stage::Done;
        refuse_head(worker, &state.policy, &Head::default(), Refusal::TooManyHeaders.into(), now)
    }

    /// Decides about a request that was held, by its body. Whoever holds none gets None.
    pub fn body(
        &mut self,
        worker: &mut Worker,
        limiter: &mut impl Limiter,
        body: Result<&[u8], Unread>,
        now: Timestamp,
    ) -> Option<(Decided, BodyAction)> {
        let Stage::Admitted(admitted) = &mut self.0 else { return None };
        if !std::mem::take(&mut admitted.awaits_body) {
            return None;
        }
        let (bytes, body) = match body.map(|bytes| (bytes, Document::read(bytes))) {
            Ok((bytes, Ok(document))) => (bytes, Body::Read(Box::new(document))),
            Ok((bytes, Err(_))) => (bytes, Body::Unread(Unread::NotJson)),
            Err(unread) => (&[][..], Body::Unread(unread)),
        };
        let mut changed = None;
        let judged = admitted.judge(&body, limiter, Some((bytes, &mut changed)), now);
        let decided = admitted.outcome(judged.err(), decided(&body));
        if let Decided::Refused(refusal) = decided {
            let reply = admitted.reply(worker, refusal, now);
            self.0 = Stage::Done;
            return Some((decided, BodyAction::Answer(reply)));
        }
        let mut edits = Edits::default();
        admitted.route_by(&mut edits, &body);
        if let Some(changed) = changed.as_ref().filter(|_| admitted.has_length) {
            edits.set.push(("content-length", changed.len().to_string().into()));
        }
        Some((decided, BodyAction::Forward(edits, changed)))
    }

    /// A chunk of the body of a request that is not held goes by. Some: with it the body is larger than the plan allows,
    /// which its head did not tell; the request ends here.
    pub fn request_body(
        &mut self,
        worker: &mut Worker,
        limiter: &mut impl Limiter,
        bytes: usize,
        now: impl FnOnce() -> Timestamp,
    ) -> Option<(Decided, LocalReply)> {
        let Stage::Admitted(admitted) = &mut self.0 else { return None };
        admitted.request_bytes = admitted.request_bytes.saturating_add(bytes as u64);
        let max = admitted.identity.plan.request_max_bytes?;
        if admitted.request_bytes <= max || admitted.observed.is_some() {
            return None;
        }
        let now = now();
        let decided = admitted.outcome(Some(Refusal::RequestTooLarge), Decided::Admitted);
        admitted.give_back(limiter, now);
        let Decided::Refused(refusal) = decided else { return None };
        let reply = admitted.reply(worker, refusal, now);
        self.0 = Stage::Done;
        Some((decided, reply))
    }

    /// What the plan has changed in the request so far.
    pub fn changes(&self) -> Changes {
        match &self.0 {
            Stage::Admitted(admitted) => admitted.changes,
            Stage::New | Stage::Done => Changes::default(),
        }
    }

    /// So much of the body of a held request is there, all in all. True: it is more than is read, so that
    /// [`Request::body`] should say now what becomes of it.
    pub fn body_buffered(&mut self, total: usize) -> bool {
        let Stage::Admitted(admitted) = &mut self.0 else { return false };
        admitted.request_bytes = total as u64;
        admitted.policy.body_max_bytes.is_none_or(|max| total as u64 > max)
    }

    /// Whether it waits for its body.
    pub fn awaits_body(&self) -> bool {
        matches!(&self.0, Stage::Admitted(admitted) if admitted.awaits_body)
    }

    /// The answer's head, by the upstream or by the gateway itself. `ends`: there is no body.
    pub fn response_head(&mut self, pairs: &[Pair<'_>], ends: bool, now: impl FnOnce() -> Timestamp) -> ResponseEdits {
        let Stage::Admitted(admitted) = &mut self.0 else { return ResponseEdits::default() };
        let provider = admitted.route.as_ref().and_then(|route| route.provider);
        admitted.response.head(pairs, ends, provider);
        let set = match admitted.policy.limit_headers.on {
            OnAnswers::All if !admitted.reservation.standings.is_empty() && admitted.policy.mode == Mode::Enforce => {
                admitted.limit_headers(&admitted.reservation.standings, now())
            }
            OnAnswers::All | OnAnswers::Refused => Vec::new(),
        };
        ResponseEdits { set, shortens: admitted.response.is_stripped() }
    }

    /// A chunk of the answer's body. `ends`: it is the last. Some: what the client gets instead of it.
    pub fn response_body(&mut self, chunk: &[u8], ends: bool, now: impl FnOnce() -> Timestamp) -> Option<Vec<u8>> {
        match &mut self.0 {
            Stage::Admitted(admitted) => admitted.response.body(chunk, ends, now),
            Stage::New | Stage::Done => None,
        }
    }

    /// Whether [`Request::response_trailers`] wants to see the trailers themselves.
    pub fn wants_trailers(&self) -> bool {
        matches!(&self.0, Stage::Admitted(admitted) if admitted.response.ends_in_trailers())
    }

    /// The answer's body has ended in trailers, and no chunk was said to be the last. `pairs`: those that
    /// [`Request::wants_trailers`] asked for, else none.
    pub fn response_trailers(&mut self, pairs: &[Pair<'_>]) {
        if let Stage::Admitted(admitted) = &mut self.0 {
            admitted.response.trailers(pairs);
        }
    }

    /// Whether this request still wants to see its callbacks.
    pub fn is_watched(&self) -> bool {
        matches!(self.0, Stage::Admitted(_))
    }

    /// Whether [`Request::end`] needs the gateway's own account of the end: the answer broke off, or timed out.
    pub fn needs_details(&self) -> bool {
        matches!(&self.0, Stage::Admitted(admitted) if admitted.response.needs_details())
    }

    /// The request is over: settles what it drew and makes its event. Called again, or for a request that was not
    /// admitted, it does neither.
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
}

/// What is said of a request that passes.
fn decided(body: &Body) -> Decided {
    match body {
        Body::Unread(unread) => Decided::Unseen(*unread),
        Body::None | Body::Read(_) => Decided::Admitted,
    }
}

/// Answers a request that has no identity. It is counted for the tenant that its credential proves, if it proves one.
fn refuse_head(
    worker: &mut Worker,
    policy: &Policy,
    head: &Head<'_>,
    denied: Denied,
    now: Timestamp,
) -> (Decided, HeadAction) {
    let Denied { refusal, tenant } = denied;
    let reply = refusal.reply(Api::of(head.path), &request_id(head, worker));
    let reply = if head.origin.is_some() { reply.for_browsers() } else { reply };
    if let Some(emitter) = worker.emitter() {
        emitter.refusal(policy.events.as_ref(), tenant.as_ref(), refusal.code(), now);
    }
    (Decided::Refused(refusal), HeadAction::Answer(reply))
}

/// Upgrades and tunnels carry what weir cannot read: they pass where a route says so. One with a body is smuggling.
fn upgrade(head: &Head<'_>, route: Option<&Rc<Route>>) -> Result<(), Refusal> {
    match (head.leaves_http(), head.has_body) {
        (false, _) => Ok(()),
        (true, true) => Err(Refusal::UpgradeBody),
        (true, false) if route.is_some_and(|route| route.upgrade) => Ok(()),
        (true, false) => Err(Refusal::Upgrade),
    }
}

/// What is asked for must be plain, and must not touch what tenants share at the provider unless a route permits it.
fn operation(head: &Head<'_>, route: Option<&Rc<Route>>, class: Class) -> Result<(), Refusal> {
    if shared_operations::is_ambiguous(head.path) {
        return Err(Refusal::AmbiguousPath);
    }
    match shared_operations::touches(head.method, head.path, class) {
        Some(shared) if !route.is_some_and(|route| route.permit.contains(&shared)) => Err(Refusal::Operation),
        _ => Ok(()),
    }
}

impl Edits {
    /// Whether the gateway makes them in every copy of each header that they name.
    fn reach(&self, head: &Head<'_>, state: &FilterState) -> Result<(), Refusal> {
        let repeats = |name: &str| head.values(name).nth(1).is_some();
        let lost = || self.remove.iter().any(|name| repeats(name)) || self.set.iter().any(|(name, _)| repeats(name));
        if state.edits_every_copy || !lost() { Ok(()) } else { Err(Refusal::RepeatedHeader) }
    }
}

/// Takes out of a request that passes unidentified what only weir may put in, and what would prove a tenant to it.
fn anonymise(head: &Head<'_>, sources: &Sources) -> Edits {
    let mut edits = clean(head);
    edits.remove.extend(sources.presented(head).cloned());
    edits
}

/// Takes out what only weir may put in.
fn clean(head: &Head<'_>) -> Edits {
    let found = head.injected.iter().zip(INJECTED).filter(|(found, _)| **found);
    Edits { remove: found.map(|(_, name)| name.into()).collect(), set: Vec::new() }
}

/// Says upstream who it is. The tenant's credential ends here.
fn introduce(head: &Head<'_>, admitted: &Admitted) -> Edits {
    let Admitted { policy, identity, class, .. } = admitted;
    let mut edits = clean(head);
    edits.remove.extend(policy.sources.stripped().filter(|name| head.value(name).is_some()).cloned());
    edits.set.reserve(SETS);
    edits.set.push(("x-tenant-id", identity.tenant.as_str().to_owned().into()));
    edits.set.push(("x-tenant-plan", identity.plan.name.to_string().into()));
    edits.set.push(("x-request-class", class.as_str().into()));
    if let Some(user) = identity.user.as_deref().filter(|user| user.bytes().all(weir_contract::tenant::is_id_byte)) {
        edits.set.push(("x-tenant-user", user.to_owned().into()));
    }
    if *class != Class::Other && head.accepts_encoding {
        edits.set.push(("accept-encoding", "identity".into()));
    }
    edits
}

fn request_id(head: &Head<'_>, worker: &mut Worker) -> String {
    let given = head.request_id.filter(|id| !id.is_empty() && id.len() <= REQUEST_ID_MAX_BYTES);
    let given = given.filter(|id| !any(id, |byte| !weir_contract::tenant::is_id_byte(byte)));
    match given.and_then(|id| std::str::from_utf8(id).ok()) {
        Some(id) => id.to_owned(),
        None => worker.name_request(),
    }
}

#[cfg(test)]
mod tests;

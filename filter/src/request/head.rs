//! Phase 1: decides about a request by its head.
use std::rc::Rc;

use weir_contract::{SecurityKind, Timestamp};

use super::admitted::{Admitted, request_id};
use super::body::{self, Intake};
use super::model_in_path::ModelInPath;
use super::redaction::Wanted;
use super::{Arrival, Decided, Edits, HeadAction, Stage, edits, flagged, guarded, own_key};
use crate::api::Api;
use crate::emit::Finding;
use crate::head::Head;
use crate::identity::Denied;
use crate::limit::Limiter;
use crate::policy::{Policy, Route};
use crate::refusal::Refusal;
use crate::shared_operations;
use crate::worker::{FilterState, Worker};

pub(super) fn decide(
    worker: &mut Worker,
    state: &mut FilterState,
    limiter: &mut impl Limiter,
    arrival: &Arrival<'_>,
    now: Timestamp,
) -> (Stage, Decided, HeadAction) {
    let head = Head::read(arrival.pairs);
    let policy = Rc::clone(&state.policy);
    if arrival.route.is_some_and(|name| !name.is_empty() && !policy.routes.knows(name)) {
        // Behind it may stand a route that keeps tenants apart, misspelt.
        return refuse(worker, &policy, &head, Refusal::Operation.into(), now);
    }
    if head.injected.contains(&true) && policy.routes.keep_apart_by_name() {
        // By such a header the gateway may have chosen a route of its own that names another one.
        return refuse(worker, &policy, &head, Refusal::ForbiddenHeader.into(), now);
    }
    let route = policy.routes.find(arrival.route, head.path);
    if let Err(refusal) = check_form(&head, route) {
        return refuse(worker, &policy, &head, refusal.into(), now);
    }
    // Kong does not say with the head whether a body follows.
    let ends = arrival.ends || !state.edits_every_copy;
    if let Some(decided) = passes_unidentified(&head, route, ends) {
        if route.is_some_and(|route| route.readiness) {
            return (Stage::Done, decided, HeadAction::Answer(state.readiness(now)));
        }
        let edits = match decided {
            Decided::Preflight => edits::strip(&head),
            _ => edits::anonymise(&head, &policy.sources),
        };
        return match edits::check_reach(&edits, &head, state) {
            Ok(()) => (Stage::Done, decided, HeadAction::Forward(edits)),
            Err(refusal) => refuse(worker, &policy, &head, refusal.into(), now),
        };
    }
    let mut identity = match state.identify(&head, route.is_some_and(|route| route.anonymous), now) {
        Ok(identity) => {
            worker.unplanned.served(&identity.tenant);
            identity
        }
        Err(denied) => return refuse(worker, &policy, &head, denied, now),
    };
    let flags = flagged::decide(state, route, &mut identity);
    let model_in_path = ModelInPath::read(&head, state.sets_path);
    let mut admitted = Box::new(Admitted::new(&policy, identity, route, &head, model_in_path, worker, now));
    admitted.flags = flags;
    admitted.read_caller(&head, state.identity.ports);
    admitted.read_own_keys(state, now);
    admitted.writes_model = state.is_kong();
    admitted.enter_stage(now);
    admitted.reservation.may_ask = state.holds_for_calls;
    admitted.beside.iter_mut().for_each(|beside| beside.reservation.may_ask = state.holds_for_calls);
    if policy.redaction.covers(route.map(|route| &**route)) {
        let known = state.tenants(now).and_then(|tenants| tenants.identifiers().cloned());
        admitted.redacts = known.map(|identifiers| Wanted { identifiers, fills: !state.edits_every_copy });
    }
    let mut edits = edits::introduce(&head, &admitted);
    admitted.tell_flags(&mut edits);
    if head.injected.contains(&true) {
        admitted.find(worker, SecurityKind::SpoofedHeader, "removed_header", 1, &[], now);
    }
    let admission = own_key::begin(&mut admitted, &head, &mut edits, state, now)
        .and_then(|()| edits::check_reach(&edits, &head, state))
        .and_then(|()| admit(&mut admitted, limiter, (&head, state), edits, arrival.ends, now));
    match admission {
        Ok((decided, action)) => (Stage::Admitted(admitted), decided, action),
        Err(refusal) => {
            let reply = admitted.reply(worker, refusal, now);
            (Stage::Done, Decided::Refused(refusal), HeadAction::Answer(reply))
        }
    }
}

/// Refuses a request whose head the gateway cannot hand over whole: nothing in it can be relied on.
pub(super) fn refuse_unreadable(
    worker: &mut Worker,
    state: &FilterState,
    now: Timestamp,
) -> (Stage, Decided, HeadAction) {
    refuse(worker, &state.policy, &Head::default(), Refusal::TooManyHeaders.into(), now)
}

/// Decides about an identified request: draws what the head decides, and asks the plan unless the body is awaited.
fn admit(
    admitted: &mut Admitted,
    limiter: &mut impl Limiter,
    (head, state): (&Head<'_>, &FilterState),
    mut edits: Edits,
    ends: bool,
    now: Timestamp,
) -> Result<(Decided, HeadAction), Refusal> {
    admitted.check_scopes_of_head(head)?;
    check_operation(head, admitted)?;
    admitted.open_head(head, &mut edits)?;
    guarded::begin(admitted, head, &mut edits, state, ends)?;
    let intake = body::intake(admitted, head, ends);
    if let Intake::Known(body) = &intake {
        guarded::check_known(admitted, body)?;
    }
    admitted.awaits_body = intake == Intake::Await;
    admitted.request_bytes = body::content_length(head).unwrap_or(0);
    let (decided, refusal) = match intake {
        Intake::Await => {
            (Decided::Awaited, admitted.check_stage(now).and_then(|()| admitted.draw_first(limiter, now)).err())
        }
        Intake::Known(body) => {
            admitted.check_ids_readable(&body)?;
            admitted.weigher = body::weigher(admitted, &body, head);
            let judged = admitted.judge(&body, None, limiter, now);
            edits::describe(admitted, &mut edits, &body);
            (body::decided(&body), judged.err())
        }
    };
    let decided = admitted.outcome(refusal, decided);
    if let Decided::Refused(refusal) = decided {
        return Err(refusal);
    }
    // What the head announced was for the plan; the event reports the bytes that pass.
    admitted.request_bytes = 0;
    let action = if admitted.awaits_body { HeadAction::Hold(edits) } else { HeadAction::Forward(edits) };
    Ok((decided, action))
}

/// Refuses what no route can permit: forged headers, another method or path in a header, and upgrades or tunnels without a
/// route for them.
fn check_form(head: &Head<'_>, route: Option<&Rc<Route>>) -> Result<(), Refusal> {
    if head.misspelt || head.overrides {
        return Err(Refusal::ForbiddenHeader);
    }
    match (head.leaves_http(), head.has_body) {
        (false, _) => Ok(()),
        // An upgrade with a body is smuggling.
        (true, true) => Err(Refusal::UpgradeBody),
        // Upgrades and tunnels carry what weir cannot read: they pass where a route says so.
        (true, false) if route.is_some_and(|route| route.upgrade) => Ok(()),
        (true, false) => Err(Refusal::Upgrade),
    }
}

/// Requests that pass without an identity: those of a bypass route, and CORS preflights, which have neither a body nor a
/// path that reads in two ways. `ends`: there is no body.
fn passes_unidentified(head: &Head<'_>, route: Option<&Rc<Route>>, ends: bool) -> Option<Decided> {
    if route.is_some_and(|route| route.bypass) {
        return Some(Decided::Bypassed);
    }
    let plain = || !shared_operations::is_ambiguous(head.path);
    (head.preflight && ends && !head.has_body && plain()).then_some(Decided::Preflight)
}

/// Refuses a path that can be read in two ways, and operations on what tenants share at the provider unless a route permits
/// them. Only the path, and the class that the operator gives it, open an operation: nothing else that a request says of itself
/// does.
fn check_operation(head: &Head<'_>, admitted: &Admitted) -> Result<(), Refusal> {
    if shared_operations::is_ambiguous(head.path) {
        return Err(Refusal::AmbiguousPath);
    }
    // The guard's table is the stricter one, and a store's paths may look like a provider's.
    if admitted.route.as_ref().is_some_and(|route| route.guard.is_some()) {
        return Ok(());
    }
    match shared_operations::touches(head.method, head.path, admitted.base_class, admitted.class_is_named) {
        Some(shared) if !admitted.permits(shared) => Err(Refusal::Operation),
        _ => Ok(()),
    }
}

/// Answers a request that has no identity. It is counted for the tenant that its credential proves, if it proves one.
fn refuse(
    worker: &mut Worker,
    policy: &Policy,
    head: &Head<'_>,
    denied: Denied,
    now: Timestamp,
) -> (Stage, Decided, HeadAction) {
    let Denied { refusal, tenant, plan } = denied;
    if let (Some(tenant), Some(plan)) = (&tenant, &plan) {
        worker.unplanned.refused(tenant, plan);
    }
    let request_id = request_id(head, worker);
    let reply = refusal.reply(Api::of(head.path), &request_id);
    let reply = if head.origin.is_some() { reply.for_browsers() } else { reply };
    if let Some(emitter) = worker.emitter() {
        emitter.refusal(policy.events.as_ref(), tenant.as_ref(), refusal.code(), now);
    }
    if let Some(kind) = refusal.finding() {
        let finding =
            Finding { kind, operation: refusal.code(), route: None, count: 1, owners: &[], request_id: &request_id };
        worker.find(policy, tenant.as_ref(), &finding, now);
    }
    (Stage::Done, Decided::Refused(refusal), HeadAction::Answer(reply))
}

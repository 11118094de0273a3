//! Phase 2: the request's body, awaited or passing by.
use weir_contract::{Class, Timestamp};

use super::admitted::Admitted;
use super::{BodyAction, Decided, Edits, edits, guarded};
use crate::body::weigh::Weigher;
use crate::body::{Document, form};
use crate::enforce::Body;
use crate::head::Head;
use crate::limit::{Limit, Limiter};
use crate::metering::Metering;
use crate::refusal::{LocalReply, Refusal, Unread};
use crate::worker::Worker;

/// What is done about a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Intake {
    /// The request waits for it.
    Await,
    /// All that will be known of it is known.
    Known(Body),
}

/// Whether a request waits for its body. `ends`: it has none.
pub(super) fn intake(admitted: &Admitted, head: &Head<'_>, ends: bool) -> Intake {
    let length = content_length(head);
    let upgrades = head.method == b"CONNECT" || head.value("upgrade").is_some();
    if ends || (length == Some(0) && !upgrades) {
        return Intake::Known(Body::None);
    }
    let unread = match admitted.policy.body_max_bytes {
        _ if upgrades => Unread::Unheld,
        None => Unread::Unasked,
        Some(_) if !is_read(admitted) => Unread::Unasked,
        Some(_) if is_encoded(head) => Unread::Encoded,
        Some(_) if is_multipart(head) && !is_form_read(admitted) && !reads_form(admitted) => Unread::NotJson,
        Some(max) if length.is_some_and(|length| length > max) => Unread::TooLarge,
        Some(_) => return Intake::Await,
    };
    Intake::Known(Body::Unread(unread))
}

/// What weighs a body that passes by unread, if anything does: the prompt of a model is weighed, as far as it is text. In a body
/// that is only too large, names of what tenants share are no more let through than in a small one.
pub(super) fn weigher(admitted: &Admitted, body: &Body, head: &Head<'_>) -> Option<Box<Weigher>> {
    let is_plain = || !is_encoded(head) && !is_multipart(head);
    match body {
        Body::Unread(Unread::TooLarge) if admitted.looks_for_names() => Some(Box::new(Weigher::watching())),
        Body::Unread(Unread::TooLarge | Unread::Unasked) => {
            (admitted.metering == Metering::Inference && is_plain()).then(Box::default)
        }
        _ => None,
    }
}

/// The length that the head announces, in bytes.
pub(super) fn content_length(head: &Head<'_>) -> Option<u64> {
    std::str::from_utf8(head.content_length?).ok()?.parse().ok()
}

/// Whether anything depends on the body. The model of an inference is always reported.
fn is_read(admitted: &Admitted) -> bool {
    if admitted.sealed.is_some() || guarded::needs_body(admitted) || admitted.scopes_need_body() {
        return true;
    }
    let of_model = admitted.path_counts || admitted.classes.any(|class| class != Class::Other);
    let plan = admitted.identity.plan.needs_body() || admitted.draws_tokens_beside();
    of_model || plan || admitted.policy.class_rules.need_body()
}

/// Forms are read where the plan must know the model or the number of answers of an upload: of others the fields do not matter,
/// and their size would fill the gateway's buffers.
fn is_form_read(admitted: &Admitted) -> bool {
    let plan = &admitted.identity.plan;
    let uploads = matches!(admitted.base_class, Class::Audio | Class::Image);
    let governed = plan.models.is_some() || plan.n_max.is_some() || plan.limits.iter().any(Limit::looks_at_models);
    uploads && governed && admitted.boundary.is_some()
}

/// Forms are read where their fields or their files may name what is kept apart.
fn reads_form(admitted: &Admitted) -> bool {
    admitted.boundary.is_some() && admitted.sealed.is_some()
}

fn is_encoded(head: &Head<'_>) -> bool {
    head.value("content-encoding").is_some_and(|encoding| !encoding.eq_ignore_ascii_case(b"identity"))
}

fn is_multipart(head: &Head<'_>) -> bool {
    let kind = head.content_type.unwrap_or_default();
    kind.get(..10).is_some_and(|start| start.eq_ignore_ascii_case(b"multipart/"))
}

/// Decides about a request by the body that it waited for.
pub(super) fn decide(
    admitted: &mut Admitted,
    worker: &mut Worker,
    limiter: &mut impl Limiter,
    body: Result<&[u8], Unread>,
    now: Timestamp,
) -> (Decided, BodyAction) {
    let opened = match admitted.open_body(body.unwrap_or_default()) {
        Ok(opened) => opened,
        Err(refusal) => return refuse(admitted, worker, limiter, refusal, now),
    };
    let body = body.map(|bytes| opened.as_deref().unwrap_or(bytes));
    let (bytes, mut body) = match body {
        Ok(bytes) if guarded::reads_alone(admitted) => (bytes, Body::None),
        Ok(bytes) => (bytes, read(admitted, bytes)),
        Err(unread) => (&[][..], Body::Unread(unread)),
    };
    if let Err(refusal) = admitted.check_ids_readable(&body) {
        return refuse(admitted, worker, limiter, refusal, now);
    }
    if let Err(refusal) = admitted.choose_model(&mut body, bytes, worker, limiter, now) {
        return refuse(admitted, worker, limiter, refusal, now);
    }
    if body == Body::Unread(Unread::TooLarge) {
        admitted.weigher = match admitted.looks_for_names() {
            true => Some(Box::new(Weigher::watching())),
            false => (admitted.metering == Metering::Inference).then(Box::default),
        };
    }
    let refuses = |document: &Document| {
        let in_path = admitted.model.as_deref();
        worker.refusers.know(admitted.route.as_deref(), in_path.or(document.model_name()))
    };
    admitted.is_refuser = matches!(&body, Body::Read(document) if refuses(document));
    let judged = admitted.judge(&body, Some(bytes), limiter, now);
    let readable = (!matches!(body, Body::Unread(Unread::TooLarge))).then_some(bytes);
    let (changed, refusal) = match judged {
        Ok(changed) => match guarded::edit_body(admitted, readable, changed)
            .and_then(|changed| admitted.write_model(bytes, changed))
        {
            Ok(changed) => (changed, None),
            Err(refusal) => {
                admitted.give_back(limiter, now);
                (None, Some(refusal))
            }
        },
        Err(refusal) => (None, Some(refusal)),
    };
    let decided = admitted.outcome(refusal, decided(&body));
    if let Decided::Refused(refusal) = decided {
        admitted.release_probe(limiter, now);
        return (decided, BodyAction::Answer(admitted.reply(worker, refusal, now)));
    }
    // Where weir only observes, the request goes up all the same: to the model that was chosen, for the provider knows no other.
    let changed = changed.or_else(|| admitted.write_model(bytes, None).ok().flatten());
    let mut edits = Edits::default();
    edits::describe(admitted, &mut edits, &body);
    admitted.lead(&mut worker.retries, &mut edits, now);
    let changed = changed.or(opened);
    if let Some(changed) = changed.as_ref().filter(|_| admitted.has_length) {
        edits.set.push(("content-length", changed.len().to_string().into()));
    }
    (decided, BodyAction::Forward(edits, changed))
}

/// Refuses a request whatever the mode, and gives back what it has drawn.
fn refuse(
    admitted: &mut Admitted,
    worker: &mut Worker,
    limiter: &mut impl Limiter,
    refusal: Refusal,
    now: Timestamp,
) -> (Decided, BodyAction) {
    admitted.give_back(limiter, now);
    (Decided::Refused(refusal), BodyAction::Answer(admitted.reply(worker, refusal, now)))
}

/// Reads a body as what its head says that it is.
fn read(admitted: &Admitted, bytes: &[u8]) -> Body {
    let document = match &admitted.boundary {
        Some(boundary) => form::read(bytes, boundary).ok(),
        None => Document::read(bytes).ok(),
    };
    document.map_or(Body::Unread(Unread::NotJson), |document| Body::Read(Box::new(document)))
}

/// Counts a chunk of a body that passes by. Refuses the request once it is larger than the plan allows.
pub(super) fn count_chunk(
    admitted: &mut Admitted,
    worker: &mut Worker,
    limiter: &mut impl Limiter,
    bytes: usize,
    now: impl FnOnce() -> Timestamp,
) -> Option<(Decided, LocalReply)> {
    admitted.request_bytes = admitted.request_bytes.saturating_add(bytes as u64);
    let max = admitted.identity.plan.request_max_bytes?;
    if admitted.request_bytes <= max || admitted.observed.is_some() {
        return None;
    }
    let now = now();
    let decided = admitted.outcome(Some(Refusal::RequestTooLarge), Decided::Admitted);
    admitted.give_back(limiter, now);
    let Decided::Refused(refusal) = decided else { return None };
    Some((decided, admitted.reply(worker, refusal, now)))
}

/// Weighs a chunk of a body that passes by; None: the gateway does not show it. Refuses the request once it names what tenants share
/// and its route does not permit, or once nobody can tell.
pub(super) fn weigh(
    admitted: &mut Admitted,
    worker: &mut Worker,
    limiter: &mut impl Limiter,
    chunk: Option<&[u8]>,
    now: impl FnOnce() -> Timestamp,
) -> Option<(Decided, LocalReply)> {
    if let (Some(chunk), Some(weigher)) = (chunk, &mut admitted.weigher) {
        weigher.feed(chunk);
    }
    let weigher = admitted.weigher.as_deref().filter(|weigher| weigher.watches())?;
    let refusal = match (chunk, weigher.is_readable()) {
        (None, _) => Refusal::UnreadableBody(Unread::TooLarge),
        // As of a small body that cannot be read: a chat names what it works with, other requests rarely do.
        (Some(_), false) if admitted.base_class == Class::Chat => Refusal::UnreadableBody(Unread::NotJson),
        (Some(_), _) if weigher.named().iter().any(|shared| !admitted.permits(*shared)) => Refusal::Operation,
        _ => return None,
    };
    let decided = admitted.outcome(Some(refusal), Decided::Admitted);
    let Decided::Refused(refusal) = decided else { return None };
    let now = now();
    admitted.give_back(limiter, now);
    Some((decided, admitted.reply(worker, refusal, now)))
}

/// What is reported of a request that passes with this body.
pub(super) fn decided(body: &Body) -> Decided {
    match body {
        Body::Unread(unread) => Decided::Unseen(*unread),
        Body::None | Body::Read(_) => Decided::Admitted,
    }
}

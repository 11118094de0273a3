//! Changes to heads: what the upstream is told about a request, and what the client is told with its answer.
use weir_config::Mode;
use weir_contract::Class;
use weir_contract::tenant::is_id_byte;

use super::Edits;
use super::admitted::Admitted;
use crate::enforce::Body;
use crate::head::{ACCOUNT, Head, INJECTED};
use crate::identity::Sources;
use crate::metering::Metering;
use crate::refusal::Refusal;
use crate::worker::FilterState;

/// How many headers a request usually gets: a capacity, not a bound.
const SETS: usize = 6;

/// The headers of a preflight that the upstream receives: its origin, its question, and its route.
const PREFLIGHT_HEADERS: [&[u8]; 8] =
    [b"host", b"origin", b"user-agent", b"x-request-id", b"traceparent", b"tracestate", b"via", b"forwarded"];
const PREFLIGHT_PREFIXES: [&[u8]; 5] = [b":", b"access-control-request-", b"x-forwarded-", b"x-envoy-", b"sec-fetch-"];

/// Removes the headers that only weir may set, and those that choose an account at a provider.
fn clean(head: &Head<'_>) -> Edits {
    let injected = head.injected.iter().zip(INJECTED);
    let found = injected.chain(head.account.iter().zip(ACCOUNT)).filter(|(found, _)| **found);
    Edits { remove: found.map(|(_, name)| name.into()).collect(), ..Edits::default() }
}

/// Takes out of a request that passes unidentified what only weir may put in, and what would prove a tenant to it.
pub(super) fn anonymise(head: &Head<'_>, sources: &Sources) -> Edits {
    let mut edits = clean(head);
    edits.remove.extend(sources.presented(head).cloned());
    edits
}

/// Removes all other headers from a preflight, because its sender is unknown.
pub(super) fn strip(head: &Head<'_>) -> Edits {
    let mut edits = Edits::default();
    for (name, _) in head.pairs() {
        let name = name.to_ascii_lowercase();
        let stays =
            PREFLIGHT_HEADERS.contains(&&*name) || PREFLIGHT_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
        if let Ok(name) = String::from_utf8(name)
            && !stays
            && !edits.remove.iter().any(|known| **known == *name)
        {
            edits.remove.push(name.into());
        }
    }
    edits
}

/// Refuses a request that repeats a header which weir changes, where the gateway changes the first copy only.
pub(super) fn check_reach(edits: &Edits, head: &Head<'_>, state: &FilterState) -> Result<(), Refusal> {
    let repeats = |name: &str| head.values(name).nth(1).is_some();
    let misses = || edits.remove.iter().any(|name| repeats(name)) || edits.set.iter().any(|(name, _)| repeats(name));
    if state.edits_every_copy || !misses() { Ok(()) } else { Err(Refusal::RepeatedHeader) }
}

/// Tells the upstream whose request it is. The tenant's credential ends here.
pub(super) fn introduce(head: &Head<'_>, admitted: &Admitted) -> Edits {
    let Admitted { policy, identity, class, classes, .. } = admitted;
    let mut edits = clean(head);
    edits.remove.extend(policy.sources.stripped().filter(|name| head.value(name).is_some()).cloned());
    edits.set.reserve(SETS);
    edits.set.push(("x-tenant-id", identity.tenant.as_str().to_owned().into()));
    edits.set.push(("x-tenant-plan", identity.plan.name.to_string().into()));
    edits.set.push(("x-request-class", class.as_str().into()));
    if let Some(user) = identity.user.as_deref().filter(|user| user.bytes().all(is_id_byte)) {
        edits.set.push(("x-tenant-user", user.to_owned().into()));
    }
    if let Some(placement) = &identity.placement {
        let headers = placement.headers().filter(|(_, value)| value.bytes().all(is_id_byte));
        edits.set.extend(headers.map(|(name, value)| (name, value.to_owned().into())));
    }
    let counts = classes.any(|class| class != Class::Other);
    let is_read = counts || policy.class_rules.need_body() || is_read(admitted.metering) || admitted.redacts.is_some();
    if is_read && head.accepts_encoding {
        edits.set.push(("accept-encoding", "identity".into()));
    }
    edits
}

/// Whether the answer is one that usage may be read from.
const fn is_read(metering: Metering) -> bool {
    matches!(metering, Metering::Inference | Metering::Kept)
}

/// Tells the upstream the request's class and model once they are known, and how long it may take.
pub(super) fn describe(admitted: &Admitted, edits: &mut Edits, body: &Body) {
    edits.set.retain(|(name, _)| *name != "x-request-class");
    edits.set.push(("x-request-class", admitted.class.as_str().into()));
    if admitted.may_be_encoded && admitted.classes.any(|class| class != Class::Other) {
        edits.set.push(("accept-encoding", "identity".into()));
    }
    let model = admitted.sent_model.as_deref().or(admitted.model.as_deref());
    if let Some(model) = model.filter(|model| model.bytes().all(is_id_byte)) {
        edits.set.push(("x-model", model.to_owned().into()));
    }
    if admitted.policy.mode == Mode::Observe {
        return;
    }
    let replaced = admitted.model_in_path.as_ref().zip(admitted.sent_model.as_deref());
    if let Some(path) = replaced.and_then(|(path, model)| path.with(&admitted.path, model)) {
        edits.set.push((":path", path.into()));
    }
    if let Some(ms) = timeout_ms(admitted, body) {
        edits.set.push(("x-envoy-upstream-rq-timeout-ms", ms.to_string().into()));
    }
}

fn timeout_ms(admitted: &Admitted, body: &Body) -> Option<u64> {
    let plan = &admitted.identity.plan;
    match (plan.stream_timeout_ms, plan.timeout_ms) {
        (None, None) => None,
        (of_stream, _) if may_stream(&admitted.path, body) => of_stream,
        (_, whole) => whole,
    }
}

/// Whether the answer may be a stream: the body says so or was not read, or the path says so.
fn may_stream(path: &[u8], body: &Body) -> bool {
    let last = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let by_path = memchr::memmem::find(&last.to_ascii_lowercase(), b"stream").is_some();
    by_path || matches!(body, Body::Unread(_)) || matches!(body, Body::Read(document) if document.stream)
}

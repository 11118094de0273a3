//! Whether a request's body is awaited before it goes on.
use weir_contract::Class;

use super::Admitted;
use crate::enforce::Body;
use crate::head::Head;
use crate::policy::Policy;
use crate::refusal::Unread;

/// What is done about a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Intake {
    /// It is awaited.
    Hold,
    /// All that will be known of it is known.
    Known(Body),
}

pub(super) fn of(policy: &Policy, admitted: &Admitted, head: &Head<'_>, ends: bool) -> Intake {
    let length = content_length(head);
    let upgrades = head.method == b"CONNECT" || head.value("upgrade").is_some();
    if ends || (length == Some(0) && !upgrades) {
        return Intake::Known(Body::None);
    }
    let encoded = head.value("content-encoding").is_some_and(|encoding| !encoding.eq_ignore_ascii_case(b"identity"));
    let unread = match policy.body_max_bytes {
        _ if upgrades => Unread::Unheld,
        None => Unread::Unasked,
        Some(_) if !is_looked_at(policy, admitted) => Unread::Unasked,
        Some(_) if encoded => Unread::Encoded,
        Some(_) if is_multipart(head) => Unread::NotJson,
        Some(max) if length.is_some_and(|length| length > max) => Unread::TooLarge,
        Some(_) => return Intake::Hold,
    };
    Intake::Known(Body::Unread(unread))
}

/// The length that the head announces, in bytes.
pub(super) fn content_length(head: &Head<'_>) -> Option<u64> {
    std::str::from_utf8(head.content_length?).ok()?.parse().ok()
}

/// Whether anything comes of reading the body: the model of an inference is always of interest.
fn is_looked_at(policy: &Policy, admitted: &Admitted) -> bool {
    admitted.class != Class::Other || admitted.identity.plan.needs_body() || policy.class_rules.need_body()
}

/// Uploads: their fields are not looked at, and their size would fill the gateway's buffers.
fn is_multipart(head: &Head<'_>) -> bool {
    let kind = head.value("content-type").unwrap_or_default();
    kind.get(..10).is_some_and(|start| start.eq_ignore_ascii_case(b"multipart/"))
}

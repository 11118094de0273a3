//! Requests on a route that guards a vector store: the tenant is forced into head and body, the answer is checked, and the search
//! is audited.
use std::collections::BTreeMap;

use weir_contract::event::security::{OWNERS_MAX, UNMARKED};
use weir_contract::{Class, SearchData, SecurityKind, Timestamp, Usage, UsageStatus};
use weir_vector_guard::{BodyNeed, Guard, HeaderFate, Refused, RequestHead};

use super::Edits;
use super::admitted::Admitted;
use super::keeper::{Guarded, Keeper};
use crate::emit::findings::cut;
use crate::emit::{Destination, Emitter, Pushed};
use crate::enforce::Body;
use crate::head::Head;
use crate::metering::Metering;
use crate::refusal::{Refusal, Unread};
use crate::worker::{FilterState, Worker};

fn refusal(refused: Refused) -> Refusal {
    match refused {
        Refused::Operation => Refusal::Operation,
        Refused::Collection => Refusal::NotFound,
        _ => Refusal::Unproven(refused),
    }
}

/// Judges a request by its head, if its route guards a store. `ends`: it has no body.
pub(super) fn begin(
    admitted: &mut Admitted,
    head: &Head<'_>,
    edits: &mut Edits,
    state: &FilterState,
    ends: bool,
) -> Result<(), Refusal> {
    let Some(guard) = admitted.route.as_ref().and_then(|route| route.guard.as_ref()) else { return Ok(()) };
    if head.leaves_http() {
        return Err(Refusal::Operation);
    }
    let asked =
        RequestHead { method: head.method, path: head.path, query: head.query, content_type: head.content_type };
    let call = guard.call(admitted.identity.tenant.as_str(), &asked).map_err(refusal)?;
    check_headers(guard, head, edits)?;
    // Kong sends the status on before the answer is checked, and it would tell another tenant's record from none.
    if call.hides_absence() && !state.sets_path {
        return Err(Refusal::Operation);
    }
    // Kong does not say with the head whether a body follows.
    let has_body = head.has_body || (!ends && state.edits_every_copy);
    if call.body_need() == BodyNeed::None && has_body {
        return Err(Refusal::Unproven(Refused::Body));
    }
    if let Some(target) = call.target() {
        if !state.sets_path {
            return Err(Refusal::Unproven(Refused::Name));
        }
        edits.set.push((":path", target.to_owned().into()));
    }
    if let Some((name, version)) = call.version_header() {
        edits.set.push((name, version.into()));
    }
    if call.holds_answer() {
        edits.set.push(("accept-encoding", "identity".into()));
    }
    if admitted.metering == Metering::Undeclared {
        // A store stands behind it, so no provider answers there unnoticed.
        admitted.metering = Metering::Off;
    }
    admitted.keeper = Some(Box::new(Keeper::Guard(Guarded::new(call))));
    Ok(())
}

/// Takes out headers that would lead the store elsewhere.
fn check_headers(guard: &Guard, head: &Head<'_>, edits: &mut Edits) -> Result<(), Refusal> {
    for (name, _) in head.pairs() {
        match guard.header(name) {
            HeaderFate::Passes => {}
            HeaderFate::Refused => return Err(Refusal::Unproven(Refused::Header)),
            HeaderFate::Removed => {
                let name = String::from_utf8_lossy(name).to_ascii_lowercase();
                if !edits.remove.iter().any(|known| **known == *name) {
                    edits.remove.push(name.into());
                }
            }
        }
    }
    Ok(())
}

/// Whether the guard alone reads a body: no model works on it, so a plan finds nothing in it, and no rule gives it a class.
pub(super) fn reads_alone(admitted: &Admitted) -> bool {
    let works = admitted.path_counts || admitted.classes.any(|class| class != Class::Other);
    needs_body(admitted) && !works && !admitted.policy.class_rules.need_body()
}

/// Whether the body of a guarded request must be read.
pub(super) fn needs_body(admitted: &Admitted) -> bool {
    guarded(admitted).is_some_and(|guarded| guarded.call.body_need() == BodyNeed::Read)
}

/// Refuses a guarded request whose body must be read and will not come. `known`: all that will be known of it.
pub(super) fn check_known(admitted: &mut Admitted, known: &Body) -> Result<(), Refusal> {
    match known {
        _ if !needs_body(admitted) => Ok(()),
        Body::None => check_body(admitted, b"").map(|_| ()),
        Body::Unread(Unread::TooLarge) => Err(Refusal::UnreadableBody(Unread::TooLarge)),
        _ => Err(Refusal::Unproven(Refused::Body)),
    }
}

/// Forces the tenant into a guarded body that was read. `changed`: what the plan has made of it. None: it could not be read.
pub(super) fn edit_body(
    admitted: &mut Admitted,
    bytes: Option<&[u8]>,
    changed: Option<Vec<u8>>,
) -> Result<Option<Vec<u8>>, Refusal> {
    if !needs_body(admitted) {
        return Ok(changed);
    }
    let bytes = changed.as_deref().or(bytes).ok_or(Refusal::Unproven(Refused::Body))?;
    Ok(check_body(admitted, bytes)?.or(changed))
}

fn check_body(admitted: &mut Admitted, bytes: &[u8]) -> Result<Option<Vec<u8>>, Refusal> {
    match admitted.keeper.as_deref_mut() {
        Some(Keeper::Guard(guarded)) => guarded.call.body(bytes).map_err(refusal),
        _ => Ok(None),
    }
}

fn guarded(admitted: &Admitted) -> Option<&Guarded> {
    match admitted.keeper.as_deref() {
        Some(Keeper::Guard(guarded)) => Some(guarded),
        _ => None,
    }
}

impl Admitted {
    /// The operation of a guarded request, by the guard's name.
    pub(super) fn guarded_operation(&self) -> Option<&'static str> {
        guarded(self).map(|guarded| guarded.call.operation())
    }

    /// What a guarded request asked of its store, where the store did it.
    pub(super) fn guarded_usage(&self) -> Option<Usage> {
        let units = guarded(self).filter(|_| (200..300).contains(&self.response.status))?.call.units();
        let counts =
            [("vector_reads", units.reads), ("vector_writes", units.writes), ("vectors_written", units.vectors)];
        let counts = counts.into_iter().filter(|(_, count)| *count > 0);
        let details: BTreeMap<String, u64> = counts.map(|(name, count)| (name.to_owned(), count)).collect();
        (!details.is_empty()).then(|| Usage { status: UsageStatus::Complete, details, ..Usage::default() })
    }

    /// Tells what was taken out of the answer to a guarded request.
    pub(super) fn tell_borders(&self, worker: &mut Worker, now: Timestamp) {
        let Some(guarded) = guarded(self) else { return };
        let operation = guarded.call.operation();
        let mut unmarked = guarded.removed.get(UNMARKED).copied().unwrap_or(0);
        let owners: Vec<String> = guarded.removed.keys().filter(|owner| *owner != UNMARKED).cloned().collect();
        let mut foreign = guarded.removed.values().sum::<u64>().saturating_sub(unmarked);
        let mut kind = SecurityKind::ForeignRecord;
        if guarded.call.names_records() {
            // The tenant guessed ids, and the store answered as it should.
            kind = SecurityKind::ForeignId;
            foreign = foreign.saturating_add(std::mem::take(&mut unmarked));
        }
        if foreign > 0 {
            self.find(worker, kind, operation, foreign, &owners, now);
        }
        if unmarked > 0 {
            self.find(worker, SecurityKind::UnmarkedRecord, operation, unmarked, &[], now);
        }
        if guarded.is_withheld {
            self.find(worker, SecurityKind::UncheckedAnswer, operation, 1, &[], now);
        }
    }

    /// Audits a guarded search.
    pub(super) fn audit_search(
        &self,
        emitter: &mut Emitter,
        destination: &std::rc::Rc<Destination>,
        now: Timestamp,
    ) -> Option<Pushed> {
        let guarded = guarded(self).filter(|guarded| guarded.call.is_search())?;
        let data = SearchData {
            request_id: cut(&self.request_id),
            store: guarded.call.store().to_owned(),
            collection: cut(guarded.call.collection()),
            operation: guarded.call.operation().to_owned(),
            status: if guarded.is_withheld { 502 } else { self.response.status },
            results: guarded.results,
            removed: guarded.removed.iter().take(OWNERS_MAX).map(|(owner, count)| (cut(owner), *count)).collect(),
        };
        Some(emitter.search(destination, &self.identity.tenant, now, &data))
    }
}

#[cfg(test)]
mod tests;

//! Ids that a route keeps apart: opened in a request's head and body, sealed in its answer.
//!
//! A refusal in here stands whether weir enforces plans or only observes: what tenants share is no matter of plans.
use std::rc::Rc;

use weir_llm_usage::bytes;
use weir_sealed_ids::list::Page;
use weir_sealed_ids::operation::{AnswerRule, BodyRule};
use weir_sealed_ids::owner::Marking;
use weir_sealed_ids::rewrite::Rewriter;
use weir_sealed_ids::{Answer, Guard, Kinds, Opener, Refused, Sealer, owner, path, upload};

use super::Edits;
use super::admitted::Admitted;
use super::keeper::{Keeper, SealedIds};
use crate::body::Document;
use crate::enforce::Body;
use crate::head::{self, Head, Pair};
use crate::metering;
use crate::refusal::{Refusal, Unread};
use crate::shared_operations;

impl Admitted {
    /// Opens the ids in the path and the query, where the route keeps some apart.
    pub(super) fn open_head(&mut self, head: &Head<'_>, edits: &mut Edits) -> Result<(), Refusal> {
        let Some(guard) = self.route.as_ref().and_then(|route| route.seal.clone()) else { return Ok(()) };
        // Behind another path nobody knows which operation the provider would see.
        if !shared_operations::takes_references(head.path) {
            return Err(Refusal::Operation);
        }
        let touched = shared_operations::touches(head.method, head.path, self.base_class, self.class_is_named);
        let tenant = self.identity.tenant.as_str();
        let opened = match path::open(&guard, tenant, head.method, (head.path, head.query), touched) {
            Ok(opened) => opened,
            Err(refused) => {
                // The finding names it.
                let operation = path::operation(&guard, head.method, head.path);
                self.sealed = Some(Box::new(SealedIds { guard, operation }));
                return Err(refusal(refused));
            }
        };
        if let Some(path) = opened.path {
            edits.set.push((":path", path.into()));
        }
        if head.accepts_encoding && !edits.set.iter().any(|(name, _)| *name == "accept-encoding") {
            edits.set.push(("accept-encoding", "identity".into()));
        }
        self.keeper = opened.page.map(|page| self.keep_list(&guard, page));
        self.sealed = Some(Box::new(SealedIds { guard, operation: opened.operation }));
        Ok(())
    }

    fn keep_list(&self, guard: &Rc<Guard>, page: Page) -> Box<Keeper> {
        let sealer = Sealer::new(Rc::clone(guard), self.identity.tenant.as_str(), Kinds::NONE);
        Box::new(Keeper::List { page, sealer: Box::new(sealer) })
    }

    /// Opens the ids in a body; None where it stays as it is.
    pub(super) fn open_body(&self, body: &[u8]) -> Result<Option<Vec<u8>>, Refusal> {
        let Some(sealed) = self.sealed.as_deref() else { return Ok(None) };
        let (guard, tenant) = (&sealed.guard, self.identity.tenant.as_str());
        let marks = sealed.operation.is_some_and(|operation| guard.sealed.has(operation.kind));
        let rule = sealed.operation.map(|operation| operation.body);
        let check = |body: &[u8]| match Document::read(body) {
            Ok(document) if self.permits_names(&document) => Ok(()),
            Ok(_) => Err(Refused::Operation),
            Err(_) => Err(Refused::Unreadable),
        };
        let opened = match (&self.boundary, rule) {
            (Some(boundary), Some(BodyRule::Upload)) => upload::open(guard, tenant, body, boundary, marks, &check),
            (Some(boundary), Some(BodyRule::Part)) => upload::open(guard, tenant, body, boundary, false, &check),
            (Some(boundary), None) => upload::open_fields(guard, tenant, body, boundary),
            (Some(_), Some(BodyRule::Json(_))) | (None, Some(BodyRule::Upload)) => Err(Refused::Unreadable),
            (None, Some(BodyRule::Json(marking))) if marks => {
                open_json(guard, tenant, body).and_then(|(opened, stores)| {
                    let is_marked = stores || marking != Marking::IfStored;
                    let marked = if is_marked { owner::put(&opened, marking, tenant)? } else { None };
                    Ok(marked.unwrap_or(opened))
                })
            }
            (None, Some(BodyRule::Json(_) | BodyRule::Part) | None) => {
                open_json(guard, tenant, body).map(|(opened, _)| opened)
            }
        };
        let opened = opened.map_err(refusal)?;
        Ok((!bytes::is_same(&opened, body)).then_some(opened))
    }

    /// Refuses a body that is not read: nobody can tell what it names.
    pub(super) fn check_ids_readable(&self, body: &Body) -> Result<(), Refusal> {
        match body {
            Body::Unread(unread) if self.sealed.is_some() => Err(Refusal::UnreadableBody(*unread)),
            _ => Ok(()),
        }
    }

    /// What seals the ids in the answer; None where nothing in it is sealed.
    pub(super) fn seal_answer(&self, pairs: &[Pair<'_>]) -> Option<Box<Answer>> {
        let sealed = self.sealed.as_deref()?;
        if sealed.operation.is_some_and(|operation| operation.answer == AnswerRule::Content) {
            return None;
        }
        let find = |name: &str| pairs.iter().find(|(found, _)| head::is(found, name)).map(|(_, value)| *value);
        let is_encoded = find("content-encoding").is_some_and(|coding| !coding.eq_ignore_ascii_case(b"identity"));
        let kind = find("content-type");
        if is_encoded || !metering::is_readable(kind) {
            return None;
        }
        let is_stream = kind.is_some_and(|kind| kind.to_ascii_lowercase().starts_with(b"text/event-stream"));
        let tenant = self.identity.tenant.as_str();
        Some(Box::new(Answer::new(Rc::clone(&sealed.guard), tenant, sealed.fallback(), is_stream)))
    }
}

/// A body with its ids open, and whether it may ask the provider to keep the answer.
fn open_json(guard: &Guard, tenant: &str, body: &[u8]) -> Result<(Vec<u8>, bool), Refused> {
    let mut opened = Vec::with_capacity(body.len());
    let mut rewriter = Rewriter::new(guard.dialect);
    rewriter.feed(body, &mut Opener { guard, tenant }, &mut opened)?;
    rewriter.finish(&mut opened);
    Ok((opened, rewriter.may_store()))
}

fn refusal(refused: Refused) -> Refusal {
    match refused {
        Refused::NotOwn => Refusal::NotFound,
        Refused::UnknownPlace => Refusal::UnexpectedId,
        Refused::Operation => Refusal::Operation,
        Refused::Unreadable => Refusal::UnreadableBody(Unread::NotJson),
        Refused::Ambiguous => Refusal::AmbiguousBody,
    }
}

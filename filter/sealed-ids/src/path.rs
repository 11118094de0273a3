//! Opens the ids in a request's path and query.
use weir_config::shared::Shared;

use crate::judge::{Guard, Opener};
use crate::key::Use;
use crate::kind::{Dialect, is_likely_id};
use crate::operation::{self, AnswerRule, Operation, Paging, Slot};
use crate::percent::{decode, encode};
use crate::place::Place;
use crate::rewrite::{Judge, Verdict};
use crate::{Refused, list};

/// What a request's path and query say.
#[derive(Debug)]
pub struct Opened {
    /// The `:path` with its ids open; None where it stays as it is.
    pub path: Option<String>,
    /// The operation; None for an inference that no table lists.
    pub operation: Option<&'static Operation>,
    /// The page of a list that is asked for.
    pub page: Option<list::Page>,
}

/// Opens a path and its query. `touched`: the kind that the path is about.
///
/// # Errors
/// If an id in it is not this tenant's or stands where none is expected, or the operation is not known.
pub fn open(
    guard: &Guard,
    tenant: &str,
    method: &[u8],
    (path, query): (&[u8], Option<&[u8]>),
    touched: Option<Shared>,
) -> Result<Opened, Refused> {
    let path = std::str::from_utf8(path).map_err(|_| Refused::Unreadable)?;
    let query = query.map(std::str::from_utf8).transpose().map_err(|_| Refused::Unreadable)?;
    let below = below_root(guard.dialect, path);
    let found = below.and_then(|below| operation::find(guard.dialect, guard.sealed, method, below));
    if found.is_none() && touched.is_some_and(|kind| guard.sealed.has(kind)) {
        return Err(Refused::Operation);
    }
    let (operation, slots) = found.map_or((None, Vec::new()), |(operation, slots)| (Some(operation), slots));
    if operation.is_none() && path.split('/').any(|part| is_likely_id(guard.dialect, guard.sealed, &decode(part))) {
        return Err(Refused::UnknownPlace);
    }
    let mut opened = open_slots(guard, tenant, path, operation, &slots)?;
    let paging = operation.and_then(|operation| match operation.answer {
        AnswerRule::List(listing) if guard.sealed.has(operation.kind) => Some(listing),
        _ => None,
    });
    let mut asked = Asked { guard, tenant, paging: paging.map_or(Paging::None, |listing| listing.paging), limit: None };
    let (sent, kept) = asked.query(query.unwrap_or_default(), paging.is_some())?;
    let page = paging.map(|listing| list::Page::new(listing, asked.limit, path, &kept));
    if query.is_some() || !sent.is_empty() {
        opened.push('?');
        opened.push_str(&sent);
    }
    let same = opened.len() == path.len().saturating_add(query.map_or(0, |query| query.len().saturating_add(1)))
        && opened.starts_with(path)
        && query.is_none_or(|query| opened.ends_with(query));
    Ok(Opened { path: (!same).then_some(opened), operation, page })
}

/// The path below the API's root: behind `/v1/`, `/openai/` or `/openai/v1/`, wherever the API is mounted.
fn below_root(dialect: Dialect, path: &str) -> Option<&str> {
    let mut rest = path;
    loop {
        let (part, behind) = rest.strip_prefix('/')?.split_once('/').map(|(part, _)| (part, part.len()))?;
        let behind = rest.get(behind.saturating_add(1)..)?;
        match (dialect, part) {
            (Dialect::OpenAi, "openai") => return behind.strip_prefix("/v1/").or_else(|| behind.strip_prefix('/')),
            (Dialect::OpenAi | Dialect::Anthropic, "v1") | (Dialect::Gemini, "v1beta") => {
                return behind.strip_prefix('/');
            }
            _ => rest = behind,
        }
    }
}

/// The path with its ids open.
fn open_slots(
    guard: &Guard,
    tenant: &str,
    path: &str,
    operation: Option<&Operation>,
    slots: &[Slot<'_>],
) -> Result<String, Refused> {
    let mut opened = String::with_capacity(path.len());
    let mut from = 0;
    for slot in slots {
        let text = decode(&format!("{}{}", slot.outside, slot.part));
        let Some(id) = open_slot(guard, tenant, operation, &text)? else { continue };
        if !slot.takes(&id) {
            return Err(Refused::NotOwn);
        }
        // The parts stand in order, each behind a slash.
        let start = path.get(from..).and_then(|rest| find_part(rest, slot.part)).ok_or(Refused::Unreadable)?;
        let start = from.saturating_add(start);
        opened.push_str(path.get(from..start).unwrap_or_default());
        opened.push_str(&encode(id.get(slot.outside.len()..).unwrap_or_default()));
        from = start.saturating_add(slot.part.len());
    }
    opened.push_str(path.get(from..).unwrap_or_default());
    Ok(opened)
}

fn find_part(path: &str, part: &str) -> Option<usize> {
    let mut at = 0_usize;
    for found in path.split('/') {
        if found == part && at > 0 {
            return Some(at);
        }
        at = at.saturating_add(found.len()).saturating_add(1);
    }
    None
}

/// The id that a part of the path opens to; None where it stays.
fn open_slot(
    guard: &Guard,
    tenant: &str,
    operation: Option<&Operation>,
    text: &str,
) -> Result<Option<String>, Refused> {
    match guard.dialect.kinds_of(text) {
        Some((_, kinds)) if kinds.meet(guard.sealed) => guard.open(tenant, text).map(Some),
        Some((_, kinds)) if kinds.meet(guard.shared) => Ok(None),
        _ if operation.is_some_and(|operation| guard.sealed.has(operation.kind)) => guard.open(tenant, text).map(Some),
        _ => Ok(None),
    }
}

/// Whether two names are one to a server that takes both of its spellings, `pageSize` and `page_size`.
fn is_same(one: &str, other: &str) -> bool {
    let letters = |name: &str| name.replace('_', "").to_ascii_lowercase();
    letters(one) == letters(other)
}

/// The operation that a path names, where one does.
pub fn operation(guard: &Guard, method: &[u8], path: &[u8]) -> Option<&'static Operation> {
    let below = below_root(guard.dialect, std::str::from_utf8(path).ok()?)?;
    operation::find(guard.dialect, guard.sealed, method, below).map(|(operation, _)| operation)
}

/// Reads a query.
struct Asked<'g> {
    guard: &'g Guard,
    tenant: &'g str,
    paging: Paging,
    limit: Option<usize>,
}

impl Asked<'_> {
    /// The query that is sent, and the client's own but for where it goes on. `listed`: the answer is a list of the account.
    fn query(&mut self, query: &str, listed: bool) -> Result<(String, String), Refused> {
        let (mut sent, mut kept) = (Vec::new(), Vec::new());
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decode(name), decode(value));
            match (self.paging, name.as_str()) {
                // What stands before an entry cannot be cut to a page of one's own.
                (_, "before" | "before_id") if listed => return Err(Refused::Operation),
                (Paging::After { name: after, .. }, name) if name == after => {
                    sent.push(format!("{after}={}", encode(&self.cursor(&value)?)));
                    continue;
                }
                // Another page's token takes the place of this one's.
                (Paging::After { .. }, "page") => {
                    sent.push(pair.to_owned());
                    continue;
                }
                (Paging::After { most, .. }, "limit") => {
                    self.limit = value.parse().ok().filter(|limit| (1..=most).contains(limit));
                    kept.push(pair.to_owned());
                    continue;
                }
                (Paging::Token { size, .. }, name) if is_same(name, size) => continue,
                _ => {}
            }
            match self.value(&name, &value)? {
                Some(opened) => sent.push(format!("{}={}", encode(&name), encode(&opened))),
                None => sent.push(pair.to_owned()),
            }
            kept.push(pair.to_owned());
        }
        match self.paging {
            Paging::After { most, .. } => sent.push(format!("limit={most}")),
            Paging::Token { size, most } => sent.push(format!("{size}={most}")),
            Paging::None => {}
        }
        Ok((sent.join("&"), kept.join("&")))
    }

    fn cursor(&self, value: &str) -> Result<String, Refused> {
        let keys = &self.guard.keys;
        let opened = keys.open(Use::Id, self.tenant, value).or_else(|| keys.open(Use::Cursor, self.tenant, value));
        opened.ok_or(Refused::NotOwn)
    }

    /// What a parameter's value opens to; None where it stays.
    fn value(&self, name: &str, value: &str) -> Result<Option<String>, Refused> {
        let place = match name {
            "after" | "before" | "after_id" | "before_id" => Place::OwnId,
            name => Place::Unknown.member(self.guard.dialect, name.as_bytes()),
        };
        let mut opener = Opener { guard: self.guard, tenant: self.tenant };
        if !opener.looks_at(place) {
            return Ok(None);
        }
        match opener.judge(place, value) {
            Verdict::Keep => Ok(None),
            Verdict::Replace(opened) => Ok(Some(opened)),
            Verdict::Refuse(refused) => Err(refused),
        }
    }
}

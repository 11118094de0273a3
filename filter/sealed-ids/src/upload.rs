//! Uploaded files: their names carry their owner, and the requests in a batch name only ids that open.
//!
//! Only the plain form that the clients and curl write is read (RFC 7578); any other is refused.
use std::ops::Range;

use serde_json::value::RawValue;
use weir_config::shared::Shared;

use crate::judge::{Guard, Opener};
use crate::kind::is_likely_id;
use crate::owner::{Marking, Object};
use crate::place::Place;
use crate::rewrite::{Judge, Rewriter, Verdict};
use crate::{Refused, owner};

/// The most parts of a form.
const PARTS_MAX: usize = 64;

/// The purpose of a file with the requests of a batch.
const BATCH: &[u8] = b"batch";

/// Every purpose that a file may have: a provider that is careless about case must not take another one for a batch.
const PURPOSES: [&[u8]; 7] = [BATCH, b"assistants", b"vision", b"user_data", b"fine-tune", b"evals", b"ocr"];

/// What requests of a batch may ask for, as the end of their path.
const ASKED: [&str; 8] = [
    "/responses",
    "/chat/completions",
    "/completions",
    "/embeddings",
    "/moderations",
    "/images/generations",
    "/images/edits",
    "/videos",
];

/// The member with the request's own body, in a line of such a file.
const BODY: &str = "body";

/// A part of a form.
struct Part {
    name: Range<usize>,
    /// What stands between the quotes of a file's name.
    filename: Option<Range<usize>>,
    value: Range<usize>,
}

/// Judges the body of one request in a file for batches.
pub type Check<'c> = &'c dyn Fn(&[u8]) -> Result<(), Refused>;

/// The body of an upload with its ids open, and its file's name with its owner where it is `marked`. `check`: judges each request in
/// a file for batches.
///
/// # Errors
/// If the form cannot be read, names ids that are not this tenant's, or holds a request that is not let through.
pub fn open(
    guard: &Guard,
    tenant: &str,
    body: &[u8],
    boundary: &[u8],
    marked: bool,
    check: Check<'_>,
) -> Result<Vec<u8>, Refused> {
    let parts = read(body, boundary).ok_or(Refused::Unreadable)?;
    let slice = |range: &Range<usize>| body.get(range.clone()).unwrap_or_default();
    let files = parts.iter().filter(|part| part.filename.is_some()).count();
    let purposes: Vec<&[u8]> =
        parts.iter().filter(|part| slice(&part.name) == b"purpose").map(|part| slice(&part.value)).collect();
    if files != 1 || purposes.len() > 1 {
        return Err(Refused::Unreadable);
    }
    if purposes.first().is_some_and(|purpose| !PURPOSES.contains(purpose)) {
        return Err(Refused::Operation);
    }
    let is_batch = purposes.first() == Some(&BATCH);
    let mut out = Vec::with_capacity(body.len().saturating_add(1024));
    let mut from = 0;
    for part in &parts {
        if let Some(filename) = part.filename.as_ref().filter(|_| marked) {
            out.extend_from_slice(slice(&(from..filename.start)));
            out.extend_from_slice(owner::mark(tenant).as_bytes());
            from = filename.start;
        }
        out.extend_from_slice(slice(&(from..part.value.start)));
        from = part.value.end;
        let value = slice(&part.value);
        match (&part.filename, is_batch) {
            (Some(_), true) => requests(guard, tenant, value, check, &mut out)?,
            (Some(_), false) => out.extend_from_slice(value),
            (None, _) => field(guard, tenant, slice(&part.name), value, &mut out)?,
        }
    }
    out.extend_from_slice(slice(&(from..body.len())));
    Ok(out)
}

/// The body of a form with any files, and with the ids in its fields open.
///
/// # Errors
/// If the form cannot be read, or names ids that are not this tenant's.
pub fn open_fields(guard: &Guard, tenant: &str, body: &[u8], boundary: &[u8]) -> Result<Vec<u8>, Refused> {
    let parts = read(body, boundary).ok_or(Refused::Unreadable)?;
    let slice = |range: &Range<usize>| body.get(range.clone()).unwrap_or_default();
    let mut out = Vec::with_capacity(body.len().saturating_add(256));
    let mut from = 0;
    for part in parts.iter().filter(|part| part.filename.is_none()) {
        out.extend_from_slice(slice(&(from..part.value.start)));
        field(guard, tenant, slice(&part.name), slice(&part.value), &mut out)?;
        from = part.value.end;
    }
    out.extend_from_slice(slice(&(from..body.len())));
    Ok(out)
}

/// Opens the ids in a file of requests, one JSON document a line.
fn requests(guard: &Guard, tenant: &str, file: &[u8], check: Check<'_>, out: &mut Vec<u8>) -> Result<(), Refused> {
    let mut opener = Opener { guard, tenant };
    for (at, line) in file.split(|byte| *byte == b'\n').enumerate() {
        if at > 0 {
            out.push(b'\n');
        }
        let is_json = serde_json::from_slice::<serde::de::IgnoredAny>(line).is_ok();
        if !is_json && !line.trim_ascii().is_empty() {
            return Err(Refused::Unreadable);
        }
        let start = out.len();
        let mut rewriter = Rewriter::new(guard.dialect);
        rewriter.feed(line, &mut opener, out)?;
        rewriter.finish(out);
        if is_json && let Some(marked) = request(guard, tenant, out.get(start..).unwrap_or_default(), check)? {
            out.truncate(start);
            out.extend_from_slice(marked.as_bytes());
        }
    }
    Ok(())
}

/// One request of a batch with its owner's mark, where it asks the provider to keep the answer.
fn request(guard: &Guard, tenant: &str, line: &[u8], check: Check<'_>) -> Result<Option<String>, Refused> {
    let object = Object::read(line).ok_or(Refused::Unreadable)?;
    for name in [BODY, "url", "method"] {
        object.spelling(name)?;
    }
    let asks = object
        .text("url")
        .is_none_or(|url| ASKED.iter().any(|asked| url.ends_with(asked)) && !url.contains(['?', '%']));
    if !asks || object.text("method").is_some_and(|method| method != "POST") {
        return Err(Refused::Operation);
    }
    let body = object.get(BODY).ok_or(Refused::Unreadable)?.get().as_bytes();
    check(body)?;
    let keeps = guard.sealed.has(Shared::StoredResponses);
    let Some(marked) = (if keeps { owner::put(body, Marking::IfStored, tenant)? } else { None }) else {
        return Ok(None);
    };
    let marked = String::from_utf8(marked).map_err(|_| Refused::Unreadable)?;
    let value =
        |(name, value): &(String, &RawValue)| if name == BODY { marked.clone() } else { value.get().to_owned() };
    let values: Vec<String> = object.0.iter().map(value).collect();
    let names = object.0.iter().map(|(name, _)| name.as_str());
    Ok(Some(owner::write(names.zip(values.iter().map(String::as_str)))))
}

/// Opens the id in a field, if it is the place of one.
fn field(guard: &Guard, tenant: &str, name: &[u8], value: &[u8], out: &mut Vec<u8>) -> Result<(), Refused> {
    let mut opener = Opener { guard, tenant };
    // `images[][file_id]` is a member of what it stands in.
    let inner = name.strip_suffix(b"]").and_then(|rest| rest.rsplit(|byte| *byte == b'[').next());
    let place = Place::Unknown.member(guard.dialect, inner.filter(|inner| !inner.is_empty()).unwrap_or(name));
    let text = std::str::from_utf8(value).map_err(|_| Refused::Unreadable)?;
    if opener.looks_at(place) {
        match opener.judge(place, text) {
            Verdict::Keep => {}
            Verdict::Replace(id) => {
                out.extend_from_slice(id.as_bytes());
                return Ok(());
            }
            Verdict::Refuse(refused) => return Err(refused),
        }
    } else if is_likely_id(guard.dialect, guard.sealed, text) {
        return Err(Refused::UnknownPlace);
    }
    out.extend_from_slice(value);
    Ok(())
}

fn read(body: &[u8], boundary: &[u8]) -> Option<Vec<Part>> {
    let delimiter = [b"\r\n--", boundary].concat();
    let mut at = delimiter.len().checked_sub(2)?;
    if body.get(..at)? != delimiter.get(2..)? {
        return None;
    }
    let mut parts = Vec::new();
    while parts.len() <= PARTS_MAX {
        let rest = body.get(at..)?;
        if matches!(rest, b"--" | b"--\r\n") {
            return Some(parts);
        }
        let head = rest.strip_prefix(b"\r\n")?;
        let start = at.checked_add(2)?;
        let length = memchr::memmem::find(head, b"\r\n\r\n")?;
        let (name, filename) = read_head(head.get(..length)?, start)?;
        let from = start.checked_add(length)?.checked_add(4)?;
        let end = from.checked_add(memchr::memmem::find(body.get(from..)?, &delimiter)?)?;
        parts.push(Part { name, filename, value: from..end });
        at = end.checked_add(delimiter.len())?;
    }
    None
}

/// A part's name, and its file's name. `start`: where its head begins in the body.
fn read_head(head: &[u8], start: usize) -> Option<(Range<usize>, Option<Range<usize>>)> {
    let (mut found, mut at) = (None, start);
    for line in head.split(|byte| *byte == b'\n') {
        let length = line.len();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let colon = memchr::memchr(b':', line)?;
        let value = line.get(colon.checked_add(1)?..)?;
        match line.get(..colon)?.to_ascii_lowercase().as_slice() {
            b"content-disposition" if found.is_none() => {
                let blanks = value.len().checked_sub(value.trim_ascii_start().len())?;
                let from = at.checked_add(colon)?.checked_add(1)?.checked_add(blanks)?;
                found = Some(read_disposition(value.trim_ascii(), from)?);
            }
            b"content-type" | b"content-length" => {}
            _ => return None,
        }
        at = at.checked_add(length)?.checked_add(1)?;
    }
    found
}

/// `form-data; name="file"; filename="a.txt"`, and nothing else.
fn read_disposition(value: &[u8], at: usize) -> Option<(Range<usize>, Option<Range<usize>>)> {
    let (name, from) = quoted(value, b"form-data; name=\"", 0)?;
    let plain = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'%' | b'\\');
    if !value.get(name.clone())?.iter().all(plain) {
        return None;
    }
    let shift = |range: Range<usize>| Some(range.start.checked_add(at)?..range.end.checked_add(at)?);
    if from == value.len() {
        return Some((shift(name)?, None));
    }
    let (filename, end) = quoted(value, b"; filename=\"", from)?;
    let is_plain = !value.get(filename.clone())?.contains(&b'\\');
    (is_plain && end == value.len()).then_some((shift(name)?, Some(shift(filename)?)))
}

/// What stands between `start` and the next quote, and where that ends.
fn quoted(value: &[u8], start: &[u8], from: usize) -> Option<(Range<usize>, usize)> {
    value.get(from..)?.strip_prefix(start)?;
    let begin = from.checked_add(start.len())?;
    let end = begin.checked_add(memchr::memchr(b'"', value.get(begin..)?)?)?;
    Some((begin..end, end.checked_add(1)?))
}

//! Takes identifiers of other tenants out of an answer, as it streams by or while it is held.
//!
//! A JSON document is held whole; server-sent events, lines of JSON and text stream by. Images, sound and the like pass: they
//! carry no text. Any other answer cannot be searched, an encoded one for example, and an error goes on in its place.
use weir_llm_usage::bytes;
use weir_redaction::{Form, Redactor, SharedIdentifiers};

use super::held::{ANSWER_MAX_BYTES, Held};
use crate::head::{self, Pair};

/// The longest event or line of a stream, in bytes. A longer one ends the answer.
const EVENT_MAX_BYTES: usize = 1024 * 1024;

/// What is searched for, of an admitted request whose route asks for it.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) identifiers: SharedIdentifiers,
    /// The gateway never takes an empty chunk for another (Kong), so that plain text cannot wait.
    pub(super) fills: bool,
}

/// The search through one answer.
#[derive(Debug)]
pub(super) struct Redaction {
    redactor: Redactor,
    form: Form,
    fills: bool,
    /// What may go out behind what still waits: Envoy then shows the rest of the answer even if trailers end it.
    pending: Vec<u8>,
    /// It could not be searched to its end, or not at all.
    is_unchecked: bool,
    is_finished: bool,
}

/// How an answer is searched.
enum Way {
    /// It carries no text.
    Passes,
    Search(Form),
    Unreadable,
}

/// Begins with the answer's head. Returns the search, and the answer if it is to be held.
pub(super) fn begin(wanted: &Wanted, own: &str, status: u16, pairs: &[Pair<'_>]) -> (Option<Redaction>, Option<Held>) {
    let (form, is_readable) = match way(pairs) {
        Way::Passes => return (None, None),
        Way::Search(Form::Text) if wanted.fills => (Form::Document, false),
        Way::Search(form) => (form, true),
        Way::Unreadable => (Form::Document, false),
    };
    let max_bytes = if form == Form::Document { ANSWER_MAX_BYTES } else { EVENT_MAX_BYTES };
    let redactor = Redactor::new(wanted.identifiers.clone(), own, form, max_bytes);
    let redaction = Redaction {
        redactor,
        form,
        fills: wanted.fills,
        pending: Vec::new(),
        is_unchecked: !is_readable,
        is_finished: false,
    };
    let held = (form == Form::Document).then(|| Held::with(status, is_readable));
    (Some(redaction), held)
}

impl Redaction {
    /// Whether the answer streams by, so that its length is no longer known.
    pub(super) fn streams(&self) -> bool {
        self.form != Form::Document
    }

    /// Takes a chunk of an answer that streams by; `ends` on the last. Returns what goes on in its place, if that differs.
    pub(super) fn stream(&mut self, chunk: &[u8], ends: bool) -> Option<Vec<u8>> {
        let passed = self.redactor.pass(chunk);
        if passed == chunk.len() && !chunk.is_empty() && !ends {
            return None;
        }
        let (goes_on, rest) = chunk.split_at_checked(passed).unwrap_or((b"", chunk));
        let mut out = std::mem::take(&mut self.pending);
        out.reserve(chunk.len());
        out.extend_from_slice(goes_on);
        let fed = self.redactor.feed(rest, &mut out);
        let ended = if ends && !std::mem::replace(&mut self.is_finished, ends) {
            self.redactor.finish(&mut out)
        } else {
            Ok(())
        };
        self.is_unchecked |= fed.is_err() || ended.is_err();
        if self.holds_back() {
            self.pending = std::mem::take(&mut out);
        }
        if out.is_empty() && self.fills {
            // A comment and an empty line, which clients ignore.
            out.extend_from_slice(if self.form == Form::Events { b":\n\n" } else { b"\n" });
        }
        (!bytes::is_same(&out, chunk)).then_some(out)
    }

    /// Whether a part of the answer waits, so that the gateway must not let its end go by. Kong tells the end with the last chunk.
    pub(super) fn holds_back(&self) -> bool {
        !self.fills && !self.is_finished && !self.is_unchecked && self.redactor.waits()
    }

    /// Takes a whole document. Returns what goes on in its place, if that differs.
    pub(super) fn document(&mut self, body: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::with_capacity(body.len());
        let read = self.redactor.feed(body, &mut out).and_then(|()| self.redactor.finish(&mut out));
        self.is_unchecked |= read.is_err();
        (self.redactor.has_changed() || read.is_err()).then_some(out)
    }

    /// How many identifiers were taken out, and whose.
    pub(super) fn found(&self) -> (u64, Vec<String>) {
        (self.redactor.replaced(), self.redactor.owners())
    }

    /// Whether a part of the answer could not be searched, and was withheld.
    pub(super) fn is_unchecked(&self) -> bool {
        self.is_unchecked
    }

    /// The answer was withheld before it could be searched.
    pub(super) fn withhold(&mut self) {
        self.is_unchecked = true;
    }
}

fn way(pairs: &[Pair<'_>]) -> Way {
    let find = |name: &str| pairs.iter().find(|(found, _)| head::is(found, name)).map(|(_, value)| *value);
    if find("content-encoding").is_some_and(|encoding| !encoding.trim_ascii().eq_ignore_ascii_case(b"identity")) {
        return Way::Unreadable;
    }
    let mut kind = find("content-type").unwrap_or_default().split(|byte| *byte == b';');
    let essence = kind.next().unwrap_or_default().trim_ascii().to_ascii_lowercase();
    let way = match &*essence {
        b"text/event-stream" => Way::Search(Form::Events),
        b"application/x-ndjson"
        | b"application/ndjson"
        | b"application/jsonl"
        | b"application/x-jsonlines"
        | b"application/stream+json" => Way::Search(Form::Lines),
        b"" | b"application/json" | b"text/json" => Way::Search(Form::Document),
        b"application/octet-stream" | b"application/xml" | b"application/yaml" | b"application/javascript" => {
            Way::Search(Form::Text)
        }
        b"application/pdf" | b"application/zip" => Way::Passes,
        other if other.ends_with(b"+json") => Way::Search(Form::Document),
        other if other.starts_with(b"text/") || other.ends_with(b"+xml") => Way::Search(Form::Text),
        other if [&b"image/"[..], b"audio/", b"video/", b"font/"].iter().any(|kind| other.starts_with(kind)) => {
            Way::Passes
        }
        _ => Way::Unreadable,
    };
    match way {
        Way::Search(_) if !kind.all(is_utf_8) => Way::Unreadable,
        way => way,
    }
}

/// Whether a parameter of a content type leaves the text UTF-8, the only encoding that is searched.
fn is_utf_8(parameter: &[u8]) -> bool {
    let parameter = parameter.to_ascii_lowercase();
    let mut parts = parameter.splitn(2, |byte| *byte == b'=').map(<[u8]>::trim_ascii);
    let (name, value) = (parts.next(), parts.next().unwrap_or_default());
    name != Some(b"charset") || matches!(value, b"utf-8" | b"\"utf-8\"" | b"utf8" | b"us-ascii" | b"\"us-ascii\"")
}

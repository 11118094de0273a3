//! What kind of request it is, by its path, and which model stands there.
pub mod operation;
mod set;

use std::borrow::Cow;
use std::ops::Range;

use weir_contract::Class;
use weir_llm_usage::bytes::any;
use weir_llm_usage::lanes::{Bits, LANES, Lanes, first, load_short};

pub use set::ClassSet;

/// Path endings and their classes. Only endings are compared, because services add prefixes (`/openai/deployments/x`,
/// `/api`).
const ENDINGS: [(&[u8], Class); 25] = [
    (b"/chat/completions", Class::Chat),
    (b"/messages", Class::Chat),
    (b"/responses", Class::Chat),
    (b"/responses/compact", Class::Chat),
    (b"/interactions", Class::Chat),
    (b"/chat", Class::Chat),
    (b"/runs", Class::Chat),
    (b":generatecontent", Class::Chat),
    (b":streamgeneratecontent", Class::Chat),
    (b":rawpredict", Class::Chat),
    (b":streamrawpredict", Class::Chat),
    (b"/converse", Class::Chat),
    (b"/converse-stream", Class::Chat),
    (b"/invoke", Class::Chat),
    (b"/invoke-with-response-stream", Class::Chat),
    (b"/completions", Class::Completion),
    (b"/generate", Class::Completion),
    (b"/generate_stream", Class::Completion),
    (b"/embeddings", Class::Embedding),
    (b"/embed", Class::Embedding),
    (b":embedcontent", Class::Embedding),
    (b":batchembedcontents", Class::Embedding),
    (b"/rerank", Class::Rerank),
    (b"/moderations", Class::Moderation),
    (b"/batches", Class::Batch),
];

/// Path parts and their classes.
const PARTS: [(&[u8], Class); 3] = [(b"/images/", Class::Image), (b"/audio/", Class::Audio), (b"/mcp", Class::Mcp)];

/// Path parts that precede a model's name: Gemini and Vertex, Bedrock, Azure, OpenAI's first API.
const BEFORE_MODEL: [&[u8]; 4] = [b"/models/", b"/model/", b"/deployments/", b"/engines/"];

/// What stands before AWS's name of a resource.
const BEFORE_ARN: [&[u8]; 2] = [b"/model/", b"/async-invoke/"];

/// The class of a path, without its query.
///
/// Upstreams accept several spellings of one path: with escapes, in capitals, with doubled slashes, with parameters.
/// A request that a plan refuses must not pass under another spelling, so all of them get the same class.
pub fn by_path(path: &[u8]) -> Class {
    let path = plain(path);
    let path = path.strip_suffix(b"/").unwrap_or(&path);
    let has = |part: &[u8]| from_slashes(path).any(|rest| rest.starts_with(part));
    if path.ends_with(b"/messages") && has(b"/threads/") {
        return Class::Other;
    }
    // Every ending has four bytes and more, and their comparison is a single one.
    let end: Option<&[u8; 4]> = path.last_chunk();
    let ending = ENDINGS.iter().find(|(ending, _)| ending.last_chunk() == end && path.ends_with(ending));
    let part = || PARTS.iter().find(|(part, _)| has(part));
    ending.or_else(part).map_or(Class::Other, |(_, class)| *class)
}

/// A model that a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathModel {
    /// Its name, without escapes.
    pub name: Box<str>,
    /// Its range in the path, escapes included.
    pub at: Range<usize>,
    /// Lenient and strict servers find different names in the path. `name` is the one that the lenient server finds.
    pub ambiguous: bool,
}

/// The model that a path names, without its query.
///
/// A server that accepts several spellings of a path finds a model where a strict one finds none (`/%6Dodels/x`,
/// `/Models/x`), or another one (`/models/x;y`). Such a path is marked ambiguous.
pub fn model_in_path(path: &[u8]) -> Option<PathModel> {
    let strict = find_model(path);
    if let Some(arn) = arn_in_path(path) {
        return strict.map(|model| PathModel { ambiguous: !is_plain_around(path, &arn, &model), ..model });
    }
    let lenient = match plain(path) {
        Cow::Borrowed(_) => return strict,
        Cow::Owned(plain) => find_model(&plain),
    };
    match (strict, lenient) {
        (Some(strict), Some(lenient)) if strict.name.eq_ignore_ascii_case(&lenient.name) => Some(strict),
        (strict, lenient) => lenient.or(strict).map(|model| PathModel { ambiguous: true, ..model }),
    }
}

/// Where AWS's own name of a resource stands in a path (`/model/arn%3Aaws%3A…%2F…/converse`). It holds slashes, which AWS's
/// clients escape: within that one segment they part nothing.
pub(crate) fn arn_in_path(path: &[u8]) -> Option<Range<usize>> {
    // Such a name has colons, and most paths have none.
    if !any(path, |byte| (byte == b':') | (byte == b'%')) {
        return None;
    }
    let after = |rest: &[u8]| BEFORE_ARN.iter().find_map(|part| Some(rest.strip_prefix(*part)?.len()));
    let start = path.len().saturating_sub(from_slashes(path).find_map(after)?);
    let rest = path.get(start..)?;
    let end = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
    let name = unescaped(rest.get(..end)?);
    let mut parts = name.split(|byte| *byte == b'/');
    let is_arn = name.starts_with(b"arn:aws") && !parts.any(|part| matches!(part, b"" | b"." | b".."));
    is_arn.then(|| start..start.saturating_add(end))
}

/// Whether the rest of a path with such a name has one reading only, and the name is the model.
fn is_plain_around(path: &[u8], arn: &Range<usize>, model: &PathModel) -> bool {
    let found = find_model(&plain(&with_short_arn(path, arn)));
    model.at == *arn && found.is_some_and(|found| &*found.name == "arn")
}

/// The path with the word `arn` in place of AWS's name, so that its escaped slashes part nothing.
fn with_short_arn(path: &[u8], arn: &Range<usize>) -> Vec<u8> {
    let parts = [path.get(..arn.start), Some(&b"arn"[..]), path.get(arn.end..)].map(Option::unwrap_or_default);
    parts.concat()
}

/// A path with another model in the place of the one at `at`; None where it is no text.
pub(crate) fn with_model(path: &[u8], at: &Range<usize>, model: &str) -> Option<String> {
    let text = |bytes: Option<&[u8]>| std::str::from_utf8(bytes?).ok().map(str::to_owned);
    let mut changed = text(path.get(..at.start))?;
    for byte in model.bytes() {
        // RFC 3986, section 2.3. Everything else is escaped, so that a name cannot become two segments or a verb.
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => changed.push(char::from(byte)),
            _ => changed.push_str(&format!("%{byte:02X}")),
        }
    }
    changed.push_str(&text(path.get(at.end..))?);
    Some(changed)
}

fn find_model(path: &[u8]) -> Option<PathModel> {
    let begins = |part: &[u8], rest: &[u8]| part.get(1) == rest.get(1) && rest.starts_with(part);
    let after = |rest: &[u8]| {
        let part = BEFORE_MODEL.iter().find(|part| begins(part, rest))?;
        rest.len().checked_sub(part.len())
    };
    let start = path.len().saturating_sub(from_slashes(path).filter_map(after).last()?);
    let rest = path.get(start..)?;
    let end = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
    let segment = rest.get(..end)?;
    // Gemini appends a verb behind a colon. In Bedrock's ids a colon precedes a version, and more path follows.
    let verb = if end == rest.len() { memchr::memrchr(b':', segment) } else { None };
    let written = segment.get(..verb.unwrap_or(end))?;
    let name = String::from_utf8(unescaped(written).into_owned()).ok()?;
    let fits = !name.is_empty() && name.len() <= crate::body::MODEL_MAX_BYTES;
    let at = start..start.saturating_add(written.len());
    fits.then(|| PathModel { name: name.into(), at, ambiguous: false })
}

/// The tails of a path, one from each of its slashes. Paths are short and every part that is looked for begins with a
/// slash, so this is faster than building a substring searcher.
fn from_slashes(path: &[u8]) -> FromSlashes<'_> {
    FromSlashes { block: &[], slashes: 0, rest: path }
}

struct FromSlashes<'p> {
    /// The path from the block on that is looked at.
    block: &'p [u8],
    /// The slashes of this block that are still to be given.
    slashes: Bits,
    /// The path behind this block.
    rest: &'p [u8],
}

impl<'p> Iterator for FromSlashes<'p> {
    type Item = &'p [u8];

    fn next(&mut self) -> Option<&'p [u8]> {
        while self.slashes == 0 {
            self.block = self.rest;
            let lanes;
            (lanes, self.rest) = match self.block.split_first_chunk() {
                Some((block, rest)) => (Lanes::load(block), rest),
                None if self.block.is_empty() => return None,
                None => (load_short(self.block), &[][..]),
            };
            self.slashes = lanes.equals(b'/').bits();
        }
        let at = first(self.slashes);
        self.slashes &= self.slashes.wrapping_sub(1);
        self.block.get(at..)
    }
}

/// A path as the most lenient upstream reads it: without escapes, in lower case, without parameters.
pub(crate) fn plain(path: &[u8]) -> Cow<'_, [u8]> {
    if is_plain(path) { Cow::Borrowed(path) } else { Cow::Owned(rewritten(path)) }
}

/// Whether a path has nothing that [`rewritten`] changes: no capital, escape, parameter or backslash, and no doubled slash.
///
/// Several rules ask for each request, and nearly every path is so: sixteen bytes are looked at together. The test
/// `a_plain_path_is_what_rewriting_leaves_alone` compares it with the rewriting.
fn is_plain(path: &[u8]) -> bool {
    let (mut rest, mut slash_before) = (path, 0);
    loop {
        let (lanes, behind) = match rest.split_first_chunk() {
            Some((block, behind)) => (Lanes::load(block), Some(behind)),
            None => (load_short(rest), None),
        };
        let capitals = lanes.is_below(b'[').bits() & !lanes.is_below(b'A').bits();
        let odd = lanes.equals(b'%').or(lanes.equals(b';')).or(lanes.equals(b'\\')).bits();
        let slashes = lanes.equals(b'/').bits();
        if (capitals | odd | slashes & (slashes << 1 | slash_before)) != 0 {
            return false;
        }
        slash_before = slashes >> (LANES - 1);
        let Some(behind) = behind else { return true };
        rest = behind;
    }
}

fn rewritten(path: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(path.len());
    let mut in_parameters = false;
    for byte in unescaped(path).iter() {
        let byte = if *byte == b'\\' { b'/' } else { byte.to_ascii_lowercase() };
        in_parameters = byte == b';' || (in_parameters && byte != b'/');
        let doubled = byte == b'/' && plain.last() == Some(&b'/');
        if !in_parameters && !doubled {
            plain.push(byte);
        }
    }
    plain
}

/// Without percent escapes (RFC 3986); what is none stays.
pub(crate) fn unescaped(text: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(b'%', text).is_none() {
        return Cow::Borrowed(text);
    }
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, tail)) = rest.split_first() {
        let digit = |at: usize| tail.get(at).and_then(|digit| char::from(*digit).to_digit(16));
        let escape = if *byte == b'%' { digit(0).zip(digit(1)) } else { None };
        let value = escape.and_then(|(high, low)| u8::try_from(high << 4 | low).ok());
        plain.push(value.unwrap_or(*byte));
        rest = if value.is_some() { tail.get(2..).unwrap_or_default() } else { tail };
    }
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn every_slash_of_a_path_begins_a_tail() {
        for length in 0..70 {
            for step in 1..20 {
                let path: Vec<u8> = (0..length).map(|at| if at % step == 0 { b'/' } else { b'a' }).collect();
                let expected: Vec<&[u8]> = (0..length).step_by(step).map(|at| &path[at..]).collect();
                assert_eq!(from_slashes(&path).collect::<Vec<_>>(), expected, "{length} {step}");
            }
        }
        assert!(ENDINGS.iter().all(|(ending, _)| ending.len() >= 4));
    }

    #[test]
    fn a_plain_path_is_what_rewriting_leaves_alone() {
        for length in 0..40 {
            let path: Vec<u8> = (0..length).map(|at| if at % 3 == 0 { b'/' } else { b'a' }).collect();
            assert!(is_plain(&path));
            for at in 0..length {
                for byte in 0..=u8::MAX {
                    let mut path = path.clone();
                    path[at] = byte;
                    let changes = rewritten(&path) != path;
                    assert_eq!(is_plain(&path), !changes && byte != b'%', "{byte:#04x} at {at} of {length}");
                }
            }
        }
    }

    #[test]
    fn the_inference_operations_of_the_providers_are_known() {
        let cases: [(&str, Class); 12] = [
            ("/v1/chat/completions", Class::Chat),
            ("/openai/deployments/gpt/chat/completions", Class::Chat),
            ("/v1/messages", Class::Chat),
            ("/v1/completions", Class::Completion),
            ("/v1/embeddings/", Class::Embedding),
            ("/v1beta/models/g:streamGenerateContent", Class::Chat),
            ("/v1/images/generations", Class::Image),
            ("/v1/audio/speech", Class::Audio),
            ("/v2/rerank", Class::Rerank),
            ("/v1/moderations", Class::Moderation),
            ("/mcp", Class::Mcp),
            ("/v1/models", Class::Other),
        ];
        for (path, class) in cases {
            assert_eq!(by_path(path.as_bytes()), class, "{path}");
        }
    }

    #[test]
    fn another_spelling_of_a_path_is_of_the_same_class() {
        for path in [
            "/v1//chat/completions",
            "/V1/Chat/Completions",
            "/v1/chat/complet%69ons",
            "/v1/chat%2Fcompletions",
            "/v1/chat/completions;x=1",
            "/v1/chat;a=/completions/",
            "/v1\\chat\\completions",
        ] {
            assert_eq!(by_path(path.as_bytes()), Class::Chat, "{path}");
        }
        assert_eq!(by_path(b"/v1/threads/t/messages"), Class::Other);
    }

    #[test]
    fn a_model_in_the_path_is_found() {
        let cases = [
            ("/v1beta/models/gemini-2.5-pro:generateContent", Some("gemini-2.5-pro")),
            ("/v1/projects/p/locations/l/publishers/google/models/gemini:predict", Some("gemini")),
            (
                "/model/anthropic.claude-3-haiku-20240307-v1%3A0/converse",
                Some("anthropic.claude-3-haiku-20240307-v1:0"),
            ),
            ("/model/anthropic.claude-v1:0/invoke", Some("anthropic.claude-v1:0")),
            (
                "/model/arn%3Aaws%3Abedrock%3Aeu-west-1%3A123456789012%3Ainference-profile%2Feu.amazon.nova-pro-v1%3A0/converse",
                Some("arn:aws:bedrock:eu-west-1:123456789012:inference-profile/eu.amazon.nova-pro-v1:0"),
            ),
            ("/openai/deployments/gpt-4o/chat/completions", Some("gpt-4o")),
            ("/v1/chat/completions", None),
            ("/v1/models/", None),
        ];
        for (path, model) in cases {
            let found = model_in_path(path.as_bytes());
            assert_eq!(found.as_ref().map(|found| &*found.name), model, "{path}");
            assert!(found.is_none_or(|found| !found.ambiguous), "{path}");
        }
    }

    #[test]
    fn a_model_that_only_some_servers_find_is_told() {
        for path in [
            "/v1beta/%6Dodels/gemini-pro:generateContent",
            "/v1beta/Models/gemini-pro:generateContent",
            "/v1beta/models;x=1/gemini-pro:generateContent",
            "/v1beta/models//gemini-pro:generateContent",
            "/openai/deployments/gemini-pro;x/chat/completions",
            "/openai/deployments/a/deployments%2fgemini-pro/chat",
        ] {
            let found = model_in_path(path.as_bytes()).unwrap_or_else(|| panic!("{path}: none"));
            assert!(found.ambiguous, "{path}: {found:?}");
            assert_eq!(&*found.name, "gemini-pro", "{path}");
        }
        let arn = "/model/arn%3Aaws%3Abedrock%3Aeu-west-1%3A1%3Ainference-profile%2Feu.nova/converse;x";
        assert!(model_in_path(arn.replace("/model/", "/model;y/").as_bytes()).is_some_and(|found| found.ambiguous));
        assert!(model_in_path(arn.replace("/model/", "/Model/").as_bytes()).is_some_and(|found| found.ambiguous));
        let plain = model_in_path(b"/v1//openai/deployments/GPT%2D4o/chat/completions").expect("a model");
        assert_eq!((&*plain.name, plain.ambiguous), ("GPT-4o", false));
    }

    #[test]
    fn another_model_is_put_into_a_path_and_nothing_else_changes() {
        let cases = [
            ("/openai/deployments/gpt-4o/chat/completions", "mini", "/openai/deployments/mini/chat/completions"),
            ("/v1beta/models/g%2Dpro:generateContent", "flash", "/v1beta/models/flash:generateContent"),
            ("/model/a.b-v1:0/converse", "anthropic.haiku-v1:0", "/model/anthropic.haiku-v1%3A0/converse"),
            ("/models/x:predict", "a/b?c%", "/models/a%2Fb%3Fc%25:predict"),
        ];
        for (path, model, expected) in cases {
            let found = model_in_path(path.as_bytes()).expect("a model");
            assert_eq!(with_model(path.as_bytes(), &found.at, model).as_deref(), Some(expected), "{path}");
        }
    }
}

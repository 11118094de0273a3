//! What a path asks of a provider, as far as usage depends on it.
//!
//! Only operations that providers document are known, by the last segments of the path: an application's own `/orders/7/messages` or
//! `/surveys/5/responses` is none of them.
use std::borrow::Cow;

use super::{arn_in_path, plain, with_short_arn};

/// What a path asks of a provider, as far as its usage depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A model is to work, if it is a `POST`.
    Inference,
    /// One answer or job that the provider keeps, if it is a `GET`.
    KeptAnswer,
    /// No model works: counting, creating and cancelling jobs, files.
    NoInference,
    /// An unknown operation.
    Unknown,
}

/// What the last segment of a path may be for a model to work, and which segment then stands before it: any, a version or a
/// prefix of [`PROVIDER_SEGMENTS`] (`v1`, `openai`), or a part of its own.
const INFERENCES: [(&[u8], Before); 27] = [
    (b"completions", Before::Segments(&[b"chat", b"fim", b"agents"])),
    (b"completions", Before::Provider),
    (b"responses", Before::Provider),
    (b"compact", Before::Segments(&[b"responses"])),
    (b"messages", Before::Version),
    (b"interactions", Before::Version),
    (b"embeddings", Before::Provider),
    (b"embeddings", Before::Segments(&[b"api", b"images"])),
    (b"multimodalembeddings", Before::Version),
    (b"embed", Before::Version),
    (b"embed", Before::Segments(&[b"api"])),
    (b"rerank", Before::Provider),
    (b"moderations", Before::Version),
    (b"chat", Before::Version),
    (b"chat", Before::Segments(&[b"api", b"text"])),
    (b"generate", Before::Version),
    (b"generate", Before::Segments(&[b"api"])),
    (b"complete", Before::Version),
    (b"ocr", Before::Version),
    (b"conversations", Before::Version),
    (b"generations", Before::Segments(&[b"images"])),
    (b"edits", Before::Segments(&[b"images"])),
    (b"variations", Before::Segments(&[b"images"])),
    (b"transcriptions", Before::Segments(&[b"audio"])),
    (b"translations", Before::Segments(&[b"audio"])),
    (b"speech", Before::Segments(&[b"audio"])),
    (b"runs", Before::Segments(&[b"threads"])),
];

/// The segment before the last one.
#[derive(Clone, Copy)]
enum Before {
    /// `v1`, `v2`, `v1beta`
    Version,
    /// A version, a prefix of providers, or the name behind `deployments`, `engines`.
    Provider,
    /// One of these.
    Segments(&'static [&'static [u8]]),
}

/// Segments that providers put before their operations without a version.
const PROVIDER_SEGMENTS: [&[u8]; 4] = [b"openai", b"models", b"inference", b"compatible-mode"];

/// Last segments behind `model/NAME`: Bedrock.
const OF_A_MODEL: [&[u8]; 4] = [b"converse", b"converse-stream", b"invoke", b"invoke-with-response-stream"];

/// Google's verbs, behind a colon.
const VERBS: [&[u8]; 10] = [
    b"generatecontent",
    b"streamgeneratecontent",
    b"rawpredict",
    b"streamrawpredict",
    b"predict",
    b"embedcontent",
    b"batchembedcontents",
    b"generateanswer",
    b"generatetext",
    b"complete",
];

/// Last segments of operations in which no model works, whatever a route says.
const NO_INFERENCES: [&[u8]; 9] = [
    b"count_tokens",
    b"count-tokens",
    b"input_tokens",
    b"tokenize",
    b"detokenize",
    b"cancel",
    b"batches",
    b"files",
    b"uploads",
];

/// How many segments at the end of a path tell its operation.
const SEGMENTS: usize = 5;

/// What a path asks of a provider, without its query.
pub fn of(path: &[u8]) -> Operation {
    with_last_segments(path, of_segments)
}

/// Whether a `GET` of that path reads an answer or a job again: as [`of`] says, and faster where it does not.
pub fn is_kept(path: &[u8]) -> bool {
    with_last_segments(path, |segments| {
        let may_be = segments.split_last().is_some_and(|(_, before)| names_kept(before));
        may_be && of_segments(segments) == Operation::KeptAnswer
    })
}

/// Calls `read` with the last segments of the path as a lenient server reads it, at most [`SEGMENTS`].
fn with_last_segments<T>(path: &[u8], read: impl FnOnce(&[&[u8]]) -> T) -> T {
    let path = arn_in_path(path).map_or(Cow::Borrowed(path), |arn| Cow::Owned(with_short_arn(path, &arn)));
    let path = plain(&path);
    let (mut segments, mut count) = ([&b""[..]; SEGMENTS], 0_usize);
    let found = path.rsplit(|byte| *byte == b'/').filter(|segment| !segment.is_empty());
    for (place, segment) in segments.iter_mut().rev().zip(found) {
        *place = segment;
        count = count.saturating_add(1);
    }
    read(segments.get(SEGMENTS.saturating_sub(count)..).unwrap_or_default())
}

fn of_segments(segments: &[&[u8]]) -> Operation {
    let Some((last, before)) = segments.split_last() else { return Operation::Unknown };
    let (name, verb) = match memchr::memrchr(b':', last) {
        Some(at) => (last.get(..at).unwrap_or_default(), last.get(at + 1..).unwrap_or_default()),
        None => (*last, &b""[..]),
    };
    if VERBS.contains(&verb) && (verb != b"complete" || name == b"inference") {
        return Operation::Inference;
    }
    if matches!(verb, b"counttokens" | b"computetokens") || NO_INFERENCES.contains(last) {
        return Operation::NoInference;
    }
    let is_known = |(ending, follows): &(&[u8], Before)| last == ending && follows.fits(before);
    if INFERENCES.iter().any(is_known) || is_of_a_provider(last, before) {
        return Operation::Inference;
    }
    if names_kept(before) { Operation::KeptAnswer } else { Operation::Unknown }
}

/// Whether behind these segments stands the name of an answer or a job that the provider keeps.
fn names_kept(before: &[&[u8]]) -> bool {
    match before {
        [.., b"threads", _, b"runs"] => true,
        [.., version, b"responses" | b"interactions" | b"batches"] => is_version(version) || *version == b"openai",
        _ => false,
    }
}

impl Before {
    fn fits(self, before: &[&[u8]]) -> bool {
        let Some((last, rest)) = before.split_last() else { return false };
        match self {
            Before::Version => is_version(last),
            Before::Provider => {
                let named = rest.last().is_some_and(|part| matches!(*part, b"deployments" | b"engines"));
                is_version(last) || PROVIDER_SEGMENTS.contains(last) || named
            }
            Before::Segments(segments) => segments.contains(last),
        }
    }
}

/// Operations with a name before them, or behind them.
fn is_of_a_provider(last: &[u8], before: &[&[u8]]) -> bool {
    match before {
        [.., b"model", _] => OF_A_MODEL.contains(&last),
        [.., b"threads", _] => last == b"runs",
        [.., b"threads", _, b"runs", _] => last == b"submit_tool_outputs",
        [.., version, b"conversations"] => is_version(version),
        [.., b"serving-endpoints" | b"endpoints", _] => last == b"invocations",
        [.., b"ml", _, b"text"] => matches!(last, b"generation" | b"generation_stream" | b"chat_stream"),
        [.., b"services", b"aigc" | b"embeddings" | b"rerank", _] => true,
        [.., b"ai", b"run"] | [.., b"ai", b"run", _] | [.., b"ai", b"run", _, _] => true,
        _ => false,
    }
}

/// `v1`, `v2`, `v1beta`, `v1beta1`
fn is_version(segment: &[u8]) -> bool {
    matches!(segment, [b'v', b'0'..=b'9', rest @ ..] if rest.len() <= 6 && rest.iter().all(u8::is_ascii_alphanumeric))
}

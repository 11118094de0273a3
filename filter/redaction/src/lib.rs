//! Takes identifiers of other tenants out of an answer: their names, domains, ids and chosen secrets become
//! `[redacted]`. Bytes that need no change stay identical.
//!
//! An identifier counts where it stands as words of its own: the characters before and behind it must not continue a
//! word ([`words`]). ASCII letters match in either case. Occurrences that overlap are replaced together, once.
//!
//! [`Identifiers`] is what is looked for. A [`Redactor`] reads one answer: a JSON document, server-sent events, lines of
//! JSON, or plain text. Every string value is looked at, escapes resolved. The pieces of a streamed text (`delta.content`
//! and its kin, `strings::CONTINUED`) are read as one text, across events: an event is held back while its text
//! ends in what may become an identifier, and goes out unchanged once it does not. Member names are not looked at.
//!
//! Bounds: an event or document that is longer than the caller allows, more texts at once than [`TEXTS_MAX`], and more
//! bytes or events held back than [`HELD_MAX_BYTES`] and [`HELD_EVENTS_MAX`]; each says what happens there.
#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::unreachable)
)]

mod findings;
mod framing;
mod held;
mod identifiers;
mod redactor;
mod search;
mod strings;
mod template;
mod texts;
pub mod words;

pub use held::{HELD_EVENTS_MAX, HELD_MAX_BYTES};
pub use identifiers::{Added, IDENTIFIERS_MAX, Identifiers, Owner};
pub use redactor::{Form, Redactor, SharedIdentifiers, TooLong};
pub use texts::TEXTS_MAX;

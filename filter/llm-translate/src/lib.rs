//! One dialect of LLM providers into another: requests, answers, streams and errors, pure.
//!
//! A client speaks [`Dialect::OpenAi`] (Chat Completions) or [`Dialect::Anthropic`] (Messages); the model that serves it
//! may stand behind the other. [`translate`] writes the request anew for a [`Target`], or says why this target is
//! [`Unfit`]; [`head`](head()) and an [`AnswerTranslator`] bring back what it answers, whole, streamed or an error.
//!
//! Nothing is lost silently. [`tables`] lists every field: carried, changed, dropped because it makes no difference, or
//! a reason why the target is unfit. A field that no table knows makes it unfit as well. The same tables decide while a
//! request is translated, and `docs/translation.md` is written from them.
//!
//! * Texts, schemas and arguments of tools are copied byte for byte where both dialects write them alike, so that numbers
//!   stay exact and members keep their order, on which models depend.
//! * A stream's event goes out when it has come in; an answer that comes whole is translated at its end. The memory for
//!   each is bounded ([`EVENT_MAX_BYTES`], [`ANSWER_MAX_BYTES`]).
//! * An answer that cannot be read, or a stream that ends early, ends in the client's dialect with an error.
//!
//! Nothing in here panics on any input: the lints below deny what could.
#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::unreachable)
)]

mod answer;
mod answer_head;
mod betas;
mod cloud;
mod expected;
mod head;
mod ids;
mod request;
mod table;
mod target;
mod unfit;
mod write;

pub use answer::{
    ANSWER_MAX_BYTES, AnswerTranslator, EVENT_MAX_BYTES, Ending, StreamFailure, cut_event, error_answer,
    unreadable_answer,
};
pub use answer_head::AnswerHead;
pub use betas::betas;
pub use expected::{Expected, FOREIGN_SIGNATURE};
pub use head::{HeadEdits, head};
pub use request::{Translated, translate};
pub use table::{Fate, Field, Only, Section, tables};
pub use target::{Dialect, Server, Target, Thinking};
pub use unfit::{Reason, Unfit};

//! Says what an exchange with an LLM provider used, so that tests can judge weir's reader.
//!
//! [`expected()`] takes a recorded or generated [`Exchange`] and returns what its usage event may say. The algorithm is
//! slow and obvious on purpose: it keeps the whole answer, parses all of it, and only then decides. Its rules come from
//! the providers' documentation, one file per dialect in `dialect/`, and from the decisions listed in `README.md`. It
//! shares no code with the filter, so that the two cannot share a mistake.
//!
//! [`generate()`] turns a seed into provider traffic: every dialect, whole and streamed, with the noise, the
//! truncation and the hostile shapes that a gateway meets. [`draw`] also returns the counts that the generator rendered,
//! which the self-tests compare with the judgement.
//!
//! ```
//! let exchange = weir_usage_oracle::generate(7);
//! let expected = weir_usage_oracle::expected(&exchange);
//! // let usage = ...weir's event for the same exchange...;
//! // expected.check(&usage).unwrap();
//! # let _ = expected;
//! ```
#![forbid(unsafe_code)]

mod bounds;
mod dialect;
mod exchange;
mod expected;
mod generate;
mod json;
mod judge;
mod operation;
mod recording;
mod wire;

pub use exchange::{Declared, Dialect, End, Exchange, Header, Request, Response};
pub use expected::{Count, Counts, Expected, Status};
pub use generate::{Generated, Truth, draw, generate};
pub use judge::expected;
pub use recording::{Recording, RecordingError};

//! Says what an exchange with an LLM provider used, so that tests can judge weir's reader.
//!
//! [`expected`] takes a recorded or generated [`Exchange`] and returns what its usage event may say. The algorithm is
//! slow and obvious on purpose: it keeps the whole answer, parses all of it, and only then decides. Its rules come from
//! the providers' documentation, one file per dialect in `dialect/`, and from the decisions listed in `README.md`. It
//! shares no code with the filter, so that the two cannot share a mistake.
#![forbid(unsafe_code)]

mod bounds;
mod dialect;
mod exchange;
mod expected;
mod json;
mod judge;
mod operation;
mod recording;
mod wire;

pub use exchange::{Declared, Dialect, End, Exchange, Header, Request, Response};
pub use expected::{Count, Counts, Expected, Status};
pub use judge::expected;
pub use recording::{Recording, RecordingError};

//! Who takes the right to write to a shared log, and which log is expected.
use crate::Position;
use crate::outside::random;

/// Whether a log that is not there is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Create {
    /// It must be there, under this name.
    Never(String),
    /// If it is not there.
    IfMissing,
    /// It must not be there; it gets this name and this first position.
    As(String, Position),
}

/// Who takes the right to write, and which log is expected.
#[derive(Clone, Debug)]
pub struct Taking {
    /// The taker, the same at each of its starts: a secret of its data directory.
    pub owner: String,
    /// The taker as others read it.
    pub holder: String,
    /// Whether the log is made.
    pub create: Create,
}

/// Draws a log's name: 32 hex digits.
pub(crate) fn random_name() -> Result<String, getrandom::Error> {
    random::<16>().map(hex::encode)
}

//! Validates a body of readings. A person prepared it as a whole, unlike events, which machines produce one by one. So
//! a malformed reading refuses the whole body, to be corrected and sent again. Only a wrong time, which depends on the
//! moment of receipt, refuses a single reading.
use weir_contract::batch::EVENT_MAX_BYTES;

use super::verdict::{EventHasher, Verdict};
use super::{Admission, BatchError, Format, Rejection, check_time, split};
use crate::reading::Reading;

/// Judges the readings of `body`.
pub(super) fn validate(
    format: Format,
    body: &[u8],
    admission: Admission<'_>,
    hasher: &EventHasher,
) -> Result<Vec<Verdict<Reading>>, BatchError> {
    let verdict = |(index, raw): (usize, &[u8])| {
        let wrong = |problem: String| BatchError::Reading { index, problem };
        if raw.len() > EVENT_MAX_BYTES {
            return Err(wrong(Rejection::TooLarge(raw.len()).to_string()));
        }
        let reading = Reading::parse(raw).map_err(|error| wrong(error.to_string()))?;
        let hash = hasher.hash(&reading.canonical());
        let outcome = check_time(reading.time, admission).map(|()| reading);
        Ok(Verdict::new(body, raw, hash, outcome))
    };
    split(format, body)?.into_iter().enumerate().map(verdict).collect()
}

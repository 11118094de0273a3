//! What steps answer, as the protocol says it.
use weir_contract::lease::{Grant, LeaseState, Short};

use crate::RedisLeasesError;

/// What leases that ended without a word still held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lost {
    pub(crate) leases: u64,
    pub(crate) units: u64,
}

/// The answer to a draw or its undoing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Drawn {
    /// What was short.
    pub(crate) short: Option<Short>,
    /// Whole units left.
    pub(crate) level: u64,
}

/// Reads the grant of a lease.
pub(crate) fn grant(lease: u64, numbers: &[i64]) -> Result<(Grant, Lost), RedisLeasesError> {
    let [state, granted, target, level, wait_ms, sharers, leases, units] = counts(numbers)?;
    let state = match state {
        0 => LeaseState::Held,
        1 => LeaseState::Draw,
        2 => LeaseState::Lapsed,
        _ => LeaseState::Refused,
    };
    Ok((Grant { lease, state, granted, target, level, wait_ms, sharers }, Lost { leases, units }))
}

/// Reads the answer to the draw with that index.
pub(crate) fn drawn(index: usize, numbers: &[i64]) -> Result<(Drawn, Lost), RedisLeasesError> {
    let wait_ms = numbers.get(1).and_then(|wait_ms| u64::try_from(*wait_ms).ok());
    let numbers: Vec<i64> = numbers.iter().map(|number| (*number).max(0)).collect();
    let [is_drawn, _, level, leases, units] = counts(&numbers)?;
    let short = (is_drawn == 0).then_some(Short { index, wait_ms });
    Ok((Drawn { short, level }, Lost { leases, units }))
}

fn counts<const N: usize>(numbers: &[i64]) -> Result<[u64; N], RedisLeasesError> {
    let strange = || RedisLeasesError::Refused(format!("its script answers {numbers:?}"));
    let counts: Vec<u64> = numbers.iter().filter_map(|number| u64::try_from(*number).ok()).collect();
    counts.try_into().map_err(|_| strange())
}

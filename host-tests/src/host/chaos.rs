//! A host that fails its guest: hostcalls refuse, give nothing, or answer nonsense, at random and repeatably.
//!
//! A filter has to survive this without a trap. Two calls are spared where no filter built on the Rust SDK could:
//! the SDK unwraps `proxy_set_effective_context` before the filter sees an answer, and panics on every status of
//! `proxy_http_call` but two.

use super::abi::Status;
use super::random::SplitMix64;

/// Bytes of nonsense that a hostcall gives at most; above every fixed-size field that a filter may expect.
const NONSENSE_BYTES_MAX: u64 = 96;

/// Codes that a failing hostcall answers: all that the ABI has, and one that it has not.
const FAILURES: &[u32] = &[
    Status::NotFound as u32,
    Status::BadArgument as u32,
    Status::SerializationFailure as u32,
    Status::ParseFailure as u32,
    Status::InvalidMemoryAccess as u32,
    Status::Empty as u32,
    Status::CasMismatch as u32,
    Status::InternalFailure as u32,
    Status::Unimplemented as u32,
    12_345,
];

/// What happens to a hostcall.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Strike {
    /// It does nothing and answers this code.
    Fails(u32),
    /// It is carried out, and what it hands over is replaced.
    AnswersNonsense,
}

/// How often hostcalls go wrong, and the randomness that decides when.
#[derive(Clone, Debug)]
pub struct Chaos {
    percent: u64,
    random: SplitMix64,
}

impl Chaos {
    /// Of a hundred hostcalls `percent` go wrong; the same ones for the same seed.
    pub fn new(percent: u64, seed: u64) -> Self {
        Self { percent, random: SplitMix64::new(seed) }
    }

    pub(crate) fn strike(&mut self, hostcall: &str) -> Option<Strike> {
        if hostcall == "proxy_set_effective_context" || self.random.below(100) >= self.percent {
            return None;
        }
        if hostcall == "proxy_http_call" {
            return Some(Strike::Fails(Status::InternalFailure as u32));
        }
        let kind = self.random.below(3);
        Some(if kind == 0 { Strike::AnswersNonsense } else { Strike::Fails(self.failure()) })
    }

    fn failure(&mut self) -> u32 {
        let index = self.random.below(FAILURES.len() as u64);
        FAILURES[usize::try_from(index).expect("below the length")]
    }

    /// Bytes instead of those that were asked for; sometimes none.
    pub(crate) fn nonsense(&mut self) -> Vec<u8> {
        let length = self.random.below(NONSENSE_BYTES_MAX);
        self.random.bytes(usize::try_from(length).expect("below the bound"))
    }

    /// A number instead of the right one.
    pub(crate) fn number(&mut self) -> u64 {
        self.random.next_u64()
    }
}

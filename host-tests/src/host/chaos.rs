//! A host that fails its guest: hostcalls refuse, return nothing, or return garbage, at random and repeatably.
//!
//! A filter must survive this without a trap. Two calls are spared, because no filter built on the Rust SDK could
//! survive them: the SDK unwraps `proxy_set_effective_context` before the filter sees an answer, and panics on every
//! status of `proxy_http_call` but two.

use super::abi::Status;
use weir_seeded::SplitMix64;

/// The most bytes of garbage that a hostcall returns; larger than any fixed-size field that a filter may expect.
const NONSENSE_BYTES_MAX: u64 = 96;

/// The codes of failing hostcalls: all of the ABI, and one outside it.
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

/// The fate of a hostcall.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Strike {
    /// It does nothing and returns this code.
    Fails(u32),
    /// It is executed, and its output is replaced.
    AnswersNonsense,
}

/// The rate of failures, and the randomness that picks them.
#[derive(Clone, Debug)]
pub struct Chaos {
    percent: u64,
    random: SplitMix64,
    /// The only hostcall that fails; None: any may.
    only: Option<&'static str>,
}

impl Chaos {
    /// Makes `percent` of a hundred hostcalls fail; the same ones for the same seed.
    pub fn new(percent: u64, seed: u64) -> Self {
        Self { percent, random: SplitMix64::new(seed), only: None }
    }

    /// Makes every call of one hostcall fail, and no other.
    pub fn refusing(hostcall: &'static str) -> Self {
        Self { only: Some(hostcall), ..Self::new(100, 0) }
    }

    pub(crate) fn strike(&mut self, hostcall: &str) -> Option<Strike> {
        if let Some(only) = self.only {
            return (hostcall == only).then_some(Strike::Fails(Status::InternalFailure as u32));
        }
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
        FAILURES[self.random.index(FAILURES.len())]
    }

    /// Random bytes in place of the output; sometimes none.
    pub(crate) fn nonsense(&mut self) -> Vec<u8> {
        let length = self.random.below(NONSENSE_BYTES_MAX);
        self.random.bytes(usize::try_from(length).expect("below the bound"))
    }

    /// A random number in place of the right one.
    pub(crate) fn number(&mut self) -> u64 {
        self.random.next_u64()
    }
}

//! What is known of a lease beside its balance: read and written by calls, and by requests only where the balance is short.
use weir_contract::Timestamp;

use crate::limit::bucket::Level;

const WORDS: usize = 11;

/// The encoded size: 11 numbers of 64 bits.
pub(in crate::limit) const TERMS_BYTES: usize = WORDS * 8;

/// What the process knows of the center, for one lease.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::limit) enum State {
    /// It grants units to hold.
    #[default]
    Held,
    /// The limit is too small to be divided: each request asks.
    Draw,
    /// It does not answer, or has no place for this limit.
    Away,
}

/// The terms of a lease.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::limit) struct Terms {
    /// The lease's number; 0 before it has one.
    pub(super) number: u64,
    /// The epoch of the units granted; 0 before the first answer.
    pub(super) epoch: u64,
    /// Units given back to the center in all.
    pub(super) returned: u64,
    /// The center's time of the last answer that was applied.
    pub(super) heard: u64,
    /// When the last call left.
    pub(super) called: Timestamp,
    /// Until then the center has too little for draws of `dry_cost` and more.
    pub(super) dry_until: Timestamp,
    pub(super) dry_cost: u64,
    /// The share is that part of the limit; 0 for none.
    pub(super) sharers: u64,
    /// When the lease ended whose share may be spent.
    pub(super) share_from: Timestamp,
    /// What the share holds.
    pub(super) share: Level,
    pub(super) state: State,
    /// A call is under way.
    pub(super) is_asked: bool,
    /// Units came back that no call has told of.
    pub(super) is_owing: bool,
}

/// Bits of the last word, beside the state in the lowest two.
const ASKED: u64 = 1 << 2;
const OWING: u64 = 1 << 3;
/// Above them stands the number of sharers. Every request sums the words of its lease, so one fewer counts.
const SHARERS_SHIFT: u32 = 8;
/// The most sharers that are told apart. No limit has a unit for each of so many.
const SHARERS_MAX: u64 = u64::MAX >> SHARERS_SHIFT;

impl Terms {
    /// Milliseconds until the center has enough for a draw, as far as is known; 0: it may have enough now.
    pub(super) fn dry_ms(&self, cost: u64, now: Timestamp) -> u64 {
        if cost < self.dry_cost { 0 } else { self.dry_until.millis_since(now) }
    }

    pub(super) fn encode(&self) -> [u8; TERMS_BYTES] {
        let state = match self.state {
            State::Held => 0,
            State::Draw => 1,
            State::Away => 2,
        };
        let flag = |is_set: bool, bit: u64| if is_set { bit } else { 0 };
        let words = [
            self.number,
            self.epoch,
            self.returned,
            self.heard,
            self.called.as_millis(),
            self.dry_until.as_millis(),
            self.dry_cost,
            self.share_from.as_millis(),
            self.share.nano.cast_unsigned(),
            self.share.at.as_millis(),
            state
                | flag(self.is_asked, ASKED)
                | flag(self.is_owing, OWING)
                | self.sharers.min(SHARERS_MAX) << SHARERS_SHIFT,
        ];
        let mut bytes = [0; TERMS_BYTES];
        let (chunks, _) = bytes.as_chunks_mut::<8>();
        chunks.iter_mut().zip(words).for_each(|(chunk, word)| *chunk = word.to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8; TERMS_BYTES]) -> Self {
        let (chunks, _) = bytes.as_chunks::<8>();
        let mut words = chunks.iter().map(|chunk| u64::from_le_bytes(*chunk));
        let mut word = || words.next().unwrap_or(0);
        let mut terms = Terms {
            number: word(),
            epoch: word(),
            returned: word(),
            heard: word(),
            called: Timestamp::from_millis(word()),
            dry_until: Timestamp::from_millis(word()),
            dry_cost: word(),
            share_from: Timestamp::from_millis(word()),
            share: Level { nano: word().cast_signed(), at: Timestamp::from_millis(word()) },
            ..Terms::default()
        };
        let flags = word();
        terms.sharers = flags >> SHARERS_SHIFT;
        terms.state = match flags & 3 {
            0 => State::Held,
            1 => State::Draw,
            _ => State::Away,
        };
        terms.is_asked = flags & ASKED != 0;
        terms.is_owing = flags & OWING != 0;
        terms
    }
}

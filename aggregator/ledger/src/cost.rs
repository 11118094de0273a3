//! The port through which the ledger learns what an event cost.
//!
//! The ledger knows no prices. It keeps the text of each price book it was given, with the position of the log from which
//! the book applies, so that counting the log again yields the same sums whatever the book says today.
mod quantities;

pub(crate) use quantities::assumes_one_image;
pub use quantities::{BATCH, USUAL_TIERS, quantities};

use std::fmt::Debug;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use weir_contract::{Timestamp, UsageData};

use crate::amount::{Currency, Pico};
use crate::meters::Meters;

/// A unit that a provider can charge for. The token kinds divide input and output into parts that do not overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Input tokens that no other kind holds.
    Input,
    /// Input tokens read from a cache.
    CacheRead,
    /// Input tokens written to a cache.
    CacheWrite,
    /// Input tokens written to a cache that keeps them for an hour.
    #[serde(rename = "cache_write_1h")]
    CacheWrite1h,
    /// Audio in the input.
    AudioInput,
    /// Audio in the input, read from a cache.
    AudioCacheRead,
    /// Images in the input.
    ImageInput,
    /// Images in the input, read from a cache.
    ImageCacheRead,
    /// Video in the input.
    VideoInput,
    /// Output tokens that no other kind holds.
    Output,
    /// Output tokens spent thinking.
    Reasoning,
    /// Audio in the output.
    AudioOutput,
    /// Images in the output.
    ImageOutput,
    /// Video in the output.
    VideoOutput,
    /// Requests.
    Request,
    /// Images made.
    Image,
    /// Searches: of the web, or of documents for a ranking.
    Search,
    /// Pages read.
    Page,
    /// Seconds of audio.
    Second,
    /// Characters spoken.
    Character,
}

impl Kind {
    /// The number of kinds.
    pub const COUNT: usize = 20;

    /// Every kind, in the order of their numbers.
    pub const ALL: [Kind; Kind::COUNT] = [
        Kind::Input,
        Kind::CacheRead,
        Kind::CacheWrite,
        Kind::CacheWrite1h,
        Kind::AudioInput,
        Kind::AudioCacheRead,
        Kind::ImageInput,
        Kind::ImageCacheRead,
        Kind::VideoInput,
        Kind::Output,
        Kind::Reasoning,
        Kind::AudioOutput,
        Kind::ImageOutput,
        Kind::VideoOutput,
        Kind::Request,
        Kind::Image,
        Kind::Search,
        Kind::Page,
        Kind::Second,
        Kind::Character,
    ];

    /// The name in price books, views and the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Input => "input",
            Kind::CacheRead => "cache_read",
            Kind::CacheWrite => "cache_write",
            Kind::CacheWrite1h => "cache_write_1h",
            Kind::AudioInput => "audio_input",
            Kind::AudioCacheRead => "audio_cache_read",
            Kind::ImageInput => "image_input",
            Kind::ImageCacheRead => "image_cache_read",
            Kind::VideoInput => "video_input",
            Kind::Output => "output",
            Kind::Reasoning => "reasoning",
            Kind::AudioOutput => "audio_output",
            Kind::ImageOutput => "image_output",
            Kind::VideoOutput => "video_output",
            Kind::Request => "request",
            Kind::Image => "image",
            Kind::Search => "search",
            Kind::Page => "page",
            Kind::Second => "second",
            Kind::Character => "character",
        }
    }

    /// The kind whose price applies where this one has none.
    pub const fn parent(self) -> Option<Kind> {
        match self {
            Kind::CacheWrite1h => Some(Kind::CacheWrite),
            Kind::AudioCacheRead | Kind::ImageCacheRead => Some(Kind::CacheRead),
            Kind::CacheRead | Kind::CacheWrite | Kind::AudioInput | Kind::ImageInput | Kind::VideoInput => {
                Some(Kind::Input)
            }
            Kind::Reasoning | Kind::AudioOutput | Kind::ImageOutput | Kind::VideoOutput => Some(Kind::Output),
            Kind::Input | Kind::Output => None,
            Kind::Request | Kind::Image | Kind::Search | Kind::Page | Kind::Second | Kind::Character => None,
        }
    }

    /// Returns true for kinds of tokens.
    pub const fn is_token(self) -> bool {
        (self as usize) < Kind::Request as usize
    }
}

/// How many units of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quantities([u64; Kind::COUNT]);

impl Quantities {
    /// The quantity of one kind.
    pub fn get(&self, kind: Kind) -> u64 {
        self.0[kind as usize]
    }

    /// Sets the quantity of one kind.
    pub fn set(&mut self, kind: Kind, quantity: u64) {
        self.0[kind as usize] = quantity;
    }

    /// Adds the quantities of another event.
    pub fn add(&mut self, other: &Quantities) {
        for (sum, quantity) in self.0.iter_mut().zip(other.0) {
            *sum += quantity;
        }
    }

    /// The kinds of which there is something.
    pub fn each(&self) -> impl Iterator<Item = (Kind, u64)> {
        Kind::ALL.into_iter().zip(self.0).filter(|(_, quantity)| *quantity > 0)
    }
}

/// A set of kinds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KindSet(u32);

impl KindSet {
    /// Adds a kind.
    pub fn insert(&mut self, kind: Kind) {
        self.0 |= 1 << kind as u32;
    }

    /// Returns true if the set has the kind.
    pub fn contains(self, kind: Kind) -> bool {
        self.0 & (1 << kind as u32) != 0
    }

    /// The set as a number: a bit for each kind.
    pub fn bits(self) -> u32 {
        self.0
    }

    /// The set of such a number.
    pub(crate) fn of_bits(bits: u32) -> Self {
        KindSet(bits)
    }

    /// Returns true if the set has no kind.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// What an event cost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventCost {
    /// The currency; None if nothing has a price.
    pub currency: Option<Currency>,
    /// What the provider charges for everything that has a price.
    pub cost: Pico,
    /// The units used, by kind.
    pub quantities: Quantities,
    /// The kinds that were used and have no price.
    pub unpriced: KindSet,
    /// The conditions that chose among the prices of the model.
    pub tariff: Tariff,
}

/// The conditions under which a request is charged.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tariff {
    /// The provider's service tier, `batch` for batches; empty for the usual one.
    pub tier: Box<str>,
    /// The size of the input, as the highest of [`CONTEXT_STEPS`] and of the model's own context tiers that it exceeds; 0 for
    /// none.
    pub over: u64,
}

/// Numbers of input tokens above which providers charge more. Sums are kept apart by them, so that they can be priced again
/// by a book with other context tiers.
pub(crate) const CONTEXT_STEPS: [u64; 9] =
    [32_000, 100_000, 128_000, 200_000, 256_000, 272_000, 400_000, 512_000, 1_000_000];

/// The longest name of a service tier that is kept, in bytes.
pub(crate) const TIER_MAX_BYTES: usize = 32;

/// Computes costs. One value is one price book, and never changes.
pub trait Pricing: Debug + Send + Sync {
    /// What the event of `time` cost.
    fn cost(&self, time: Timestamp, data: &UsageData<'_>) -> EventCost;

    /// What the sums of an hour cost, if its events share provider, model and tariff.
    fn cost_of(&self, time: Timestamp, provider: &str, model: &str, tariff: &Tariff, sums: &Quantities) -> EventCost;

    /// The book as text: two books are equal if and only if their texts are.
    fn text(&self) -> &str;
}

/// Reads a book that was kept as text.
pub type BookReader = fn(&str) -> Result<Arc<dyn Pricing>, String>;

/// The prices that a ledger works with.
#[derive(Clone, Debug)]
pub struct Prices {
    /// The book for events from now on. None: their cost is not computed.
    pub book: Option<Arc<dyn Pricing>>,
    /// Reads the books of before.
    pub read: BookReader,
}

/// What a ledger counts by.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The meters.
    pub meters: Meters,
    /// The prices. None: the ledger goes on with those that it knows, and cannot read the books of before.
    pub prices: Option<Prices>,
}

impl From<Meters> for Rules {
    fn from(meters: Meters) -> Self {
        Rules { meters, prices: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_stand_at_their_numbers() {
        for (number, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, number);
            assert_eq!(serde_json::to_value(kind).expect("JSON"), kind.as_str());
        }
        assert!(Kind::VideoOutput.is_token() && !Kind::Request.is_token());
    }

    #[test]
    fn every_chain_of_parents_ends() {
        for kind in Kind::ALL {
            let chain = std::iter::successors(Some(kind), |kind| kind.parent());
            assert!(chain.count() <= 3, "{kind:?}");
        }
    }
}

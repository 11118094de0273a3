//! The valid contents of a usage event about an exchange.

use weir_contract::event::{Usage, UsageStatus};

/// The judgement of one exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// The event has this status and, unless it is `none`, one of these counts.
    Usage {
        /// Which statuses are right.
        status: Status,
        /// The counts that the sources allow; more than one where they leave the choice open.
        one_of: Vec<Counts>,
    },
    /// Neither the providers' documentation nor the project's decisions say what is right; the text says what is open.
    Unspecified(&'static str),
}

/// Which statuses an event may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// `complete`
    Complete,
    /// `estimated`
    Estimated,
    /// `none`
    None,
    /// `estimated` or `none`: only that the numbers are not the provider's is certain.
    NotComplete,
    /// `complete` or `estimated`: the numbers are certain, their standing is not.
    Counted,
    /// `complete` or `none`: a stored answer is billed once, by whichever of its readers comes first.
    CompleteOnce,
}

/// The counts of one reading, named as in the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Every input token, cached ones included.
    pub input_tokens: Count,
    /// Every output token, reasoning included.
    pub output_tokens: Count,
    /// Part of the input: read from a cache.
    pub cache_read_tokens: Count,
    /// Part of the input: written to a cache.
    pub cache_write_tokens: Count,
    /// Part of the output: thinking.
    pub reasoning_tokens: Count,
}

/// What one count may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// This number. Zero also allows an absent count: providers leave out the parts they do not have.
    Exactly(u64),
    /// A number between the two, both included. A lower bound of zero also allows an absent count.
    Between(u64, u64),
    /// Any number, or none.
    Any,
}

impl Expected {
    /// Nothing was used.
    pub(crate) fn none() -> Self {
        Expected::Usage { status: Status::None, one_of: vec![Counts::zero()] }
    }

    /// One reading with one status.
    pub(crate) fn one(status: Status, counts: Counts) -> Self {
        Expected::Usage { status, one_of: vec![counts] }
    }

    /// Compares an event's usage with the judgement; says what differs.
    pub fn check(&self, actual: &Usage) -> Result<(), String> {
        let Expected::Usage { status, one_of } = self else {
            return Ok(());
        };
        if !status.allows(actual.status) {
            return Err(format!("status is {:?}, which {status:?} does not allow; {one_of:?}", actual.status));
        }
        if actual.status == UsageStatus::None {
            return match Counts::zero().differs(actual) {
                None => Ok(()),
                Some(field) => Err(format!("status is none, but {field} is set: {actual:?}")),
            };
        }
        let differences: Vec<_> = one_of.iter().map(|counts| counts.differs(actual)).collect();
        if differences.iter().any(Option::is_none) {
            return Ok(());
        }
        let fields: Vec<_> = differences.into_iter().flatten().collect();
        Err(format!("{} wrong: {actual:?} is none of {one_of:?}", fields.join(", ")))
    }
}

impl Status {
    /// Whether an event may have this status.
    pub fn allows(self, actual: UsageStatus) -> bool {
        use UsageStatus as S;
        match self {
            Status::Complete => actual == S::Complete,
            Status::Estimated => actual == S::Estimated,
            Status::None => actual == S::None,
            Status::NotComplete => matches!(actual, S::Estimated | S::None),
            Status::Counted => matches!(actual, S::Complete | S::Estimated),
            Status::CompleteOnce => matches!(actual, S::Complete | S::None),
        }
    }
}

impl Counts {
    /// Nothing of anything.
    pub(crate) const fn zero() -> Self {
        Counts {
            input_tokens: Count::Exactly(0),
            output_tokens: Count::Exactly(0),
            cache_read_tokens: Count::Exactly(0),
            cache_write_tokens: Count::Exactly(0),
            reasoning_tokens: Count::Exactly(0),
        }
    }

    /// The name of the first count that is wrong.
    fn differs(&self, actual: &Usage) -> Option<&'static str> {
        [
            ("input_tokens", self.input_tokens, actual.input_tokens),
            ("output_tokens", self.output_tokens, actual.output_tokens),
            ("cache_read_tokens", self.cache_read_tokens, actual.cache_read_tokens),
            ("cache_write_tokens", self.cache_write_tokens, actual.cache_write_tokens),
            ("reasoning_tokens", self.reasoning_tokens, actual.reasoning_tokens),
        ]
        .into_iter()
        .find(|(_, count, actual)| !count.allows(*actual))
        .map(|(name, ..)| name)
    }
}

impl Count {
    /// Whether an event may say this.
    pub fn allows(self, actual: Option<u64>) -> bool {
        match (self, actual) {
            (Count::Any, _) | (Count::Exactly(0) | Count::Between(0, _), None) => true,
            (Count::Exactly(_) | Count::Between(..), None) => false,
            (Count::Exactly(right), Some(actual)) => right == actual,
            (Count::Between(low, high), Some(actual)) => (low..=high).contains(&actual),
        }
    }
}

//! What came out of an answer.
use super::provider::Provider;
use super::text::TextWeight;
use weir_contract::{Usage, UsageStatus};

/// Statuses from here on are refusals and failures.
const FIRST_ERROR_STATUS: u16 = 400;

/// How a body ended, as far as the gateway knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyEnd {
    /// The upstream sent all of it.
    Whole,
    /// It was cut off, or nobody can say.
    Cut,
}

/// Whether a body could be looked into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readability {
    /// It could, or there was nothing in it.
    Readable,
    /// Its encoding is not one of those that are read.
    UnknownEncoding,
    /// Its encoding or its frames are broken.
    Corrupt,
    /// It is of no form that carries usage.
    UnknownForm,
}

/// What an answer said of its usage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The numbers. `Complete`: the provider's own final ones. `Estimated`: numbers that came before the answer was
    /// cut off; output may be missing or too small. `None`: no numbers. See [`Reading::settle`].
    pub usage: Usage,
    /// Who answered: as configured, or by the answer's shape.
    pub provider: Option<Provider>,
    /// The provider's id of the answer.
    pub response_id: Option<String>,
    /// The model that answered.
    pub response_model: Option<String>,
    /// The provider's service tier.
    pub service_tier: Option<String>,
    /// The model's words that went by.
    pub text: TextWeight,
    /// Whether the answer came in several documents.
    pub is_stream: bool,
    /// Whether the answer itself says that it is complete.
    pub is_finished: bool,
    /// Whether the provider reported an error, by status or in the body.
    pub has_failed: bool,
    /// Whether the body could be looked into.
    pub readability: Readability,
}

impl Reading {
    /// The usage for the event of a request to a model: the provider's own numbers, and estimates where they are missing.
    ///
    /// `input_estimate` is the estimate from the request, in tokens; it is used only where the provider said nothing.
    /// Nothing was used (`None`) where the provider refused, or failed before it said a word.
    pub fn settle(&self, input_estimate: u64) -> Usage {
        let nothing = self.usage.status == UsageStatus::None && self.text.is_empty();
        if self.usage.status == UsageStatus::Complete || (nothing && self.has_failed) {
            return self.usage.clone();
        }
        let mut usage = self.usage.clone();
        usage.status = UsageStatus::Estimated;
        usage.input_tokens = usage.input_tokens.or(Some(input_estimate));
        usage.output_tokens = Some(usage.output_tokens.unwrap_or(0).max(self.text.tokens()));
        usage
    }

    /// An error's words are no model's.
    pub(crate) fn with_status(mut self, status: u16) -> Self {
        if status >= FIRST_ERROR_STATUS {
            self.has_failed = true;
            self.text = TextWeight::default();
        }
        self
    }
}

//! What came out of an answer.
use super::provider::Provider;
use super::text::TextWeight;
use weir_contract::{Estimate, EstimateMethod, Usage, UsageStatus};

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
    /// Whether it says that the work is not done yet: it is queued, or under way.
    pub is_underway: bool,
    /// Whether the provider keeps the answer, and shows it again to anyone who asks (`background`, a run, a batch).
    pub is_kept: bool,
    /// Whether the output is the provider's last word, even where the input is not known.
    pub is_output_final: bool,
    /// Everything that was used, as the provider adds it up.
    pub total_tokens: Option<u64>,
    /// How many documents the answer had.
    pub documents: u32,
    /// Whether the body could be looked into.
    pub readability: Readability,
}

/// How an exchange ended, as far as an estimate depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The answer came whole.
    Whole,
    /// The client went away, or nobody can say who did.
    Left,
    /// The upstream broke off, or was too slow.
    Broken,
}

/// What a request's input is taken to be where the provider does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InputEstimate {
    /// In tokens.
    pub tokens: u64,
    /// How it was found.
    pub method: EstimateMethod,
}

impl Reading {
    /// The reading of an answer that is not looked into.
    pub fn unread(status: u16) -> Self {
        Reading {
            usage: Usage::default(),
            provider: None,
            response_id: None,
            response_model: None,
            service_tier: None,
            text: TextWeight::default(),
            is_stream: false,
            is_finished: false,
            has_failed: status >= FIRST_ERROR_STATUS,
            is_underway: false,
            is_kept: false,
            is_output_final: false,
            total_tokens: None,
            documents: 0,
            readability: Readability::UnknownForm,
        }
    }

    /// The usage for the event of a request to a model: the provider's own numbers, and estimates where they are missing.
    ///
    /// `input` is used only where the provider said nothing. Nothing was used (`None`) where the work has not begun, and
    /// where the provider refused, failed or fell silent before it said a word; a client that leaves owes its input.
    pub fn settle(&self, input: InputEstimate, ending: Ending) -> Usage {
        if self.usage.status == UsageStatus::Complete {
            return self.usage.clone();
        }
        // A stream's opening may tell the input, and one token of output that is not there yet.
        let silent = self.text.is_empty() && self.usage.output_tokens.unwrap_or(0) <= 1 && !self.is_output_final;
        let unsaid = self.usage.status == UsageStatus::None && self.total_tokens.is_none();
        if self.is_underway
            || (silent && (unsaid || self.has_failed || ending == Ending::Broken) && self.is_nothing(ending))
        {
            return Usage::default();
        }
        self.estimated(input)
    }

    /// The same of an answer whose words are not counted in tokens.
    pub fn without_words(&self) -> Self {
        Reading { text: TextWeight::default(), ..self.clone() }
    }

    /// The usage for the event of a request whose missing numbers are not estimated: what the provider said, final or not.
    pub fn known(&self) -> Usage {
        let said = self.usage.input_tokens.is_some() || self.usage.output_tokens.is_some();
        let mut usage = self.usage.clone();
        match usage.status {
            UsageStatus::Estimated if said && !self.is_underway => {
                let said = EstimateMethod::Provider;
                usage.estimate = Some(Estimate { input: said, output: said });
                usage
            }
            UsageStatus::Estimated => Usage::default(),
            UsageStatus::Complete | UsageStatus::None => usage,
        }
    }

    /// Whether silence means that nothing was used.
    fn is_nothing(&self, ending: Ending) -> bool {
        match ending {
            _ if self.has_failed => true,
            Ending::Left => false,
            Ending::Broken => true,
            Ending::Whole => self.documents == 0 && self.readability == Readability::Readable,
        }
    }

    fn estimated(&self, input: InputEstimate) -> Usage {
        use EstimateMethod::{AnswerText, Provider, Total};
        let mut usage = self.usage.clone();
        usage.status = UsageStatus::Estimated;
        let words = self.text.tokens();
        let total = self
            .total_tokens
            .filter(|total| *total > 0 && usage.input_tokens.is_none() && usage.output_tokens.is_none());
        let (input_method, output_method);
        if let Some(total) = total {
            // Only the split is a guess.
            let input_tokens = input.tokens.min(total.saturating_sub(words.min(total)));
            usage.input_tokens = Some(input_tokens);
            usage.output_tokens = Some(total.saturating_sub(input_tokens));
            (input_method, output_method) = (Total, Total);
        } else {
            input_method = if usage.input_tokens.is_some() { Provider } else { input.method };
            usage.input_tokens = usage.input_tokens.or(Some(input.tokens));
            let said = usage.output_tokens.unwrap_or(0);
            let is_said = self.is_output_final || (said > 0 && said >= words);
            output_method = if is_said { Provider } else { AnswerText };
            usage.output_tokens = Some(if is_said { said } else { words });
        }
        usage.estimate = Some(Estimate { input: input_method, output: output_method });
        usage
    }

    /// An error's words are no model's.
    pub(crate) fn with_status(mut self, status: u16) -> Self {
        if status >= FIRST_ERROR_STATUS {
            self.has_failed = true;
            self.text = TextWeight::default();
            self.usage = Usage::default();
            self.total_tokens = None;
        }
        self
    }
}

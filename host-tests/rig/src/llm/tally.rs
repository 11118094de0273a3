//! The sums on the provider's own invoice, against which tests compare weir's.

use super::Numbers;
use super::book::End;
use std::collections::BTreeMap;

/// Sums over requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Served {
    /// Requests answered to the end.
    pub requests: u64,
    /// Every input token, cached ones included.
    pub input: u64,
    /// Input tokens read from the cache.
    pub cached: u64,
    /// Input tokens written to the cache.
    pub cache_write: u64,
    /// Every output token, reasoning included.
    pub output: u64,
    /// Output tokens spent on reasoning.
    pub reasoning: u64,
    /// Requests answered with an error; they cost nothing.
    pub failed: u64,
    /// Requests whose answer was cut off, here or by the client; their tokens are in no sum.
    pub unfinished: u64,
}

/// Served requests and tokens by tenant (the `x-tenant-id` that arrived) and by model (with its date).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// By tenant; requests without one are under [`super::NO_TENANT`].
    pub tenants: BTreeMap<String, Served>,
    /// By model.
    pub models: BTreeMap<String, Served>,
}

impl Tally {
    /// The sums of one tenant; zeros if it was never seen.
    #[must_use]
    pub fn tenant(&self, tenant: &str) -> Served {
        self.tenants.get(tenant).copied().unwrap_or_default()
    }

    pub(super) fn book(&mut self, bill: &Bill, end: End) {
        end.book(self.tenants.entry(bill.tenant.clone()).or_default(), bill.numbers);
        end.book(self.models.entry(bill.model.clone()).or_default(), bill.numbers);
    }
}

impl End {
    pub(super) fn book(self, served: &mut Served, numbers: Numbers) {
        match self {
            Self::Failed => served.failed += 1,
            Self::Unfinished => served.unfinished += 1,
            Self::Served => {
                served.requests += 1;
                served.input += numbers.input;
                served.cached += numbers.cached;
                served.cache_write += numbers.cache_write;
                served.output += numbers.output;
                served.reasoning += numbers.reasoning;
            }
        }
    }
}

/// Whom an answer is booked on, and for how much.
#[derive(Debug, Clone)]
pub(super) struct Bill {
    pub(super) request_id: String,
    pub(super) tenant: String,
    pub(super) model: String,
    pub(super) numbers: Numbers,
}

impl Bill {
    /// An embedding has no output, and nothing of it is cached.
    pub(super) fn input_only(mut self) -> Self {
        self.numbers = Numbers { input: self.numbers.input, ..Numbers::default() };
        self
    }

    /// OpenAI and Google do not tell what was written to the cache.
    pub(super) fn without_cache_writes(mut self) -> Self {
        self.numbers.cache_write = 0;
        self
    }

    /// Bedrock does not tell what was thought.
    pub(super) fn without_reasoning(mut self) -> Self {
        self.numbers.reasoning = 0;
        self
    }

    /// Reports nothing but input and output.
    pub(super) fn in_and_out_only(mut self) -> Self {
        self.numbers = Numbers { input: self.numbers.input, output: self.numbers.output, ..Numbers::default() };
        self
    }

    /// Answers of APIs other than LLMs have no tokens.
    pub(super) fn nothing(mut self) -> Self {
        self.numbers = Numbers::default();
        self
    }
}

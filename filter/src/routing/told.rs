//! What the two roles of the filter tell each other about one request, through the gateway's state of the stream.
//!
//! All attempts of a request share one header map in Envoy, and what one attempt changes in it the next one finds; the state of
//! the stream is shared as well, and no client reaches it. So what must hold for every attempt stands there.
//!
//! * [`CHOICE`], by the downstream role: the client's dialect and the chosen models, in the order of the chain. The upstream role
//!   knows the models of its configuration by their names; of one that the directory brought it is told all that it needs.
//! * [`GRANTED`], by the upstream role: a further attempt that was drawn from the budget of retries where the one before it failed.
//! * [`ATTEMPTS`], by the upstream role: each attempt with its provider, model and status, and how it failed where the status does
//!   not say so; and behind them that nobody else was tried, where the budget of retries has refused it.
use weir_config::routing::RetryBudget;
use weir_contract::AttemptFailure;
use weir_llm_translate::{Dialect, Thinking};

use super::Model;

/// The state that names the choice.
pub const CHOICE: &str = "weir_choice";

/// The state that lists the attempts.
pub const ATTEMPTS: &str = "weir_attempts";

/// The state that names the last attempt that the budget of retries has granted, by its number.
pub const GRANTED: &str = "weir_granted";

/// What stands behind the attempts where the budget of retries has refused another one. No attempt is written so.
const RETRY_REFUSED: &str = "-";

/// How long a choice usually is, in bytes: a capacity, not a bound.
const CHOICE_BYTES: usize = 96;

/// The longest name of a model at its provider, in bytes, where the upstream role is told of it.
const UPSTREAM_NAME_MAX_BYTES: usize = 256;

/// Whether the upstream role can be told of a model by this name at its provider.
pub(super) fn is_tellable(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_graphic() && byte != b';';
    (1..=UPSTREAM_NAME_MAX_BYTES).contains(&name.len()) && name.bytes().all(fits)
}

/// What the attempts of a request are held to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Terms {
    /// How long each may take until its first byte goes on, in milliseconds, where that is bounded.
    pub(crate) attempt_ms_max: Option<u32>,
    /// What those beyond the first draw from.
    pub(crate) retry_budget: RetryBudget,
    /// The name of the tenant's own keys for them ([`super::handed`]), where one is used.
    pub(crate) keys: Option<u64>,
}

/// Begins a choice: models follow, each by [`add_word`].
pub(crate) fn begin_choice(dialect: Dialect, terms: &Terms) -> String {
    let mut text = String::with_capacity(CHOICE_BYTES);
    text.push_str(match dialect {
        Dialect::OpenAi => "openai",
        Dialect::Anthropic => "anthropic",
    });
    let mut add = |mark: &str, number: u64| {
        text.push_str(mark);
        text.push_str(itoa::Buffer::new().format(number));
    };
    if let Some(ms) = terms.attempt_ms_max {
        add(";t", ms.into());
    }
    if !terms.retry_budget.is_default() {
        add(";p", terms.retry_budget.percent.into());
        add(";f", terms.retry_budget.floor.into());
    }
    if let Some(keys) = terms.keys {
        add(";k", keys);
    }
    text
}

/// Adds a model that the upstream role knows by its name.
pub(crate) fn add_word(choice: &mut String, model: &str) {
    choice.push(' ');
    choice.push_str(model);
}

/// Adds a model that the upstream role has not in its configuration.
pub(super) fn add_in_full(choice: &mut String, model: &Model, provider: &str) {
    let thinking = match model.thinking {
        Thinking::Never => "never",
        Thinking::Budget => "budget",
        Thinking::Effort => "effort",
    };
    let Model { name, upstream, output_max_tokens, samples, .. } = model;
    let word = format!("{name};{provider};{upstream};{output_max_tokens};{thinking};{}", u8::from(*samples));
    add_word(choice, &word);
}

/// Reads such a word: the provider, and the model as far as the upstream role needs it.
pub(crate) fn read_in_full(word: &str) -> Option<(&str, Model)> {
    let mut parts = word.split(';');
    let (name, provider, upstream) = (parts.next()?, parts.next()?, parts.next()?);
    let output_max_tokens = parts.next()?.parse().ok()?;
    let thinking = match parts.next()? {
        "budget" => Thinking::Budget,
        "effort" => Thinking::Effort,
        _ => Thinking::Never,
    };
    let samples = parts.next()? == "1";
    Some((provider, Model::told(name, upstream, output_max_tokens, (thinking, samples))))
}

/// A choice as the upstream role reads it.
pub(crate) struct Choice<I> {
    /// The client's dialect.
    pub(crate) dialect: Dialect,
    /// What attempts are held to.
    pub(crate) terms: Terms,
    /// The models' words.
    pub(crate) models: I,
}

/// Reads a choice.
pub(crate) fn read_choice(text: &str) -> Option<Choice<impl Iterator<Item = &str> + Clone>> {
    let mut models = text.split(' ');
    let mut first = models.next()?.split(';');
    let dialect = match first.next()? {
        "openai" => Dialect::OpenAi,
        "anthropic" => Dialect::Anthropic,
        _ => return None,
    };
    let mut terms = Terms::default();
    for part in first {
        let (mark, number) = part.split_at_checked(1)?;
        match mark {
            "t" => terms.attempt_ms_max = Some(number.parse().ok()?),
            "p" => terms.retry_budget.percent = number.parse().ok()?,
            "f" => terms.retry_budget.floor = number.parse().ok()?,
            "k" => terms.keys = Some(number.parse().ok()?),
            _ => return None,
        }
    }
    Some(Choice { dialect, terms, models })
}

/// How one attempt went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempted<'a> {
    /// The provider.
    pub provider: &'a str,
    /// The model, by its name in the catalogue.
    pub model: &'a str,
    /// The provider's status; None where no answer came: it could not be reached, or broke off.
    pub status: Option<u16>,
    /// `Retry-After`, in seconds.
    pub retry_after_secs: Option<u64>,
    /// How it failed, where the status does not say so.
    pub failure: Option<AttemptFailure>,
}

impl Attempted<'_> {
    /// How it failed, if it did in a way that speaks against the provider.
    pub fn failure(&self) -> Option<AttemptFailure> {
        self.failure.or(match self.status {
            None => Some(AttemptFailure::Unanswered),
            Some(429) => Some(AttemptFailure::RateLimited),
            Some(503 | 529) => Some(AttemptFailure::Overloaded),
            Some(500..) => Some(AttemptFailure::ServerError),
            Some(_) => None,
        })
    }

    pub(crate) fn is_failure(&self) -> bool {
        self.failure().is_some()
    }

    /// Whether the provider has answered about the account whose key the attempt had, and said nothing of itself: its limit is used up,
    /// or its key refused.
    pub(crate) fn is_about_account(&self) -> bool {
        match self.failure() {
            None => matches!(self.status, Some(401..=403)),
            failure => failure == Some(AttemptFailure::RateLimited),
        }
    }

    pub(crate) fn write(&self, out: &mut String) {
        let number = |number: Option<u64>| number.map(|number| number.to_string()).unwrap_or_default();
        let (status, wait) = (number(self.status.map(u64::from)), number(self.retry_after_secs));
        if !out.is_empty() {
            out.push(' ');
        }
        for part in [self.provider, ";", self.model, ";", &status, ";", &wait] {
            out.push_str(part);
        }
        if let Some(failure) = self.failure {
            out.push(';');
            out.push_str(failure.as_str());
        }
    }
}

/// Why the last attempt of a request got no answer, by what the gateway says of the request's end (Envoy's
/// `response.code_details`).
pub(crate) fn failure_of_details(details: &[u8]) -> Option<AttemptFailure> {
    let says = |needle: &str| memchr::memmem::find(details, needle.as_bytes()).is_some();
    match () {
        () if says("connection_timeout")
            || says("connection_failure")
            || says("connect_error")
            || says("no_healthy") =>
        {
            Some(AttemptFailure::Unreachable)
        }
        () if says("timeout") => Some(AttemptFailure::Silent),
        () if says("upstream_reset") => Some(AttemptFailure::Reset),
        () => None,
    }
}

/// Adds that the budget of retries has refused another attempt.
pub(crate) fn refuse_retry(text: &mut String) {
    text.push(' ');
    text.push_str(RETRY_REFUSED);
}

/// Whether the budget of retries has refused another attempt.
pub(crate) fn is_retry_refused(text: &str) -> bool {
    text.rsplit(' ').next() == Some(RETRY_REFUSED)
}

/// Reads the attempts, in their order.
pub fn attempts(text: &str) -> impl Iterator<Item = Attempted<'_>> + Clone {
    text.split(' ').filter_map(|word| {
        let mut parts = word.split(';');
        let (provider, model, status, wait) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let failure =
            parts.next().and_then(|word| AttemptFailure::ALL.into_iter().find(|known| known.as_str() == word));
        Some(Attempted { provider, model, status: status.parse().ok(), retry_after_secs: wait.parse().ok(), failure })
    })
}

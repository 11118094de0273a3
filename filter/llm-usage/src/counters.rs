//! The counts of one usage object in the provider's terms, and their translation to weir's.
use std::collections::BTreeMap;

/// The most further counts kept of one answer, beside the known ones. Providers send about ten; the rest is dropped.
pub(crate) const DETAILS_MAX: usize = 32;

/// A count that several providers report, under different names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    /// All input tokens, cached ones included: `prompt_tokens`, `promptTokenCount`, `prompt_eval_count`.
    Prompt,
    /// `input_tokens`: with cached ones (OpenAI Responses) or without (Anthropic, Bedrock), see [`Counters::input`].
    Input,
    /// Bedrock's `inputTokens`, which leaves cached ones out whatever the total says.
    InputBeside,
    /// `completion_tokens`, `eval_count`, …
    Completion,
    /// `output_tokens`, `outputTokens`, …
    Output,
    /// Reasoning tokens that the output excludes: Gemini's `thoughtsTokenCount`.
    Thoughts,
    /// Reasoning tokens that the output includes: `reasoning_tokens`.
    Reasoning,
    /// Input tokens that the prompt excludes: Gemini's `toolUsePromptTokenCount`.
    ToolPrompt,
    /// Tokens read from a cache, as part of the prompt: `cached_tokens`.
    CacheRead,
    /// Tokens written to a cache, as part of the prompt.
    CacheWrite,
    /// Tokens read from a cache, not included in `input_tokens`: `cache_read_input_tokens`.
    CacheReadApart,
    /// Tokens written to a cache, not included in `input_tokens`: `cache_creation_input_tokens`.
    CacheWriteApart,
    /// The provider's total: `total_tokens`.
    Total,
    /// Cohere's `billed_units.input_tokens`.
    BilledInput,
    /// Cohere's `billed_units.output_tokens`.
    BilledOutput,
    /// The sum over those of Anthropic's `iterations` that are no messages of `input_tokens`, which leave cached ones out; and
    /// of the other three counts.
    IterationsInput,
    IterationsOutput,
    IterationsCacheRead,
    IterationsCacheWrite,
    /// Snowflake's guardrails: what a guard reads, beside prompt and completion.
    Guard,
}

const FIELDS: usize = 20;

/// What may stand beside a prompt's own count and within the total.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct BesidePrompt {
    /// Tokens of audio, images and video.
    pub(crate) media: [u64; 3],
    /// There was audio, of which only the seconds are told.
    pub(crate) audio_seconds: bool,
}

impl Field {
    /// What iterations count.
    pub(crate) const ITERATIONS: [Field; 4] =
        [Field::IterationsInput, Field::IterationsOutput, Field::IterationsCacheRead, Field::IterationsCacheWrite];

    const fn bit(self) -> u32 {
        1 << (self as u32)
    }
}

/// The known counts of one usage object, or of a whole stream, where the last value of each field counts.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counters {
    values: [u64; FIELDS],
    present: u32,
    /// True if a known count held no valid count (negative, fractional, too large).
    unreadable: bool,
}

impl Counters {
    pub(crate) fn set(&mut self, field: Field, value: Option<u64>) {
        match (value, self.values.get_mut(field as usize)) {
            (Some(value), Some(slot)) => {
                *slot = value;
                self.present |= field.bit();
            }
            _ => {
                self.present &= !field.bit();
                self.unreadable = true;
            }
        }
    }

    /// Clears one count: its member was `null`.
    pub(crate) fn unset(&mut self, field: Field) {
        self.present &= !field.bit();
    }

    /// Adds to a count that arrives in parts, one per prediction.
    pub(crate) fn add(&mut self, field: Field, value: Option<u64>) {
        self.set(field, value.map(|value| value.saturating_add(self.get(field).unwrap_or(0))));
    }

    pub(crate) fn get(&self, field: Field) -> Option<u64> {
        if self.present & field.bit() == 0 { None } else { self.values.get(field as usize).copied() }
    }

    pub(crate) fn has(&self, field: Field) -> bool {
        self.present & field.bit() != 0
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.present == 0 && !self.unreadable
    }

    /// Clears every count.
    pub(crate) fn clear(&mut self) {
        (self.present, self.unreadable) = (0, false);
    }

    /// Returns true if every known count was valid.
    pub(crate) fn is_readable(&self) -> bool {
        !self.unreadable
    }

    /// Whether no count is more than zero: there is none, or they are placeholders.
    pub(crate) fn is_zero(&self) -> bool {
        !self.unreadable
            && self.values.iter().zip(0u32..).all(|(value, bit)| self.present & (1 << bit) == 0 || *value == 0)
    }

    /// Takes over what `later` holds, member by member; but a zero never replaces a positive count.
    pub(crate) fn update(&mut self, later: &Counters) {
        for ((slot, value), bit) in self.values.iter_mut().zip(later.values).zip(0u32..) {
            let placeholder = value == 0 && *slot > 0 && self.present & (1 << bit) != 0;
            if later.present & (1 << bit) != 0 && !placeholder {
                *slot = value;
            }
        }
        self.present |= later.present;
        self.unreadable = later.unreadable;
    }

    /// Becomes `later`, a whole snapshot; but a zero never replaces a positive count of prompt or output.
    pub(crate) fn replace(&mut self, later: &Counters) {
        let earlier = std::mem::replace(self, *later);
        for field in [Field::Prompt, Field::Input, Field::InputBeside, Field::Completion, Field::Output] {
            if self.get(field) == Some(0)
                && let Some(positive) = earlier.get(field)
            {
                self.set(field, Some(positive));
            }
        }
    }

    /// Takes over the final numbers of whoever measured the call. What was said before of the same things is gone; of caches
    /// it stays where these leave them out.
    pub(crate) fn conclude(&mut self, last: &Counters) {
        let rivals = [
            Field::Prompt,
            Field::Input,
            Field::Completion,
            Field::Output,
            Field::Total,
            Field::IterationsInput,
            Field::IterationsOutput,
        ];
        rivals.into_iter().for_each(|field| self.unset(field));
        self.update(last);
    }

    /// Input and output in weir's terms: every input token, every output token. `beside`: what may stand beside the prompt.
    pub(crate) fn input_and_output(&self, beside: &BesidePrompt) -> (Option<u64>, Option<u64>) {
        let (input, output) = (self.input(), self.output());
        let Some(total) = self.get(Field::Total) else { return (input, output) };
        match (input, output) {
            (Some(input), None) => (Some(input), total.checked_sub(input).filter(|rest| *rest > 0)),
            (None, Some(output)) => (total.checked_sub(output), Some(output)),
            (Some(input), Some(output)) => {
                let rest = total.saturating_sub(input.saturating_add(output));
                let more = if rest > 0 { self.rest_of_input(rest, beside) } else { 0 };
                (Some(input.saturating_add(more)), Some(output.saturating_add(rest.saturating_sub(more))))
            }
            (None, None) => (None, None),
        }
    }

    /// How much of the rest of a total is input: what caches, the prompt's details or a guard explain. Where reasoning
    /// explains what they leave over, that is output, and so is a rest that nothing explains.
    fn rest_of_input(&self, rest: u64, beside: &BesidePrompt) -> u64 {
        let count = |field| self.get(field).unwrap_or(0);
        let read = count(Field::CacheRead).max(count(Field::CacheReadApart));
        let written = count(Field::CacheWrite).max(count(Field::CacheWriteApart));
        let media = beside.media.iter().fold(0, |sum: u64, tokens| sum.saturating_add(*tokens));
        let [audio, image, video] = beside.media;
        let caches = read.saturating_add(written);
        let explained =
            [caches, read, written, media, audio, image, video, media.saturating_add(caches), count(Field::Guard)];
        let reasoning = count(Field::Reasoning);
        let found =
            |with: u64| explained.iter().copied().find(|part| *part > 0 && part.checked_add(with) == Some(rest));
        if let Some(part) = found(0) {
            part
        } else if reasoning == rest {
            0
        } else if let Some(part) = found(reasoning) {
            part
        } else if beside.audio_seconds {
            rest
        } else {
            0
        }
    }

    fn input(&self) -> Option<u64> {
        let prompt = self.get(Field::Prompt).or_else(|| {
            let counted = match (self.get(Field::InputBeside), self.get(Field::Input)) {
                (Some(input), _) => input.saturating_add(self.cache_apart()),
                (None, input) => self.input_with_cache(input?),
            };
            Some(counted.saturating_add(self.iterations_input()))
        });
        let prompt = prompt.or_else(|| self.get(Field::BilledInput))?;
        Some(prompt.saturating_add(self.get(Field::ToolPrompt).unwrap_or(0)))
    }

    fn input_with_cache(&self, input: u64) -> u64 {
        let apart = self.cache_apart();
        if self.total_includes_cache(input, apart) { input } else { input.saturating_add(apart) }
    }

    fn cache_apart(&self) -> u64 {
        self.sum(&[Field::CacheReadApart, Field::CacheWriteApart])
    }

    /// What the samplings read that the request's own counts leave out.
    fn iterations_input(&self) -> u64 {
        self.sum(&[Field::IterationsInput, Field::IterationsCacheRead, Field::IterationsCacheWrite])
    }

    fn sum(&self, fields: &[Field]) -> u64 {
        fields.iter().fold(0, |sum, field| sum.saturating_add(self.get(*field).unwrap_or(0)))
    }

    /// Returns true if the provider's total shows that `input_tokens` includes the cached ones.
    fn total_includes_cache(&self, input: u64, apart: u64) -> bool {
        let total = self.get(Field::Total);
        apart <= input && total.is_some() && total == self.output().map(|output| input.saturating_add(output))
    }

    fn output(&self) -> Option<u64> {
        let with = |field, more| Some(self.get(field)?.saturating_add(self.get(more).unwrap_or(0)));
        let stated = self.get(Field::Completion).or_else(|| with(Field::Output, Field::IterationsOutput));
        let stated = stated.or_else(|| self.get(Field::BilledOutput));
        let thoughts = self.get(Field::Thoughts);
        if stated.is_none() && thoughts.is_none() {
            return None;
        }
        let output = stated.unwrap_or(0).saturating_add(thoughts.unwrap_or(0));
        // More reasoning than output: the output cannot include it.
        let apart = self.get(Field::Reasoning).filter(|reasoning| *reasoning > output);
        Some(output.saturating_add(apart.unwrap_or(0)))
    }

    /// Cached tokens are within the input after all: an operator's word on a service of another fashion.
    pub(crate) fn include_cache(&mut self) {
        for (apart, within) in [(Field::CacheReadApart, Field::CacheRead), (Field::CacheWriteApart, Field::CacheWrite)]
        {
            if let Some(value) = self.get(apart) {
                self.set(within, Some(value));
                self.unset(apart);
            }
        }
    }

    pub(crate) fn cache_read(&self) -> Option<u64> {
        self.get(Field::CacheRead).or_else(|| self.either(Field::CacheReadApart, Field::IterationsCacheRead))
    }

    pub(crate) fn cache_write(&self) -> Option<u64> {
        self.get(Field::CacheWrite).or_else(|| self.either(Field::CacheWriteApart, Field::IterationsCacheWrite))
    }

    /// The sum of two counts; None where there is neither.
    fn either(&self, one: Field, other: Field) -> Option<u64> {
        (self.has(one) || self.has(other)).then(|| self.sum(&[one, other]))
    }

    pub(crate) fn reasoning(&self) -> Option<u64> {
        self.get(Field::Reasoning).or_else(|| self.get(Field::Thoughts))
    }
}

/// Further counts of a provider, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Details(BTreeMap<String, u64>);

impl Details {
    /// Sets one count. Beyond [`DETAILS_MAX`] names, new ones are dropped.
    pub(crate) fn set(&mut self, name: &str, value: u64) {
        if let Some(slot) = self.0.get_mut(name) {
            *slot = value;
        } else if self.0.len() < DETAILS_MAX {
            self.0.insert(name.to_owned(), value);
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<u64> {
        self.0.get(name).copied()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Overwrites counts with those that `later` has.
    pub(crate) fn update(&mut self, later: &mut Details) {
        for (name, value) in std::mem::take(&mut later.0) {
            self.set(&name, value);
        }
    }

    pub(crate) fn into_map(self) -> BTreeMap<String, u64> {
        self.0
    }
}

//! The counts of one usage object in the provider's terms, and their translation to weir's.
use std::collections::BTreeMap;

/// The most further counts kept of one answer, beside the known ones. Providers send about ten; the rest is dropped.
pub(crate) const DETAILS_MAX: usize = 32;
/// The longest name of such a count, in bytes; longer names are dropped.
pub(crate) const DETAIL_NAME_MAX_BYTES: usize = 48;

/// A count that several providers report, under different names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    /// All input tokens, cached ones included: `prompt_tokens`, `promptTokenCount`, `prompt_eval_count`.
    Prompt,
    /// `input_tokens`: with cached ones (OpenAI Responses) or without (Anthropic, Bedrock), see [`Counters::input`].
    Input,
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
    /// The sum of `input_tokens`, without cached ones, over Anthropic's `iterations`. The next three sum the other
    /// counts.
    IterationsInput,
    IterationsOutput,
    IterationsCacheRead,
    IterationsCacheWrite,
}

const FIELDS: usize = 18;

impl Field {
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

    /// Overwrites counts with those that `later` has: in a stream the last value of each field counts.
    pub(crate) fn update(&mut self, later: &Counters) {
        for ((slot, value), bit) in self.values.iter_mut().zip(later.values).zip(0u32..) {
            if later.present & (1 << bit) != 0 {
                *slot = value;
            }
        }
        self.present |= later.present;
        self.unreadable = later.unreadable;
    }

    /// All input tokens and all output tokens, in weir's terms.
    pub(crate) fn input_and_output(&self) -> (Option<u64>, Option<u64>) {
        let (input, output) = (self.input(), self.output());
        let Some(total) = self.get(Field::Total) else { return (input, output) };
        match (input, output) {
            (Some(input), None) => (Some(input), total.checked_sub(input).filter(|rest| *rest > 0)),
            (None, Some(output)) => (total.checked_sub(output), Some(output)),
            (Some(input), Some(output)) => (Some(input), Some(output.max(total.saturating_sub(input)))),
            (None, None) => (None, None),
        }
    }

    fn input(&self) -> Option<u64> {
        let prompt = self.get(Field::Prompt).or_else(|| {
            let input = self.get(Field::Input)?;
            let apart = self.cache_apart();
            let counted = if self.total_includes_cache(input, apart) { input } else { input.saturating_add(apart) };
            Some(counted.max(self.iterations_input()))
        });
        let prompt = prompt.or_else(|| self.get(Field::BilledInput))?;
        Some(prompt.saturating_add(self.get(Field::ToolPrompt).unwrap_or(0)))
    }

    fn cache_apart(&self) -> u64 {
        self.sum(&[Field::CacheReadApart, Field::CacheWriteApart])
    }

    /// The input of all samplings of a request; at least the request's own count.
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
        let stated =
            self.get(Field::Completion).or_else(|| self.get(Field::Output).max(self.get(Field::IterationsOutput)));
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

    pub(crate) fn cache_read(&self) -> Option<u64> {
        self.get(Field::CacheRead).or_else(|| self.get(Field::CacheReadApart).max(self.get(Field::IterationsCacheRead)))
    }

    pub(crate) fn cache_write(&self) -> Option<u64> {
        self.get(Field::CacheWrite)
            .or_else(|| self.get(Field::CacheWriteApart).max(self.get(Field::IterationsCacheWrite)))
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

/// A detail's name under construction: lower case with underscores, whatever the provider's style.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Name {
    bytes: [u8; DETAIL_NAME_MAX_BYTES],
    len: usize,
}

impl Name {
    pub(crate) const EMPTY: Name = Name { bytes: [0; DETAIL_NAME_MAX_BYTES], len: 0 };

    /// Turns `audio_tokens` or `audioTokens` into `audio_tokens`, or with an infix such as `_input_` into
    /// `audio_input_tokens`. Empty for a name with other characters, or one that is too long.
    pub(crate) fn new(key: &[u8], infix: &str) -> Self {
        let mut name = Name::EMPTY;
        let (stem, tail) = match key.strip_suffix(b"_tokens") {
            Some(stem) if !infix.is_empty() => (stem, &b"tokens"[..]),
            _ if infix.is_empty() => (key, &[][..]),
            _ => (key, &b"tokens"[..]),
        };
        let parts = [stem, infix.as_bytes(), tail];
        let whole = parts.iter().flat_map(|part| part.iter()).try_for_each(|byte| name.push(*byte));
        if whole.is_none() { Name::EMPTY } else { name }
    }

    /// Turns `AUDIO` into `audio`.
    pub(crate) fn lower(word: &[u8]) -> Self {
        let mut name = Name::EMPTY;
        let whole = word.iter().try_for_each(|byte| name.push(byte.to_ascii_lowercase()));
        if whole.is_none() { Name::EMPTY } else { name }
    }

    fn push(&mut self, byte: u8) -> Option<()> {
        match byte {
            b'A'..=b'Z' if self.len > 0 => {
                self.push_raw(b'_')?;
                self.push_raw(byte.to_ascii_lowercase())
            }
            b'A'..=b'Z' => self.push_raw(byte.to_ascii_lowercase()),
            b'a'..=b'z' | b'0'..=b'9' | b'_' => self.push_raw(byte),
            _ => None,
        }
    }

    fn push_raw(&mut self, byte: u8) -> Option<()> {
        *self.bytes.get_mut(self.len)? = byte;
        self.len = self.len.saturating_add(1);
        Some(())
    }

    /// The name; None when it is empty.
    pub(crate) fn get(&self) -> Option<&str> {
        let name = std::str::from_utf8(self.bytes.get(..self.len)?).ok()?;
        Some(name).filter(|name| !name.is_empty())
    }
}

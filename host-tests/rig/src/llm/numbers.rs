//! How many tokens a request costs: a pure function of its body.

use serde_json::Value;

/// What one completion used, in the terms of the usage event: `cached` and `cache_write` are parts of `input`,
/// `reasoning` is a part of `output`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Numbers {
    /// Every input token.
    pub input: u64,
    /// Input tokens read from the provider's cache.
    pub cached: u64,
    /// Input tokens written to the provider's cache.
    pub cache_write: u64,
    /// Every output token.
    pub output: u64,
    /// Output tokens spent on reasoning.
    pub reasoning: u64,
}

/// Without a cap in the request, one choice has from 1 to this many output tokens.
const OUTPUT_MAX: u64 = 240;

impl Numbers {
    /// The numbers of the completion that `body` asks for.
    ///
    /// A token is four bytes of text; a message costs four more. Half of a long prompt is in the cache, in steps of 64,
    /// as OpenAI's cache grows in steps. The output follows from a hash of the text, is held to the cap, and counts once
    /// per choice (`n`). Reasoning models spend half of it on reasoning.
    #[must_use]
    pub fn of(body: &Value) -> Self {
        let mut text = Text::default();
        for field in ["system", "messages", "input", "prompt", "contents"] {
            text.add(&body[field]);
        }
        let messages = body["messages"].as_array().map_or(0, Vec::len) as u64;
        let input = 3 + 4 * messages + text.bytes.div_ceil(4);
        let cached = (input / 2) / 64 * 64;
        let cache_write = if text.cache_control { (input - cached) / 2 } else { 0 };
        let cap = ["max_completion_tokens", "max_tokens"].iter().find_map(|field| body[*field].as_u64());
        let choice = (1 + text.hash % OUTPUT_MAX).min(cap.unwrap_or(OUTPUT_MAX));
        let output = choice * body["n"].as_u64().unwrap_or(1).max(1);
        let reasons = body["model"].as_str().is_some_and(|model| model.starts_with('o') || model.starts_with("gpt-5"));
        Self { input, cached, cache_write, output, reasoning: if reasons { output / 2 } else { 0 } }
    }

    /// The same with exactly `output` output tokens, when given.
    #[must_use]
    pub(crate) fn with_output(self, output: Option<u64>) -> Self {
        output.map_or(self, |output| Self { output, reasoning: self.reasoning.min(output), ..self })
    }
}

/// What matters of the text in a body: how long it is, and a hash (FNV-1a) of it.
#[derive(Debug)]
struct Text {
    bytes: u64,
    hash: u64,
    cache_control: bool,
}

impl Default for Text {
    fn default() -> Self {
        Self { bytes: 0, hash: 0xcbf2_9ce4_8422_2325, cache_control: false }
    }
}

impl Text {
    /// Takes the text out of a string, a content part, a message, or a list of them.
    fn add(&mut self, value: &Value) {
        match value {
            Value::String(text) => {
                self.bytes += text.len() as u64;
                for byte in text.bytes() {
                    self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| self.add(item)),
            Value::Object(fields) => {
                self.cache_control |= fields.contains_key("cache_control");
                ["content", "text", "parts"]
                    .iter()
                    .filter_map(|field| fields.get(*field))
                    .for_each(|item| self.add(item));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_same_request_always_costs_the_same() {
        let body = json!({"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}]});
        assert_eq!(Numbers::of(&body), Numbers::of(&body));
        assert_eq!(Numbers::of(&body).input, 3 + 4 + 2);
    }

    #[test]
    fn content_parts_count_as_their_text() {
        let plain = json!({"messages": [{"content": "hello"}]});
        let parts = json!({"messages": [{"content": [{"type": "text", "text": "hello"}]}]});
        assert_eq!(Numbers::of(&plain), Numbers::of(&parts));
    }

    #[test]
    fn the_cap_holds_for_each_choice() {
        let body = json!({"messages": [{"content": "a long story"}], "max_tokens": 1, "n": 3});
        assert_eq!(Numbers::of(&body).output, 3);
    }

    #[test]
    fn half_of_a_long_prompt_is_cached() {
        let body = json!({"messages": [{"content": "x".repeat(4096)}]});
        let numbers = Numbers::of(&body);
        assert_eq!((numbers.input, numbers.cached), (1031, 512));
    }
}

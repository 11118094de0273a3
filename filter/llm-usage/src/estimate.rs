//! Estimates tokens that nobody counted: the client left, the upstream broke off, or the provider says nothing.
//!
//! **Method.** A token is taken to be 4½ ASCII letters or spaces, 2¼ digits, 1⅔ other ASCII characters; 2¼ letters of the
//! scripts that UTF-8 writes in two bytes, 2½ of those of India and Thailand, 1⅓ of what else it writes in three bytes,
//! half an emoji. Digits and punctuation are what tells code, tool arguments and markup, which have more tokens than their
//! length tells, from prose. How good it is, `make estimate` measures; `docs/usage.md` shows it. All arithmetic is in whole
//! numbers, and the sum over characters does not depend on how text is cut.
//!
//! **Output** is estimated from the model's words that passed by ([`TextWeight`]), including thinking and tool
//! arguments if they are sent. Thinking that a provider does not send is invisible.
//!
//! **Input** is estimated from the request: from its texts if the body was read ([`input_tokens`]), otherwise from
//! its size ([`input_tokens_of_bytes`]). Images, audio and files are not text: see [`TEXT_MAX_BYTES`].
use super::text::TextWeight;

/// Tokens that a provider adds to any conversation for roles and separators.
pub const OVERHEAD_TOKENS: u64 = 8;
/// How many bytes of an unread body count as text: 1 MB, a context of 230,000 tokens. A larger body carries images or
/// files, which cost far fewer tokens than bytes.
pub const TEXT_MAX_BYTES: u64 = 1_000_000;
/// Bytes of a request's JSON per token: names, braces and quotes take bytes but are no tokens.
const BYTES_PER_TOKEN: u64 = 5;

/// The input tokens of a request, from the texts in it.
pub fn input_tokens(text: TextWeight) -> u64 {
    text.tokens().saturating_add(OVERHEAD_TOKENS)
}

/// The input tokens of a request, from its body's size alone.
pub fn input_tokens_of_bytes(body_bytes: u64) -> u64 {
    if body_bytes == 0 {
        return 0;
    }
    body_bytes.min(TEXT_MAX_BYTES).div_ceil(BYTES_PER_TOKEN).saturating_add(OVERHEAD_TOKENS)
}

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
//! **Input** is estimated from the texts in the request, whether its body was held or weighed as it passed by
//! ([`input_tokens`]). Bytes that nobody has looked at are never priced as text: a picture of a megabyte costs 1,120 tokens.
use super::text::TextWeight;

/// Tokens that a provider adds to any conversation for roles and separators.
pub const OVERHEAD_TOKENS: u64 = 8;
/// The most that a body is taken to be before anything of it is seen, in tokens: about a picture, or 6 KB of text. It is
/// only reserved, and put right at the request's end.
pub const UNSEEN_MAX_TOKENS: u64 = 1_200;
/// Bytes of a request's JSON per token: names, braces and quotes take bytes but are no tokens.
const BYTES_PER_TOKEN: u64 = 5;

/// The input tokens of a request, from the texts in it.
pub fn input_tokens(text: TextWeight) -> u64 {
    text.tokens().saturating_add(OVERHEAD_TOKENS)
}

/// What to reserve for the input of a request of which only the size is known.
pub fn unseen_tokens(body_bytes: u64) -> u64 {
    if body_bytes == 0 {
        return 0;
    }
    body_bytes.div_ceil(BYTES_PER_TOKEN).min(UNSEEN_MAX_TOKENS).saturating_add(OVERHEAD_TOKENS)
}

//! Tokens where nobody counted them: the client went away, the upstream broke off, the provider says nothing.
//!
//! **Method.** A token is taken to be 4½ ASCII letters or spaces, 2¼ digits, 1⅔ other ASCII characters; 2¼ letters of the
//! scripts that UTF-8 writes in two bytes, 2½ of those of India and Thailand, 1⅓ of what else it writes in three bytes,
//! half an emoji. Digits and punctuation are what tells code, tool arguments and markup, which have more tokens than their
//! length tells, from prose. How good it is, `make estimate` measures; `docs/usage.md` shows it. All arithmetic is in whole
//! numbers, and the sum over characters does not depend on how text is cut.
//!
//! **Output** is estimated from the model's words that went by ([`TextWeight`]), thinking and tool arguments included where
//! they are sent. What a provider thinks and does not send cannot be seen.
//!
//! **Input** is estimated from the request: from the texts in it where its body was read ([`input_tokens`]), else from
//! its size ([`input_tokens_of_bytes`]). Images, audio and files are not text: see [`TEXT_MAX_BYTES`].
use super::text::TextWeight;

/// Tokens that a provider adds around a conversation whatever is in it, for roles and separators.
pub const OVERHEAD_TOKENS: u64 = 8;
/// Of a request whose body was not read, how many bytes are taken to be text: 1 MB, a context of 230,000 tokens. What is
/// larger carries images or files, which cost far less tokens than bytes.
pub const TEXT_MAX_BYTES: u64 = 1_000_000;
/// Bytes of a request's JSON to a token: names, braces and quotes weigh too, and are no tokens.
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

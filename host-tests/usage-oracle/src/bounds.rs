//! Between which counts an estimate may lie.
//!
//! A token stands for at least one byte of text, so bytes bound tokens from above. Binary data weighs nothing, and an
//! image its fixed price, wherever it stands; unseen bytes are never priced as text.

use crate::exchange::Request;
use crate::expected::Count;
use crate::json::Json;

/// The most tokens for which a picture may be estimated. Providers charge 85 to about 1,600 for one picture.
const IMAGE_MAX_TOKENS: u64 = 2_000;
/// What templates around the messages of one request may add, in tokens.
const OVERHEAD_MAX_TOKENS: u64 = 1_024;

/// Bounds of the estimated input: something where there is a body.
pub(crate) fn input(request: &Request) -> Count {
    let least = u64::from(!request.body.is_empty());
    let multipart = request.header("content-type").is_some_and(|kind| kind.starts_with("multipart/"));
    // The fields beside a file are names and numbers; the file itself weighs nothing.
    let most = if multipart { OVERHEAD_MAX_TOKENS } else { text_weight(&request.body) };
    Count::Between(least.min(most), most)
}

/// The most that a body's text can weigh, in tokens.
pub(crate) fn text_weight(body: &[u8]) -> u64 {
    let (binary_bytes, pieces) = Json::parse(body).map_or((0, 0), |document| document.binary());
    (body.len() as u64).saturating_sub(binary_bytes) + pieces * IMAGE_MAX_TOKENS + OVERHEAD_MAX_TOKENS
}

//! Bodies of answers, up to a bound: whoever answers may go on for ever.
use reqwest::Response;

/// The longest answer to something that was sent, in bytes: a meter event or an error has some hundreds.
pub(super) const SENT_MAX_BYTES: usize = 64 * 1024;
/// The longest answer to a question, in bytes: a page of a hundred subscriptions, each with twenty items, has some megabytes.
pub(super) const ASKED_MAX_BYTES: usize = 16 * 1024 * 1024;

/// The body; none if it is longer than `max_bytes`.
pub(super) async fn read(mut response: Response, max_bytes: usize) -> Result<Option<Vec<u8>>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > max_bytes {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}

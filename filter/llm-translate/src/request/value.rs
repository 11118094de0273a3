//! Values that requests have in common.
use std::borrow::Cow;

use weir_llm_usage::json::tree::{Id, Kind, Tree};

use crate::unfit::Unfit;

/// A string's text.
pub(super) fn text<'b>(tree: &Tree<'b>, value: Option<Id>, place: &'static str) -> Result<Cow<'b, str>, Unfit> {
    value.and_then(|value| tree.text(value)).ok_or(Unfit::malformed(place, "it must be a text"))
}

/// A string as it is written, quotes included.
pub(super) fn quoted<'b>(tree: &Tree<'b>, value: Option<Id>, place: &'static str) -> Result<&'b [u8], Unfit> {
    let value = value.filter(|value| tree.kind(*value) == Some(Kind::String));
    value.map(|value| tree.raw(value)).ok_or(Unfit::malformed(place, "it must be a text"))
}

/// What stands between the quotes.
pub(super) fn inner(quoted: &[u8]) -> &[u8] {
    quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default()
}

/// Whether a string, as it is written, has white space only.
pub(super) fn is_blank(quoted: &[u8]) -> bool {
    let mut rest = inner(quoted);
    loop {
        rest = match rest {
            [] => return true,
            [b' ', behind @ ..] | [b'\\', b'n' | b'r' | b't', behind @ ..] => behind,
            _ => return false,
        }
    }
}

/// A count.
pub(super) fn count(tree: &Tree<'_>, value: Id, place: &'static str) -> Result<u64, Unfit> {
    let digits = std::str::from_utf8(tree.raw(value)).ok();
    digits.and_then(|digits| digits.parse().ok()).ok_or(Unfit::malformed(place, "it must be a count"))
}

/// `true` or `false`; absent is `false`.
pub(super) fn flag(tree: &Tree<'_>, value: Option<Id>, place: &'static str) -> Result<bool, Unfit> {
    match value.map(|value| tree.kind(value)) {
        None => Ok(false),
        Some(Some(Kind::Bool(flag))) => Ok(flag),
        Some(_) => Err(Unfit::malformed(place, "it must be true or false")),
    }
}

/// Checks that a value is a number.
pub(super) fn number(tree: &Tree<'_>, value: Option<Id>, place: &'static str) -> Result<(), Unfit> {
    match value.map(|value| tree.kind(value)) {
        None | Some(Some(Kind::Number)) => Ok(()),
        Some(_) => Err(Unfit::malformed(place, "it must be a number")),
    }
}

/// A data URL's media type and data, if it is in base64.
pub(super) fn data_url(url: &str) -> Option<(&str, &str)> {
    let (kind, data) = url.strip_prefix("data:")?.split_once(',')?;
    let media_type = kind.strip_suffix(";base64")?;
    Some((media_type.split(';').next().unwrap_or_default(), data))
}

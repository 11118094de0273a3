//! Flags as one structured dictionary (RFC 8941, section 3.2): `use-claude, tone="short", retries=3, share=0.25, beta=?0`.
use super::{FlagValue, Flags};

/// The longest dictionary, in bytes. Members that would exceed it are left out, from the first such on.
pub(crate) const DICTIONARY_MAX_BYTES: usize = 1_024;

/// Writes flags with their values.
pub fn write<'f>(members: impl Iterator<Item = (&'f str, &'f FlagValue)>) -> String {
    let mut text = String::new();
    for (name, value) in members {
        let end = text.len();
        push(&mut text, name, value);
        if text.len() > DICTIONARY_MAX_BYTES {
            text.truncate(end);
            break;
        }
    }
    text
}

fn push(text: &mut String, name: &str, value: &FlagValue) {
    if !text.is_empty() {
        text.push_str(", ");
    }
    text.push_str(name);
    match value {
        FlagValue::Bool(true) => {}
        FlagValue::Bool(false) => text.push_str("=?0"),
        FlagValue::Integer(_) | FlagValue::Thousandths(_) => {
            text.push('=');
            text.push_str(&value.to_string());
        }
        FlagValue::Text(value) => {
            text.push_str("=\"");
            for letter in value.chars() {
                if matches!(letter, '"' | '\\') {
                    text.push('\\');
                }
                text.push(letter);
            }
            text.push('"');
        }
    }
}

/// The members of a structured dictionary (RFC 8941, section 3.2) of bare items, each with its value as written; a name alone is true.
/// Ends where the text
/// is none.
pub fn members(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.*".contains(&byte);
        let end = rest.bytes().position(|byte| !is_name(byte)).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        if name.is_empty() {
            return None;
        }
        let (value, after) = match after.strip_prefix('=') {
            Some(after) => after.split_at(item_end(after)),
            None => ("?1", after),
        };
        rest =
            after.trim_start_matches([' ', '\t']).strip_prefix(',').unwrap_or_default().trim_start_matches([' ', '\t']);
        Some((name, value))
    })
}

/// Where an item ends: behind the closing quote of a string, else before the next comma.
fn item_end(text: &str) -> usize {
    if !text.starts_with('"') {
        return text.find([',', ' ']).unwrap_or(text.len());
    }
    let mut escaped = false;
    let closing = text.bytes().skip(1).position(|byte| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    });
    closing.map_or(text.len(), |at| at + 2)
}

/// The bytes of the longest dictionary that these flags can make.
pub(super) fn longest(flags: &Flags) -> usize {
    let member = |name: &str, value: &FlagValue| {
        let mut text = String::from(" ");
        push(&mut text, name, value);
        text.len()
    };
    let longest = |name: &str, flag: &super::Flag| {
        let values = std::iter::once(&flag.default).chain(flag.rules.iter().map(|rule| &rule.value));
        values.map(|value| member(name, value)).max().unwrap_or(0)
    };
    flags.iter().map(|(name, flag)| longest(name, flag)).sum()
}

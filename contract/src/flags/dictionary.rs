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

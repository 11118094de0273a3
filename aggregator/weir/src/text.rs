//! Text that others chose, made fit to be shown.

/// Whether a terminal does something else with a character than show it: control characters, and those that change the order
/// in which text is read (Unicode Standard Annex 9, section 2).
pub(crate) fn is_obeyed(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// `text` with everything escaped that a terminal would obey, line ends among it.
pub(crate) fn visible(text: &str) -> String {
    escaped(text, is_obeyed)
}

/// `text` with the characters escaped of which `is_escaped` says so.
pub(crate) fn escaped(text: &str, is_escaped: impl Fn(char) -> bool) -> String {
    if !text.contains(&is_escaped) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if is_escaped(c) { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

//! Text that others chose, made fit to be shown.

/// Whether a terminal does something else with a character than show it: control characters, and those that change the order
/// in which text is read (Unicode Standard Annex 9, section 2).
pub(crate) fn is_obeyed(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Whether nothing is seen of a character: two texts that differ in it alone look alike.
pub(crate) fn is_unseen(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// Whether a text looks like a word of ASCII letters in lower case: it is that word, in letters of other scripts that look the same.
pub(crate) fn looks_like(text: &str, word: &str) -> bool {
    let plain = text.trim().chars().map(|c| match c.to_lowercase().next().unwrap_or(c) {
        'ԝ' | 'ѡ' | 'ա' | 'ᴡ' | 'ｗ' | 'ω' => 'w',
        'е' | 'ҽ' | 'ｅ' | '℮' | 'ε' | 'ᴇ' => 'e',
        'і' | 'ı' | 'ι' | 'ｉ' | 'ꭵ' | 'ɪ' | 'l' | '1' | '|' | 'ӏ' => 'i',
        'г' | 'ᴦ' | 'ｒ' | 'ⲅ' | 'ꮁ' | 'ʀ' => 'r',
        other => other,
    });
    plain.eq(word.chars())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_in_letters_that_look_the_same_is_known() {
        for like in ["weir", " Weir ", "wеir", "ｗｅｉｒ", "WEІR", "welr"] {
            assert!(looks_like(like, "weir"), "{like:?}");
        }
        for other in ["weird", "wei", "Weiß", "where", ""] {
            assert!(!looks_like(other, "weir"), "{other:?}");
        }
        assert!("we\u{200b}ir".contains(is_unseen) && !"Zoë Weir-Łoś, 王".contains(is_unseen));
    }
}

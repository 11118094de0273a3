//! Where words begin and end.
//!
//! A word is a run of letters, digits and `_`. Scripts that are written without spaces, or that join particles to a
//! name (Chinese, Japanese, Korean, Thai, Lao, Khmer, Burmese), have no such runs: each of their characters counts as a
//! word of its own, so that a name is found inside a sentence.

/// The role of a character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It joins with its neighbours to a word.
    Letter,
    /// It is a word of its own.
    Ideograph,
    /// It separates words.
    Gap,
}

/// The role of a character.
pub fn role(character: char) -> Role {
    match character {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '_' => Role::Letter,
        '\0'..='\x7f' => Role::Gap,
        _ if !character.is_alphanumeric() => Role::Gap,
        '\u{0e00}'..='\u{0eff}' | '\u{1000}'..='\u{109f}' | '\u{1100}'..='\u{11ff}' | '\u{1780}'..='\u{17ff}' => {
            Role::Ideograph
        }
        '\u{2e80}'..='\u{a4cf}' | '\u{a960}'..='\u{a97f}' | '\u{ac00}'..='\u{d7ff}' => Role::Ideograph,
        '\u{f900}'..='\u{faff}' | '\u{ff66}'..='\u{ffdc}' | '\u{20000}'..='\u{3ffff}' => Role::Ideograph,
        _ => Role::Letter,
    }
}

/// The letters of ASCII words, in lower case, and 0 for every other byte.
const ASCII_LETTERS: [u8; 256] = ascii_letters();

#[allow(clippy::indexing_slicing, reason = "it runs in the compiler")]
const fn ascii_letters() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        if byte.is_ascii_alphanumeric() || byte == b'_' {
            table[byte as usize] = byte.to_ascii_lowercase();
        }
        byte += 1;
    }
    table
}

/// The lower case of an ASCII letter of a word; None for any other byte.
#[inline]
pub(crate) fn ascii_letter(byte: u8) -> Option<u8> {
    ASCII_LETTERS.get(usize::from(byte)).copied().filter(|letter| *letter != 0)
}

/// The role of the last character of `text` if that is one of ASCII.
pub(crate) fn last(text: &[u8]) -> Option<Role> {
    text.last().filter(|byte| byte.is_ascii()).map(|byte| role(char::from(*byte)))
}

/// What stands in front of a text.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Before {
    /// The role of the last character; None where nothing stands there.
    pub(crate) role: Option<Role>,
    /// The last two bytes.
    bytes: [u8; 2],
}

impl Before {
    /// What stands in front of the byte at `end` of a text that stands behind this.
    pub(crate) fn behind(self, text: &[u8], end: usize) -> Self {
        let text = text.get(..end).unwrap_or(text);
        let bytes = [2, 1].map(|back| self.byte(text, text.len(), back));
        // Characters of several bytes end with none of ASCII, so that only they need be read from the front.
        if let Some(role) = last(text) {
            return Before { role: Some(role), bytes };
        }
        let (mut at, mut role) = (0, self.role);
        while let Some((found, length)) = text.get(at..).and_then(first) {
            (at, role) = (at.saturating_add(length), Some(found));
        }
        Before { role, bytes }
    }

    /// Whether an escape may end in front of the byte at `at`, so that a word may begin there: a text may be JSON itself, as the
    /// arguments of a tool are, and `\nglobex` in it a line break and a name.
    pub(crate) fn ends_escape(self, text: &[u8], at: usize) -> bool {
        matches!(self.byte(text, at, 1), b'n' | b't' | b'r' | b'b' | b'f') && self.byte(text, at, 2) == b'\\'
    }

    /// Whether a backslash stands in front of the byte at `at`.
    pub(crate) fn ends_backslash(self, text: &[u8], at: usize) -> bool {
        self.byte(text, at, 1) == b'\\'
    }

    /// The byte that stands `back` (1 or 2) before the one at `at`; 0 where none does.
    fn byte(self, text: &[u8], at: usize, back: usize) -> u8 {
        let byte = match at.checked_sub(back) {
            Some(at) => text.get(at),
            None => self.bytes.get(self.bytes.len().saturating_add(at).saturating_sub(back)),
        };
        byte.copied().unwrap_or(0)
    }
}

/// Whether a word ends between two neighbours, or begins there.
pub fn is_border(before: Option<Role>, behind: Option<Role>) -> bool {
    !matches!((before, behind), (Some(Role::Letter), Some(Role::Letter)))
}

/// Whether a word ends between two neighbours.
pub(crate) fn is_word_end(before: Option<Role>, behind: Option<Role>) -> bool {
    before.is_some_and(|role| role != Role::Gap) && is_border(before, behind)
}

/// The first character of `text` and its length. A byte that is not UTF-8 is a gap of one byte.
pub(crate) fn first(text: &[u8]) -> Option<(Role, usize)> {
    let byte = *text.first()?;
    if byte.is_ascii() {
        return Some((role(char::from(byte)), 1));
    }
    let length = match byte {
        0xc0..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf7 => 4,
        _ => 1,
    };
    let character = text.get(..length).and_then(|bytes| std::str::from_utf8(bytes).ok()?.chars().next());
    Some(character.map_or((Role::Gap, 1), |character| (role(character), length)))
}

/// How many bytes at the end of `text` are an unfinished character.
pub(crate) fn unfinished(text: &[u8]) -> usize {
    for back in 1..=3_usize.min(text.len()) {
        let Some(byte) = text.len().checked_sub(back).and_then(|at| text.get(at)) else { return 0 };
        let length = match byte {
            0x80..=0xbf => continue,
            0xc0..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf7 => 4,
            _ => 1,
        };
        return if length > back { back } else { 0 };
    }
    0
}

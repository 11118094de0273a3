//! Finds the identifiers in a piece of text whose end may not be there yet.
use std::ops::Range;

use crate::identifiers::{Identifiers, Owner, START, step};
use crate::words::{Role, ascii_letter, first, is_border, is_escape, is_word_end};

/// An occurrence, or several that overlap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Match {
    pub(crate) range: Range<usize>,
    /// Whose identifier the first of them is.
    pub(crate) owner: Owner,
}

/// What is looked for, and for whom.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Search<'i> {
    pub(crate) identifiers: &'i Identifiers,
    /// The tenant whose answer it is. Its own identifiers stay.
    pub(crate) own: Option<Owner>,
}

/// What begins at a word.
enum Word {
    /// Nothing does.
    Nothing,
    /// An identifier of so many bytes, and no longer one.
    Identifier(usize, Owner),
    /// It depends on the text to come.
    Open,
}

impl Search<'_> {
    /// Adds the matches in `text` to `found`, in order. `before`: the character in front of it. `ends`: no text follows.
    /// Returns where the first word begins that may become an identifier with the text to come; the matches up to there
    /// are all that begin there.
    pub(crate) fn run(&self, text: &[u8], before: Option<Role>, ends: bool, found: &mut Vec<Match>) -> usize {
        let (mut at, mut previous) = (0, before);
        loop {
            (at, previous) = self.pass_plain(text, at, previous);
            let Some((role, length)) = text.get(at..).and_then(first) else { return text.len() };
            if !role.is_gap() && is_border(previous, Some(role)) {
                let behind_escape =
                    text.get(at).filter(|letter| previous == Some(Role::Backslash) && is_escape(**letter));
                let starts = [Some(at), behind_escape.map(|_| at.saturating_add(1))];
                for start in starts.into_iter().flatten() {
                    if start == text.len() && !ends {
                        return at;
                    }
                    match self.word(text.get(start..).unwrap_or_default(), ends) {
                        Word::Open => return at,
                        Word::Identifier(length, owner) => add(found, start..start.saturating_add(length), owner),
                        Word::Nothing => {}
                    }
                }
            }
            (at, previous) = (at.saturating_add(length), Some(role));
        }
    }

    /// Whether an identifier stands in a text.
    pub(crate) fn is_in(&self, text: &[u8]) -> bool {
        let mut found = Vec::new();
        self.run(text, None, true, &mut found);
        !found.is_empty()
    }

    /// Passes ASCII gaps and words that no identifier begins with, so that few words are looked at character by character.
    fn pass_plain(&self, text: &[u8], from: usize, before: Option<Role>) -> (usize, Option<Role>) {
        let (mut at, mut previous) = (from, before);
        while let Some(byte) = text.get(at) {
            let is_letter = ascii_letter(*byte).is_some();
            match (is_letter, previous) {
                (false, _) if !byte.is_ascii() => break,
                (false, _) => {
                    let role = if *byte == b'\\' { Role::Backslash } else { Role::Gap };
                    (at, previous) = (at.saturating_add(1), Some(role));
                }
                // Nothing begins inside a word.
                (true, Some(Role::Letter)) => at = at.saturating_add(1),
                (true, Some(Role::Backslash)) if is_escape(*byte) => break,
                (true, _) => {
                    let (hash, behind) = word_hash(text, at);
                    let is_whole = text.get(behind).is_none_or(u8::is_ascii);
                    if !is_whole || self.identifiers.may_begin(hash) {
                        break;
                    }
                    (at, previous) = (behind, Some(Role::Letter));
                }
            }
        }
        (at, previous)
    }

    /// Looks at what begins with the word that `text` begins with.
    fn word(&self, text: &[u8], ends: bool) -> Word {
        let (mut hash, mut at, mut before, mut found) = (START, 0, None, Word::Nothing);
        // Behind an escape there may be no word at all.
        if !text.is_empty() && text.first().is_some_and(|byte| byte.is_ascii() && ascii_letter(*byte).is_none()) {
            return found;
        }
        let mut is_first_word = true;
        loop {
            let next = text.get(at..).and_then(first);
            if next.is_none() && !ends {
                let is_open = !is_first_word || self.identifiers.may_begin(hash);
                return if is_open { Word::Open } else { found };
            }
            let role = next.map(|(role, _)| role);
            if is_word_end(before, role) {
                let Some(beginning) = self.identifiers.beginning(hash) else { return found };
                let whole = text.get(..at).filter(|_| beginning.is_whole());
                let owner = whole.and_then(|whole| self.identifiers.foreign(beginning, whole, self.own));
                if let Some(owner) = owner {
                    found = Word::Identifier(at, owner);
                }
                if !beginning.goes_on {
                    return found;
                }
                is_first_word = false;
            }
            let Some((role, length)) = next else { return found };
            let end = at.saturating_add(length);
            hash = text.get(at..end).unwrap_or_default().iter().fold(hash, |hash, byte| step(hash, *byte));
            (at, before) = (end, Some(role));
        }
    }
}

/// The hash of the ASCII word that begins at `from`, and where it ends.
fn word_hash(text: &[u8], from: usize) -> (u64, usize) {
    let (mut hash, mut at) = (START, from);
    while let Some(letter) = text.get(at).and_then(|byte| ascii_letter(*byte)) {
        (hash, at) = (step(hash, letter), at.saturating_add(1));
    }
    (hash, at)
}

/// Adds a match, or lengthens the last one that it overlaps.
fn add(found: &mut Vec<Match>, range: Range<usize>, owner: Owner) {
    match found.last_mut() {
        Some(last) if range.start < last.range.end => last.range.end = last.range.end.max(range.end),
        _ => found.push(Match { range, owner }),
    }
}

//! Finds the identifiers in a piece of text whose end may not be there yet.
use std::ops::Range;

use crate::identifiers::{Identifiers, Owner, START, step};
use crate::words::{Before, Role, ascii_letter, first, is_border, is_word_end};

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

/// What the names of tenants in vector stores begin with.
const IN_STORES: &[u8] = b"tenant_";
/// The longest name of a tenant there, in bytes: an id of 128 bytes, each of them escaped.
const NAME_MAX_BYTES: usize = 3 * 128;

/// The tenant of a name in a vector store: `z` begins an escape of two hex digits (`names::prefix` of the guard).
fn tenant_in_store(name: &[u8]) -> Option<String> {
    let mut tenant = Vec::with_capacity(name.len());
    let mut rest = name.iter();
    while let Some(byte) = rest.next() {
        let mut digit = || char::from(*rest.next()?).to_digit(16);
        tenant.push(match byte {
            b'z' => u8::try_from(digit()? << 4 | digit()?).ok()?,
            byte => *byte,
        });
    }
    String::from_utf8(tenant).ok().filter(|tenant| !tenant.is_empty())
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
    /// Adds the matches in `text` to `found`, in order. `before`: what stands in front of it. `ends`: no text follows.
    /// Returns where the first word begins that may become an identifier with the text to come; the matches up to there
    /// are all that begin there.
    pub(crate) fn run(&self, text: &[u8], before: Before, ends: bool, found: &mut Vec<Match>) -> usize {
        let (mut at, mut previous) = (0, before.role);
        loop {
            (at, previous) = self.pass_plain(text, at, before, previous);
            let Some((role, length)) = text.get(at..).and_then(first) else { return text.len() };
            if role != Role::Gap && (is_border(previous, Some(role)) || before.ends_escape(text, at)) {
                let rest = text.get(at..).unwrap_or_default();
                let word = match self.word(rest, ends) {
                    Word::Nothing => self.name_in_store(rest, ends),
                    word => word,
                };
                match word {
                    Word::Open => return at,
                    Word::Identifier(length, owner) => add(found, at..at.saturating_add(length), owner),
                    Word::Nothing => {}
                }
            }
            (at, previous) = (at.saturating_add(length), Some(role));
        }
    }

    /// Whether an identifier stands in a text.
    pub(crate) fn is_in(&self, text: &[u8]) -> bool {
        let mut found = Vec::new();
        self.run(text, Before::default(), true, &mut found);
        !found.is_empty()
    }

    /// Passes ASCII gaps and words that no identifier begins with, so that few words are looked at character by character.
    fn pass_plain(&self, text: &[u8], from: usize, before: Before, previous: Option<Role>) -> (usize, Option<Role>) {
        let (mut at, mut previous) = (from, previous);
        while let Some(byte) = text.get(at) {
            let is_letter = ascii_letter(*byte).is_some();
            match (is_letter, previous) {
                (false, _) if !byte.is_ascii() => break,
                (false, _) => (at, previous) = (at.saturating_add(1), Some(Role::Gap)),
                // Nothing begins inside a word, but behind an escape.
                (true, Some(Role::Letter)) if before.ends_escape(text, at) => break,
                (true, Some(Role::Letter)) => at = at.saturating_add(1),
                (true, _) if before.ends_backslash(text, at) || may_be_in_store(text.get(at..)) => break,
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

    /// Looks for a tenant as it is called in vector stores that weir guards: `tenant_globex_docs` is one word, and names it.
    fn name_in_store(&self, text: &[u8], ends: bool) -> Word {
        if !may_be_in_store(Some(text)) {
            return Word::Nothing;
        }
        let rest = text.get(IN_STORES.len()..).unwrap_or_default();
        let is_plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let length = rest.iter().position(|byte| !is_plain(byte)).unwrap_or(rest.len());
        if length == rest.len() {
            let is_open = !ends && length <= NAME_MAX_BYTES;
            return if is_open { Word::Open } else { Word::Nothing };
        }
        let name = rest.get(..length).filter(|_| rest.get(length) == Some(&b'_')).and_then(tenant_in_store);
        let owner = name.and_then(|name| self.identifiers.owner(&name)).filter(|owner| Some(*owner) != self.own);
        let end = IN_STORES.len().saturating_add(length);
        owner.map_or(Word::Nothing, |owner| Word::Identifier(end, owner))
    }

    /// Looks at what begins with the word that `text` begins with.
    fn word(&self, text: &[u8], ends: bool) -> Word {
        let (mut hash, mut at, mut before, mut found) = (START, 0, None, Word::Nothing);
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

/// Whether a text begins as the names of tenants in a vector store do, or may once more of it comes.
fn may_be_in_store(text: Option<&[u8]>) -> bool {
    let Some(text @ [b't', ..]) = text else { return false };
    text.iter().zip(IN_STORES).all(|(one, other)| one == other)
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

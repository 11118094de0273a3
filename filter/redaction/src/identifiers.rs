//! What is looked for.
//!
//! An identifier is a row of words. The index holds the hash of each of its beginnings that ends with a word, so a search
//! walks from word to word with one look-up each, however many identifiers begin alike. A beginning of
//! a first word is in a Bloom filter: whether the last, unfinished word of a piece of text may become an identifier.
//!
//! This is not the automaton of the `aho-corasick` crate: that one is built whole and anew whenever a tenant changes,
//! takes several times the memory, and does not tell how much of the text's end may still become a match.
use hashbrown::HashTable;

use weir_contract::directory::IDENTIFIER_MAX_BYTES;

use crate::words::{Role, first, is_word_end};

/// The longest identifier that is taken, in bytes.
const IDENTIFIER_MAX: u8 = IDENTIFIER_MAX_BYTES as u8;
/// The most identifiers. Further ones are not taken.
pub const IDENTIFIERS_MAX: usize = 200_000;
/// Bits of the Bloom filter. With 10,000 identifiers it errs once in a hundred words.
const BLOOM_BITS: u64 = 1 << 20;
/// Stands for no entry.
const NONE: u32 = u32::MAX;

/// A tenant in an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner(u32);

/// What became of an identifier that was to be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// It is looked for.
    Taken,
    /// Without the gaps around it, it is shorter than the least length.
    TooShort,
    /// It is longer than [`IDENTIFIER_MAX_BYTES`].
    TooLong,
    /// There are [`IDENTIFIERS_MAX`] already.
    Full,
}

/// A beginning of identifiers that ends with a word.
#[derive(Clone, Copy, Debug)]
struct Node {
    hash: u64,
    /// The identifier that ends here, or [`NONE`].
    entry: u32,
    /// Some identifier goes on behind it.
    goes_on: bool,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    at: u32,
    length: u8,
    owner: u32,
    /// The same identifier of another owner, or [`NONE`].
    next: u32,
}

#[derive(Clone, Copy, Debug)]
struct OwnerRow {
    at: u32,
    length: u32,
    /// How many of its identifiers were not taken.
    left_out: u32,
    /// It is gone, or has been added anew: its identifiers are no longer looked for.
    is_gone: bool,
}

/// The identifiers of all tenants. What is removed stays in memory unused: build it anew now and then.
pub struct Identifiers {
    least_bytes: usize,
    /// How often they have changed.
    version: u64,
    /// How many identifiers of all owners were not taken.
    left_out: usize,
    texts: Vec<u8>,
    entries: Vec<Entry>,
    nodes: HashTable<Node>,
    bloom: Box<[u64]>,
    names: Vec<u8>,
    owners: Vec<OwnerRow>,
    by_name: HashTable<u32>,
}

impl std::fmt::Debug for Identifiers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identifiers").field("entries", &self.entries.len()).finish_non_exhaustive()
    }
}

impl Identifiers {
    /// An empty index. Identifiers shorter than `least_bytes` are not taken: short ones are words of any text.
    pub fn new(least_bytes: usize) -> Self {
        Identifiers {
            least_bytes,
            version: 0,
            left_out: 0,
            texts: Vec::new(),
            entries: Vec::new(),
            nodes: HashTable::new(),
            bloom: vec![0; usize::try_from(BLOOM_BITS / 64).unwrap_or(0)].into_boxed_slice(),
            names: Vec::new(),
            owners: Vec::new(),
            by_name: HashTable::new(),
        }
    }

    /// Adds an identifier of a tenant. Gaps around it do not count.
    pub fn add(&mut self, owner: &str, identifier: &str) -> Added {
        let Some(found) = self.owner_or_new(owner) else { return Added::Full };
        let added = self.add_of(found, identifier);
        if added != Added::Taken
            && let Some(row) = usize::try_from(found.0).ok().and_then(|at| self.owners.get_mut(at))
        {
            row.left_out = row.left_out.saturating_add(1);
            self.left_out = self.left_out.saturating_add(1);
        }
        added
    }

    fn add_of(&mut self, Owner(owner): Owner, identifier: &str) -> Added {
        let text = identifier.trim_matches(|character| crate::words::role(character) == Role::Gap);
        if text.is_empty() || text.len() < self.least_bytes {
            return Added::TooShort;
        }
        let Ok(length @ ..=IDENTIFIER_MAX) = u8::try_from(text.len()) else { return Added::TooLong };
        let (Ok(at), Ok(new)) = (u32::try_from(self.texts.len()), u32::try_from(self.entries.len())) else {
            return Added::Full;
        };
        if self.entries.len() >= IDENTIFIERS_MAX {
            return Added::Full;
        }
        self.version = self.version.wrapping_add(1);
        self.texts.extend(text.bytes().map(fold));
        let next = self.insert_beginnings(text.as_bytes(), new);
        self.entries.push(Entry { at, length, owner, next });
        Added::Taken
    }

    /// Looks no longer for what a tenant owns. It may be added anew, with other identifiers.
    pub fn remove(&mut self, owner: &str) {
        let Some(found @ Owner(at)) = self.owner(owner) else { return };
        self.version = self.version.wrapping_add(1);
        if let Ok(entry) = self.by_name.find_entry(hash_of(owner.as_bytes()), |known| *known == found.0) {
            entry.remove();
        }
        if let Some(row) = usize::try_from(at).ok().and_then(|at| self.owners.get_mut(at)) {
            row.is_gone = true;
            self.left_out = self.left_out.saturating_sub(usize::try_from(row.left_out).unwrap_or(usize::MAX));
        }
    }

    /// The tenant of that name; None if it owns nothing here.
    pub fn owner(&self, name: &str) -> Option<Owner> {
        let found =
            self.by_name.find(hash_of(name.as_bytes()), |at| self.owner_name(Owner(*at)) == Some(name.as_bytes()))?;
        Some(Owner(*found))
    }

    /// The name of a tenant.
    pub fn name(&self, owner: Owner) -> Option<&str> {
        std::str::from_utf8(self.owner_name(owner)?).ok()
    }

    /// How many identifiers there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// How many identifiers of those known now are not looked for: too short, too long, or more than there is room for.
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    /// Whether nothing is looked for.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The bytes that it takes on the heap, about.
    pub fn bytes(&self) -> usize {
        self.texts
            .capacity()
            .saturating_add(self.entries.capacity().saturating_mul(size_of::<Entry>()))
            .saturating_add(self.nodes.allocation_size())
            .saturating_add(self.bloom.len().saturating_mul(8))
            .saturating_add(self.names.capacity())
            .saturating_add(self.owners.capacity().saturating_mul(size_of::<OwnerRow>()))
            .saturating_add(self.by_name.allocation_size())
    }

    /// How often they have changed: what was found before holds for as long as this stays.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// What is known of a beginning that ends with a word.
    pub(crate) fn beginning(&self, hash: u64) -> Option<Beginning> {
        let node = self.nodes.find(hash, |node| node.hash == hash)?;
        Some(Beginning { entry: node.entry, goes_on: node.goes_on })
    }

    /// The first owner of the identifier at a beginning, if it is this text. `own` owning it, too, hides it.
    pub(crate) fn foreign(&self, beginning: Beginning, text: &[u8], own: Option<Owner>) -> Option<Owner> {
        let (mut at, mut found) = (beginning.entry, None);
        while let Some(entry) = usize::try_from(at).ok().and_then(|at| self.entries.get(at)) {
            if own == Some(Owner(entry.owner)) || !self.is_text(entry, text) {
                return None;
            }
            let owner = usize::try_from(entry.owner).ok().and_then(|at| self.owners.get(at));
            if owner.is_some_and(|owner| !owner.is_gone) {
                found = Some(Owner(entry.owner));
            }
            at = entry.next;
        }
        found
    }

    /// Whether some identifier's first word may begin so.
    pub(crate) fn may_begin(&self, hash: u64) -> bool {
        bits(hash).iter().all(|bit| self.bit(*bit).is_some_and(|(word, mask)| word & mask != 0))
    }

    fn bit(&self, bit: u64) -> Option<(u64, u64)> {
        let word = usize::try_from(bit / 64).ok().and_then(|at| self.bloom.get(at))?;
        Some((*word, 1 << (bit % 64)))
    }

    fn set(&mut self, hash: u64) {
        for bit in bits(hash) {
            if let Some(word) = usize::try_from(bit / 64).ok().and_then(|at| self.bloom.get_mut(at)) {
                *word |= 1 << (bit % 64);
            }
        }
    }

    fn is_text(&self, entry: &Entry, text: &[u8]) -> bool {
        let start = usize::try_from(entry.at).unwrap_or(usize::MAX);
        let stored = start.checked_add(usize::from(entry.length)).and_then(|end| self.texts.get(start..end));
        stored.is_some_and(|stored| stored.eq_ignore_ascii_case(text))
    }

    fn owner_name(&self, owner: Owner) -> Option<&[u8]> {
        name(&self.names, self.owners.get(usize::try_from(owner.0).ok()?)?)
    }

    fn owner_or_new(&mut self, called: &str) -> Option<Owner> {
        if let Some(known) = self.owner(called) {
            return Some(known);
        }
        let new = u32::try_from(self.owners.len()).ok()?;
        let (at, length) = (u32::try_from(self.names.len()).ok()?, u32::try_from(called.len()).ok()?);
        self.owners.push(OwnerRow { at, length, left_out: 0, is_gone: false });
        self.names.extend_from_slice(called.as_bytes());
        let (names, owners) = (&self.names, &self.owners);
        self.by_name.insert_unique(hash_of(called.as_bytes()), new, |at| {
            let row = usize::try_from(*at).ok().and_then(|at| owners.get(at));
            hash_of(row.and_then(|row| name(names, row)).unwrap_or_default())
        });
        Some(Owner(new))
    }

    /// Puts every beginning of `text` in. Returns the entry that had the whole text before, or [`NONE`].
    fn insert_beginnings(&mut self, text: &[u8], new: u32) -> u32 {
        let (mut hash, mut at, mut before, mut in_first) = (START, 0, None, true);
        let mut previous = NONE;
        while let Some((role, length)) = text.get(at..).and_then(first) {
            if is_word_end(before, Some(role)) {
                self.node(hash).goes_on = true;
                in_first = false;
            }
            let end = at.saturating_add(length);
            for byte in text.get(at..end).unwrap_or_default() {
                hash = step(hash, *byte);
                if in_first {
                    self.set(hash);
                }
            }
            (at, before) = (end, Some(role));
        }
        std::mem::swap(&mut previous, &mut self.node(hash).entry);
        self.node(hash).entry = new;
        previous
    }

    fn node(&mut self, hash: u64) -> &mut Node {
        let new = Node { hash, entry: NONE, goes_on: false };
        self.nodes.entry(hash, |node| node.hash == hash, |node| node.hash).or_insert(new).into_mut()
    }
}

fn name<'n>(names: &'n [u8], row: &OwnerRow) -> Option<&'n [u8]> {
    let start = usize::try_from(row.at).ok()?;
    names.get(start..start.checked_add(usize::try_from(row.length).ok()?)?)
}

/// What is known of a beginning of identifiers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Beginning {
    entry: u32,
    /// Some identifier goes on behind it.
    pub(crate) goes_on: bool,
}

impl Beginning {
    /// Whether an identifier ends here.
    pub(crate) fn is_whole(self) -> bool {
        self.entry != NONE
    }
}

/// The hash of nothing: FNV-1a's, whose value after each byte is the hash of the bytes so far.
pub(crate) const START: u64 = 0xcbf2_9ce4_8422_2325;

/// The hash of one more byte.
pub(crate) fn step(hash: u64, byte: u8) -> u64 {
    (hash ^ u64::from(fold(byte))).wrapping_mul(0x100_0000_01b3)
}

fn fold(byte: u8) -> u8 {
    byte.to_ascii_lowercase()
}

fn hash_of(bytes: &[u8]) -> u64 {
    bytes.iter().fold(START, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

/// The places of a hash in the Bloom filter.
fn bits(hash: u64) -> [u64; 2] {
    // FNV leaves the high bits of short inputs alike; a multiplication and a shift spread them.
    let spread = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    [(spread >> 44) % BLOOM_BITS, (spread >> 20) % BLOOM_BITS]
}

//! Lists of forgotten users, as notes in the log.
//!
//! A list is one note or more, each with a part of the names. The content of a note: the last record that the list is about (8 bytes),
//! the position of the part before it (8 bytes, 0 for none), 1 if the list is complete with it (1 byte), then the names, each ended by
//! a line feed. Each list has all names of the one before it. Entries name the last part of the latest complete list.
use crate::Position;
use crate::redact::Users;

/// The most names of a note: about 400 KB, less than any topic's bound.
const PART_MAX_NAMES: usize = 6_000;
/// Bytes before the names.
const FIXED_BYTES: usize = 17;

/// Users whose names readers overwrite, in the records up to `through`.
#[derive(Clone, Debug, Default)]
pub(super) struct List {
    pub(super) through: Position,
    pub(super) users: Users,
}

/// A part of a list, as a note has it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part {
    through: Position,
    /// The part before it; 0 for none.
    pub(super) before: Position,
    names: Vec<String>,
}

impl List {
    /// The list with further users and records.
    pub(super) fn with(&self, users: &Users, through: Position) -> List {
        List { through: self.through.max(through), users: Users::new(self.users.iter().chain(users.iter())) }
    }

    /// Adds a part that was read.
    pub(super) fn add(&mut self, part: Part) {
        let names = Users::new(part.names.iter().map(String::as_str));
        *self = self.with(&names, part.through);
    }

    /// The contents of its notes. Each is made once the position of the one before it is known.
    pub(super) fn parts(&self) -> impl Iterator<Item = impl Fn(Position) -> Vec<u8>> {
        let mut names: Vec<String> = self.users.iter().map(str::to_owned).collect();
        names.sort();
        let parts: Vec<Vec<String>> = names.chunks(PART_MAX_NAMES).map(<[String]>::to_vec).collect();
        let (count, through) = (parts.len(), self.through);
        parts.into_iter().enumerate().map(move |(at, names)| {
            let complete = at + 1 == count;
            move |before| encode(through, before, complete, &names)
        })
    }
}

fn encode(through: Position, before: Position, complete: bool, names: &[String]) -> Vec<u8> {
    let mut content = Vec::new();
    content.extend(through.to_le_bytes());
    content.extend(before.to_le_bytes());
    content.push(u8::from(complete));
    for name in names {
        content.extend(name.as_bytes());
        content.push(b'\n');
    }
    content
}

/// Whether a list is complete with this note.
pub(super) fn is_complete(content: &[u8]) -> bool {
    content.get(FIXED_BYTES - 1) == Some(&1)
}

/// Reads a note; None if it is none.
pub(super) fn read(content: &[u8]) -> Option<Part> {
    let (fixed, names) = content.split_first_chunk::<FIXED_BYTES>()?;
    let (through, rest) = fixed.split_first_chunk::<8>()?;
    let (before, _) = rest.split_first_chunk::<8>()?;
    let names = std::str::from_utf8(names).ok()?.lines().map(str::to_owned).collect();
    Some(Part { through: u64::from_le_bytes(*through), before: u64::from_le_bytes(*before), names })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_is_put_together_from_its_parts() {
        let names: Vec<String> = (0..PART_MAX_NAMES + 3).map(|number| format!("hmac:{number:032x}")).collect();
        let list = List { through: 9, users: Users::new(names.iter().map(String::as_str)) };
        let mut notes = Vec::new();
        for (at, part) in list.parts().enumerate() {
            notes.push(part(at as Position));
        }
        assert_eq!(notes.iter().map(|note| is_complete(note)).collect::<Vec<_>>(), [false, true]);
        let mut found = List::default();
        for (at, note) in notes.iter().enumerate() {
            let part = read(note).expect("a part");
            assert_eq!(part.before, at as Position);
            found.add(part);
        }
        assert_eq!((found.through, found.users.iter().count()), (9, names.len()));
        assert!(read(&[0; 16]).is_none() && !is_complete(&[]));
    }
}

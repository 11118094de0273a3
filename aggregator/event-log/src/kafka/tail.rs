//! What the entries of a log say of it, as they are read one after the other: its name, its end, and who writes.
use weir_fault::{Point, hit};

use super::entry::{self, Entry, Head, Kind, Unreadable, position_at};
use crate::{End, KafkaProblem, Position};

/// What is known of a log from the entries read so far.
#[derive(Clone, Debug)]
pub(super) struct Tail {
    /// Its name.
    pub(super) id: Box<str>,
    /// Its first position.
    pub(super) first: Position,
    /// The offset behind the last entry that was read.
    pub(super) next: i64,
    /// The last record.
    pub(super) end: End,
    /// The note with the latest complete list of forgotten users.
    pub(super) list: Position,
    /// Who wrote the last entry that counts.
    pub(super) by: Writer,
}

/// A writer of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Writer {
    pub(super) owner: u64,
    /// A number drawn at its start.
    pub(super) writer: u64,
    /// Whether it has given the right to write back.
    pub(super) released: bool,
}

/// What an entry is to its log.
#[derive(Debug)]
pub(super) enum Seen {
    /// It stands where it belongs.
    Counts(Entry),
    /// It came too late for its place.
    Dead,
    /// Another weir asks whether the writer is there.
    Asked,
}

/// Reads an entry of any log.
pub(super) fn standing(offset: i64, value: &[u8]) -> Result<Seen, KafkaProblem> {
    let entry = entry::read(value).map_err(|why| unreadable(offset, why))?;
    Ok(match entry.head.kind {
        Kind::Asked => Seen::Asked,
        _ if entry.head.position != position_at(entry.head.first, offset) && !hit(Point::StaleEntryCounts) => {
            Seen::Dead
        }
        _ => Seen::Counts(entry),
    })
}

fn unreadable(offset: i64, why: Unreadable) -> KafkaProblem {
    match why {
        Unreadable::Version(found) => KafkaProblem::Version(found),
        Unreadable::Damaged(what) => KafkaProblem::Damaged { offset, what },
    }
}

impl Tail {
    /// What is known once `entry`, the first one that counts, is read.
    pub(super) fn starting_at(offset: i64, entry: &Entry) -> Self {
        let head = &entry.head;
        let mut tail = Tail {
            id: head.id.clone(),
            first: head.first,
            next: offset,
            end: End { position: head.follows, forgotten_before: head.forgotten_before },
            list: head.list,
            by: Writer { owner: head.owner, writer: head.writer, released: false },
        };
        tail.note(entry);
        tail.next = offset + 1;
        tail
    }

    /// Takes the next entry in.
    pub(super) fn take(&mut self, offset: i64, value: &[u8]) -> Result<Seen, KafkaProblem> {
        let seen = standing(offset, value)?;
        if let Seen::Counts(entry) = &seen {
            if entry.head.id != self.id || entry.head.first != self.first {
                return Err(KafkaProblem::Lost("another one is in its place".to_owned()));
            }
            self.note(entry);
        }
        self.next = offset + 1;
        Ok(seen)
    }

    fn note(&mut self, entry: &Entry) {
        let Head { kind, position, forgotten_before, owner, writer, .. } = entry.head;
        match kind {
            Kind::Record => self.end = End { position, forgotten_before },
            Kind::Forgotten if super::lists::is_complete(&entry.content) => self.list = position,
            _ => {}
        }
        self.by = Writer { owner, writer, released: kind == Kind::Released };
    }
}

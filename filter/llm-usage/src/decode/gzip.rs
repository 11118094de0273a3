//! What stands around the deflated data of a gzip member.

const FLAG_HEADER_CRC: u8 = 1 << 1;
const FLAG_EXTRA: u8 = 1 << 2;
const FLAG_NAME: u8 = 1 << 3;
const FLAG_COMMENT: u8 = 1 << 4;
/// CRC-32 and length of what was deflated. They are not checked: a client that is sent broken data sees it too.
const TRAILER_BYTES: u16 = 8;

/// Where in a member the reader stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// In the ten fixed bytes of the header.
    Fixed(u8),
    /// In the length of the extra field, low byte first.
    ExtraLength(Option<u8>),
    Extra(u16),
    /// In a text that a zero byte ends.
    Name,
    Comment,
    HeaderCrc(u8),
    Data,
    Trailer(u16),
}

/// The framing of a sequence of gzip members.
#[derive(Debug)]
pub(super) struct Gzip {
    at: At,
    flags: u8,
}

/// What a step found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A byte of framing, which was passed over.
    Framing,
    /// The same, and a new member begins.
    Member,
    /// Deflated data comes next.
    Data,
}

impl Gzip {
    pub(super) fn new() -> Self {
        Gzip { at: At::Fixed(0), flags: 0 }
    }

    /// The deflated data has ended.
    pub(super) fn end_data(&mut self) {
        self.at = At::Trailer(TRAILER_BYTES);
    }

    /// Passes over a byte of framing. None if this is no gzip.
    pub(super) fn step<'b>(&mut self, bytes: &'b [u8]) -> Option<(Step, &'b [u8])> {
        if self.at == At::Data {
            return Some((Step::Data, bytes));
        }
        let (byte, rest) = bytes.split_first()?;
        let begins = self.at == At::Fixed(0);
        self.at = match (self.at, *byte) {
            (At::Fixed(0), 0x1F) | (At::Fixed(1), 0x8B) | (At::Fixed(2), 8) => self.next_fixed(),
            (At::Fixed(3), flags) => {
                self.flags = flags;
                self.next_fixed()
            }
            (At::Fixed(at), _) if at < 3 => return None,
            (At::Fixed(9), _) => self.after_fixed(),
            (At::Fixed(_), _) => self.next_fixed(),
            (At::ExtraLength(None), low) => At::ExtraLength(Some(low)),
            (At::ExtraLength(Some(low)), high) => match u16::from_le_bytes([low, high]) {
                0 => self.after_extra(),
                length => At::Extra(length),
            },
            (At::Extra(1), _) => self.after_extra(),
            (At::Extra(left), _) => At::Extra(left.saturating_sub(1)),
            (At::Name, 0) => self.after_name(),
            (At::Comment, 0) => self.after_comment(),
            (At::HeaderCrc(0), _) => At::HeaderCrc(1),
            (At::HeaderCrc(_), _) => At::Data,
            (At::Trailer(1), _) => At::Fixed(0),
            (At::Trailer(left), _) => At::Trailer(left.saturating_sub(1)),
            (at, _) => at,
        };
        Some((if begins { Step::Member } else { Step::Framing }, rest))
    }

    fn next_fixed(&self) -> At {
        match self.at {
            At::Fixed(at) => At::Fixed(at.saturating_add(1)),
            at => at,
        }
    }

    fn after_fixed(&self) -> At {
        if self.flags & FLAG_EXTRA != 0 { At::ExtraLength(None) } else { self.after_extra() }
    }

    fn after_extra(&self) -> At {
        if self.flags & FLAG_NAME != 0 { At::Name } else { self.after_name() }
    }

    fn after_name(&self) -> At {
        if self.flags & FLAG_COMMENT != 0 { At::Comment } else { self.after_comment() }
    }

    fn after_comment(&self) -> At {
        if self.flags & FLAG_HEADER_CRC != 0 { At::HeaderCrc(0) } else { At::Data }
    }
}

//! The framing of gzip members around their deflated data.

const FLAG_HEADER_CRC: u8 = 1 << 1;
const FLAG_EXTRA: u8 = 1 << 2;
const FLAG_NAME: u8 = 1 << 3;
const FLAG_COMMENT: u8 = 1 << 4;
/// Size of CRC-32 and length behind the data. Weir does not check them: the client detects broken data itself.
const TRAILER_BYTES: u16 = 8;

/// The reader's position in a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MemberPosition {
    /// In the ten fixed bytes of the header; the number of bytes left.
    Fixed(u8),
    /// In the length of the extra field, low byte first; the low byte once read.
    ExtraLength(Option<u8>),
    Extra(u16),
    /// In a zero-terminated text.
    Name,
    Comment,
    HeaderCrc(u8),
    Data,
    Trailer(u16),
}

/// The framing of a sequence of gzip members.
#[derive(Debug)]
pub(super) struct Gzip {
    position: MemberPosition,
    flags: u8,
}

/// The result of one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// One byte of framing was skipped.
    Framing,
    /// One byte of framing was skipped, and a new member begins.
    Member,
    /// Deflated data follows.
    Data,
}

impl Gzip {
    pub(super) fn new() -> Self {
        Gzip { position: MemberPosition::Fixed(0), flags: 0 }
    }

    /// Notes the end of the deflated data.
    pub(super) fn end_data(&mut self) {
        self.position = MemberPosition::Trailer(TRAILER_BYTES);
    }

    /// Skips a byte of framing. None if the bytes are not gzip.
    pub(super) fn step<'b>(&mut self, bytes: &'b [u8]) -> Option<(Step, &'b [u8])> {
        if self.position == MemberPosition::Data {
            return Some((Step::Data, bytes));
        }
        let (byte, rest) = bytes.split_first()?;
        let begins = self.position == MemberPosition::Fixed(0);
        self.position = match (self.position, *byte) {
            (MemberPosition::Fixed(0), 0x1F) | (MemberPosition::Fixed(1), 0x8B) | (MemberPosition::Fixed(2), 8) => {
                self.next_fixed()
            }
            (MemberPosition::Fixed(3), flags) => {
                self.flags = flags;
                self.next_fixed()
            }
            (MemberPosition::Fixed(at), _) if at < 3 => return None,
            (MemberPosition::Fixed(9), _) => self.after_fixed(),
            (MemberPosition::Fixed(_), _) => self.next_fixed(),
            (MemberPosition::ExtraLength(None), low) => MemberPosition::ExtraLength(Some(low)),
            (MemberPosition::ExtraLength(Some(low)), high) => match u16::from_le_bytes([low, high]) {
                0 => self.after_extra(),
                length => MemberPosition::Extra(length),
            },
            (MemberPosition::Extra(1), _) => self.after_extra(),
            (MemberPosition::Extra(left), _) => MemberPosition::Extra(left.saturating_sub(1)),
            (MemberPosition::Name, 0) => self.after_name(),
            (MemberPosition::Comment, 0) => self.after_comment(),
            (MemberPosition::HeaderCrc(0), _) => MemberPosition::HeaderCrc(1),
            (MemberPosition::HeaderCrc(_), _) => MemberPosition::Data,
            (MemberPosition::Trailer(1), _) => MemberPosition::Fixed(0),
            (MemberPosition::Trailer(left), _) => MemberPosition::Trailer(left.saturating_sub(1)),
            (at, _) => at,
        };
        Some((if begins { Step::Member } else { Step::Framing }, rest))
    }

    fn next_fixed(&self) -> MemberPosition {
        match self.position {
            MemberPosition::Fixed(at) => MemberPosition::Fixed(at.saturating_add(1)),
            at => at,
        }
    }

    fn after_fixed(&self) -> MemberPosition {
        if self.flags & FLAG_EXTRA != 0 { MemberPosition::ExtraLength(None) } else { self.after_extra() }
    }

    fn after_extra(&self) -> MemberPosition {
        if self.flags & FLAG_NAME != 0 { MemberPosition::Name } else { self.after_name() }
    }

    fn after_name(&self) -> MemberPosition {
        if self.flags & FLAG_COMMENT != 0 { MemberPosition::Comment } else { self.after_comment() }
    }

    fn after_comment(&self) -> MemberPosition {
        if self.flags & FLAG_HEADER_CRC != 0 { MemberPosition::HeaderCrc(0) } else { MemberPosition::Data }
    }
}

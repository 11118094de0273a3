//! Records: a body as it came, with time of receipt and gateway.
use std::cell::RefCell;
use std::hash::Hasher;

use siphasher::sip::SipHasher13;
use weir_contract::Timestamp;
use weir_contract::batch::{BATCH_CONTENT_TYPE, EVENT_CONTENT_TYPE, LINES_CONTENT_TYPE};

/// The place of a record in the log: above 0, and above those of all records before it. 0 is before the first.
pub type Position = u64;

/// How a body holds its events, or readings: no body holds both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A JSON array of events.
    Batch = 1,
    /// One event.
    Event = 2,
    /// One event a line.
    Lines = 3,
    /// A JSON array of readings.
    Readings = 4,
    /// One reading a line.
    ReadingLines = 5,
}

impl Format {
    /// Every one.
    const ALL: [Format; 5] = [Format::Batch, Format::Event, Format::Lines, Format::Readings, Format::ReadingLines];

    /// Of events, by content type, parameters ignored; `application/json` is looked into.
    pub fn of(content_type: &str, body: &[u8]) -> Option<Self> {
        match content_type.split(';').next().unwrap_or_default().trim() {
            BATCH_CONTENT_TYPE => Some(Format::Batch),
            EVENT_CONTENT_TYPE => Some(Format::Event),
            LINES_CONTENT_TYPE => Some(Format::Lines),
            "application/json" => match body.iter().find(|b| !b.is_ascii_whitespace()) {
                Some(b'[') => Some(Format::Batch),
                _ => Some(Format::Event),
            },
            _ => None,
        }
    }

    /// Of readings, by content type, parameters ignored.
    pub fn of_readings(content_type: &str) -> Option<Self> {
        match content_type.split(';').next().unwrap_or_default().trim() {
            "application/json" => Some(Format::Readings),
            LINES_CONTENT_TYPE => Some(Format::ReadingLines),
            _ => None,
        }
    }

    /// Whether a body of it holds readings.
    pub fn is_of_readings(self) -> bool {
        matches!(self, Format::Readings | Format::ReadingLines)
    }

    /// From the number in a log record.
    pub fn from_code(code: i64) -> Option<Self> {
        Format::ALL.into_iter().find(|format| format.code() == code)
    }

    /// The number in a log record.
    pub fn code(self) -> i64 {
        self as i64
    }
}

/// The circumstances under which a body came in: with its bytes, everything that verdicts on its events rest on.
#[derive(Clone, Copy, Debug)]
pub struct Admission<'a> {
    /// When, by our clock.
    pub received_at: Timestamp,
    /// The gateway that the token is bound to: its events' sources must be of that gateway.
    pub gateway: Option<&'a str>,
    /// Ids of days before this one are forgotten; days since 1970-01-01.
    pub forgotten_before: u64,
}

/// A body on its way into the log.
#[derive(Clone, Debug)]
pub struct NewRecord {
    /// When it was received.
    pub received_at: Timestamp,
    /// How it holds its events.
    pub format: Format,
    /// The gateway its token is bound to.
    pub gateway: Option<Box<str>>,
    /// Ids of days before this one are forgotten: days since 1970-01-01.
    pub forgotten_before: u64,
    /// The body, compressed: events repeat their field names, so they shrink to a sixth or less, and the disk is the
    /// slowest part of the whole.
    pub(super) packed: Vec<u8>,
}

impl NewRecord {
    /// Compresses `body`, which came in under `admission`, for the log.
    pub fn new(admission: Admission<'_>, format: Format, body: &[u8]) -> Self {
        NewRecord {
            received_at: admission.received_at,
            format,
            gateway: admission.gateway.map(Into::into),
            forgotten_before: admission.forgotten_before,
            packed: packed(body),
        }
    }

    /// The record at `position`, as it would be read from the log, for those who have its `body` still.
    pub fn into_record(self, position: Position, follows: Position, body: Vec<u8>) -> Record {
        let NewRecord { received_at, format, gateway, forgotten_before, .. } = self;
        Record { position, follows, received_at, format, gateway, forgotten_before, body }
    }

    /// What the record takes in the log, in bytes.
    pub fn packed_bytes(&self) -> usize {
        self.packed.len()
    }
}

/// A body read from the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its place.
    pub position: Position,
    /// The record before it: the log vouches that nothing lies, or ever lay, between the two. 0 for the very first.
    pub follows: Position,
    /// When it was received.
    pub received_at: Timestamp,
    /// How it holds its events.
    pub format: Format,
    /// The gateway its token was bound to.
    pub gateway: Option<Box<str>>,
    /// Ids of days before this one were forgotten: days since 1970-01-01.
    pub forgotten_before: u64,
    /// The body as it came, uncompressed.
    pub body: Vec<u8>,
}

impl Record {
    /// The circumstances under which it came in.
    pub fn admission(&self) -> Admission<'_> {
        let gateway = self.gateway.as_deref();
        Admission { received_at: self.received_at, gateway, forgotten_before: self.forgotten_before }
    }
}

/// `body` as an LZ4 block, its size before it.
fn packed(body: &[u8]) -> Vec<u8> {
    thread_local! {
        /// Room for the largest body, kept: fresh memory for each costs as much as packing does.
        static ROOM: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    ROOM.with_borrow_mut(|room| {
        let most = lz4_flex::block::get_maximum_output_size(body.len());
        if room.len() < most {
            room.resize(most, 0);
        }
        match (lz4_flex::block::compress_into(body, room), u32::try_from(body.len())) {
            (Ok(length), Ok(size)) => [&size.to_le_bytes(), room.get(..length).unwrap_or_default()].concat(),
            // There is always room enough, and no body is so large.
            _ => lz4_flex::compress_prepend_size(body),
        }
    })
}

/// The checksum stored beside a packed body. Against decay, not against forgery: the key is fixed.
pub(super) fn checksum(packed: &[u8]) -> i64 {
    let mut hasher = SipHasher13::new();
    hasher.write(packed);
    i64::from_ne_bytes(hasher.finish().to_ne_bytes())
}

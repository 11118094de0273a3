//! Records: an accepted body with its time of receipt and its gateway.
use std::cell::RefCell;
use std::hash::Hasher;

use siphasher::sip::SipHasher13;
use weir_contract::Timestamp;
use weir_contract::batch::{BATCH_CONTENT_TYPE, EVENT_CONTENT_TYPE, LINES_CONTENT_TYPE};

/// The place of a record in the log, from 1 upwards. 0 stands for the place before the first record.
pub type Position = u64;

/// The encoding of a body of events or of readings. No body holds both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A JSON array of events.
    Batch = 1,
    /// One event.
    Event = 2,
    /// One event per line.
    Lines = 3,
    /// A JSON array of readings.
    Readings = 4,
    /// One reading per line.
    ReadingLines = 5,
}

impl Format {
    /// All formats.
    const ALL: [Format; 5] = [Format::Batch, Format::Event, Format::Lines, Format::Readings, Format::ReadingLines];

    /// The format of a body of events, by content type without parameters. For `application/json` the first byte decides.
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

    /// The format of a body of readings, by content type without parameters.
    pub fn of_readings(content_type: &str) -> Option<Self> {
        match content_type.split(';').next().unwrap_or_default().trim() {
            "application/json" => Some(Format::Readings),
            LINES_CONTENT_TYPE => Some(Format::ReadingLines),
            _ => None,
        }
    }

    /// Returns true if bodies of this format hold readings.
    pub fn is_of_readings(self) -> bool {
        matches!(self, Format::Readings | Format::ReadingLines)
    }

    /// The format with this number in the log.
    pub(crate) fn from_code(code: i64) -> Option<Self> {
        Format::ALL.into_iter().find(|format| format.code() == code)
    }

    /// Its number in the log.
    pub fn code(self) -> i64 {
        self as i64
    }
}

/// The circumstances of a body's receipt. Verdicts on its events depend on these and on its bytes only.
#[derive(Clone, Copy, Debug)]
pub struct Admission<'a> {
    /// The time of receipt, by this machine's clock.
    pub received_at: Timestamp,
    /// The gateway that the token is bound to; the sources of the events must belong to it.
    pub gateway: Option<&'a str>,
    /// Ids of days before this one are forgotten; days since 1970-01-01.
    pub forgotten_before: u64,
}

/// A body on its way into the log.
#[derive(Clone, Debug)]
pub struct NewRecord {
    /// The time of receipt.
    pub received_at: Timestamp,
    /// Its encoding.
    pub format: Format,
    /// The gateway that the token is bound to.
    pub gateway: Option<Box<str>>,
    /// Ids of days before this one are forgotten: days since 1970-01-01.
    pub forgotten_before: u64,
    /// The compressed body. Events repeat their field names and shrink to a sixth or less, which spares the disk, the slowest
    /// part.
    pub(super) packed: Vec<u8>,
}

impl NewRecord {
    /// Compresses `body` for the log.
    pub fn new(admission: Admission<'_>, format: Format, body: &[u8]) -> Self {
        NewRecord {
            received_at: admission.received_at,
            format,
            gateway: admission.gateway.map(Into::into),
            forgotten_before: admission.forgotten_before,
            packed: packed(body),
        }
    }

    /// The record as a reader would return it, for callers that still have its `body`.
    pub fn into_record(self, position: Position, follows: Position, body: Vec<u8>) -> Record {
        let NewRecord { received_at, format, gateway, forgotten_before, .. } = self;
        Record { position, follows, received_at, format, gateway, forgotten_before, body }
    }

    /// The compressed body.
    pub fn packed(&self) -> &[u8] {
        &self.packed
    }

    /// The size of the compressed body, in bytes.
    pub fn packed_bytes(&self) -> usize {
        self.packed.len()
    }
}

/// A body read from the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its position.
    pub position: Position,
    /// The position of the record right before it; 0 for the first record ever. The log guarantees that no record lies, or
    /// has lain, between the two.
    pub follows: Position,
    /// The time of receipt.
    pub received_at: Timestamp,
    /// Its encoding.
    pub format: Format,
    /// The gateway that the token was bound to.
    pub gateway: Option<Box<str>>,
    /// Ids of days before this one were forgotten: days since 1970-01-01.
    pub forgotten_before: u64,
    /// The uncompressed body.
    pub body: Vec<u8>,
}

impl Record {
    /// The circumstances of its receipt.
    pub fn admission(&self) -> Admission<'_> {
        let gateway = self.gateway.as_deref();
        Admission { received_at: self.received_at, gateway, forgotten_before: self.forgotten_before }
    }
}

/// Compresses `body` into its size and an LZ4 block.
fn packed(body: &[u8]) -> Vec<u8> {
    thread_local! {
        /// A buffer that fits the largest body so far. Fresh memory for each body would cost as much as compressing it.
        static ROOM: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    ROOM.with_borrow_mut(|room| {
        let most = lz4_flex::block::get_maximum_output_size(body.len());
        if room.len() < most {
            room.resize(most, 0);
        }
        match (lz4_flex::block::compress_into(body, room), u32::try_from(body.len())) {
            (Ok(length), Ok(size)) => [&size.to_le_bytes(), room.get(..length).unwrap_or_default()].concat(),
            // Never reached: the buffer fits every output, and no body exceeds 4 GiB.
            _ => lz4_flex::compress_prepend_size(body),
        }
    })
}

/// The largest uncompressed body, in bytes. A record that claims more is damaged.
const BODY_MAX_BYTES: usize = 16 * 1024 * 1024;

/// Undoes [`packed`]; the error says what is wrong.
pub(super) fn unpack(packed: &[u8]) -> Result<Vec<u8>, String> {
    let (size, block) = lz4_flex::block::uncompressed_size(packed).map_err(|error| error.to_string())?;
    if size > BODY_MAX_BYTES {
        return Err("its size is impossible".to_owned());
    }
    lz4_flex::decompress(block, size).map_err(|error| error.to_string())
}

/// The checksum of a compressed body. Detects decay but not forgery, because the key is fixed.
pub(super) fn checksum(packed: &[u8]) -> i64 {
    let mut hasher = SipHasher13::new();
    hasher.write(packed);
    i64::from_ne_bytes(hasher.finish().to_ne_bytes())
}

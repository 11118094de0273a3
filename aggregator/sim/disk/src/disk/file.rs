//! A file: what readers see, what is durable, and which changes survive a fault.
use fastrand::Rng;

/// Bytes that a disk writes atomically.
const SECTOR: usize = 512;

/// A change of a file.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Write { at: usize, bytes: Vec<u8> },
    Truncate(usize),
}

impl Change {
    pub(super) fn apply(&self, data: &mut Vec<u8>) {
        match self {
            Change::Write { at, bytes } => write_at(data, *at, bytes),
            Change::Truncate(len) => data.resize(*len, 0),
        }
    }
}

fn write_at(data: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    if data.len() < at + bytes.len() {
        data.resize(at + bytes.len(), 0);
    }
    data[at..at + bytes.len()].copy_from_slice(bytes);
}

/// A file.
#[derive(Clone, Debug, Default)]
pub(super) struct File {
    /// The content that readers see.
    pub(super) data: Vec<u8>,
    /// The durable content; none if the file itself is not durable.
    pub(super) durable: Option<Vec<u8>>,
    /// Changes since the last sync, in order.
    pub(super) pending: Vec<Change>,
}

/// Applies the surviving part of `changes` to `image`: nothing, all, a prefix with a torn end, or any sectors of any
/// change. Returns a word for it.
pub(super) fn survive(rng: &mut Rng, changes: &[Change], image: &mut Vec<u8>) -> &'static str {
    let fate = rng.u8(..4);
    match fate {
        0 => {}
        1 => changes.iter().for_each(|change| change.apply(image)),
        2 => {
            let whole = rng.usize(..=changes.len());
            changes[..whole].iter().for_each(|change| change.apply(image));
            if let Some(Change::Write { at, bytes }) = changes.get(whole) {
                let sectors = rng.usize(..=bytes.len() / SECTOR) * SECTOR;
                write_at(image, *at, &bytes[..sectors.min(bytes.len())]);
            }
        }
        _ => {
            for change in changes {
                match change {
                    Change::Write { at, bytes } => {
                        for (number, sector) in bytes.chunks(SECTOR).enumerate().filter(|_| rng.bool()) {
                            write_at(image, at + number * SECTOR, sector);
                        }
                    }
                    Change::Truncate(len) if rng.bool() => image.resize(*len, 0),
                    Change::Truncate(_) => {}
                }
            }
        }
    }
    match fate {
        _ if changes.is_empty() => "nothing unsynced",
        0 => "unsynced writes lost",
        1 => "unsynced writes kept",
        2 => "torn write",
        _ => "reordered writes",
    }
}

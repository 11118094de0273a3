//! Compares the event log's SQLite, with a row per body, to checksummed segment files.
use std::fs::File;
use std::io::Write;
use std::time::Instant;

use weir_event_log::sqlite::SqliteLog;
use weir_event_log::{EventLog, NewRecord};
use weir_ledger::validate::{Admission, Format};

use crate::{events, print};

/// Bodies per group, events per body, groups.
const SHAPES: [(u64, u64, u64); 3] = [(1, 100, 200), (16, 100, 100), (8, 1_000, 50)];

pub(crate) fn run() {
    let start = events::start();
    let admission = Admission { received_at: start, gateway: None, forgotten_before: 0 };
    for (bodies, size, groups) in SHAPES {
        let plain: Vec<Vec<u8>> = (0..bodies).map(|n| events::batch(1, n, size, start)).collect();
        let records: Vec<NewRecord> = plain.iter().map(|body| NewRecord::new(admission, Format::Batch, body)).collect();
        let packed: usize = records.iter().map(NewRecord::packed_bytes).sum();
        let raw: usize = plain.iter().map(Vec::len).sum();
        println!("log: groups of {bodies} bodies of {size} events; {raw} bytes, {packed} packed");
        let dir = tempfile::tempdir().expect("a directory");
        let mut log = SqliteLog::open(&dir.path().join("log.sqlite")).expect("a log");
        let began = Instant::now();
        for _ in 0..groups {
            log.append(&records).expect("appended");
        }
        print("  SQLite, packed, synced", bodies * size * groups, began.elapsed());
        for (name, bytes) in [("  segment file, packed, synced", packed), ("  segment file, plain, synced", raw)] {
            let took = segments(&dir.path().join("segment"), bytes / bodies as usize, bodies, groups);
            print(name, bodies * size * groups, took);
        }
    }
}

/// Appends frames of `bytes` bytes to a file (length, checksum, body), with a sync per group.
fn segments(path: &std::path::Path, bytes: usize, bodies: u64, groups: u64) -> std::time::Duration {
    use std::hash::Hasher;
    let body: Vec<u8> = (0..bytes).map(|n| (n * 31 % 251) as u8).collect();
    let mut file = File::create(path).expect("a file");
    let began = Instant::now();
    let mut frames = Vec::new();
    for _ in 0..groups {
        frames.clear();
        for _ in 0..bodies {
            let mut checksum = siphasher::sip::SipHasher13::new();
            checksum.write(&body);
            frames.extend_from_slice(&(body.len() as u64).to_le_bytes());
            frames.extend_from_slice(&checksum.finish().to_le_bytes());
            frames.extend_from_slice(&body);
        }
        file.write_all(&frames).expect("written");
        file.sync_data().expect("synced");
    }
    began.elapsed()
}

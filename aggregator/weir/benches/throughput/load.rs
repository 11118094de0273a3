//! The load: batches encoded beforehand. Before each is sent, only ids, numbers and times are rewritten; their width is
//! fixed, so nothing moves.
use weir_contract::Timestamp;

use crate::events;

/// The time that the events of one batch spread over, in milliseconds.
const SPREAD_MS: u64 = 50;

/// A worker that never runs out of batches.
pub(crate) struct Stream {
    life: u8,
    size: u64,
    next: u64,
    head: usize,
    request: Vec<u8>,
    places: Vec<Places>,
}

/// The offsets of an event's parts in the request.
struct Places {
    id: usize,
    sequence: usize,
    time: usize,
}

impl Stream {
    /// A worker `life` with batches of `size` events; each body follows `head`, which receives the body's length.
    pub(crate) fn new(life: u8, size: u64, head: impl Fn(usize) -> String) -> Self {
        let body = events::batch(life, 0, size, Timestamp::from_secs(1_800_000_000));
        let mut request = head(body.len()).into_bytes();
        let head = request.len();
        request.extend_from_slice(&body);
        let places = places(&request, head);
        assert_eq!(places.len() as u64, size);
        Stream { life, size, next: 1, head, request, places }
    }

    /// The next batch, with events that end at `now`.
    pub(crate) fn next(&mut self, now: Timestamp) -> &[u8] {
        let start = now.as_millis() - SPREAD_MS;
        let mut text = (0, [0; 24]);
        for (number, places) in self.places.iter().enumerate() {
            let ms = start + number as u64 * SPREAD_MS / self.size;
            if text.0 != ms {
                text.0 = ms;
                text.1.copy_from_slice(Timestamp::from_millis(ms).to_string().as_bytes());
            }
            let id = id(ms, self.life, self.next);
            self.request[places.time..places.time + 24].copy_from_slice(&text.1);
            write_id(&mut self.request[places.id..places.id + 36], id);
            write_number(&mut self.request[places.sequence..places.sequence + 20], self.next);
            self.next += 1;
        }
        &self.request
    }

    /// The body of the latest request.
    pub(crate) fn body(&self) -> &[u8] {
        &self.request[self.head..]
    }

    /// The ids of the next batch, for callers that need nothing else.
    pub(crate) fn next_ids(&mut self, now: Timestamp) -> Vec<[u8; 16]> {
        let (start, first) = (now.as_millis() - SPREAD_MS, self.next);
        self.next += self.size;
        (0..self.size).map(|n| id(start + n * SPREAD_MS / self.size, self.life, first + n).to_be_bytes()).collect()
    }
}

fn places(request: &[u8], head: usize) -> Vec<Places> {
    let find = |from: usize, what: &[u8]| {
        request[from..].windows(what.len()).position(|part| part == what).map(|at| from + at + what.len())
    };
    let mut places = Vec::new();
    let mut at = head;
    while let Some(id) = find(at, b"\"id\":\"") {
        let sequence = find(id, b"\"sequence\":\"").expect("a number");
        let time = find(sequence, b"\"time\":\"").expect("a time");
        places.push(Places { id, sequence, time });
        at = time;
    }
    places
}

/// A UUIDv7 in weir's form: the time, then random-looking bits derived from source and number.
fn id(ms: u64, life: u8, number: u64) -> u128 {
    let tail = weir_seeded::nth(u64::from(life) << 56, number);
    let (a, b) = (u128::from(tail & 0xfff), u128::from(weir_seeded::mix(tail) >> 2));
    (u128::from(ms) << 80) | (7 << 76) | (a << 64) | (2 << 62) | b
}

fn write_id(into: &mut [u8], id: u128) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut shift = 128;
    for (at, byte) in into.iter_mut().enumerate() {
        if !matches!(at, 8 | 13 | 18 | 23) {
            shift -= 4;
            *byte = HEX[(id >> shift & 15) as usize];
        }
    }
}

fn write_number(into: &mut [u8], mut number: u64) {
    for byte in into.iter_mut().rev() {
        *byte = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

//! The events that gateways send, made and remembered without any code of the aggregator. Readings: [`readings`].
mod readings;

use std::collections::BTreeMap;

use fastrand::Rng;

/// The tenants.
const TENANTS: [&str; 3] = ["acme", "globex", "initech"];
/// Outcomes of usage events, and whether the meter `requests` counts them.
const OUTCOMES: [(&str, bool); 4] =
    [("ok", true), ("client_closed", true), ("upstream_error", false), ("timeout", false)];
/// Statuses of usage, and whether token meters count them.
const STATUSES: [(&str, bool); 3] = [("complete", true), ("estimated", true), ("none", false)];

/// The prices of a token, in trillionths of a dollar.
const INPUT_PICO: u64 = 2_500_000;
const OUTPUT_PICO: u64 = 10_000_000;

const HOUR_MS: u64 = 3_600_000;

/// How the aggregator must treat some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Counts once.
    Usage,
    /// A minute's refusals: summed once, and not billed.
    Refused,
    /// The id of an event that was acknowledged, with other bytes.
    SameId,
    /// The number of an event that was acknowledged, under another id.
    SameNumber,
    /// An event that no request can cause; refused for good, and its number is used up.
    Absurd,
    /// Not an event.
    Garbage,
    /// A reading: counts once.
    Reading,
    /// The id of a reading that was acknowledged, with another amount.
    SameReading,
}

impl Kind {
    /// Returns true if the bytes are sent as a reading.
    fn is_reading(self) -> bool {
        matches!(self, Kind::Reading | Kind::SameReading)
    }

    /// Returns true if the bytes reuse an id or number.
    pub(super) fn is_conflict(self) -> bool {
        matches!(self, Kind::SameId | Kind::SameNumber | Kind::SameReading)
    }
}

/// An event's contribution to a sum: window, tenant, meter, reason for its exclusion (empty if billed), and amount. Of its cost:
/// `cost`, the currency, and trillionths.
pub(super) type Amount = (u64, &'static str, &'static str, &'static str, u64);

/// Bytes to send, and the results of all attempts.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) kind: Kind,
    /// The index of its source, and the number in it; none for garbage and readings.
    pub(super) place: Option<(usize, u64)>,
    pub(super) id: [u8; 16],
    pub(super) time_ms: u64,
    pub(super) body: Vec<u8>,
    pub(super) amounts: Vec<Amount>,
    /// Attempts whose answer was acceptance.
    pub(super) accepted: u64,
    /// Attempts whose answer was a final refusal.
    pub(super) refused: u64,
    /// Attempts without an answer.
    pub(super) unknown: u64,
}

impl Item {
    /// The most times that it may be in the log.
    pub(super) fn attempts(&self) -> u64 {
        self.accepted + self.refused + self.unknown
    }

    fn answered(&self) -> bool {
        self.accepted + self.refused > 0
    }
}

/// The gateways with everything they ever sent.
pub(super) struct Gateways {
    pub(super) items: Vec<Item>,
    /// The names of sources. A worker that dies comes back under a new one.
    pub(super) sources: Vec<String>,
    numbers: Vec<u64>,
    /// Items to send now.
    queue: Vec<usize>,
    /// Items to send some time later: spilled, or held by a gateway without connection.
    attic: Vec<usize>,
    /// Readings to send now.
    readings: Vec<usize>,
}

/// Four gateways with one worker each.
const WORKERS: usize = 4;

impl Gateways {
    pub(super) fn new(rng: &mut Rng) -> Self {
        let mut gateways = Gateways {
            items: Vec::new(),
            sources: Vec::new(),
            numbers: Vec::new(),
            queue: Vec::new(),
            attic: Vec::new(),
            readings: Vec::new(),
        };
        (0..WORKERS).for_each(|_| gateways.begin_life(rng));
        gateways
    }

    /// Starts a worker, whose source is new.
    fn begin_life(&mut self, rng: &mut Rng) {
        let name = format!("/weir/gw-{}/{:032x}", self.sources.len() % WORKERS, rng.u128(..));
        self.sources.push(name);
        self.numbers.push(0);
    }

    /// One worker serves some requests at `now_ms`.
    pub(super) fn serve(&mut self, rng: &mut Rng, now_ms: u64) {
        if rng.u8(..40) == 0 {
            self.begin_life(rng);
        }
        let source = self.sources.len() - 1 - rng.usize(..WORKERS);
        for _ in 0..rng.usize(1..6) {
            self.numbers[source] += 1;
            let place = (source, self.numbers[source]);
            let time_ms = match rng.u8(..40) {
                0..=2 => now_ms + rng.u64(1..20 * HOUR_MS),
                3 => now_ms + 2 * 24 * HOUR_MS,
                _ => now_ms - rng.u64(..120_000),
            };
            let kind = match rng.u8(..30) {
                0 => Kind::Refused,
                1 => Kind::Absurd,
                _ => Kind::Usage,
            };
            let item = self.make(rng, kind, place, time_ms, None);
            match rng.u8(..24) {
                // Lost with its worker: never sent.
                0 => {}
                1..=3 => self.attic.push(item),
                _ => self.queue.push(item),
            }
        }
    }

    fn make(&mut self, rng: &mut Rng, kind: Kind, place: (usize, u64), time_ms: u64, id: Option<[u8; 16]>) -> usize {
        let id = id.unwrap_or_else(|| new_id(rng, time_ms));
        let tenant = TENANTS[rng.usize(..TENANTS.len())];
        let envelope = format!(
            r#""specversion":"1.0","id":"{}","source":"{}","sequence":"{:020}","subject":"{tenant}","time":"{}""#,
            id_text(&id),
            self.sources[place.0],
            place.1,
            jiff::Timestamp::from_millisecond(time_ms.cast_signed()).expect("a time"),
        );
        let window = time_ms - time_ms % HOUR_MS;
        let (data, amounts) = if kind == Kind::Refused {
            let count = rng.u64(1..100);
            let data = format!(r#""type":"weir.refused.v1","data":{{"counts":{{"rate_limited":{count}}}}}"#);
            (data, vec![(window, tenant, "", "rate_limited", count)])
        } else {
            let (data, amounts) = usage(rng, tenant, window);
            let absurd = if kind == Kind::Absurd { r#","reasoning_tokens":99999999999"# } else { "" };
            (data.replace('@', absurd), amounts)
        };
        let body = format!("{{{envelope},{data}}}").into_bytes();
        let counts = matches!(kind, Kind::Usage | Kind::Refused);
        let amounts = if counts { amounts } else { Vec::new() };
        self.push(Item { kind, place: Some(place), id, time_ms, body, amounts, accepted: 0, refused: 0, unknown: 0 })
    }

    fn push(&mut self, item: Item) -> usize {
        self.items.push(item);
        self.items.len() - 1
    }

    /// Makes everything that still waits due now.
    pub(super) fn hurry(&mut self) {
        self.queue.append(&mut self.attic);
    }

    /// Returns true if every item is answered.
    pub(super) fn is_done(&self) -> bool {
        self.queue.is_empty() && self.attic.is_empty() && self.readings.is_empty()
    }

    /// Takes some waiting items, in any order, mixed with repeats and falsifications of old ones.
    pub(super) fn next_batch(&mut self, rng: &mut Rng, with_noise: bool) -> Vec<usize> {
        if with_noise && !self.attic.is_empty() && rng.u8(..12) == 0 {
            let item = self.attic.swap_remove(rng.usize(..self.attic.len()));
            self.queue.push(item);
        }
        rng.shuffle(&mut self.queue);
        let count = self.queue.len().min(rng.usize(1..12));
        let mut batch = self.queue.split_off(self.queue.len() - count);
        if with_noise {
            self.add_noise(rng, &mut batch);
            rng.shuffle(&mut batch);
        }
        batch
    }

    fn add_noise(&mut self, rng: &mut Rng, batch: &mut Vec<usize>) {
        if !self.items.is_empty() && rng.u8(..3) == 0 {
            // Prefers old items, because they test where the memory of ids ends.
            let upto = if rng.bool() { self.items.len() } else { self.items.len().div_ceil(4) };
            let old = rng.usize(..upto);
            if self.items[old].answered() && !self.items[old].kind.is_reading() {
                batch.push(old);
            }
        }
        if rng.u8(..12) == 0 {
            let body = format!(r#"{{"nonsense":{}}}"#, rng.u64(..)).into_bytes();
            let garbage = Item {
                kind: Kind::Garbage,
                place: None,
                id: [0; 16],
                time_ms: 0,
                body,
                amounts: Vec::new(),
                accepted: 0,
                refused: 0,
                unknown: 0,
            };
            let garbage = self.push(garbage);
            batch.push(garbage);
        }
        if !self.items.is_empty() && rng.u8(..10) == 0 {
            let model = rng.usize(self.items.len() * 3 / 4..self.items.len());
            let known = &self.items[model];
            let (Kind::Usage, true, Some(place)) = (known.kind, known.accepted > 0, known.place) else { return };
            let (time_ms, id) = (known.time_ms, known.id);
            let forged = match rng.bool() {
                true => self.make(rng, Kind::SameId, place, time_ms, Some(id)),
                false => self.make(rng, Kind::SameNumber, place, time_ms, None),
            };
            batch.push(forged);
        }
    }

    /// Records an answer; `refused` are the items of the batch that it refuses.
    pub(super) fn answered(&mut self, batch: &[usize], refused: &[usize]) {
        for (index, item) in batch.iter().enumerate() {
            let item = &mut self.items[*item];
            if refused.contains(&index) { item.refused += 1 } else { item.accepted += 1 }
        }
    }

    /// Records an attempt without an answer: it may have reached the log (`sent`), or it reached nothing. Items without
    /// any answer are sent again.
    pub(super) fn unanswered(&mut self, batch: &[usize], sent: bool) {
        for &number in batch {
            let item = &mut self.items[number];
            item.unknown += u64::from(sent);
            let again = !item.answered() && !item.kind.is_conflict() && item.kind != Kind::Garbage;
            let queue = if item.kind == Kind::Reading { &mut self.readings } else { &mut self.queue };
            if again && !queue.contains(&number) {
                queue.push(number);
            }
        }
    }

    /// Records that an acknowledged item was lost with its machine. It is sent again if the gateway still has it.
    pub(super) fn forget(&mut self, number: usize, again: bool) {
        let item = &mut self.items[number];
        item.unknown += std::mem::take(&mut item.accepted);
        if again && !self.queue.contains(&number) {
            self.queue.push(number);
        }
    }

    /// The number of items that match, for the summary.
    pub(super) fn count_by(&self, matches: impl Fn(&Item) -> bool) -> u64 {
        self.items.iter().filter(|item| matches(item)).count() as u64
    }

    /// The numbers that may have reached the aggregator, by source, and whether they certainly did.
    pub(super) fn numbers(&self) -> BTreeMap<(usize, u64), bool> {
        let mut numbers = BTreeMap::new();
        for item in &self.items {
            let (Some(place), true) = (item.place, item.attempts() > 0) else { continue };
            *numbers.entry(place).or_insert(false) |= item.answered();
        }
        numbers
    }
}

fn usage(rng: &mut Rng, tenant: &'static str, window: u64) -> (String, Vec<Amount>) {
    let (outcome, counts_request) = OUTCOMES[rng.usize(..OUTCOMES.len())];
    let (status, counts_tokens) = STATUSES[rng.usize(..STATUSES.len())];
    let test = rng.u8(..10) == 0;
    let (input, output) = (rng.u64(1..5_000), rng.u64(1..900));
    let environment = if test { r#""environment":"test","# } else { "" };
    let data = format!(
        r#""type":"weir.usage.v1","data":{{{environment}"request_id":"r","plan":"p","class":"chat","stream":false,"status":200,"outcome":"{outcome}","decision":"admitted","config_version":"c","usage":{{"status":"{status}","input_tokens":{input},"output_tokens":{output}@}},"duration_ms":1,"request_bytes":1,"response_bytes":1}}"#
    );
    let reason = |counts: bool, otherwise: &'static str| match (test, counts) {
        (true, _) => "environment",
        (false, true) => "",
        (false, false) => otherwise,
    };
    let tokens = reason(counts_tokens, "usage_status");
    let amounts = vec![
        (window, tenant, "requests", reason(counts_request, "outcome"), 1),
        (window, tenant, "input_tokens", tokens, input),
        (window, tenant, "output_tokens", tokens, output),
        // What the provider charges, in trillionths, whatever is billed.
        (window, tenant, "cost", "USD", input * INPUT_PICO + output * OUTPUT_PICO),
    ];
    (data, amounts)
}

/// RFC 9562, section 5.7: 48 bits of time, version 7, the rest random.
fn new_id(rng: &mut Rng, time_ms: u64) -> [u8; 16] {
    let mut id = [0; 16];
    id[..6].copy_from_slice(&time_ms.to_be_bytes()[2..]);
    rng.fill(&mut id[6..]);
    id[6] = 0x70 | id[6] & 0x0f;
    id[8] = 0x80 | id[8] & 0x3f;
    id
}

fn id_text(id: &[u8; 16]) -> String {
    let hex: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

//! A worker's queue of events: bounded, sent in batches, kept until acknowledged.
//!
//! Events leave in the order of their numbers, but nothing depends on it: the aggregator deduplicates by id and keeps
//! ranges of numbers.
use std::collections::VecDeque;
use std::rc::Rc;

use weir_contract::Timestamp;
use weir_contract::batch::{self, BatchAnswer};

use super::Destination;

/// The most batches that are in flight at once: enough to hide a slow answer, few enough not to flood the aggregator.
pub(crate) const FLIGHTS_MAX: usize = 4;
/// The most events of one batch.
pub(crate) const BATCH_EVENTS: usize = batch::BATCH_MAX_EVENTS;
/// The most bytes of one batch. A call's body is copied into the gateway in one piece, and the worker's requests wait
/// for that.
pub(crate) const BATCH_BYTES: usize = 64 * 1024;
/// The same bound with a backlog of more than [`BACKLOG_EVENTS`] events: then throughput matters more.
pub(crate) const BACKLOG_BYTES: usize = 512 * 1024;
/// A backlog of this size only builds up if the aggregator is slow or was away.
pub(crate) const BACKLOG_EVENTS: usize = 2 * BATCH_EVENTS;
/// The first pause after a failure, doubled with every further one.
pub(crate) const BACKOFF_MIN_MS: u64 = 500;
/// The longest pause between two attempts.
pub const BACKOFF_MAX_MS: u64 = 30_000;
/// The most events that expire in one tick: a burst of log lines must not hold up the worker's requests.
pub(crate) const EXPIRED_PER_TICK: usize = 500;

/// Events that wait, and events in flight.
#[derive(Debug)]
pub struct Queue {
    waiting: VecDeque<Queued>,
    flights: Vec<InFlightBatch>,
    bytes: usize,
    events: usize,
    numbered: usize,
    last_batch: u64,
    /// How many events the next batch may have: fewer after a batch was refused whole.
    batch_events: usize,
    failures: u32,
    not_before: Timestamp,
    flushing: bool,
    jitter: u64,
}

#[derive(Debug)]
struct Queued {
    destination: Rc<Destination>,
    json: Vec<u8>,
    since: Timestamp,
    kind: Kind,
}

/// What is queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A numbered event.
    Numbered,
    /// An announcement. Losing one does no harm: the next one says more.
    Announcement,
    /// The last announcement for an expired source, whose slot in the registry this is.
    FinalAnnouncement(usize),
}

impl Kind {
    fn slot(self) -> Option<usize> {
        if let Kind::FinalAnnouncement(slot) = self { Some(slot) } else { None }
    }
}

impl Queued {
    fn is_too_old(&self, now: Timestamp) -> bool {
        now.millis_since(self.since) >= self.destination.queue_max_age_ms
    }
}

#[derive(Debug)]
struct InFlightBatch {
    batch: u64,
    events: Vec<Queued>,
}

/// A batch to be sent.
#[derive(Debug)]
pub struct Dispatch {
    /// Its name in [`Queue::answered`].
    pub batch: u64,
    /// Where it goes.
    pub destination: Rc<Destination>,
    /// The body.
    pub body: Vec<u8>,
}

/// How a call ended.
#[derive(Clone, Copy, Debug)]
pub enum Answer<'a> {
    /// The aggregator, or a proxy before it, answered.
    Status {
        /// HTTP status.
        status: u16,
        /// `Retry-After` in seconds.
        retry_after_secs: Option<u64>,
        /// The body.
        body: &'a [u8],
    },
    /// No answer: the call could not be made, broke off or took too long.
    Nothing,
}

/// How the aggregator's answer to a batch begins; see [`BatchAnswer`].
const ANSWER_START: &[u8] = b"{\"accepted\":";

/// Whether the body of a success acknowledges the batch: the aggregator's own answer, perhaps cut, or none, as receivers of
/// plain CloudEvents send it. Any other body is a page of somebody who knows nothing of events.
pub(super) fn acknowledges(body: &[u8]) -> bool {
    let body = body.trim_ascii_start();
    body.is_empty() || body.starts_with(ANSWER_START)
}

/// An event that the aggregator will never take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectedEvent {
    /// Why.
    pub reason: String,
    /// The event as a line for the log: signed, where there is a key, so that `weir replay` finds it.
    pub line: String,
}

impl RejectedEvent {
    fn new(reason: String, event: &Queued) -> Self {
        let key = event.destination.signing_key.as_ref();
        let line = key.map_or_else(|| String::from_utf8_lossy(&event.json).into_owned(), |key| key.sign(&event.json));
        RejectedEvent { reason, line }
    }
}

/// The result of one batch.
#[derive(Debug, Default)]
pub struct BatchResult {
    /// How many numbered events the aggregator has taken.
    pub acknowledged: u64,
    /// Events that it refused for good.
    pub refused: Vec<RejectedEvent>,
    /// Whether the batch will be sent again.
    pub retried: bool,
    /// Slots of expired sources whose announcement is settled.
    pub announced: Vec<usize>,
}

impl Queue {
    /// An empty queue.
    pub fn new(jitter: u64) -> Self {
        Queue {
            waiting: VecDeque::new(),
            flights: Vec::new(),
            bytes: 0,
            events: 0,
            numbered: 0,
            last_batch: 0,
            batch_events: BATCH_EVENTS,
            failures: 0,
            not_before: Timestamp::default(),
            flushing: false,
            jitter,
        }
    }

    /// How many numbered events wait or are in flight.
    pub fn pending(&self) -> usize {
        self.numbered
    }

    /// Takes an event; returns it if there is no room.
    pub fn push(
        &mut self,
        destination: &Rc<Destination>,
        json: Vec<u8>,
        kind: Kind,
        now: Timestamp,
    ) -> Result<(), Vec<u8>> {
        let bytes = self.bytes.saturating_add(json.len());
        if self.events >= destination.queue_max_events || bytes > destination.queue_max_bytes {
            return Err(json);
        }
        self.events += 1;
        self.numbered += usize::from(kind == Kind::Numbered);
        self.bytes = bytes;
        self.waiting.push_back(Queued { destination: Rc::clone(destination), json, since: now, kind });
        Ok(())
    }

    /// Removes waiting events that are older than their destination allows and can be signed; the others wait on.
    /// Events in flight stay.
    pub fn expired(&mut self, now: Timestamp) -> Vec<(Rc<Destination>, Vec<u8>)> {
        let mut expired = Vec::new();
        while let Some(event) = self.waiting.front().filter(|event| event.is_too_old(now))
            && expired.len() < EXPIRED_PER_TICK
        {
            if event.kind == Kind::Numbered && event.destination.signing_key.is_none() {
                break;
            }
            let Some(event) = self.waiting.pop_front() else { break };
            self.forget(&event);
            if event.kind == Kind::Numbered {
                expired.push((event.destination, event.json));
            }
        }
        expired
    }

    /// Takes out what can be signed, oldest first, at most [`EXPIRED_PER_TICK`] of it. Nothing that is under way.
    pub(crate) fn abandoned(&mut self) -> Vec<(Rc<Destination>, Vec<u8>)> {
        let mut abandoned = Vec::new();
        while let Some(event) = self.waiting.front().filter(|event| event.destination.signing_key.is_some())
            && abandoned.len() < EXPIRED_PER_TICK
        {
            let is_numbered = event.kind == Kind::Numbered;
            let Some(event) = self.waiting.pop_front() else { break };
            self.forget(&event);
            if is_numbered {
                abandoned.push((event.destination, event.json));
            }
        }
        abandoned
    }

    /// Makes everything due at once.
    pub fn flush(&mut self) {
        self.flushing = true;
        self.not_before = Timestamp::default();
    }

    /// The next batch, if one is due: its oldest event has waited long enough, or [`BATCH_EVENTS`] wait.
    pub fn dispatch(&mut self, now: Timestamp) -> Option<Dispatch> {
        let Some(first) = self.waiting.front() else {
            self.flushing = false;
            return None;
        };
        let waited = now.millis_since(first.since) >= first.destination.flush_ms || now < first.since;
        let due = waited || self.flushing || self.waiting.len() >= BATCH_EVENTS;
        if !due || now < self.not_before || self.flights.len() >= FLIGHTS_MAX {
            return None;
        }
        let destination = Rc::clone(&first.destination);
        let bytes_max = if self.waiting.len() > BACKLOG_EVENTS { BACKLOG_BYTES } else { BATCH_BYTES };
        let mut events = Vec::new();
        let mut bytes = 0;
        while let Some(next) = self.waiting.front() {
            bytes += next.json.len() + 1;
            let full = events.len() >= self.batch_events || (bytes > bytes_max && !events.is_empty());
            if full || !Rc::ptr_eq(&next.destination, &destination) {
                break;
            }
            events.extend(self.waiting.pop_front());
        }
        self.last_batch += 1;
        let body = batch::join(events.iter().map(|event| &*event.json));
        self.flights.push(InFlightBatch { batch: self.last_batch, events });
        Some(Dispatch { batch: self.last_batch, destination, body })
    }

    /// The cluster that a batch under way was sent to.
    pub(super) fn cluster(&self, batch: u64) -> Option<Box<str>> {
        let flight = self.flights.iter().find(|flight| flight.batch == batch)?;
        Some(flight.events.first()?.destination.cluster.clone())
    }

    /// Settles a batch. An unknown one (answered twice, or of an earlier queue) changes nothing.
    pub fn answered(&mut self, batch: u64, answer: &Answer<'_>, now: Timestamp) -> BatchResult {
        let Some(at) = self.flights.iter().position(|flight| flight.batch == batch) else {
            return BatchResult::default();
        };
        let flight = self.flights.swap_remove(at);
        match *answer {
            // Another server's success acknowledges nothing.
            Answer::Status { status: 200..=299, body, .. } if acknowledges(body) => {
                self.failures = 0;
                self.not_before = Timestamp::default();
                self.batch_events = self.batch_events.saturating_mul(2).min(BATCH_EVENTS);
                self.accepted(flight, body)
            }
            Answer::Status { status: status @ (400 | 413 | 422), .. } => self.disputed(flight, status),
            Answer::Status { retry_after_secs, .. } => self.again(flight, retry_after_secs, now),
            Answer::Nothing => self.again(flight, None, now),
        }
    }

    fn accepted(&mut self, flight: InFlightBatch, body: &[u8]) -> BatchResult {
        let answer: BatchAnswer = serde_json::from_slice(body).unwrap_or_default();
        let mut settled = BatchResult::default();
        for (index, event) in flight.events.into_iter().enumerate() {
            self.forget(&event);
            settled.announced.extend(event.kind.slot());
            match answer.rejected.iter().find(|rejected| rejected.index == index) {
                Some(rejected) => {
                    settled.refused.push(RejectedEvent::new(rejected.reason.clone(), &event));
                }
                None => settled.acknowledged += u64::from(event.kind == Kind::Numbered),
            }
        }
        settled
    }

    /// The batch was refused whole: smaller ones isolate the event at fault, and the others get through.
    fn disputed(&mut self, flight: InFlightBatch, status: u16) -> BatchResult {
        let mut settled = BatchResult::default();
        if flight.events.len() > 1 {
            self.batch_events = flight.events.len() / 2;
            self.put_back(flight.events);
            settled.retried = true;
            return settled;
        }
        for event in flight.events {
            self.forget(&event);
            settled.announced.extend(event.kind.slot());
            settled.refused.push(RejectedEvent::new(format!("the aggregator answered {status}"), &event));
        }
        settled
    }

    fn again(&mut self, flight: InFlightBatch, retry_after_secs: Option<u64>, now: Timestamp) -> BatchResult {
        self.failures = self.failures.saturating_add(1);
        let doubled = BACKOFF_MIN_MS.saturating_mul(1 << self.failures.saturating_sub(1).min(10)).min(BACKOFF_MAX_MS);
        self.jitter = self.jitter.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        let pause = doubled / 2 + (self.jitter >> 32) % (doubled / 2 + 1);
        let asked = retry_after_secs.unwrap_or(0).saturating_mul(1000).min(10 * BACKOFF_MAX_MS);
        self.not_before = now.plus_millis(pause.max(asked));
        self.put_back(flight.events);
        BatchResult { retried: true, ..BatchResult::default() }
    }

    fn put_back(&mut self, events: Vec<Queued>) {
        for event in events.into_iter().rev() {
            self.waiting.push_front(event);
        }
    }

    fn forget(&mut self, event: &Queued) {
        self.events = self.events.saturating_sub(1);
        self.numbered = self.numbered.saturating_sub(usize::from(event.kind == Kind::Numbered));
        self.bytes = self.bytes.saturating_sub(event.json.len());
    }
}

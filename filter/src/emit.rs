//! Getting usage events to the aggregator.
//!
//! A worker numbers its events without a gap, keeps them until the aggregator has acknowledged each batch, and sends a
//! batch again, with backoff, until it has. What finds no room leaves as a signed log line ([`Pushed::Spilled`]), whole.
//! An event that the aggregator refuses for good is handed back to be logged, never sent again.
//!
//! [`queue`] holds and sends, [`refusals`] counts refused requests by minute.
pub mod queue;
pub mod refusals;

use std::rc::Rc;

use weir_contract::{Event, EventId, Payload, Sequence, SourceData, SourceId, TenantId, Timestamp, UsageData};

use crate::config::Destination;
pub use queue::{Answer, Dispatch, Returned};
use queue::{Kind, Queue};
use refusals::Refusals;

/// How often a source says which number it gave last, also when nothing happens.
pub const ANNOUNCE_EVERY_MS: u64 = 30_000;

/// One worker VM's events.
#[derive(Debug)]
pub struct Emitter {
    source: SourceId,
    last: u64,
    queue: Queue,
    refusals: Refusals,
    destination: Option<Rc<Destination>>,
    announced: Timestamp,
    tally: Tally,
}

/// What became of the events of this VM, since its start. Every numbered event is in exactly one of `acknowledged`,
/// `refused`, `spilled`, `lost` or still in the queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Events that were given a number.
    pub numbered: u64,
    /// Events that the aggregator has.
    pub acknowledged: u64,
    /// Events that the aggregator will never take.
    pub refused: u64,
    /// Events that left as a signed log line.
    pub spilled: u64,
    /// Events that found neither room nor a signing key.
    pub lost: u64,
    /// Batches sent again.
    pub retried: u64,
}

/// What became of one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It waits for its batch.
    Queued,
    /// There was no room: this line must be logged.
    Spilled(String),
    /// There was no room and no signing key.
    Lost,
    /// The configuration names no aggregator.
    Unreported,
}

impl Emitter {
    /// A new source. `jitter` spreads the retries of workers that fail together.
    pub fn new(source: SourceId, jitter: u64, now: Timestamp) -> Self {
        Emitter {
            source,
            last: 0,
            queue: Queue::new(jitter),
            refusals: Refusals::default(),
            destination: None,
            announced: now,
            tally: Tally::default(),
        }
    }

    /// Numbers and queues a request's usage.
    pub fn usage(
        &mut self,
        destination: Option<&Rc<Destination>>,
        tenant: TenantId,
        now: Timestamp,
        data: UsageData<'_>,
    ) -> Pushed {
        let Some(destination) = destination else { return Pushed::Unreported };
        self.destination = Some(Rc::clone(destination));
        self.number(destination, Some(tenant), now, Payload::Usage(Box::new(data)))
    }

    /// Counts a refused request; the minute's sum leaves as one event.
    pub fn refusal(
        &mut self,
        destination: Option<&Rc<Destination>>,
        tenant: Option<&TenantId>,
        code: &'static str,
        now: Timestamp,
    ) {
        if let Some(destination) = destination {
            self.destination = Some(Rc::clone(destination));
            self.refusals.count(tenant, code, now);
        }
    }

    /// To be called on every tick: closes minutes of refusals and announces the source. Lines to log are returned.
    pub fn tick(&mut self, now: Timestamp) -> Vec<Pushed> {
        let Some(destination) = self.destination.clone() else { return Vec::new() };
        let closed = self.refusals.close(now);
        let pushed = closed
            .into_iter()
            .map(|minute| self.number(&destination, minute.tenant, minute.start, Payload::Refused(minute.data)))
            .collect();
        if now.millis_since(self.announced) >= ANNOUNCE_EVERY_MS {
            self.announced = now;
            self.announce(&destination, now);
        }
        pushed
    }

    /// The next batch that is due, to be sent and answered by [`Emitter::answered`].
    pub fn dispatch(&mut self, now: Timestamp) -> Option<Dispatch> {
        self.queue.dispatch(now)
    }

    /// The call for a batch came back, or could not be made.
    pub fn answered(&mut self, batch: u64, answer: &Answer<'_>, now: Timestamp) -> Vec<Returned> {
        let settled = self.queue.answered(batch, answer, now);
        self.tally.acknowledged += settled.acknowledged;
        self.tally.refused += settled.refused.len() as u64;
        self.tally.retried += u64::from(settled.retried);
        settled.refused
    }

    /// Makes everything in the queue due at once: the configuration or the VM is about to go.
    pub fn flush(&mut self, now: Timestamp) {
        if let Some(destination) = self.destination.clone() {
            self.announce(&destination, now);
        }
        self.queue.flush();
    }

    /// Numbered events that are not yet acknowledged.
    pub fn pending(&self) -> usize {
        self.queue.pending()
    }

    /// What became of the events so far.
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// This source.
    pub fn source(&self) -> &SourceId {
        &self.source
    }

    fn number(
        &mut self,
        destination: &Rc<Destination>,
        subject: Option<TenantId>,
        time: Timestamp,
        payload: Payload<'_>,
    ) -> Pushed {
        self.last += 1;
        self.tally.numbered += 1;
        let sequence = Sequence(self.last);
        let id = EventId::derive(time, &self.source, sequence);
        let event = Event { id, source: self.source.clone(), sequence: Some(sequence), subject, time, payload };
        let mut json = Vec::with_capacity(1024);
        if event.write(&mut json).is_err() {
            self.tally.lost += 1;
            return Pushed::Lost;
        }
        match self.queue.push(destination, json, Kind::Numbered, time) {
            Ok(()) => Pushed::Queued,
            Err(json) => self.spill(destination, &json),
        }
    }

    fn spill(&mut self, destination: &Destination, json: &[u8]) -> Pushed {
        match &destination.signing_key {
            Some(key) => {
                self.tally.spilled += 1;
                Pushed::Spilled(key.sign(json))
            }
            None => {
                self.tally.lost += 1;
                Pushed::Lost
            }
        }
    }

    /// Says which number came last. It takes no number itself, and where there is no room the next one says it.
    fn announce(&mut self, destination: &Rc<Destination>, now: Timestamp) {
        let data = SourceData {
            first: 1,
            last: self.last,
            spilled: self.tally.spilled,
            refused: self.tally.refused,
            closed: false,
        };
        let id = EventId::derive(now, &self.source, Sequence(u64::MAX - self.last));
        let source = self.source.clone();
        let event = Event { id, source, sequence: None, subject: None, time: now, payload: Payload::Source(data) };
        let mut json = Vec::with_capacity(384);
        if event.write(&mut json).is_ok() {
            // No room: the next announcement says more than this one would have.
            let _full = self.queue.push(destination, json, Kind::Announcement, now);
        }
    }
}

#[cfg(test)]
mod tests;

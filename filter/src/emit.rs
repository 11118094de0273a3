//! Sends usage events to the aggregator.
//!
//! A worker numbers its events without a gap and keeps them until the aggregator has acknowledged each batch; until
//! then it sends a batch again, with backoff. An event that finds no room leaves as a signed log line
//! ([`Pushed::Spilled`]). An event that the aggregator refuses for good is returned to be logged, and never sent
//! again.
//!
//! [`queue`] holds and sends, [`refusals`] counts refused requests by minute, [`findings`] gathers what concerns the borders
//! between tenants, [`attempts`] sums attempts at providers, [`registry`] announces the last number of VMs that have died, [`labels`] and [`trace`] are what requests say about themselves, [`delivery`] tells when events stop to get
//! through, and when they do again.
pub mod attempts;
pub mod delivery;
pub mod destination;
pub mod findings;
pub mod labels;
pub mod queue;
pub mod refusals;
pub mod registry;
pub mod trace;

use std::rc::Rc;

use weir_contract::{
    AttemptsData, EventRef, IdSeed, PayloadRef, SearchData, SecurityKind, Sequence, SourceData, SourceId, TenantId,
    Timestamp, UsageData,
};

use crate::store::Store;
use attempts::AttemptSums;
pub use attempts::Tried;
use delivery::Delivery;
pub use delivery::DeliveryNotice;
pub use destination::Destination;
pub use findings::Finding;
use findings::{Findings, FoundMinute};
pub use queue::{Answer, Dispatch, RejectedEvent};
use queue::{Kind, Queue};
use refusals::{Minute, Refusals};
use registry::{ExpiredWorker, SourceStatus, WorkerRegistry};

/// How often a source announces the last number it gave, even when nothing happens.
pub(crate) const ANNOUNCE_EVERY_MS: u64 = 30_000;

/// One worker VM's events.
#[derive(Debug)]
pub struct Emitter {
    source: SourceId,
    ids: IdSeed,
    last: u64,
    queue: Queue,
    refusals: Refusals,
    findings: Findings,
    attempts: AttemptSums,
    destination: Option<Rc<Destination>>,
    announced_at: Timestamp,
    counters: EventCounters,
    delivery: Delivery,
    registry: WorkerRegistry,
    /// Expired sources whose announcement is under way; at most one per slot.
    expired: Vec<ExpiredWorker>,
    /// Expired sources whose announcement has arrived: their slots can be freed.
    announced: Vec<ExpiredWorker>,
}

/// Counts of this VM's events since its start. Every numbered event is in exactly one of `acknowledged`, `refused`,
/// `spilled`, `lost` or still in the queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventCounters {
    /// Events that have a number.
    pub numbered: u64,
    /// Events that the aggregator has.
    pub acknowledged: u64,
    /// Events that the aggregator refused for good.
    pub refused: u64,
    /// Events that left as signed log lines.
    pub spilled: u64,
    /// Events that found neither room nor a signing key.
    pub lost: u64,
    /// Batches sent again.
    pub retried: u64,
    /// Expired sources of this process whose last number this VM has announced.
    pub dead_announced: u64,
    /// How often this source found no slot, so that its last number would not outlive it.
    pub unlisted: u64,
}

/// A request's event: what became of it, and the signed copy for the access log, if one is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmittedEvent {
    /// What became of it.
    pub pushed: Pushed,
    /// The signed copy for the gateway's access log.
    pub spool: Option<String>,
    /// What became of the audit of its search, if it was one.
    pub search: Option<Pushed>,
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
}

impl Emitter {
    /// A new source. `jitter` spreads the retries of workers that fail together.
    pub fn new(source: SourceId, jitter: u64, now: Timestamp) -> Self {
        Emitter {
            ids: IdSeed::of(&source),
            source,
            last: 0,
            queue: Queue::new(jitter),
            refusals: Refusals::default(),
            findings: Findings::default(),
            attempts: AttemptSums::default(),
            destination: None,
            announced_at: now,
            counters: EventCounters::default(),
            delivery: Delivery::default(),
            registry: WorkerRegistry::default(),
            expired: Vec::new(),
            announced: Vec::new(),
        }
    }

    /// Sets where announcements go, as the latest configuration says.
    pub(crate) fn report_to(&mut self, destination: &Rc<Destination>) {
        if !self.destination.as_ref().is_some_and(|known| Rc::ptr_eq(known, destination)) {
            self.destination = Some(Rc::clone(destination));
        }
    }

    /// Numbers and queues a request's usage.
    pub fn usage(
        &mut self,
        destination: &Rc<Destination>,
        tenant: &TenantId,
        now: Timestamp,
        data: &UsageData<'_>,
    ) -> EmittedEvent {
        self.report_to(destination);
        let Some(json) = self.number(Some(tenant), now, PayloadRef::Usage(data)) else {
            return EmittedEvent { pushed: Pushed::Lost, spool: None, search: None };
        };
        let key = destination.signing_key.as_ref().filter(|_| destination.access_log);
        let spool = key.map(|key| key.sign(&json));
        EmittedEvent { pushed: self.push(destination, json, now), spool, search: None }
    }

    /// Counts a refused request; each minute's sum becomes one event.
    pub fn refusal(
        &mut self,
        destination: Option<&Rc<Destination>>,
        tenant: Option<&TenantId>,
        code: &'static str,
        now: Timestamp,
    ) {
        if let Some(destination) = destination {
            self.report_to(destination);
            self.refusals.count(tenant, code, now);
        }
    }

    /// Gathers a finding about the borders between tenants; each minute's make one event for a tenant.
    pub fn finding(
        &mut self,
        destination: Option<&Rc<Destination>>,
        tenant: Option<&TenantId>,
        finding: &Finding<'_>,
        now: Timestamp,
    ) {
        self.findings.count(finding);
        if let Some(destination) = destination {
            self.report_to(destination);
            self.findings.add(tenant, finding, now);
        }
    }

    /// How much of each kind was found since the start, in the order of [`SecurityKind::ALL`].
    pub fn found(&self) -> [u64; SecurityKind::ALL.len()] {
        self.findings.totals()
    }

    /// Adds to the sums of attempts at providers, which make an event a minute. Without a destination nobody is told.
    pub fn attempts(&mut self, destination: Option<&Rc<Destination>>, add: impl FnOnce(&mut AttemptSums)) {
        if let Some(destination) = destination {
            self.report_to(destination);
            add(&mut self.attempts);
        }
    }

    /// Numbers and queues the audit of a search.
    pub fn search(
        &mut self,
        destination: &Rc<Destination>,
        tenant: &TenantId,
        now: Timestamp,
        data: &SearchData,
    ) -> Pushed {
        self.report_to(destination);
        match self.number(Some(tenant), now, PayloadRef::Search(data)) {
            Some(json) => self.push(destination, json, now),
            None => Pushed::Lost,
        }
    }

    /// Closes minutes of refusals, findings and attempts, spills events that have waited too long, and announces the source. Call it at
    /// every tick. Returns lines to log.
    pub fn tick(&mut self, now: Timestamp) -> Vec<Pushed> {
        let Some(destination) = self.destination.clone() else { return Vec::new() };
        let closed = self.refusals.close(now);
        let mut pushed = self.refused(&destination, closed, now);
        let found = self.findings.close(now);
        pushed.extend(self.tell_findings(&destination, found, now));
        let tried = self.attempts.close(now);
        pushed.extend(self.tell_attempts(&destination, tried, now));
        let expired = self.queue.expired(now);
        pushed.extend(expired.into_iter().map(|(destination, json)| self.spill(&destination, &json)));
        if now.millis_since(self.announced_at) >= ANNOUNCE_EVERY_MS {
            self.announced_at = now;
            self.announce(&destination, now);
        }
        pushed
    }

    /// Takes the waiting events out of the queue as signed lines for the log: no tick will come any more. An event without
    /// a signing key stays, and is lost with this VM.
    pub fn abandon(&mut self) -> Vec<Pushed> {
        let abandoned = self.queue.abandoned();
        abandoned.into_iter().map(|(destination, json)| self.spill(&destination, &json)).collect()
    }

    /// Writes this source's status to the gateway's shared data, where it outlives this VM. Call it after each event
    /// and at every tick.
    pub fn heartbeat(&mut self, store: &mut impl Store, now: Timestamp) {
        let listed = self.registry.heartbeat(store, &self.source, self.status(), now);
        self.counters.unlisted += u64::from(!listed);
    }

    /// Announces the last numbers of expired VMs of this process. Call it at every tick.
    pub fn announce_expired(&mut self, store: &mut impl Store, now: Timestamp) {
        for expired in std::mem::take(&mut self.announced) {
            self.registry.free(store, expired.slot, &expired.source);
        }
        let Some(destination) = self.destination.clone() else { return };
        for expired in self.registry.scan(store, now) {
            if self.announce_closed(&destination, &expired, now) {
                self.expired.retain(|known| known.slot != expired.slot);
                self.expired.push(expired);
            }
        }
    }

    /// The next batch that is due; [`Emitter::answered`] takes its answer.
    pub fn dispatch(&mut self, now: Timestamp) -> Option<Dispatch> {
        self.queue.dispatch(now)
    }

    /// Handles the answer to a batch, or its absence.
    pub fn answered(&mut self, batch: u64, answer: &Answer<'_>, now: Timestamp) -> Vec<RejectedEvent> {
        if let Some(cluster) = self.queue.cluster(batch) {
            self.delivery.answered(&cluster, answer);
        }
        let settled = self.queue.answered(batch, answer, now);
        self.counters.acknowledged += settled.acknowledged;
        self.counters.refused += settled.refused.len() as u64;
        self.counters.retried += u64::from(settled.retried);
        let (announced, waiting) = std::mem::take(&mut self.expired)
            .into_iter()
            .partition(|expired| settled.announced.contains(&expired.slot));
        self.expired = waiting;
        self.counters.dead_announced += settled.announced.len() as u64;
        self.announced.extend::<Vec<ExpiredWorker>>(announced);
        settled.refused
    }

    /// What has changed about delivery since the last call, to be logged.
    pub fn notices(&mut self) -> Vec<DeliveryNotice> {
        self.delivery.notices()
    }

    /// Makes everything due at once, including the current minute's refusals, because the configuration or the VM is
    /// about to go. Returns lines to log.
    pub fn flush(&mut self, now: Timestamp) -> Vec<Pushed> {
        let Some(destination) = self.destination.clone() else { return Vec::new() };
        let minutes = self.refusals.take();
        let mut pushed = self.refused(&destination, minutes, now);
        let found = self.findings.take();
        pushed.extend(self.tell_findings(&destination, found, now));
        let tried = self.attempts.take();
        pushed.extend(self.tell_attempts(&destination, tried, now));
        self.announce(&destination, now);
        self.queue.flush();
        pushed
    }

    /// Numbered events that are not yet acknowledged.
    pub fn pending(&self) -> usize {
        self.queue.pending()
    }

    /// The counts of this VM's events.
    pub fn counters(&self) -> EventCounters {
        self.counters
    }

    /// This source.
    pub fn source(&self) -> &SourceId {
        &self.source
    }

    fn refused(&mut self, destination: &Rc<Destination>, minutes: Vec<Minute>, now: Timestamp) -> Vec<Pushed> {
        let push = |minute: Minute| {
            let Some(json) = self.number(minute.tenant.as_ref(), minute.start, PayloadRef::Refused(&minute.data))
            else {
                return Pushed::Lost;
            };
            self.push(destination, json, now)
        };
        minutes.into_iter().map(push).collect()
    }

    fn tell_findings(
        &mut self,
        destination: &Rc<Destination>,
        minutes: Vec<FoundMinute>,
        now: Timestamp,
    ) -> Vec<Pushed> {
        let push = |minute: FoundMinute| {
            let Some(json) = self.number(minute.tenant.as_ref(), minute.start, PayloadRef::Security(&minute.data))
            else {
                return Pushed::Lost;
            };
            self.push(destination, json, now)
        };
        minutes.into_iter().map(push).collect()
    }

    fn tell_attempts(
        &mut self,
        destination: &Rc<Destination>,
        sums: Vec<(Timestamp, AttemptsData)>,
        now: Timestamp,
    ) -> Vec<Pushed> {
        let push = |(start, data): (Timestamp, AttemptsData)| {
            let Some(json) = self.number(None, start, PayloadRef::Attempts(&data)) else { return Pushed::Lost };
            self.push(destination, json, now)
        };
        sums.into_iter().map(push).collect()
    }

    /// Numbers and writes an event. None if it could not be written; it is counted as lost.
    fn number(&mut self, subject: Option<&TenantId>, time: Timestamp, payload: PayloadRef<'_>) -> Option<Vec<u8>> {
        self.last += 1;
        self.counters.numbered += 1;
        let sequence = Sequence(self.last);
        let id = self.ids.id(time, sequence);
        let event = EventRef { id, source: &self.source, sequence: Some(sequence), subject, time, payload };
        let mut json = Vec::with_capacity(1024);
        if event.write(&mut json).is_err() {
            self.counters.lost += 1;
            return None;
        }
        Some(json)
    }

    fn push(&mut self, destination: &Rc<Destination>, json: Vec<u8>, now: Timestamp) -> Pushed {
        match self.queue.push(destination, json, Kind::Numbered, now) {
            Ok(()) => Pushed::Queued,
            Err(json) => self.spill(destination, &json),
        }
    }

    fn spill(&mut self, destination: &Destination, json: &[u8]) -> Pushed {
        match &destination.signing_key {
            Some(key) => {
                self.counters.spilled += 1;
                Pushed::Spilled(key.sign(json))
            }
            None => {
                self.counters.lost += 1;
                self.delivery.lost(&destination.cluster);
                Pushed::Lost
            }
        }
    }

    fn status(&self) -> SourceStatus {
        SourceStatus { last: self.last, spilled: self.counters.spilled, refused: self.counters.refused }
    }

    /// Announces the last number, if there is one. The announcement takes no number; if there is no room, the next
    /// one says it.
    fn announce(&mut self, destination: &Rc<Destination>, now: Timestamp) {
        if self.last > 0 {
            let json = announcement(&self.source, self.status().announcement(false), now);
            let _full = self.queue.push(destination, json, Kind::Announcement, now);
        }
    }

    /// Announces an expired source. False if there is no room; the next scan finds it again.
    fn announce_closed(&mut self, destination: &Rc<Destination>, expired: &ExpiredWorker, now: Timestamp) -> bool {
        let json = announcement(&expired.source, expired.status.announcement(true), now);
        self.queue.push(destination, json, Kind::FinalAnnouncement(expired.slot), now).is_ok()
    }
}

/// A source's status as an event. Its id lies beyond those of numbered events.
fn announcement(source: &SourceId, data: SourceData, now: Timestamp) -> Vec<u8> {
    let id = IdSeed::of(source).id(now, Sequence(u64::MAX - data.last));
    let payload = PayloadRef::Source(&data);
    let event = EventRef { id, source, sequence: None, subject: None, time: now, payload };
    let mut json = Vec::with_capacity(384);
    // Numbers and names always serialise.
    let _written = event.write(&mut json);
    json
}

#[cfg(test)]
mod tests;

//! Appends groups for the place right behind the known end, and finds out where they stand if the brokers do not say.
use std::sync::Arc;
use std::time::Duration;

use weir_clock::Clock;
use weir_fault::{Point, hit};

use super::entry::{self, Kind, position_at};
use super::lists::is_complete;
use super::opening::{Opened, head, timestamp};
use super::tail::{Seen, Tail};
use crate::brokers::Outcome;
use crate::brokers::{Found, Producing};
use crate::outside::pause;
use crate::{AppendError, End, KafkaProblem, NewRecord, Placement, Position};

/// How long an append tries to reach brokers that do not answer, before its records are refused; one attempt more may be under way then.
const PATIENCE: Duration = Duration::from_secs(5);
/// The most attempts: as many as the patience has pauses.
const ATTEMPTS_MAX: u32 = 50;
/// The pause between two attempts.
const PAUSE: Duration = Duration::from_millis(100);

/// An entry to be written.
pub(super) enum Item<'a> {
    Record(&'a NewRecord),
    Note(Kind, &'a [u8]),
}

/// Where a group of this writer stands in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Landed {
    first: Position,
    entries: usize,
}

/// Appends to an open log.
#[derive(Debug)]
pub(super) struct Appender {
    pub(super) opened: Opened,
    clock: Arc<dyn Clock>,
    /// None after a failure: what the old one still sends must not be mixed with what comes next.
    producer: Option<Arc<dyn Producing>>,
    /// Groups sent since the start; the number is part of their entries.
    groups: u64,
    /// Whether something may be behind the known end that was not read yet.
    unsettled: bool,
    /// Where the latest group stands, as far as it was read: a look that fails goes on where it was.
    landed: Option<Landed>,
    /// Whether another weir asked for this one.
    pub(super) asked: bool,
    /// Whether the log must not be written any more.
    over: bool,
    /// When it was last known that nobody else writes.
    pub(super) looked_at: Duration,
    /// When the last entry was written.
    pub(super) wrote_at: Duration,
}

impl Appender {
    pub(super) fn new(opened: Opened, clock: Arc<dyn Clock>) -> Self {
        let (now, producer) = (clock.elapsed(), Some(Arc::clone(&opened.producer)));
        let (groups, unsettled, landed, asked, over) = (0, false, None, false, false);
        Appender { opened, clock, producer, groups, unsettled, landed, asked, over, looked_at: now, wrote_at: now }
    }

    /// What is known of the log.
    pub(super) fn tail(&self) -> &Tail {
        &self.opened.tail
    }

    /// Reads what is behind the known end: whether another weir asks for this one, or took over.
    pub(super) fn look_around(&mut self) -> Result<(), AppendError> {
        self.looked_at = self.clock.elapsed();
        self.look().map(drop).map_err(|outcome| self.given_up(outcome))
    }

    /// Writes entries that fit into one batch, all or none. Tries for some seconds.
    pub(super) fn put(&mut self, items: &[Item<'_>]) -> Result<Vec<Placement>, AppendError> {
        self.groups += 1;
        self.landed = None;
        let (began, mut attempts) = (self.clock.elapsed(), 0);
        loop {
            attempts += 1;
            let why = match self.attempt(items) {
                Ok(placements) => return Ok(placements),
                Err(Outcome::Unknown(why)) => why,
                Err(outcome) => return Err(self.given_up(outcome)),
            };
            if attempts >= ATTEMPTS_MAX || self.clock.elapsed().saturating_sub(began) > PATIENCE {
                return Err(AppendError::Locked(why));
            }
            pause(PAUSE);
        }
    }

    fn given_up(&mut self, outcome: Outcome) -> AppendError {
        match outcome {
            Outcome::Refused(error) => error,
            Outcome::Unknown(why) => AppendError::Locked(why),
            Outcome::Over(problem) => {
                self.over = true;
                match problem {
                    KafkaProblem::Fenced => AppendError::TakenOver(problem.to_string()),
                    KafkaProblem::Lost(_) => AppendError::Lost(problem.to_string()),
                    problem => AppendError::Broken(problem.to_string()),
                }
            }
        }
    }

    fn end_producer(&mut self) {
        if let Some(producer) = self.producer.take() {
            producer.end();
        }
    }

    fn attempt(&mut self, items: &[Item<'_>]) -> Result<Vec<Placement>, Outcome> {
        if self.unsettled
            && let Some(landed) = self.look()?
            && !hit(Point::AmbiguousIsAnew)
        {
            return Self::placed(landed, items);
        }
        let expected = self.opened.tail.next;
        let why = match self.send(items) {
            Ok(offset) if offset == expected => return Ok(self.taken(items)),
            Ok(offset) if offset < expected && !hit(Point::OffsetReset) => {
                let why = format!("it ends at offset {offset}, and the entries up to {expected} were acknowledged");
                return Err(Outcome::Over(KafkaProblem::Lost(why)));
            }
            Ok(_) => "others write to it".to_owned(),
            Err(Outcome::Unknown(why)) => {
                self.end_producer();
                if hit(Point::AmbiguousIsDone) {
                    return Ok(self.taken(items));
                }
                why
            }
            Err(outcome) => return Err(outcome),
        };
        self.unsettled = true;
        match self.look()?.filter(|_| !hit(Point::AmbiguousIsAnew)) {
            Some(landed) => Self::placed(landed, items),
            None => Err(Outcome::Unknown(why)),
        }
    }

    /// Sends entries for the place right behind the known end. Returns the offset that the first one got.
    fn send(&mut self, items: &[Item<'_>]) -> Result<i64, Outcome> {
        let producer = match &self.producer {
            Some(producer) => Arc::clone(producer),
            None => Arc::clone(self.producer.insert(self.opened.client.producer()?)),
        };
        producer.append(self.entries(items))
    }

    /// The entries as they are written: Kafka's timestamp and the value of each.
    fn entries(&self, items: &[Item<'_>]) -> Vec<(i64, Vec<u8>)> {
        let mut tail = self.opened.tail.clone();
        let mut entries = Vec::with_capacity(items.len());
        for item in items {
            let (kind, received_at) = match item {
                Item::Record(record) => (Kind::Record, record.received_at),
                Item::Note(kind, _) => (*kind, self.clock.now()),
            };
            let mut head = head(kind, &tail, &self.opened.own, received_at);
            head.group = self.groups;
            let value = match item {
                Item::Record(record) => {
                    head.forgotten_before = record.forgotten_before;
                    tail.end = End { position: head.position, forgotten_before: record.forgotten_before };
                    entry::record(&head, record)
                }
                Item::Note(_, content) => entry::note(&head, content),
            };
            tail.next += 1;
            entries.push((timestamp(received_at), value));
        }
        entries
    }

    /// Notes entries that stand right behind the known end. Returns their places.
    fn taken(&mut self, items: &[Item<'_>]) -> Vec<Placement> {
        let tail = &mut self.opened.tail;
        let mut placements = Vec::with_capacity(items.len());
        for item in items {
            let position = position_at(tail.first, tail.next);
            placements.push(Placement { position, follows: Some(tail.end.position) });
            match item {
                Item::Record(record) => {
                    tail.end = End { position, forgotten_before: record.forgotten_before };
                }
                Item::Note(Kind::Forgotten, content) if is_complete(content) => tail.list = position,
                Item::Note(..) => {}
            }
            tail.next += 1;
        }
        // Nothing else was before them: a look would find nothing.
        self.wrote_at = self.clock.elapsed();
        self.looked_at = self.wrote_at;
        placements
    }

    /// The places of a group that was found in the log.
    fn placed(landed: Landed, items: &[Item<'_>]) -> Result<Vec<Placement>, Outcome> {
        if landed.entries != items.len() {
            return Err(lost(format!("it has {} of the {} entries of a batch", landed.entries, items.len())));
        }
        // What each follows is in the log; whoever needs it reads the record.
        Ok(items.iter().zip(landed.first..).map(|(_, position)| Placement { position, follows: None }).collect())
    }

    /// Reads what is behind the known end. Returns where this writer's latest group stands, if it is there.
    fn look(&mut self) -> Result<Option<Landed>, Outcome> {
        loop {
            let tail = &mut self.opened.tail;
            let entries = match self.opened.scan.read(tail.next)? {
                Found::Entries(entries) => entries,
                Found::End => break,
                Found::Dropped(low) => {
                    return Err(lost(format!("its first offset is {low}, and the last known one is {}", tail.next)));
                }
                Found::Short(end) if hit(Point::OffsetReset) => {
                    tail.next = end;
                    continue;
                }
                Found::Short(end) => {
                    let next = tail.next;
                    return Err(lost(format!(
                        "it ends at offset {end}, and the entries up to {next} were acknowledged"
                    )));
                }
            };
            for (offset, value) in entries {
                match tail.take(offset, &value)? {
                    Seen::Counts(entry)
                        if entry.head.writer != self.opened.own.writer && !hit(Point::LogFenceUnchecked) =>
                    {
                        return Err(Outcome::Over(KafkaProblem::Fenced));
                    }
                    Seen::Counts(entry) if entry.head.group == self.groups => {
                        let first = entry.head.position;
                        self.landed.get_or_insert(Landed { first, entries: 0 }).entries += 1;
                    }
                    Seen::Asked => self.asked = true,
                    Seen::Counts(_) | Seen::Dead => {}
                }
            }
        }
        self.unsettled = false;
        Ok(self.landed)
    }
}

fn lost(why: String) -> Outcome {
    Outcome::Over(KafkaProblem::Lost(why))
}

impl Drop for Appender {
    /// Gives the right to write back; without it another waits for an answer.
    fn drop(&mut self) {
        if !self.over && !self.unsettled && self.send(&[Item::Note(Kind::Released, b"")]).is_err() {
            tracing::debug!("the right to write to the event log was not given back");
        }
        self.end_producer();
    }
}

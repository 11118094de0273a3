//! The reading end.
use std::sync::Arc;

use weir_contract::Timestamp;

use super::entry::{Entry, Kind, offset_of, position_at};
use super::lists::{self, List};
use super::opening::{last, oldest};
use super::place::KafkaPlace;
use super::tail::{Seen, Tail, standing};
use crate::brokers::{Brokers, Found, Scanning};
use crate::redact::Users;
use crate::{KafkaProblem, LogError, LogReader, Position, Record};

/// How the name of a user begins in a body.
const USER: &[u8] = b"hmac:";

/// A reading end of a log in a Kafka.
#[derive(Debug)]
pub struct KafkaLogReader {
    place: KafkaPlace,
    client: Arc<dyn Brokers>,
    /// Reads record after record.
    scan: Box<dyn Scanning>,
    /// Looks at single entries; none until it is needed.
    aside: Option<Box<dyn Scanning>>,
    /// The log's name.
    id: Box<str>,
    /// The log's first position.
    first: Position,
    /// The users whose names are overwritten, and the note that says so.
    forgotten: (Position, List),
}

impl KafkaLogReader {
    /// Opens the log at `place` for reading.
    pub fn open(place: &KafkaPlace) -> Result<Self, LogError> {
        Self::find(place)?.ok_or_else(|| place.failed(KafkaProblem::Lost("there is none".to_owned())))
    }

    /// Opens the log at `place` for reading; None if there is none.
    pub fn find(place: &KafkaPlace) -> Result<Option<Self>, LogError> {
        Self::try_find(place).map_err(|problem| place.failed(problem))
    }

    fn try_find(place: &KafkaPlace) -> Result<Option<Self>, KafkaProblem> {
        let client = place.connect()?;
        if client.topic()?.is_none() {
            return Ok(None);
        }
        let mut scan = client.scan()?;
        let Some(entry) = oldest(&mut *scan)? else { return Ok(None) };
        Ok(Some(KafkaLogReader {
            place: place.clone(),
            client,
            scan,
            aside: None,
            id: entry.head.id,
            first: entry.head.first,
            forgotten: (0, List::default()),
        }))
    }

    /// The log's name.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// The position that comes first for whoever reads the kept records, and the last one; before the first one in an empty log.
    pub(crate) fn ends(&mut self) -> Result<(Position, Position), LogError> {
        let tail = self.tail().map_err(|problem| self.failed(problem))?;
        let (low, _) = self.scan.ends().map_err(|problem| self.failed(problem))?;
        let first = self.record_from(low).map_err(|problem| self.failed(problem))?;
        let follows = first.map_or(tail.end.position, |entry| entry.head.follows);
        Ok((follows.max(self.first.saturating_sub(1)) + 1, tail.end.position))
    }

    /// The users whose names are overwritten, and up to which record.
    pub(crate) fn forgotten(&mut self) -> Result<(Users, Position), LogError> {
        let position = self.tail().map_err(|problem| self.failed(problem))?.list;
        let List { through, users } = self.list(position)?;
        Ok((users, through))
    }

    /// The list of forgotten users whose last part is at `position`.
    pub(super) fn list(&mut self, position: Position) -> Result<List, LogError> {
        self.refresh(position).map_err(|problem| self.failed(problem))?;
        Ok(self.forgotten.1.clone())
    }

    fn failed(&self, problem: KafkaProblem) -> LogError {
        match problem {
            KafkaProblem::Damaged { offset, what } => LogError::Damaged {
                log: self.place.label(),
                position: position_at(self.first, offset),
                what: what.into(),
            },
            problem => self.place.failed(problem),
        }
    }

    /// Takes an entry in: the record if it is one that counts.
    fn entry(&self, offset: i64, value: &[u8]) -> Result<Option<Entry>, KafkaProblem> {
        let Seen::Counts(entry) = standing(offset, value)? else { return Ok(None) };
        if entry.head.id != self.id || entry.head.first != self.first {
            return Err(KafkaProblem::Lost("another one is in its place".to_owned()));
        }
        Ok(Some(entry))
    }

    fn record(&self, entry: Entry) -> Result<Record, KafkaProblem> {
        let offset = offset_of(self.first, entry.head.position);
        entry.into_record().map_err(|what| KafkaProblem::Damaged { offset, what })
    }

    fn aside(&mut self) -> Result<&mut dyn Scanning, KafkaProblem> {
        let scan = match self.aside.take() {
            Some(scan) => scan,
            None => self.client.scan()?,
        };
        Ok(&mut **self.aside.insert(scan))
    }

    /// The log's end.
    fn tail(&mut self) -> Result<Tail, KafkaProblem> {
        let tail = last(self.aside()?)?.ok_or_else(|| KafkaProblem::Lost("it is gone".to_owned()))?;
        if tail.id != self.id || tail.first != self.first {
            return Err(KafkaProblem::Lost("another one is in its place".to_owned()));
        }
        Ok(tail)
    }

    /// The first record at `offset` or behind it.
    fn record_from(&mut self, offset: i64) -> Result<Option<Entry>, KafkaProblem> {
        let mut next = offset;
        loop {
            let entries = match self.aside()?.read(next)? {
                Found::Entries(entries) => entries,
                Found::Dropped(low) => {
                    next = low;
                    continue;
                }
                Found::End | Found::Short(_) => return Ok(None),
            };
            for (offset, value) in entries {
                if let Some(entry) = self.entry(offset, &value)?.filter(|entry| entry.head.kind == Kind::Record) {
                    return Ok(Some(entry));
                }
                next = offset + 1;
            }
        }
    }

    /// Reads the list of forgotten users again if it has changed.
    fn refresh(&mut self, position: Position) -> Result<(), KafkaProblem> {
        if self.forgotten.0 == position {
            return Ok(());
        }
        let (mut list, mut part_at) = (List::default(), position);
        while part_at > 0 {
            let offset = offset_of(self.first, part_at);
            let value = match self.aside()?.read(offset)? {
                Found::Entries(entries) => entries.into_iter().next().filter(|(found, _)| *found == offset),
                // All records that it is about are dropped as well.
                Found::Dropped(_) => break,
                Found::End | Found::Short(_) => None,
            };
            let part = match value {
                Some((_, value)) => self.entry(offset, &value)?.and_then(|entry| lists::read(&entry.content)),
                None => None,
            };
            let missing = || KafkaProblem::Lost(format!("the list of forgotten users at offset {offset} is missing"));
            let part = part.ok_or_else(missing)?;
            part_at = part.before;
            list.add(part);
        }
        self.forgotten = (position, list);
        Ok(())
    }

    /// Overwrites the names of forgotten users. `list` is the latest one if the caller knows it.
    fn redact(&mut self, records: &mut [Record], list: Option<Position>) -> Result<(), KafkaProblem> {
        let names_users = |record: &Record| record.body.windows(USER.len()).any(|part| part == USER);
        if !records.iter().any(names_users) {
            return Ok(());
        }
        let list = match list {
            Some(list) => list,
            None => self.tail()?.list,
        };
        self.refresh(list)?;
        let (_, list) = &self.forgotten;
        for record in records.iter_mut().filter(|record| record.position <= list.through) {
            list.users.redact(&mut record.body);
        }
        Ok(())
    }

    /// Reads records behind `after`. Returns them, and the latest list of forgotten users if the end of the log was read.
    fn collect(&mut self, after: Position, max_bytes: usize) -> Result<(Vec<Record>, Option<Position>), KafkaProblem> {
        let (mut records, mut bytes) = (Vec::new(), 0);
        let (mut next, mut list) = (offset_of(self.first, after) + i64::from(after >= self.first), None);
        loop {
            let entries = match self.scan.read(next)? {
                Found::Entries(entries) => entries,
                Found::End => return Ok((records, list)),
                Found::Dropped(low) => {
                    next = low;
                    continue;
                }
                Found::Short(end) => {
                    let why = format!("it ends at offset {end}, and the one before {next} was read or counted");
                    return Err(KafkaProblem::Lost(why));
                }
            };
            for (offset, value) in entries {
                next = offset + 1;
                let Some(entry) = self.entry(offset, &value)? else { continue };
                let complete = entry.head.kind == Kind::Forgotten && lists::is_complete(&entry.content);
                list = Some(if complete { entry.head.position } else { entry.head.list });
                if entry.head.kind != Kind::Record {
                    continue;
                }
                if bytes >= max_bytes {
                    return Ok((records, None));
                }
                let record = self.record(entry)?;
                bytes += record.body.len();
                records.push(record);
            }
            if bytes >= max_bytes {
                return Ok((records, None));
            }
        }
    }

    fn try_before(&mut self, moment: Timestamp) -> Result<Position, KafkaProblem> {
        let tail = self.tail()?;
        let (mut low, mut high) = (self.scan.ends()?.0, tail.next);
        let mut last = tail.end.position;
        // Looks for the first record that was received at `moment` or later.
        while low < high {
            let middle = low + (high - low) / 2;
            match self.record_from(middle)?.filter(|entry| offset_of(self.first, entry.head.position) < high) {
                Some(entry) if entry.head.received_at < moment => low = offset_of(self.first, entry.head.position) + 1,
                Some(entry) => (last, high) = (entry.head.follows, middle),
                None => high = middle,
            }
        }
        Ok(last)
    }
}

impl LogReader for KafkaLogReader {
    fn read_after(&mut self, after: Position, max_bytes: usize) -> Result<Vec<Record>, LogError> {
        let (mut records, list) = self.collect(after, max_bytes).map_err(|problem| self.failed(problem))?;
        self.redact(&mut records, list).map_err(|problem| self.failed(problem))?;
        Ok(records)
    }

    fn get(&mut self, position: Position) -> Result<Option<Record>, LogError> {
        if position < self.first {
            return Ok(None);
        }
        let offset = offset_of(self.first, position);
        let found = self.aside().and_then(|scan| scan.read(offset)).map_err(|problem| self.failed(problem))?;
        let Found::Entries(entries) = found else { return Ok(None) };
        let value = entries.into_iter().next().filter(|(found, _)| *found == offset);
        let entry = match value {
            Some((_, value)) => self.entry(offset, &value).map_err(|problem| self.failed(problem))?,
            None => None,
        };
        let Some(entry) = entry.filter(|entry| entry.head.kind == Kind::Record) else { return Ok(None) };
        let mut record = self.record(entry).map_err(|problem| self.failed(problem))?;
        self.redact(std::slice::from_mut(&mut record), None).map_err(|problem| self.failed(problem))?;
        Ok(Some(record))
    }

    fn before(&mut self, moment: Timestamp) -> Result<Position, LogError> {
        self.try_before(moment).map_err(|problem| self.failed(problem))
    }
}

//! The writing end.
use std::sync::Arc;
use std::time::Duration;

use weir_clock::Clock;

use super::appender::{Appender, Item};
use super::entry::Kind;
use super::fit;
use super::opening;
use super::place::KafkaPlace;
use super::reader::KafkaLogReader;
use crate::mentions::count_step;
use crate::redact::{Redacted, Users};
use crate::{
    AppendError, Checkpoint, End, EventLog, KafkaProblem, LogError, NewRecord, Placement, Position, Redaction, Taking,
    Unsupported,
};

/// How often the writer looks whether another one asks for it or took over.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often the topic's settings are checked.
const CHECK_EVERY: Duration = Duration::from_secs(60);
/// How long a log may get no entry: its name and end must not be dropped with its last one.
const SILENCE_MAX: Duration = Duration::from_secs(3600);
/// Bytes that an entry takes besides its body: its header and names, and what Kafka adds.
const ENTRY_OVERHEAD_BYTES: usize = 512;

/// The writing end of a log in a Kafka.
#[derive(Debug)]
pub struct KafkaLog {
    place: KafkaPlace,
    appender: Appender,
    clock: Arc<dyn Clock>,
    /// This weir as others read it.
    holder: String,
    checked_at: Duration,
    /// Why the topic must not be trusted at the moment.
    trouble: Option<String>,
}

impl KafkaLog {
    /// Opens the log at `place` for writing.
    pub fn open(place: &KafkaPlace, taking: Taking, clock: Arc<dyn Clock>) -> Result<Self, LogError> {
        let opened = opening::open(place, &taking, clock.now()).map_err(|problem| place.failed(problem))?;
        let (place, checked_at) = (place.clone(), clock.elapsed());
        let appender = Appender::new(opened, Arc::clone(&clock));
        Ok(KafkaLog { place, appender, clock, holder: taking.holder, checked_at, trouble: None })
    }

    /// The log's name: 32 random hex digits.
    pub fn id(&self) -> &str {
        &self.appender.tail().id
    }

    /// Why nothing may be appended now. Looks again if there was a reason before.
    fn trouble(&mut self) -> Option<AppendError> {
        self.trouble.as_ref()?;
        self.check();
        self.trouble.clone().map(AppendError::Locked)
    }

    /// Looks whether the topic still keeps what is acknowledged. Brokers that do not answer are left to the next attempt.
    fn check(&mut self) {
        let opened = &mut self.appender.opened;
        let client = &*opened.client;
        let checked = client.topic().and_then(|topic| match topic {
            Some(topic) => fit::check(client, &topic, self.place.keep),
            None => Ok(opened.chunk_max_bytes),
        });
        match checked {
            Ok(chunk_max_bytes) => {
                opened.chunk_max_bytes = chunk_max_bytes;
                self.trouble = None;
            }
            Err(problem @ KafkaProblem::Unfit(_)) => self.trouble = Some(problem.to_string()),
            Err(_) => {}
        }
    }

    /// The records in groups that fit into one batch each.
    fn chunks<'a>(&self, records: &'a [NewRecord]) -> Result<Vec<Vec<Item<'a>>>, AppendError> {
        let most = self.appender.opened.chunk_max_bytes;
        let (mut chunks, mut room) = (Vec::<Vec<Item<'a>>>::new(), 0);
        for record in records {
            let bytes = record.packed_bytes() + ENTRY_OVERHEAD_BYTES;
            if bytes > most {
                return Err(AppendError::Full(format!(
                    "a body packs into {bytes} bytes, and its topic takes {most}; raise `max.message.bytes` of the topic"
                )));
            }
            if chunks.is_empty() || bytes > room {
                (room, _) = (most, chunks.push(Vec::new()));
            }
            room -= bytes;
            if let Some(chunk) = chunks.last_mut() {
                chunk.push(Item::Record(record));
            }
        }
        Ok(chunks)
    }

    /// Looks whether another weir asks for this one, and says that it is there; also where the log was silent for long.
    fn attend(&mut self) -> Result<(), AppendError> {
        self.appender.look_around()?;
        let silent = self.clock.elapsed().saturating_sub(self.appender.wrote_at) >= SILENCE_MAX;
        if self.appender.asked || silent {
            self.appender.put(&[Item::Note(Kind::Present, self.holder.as_bytes())])?;
            self.appender.asked = false;
        }
        Ok(())
    }
}

impl EventLog for KafkaLog {
    fn end(&self) -> End {
        self.appender.tail().end
    }

    fn append(&mut self, records: &[NewRecord]) -> Result<Vec<Placement>, AppendError> {
        if let Some(trouble) = self.trouble() {
            return Err(trouble);
        }
        let mut placements = Vec::with_capacity(records.len());
        for chunk in self.chunks(records)? {
            placements.extend(self.appender.put(&chunk)?);
        }
        Ok(placements)
    }

    fn redaction(&mut self) -> Result<&mut dyn Redaction, Unsupported> {
        Ok(self)
    }

    fn checkpoint(&mut self) -> Result<&mut dyn Checkpoint, Unsupported> {
        Ok(self)
    }
}

impl Checkpoint for KafkaLog {
    /// Answers another weir that asks for this one, and looks at the topic's settings now and then; records are in their final place
    /// already.
    fn checkpoint(&mut self) -> Result<(), AppendError> {
        let now = self.clock.elapsed();
        if now.saturating_sub(self.checked_at) >= CHECK_EVERY {
            self.checked_at = now;
            self.check();
        }
        if !self.appender.asked && now.saturating_sub(self.appender.looked_at) < LOOK_EVERY {
            return Ok(());
        }
        self.attend()
    }
}

impl Redaction for KafkaLog {
    /// Records cannot change. The steps count those that name a user; the last one makes all readers overwrite the names.
    fn redact(&mut self, after: Position, until: Position, users: &Users) -> Result<Redacted, AppendError> {
        let locked = |error: LogError| AppendError::Locked(error.to_string());
        let mut reader = KafkaLogReader::open(&self.place).map_err(locked)?;
        let done = count_step(&mut reader, after, until, users)?;
        if done.through.is_none() {
            let known = reader.list(self.appender.tail().list).map_err(locked)?;
            let mut before = 0;
            for part in known.with(users, until).parts() {
                let placed = self.appender.put(&[Item::Note(Kind::Forgotten, &part(before))])?;
                before = placed.first().map_or(before, |placement| placement.position);
            }
        }
        Ok(done)
    }
}

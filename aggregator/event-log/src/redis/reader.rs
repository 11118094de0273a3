//! The reading end.
use std::collections::HashSet;
use std::time::Duration;

use redis::{RedisError, Value, cmd, from_redis_value};
use weir_contract::Timestamp;

use super::entry;
use super::errors::failed;
use super::place::{Keys, RedisPlace};
use super::session::Session;
use crate::outside::pause;
use crate::redact::Users;
use crate::{LogError, LogReader, Position, Record, RedisProblem};

/// The most records of one exchange.
const READ_MAX_RECORDS: usize = 256;
/// The size of a body before any was read, in bytes.
const FIRST_GUESS_BYTES: usize = 64 * 1024;
/// Attempts to reach the server before an error is returned; readers come back by themselves.
const ATTEMPTS: u32 = 3;
/// The pause between two attempts.
const PAUSE: Duration = Duration::from_millis(100);

/// A reading end of a log in Redis.
#[derive(Debug)]
pub struct RedisLogReader {
    place: RedisPlace,
    keys: Keys,
    session: Session,
    id: String,
    /// The size of the bodies of the last exchange, each.
    body_bytes: usize,
    redactions: Redactions,
}

/// The users whose names are overwritten, as of a version of the list.
#[derive(Debug, Default)]
struct Redactions {
    version: u64,
    users: Users,
}

/// What the log says of itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    pub(super) first: Position,
    pub(super) last: Position,
    redacted_through: Position,
    redactions: u64,
}

const FACTS: [&str; 5] = ["id", "first", "last", "redacted_through", "redactions"];
type FactsAnswer = (Option<String>, Option<u64>, Option<u64>, Option<u64>, Option<u64>);

impl RedisLogReader {
    /// Opens the log at `place` for reading.
    pub fn open(place: &RedisPlace) -> Result<Self, LogError> {
        Self::find(place)?.ok_or_else(|| place.failed(RedisProblem::Lost("there is none".to_owned())))
    }

    /// Opens the log at `place` for reading; None if there is none.
    pub fn find(place: &RedisPlace) -> Result<Option<Self>, LogError> {
        let client = place.client().map_err(|error| place.failed(error))?;
        let mut session = Session::for_reading(client).map_err(|problem| place.failed(problem))?;
        let (place, keys) = (place.clone(), place.keys());
        let id: Option<String> =
            session.run(cmd("HGET").arg(&keys.meta).arg("id")).map_err(|error| place.failed(failed(&error)))?;
        let (body_bytes, redactions) = (FIRST_GUESS_BYTES, Redactions::default());
        Ok(id.map(|id| RedisLogReader { place, keys, session, id, body_bytes, redactions }))
    }

    /// The log's name.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The first position that is kept, and the last one.
    pub fn ends(&mut self) -> Result<(Position, Position), LogError> {
        let (facts, _) = self.exchange(1, 1, 1)?;
        Ok((facts.first, facts.last))
    }

    /// The users whose names are overwritten, and up to which record.
    pub(crate) fn forgotten(&mut self) -> Result<(Users, Position), LogError> {
        let (facts, _) = self.exchange(1, 1, 1)?;
        Ok((self.redactions.users.clone(), facts.redacted_through))
    }

    /// The last record; the log must have one.
    pub(super) fn last_record(&mut self, last: Position) -> Result<Record, LogError> {
        let found = self.get(last)?;
        found.ok_or_else(|| self.lost(format!("its last record, {last}, is missing")))
    }

    fn lost(&self, why: String) -> LogError {
        self.place.failed(RedisProblem::Lost(why))
    }

    /// Reads up to `count` records from `from` to `to`, and what the log says of itself at that moment.
    fn exchange(&mut self, from: Position, to: Position, count: usize) -> Result<(Facts, Vec<Record>), LogError> {
        let mut commands = redis::pipe();
        commands.cmd("HMGET").arg(&self.keys.meta).arg(&FACTS);
        let end = if to == Position::MAX { "+".to_owned() } else { format!("{to}-0") };
        commands.cmd("XRANGE").arg(&self.keys.stream).arg(format!("{from}-0")).arg(end).arg("COUNT").arg(count);
        let answered = self.retried(|session| session.run_all::<(FactsAnswer, Value)>(&commands));
        let (facts, entries) = answered.map_err(|error| self.place.failed(failed(&error)))?;
        let facts = self.facts(facts)?;
        self.refresh(facts)?;
        let records = self.records(facts, entries)?;
        Ok((facts, records))
    }

    fn retried<T>(&mut self, run: impl Fn(&mut Session) -> Result<T, RedisError>) -> Result<T, RedisError> {
        for _ in 1..ATTEMPTS {
            match run(&mut self.session) {
                Err(error) if error.is_io_error() => {
                    pause(PAUSE);
                    let _asked_again_below = self.session.reconnect();
                }
                answered => return answered,
            }
        }
        run(&mut self.session)
    }

    fn facts(&self, (id, first, last, through, redactions): FactsAnswer) -> Result<Facts, LogError> {
        if id.as_ref() != Some(&self.id) {
            return Err(self.lost("it is gone, or another one is in its place".to_owned()));
        }
        let whole = first.zip(last).zip(through.zip(redactions));
        let Some(((first, last), (redacted_through, redactions))) = whole else {
            return Err(self.lost("what weir keeps beside its entries is damaged".to_owned()));
        };
        Ok(Facts { first, last, redacted_through, redactions })
    }

    /// Reads the list of redacted users again if it has changed.
    fn refresh(&mut self, facts: Facts) -> Result<(), LogError> {
        if facts.redactions == self.redactions.version {
            return Ok(());
        }
        let mut names = cmd("SMEMBERS");
        names.arg(&self.keys.redacted);
        let found = self.retried(|session| session.run::<HashSet<String>>(&names));
        let found = found.map_err(|error| self.place.failed(failed(&error)))?;
        let users = Users::new(found.iter().map(String::as_str));
        self.redactions = Redactions { version: facts.redactions, users };
        Ok(())
    }

    fn records(&self, facts: Facts, entries: Value) -> Result<Vec<Record>, LogError> {
        let answer = |error: redis::ParsingError| self.place.failed(RedisProblem::Failed(error.to_string()));
        let entries: Vec<Value> = from_redis_value(entries).map_err(answer)?;
        entries.into_iter().map(|entry| self.record(facts, entry)).collect()
    }

    fn record(&self, facts: Facts, value: Value) -> Result<Record, LogError> {
        let Some((position, header, packed)) = parts(value) else {
            return Err(self.lost("it has an entry that weir did not write".to_owned()));
        };
        let damaged = |what: String| LogError::Damaged { log: self.place.label(), position, what: what.into() };
        let mut record = entry::read(position, &header, &packed).map_err(damaged)?;
        if position <= facts.redacted_through && !self.redactions.users.is_empty() {
            self.redactions.users.redact(&mut record.body);
        }
        Ok(record)
    }
}

/// Position, header and body of an entry.
fn parts(entry: Value) -> Option<(Position, Vec<u8>, Vec<u8>)> {
    let Value::Array(mut entry) = entry else { return None };
    let (fields, id) = (entry.pop()?, entry.pop()?);
    let Value::BulkString(id) = id else { return None };
    let position = std::str::from_utf8(&id).ok()?.strip_suffix("-0")?.parse().ok().filter(|position| *position > 0)?;
    let Value::Array(mut fields) = fields else { return None };
    let (packed, header) = (fields.pop()?, {
        fields.pop()?;
        fields.pop()?
    });
    match (header, packed) {
        (Value::BulkString(header), Value::BulkString(packed)) if fields.len() == 1 => Some((position, header, packed)),
        _ => None,
    }
}

impl LogReader for RedisLogReader {
    fn read_after(&mut self, after: Position, max_bytes: usize) -> Result<Vec<Record>, LogError> {
        let (mut read, mut bytes, mut from) = (Vec::new(), 0_usize, after + 1);
        while bytes < max_bytes {
            let count = ((max_bytes - bytes) / self.body_bytes.max(1)).clamp(1, READ_MAX_RECORDS);
            let (facts, records) = self.exchange(from, Position::MAX, count)?;
            let Some(last) = records.last().map(|record| record.position) else {
                if from <= facts.last && from >= facts.first {
                    return Err(self.lost(format!("record {from} and those after it are gone")));
                }
                break;
            };
            let (found, complete) = (records.len(), records.len() < count);
            let size: usize = records.iter().map(|record| record.body.len()).sum();
            (self.body_bytes, from) = (size / found + 1, last + 1);
            for record in records {
                if bytes >= max_bytes {
                    return Ok(read);
                }
                bytes += record.body.len();
                read.push(record);
            }
            if complete {
                break;
            }
        }
        Ok(read)
    }

    fn before(&mut self, moment: Timestamp) -> Result<Position, LogError> {
        let (mut low, mut high) = self.ends()?;
        let mut last = low - 1;
        while low <= high {
            let middle = low + (high - low) / 2;
            // A record that is pruned meanwhile was received before.
            let earlier = self.get(middle)?.is_none_or(|record| record.received_at < moment);
            if earlier {
                (last, low) = (middle, middle + 1);
            } else {
                high = middle - 1;
            }
        }
        Ok(last)
    }

    fn get(&mut self, position: Position) -> Result<Option<Record>, LogError> {
        if position == 0 {
            return Ok(None);
        }
        let (_, mut records) = self.exchange(position, position, 1)?;
        Ok(records.pop())
    }
}

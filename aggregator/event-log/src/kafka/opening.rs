//! Opens a log for writing: finds its end, makes sure that nobody else writes, and claims it.
use std::hash::Hasher;
use std::sync::Arc;
use std::time::Duration;

use siphasher::sip::SipHasher13;
use weir_contract::Timestamp;

use super::entry::{self, Entry, Head, Kind, position_at};
use super::fit;
use super::place::KafkaPlace;
use super::tail::{Seen, Tail, Writer, standing};
use crate::brokers::Outcome;
use crate::brokers::{Brokers, Found, Producing, Scanning, Topic};
use crate::outside::{pause, random};
use crate::taking::random_name;
use crate::{Create, End, KafkaProblem, Taking};

/// How long a writer that is asked may take to answer. It looks once a second.
const ANSWER_WAIT: Duration = Duration::from_secs(6);
/// The pause between two looks for its answer, and between two attempts to claim.
const PAUSE: Duration = Duration::from_millis(200);
/// Attempts to claim a log in which others write, or whose brokers do not answer.
const CLAIMS_MAX: u32 = 20;
/// Looks for a topic that was just made: brokers hear of it one after the other.
const LOOKS_MAX: u32 = 50;
/// Entries that are read at first to find the last one that counts.
const BACK_FIRST: i64 = 64;

/// A log that this process may write to.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) client: Arc<dyn Brokers>,
    pub(super) scan: Box<dyn Scanning>,
    pub(super) producer: Arc<dyn Producing>,
    pub(super) tail: Tail,
    pub(super) own: Writer,
    /// The most bytes of entries that one batch may have.
    pub(super) chunk_max_bytes: usize,
}

/// Opens the log at `place`.
pub(super) fn open(place: &KafkaPlace, taking: &Taking, now: Timestamp) -> Result<Opened, KafkaProblem> {
    let client = place.connect()?;
    let topic = topic(&*client, place, &taking.create)?;
    let chunk_max_bytes = fit::check(&*client, &topic, place.keep)?;
    if client.settings()?.is_none() {
        tracing::warn!(
            "the brokers do not tell the settings of the event log's topic: see that they keep what is acknowledged"
        );
    }
    let (mut scan, producer) = (client.scan()?, client.producer()?);
    let own = Writer { owner: owner(&taking.owner), writer: drawn()?, released: false };
    let mut why = "others keep writing to it".to_owned();
    for _ in 0..CLAIMS_MAX {
        let mut tail = expected(last(&mut *scan)?, &taking.create)?;
        if tail.by.owner != own.owner && !tail.by.released {
            ask(&*producer, &mut *scan, &mut tail, (&own, taking))?;
        }
        match claim(&*producer, &tail, (&own, taking), now) {
            Ok(offset) if offset == tail.next => {
                tail.next += 1;
                tail.by = own;
                return Ok(Opened { client, scan, producer, tail, own, chunk_max_bytes });
            }
            // Something else took the place: look again.
            Ok(_) => {}
            Err(Outcome::Unknown(error)) => why = error,
            Err(Outcome::Refused(error)) => return Err(KafkaProblem::Failed(error.to_string())),
            Err(Outcome::Over(problem)) => return Err(problem),
        }
        pause(PAUSE);
    }
    Err(KafkaProblem::Failed(why))
}

/// Finds the topic, or makes it.
fn topic(client: &dyn Brokers, place: &KafkaPlace, create: &Create) -> Result<Topic, KafkaProblem> {
    if let Some(topic) = client.topic()? {
        return Ok(topic);
    }
    if matches!(create, Create::Never(_)) {
        return Err(none());
    }
    client.create(place.keep)?;
    for _ in 0..LOOKS_MAX {
        if let Some(topic) = client.topic()? {
            return Ok(topic);
        }
        pause(PAUSE);
    }
    Err(KafkaProblem::Failed("its topic was made, and is not there".to_owned()))
}

fn none() -> KafkaProblem {
    KafkaProblem::Lost("there is none".to_owned())
}

/// The log that was found, if it is the expected one; else a new one, if one may be made.
fn expected(found: Option<Tail>, create: &Create) -> Result<Tail, KafkaProblem> {
    let (name, first) = match (found, create) {
        (None, Create::Never(_)) => return Err(none()),
        (Some(tail), Create::IfMissing) => return Ok(tail),
        (Some(tail), Create::Never(name) | Create::As(name, _)) if *tail.id == **name => return Ok(tail),
        (Some(_), _) => return Err(KafkaProblem::Lost("another one is in its place".to_owned())),
        (None, Create::As(name, first)) => (name.clone(), *first),
        (None, Create::IfMissing) => (random_name().map_err(|error| no_random_bytes(&error))?, 1),
    };
    Ok(Tail {
        id: name.into(),
        first,
        next: 0,
        end: End { position: position_at(first, 0), forgotten_before: 0 },
        list: 0,
        by: Writer { owner: 0, writer: 0, released: true },
    })
}

/// Reads the log's end. None if nothing was ever written.
pub(super) fn last(scan: &mut dyn Scanning) -> Result<Option<Tail>, KafkaProblem> {
    let (low, high) = scan.ends()?;
    let mut back = BACK_FIRST;
    loop {
        let from = low.max(high - back);
        let (next, tail) = read_from(scan, from)?;
        match tail {
            Some(tail) => return Ok(Some(Tail { next, ..tail })),
            None if next == 0 => return Ok(None),
            None if from <= low => return Err(nameless()),
            None => back = back.saturating_mul(16),
        }
    }
}

/// Reads the oldest entry that counts. None if nothing was ever written.
pub(super) fn oldest(scan: &mut dyn Scanning) -> Result<Option<Entry>, KafkaProblem> {
    let (mut next, _) = scan.ends()?;
    loop {
        match scan.read(next)? {
            Found::Entries(entries) => {
                for (offset, value) in entries {
                    if let Seen::Counts(entry) = standing(offset, &value)? {
                        return Ok(Some(entry));
                    }
                    next = offset + 1;
                }
            }
            Found::Dropped(low) => next = low,
            Found::End | Found::Short(_) if next == 0 => return Ok(None),
            Found::End | Found::Short(_) => return Err(nameless()),
        }
    }
}

fn nameless() -> KafkaProblem {
    KafkaProblem::Lost("its topic has dropped all entries, and so its name".to_owned())
}

/// Reads all entries from an offset on. Returns the offset behind them, and what they say of the log if any of them counts.
fn read_from(scan: &mut dyn Scanning, from: i64) -> Result<(i64, Option<Tail>), KafkaProblem> {
    let (mut next, mut tail) = (from, None::<Tail>);
    loop {
        match scan.read(next)? {
            Found::Entries(entries) => {
                for (offset, value) in entries {
                    match &mut tail {
                        Some(tail) => drop(tail.take(offset, &value)?),
                        None => {
                            if let Seen::Counts(entry) = standing(offset, &value)? {
                                tail = Some(Tail::starting_at(offset, &entry));
                            }
                        }
                    }
                    next = offset + 1;
                }
            }
            Found::End => return Ok((next, tail)),
            Found::Dropped(low) => next = low,
            Found::Short(end) => next = end,
        }
    }
}

/// Asks whether the log's writer is there; an error if it is.
fn ask(
    producer: &dyn Producing,
    scan: &mut dyn Scanning,
    tail: &mut Tail,
    (own, taking): (&Writer, &Taking),
) -> Result<(), KafkaProblem> {
    tracing::warn!("another weir had the event log; asking whether it is still there");
    let question = entry::note(&head(Kind::Asked, tail, own, Timestamp::from_millis(0)), taking.holder.as_bytes());
    if let Err(Outcome::Refused(error)) = producer.append(vec![(0, question)]) {
        return Err(KafkaProblem::Failed(error.to_string()));
    }
    let (mut waited, mut holder) = (Duration::ZERO, None);
    while waited < ANSWER_WAIT {
        while let Found::Entries(entries) = scan.read(tail.next)? {
            for (offset, value) in entries {
                if let Seen::Counts(entry) = tail.take(offset, &value)? {
                    if entry.head.kind == Kind::Present {
                        return Err(KafkaProblem::InUse(String::from_utf8_lossy(&entry.content).into_owned()));
                    }
                    holder = Some("another weir".to_owned()).filter(|_| !tail.by.released);
                }
            }
        }
        pause(PAUSE);
        waited += PAUSE;
    }
    holder.map_or(Ok(()), |holder| Err(KafkaProblem::InUse(holder)))
}

fn claim(
    producer: &dyn Producing,
    tail: &Tail,
    (own, taking): (&Writer, &Taking),
    now: Timestamp,
) -> Result<i64, Outcome> {
    let claim = entry::note(&head(Kind::Claim, tail, own, now), taking.holder.as_bytes());
    producer.append(vec![(timestamp(now), claim)])
}

/// The header of a note right behind the end.
pub(super) fn head(kind: Kind, tail: &Tail, own: &Writer, received_at: Timestamp) -> Head {
    Head {
        kind,
        first: tail.first,
        position: position_at(tail.first, tail.next),
        follows: tail.end.position,
        list: tail.list,
        received_at,
        forgotten_before: tail.end.forgotten_before,
        owner: own.owner,
        writer: own.writer,
        group: 0,
        id: tail.id.clone(),
    }
}

/// A moment as Kafka writes it.
pub(super) fn timestamp(moment: Timestamp) -> i64 {
    i64::try_from(moment.as_millis()).unwrap_or(i64::MAX)
}

fn owner(name: &str) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write(name.as_bytes());
    hasher.finish()
}

fn drawn() -> Result<u64, KafkaProblem> {
    random().map(u64::from_le_bytes).map_err(|error| no_random_bytes(&error))
}

fn no_random_bytes(error: &getrandom::Error) -> KafkaProblem {
    KafkaProblem::Failed(format!("no random bytes: {error}"))
}

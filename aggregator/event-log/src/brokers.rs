//! What a log in a Kafka needs of the brokers of its topic. The client implements it; the simulator plays it.
use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use crate::{AppendError, KafkaProblem};

/// A connection to the brokers.
pub trait Brokers: Debug + Send + Sync {
    /// The topic; None if there is none.
    fn topic(&self) -> Result<Option<Topic>, KafkaProblem>;

    /// The topic's settings; None where the brokers do not tell them.
    fn settings(&self) -> Result<Option<HashMap<String, String>>, KafkaProblem>;

    /// Makes the topic, with three copies if there are as many brokers. One that somebody else made meanwhile will do.
    fn create(&self, keep: Duration) -> Result<(), KafkaProblem>;

    /// A reading end of the topic, which must be there.
    fn scan(&self) -> Result<Box<dyn Scanning>, KafkaProblem>;

    /// A writing end of the topic.
    fn producer(&self) -> Result<Arc<dyn Producing>, KafkaProblem>;
}

/// A topic, as the brokers describe it.
#[derive(Clone, Copy, Debug)]
pub struct Topic {
    /// How many partitions it has.
    pub partitions: usize,
    /// Brokers that have its first partition.
    pub replicas: usize,
}

/// A writing end of a topic.
pub trait Producing: Debug + Send + Sync {
    /// Appends entries, of which each is Kafka's timestamp and a value, as one batch. Returns the offset of the first one.
    fn append(&self, entries: Vec<(i64, Vec<u8>)>) -> Result<i64, Outcome>;

    /// Ends it without waiting for what it still sends.
    fn end(&self);
}

/// A reading end of a topic.
pub trait Scanning: Debug + Send {
    /// The first offset, and the one behind the last. Some brokers say less than the latter.
    fn ends(&self) -> Result<(i64, i64), KafkaProblem>;

    /// Reads some entries from `offset` on.
    fn read(&mut self, offset: i64) -> Result<Found, KafkaProblem>;
}

/// The offset and the value of an entry.
pub type Raw = (i64, Vec<u8>);

/// What is at an offset.
#[derive(Debug)]
pub enum Found {
    /// Entries from there on, at least one.
    Entries(Vec<Raw>),
    /// Nothing yet: the log ends right before it.
    End,
    /// Nothing any more: the log begins at this offset.
    Dropped(i64),
    /// Nothing: the log ends before it, at this offset.
    Short(i64),
}

/// What an error of a request means for entries that were to be appended.
#[derive(Debug)]
pub enum Outcome {
    /// Nothing was written; the same may succeed later.
    Refused(AppendError),
    /// Whether it was written is unknown, or the brokers cannot answer now: look, and send again.
    Unknown(String),
    /// Nothing more may be written.
    Over(KafkaProblem),
}

impl From<KafkaProblem> for Outcome {
    fn from(problem: KafkaProblem) -> Self {
        match problem {
            KafkaProblem::Failed(why) => Outcome::Unknown(why),
            KafkaProblem::Settings(_) | KafkaProblem::Unfit(_) | KafkaProblem::InUse(_) => {
                Outcome::Refused(AppendError::Locked(problem.to_string()))
            }
            KafkaProblem::Lost(_) | KafkaProblem::Damaged { .. } | KafkaProblem::Version(_) | KafkaProblem::Fenced => {
                Outcome::Over(problem)
            }
        }
    }
}

//! The event log in a topic of a Kafka: one record per accepted body, and a few notes of weir's own among them.
//!
//! # Constraints
//!
//! - A record is acknowledged once all in-sync replicas have it (`acks=all`). A topic that is set to lose or drop acknowledged records
//!   is refused, as far as the brokers tell its settings.
//! - The topic has one partition. A record's position is its offset, plus a number that is the same for the whole log: 0, unless a
//!   backup was restored whose first position was another. Notes take offsets too, so positions have gaps; each record names the
//!   record that it follows.
//! - Each entry says at which position it belongs, and counts only if it stands there. A writer sends a group for the place right
//!   behind the end that it knows. If anything else took that place first, the whole group is dead: readers pass over it, and the
//!   writer sends it again. So a repeat is never there twice, and nothing is written behind the back of another writer.
//! - A group is cut into requests of one batch each, sent one after the other. A broker takes a batch whole or not at all.
//! - One weir writes at a time. Opening the log appends a claim. Whoever wrote before it can write nothing any more, since all that it
//!   sends belongs to a place that is taken. Before a weir claims a log of another owner it appends a question, and is refused if the
//!   writer answers within some seconds.
//! - The log has a name, drawn once; every entry has it. A topic that is gone, was made anew, or ends too early is refused. Where it
//!   ends is known from the answers to appends, not from the brokers' word alone.
//! - Records cannot change. The names of forgotten users stand in notes, and readers overwrite them in the records that the ledger has
//!   counted. Every entry names the note with the latest list.
//! - Kafka drops old records itself (`retention.ms`). Lists are behind the records that they are about, so they are not dropped before
//!   them.
//!
//! # Layout
//!
//! The value of an entry is described in `entry.rs`. It has the number of its partition and the number of partitions, 0 and 1 today: a
//! log with more of them will be a log of the same format. Keys and headers of Kafka are not used. Kafka's timestamp is the time of
//! receipt.
//!
//! # Recovery
//!
//! - No answer to a request: the writer reads what is behind the end that it knows. Either the batch is there, or it is sent again for
//!   the place behind whatever is there. After some seconds the group is refused; should it arrive late, it counts if it stands in its
//!   place, and the ledger knows repeats of its events by their ids.
//! - Too few in-sync replicas, a broker that is away: the group is refused after some seconds.
//! - A record that is too large for the topic: refused at once ([`AppendError::Full`](crate::AppendError::Full)).
//! - Lost records (a deleted topic, an unclean election, a broker that lost its disk): the log ends before the end that the writer or
//!   the ledger knows, or has another name. Both refuse it: restore a backup.
//! - Decay: every entry has a checksum of weir's own besides Kafka's.
mod appender;
mod bridge;
mod client;
mod entry;
mod errors;
mod fit;
mod lists;
mod log;
mod opening;
mod place;
mod reader;
mod scan;
mod tail;
#[cfg(test)]
mod tests;
mod waits;

pub use log::KafkaLog;
pub use place::KafkaPlace;
pub use reader::KafkaLogReader;

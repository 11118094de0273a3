//! The event log in Redis Streams: one stream, one entry per accepted body.
//!
//! # Constraints
//!
//! - An entry is acknowledged once Redis has synced it (`appendonly yes`, `appendfsync always`), or once as many replicas as the
//!   settings ask for have it (`WAIT`). A server that is set otherwise is refused, at the start and at each new connection.
//! - Positions count from 1 without gaps, and are the ids of the entries (`POSITION-0`). A group of records is appended by one
//!   script, all or none, and only at the end that the writer knows.
//! - One weir writes at a time. Taking the right to write raises the log's epoch, and every script compares it: a weir that was
//!   paused or cut off can write nothing once another has taken over. A lease of some seconds, renewed while a weir runs, keeps
//!   a second one from taking over by mistake.
//! - The log has a name, drawn once. A ledger belongs to one log. A log that is gone, was made anew, or lacks entries is refused.
//! - Entries cannot change. The names of forgotten users stand in a set, and readers overwrite them in the records that the ledger
//!   has counted. The names stay in Redis's memory and files until retention drops the entries.
//! - Old entries are dropped with `XTRIM MINID`, never the last one.
//!
//! # Layout
//!
//! The keys begin with `weir:log:{NAME/0}:`, where 0 is the number of the partition; there is one today. `NAME` is the setting
//! `log.name`.
//!
//! | key | type | content |
//! |---|---|---|
//! | `stream` | stream | entries `POSITION-0` with the fields `h` (header: time, format, gateway, checksum) and `b` (LZ4 block) |
//! | `meta` | hash | `format` (1), `id`, `partitions` (1), `epoch`, `first`, `last`, `group` (the last group's name: `EPOCH:NUMBER`), `redacted_through`, `redactions` |
//! | `lease` | hash that expires | `owner`, `holder` (for people), `epoch` |
//! | `redacted` | set | forgotten users, as events name them |
//!
//! # Recovery
//!
//! - No answer to an append: the writer connects anew and sends the group again. The group's name says whether it is in the log
//!   already. After some seconds the group is refused; should it arrive late, the next append goes on behind it, and the
//!   ledger knows repeats of its events by their ids.
//! - Redis restarts: `LOADING` is waited for. Its log then ends where the last acknowledged group ends, or behind it.
//! - Out of memory (`maxmemory`): the group is refused whole ([`AppendError::Full`](crate::AppendError::Full)).
//! - Lost entries (a truncated append-only file, a fail-over to a replica that lagged, `DEL`, `FLUSHALL`): the log ends before the
//!   end that the writer or the ledger knows, or has another name. Both refuse it: restore a backup.
//! - Decay: every entry has a checksum over its position, header and body, since Redis itself loads a flipped byte silently.
mod aside;
mod durable;
mod entry;
mod errors;
mod log;
mod place;
mod reader;
mod scripts;
mod session;
mod taking;
#[cfg(test)]
mod tests;

pub use aside::move_aside;
pub use log::RedisLog;
pub use place::{DEFAULT_NAME, RedisPlace};
pub use reader::RedisLogReader;
#[cfg(feature = "simulated")]
pub use scripts::all as scripts;

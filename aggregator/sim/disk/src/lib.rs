//! A disk in memory that fails as it is told, and SQLite on top of it.
//!
//! The simulator of the aggregator runs the real code on this disk: the product opens its files by name, and a name such as
//! `file:log.sqlite?vfs=weir-disk` brings it here. Every thread has one [`Disk`] of its own, and everything that happens to
//! it follows from its seed and from the calls made.
//!
//! What it models is a journaling file system under Linux:
//!
//! * A write is visible at once and durable after a sync of its file. At a loss of power each write since the last sync is
//!   there, gone, or torn at a sector, in any order.
//! * A removed file may come back, until anything is synced.
//! * A failed sync drops what it should have made durable, in part or whole, and the next sync knows nothing of it; readers
//!   see it until the power goes.
//! * A killed process loses its handles, locks and shared memory, and nothing else.
//!
//! `disk` is the model, without `unsafe`; `vfs` translates between it and SQLite's C interface.
mod disk;
mod locks;
mod vfs;

pub use disk::{Copies, Crash, Disk, Fault};
pub use vfs::{NAME, install, seed_sqlite, with};

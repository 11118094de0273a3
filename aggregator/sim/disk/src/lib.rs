//! A disk in memory with planned faults, and SQLite on top of it.
//!
//! The simulator runs the aggregator's real code on this disk: the product opens its files by name, and a name such as
//! `file:log.sqlite?vfs=weir-disk` leads here. Every thread has one [`Disk`] of its own; its behaviour depends only on
//! its seed and on the calls made.
//!
//! It models a journaling file system under Linux:
//!
//! * A write is visible at once and durable after a sync of its file. At a loss of power each write since the last sync is
//!   there, gone, or torn at a sector, in any order.
//! * A removed file may come back, until anything is synced.
//! * A failed sync drops the changes that it covers, in part or whole, and the next sync does not notice. Readers see
//!   them until power is lost.
//! * A killed process loses only its handles, locks and shared memory.
//!
//! `disk` is the model, without `unsafe`; `vfs` translates between it and SQLite's C interface.
mod disk;
mod locks;
mod vfs;

pub use disk::{Copies, Crash, Disk, Fault};
pub use vfs::{NAME, install, seed_sqlite, with};

//! Budgets, their stages, and who is told of them.
//!
//! [`file`](mod@file) is the shape of `budgets` in weir.yaml, [`budget`] what is compiled from it, [`calendar`] says when periods begin.
//! [`engine`] follows the ledger through its port [`weir_ledger::steering`]: in the transaction that counts events it adds to what
//! each budget has used, and notes each change of a stage. [`raise`] changes amounts until a date. [`view`] reads all that.
//! [`alert`] compares rules with what was measured, [`doubt`] tells what in `alerts` names nobody. [`receiver`] says who is told of changes, [`message`] in which words, and [`notice`] keeps each message until it is delivered.
//!
//! # Constraints
//!
//! - What a budget has used equals the sums of the ledger over its period, at every position of the log. A budget of all of a
//!   tenant's requests begins with what its period has used so far; one of a feature, a route, a class, a model or a key
//!   begins with 0 when it is set up.
//! - A period is part of the key: nothing is ever reset, and a stage ends with its period.
//! - Periods begin at full hours of UTC, as the ledger's windows do; billing periods at the second, since windows are cut there.
//! - The budgets have [`file::BUDGETS_MAX`] as their bound; so have raises ([`raise::RAISES_MAX`]), receivers
//!   ([`receiver::RECEIVERS_MAX`]) and messages that wait ([`notice::PENDING_MAX`]).
#![forbid(unsafe_code)]

pub mod acts;
pub mod alert;
pub mod budget;
pub mod calendar;
pub mod cause;
mod counters;
pub mod doubt;
pub mod engine;
pub mod file;
pub mod forget;
pub mod hard;
mod known;
mod leasable;
pub mod message;
pub mod notice;
mod past;
pub mod raise;
pub mod receiver;
mod signal;
mod stages;
pub mod subject;
pub mod view;

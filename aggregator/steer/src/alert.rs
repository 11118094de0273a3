//! Alerts: rules over what was measured, their states, and who has silenced or acknowledged them.
//!
//! [`file`](mod@file) is the shape of the rules in weir.yaml, [`rule`] what is compiled from it together with the built-in ones, [`evaluate`]
//! compares rules with sums and readings. [`state`] keeps in the ledger's database which alerts are pending or firing, and notes
//! each change; [`deploy`] keeps marks of deploys, which some rules compare around, [`silence`] holds messages back, and [`crate::notice`] makes messages of changes.
//!
//! # Constraints
//!
//! - Rules look at sums only, never at single events.
//! - A change of an alert is on disk before anybody is told, and is told once to each receiver.
//! - What cannot be measured changes nothing: an alert neither begins nor ends because a question had no answer.
pub(crate) mod built_in;
pub mod deploy;
pub mod evaluate;
pub mod file;
pub mod rule;
pub mod silence;
pub mod state;

//! The whole path in the real Envoy under faults, and what is left of the numbers afterwards.
//!
//! * [`soak`]: mixed providers, clients that leave, an aggregator that fails, lies and dies; then every number of every
//!   source and every token is accounted for.
//! * [`routing`]: two dialects of clients, three providers that fail in every way; every client gets an answer or an error, and the
//!   books of clients, providers, gateway and ledger agree.
//! * [`hostile`]: an attacker's requests and a hostile provider's answers; the gateway goes on, and its accounts are Envoy's.
//! * [`photographs`]: many large bodies at once, and what they cost in memory.
//! * [`spool`]: Envoy is killed under load and its access log replayed; what is lost is measured.
//! * [`estimate`]: how far estimates are from a tokenizer's counts.
//!
//! They hand out [`figures`]: what was measured, and what does not agree.
//!
//! [`proxy`] stands between gateway and aggregator and misbehaves, [`traffic`] is what clients send, [`stack`] is what
//! runs. All chances come from seeded generators, so that a seed repeats a run.

pub mod estimate;
pub mod figures;
pub mod hostile;
pub mod photographs;
pub mod proxy;
pub mod routing;
pub mod soak;
pub mod spool;
pub mod stack;
pub mod traffic;

//! Everything that stands around weir in a test, the demo or a benchmark.
//!
//! | what | where |
//! |---|---|
//! | an LLM provider that reports usage as the real ones do | [`llm`] |
//! | an account at a provider that keeps files, answers, batches and more for all who know their ids | [`account`] |
//! | Stripe, as far as meters are concerned | [`stripe`] |
//! | the real Envoy, from the folder that `make setup` fills | [`envoy`] |
//! | `weir serve`, killed and started again | [`aggregator`] |
//! | the real Alertmanager | [`alertmanager`] |
//! | the real Redis, killed and started again | [`redis`] |
//! | a real broker of Kafka's protocol, killed and started again | [`kafka`] |
//! | the real PostgreSQL, killed and started again | [`postgres`] |
//! | a TCP proxy that cuts connections | [`cutter`] |
//! | any child process | [`process`] |
//! | many requests at once, answers recorded | [`load`] |
//!
//! All of it speaks real TCP on loopback, on ports that were free, and all of it ends when its value is dropped.

pub mod account;
pub mod aggregator;
pub mod alertmanager;
pub mod clock;
pub mod cutter;
pub mod envoy;
pub mod kafka;
pub mod llm;
pub mod load;
pub mod postgres;
pub mod probe;
pub mod process;
pub mod redis;
pub mod server;
pub mod stripe;
pub mod workspace;

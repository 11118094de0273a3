//! The proxy-wasm host: VMs, their imports, and their shared state.
//!
//! From the inside out: [`abi`] has the numbers, [`headers`] and [`stream`] the data that a guest reads and edits,
//! [`vm`] one instance and its hostcalls, [`shared`] the state that instances share, [`worker`] a thread of a gateway
//! that drives requests through its instance, [`quirks`] every observed behaviour by name.

pub mod abi;
pub mod calls;
pub mod chaos;
pub mod clock;
pub mod headers;
pub mod logs;
pub mod module;
pub mod quirks;
pub mod settings;
pub mod shared;
pub mod stream;
pub mod vm;
pub mod worker;

pub use abi::{Action, Callback, LogLevel, Status};
pub use chaos::Chaos;
pub use clock::Clock;
pub use headers::Headers;
pub use logs::{LogLine, Place};
pub use module::FilterModule;
pub use quirks::{Profile, Quirk, Quirks};
pub use settings::{FailurePolicy, Settings};
pub use vm::{Cost, Trap, Vm};
pub use worker::Worker;

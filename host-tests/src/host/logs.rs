//! The log of one gateway's guests.

use std::fmt;
use std::sync::{Arc, Mutex};

use super::abi::LogLevel;

/// The longest line of nginx's error log, in bytes; the rest is cut. Source: `NGX_MAX_ERROR_STR` in `ngx_log.h`.
pub(crate) const NGINX_LOG_LINE_BYTES_MAX: usize = 2048;

/// The place of a VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// Envoy's main thread: ticks, but no requests.
    Main,
    /// A worker, counted from 0.
    Worker(usize),
    /// A VM that only tests a configuration.
    Canary,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Main => f.write_str("main thread"),
            Place::Worker(index) => write!(f, "worker {index}"),
            Place::Canary => f.write_str("canary"),
        }
    }
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// Its severity.
    pub level: LogLevel,
    /// Its text, as far as the host keeps it.
    pub message: String,
    /// The VM that wrote it.
    pub place: Place,
    /// When it was written, in nanoseconds since the Unix epoch.
    pub at_ns: u64,
}

impl fmt::Display for LogLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} [{}] {}", self.level, self.place, self.message)
    }
}

/// All lines of a gateway, in order. Clones share the lines.
#[derive(Clone, Debug, Default)]
pub struct LogBook(Arc<Mutex<Vec<LogLine>>>);

impl LogBook {
    /// Adds a line.
    pub fn write(&self, line: LogLine) {
        self.0.lock().expect("no operation on the log book panics").push(line);
    }

    /// A copy of every line so far.
    pub fn lines(&self) -> Vec<LogLine> {
        self.0.lock().expect("no operation on the log book panics").clone()
    }
}

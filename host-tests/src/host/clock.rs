//! A gateway's only clock. Only the test moves it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Nanoseconds since the Unix epoch, shared by every VM of a gateway. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Clock(Arc<AtomicU64>);

impl Clock {
    /// A stopped clock that shows `instant`.
    ///
    /// # Panics
    /// If `instant` is not an RFC 3339 time between 1970 and 2554.
    pub fn at(instant: &str) -> Self {
        let timestamp: jiff::Timestamp =
            instant.parse().unwrap_or_else(|error| panic!("`{instant}` is no RFC 3339 time: {error}"));
        let nanos = u64::try_from(timestamp.as_nanosecond()).expect("a gateway's clock starts between 1970 and 2554");
        Self(Arc::new(AtomicU64::new(nanos)))
    }

    /// Nanoseconds since the Unix epoch.
    pub fn now_ns(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        let by_ns = u64::try_from(by.as_nanos()).expect("a clock is not advanced by centuries");
        self.0.fetch_add(by_ns, Ordering::SeqCst);
    }
}

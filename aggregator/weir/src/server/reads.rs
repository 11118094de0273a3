//! How many reads of callers and pages run at a time, and how many wait for their turn.
//!
//! A read takes a core for milliseconds, one of the log for seconds. If as many ran as are asked for, they would take the cores from the
//! threads that accept and count events. So only some run; a bounded number waits for a bounded time, and further ones are answered
//! 503 with `Retry-After`. Reads of the log have places of their own, so that no page waits behind them. What the server reads for itself
//! (alerts, stages, metrics) comes one at a time and waits for nobody.
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::error::ApiError;
use crate::metrics::UnsignedGauge;
use crate::metrics::reads::{ReadMetrics, SourceMetrics};

/// Reads of the ledger that run at a time on a small machine; on a larger one half of its cores do.
const LEDGER_READS_MIN: usize = 2;
/// Reads of the ledger that wait: a page makes three at a time at most.
const LEDGER_WAITING_MAX: usize = 256;
/// Reads of the log that run at a time. Each may take a core for seconds, and some megabytes.
const LOG_READS_MAX: usize = 2;
/// Reads of the log that wait.
const LOG_WAITING_MAX: usize = 16;
/// How long a read waits for its turn: as long as people and programs wait for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a read may take until its caller is answered without it: a database that hangs is no reason to hang as well.
pub(super) const READ_MAX: Duration = Duration::from_secs(60);

/// The places of all reads.
#[derive(Debug)]
pub(super) struct Reads {
    /// Those of the ledger and of what stands beside it.
    pub(super) ledger: Places,
    /// Those that go through the event log.
    pub(super) log: Places,
}

impl Reads {
    pub(super) fn new(metrics: &ReadMetrics) -> Self {
        let half = available_parallelism().map_or(1, usize::from) / 2;
        Reads {
            ledger: Places::new(half.max(LEDGER_READS_MIN), LEDGER_WAITING_MAX, metrics.of("ledger")),
            log: Places::new(LOG_READS_MAX, LOG_WAITING_MAX, metrics.of("log")),
        }
    }
}

/// The places of reads of one source.
#[derive(Debug)]
pub(super) struct Places {
    running: Arc<Semaphore>,
    /// Of those that run and those that wait.
    room: Arc<Semaphore>,
    patience: Duration,
    metrics: SourceMetrics,
}

/// A read's place. It is free again once this is dropped.
///
/// The order of the fields is the order in which they are dropped: a read is no longer shown before the next one's turn comes, so that no
/// more are shown than may run, and there is room for a further one last.
#[derive(Debug)]
struct Place {
    _shown: Shown,
    _running: OwnedSemaphorePermit,
    _room: OwnedSemaphorePermit,
}

/// Counts one in a gauge for as long as it lives.
#[derive(Debug)]
struct Shown(UnsignedGauge);

impl Shown {
    fn in_gauge(gauge: &UnsignedGauge) -> Self {
        gauge.inc();
        Shown(gauge.clone())
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Places {
    fn new(running: usize, waiting: usize, metrics: SourceMetrics) -> Self {
        Places {
            running: Semaphore::new(running).into(),
            room: Semaphore::new(running + waiting).into(),
            patience: PATIENCE,
            metrics,
        }
    }

    /// Reads on a thread that may block, when its turn comes. Fails with [`ApiError::Busy`] if there is no place to wait, or the turn does
    /// not come in time, and with [`ApiError::Away`] if the read does not end within [`READ_MAX`].
    pub(super) async fn run<T: Send + 'static>(
        &self,
        read: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let Some(place) = self.take().await else {
            self.metrics.refused.inc();
            return Err(ApiError::Busy);
        };
        // A caller that leaves does not stop the thread: the place stays taken until the read is over.
        let done = spawn_blocking(move || {
            let _place = place;
            read()
        });
        let read = timeout(READ_MAX, done).await.map_err(|_| ApiError::Away)?;
        read.map_err(|error| ApiError::internal(&error))
    }

    async fn take(&self) -> Option<Place> {
        let room = Arc::clone(&self.room).try_acquire_owned().ok()?;
        let waiting = Shown::in_gauge(&self.metrics.waiting);
        let running = timeout(self.patience, Arc::clone(&self.running).acquire_owned()).await.ok()?.ok()?;
        drop(waiting);
        Some(Place { _shown: Shown::in_gauge(&self.metrics.running), _running: running, _room: room })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// Places of which one runs and one waits, and a read that holds the first until the sender is dropped.
    async fn taken(patience: Duration) -> (Arc<Places>, Sender<()>, tokio::task::JoinHandle<()>) {
        let places = Places { patience, ..Places::new(1, 1, SourceMetrics::default()) };
        let (places, (release, held)) = (Arc::new(places), channel::<()>());
        let holder = tokio::spawn(hold(Arc::clone(&places), held));
        while places.metrics.running.get() == 0 {
            tokio::task::yield_now().await;
        }
        (places, release, holder)
    }

    async fn hold(places: Arc<Places>, held: Receiver<()>) {
        let released = places.run(move || held.recv()).await.expect("a place");
        assert!(released.is_err(), "nothing is sent: the sender is dropped");
    }

    #[tokio::test]
    async fn a_read_waits_its_turn_and_one_that_finds_no_room_is_refused_at_once() {
        let (places, release, _holder) = taken(PATIENCE).await;
        let waiting = tokio::spawn({
            let places = Arc::clone(&places);
            async move { places.run(|| 7).await }
        });
        while places.metrics.waiting.get() == 0 {
            tokio::task::yield_now().await;
        }
        assert!(matches!(places.run(|| 8).await, Err(ApiError::Busy)));
        drop(release);
        assert_eq!(waiting.await.expect("it ends").expect("its turn came"), 7);
        let SourceMetrics { running, waiting, refused } = &places.metrics;
        assert_eq!((running.get(), waiting.get(), refused.get()), (0, 0, 1));
        assert_eq!(places.run(|| 9).await.expect("the places are free again"), 9);
    }

    #[tokio::test]
    async fn a_turn_that_does_not_come_in_time_is_given_up() {
        let (places, _release, _holder) = taken(Duration::from_millis(10)).await;
        assert!(matches!(places.run(|| 7).await, Err(ApiError::Busy)));
        assert_eq!((places.metrics.waiting.get(), places.metrics.refused.get()), (0, 1));
    }

    #[tokio::test]
    async fn a_caller_that_leaves_keeps_its_place_until_its_read_is_over() {
        let (places, release, holder) = taken(Duration::from_millis(10)).await;
        holder.abort();
        assert!(holder.await.is_err(), "it has left");
        assert!(matches!(places.run(|| 7).await, Err(ApiError::Busy)), "its thread still reads");
        drop(release);
        while places.room.available_permits() < 2 {
            tokio::task::yield_now().await;
        }
        assert_eq!(places.metrics.running.get(), 0);
        assert_eq!(places.run(|| 8).await.expect("a place"), 8);
    }
}

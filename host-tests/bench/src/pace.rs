//! Streams in step: the upstream sends a chunk when the client has received the one before it. So that each comes to the
//! gateway by itself, whatever else the machine does.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

/// How long the upstream waits: what the filter takes out or holds back is never received.
const WAIT_MAX: Duration = Duration::from_millis(50);

static STREAMS: LazyLock<Mutex<HashMap<u64, Sender<()>>>> = LazyLock::new(Mutex::default);

/// A name for a stream.
pub(crate) fn next_stream() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Ordering::Relaxed)
}

/// The upstream's end of a stream.
#[derive(Debug)]
pub struct Paced(Receiver<()>);

impl Paced {
    /// Until the client has received another piece, or nothing is to be expected.
    pub fn wait(&self) {
        let _either = self.0.recv_timeout(WAIT_MAX);
    }
}

/// The upstream begins a stream.
pub fn begin(stream: u64) -> Paced {
    let (sender, receiver) = channel();
    STREAMS.lock().unwrap_or_else(PoisonError::into_inner).insert(stream, sender);
    Paced(receiver)
}

/// Where the client confirms each piece to the upstream; None if the upstream does not wait.
pub(crate) fn upstream_of(stream: u64) -> Option<Sender<()>> {
    STREAMS.lock().unwrap_or_else(PoisonError::into_inner).remove(&stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_upstream_goes_on_when_a_piece_has_come() {
        let stream = next_stream();
        let paced = begin(stream);
        let client = upstream_of(stream).expect("it has begun");
        client.send(()).expect("it waits");
        paced.wait();
        assert!(upstream_of(stream).is_none() && paced.0.try_recv().is_err());
    }
}

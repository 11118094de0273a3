//! Runs the asynchronous client for callers that wait: the threads of the log's port.
use std::future::Future;
use std::io;
use std::sync::LazyLock;
use std::sync::mpsc::sync_channel;

use tokio::runtime::{Builder, Runtime};

use crate::KafkaProblem;

/// Threads of all clients of the process: they wait for answers and pass bytes on.
const THREADS: usize = 2;

static RUNTIME: LazyLock<io::Result<Runtime>> =
    LazyLock::new(|| Builder::new_multi_thread().worker_threads(THREADS).thread_name("kafka").enable_all().build());

fn runtime() -> Result<&'static Runtime, KafkaProblem> {
    RUNTIME.as_ref().map_err(|error| KafkaProblem::Failed(format!("no thread for the client: {error}")))
}

/// Waits until `work` is done, on any thread: also on one of another runtime, which may not block on a future itself.
pub(super) fn wait<T: Send + 'static>(
    work: impl Future<Output = Result<T, KafkaProblem>> + Send + 'static,
) -> Result<T, KafkaProblem> {
    let (done, answer) = sync_channel(1);
    runtime()?.spawn(async move {
        let _nobody_waits = done.send(work.await);
    });
    answer.recv().map_err(|_| KafkaProblem::Failed("the client broke down".to_owned()))?
}

/// Starts work that nobody waits for.
pub(super) fn start(work: impl Future<Output = ()> + Send + 'static) {
    if let Ok(runtime) = runtime() {
        runtime.spawn(work);
    }
}

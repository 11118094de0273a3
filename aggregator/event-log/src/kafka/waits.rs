//! How long the client may take.
use std::time::Duration;

use tokio::time::timeout;

use super::errors::failed;
use crate::KafkaProblem;

/// The longest wait for a connection.
pub(super) const CONNECT_MAX: Duration = Duration::from_secs(2);
/// The longest wait for an answer. A batch of 1 MB takes milliseconds; a disk that stalls may take seconds.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(5);
/// The longest wait for several answers in a row.
pub(super) const WORK_MAX: Duration = Duration::from_secs(10);

/// Waits for an answer, for a bounded time.
pub(super) async fn bounded<T>(work: impl Future<Output = krafka::Result<T>>) -> Result<T, KafkaProblem> {
    match timeout(WORK_MAX, work).await {
        Ok(answer) => answer.map_err(|error| failed(&error)),
        Err(_) => Err(no_answer()),
    }
}

pub(super) fn no_answer() -> KafkaProblem {
    KafkaProblem::Failed(format!("no answer within {} s; see that the brokers run", WORK_MAX.as_secs()))
}

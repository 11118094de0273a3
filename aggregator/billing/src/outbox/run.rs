//! A run of the reporter: its policy, its deadline, and its calls under way.
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};
use futures::{FutureExt, future::BoxFuture};

use super::policy::BillingPolicy;
use super::rows::Settled;
use crate::Answer;

/// A run waits at most this long, in milliseconds, for the next retry before it leaves it to the next run.
pub(super) const PATIENCE_MS: u64 = 5_000;

/// The policy and the deadline of a run.
#[derive(Clone)]
pub(super) struct Terms {
    pub(super) policy: Arc<BillingPolicy>,
    /// The elapsed time after which it claims no more rows.
    pub(super) until: Duration,
}

/// The calls and results of a run.
#[derive(Default)]
pub(super) struct Run {
    pub(super) flying: FuturesUnordered<BoxFuture<'static, Settled>>,
    pub(super) settled: Vec<Settled>,
    pub(super) reported: u64,
    pub(super) halted: Option<String>,
    /// How long it has waited for retries, in milliseconds.
    pub(super) waited_ms: u64,
    /// How long the provider wants all calls to wait.
    pub(super) asked_to_wait: Option<Duration>,
}

impl Run {
    /// Waits for an answer and takes all that have arrived. Returns false if no call is under way.
    pub(super) async fn gather(&mut self) -> bool {
        let Some(first) = self.flying.next().await else { return false };
        self.take(first);
        while let Some(Some(next)) = self.flying.next().now_or_never() {
            self.take(next);
        }
        true
    }

    fn take(&mut self, settled: Settled) {
        match &settled.1 {
            Answer::Taken { .. } => self.reported += 1,
            Answer::Halt(message) | Answer::Unproven(message) => self.halted = Some(message.detail.clone()),
            Answer::NotTaken { after: Some(after), .. } => {
                self.asked_to_wait = self.asked_to_wait.max(Some((*after).min(Duration::from_millis(PATIENCE_MS))));
            }
            _ => {}
        }
        self.settled.push(settled);
    }
}

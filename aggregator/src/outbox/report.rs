//! One report: windows that are over become rows, rows become meter events.
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};
use futures::{FutureExt, future::BoxFuture};
use weir_contract::Timestamp;

use super::close::{self, Terms};
use super::rows::{self, Lane, Settled};
use crate::api::ReportView;
use crate::billing::{Answer, BillingSink};
use crate::clock::Clock;
use crate::ledger::LedgerError;
use crate::ledger::thread::LedgerHandle;

/// A run waits at most this long, in milliseconds, for the next retry before it leaves it to the next run.
const PATIENCE_MS: u64 = 5_000;
/// And ends at the latest after this long, in milliseconds, once nothing but retries is left.
const RUN_MAX_MS: u64 = 60_000;

/// How fast rows are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Calls under way at once.
    pub concurrency: usize,
    /// Calls started per second.
    pub calls_per_second: u32,
}

/// Closes windows and reports rows.
#[derive(Debug)]
pub struct Reporter<S> {
    /// The ledger with its outbox.
    pub ledger: LedgerHandle,
    /// Where amounts go.
    pub sink: Arc<S>,
    /// What rows are made of.
    pub terms: Terms,
    /// How fast.
    pub pace: Pace,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

impl<S: BillingSink + 'static> Reporter<S> {
    /// Runs once. `as_of` closes windows as if it were that moment.
    pub async fn run(&self, as_of: Option<Timestamp>) -> Result<ReportView, LedgerError> {
        let created = self.close(as_of).await?;
        let mut view = self.send_all().await?;
        view.created = created;
        Ok(view)
    }

    async fn close(&self, as_of: Option<Timestamp>) -> Result<u64, LedgerError> {
        let mut created = 0;
        loop {
            let (terms, now) = (self.terms.clone(), self.clock.now());
            let as_of = as_of.unwrap_or(now);
            let (rows, done) =
                self.ledger.call(move |ledger| ledger.durably(|db| close::step(db, &terms, as_of, now))).await?;
            created += rows;
            if done {
                break;
            }
        }
        let terms = self.terms.clone();
        self.ledger.call(move |ledger| ledger.durably(|db| close::map_held(db, &terms))).await?;
        Ok(created)
    }

    async fn send_all(&self) -> Result<ReportView, LedgerError> {
        let mut run = Run { pacer: Pacer::new(self.pace.calls_per_second), ..Run::default() };
        let began = self.clock.now();
        loop {
            let want = if run.halted.is_some() { 0 } else { self.pace.concurrency - run.flying.len() };
            let settled = std::mem::take(&mut run.settled);
            let claimed = self.turn(settled, run.lanes.clone(), want).await?;
            for row in claimed {
                run.lanes.insert(row.lane());
                let (sink, wait) = (Arc::clone(&self.sink), run.pacer.slot(self.clock.elapsed()));
                run.flying.push(
                    async move {
                        tokio::time::sleep(wait).await;
                        let answer = sink.send(row.event.clone()).await;
                        (row, answer)
                    }
                    .boxed(),
                );
            }
            if run.gather().await {
                continue;
            }
            if run.halted.is_some() || !self.wait_for_retry(began).await? {
                break;
            }
        }
        self.summary(run).await
    }

    /// Settles answers and claims rows; when this returns, the marks of the rows are on the disk.
    async fn turn(
        &self,
        settled: Vec<Settled>,
        busy: HashSet<Lane>,
        want: usize,
    ) -> Result<Vec<rows::Claimed>, LedgerError> {
        let (account, now) = (self.sink.account().clone(), self.clock.now());
        self.ledger.call(move |ledger| ledger.durably(|db| rows::turn(db, &settled, &account, &busy, want, now))).await
    }

    /// Waits for a retry that comes soon. False if none does.
    async fn wait_for_retry(&self, began: Timestamp) -> Result<bool, LedgerError> {
        let Some(due) = self.ledger.call(|ledger| rows::next_due(ledger.db())).await? else { return Ok(false) };
        let now = self.clock.now();
        let wait = due.millis_since(now);
        if wait > PATIENCE_MS || now.millis_since(began) > RUN_MAX_MS {
            return Ok(false);
        }
        tokio::time::sleep(Duration::from_millis(wait.max(10))).await;
        Ok(true)
    }

    async fn summary(&self, run: Run) -> Result<ReportView, LedgerError> {
        let (pending, held) = self
            .ledger
            .call(|ledger| {
                let db = ledger.db();
                let pending: i64 =
                    db.query_row("SELECT count(*) FROM outbox WHERE state = 'pending'", [], |row| row.get(0))?;
                let mut select =
                    db.prepare("SELECT reason, count(*) FROM outbox WHERE state = 'held' GROUP BY reason")?;
                let held = select
                    .query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs())))?
                    .collect::<Result<BTreeMap<String, u64>, _>>()?;
                Ok((pending.unsigned_abs(), held))
            })
            .await?;
        Ok(ReportView { created: 0, reported: run.reported, pending, held, stopped: run.halted })
    }
}

/// What a run has under way.
#[derive(Default)]
struct Run {
    flying: FuturesUnordered<BoxFuture<'static, Settled>>,
    lanes: HashSet<Lane>,
    settled: Vec<Settled>,
    reported: u64,
    halted: Option<String>,
    pacer: Pacer,
}

impl Run {
    /// Waits for an answer and takes what else has come. False when nothing is under way.
    async fn gather(&mut self) -> bool {
        let Some(first) = self.flying.next().await else { return false };
        self.take(first);
        while let Some(Some(next)) = self.flying.next().now_or_never() {
            self.take(next);
        }
        true
    }

    fn take(&mut self, settled: Settled) {
        let (claimed, answer) = &settled;
        self.lanes.remove(&claimed.lane());
        match answer {
            Answer::Taken { .. } => self.reported += 1,
            Answer::Halt(said) => self.halted = Some(said.detail.clone()),
            _ => {}
        }
        self.settled.push(settled);
    }
}

/// Spreads calls evenly.
#[derive(Debug, Default)]
struct Pacer {
    gap: Duration,
    next: Duration,
}

impl Pacer {
    fn new(calls_per_second: u32) -> Self {
        Pacer { gap: Duration::from_secs(1) / calls_per_second.max(1), next: Duration::ZERO }
    }

    /// How long the next call waits, from `now`.
    fn slot(&mut self, now: Duration) -> Duration {
        let at = self.next.max(now);
        self.next = at + self.gap;
        at - now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_spread_over_the_second() {
        let mut pacer = Pacer::new(10);
        let now = Duration::from_secs(5);
        assert_eq!(pacer.slot(now), Duration::ZERO);
        assert_eq!(pacer.slot(now), Duration::from_millis(100));
        assert_eq!(pacer.slot(now + Duration::from_secs(9)), Duration::ZERO, "a pause saves nothing up");
    }
}

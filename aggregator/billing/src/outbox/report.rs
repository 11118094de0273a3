//! One report: closes windows, sends rows, and verifies rows in doubt against the provider's summaries.
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};
use futures::{FutureExt, future::BoxFuture};
use weir_contract::Timestamp;
use weir_contract::time::HOUR_MS;

use super::close;
use super::policy::BillingPolicy;
use super::rows::{self, Settled};
use super::verify::{self, Verification};
use super::view::{AdjustRequest, AdjustView, ReportRequest, ReportView};
use super::{BillingError, adjust, held, sender};
use crate::pace::Pacer;
use crate::{Account, Answer, AskError, BillingSink, Summary};
use weir_clock::Clock;
use weir_ledger::periods::Anchor;
use weir_ledger::thread::LedgerHandle;

/// The longest that a run waits for the next retry, in milliseconds; later retries are left to the next run.
const PATIENCE_MS: u64 = 5_000;
/// The longest that all such waits of a run may take, in milliseconds.
const RUN_MAX_MS: u64 = 60_000;
/// The most hours that one run verifies.
const VERIFICATIONS_MAX: usize = 200;
/// The most hours that one call asks for: a month, and less than one page of summaries.
const SUMMARY_HOURS_MAX: u64 = 24 * 31;

/// The rate at which rows are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// The most calls under way at once.
    pub concurrency: usize,
    /// The most calls started per second.
    pub calls_per_second: u32,
}

impl Pace {
    /// The pace for calls that carry up to a hundred rows each.
    #[must_use]
    pub fn streamed(self) -> Self {
        const ROWS_PER_CALL: u32 = 100;
        Pace {
            concurrency: self.concurrency * ROWS_PER_CALL as usize,
            calls_per_second: self.calls_per_second.saturating_mul(ROWS_PER_CALL),
        }
    }
}

/// Billing settings of the tenants file.
#[derive(Clone, Debug, Default)]
pub struct Tenants {
    /// The provider's customer of each tenant that has one.
    pub customers: HashMap<String, String>,
    /// Where billing periods begin, for tenants whose entry says so.
    pub anchors: HashMap<String, Anchor>,
}

/// Closes windows and reports rows.
#[derive(Debug)]
pub struct Reporter<S> {
    ledger: LedgerHandle,
    sink: Arc<S>,
    policy: BillingPolicy,
    pace: Pace,
    clock: Arc<dyn Clock>,
    /// Identifies the ledger's file, to tell it from copies.
    file: String,
    /// True once the provider has confirmed the key's account.
    identified: bool,
    pacer: Arc<Pacer>,
}

impl<S: BillingSink + 'static> Reporter<S> {
    /// A reporter that sends rows of `ledger`, stored in `file`, to `sink` under `policy`.
    pub fn new(
        ledger: LedgerHandle,
        file: String,
        sink: S,
        policy: BillingPolicy,
        pace: Pace,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let pacer = Pacer::new(Arc::clone(&clock));
        Reporter { ledger, sink: Arc::new(sink), policy, pace, clock, file, identified: false, pacer }
    }

    /// The pacer of its calls, for other callers of the provider to share.
    pub fn pacer(&self) -> Arc<Pacer> {
        Arc::clone(&self.pacer)
    }

    /// Checks that the key belongs to the account that rows were made for, and takes over sending. Returns why nothing
    /// can be sent yet, if the provider cannot be asked.
    ///
    /// # Errors
    /// If the key belongs to another account or mode.
    pub async fn begin(&mut self) -> Result<Option<String>, BillingError> {
        let unknown = if self.identified { None } else { self.identify().await? };
        if self.policy.epoch == 0 {
            let (file, now) = (self.file.clone(), self.clock.now());
            let taken = move |db: &mut rusqlite::Connection| sender::take_over(db, &file, now);
            self.policy.epoch = self.ledger.call(move |ledger| ledger.durably(taken)).await?;
        }
        Ok(unknown)
    }

    async fn identify(&mut self) -> Result<Option<String>, BillingError> {
        let configured = self.sink.account().clone();
        let check = configured.clone();
        let pinned = self.ledger.call(move |ledger| close::pinned(ledger.db())).await?;
        if let Some(pinned) = pinned.filter(|pinned| pinned.livemode != check.livemode) {
            return Err(BillingError::OtherAccount { pinned, configured });
        }
        let unknown = match self.sink.identify().await {
            Ok(found) if configured.id.is_empty() || configured.id == found.id => {
                self.policy.account = found;
                self.identified = true;
                None
            }
            Ok(found) => return Err(BillingError::WrongKey { configured: configured.id, found: found.id }),
            // A restricted key may lack the right to read its account; rely on the configured one.
            Err(AskError::Forbidden(_)) if !configured.id.is_empty() => {
                self.identified = true;
                None
            }
            Err(error) => Some(format!("whose key it is: {error}")),
        };
        let account = self.policy.account.clone();
        if !account.id.is_empty() {
            self.ledger.call(move |ledger| close::check_account(ledger.db(), &account)).await?;
        }
        Ok(unknown)
    }

    /// Records customers and anchors of the tenants file.
    pub async fn note(&self, tenants: Tenants) -> Result<(), BillingError> {
        let now = self.clock.now();
        self.ledger.call(move |ledger| close::note_tenants(ledger, &tenants.customers, &tenants.anchors, now)).await
    }

    /// Runs one report.
    pub async fn run(&mut self, request: ReportRequest, tenants: Tenants) -> Result<ReportView, BillingError> {
        let unknown = self.begin().await?;
        self.note(tenants).await?;
        let mut created = 0;
        if !self.policy.account.id.is_empty() {
            created = self.close(request.as_of).await?;
        }
        if request.retry_held {
            let (policy, now) = (self.policy.clone(), self.clock.now());
            self.ledger.call(move |ledger| ledger.durably(|db| held::retry(db, &policy, now))).await?;
        }
        let mut run = Run { halted: unknown, ..Run::default() };
        if run.halted.is_none() {
            self.verify_due().await?;
            self.send_all(&mut run).await?;
        }
        let mut view = self.summary(run).await?;
        view.created = created;
        Ok(view)
    }

    /// Makes a correction by hand; the next run sends it.
    pub async fn adjust(
        &mut self,
        request: AdjustRequest,
        tenants: Tenants,
        who: String,
    ) -> Result<AdjustView, BillingError> {
        if let Some(why) = self.begin().await? {
            return Err(BillingError::Adjustment(why));
        }
        self.note(tenants).await?;
        let (policy, now) = (self.policy.clone(), self.clock.now());
        self.ledger.call(move |ledger| adjust::adjust(ledger, &policy, &request, &who, now)).await
    }

    async fn close(&self, as_of: Option<Timestamp>) -> Result<u64, BillingError> {
        let mut created = 0;
        loop {
            let (policy, now) = (self.policy.clone(), self.clock.now());
            let as_of = as_of.unwrap_or(now);
            let (rows, done) =
                self.ledger.call(move |ledger| ledger.durably(|db| close::step(db, &policy, as_of, now))).await?;
            created += rows;
            if done {
                break;
            }
        }
        let (policy, now) = (self.policy.clone(), self.clock.now());
        self.ledger.call(move |ledger| ledger.durably(|db| close::map_held(db, &policy, now))).await?;
        Ok(created)
    }

    /// Reads the summaries of the hours that are due, in one call per customer and meter.
    async fn verify_due(&mut self) -> Result<(), BillingError> {
        let now = self.clock.now();
        let mut verifications =
            self.ledger.call(move |ledger| verify::due(ledger.db(), now, VERIFICATIONS_MAX)).await?;
        verifications.sort();
        let near = |a: &Verification, b: &Verification| {
            (&a.customer, &a.event_name) == (&b.customer, &b.event_name)
                && b.hour.millis_since(a.hour) < HOUR_MS * SUMMARY_HOURS_MAX / 2
        };
        for group in verifications.chunk_by(near) {
            let (Some(first), Some(last)) = (group.first(), group.last()) else { continue };
            tokio::time::sleep(self.pacer.slot(self.pace.calls_per_second)).await;
            let to = last.hour.plus_millis(HOUR_MS);
            let summaries = self.sink.summaries(&first.customer, &first.event_name, first.hour, to).await;
            if let Err(error) = &summaries {
                tracing::warn!(customer = first.customer, %error, "summaries that rows wait for could not be read");
            }
            self.record_summaries(group.to_vec(), summaries.ok()).await?;
        }
        Ok(())
    }

    async fn record_summaries(
        &self,
        verifications: Vec<Verification>,
        summaries: Option<Vec<Summary>>,
    ) -> Result<(), BillingError> {
        let (policy, now) = (self.policy.clone(), self.clock.now());
        let take = move |db: &mut rusqlite::Connection| {
            verifications.iter().try_for_each(|hour| {
                let sum = summaries.as_ref().map(|all| {
                    all.iter().filter(|summary| summary.hour == hour.hour).map(|summary| summary.value).sum()
                });
                verify::record_summary(db, &policy, hour, sum, now)
            })
        };
        self.ledger.call(move |ledger| ledger.durably(take)).await
    }

    async fn send_all(&mut self, run: &mut Run) -> Result<(), BillingError> {
        loop {
            let want = if run.halted.is_some() { 0 } else { self.pace.concurrency - run.flying.len() };
            let settled = std::mem::take(&mut run.settled);
            let claimed = self.settle_and_claim(settled, want).await?;
            for row in claimed {
                let (sink, wait) = (Arc::clone(&self.sink), self.pacer.slot(self.pace.calls_per_second));
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
                if let Some(after) = run.asked_to_wait.take() {
                    self.pacer.pause(after);
                }
                continue;
            }
            if run.halted.is_some() || !self.wait_for_retry(&mut run.waited_ms).await? {
                return Ok(());
            }
        }
    }

    /// Settles answers and claims rows. When this returns, the marks of the claimed rows are on disk.
    async fn settle_and_claim(&self, settled: Vec<Settled>, want: usize) -> Result<Vec<rows::Claimed>, BillingError> {
        let (policy, now) = (self.policy.clone(), self.clock.now());
        self.ledger
            .call(move |ledger| ledger.durably(|db| rows::settle_and_claim(db, &policy, &settled, want, now)))
            .await
    }

    /// Waits for a retry that is due soon. Returns false if there is none.
    async fn wait_for_retry(&self, waited_ms: &mut u64) -> Result<bool, BillingError> {
        let Some(due) = self.ledger.call(|ledger| rows::next_due(ledger.db())).await? else { return Ok(false) };
        let wait = due.millis_since(self.clock.now()).max(10);
        if wait > PATIENCE_MS || *waited_ms > RUN_MAX_MS {
            return Ok(false);
        }
        *waited_ms += wait;
        tokio::time::sleep(Duration::from_millis(wait)).await;
        Ok(true)
    }

    async fn summary(&self, run: Run) -> Result<ReportView, BillingError> {
        let (pending, held) = self
            .ledger
            .call(|ledger| {
                let db = ledger.db();
                let pending: i64 =
                    db.query_row("SELECT count(*) FROM outbox WHERE state = 'pending'", [], |row| row.get(0))?;
                let mut select =
                    db.prepare("SELECT reason, count(*) FROM outbox WHERE state = 'held' GROUP BY reason")?;
                let held = select
                    .query_map([], |row| Ok((row.get(0)?, row.get::<_, u64>(1)?)))?
                    .collect::<Result<BTreeMap<String, u64>, _>>()?;
                Ok::<_, BillingError>((pending.unsigned_abs(), held))
            })
            .await?;
        Ok(ReportView { created: 0, reported: run.reported, pending, held, stopped: run.halted })
    }

    /// The account that it reports to.
    pub fn account(&self) -> &Account {
        &self.policy.account
    }
}

/// The state of one run.
#[derive(Default)]
struct Run {
    flying: FuturesUnordered<BoxFuture<'static, Settled>>,
    settled: Vec<Settled>,
    reported: u64,
    halted: Option<String>,
    /// Time spent waiting for retries, in milliseconds.
    waited_ms: u64,
    /// How long the provider has asked all callers to wait.
    asked_to_wait: Option<Duration>,
}

impl Run {
    /// Waits for an answer and collects the others that have arrived. Returns false if no call is under way.
    async fn gather(&mut self) -> bool {
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
            Answer::Halt(message) => self.halted = Some(message.detail.clone()),
            Answer::NotTaken { after: Some(after), .. } => {
                self.asked_to_wait = self.asked_to_wait.max(Some((*after).min(Duration::from_millis(PATIENCE_MS))));
            }
            _ => {}
        }
        self.settled.push(settled);
    }
}

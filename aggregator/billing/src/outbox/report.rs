//! One report: closes windows, sends rows, and verifies rows in doubt against the provider's summaries. [`steps`] has
//! these three.
mod steps;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

use super::close;
use super::policy::BillingPolicy;
use super::rows;
use super::run::{Run, Terms};
use super::view::{AdjustRequest, AdjustView, ReportRequest, ReportView};
use super::{BillingError, adjust, held, sender};
use crate::pace::Pacer;
use crate::{BillingSink, RequestError};
use weir_clock::Clock;
use weir_ledger::SqliteLedger;
use weir_ledger::periods::Anchor;
use weir_ledger::thread::LedgerHandle;

/// The time after which a run claims no more rows and asks for no more summaries. Calls under way still end, within
/// [`SUMMARIES_MAX`], so that no run delays the next one for long.
pub(crate) const RUN_MAX: Duration = Duration::from_secs(60);
/// The longest that the summaries of a month of a customer and meter may take.
const SUMMARIES_MAX: Duration = Duration::from_secs(60);
/// The longest that a correction waits for the provider to name the key's account.
const BEGIN_MAX: Duration = Duration::from_secs(5);

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
    /// Every tenant of the file.
    pub ids: HashSet<String>,
}

/// Closes windows and reports rows. Corrections and notes of the tenants file never wait for a run.
#[derive(Debug)]
pub struct Reporter<S> {
    ledger: LedgerHandle,
    sink: Arc<S>,
    pace: Pace,
    clock: Arc<dyn Clock>,
    /// Identifies the ledger's file, to tell it from copies.
    file: String,
    pacer: Arc<Pacer>,
    /// The state of account and sender. Locked only while weir asks the provider for the key's account.
    begun: Mutex<Begun>,
    /// One run at a time. True while rows are sent, and after a run that ended in the middle of it: rows are marked as under way then of
    /// which nobody knows.
    running: Mutex<bool>,
    /// Notes of the tenants file are made in the order in which it was read.
    noting: Mutex<()>,
}

#[derive(Debug)]
struct Begun {
    policy: BillingPolicy,
    /// Whether the provider has said whose key it is.
    identified: bool,
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
        Reporter {
            ledger,
            sink: Arc::new(sink),
            pace,
            clock,
            file,
            pacer,
            begun: Mutex::new(Begun { policy, identified: false }),
            running: Mutex::default(),
            noting: Mutex::default(),
        }
    }

    /// The pacer of its calls, for other callers of the provider to share.
    pub fn pacer(&self) -> Arc<Pacer> {
        Arc::clone(&self.pacer)
    }

    /// Ensures that the key belongs to the account of the existing rows, and that no other process sends. Returns the policy,
    /// and the reason if the provider does not answer, so that nothing can be sent yet.
    ///
    /// # Errors
    /// When the key is of another account or mode.
    pub async fn begin(&self) -> Result<(BillingPolicy, Option<String>), BillingError> {
        let mut begun = self.begun.lock().await;
        let unknown = if begun.identified { None } else { self.identify(&mut begun).await? };
        if begun.policy.epoch == 0 {
            let (file, now) = (self.file.clone(), self.clock.now());
            let taken = move |db: &mut weir_database::Connection| sender::take_over(db, &file, now);
            begun.policy.epoch = self.ledger.call(move |ledger| ledger.durably(taken)).await?;
        }
        Ok((begun.policy.clone(), unknown))
    }

    async fn identify(&self, begun: &mut Begun) -> Result<Option<String>, BillingError> {
        let configured = self.sink.account().clone();
        let check = configured.clone();
        let pinned = self.ledger.call(move |ledger| close::pinned(ledger.db())).await?;
        if let Some(pinned) = pinned.filter(|pinned| pinned.livemode != check.livemode) {
            return Err(BillingError::OtherAccount { pinned, configured });
        }
        let unknown = match self.sink.identify().await {
            Ok(found) if configured.id.is_empty() || configured.id == found.id => {
                begun.policy.account = found;
                begun.identified = true;
                None
            }
            Ok(found) => return Err(BillingError::WrongKey { configured: configured.id, found: found.id }),
            // A restricted key may lack the right to read its account; rely on the configured one.
            Err(RequestError::Forbidden(_)) if !configured.id.is_empty() => {
                begun.identified = true;
                None
            }
            Err(error) => Some(format!("whose key it is: {error}")),
        };
        let account = begun.policy.account.clone();
        if !account.id.is_empty() {
            self.ledger.call(move |ledger| close::check_account(ledger.db(), &account)).await?;
        }
        Ok(unknown)
    }

    /// Records the tenants file. Calls `tenants` to read it once earlier calls are done, so that a later record has the later
    /// file.
    pub async fn note(&self, tenants: impl FnOnce() -> Tenants) -> Result<(), BillingError> {
        let _in_turn = self.noting.lock().await;
        let (tenants, now) = (tenants(), self.clock.now());
        self.ledger.call(move |ledger| close::note_tenants(ledger, &tenants.customers, &tenants.anchors, now)).await
    }

    /// Runs once, for about [`RUN_MAX`] at most, after a run that is under way.
    pub async fn run(
        &self,
        request: ReportRequest,
        tenants: impl FnOnce() -> Tenants,
    ) -> Result<ReportView, BillingError> {
        let mut sending = self.running.lock().await;
        let until = self.clock.elapsed() + RUN_MAX;
        if *sending {
            // As a new sender this process frees the rows, and sends them again under their identifiers.
            self.begun.lock().await.policy.epoch = 0;
        }
        let (policy, unknown) = self.begin().await?;
        self.note(tenants).await?;
        let terms = Terms { policy: Arc::new(policy), until };
        let mut run = Run { halted: unknown, ..Run::default() };
        let mut view = ReportView::default();
        if !terms.policy.account.id.is_empty() {
            view.created = self.close(&terms, request.as_of).await?;
        }
        if request.retry_held {
            let (policy, filter, now) = (Arc::clone(&terms.policy), request.retry_only, self.clock.now());
            let retry = move |db: &mut weir_database::Connection| held::retry(db, &policy, &filter, now);
            view.released = self.ledger.call(move |ledger| ledger.durably(retry)).await?;
        }
        if run.halted.is_none() {
            self.verify_due(&terms).await?;
            *sending = true;
            let sent = self.send_all(&terms, &mut run).await;
            // A process that was replaced must not replace the other one.
            *sending = matches!(&sent, Err(error) if !matches!(error, BillingError::Fenced));
            sent?;
        }
        self.summary(&terms, run, view).await
    }

    /// Makes a correction by hand; the next run sends it.
    pub async fn adjust(
        &self,
        request: AdjustRequest,
        tenants: impl FnOnce() -> Tenants,
        who: String,
    ) -> Result<AdjustView, BillingError> {
        let silent = |_| BillingError::Adjustment("Stripe does not say whose key it is; try again".to_owned());
        let (policy, unknown) = tokio::time::timeout(BEGIN_MAX, self.begin()).await.map_err(silent)??;
        if let Some(why) = unknown {
            return Err(BillingError::Adjustment(why));
        }
        let mut listed = false;
        let tenant = request.tenant.clone();
        self.note(|| {
            let tenants = tenants();
            listed = tenants.ids.contains(&tenant);
            tenants
        })
        .await?;
        let now = self.clock.now();
        let adjust = move |ledger: &mut SqliteLedger| {
            if !listed && !adjust::is_known(ledger.db(), &request.tenant, request.window)? {
                let problem = format!(
                    "there is no tenant {:?}: no tenant of that name is kept, and that window has no usage of it",
                    request.tenant
                );
                return Err(BillingError::Unknown(problem));
            }
            adjust::adjust(ledger, &policy, &request, &who, now)
        };
        self.ledger.call(adjust).await
    }

    fn is_over(&self, terms: &Terms) -> bool {
        self.clock.elapsed() >= terms.until
    }

    async fn summary(&self, terms: &Terms, run: Run, view: ReportView) -> Result<ReportView, BillingError> {
        let Run { reported, halted, .. } = run;
        let now = self.clock.now();
        let (pending, due, held) = self
            .ledger
            .call(move |ledger| {
                let db = ledger.db();
                let pending: i64 =
                    db.query_row("SELECT count(*) FROM outbox WHERE state = 'pending'", [], |row| row.get(0))?;
                let mut select =
                    db.prepare("SELECT reason, count(*) FROM outbox WHERE state = 'held' GROUP BY reason")?;
                let held = select
                    .query_map([], |row| Ok((row.get(0)?, row.get::<_, u64>(1)?)))?
                    .collect::<Result<BTreeMap<String, u64>, _>>()?;
                let due = rows::next_due(db)?.is_some_and(|due| due <= now);
                Ok::<_, BillingError>((pending.unsigned_abs(), due, held))
            })
            .await?;
        let more = due && halted.is_none() && self.is_over(terms);
        Ok(ReportView { reported, pending, held, stopped: halted, more, ..view })
    }
}

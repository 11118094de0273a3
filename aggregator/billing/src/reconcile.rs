//! `weir reconcile`: compares the outbox with the provider's summaries.
//!
//! Compares each customer and meter, hour by hour ([`compare`]). The provider is asked before the outbox is read: a row
//! reported in between is recent, and recent rows may be missing from summaries, which lag. Changes neither side.
mod books;
pub mod compare;
pub mod record;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use serde::{Deserialize, Serialize};
use weir_contract::Timestamp;
use weir_contract::time::HOUR_MS;
use weir_database::Place;

use crate::outbox::BillingError;
use crate::{Account, BillingSink, RequestError, Summary};
use books::{Absent, Books};
use compare::{Cause, CauseAmount};
use weir_clock::Clock;
use weir_ledger::LedgerError;
use weir_ledger::query::LedgerReader;

/// The default span of a comparison, in milliseconds: one page of summaries per series.
const BACK_MS: u64 = 72 * HOUR_MS;
/// The longest span of a comparison, in milliseconds. Older differences can no longer be corrected at the provider.
const BACK_MAX_MS: u64 = 400 * 24 * HOUR_MS;
/// The most attempts to read one series.
const ASKS_MAX: u32 = 5;
/// The pause before the second attempt; it doubles with each.
const ASK_PAUSE: Duration = Duration::from_secs(1);
/// The most differences that one answer lists.
pub(crate) const DIFFERENCES_SHOWN: usize = 10_000;

/// Body of `POST /v1/reconcile`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReconcileRequest {
    /// The first hour that is compared. Absent: three days ago, or earlier if the provider's error reports require it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// The end of the comparison, exclusive, rounded down to its hour. Absent: now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
    /// Only this customer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer: Option<String>,
}

/// An hour of a customer's meter in which outbox and provider differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// The provider's name of the customer; none where a tenant has none.
    pub customer: Option<String>,
    /// The tenants whose usage it is.
    pub tenants: BTreeSet<String>,
    /// The provider's name of the meter.
    pub event_name: String,
    /// The hour; none if the whole series could not be compared.
    pub hour: Option<Timestamp>,
    /// The outbox's sum, over all states.
    pub ours: i64,
    /// The provider's sum; none if it was not asked or did not answer.
    pub theirs: Option<i64>,
    /// The causes; their amounts add up to `theirs - ours`.
    pub causes: Vec<CauseAmount>,
}

/// Answer to `POST /v1/reconcile`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReconcileView {
    /// The account's name and mode.
    pub account: String,
    /// The first hour that was compared.
    pub from: Timestamp,
    /// The end of the comparison, exclusive.
    pub to: Timestamp,
    /// When the comparison was made.
    pub at: Timestamp,
    /// Pairs of customer and meter that were compared.
    pub series: u64,
    /// Hours in which at least one side has an amount.
    pub windows: u64,
    /// Differing hours by cause. An hour may have several causes.
    pub by_cause: BTreeMap<Cause, u64>,
    /// True if some cause needs a person: any but rows on their way.
    pub attention: bool,
    /// The differences by customer, meter and hour; at most [`DIFFERENCES_SHOWN`].
    pub differences: Vec<Difference>,
}

/// The scope of a comparison.
#[derive(Clone, Debug)]
pub struct Scope {
    /// The account.
    pub account: Account,
    /// The provider's meter for each meter that is billed.
    pub event_names: BTreeMap<String, String>,
    /// Customers to compare even without rows in the outbox.
    pub customers: BTreeSet<String>,
    /// How long a window stays open after its end, in milliseconds.
    pub grace_ms: u64,
    /// Series read at once.
    pub concurrency: usize,
}

/// Why a comparison fails.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// The ledger cannot be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The ledger reports to another account.
    #[error(transparent)]
    Billing(#[from] BillingError),
    /// The span is not valid.
    #[error("{0}")]
    Span(&'static str),
    /// An internal task ended early.
    #[error("reading the ledger broke off: {0}")]
    Task(#[from] tokio::task::JoinError),
}

/// Compares. Reads the ledger at `ledger` on a connection of its own.
pub async fn run<S: BillingSink>(
    sink: &S,
    ledger: &Place,
    scope: &Scope,
    request: &ReconcileRequest,
    clock: &dyn Clock,
) -> Result<ReconcileView, ReconcileError> {
    let books = Shared::open(ledger)?;
    let at = clock.now();
    let account = books.pinned(&scope.account).await?;
    let (from, to) = span(request, at, books.read(Books::suspect_since).await?)?;
    let span = books::Span { account, from, to };
    let (of, known, only) = (span.clone(), scope.clone(), request.customer.clone());
    let series = books.read(move |books| books.series(&of, &known, only.as_deref())).await?;
    let mut view = ReconcileView { account: span.account.to_string(), from, to, at, ..ReconcileView::default() };
    let mut asked = futures::stream::iter(series)
        .map(|series| async move {
            let said = ask(sink, &series, from, to).await;
            (series, said)
        })
        .buffer_unordered(scope.concurrency.max(1));
    while let Some((series, said)) = asked.next().await {
        let of = (span.clone(), series.clone());
        let ours = books.read(move |books| books.rows(&of.0, &of.1)).await?;
        view.series += 1;
        view.take(&series, ours, said, clock.now());
    }
    drop(asked);
    let (of, known) = (span, scope.clone());
    if request.customer.is_none() {
        let absent = books.read(move |books| books.without_series(&of, &known, at)).await?;
        absent.into_iter().for_each(|absent| view.take_absent(absent));
    }
    view.finish();
    Ok(view)
}

/// A customer and a meter at the provider.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Series {
    pub(crate) customer: String,
    pub(crate) event_name: String,
}

async fn ask<S: BillingSink>(
    sink: &S,
    series: &Series,
    from: Timestamp,
    to: Timestamp,
) -> Result<Vec<Summary>, RequestError> {
    let mut pause = ASK_PAUSE;
    for _ in 1..ASKS_MAX {
        match sink.summaries(&series.customer, &series.event_name, from, to).await {
            Err(RequestError::Unavailable(_)) => tokio::time::sleep(pause).await,
            said => return said,
        }
        pause *= 2;
    }
    sink.summaries(&series.customer, &series.event_name, from, to).await
}

fn span(
    request: &ReconcileRequest,
    now: Timestamp,
    suspect: Option<Timestamp>,
) -> Result<(Timestamp, Timestamp), ReconcileError> {
    let to = request.to.map_or(now.hour().plus_millis(HOUR_MS), Timestamp::hour);
    let usual = Timestamp::from_millis(to.as_millis().saturating_sub(BACK_MS));
    let from = request.from.unwrap_or_else(|| suspect.map_or(usual, |suspect| usual.min(suspect))).hour();
    if from >= to {
        return Err(ReconcileError::Span("`from` must lie at least an hour before `to`"));
    }
    if to.millis_since(from) > BACK_MAX_MS {
        return Err(ReconcileError::Span("at most 400 days are compared at once"));
    }
    Ok((from, to))
}

impl ReconcileView {
    fn take(&mut self, series: &Series, ours: books::Rows, said: Result<Vec<Summary>, RequestError>, now: Timestamp) {
        let theirs: BTreeMap<Timestamp, i64> = match said {
            Ok(summaries) => summaries.into_iter().map(|summary| (summary.hour, summary.value)).collect(),
            Err(error) => return self.not_compared(series, &ours, &error),
        };
        let hours: BTreeSet<Timestamp> = theirs.keys().chain(ours.hours.keys()).copied().collect();
        for hour in hours {
            self.windows += 1;
            let rows = ours.hours.get(&hour).map_or(&[][..], Vec::as_slice);
            let sum = theirs.get(&hour).copied().unwrap_or(0);
            let causes = compare::causes(rows, sum, &ours.suspects, now);
            if causes.is_empty() {
                continue;
            }
            self.note(Difference {
                customer: Some(series.customer.clone()),
                tenants: rows.iter().map(|row| row.tenant.clone()).collect(),
                event_name: series.event_name.clone(),
                hour: Some(hour),
                ours: rows.iter().map(|row| row.value).sum(),
                theirs: Some(sum),
                causes,
            });
        }
    }

    fn not_compared(&mut self, series: &Series, ours: &books::Rows, error: &RequestError) {
        let rows = || ours.hours.values().flatten();
        self.windows += ours.hours.len() as u64;
        self.note(Difference {
            customer: Some(series.customer.clone()),
            tenants: rows().map(|row| row.tenant.clone()).collect(),
            event_name: series.event_name.clone(),
            hour: None,
            ours: rows().map(|row| row.value).sum(),
            theirs: None,
            causes: vec![CauseAmount { why: Cause::NotCompared, detail: Some(error.to_string()), rows: 0, value: 0 }],
        });
    }

    /// Takes in amounts that the provider cannot have yet: windows without rows, rows without a customer.
    fn take_absent(&mut self, absent: Absent) {
        self.windows += 1;
        self.note(Difference {
            customer: None,
            tenants: [absent.tenant].into(),
            event_name: absent.event_name,
            hour: Some(absent.hour),
            ours: absent.value,
            theirs: None,
            causes: vec![absent.cause],
        });
    }

    fn note(&mut self, difference: Difference) {
        let why: BTreeSet<Cause> = difference.causes.iter().map(|cause| cause.why).collect();
        for why in why {
            *self.by_cause.entry(why).or_default() += 1;
            self.attention |= why.needs_a_person();
        }
        if self.differences.len() < DIFFERENCES_SHOWN {
            self.differences.push(difference);
        }
    }

    fn finish(&mut self) {
        self.differences.sort_by(|a, b| {
            (&a.customer, &a.event_name, a.hour, &a.tenants).cmp(&(&b.customer, &b.event_name, b.hour, &b.tenants))
        });
    }
}

/// One reader for all questions; they run on threads that may block.
#[derive(Clone, Debug)]
struct Shared(Arc<Mutex<Books>>);

impl Shared {
    fn open(ledger: &Place) -> Result<Self, LedgerError> {
        Ok(Shared(Arc::new(Mutex::new(Books::new(LedgerReader::open(ledger)?)))))
    }

    /// The account that rows are made for: the one pinned by the first report, else the configured one.
    async fn pinned(&self, configured: &Account) -> Result<Account, ReconcileError> {
        match self.read(Books::pinned).await? {
            None => Ok(configured.clone()),
            Some(pinned) if pinned.livemode == configured.livemode => Ok(pinned),
            Some(pinned) => Err(BillingError::OtherAccount { pinned, configured: configured.clone() }.into()),
        }
    }

    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&mut Books) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, ReconcileError> {
        let books = Arc::clone(&self.0);
        let work = move || read(&mut books.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(tokio::task::spawn_blocking(work).await??)
    }
}

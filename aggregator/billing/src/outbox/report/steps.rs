//! The steps of one run: closes windows, verifies rows in doubt, sends rows.
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use weir_contract::Timestamp;
use weir_contract::time::HOUR_MS;

use super::{RUN_MAX, Reporter, SUMMARIES_MAX};
use crate::outbox::rows::{self, Settled};
use crate::outbox::run::{PATIENCE_MS, Run, Terms};
use crate::outbox::verify::{self, Verification};
use crate::outbox::{BillingError, close};
use crate::{BillingSink, ProviderMessage, RequestError, Summary};

/// The most hours that one run looks up.
const VERIFICATIONS_MAX: usize = 200;
/// The most hours that one call asks for: a month, and less than one page of summaries.
const SUMMARY_HOURS_MAX: u64 = 24 * 31;

impl<S: BillingSink + 'static> Reporter<S> {
    pub(super) async fn close(&self, terms: &Terms, as_of: Option<Timestamp>) -> Result<u64, BillingError> {
        let mut created = 0;
        while !self.is_over(terms) {
            let (policy, now) = (Arc::clone(&terms.policy), self.clock.now());
            let as_of = as_of.unwrap_or(now);
            let (rows, done) =
                self.ledger.call(move |ledger| ledger.durably(|db| close::step(db, &policy, as_of, now))).await?;
            created += rows;
            if done {
                break;
            }
        }
        let (policy, now) = (Arc::clone(&terms.policy), self.clock.now());
        self.ledger.call(move |ledger| ledger.durably(|db| close::map_held(db, &policy, now))).await?;
        Ok(created)
    }

    /// Verifies the hours that are due, with one call for the hours of each customer and meter.
    pub(super) async fn verify_due(&self, terms: &Terms) -> Result<(), BillingError> {
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
            if self.is_over(terms) {
                break;
            }
            tokio::time::sleep(self.pacer.slot(self.pace.calls_per_second)).await;
            let to = last.hour.plus_millis(HOUR_MS);
            let asked = self.sink.summaries(&first.customer, &first.event_name, first.hour, to);
            let late = || {
                RequestError::Unavailable(ProviderMessage { detail: "it takes too long".to_owned(), request_id: None })
            };
            let summaries = tokio::time::timeout(SUMMARIES_MAX, asked).await.unwrap_or_else(|_| Err(late()));
            if let Err(error) = &summaries {
                tracing::warn!(customer = first.customer, %error, "summaries that rows wait for could not be read");
            }
            self.record_summaries(terms, group.to_vec(), summaries.ok()).await?;
        }
        Ok(())
    }

    async fn record_summaries(
        &self,
        terms: &Terms,
        verifications: Vec<Verification>,
        summaries: Option<Vec<Summary>>,
    ) -> Result<(), BillingError> {
        let (policy, now) = (Arc::clone(&terms.policy), self.clock.now());
        let take = move |db: &mut weir_database::Connection| {
            verifications.iter().try_for_each(|hour| {
                let sum = summaries.as_ref().map(|all| {
                    all.iter().filter(|summary| summary.hour == hour.hour).map(|summary| summary.value).sum()
                });
                verify::record_summary(db, &policy, hour, sum, now)
            })
        };
        self.ledger.call(move |ledger| ledger.durably(take)).await
    }

    pub(super) async fn send_all(&self, terms: &Terms, run: &mut Run) -> Result<(), BillingError> {
        loop {
            let ends = run.halted.is_some() || self.is_over(terms);
            let want = if ends { 0 } else { self.pace.concurrency - run.flying.len() };
            let settled = std::mem::take(&mut run.settled);
            let claimed = self.settle_and_claim(terms, settled, want).await?;
            for row in claimed {
                let (sink, wait) = (Arc::clone(&self.sink), self.pacer.slot(self.pace.calls_per_second));
                run.flying.push(
                    async move {
                        tokio::time::sleep(wait).await;
                        let answer = sink.send(row.event.clone()).await;
                        let (identifier, value) = (&row.event.identifier, row.event.value);
                        tracing::debug!(%identifier, value, ?answer, "a row was sent");
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
            if ends || !self.wait_for_retry(&mut run.waited_ms).await? {
                return Ok(());
            }
        }
    }

    /// Settles answers and claims rows; when this returns, the marks of the rows are on the disk.
    async fn settle_and_claim(
        &self,
        terms: &Terms,
        settled: Vec<Settled>,
        want: usize,
    ) -> Result<Vec<rows::Claimed>, BillingError> {
        let (policy, now) = (Arc::clone(&terms.policy), self.clock.now());
        self.ledger
            .call(move |ledger| ledger.durably(|db| rows::settle_and_claim(db, &policy, &settled, want, now)))
            .await
    }

    /// Waits for a retry that is due soon. Returns false if there is none.
    async fn wait_for_retry(&self, waited_ms: &mut u64) -> Result<bool, BillingError> {
        let Some(due) = self.ledger.call(|ledger| rows::next_due(ledger.db())).await? else { return Ok(false) };
        let wait = due.millis_since(self.clock.now()).max(10);
        if wait > PATIENCE_MS || Duration::from_millis(*waited_ms) > RUN_MAX {
            return Ok(false);
        }
        *waited_ms += wait;
        tokio::time::sleep(Duration::from_millis(wait)).await;
        Ok(true)
    }
}

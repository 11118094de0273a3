//! What became of a call: leases are granted, or the center did not answer.
use weir_contract::Timestamp;
use weir_contract::lease::Answer;

use super::{Notice, Renewals, Sent};
use crate::fetch::{Failure, Fetched};
use crate::limit::SharedBuckets;
use crate::limit::lease::renewal::{Applied, Arrived};
use crate::store::Store;

impl Renewals {
    /// Takes in the answer to a call, or its absence.
    pub fn answered(
        &mut self,
        store: &mut impl Store,
        call: u64,
        answer: &Fetched<'_>,
        now: Timestamp,
    ) -> Option<Notice> {
        let at = self.calls.iter().position(|sent| sent.call == call)?;
        let sent = self.calls.swap_remove(at);
        match read(answer, &sent) {
            Ok(answer) => {
                self.apply(store, &sent, &answer, now);
                self.tally.answered += 1;
                let trouble = self.trouble.take()?;
                let cluster = &sent.center.cluster;
                Some(Notice::BackAgain(format!("leases are renewed again (cluster {cluster}), after: {trouble}")))
            }
            Err(failure) => {
                self.tally.failed += 1;
                self.fail(store, &sent, now);
                self.tell(&sent, failure)
            }
        }
    }

    fn apply(&mut self, store: &mut impl Store, sent: &Sent, answer: &Answer, now: Timestamp) {
        for (key, grant) in sent.notes.iter().zip(&answer.leases) {
            let Some(note) = self.notes.get_mut(key) else { continue };
            let Answer { epoch, at_ms, ttl_ms, .. } = *answer;
            let arrived = Arrived { grant, epoch, at_ms, ttl_ms, sent: sent.at };
            let mut buckets = SharedBuckets::new(store);
            note.next = now;
            match buckets.apply_to_lease(&note.tenant, note.bucket_id, &arrived, now) {
                Ok(Applied::Granted(units)) => self.tally.granted = self.tally.granted.saturating_add(units),
                Ok(Applied::Refused) => self.tally.refused += 1,
                Ok(Applied::Ignored | Applied::Lapsed) | Err(_) => {}
            }
        }
    }

    fn fail(&mut self, store: &mut impl Store, sent: &Sent, now: Timestamp) {
        for key in &sent.notes {
            let Some(note) = self.notes.get_mut(key) else { continue };
            let mut buckets = SharedBuckets::new(store);
            // Unwritten, the call counts as under way until its time is over.
            let _unwritten = buckets.change_lease(&note.tenant, note.bucket_id, now, |lease| lease.unanswered(sent.at));
        }
    }

    /// What to log of a failure, once for each cause.
    fn tell(&mut self, sent: &Sent, failure: Failure) -> Option<Notice> {
        let cause = match failure {
            Failure::Status(401 | 403) => {
                format!("{failure}; is the token of `leases` one of the aggregator's, with the scope directory?")
            }
            Failure::Status(404) => format!("{failure}; does this weir serve grant leases at {}?", sent.center.path),
            _ => failure.to_string(),
        };
        if self.trouble.as_ref() == Some(&cause) {
            return None;
        }
        self.trouble = Some(cause.clone());
        let cluster = &sent.center.cluster;
        Some(Notice::Failing(format!(
            "leases on limits of the fleet are not renewed (cluster {cluster}): {cause}; what is held is spent, and then each \
             limit goes on as its `unreachable` says"
        )))
    }
}

/// The answer to a call, if it is one.
fn read(answer: &Fetched<'_>, sent: &Sent) -> Result<Answer, Failure> {
    let body = answer.ok()?;
    let answer: Answer = serde_json::from_slice(body).map_err(|_| Failure::NoLeases)?;
    let fits = answer.leases.len() == sent.notes.len() && answer.sent_ms == sent.at.as_millis();
    if fits { Ok(answer) } else { Err(Failure::NoLeases) }
}

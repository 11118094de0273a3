//! Answers by their questions: which are kept, which are due, and who reads them. Knows nothing of what they are.
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use super::Figures;
use crate::server::error::ApiError;

/// How long a look waits for figures that are being read. Those of a thousand tenants take less.
const WAIT: Duration = Duration::from_secs(1);
/// How old figures get before they are read again, while somebody looks at them.
const FRESH: Duration = Duration::from_secs(10);
/// How long after the last look figures are read again so often. Then they are read less often, so that the next look need not wait.
const LOOKED_AT: Duration = Duration::from_secs(60);
const IDLE: Duration = Duration::from_secs(300);
/// From this age on a look reads figures itself, if that takes at most [`QUICK`].
const OLD: Duration = Duration::from_secs(30);
const QUICK: Duration = Duration::from_millis(500);
/// How long figures are kept that nobody looks at.
const KEPT_FOR: Duration = Duration::from_secs(24 * 3_600);
/// The answers of one kind that are kept: the dimensions of sums, or some weeks. A further one takes the place of the one that was looked
/// at longest ago. The largest has 10,000 rows, some megabytes.
const ANSWERS_MAX: usize = 12;
/// The pause after an answer was read, in times of what that took.
const PAUSE_FACTOR: u32 = 9;

/// The answers of one kind.
#[derive(Debug)]
pub(super) struct Shelf<T> {
    state: Mutex<State<T>>,
    /// Whoever reads has it: one answer is read at a time.
    turn: Arc<tokio::sync::Mutex<()>>,
    /// How long a look waits.
    wait: Duration,
}

#[derive(Debug)]
struct State<T> {
    answers: BTreeMap<String, Answer<T>>,
    /// Why questions have no answer, and since when, until somebody has looked. At most [`ANSWERS_MAX`].
    failed: BTreeMap<String, (Duration, ApiError)>,
}

#[derive(Debug)]
struct Answer<T> {
    figures: Arc<Figures<T>>,
    looked_at: Duration,
}

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        let state = State { answers: BTreeMap::new(), failed: BTreeMap::new() };
        Shelf { state: Mutex::new(state), turn: Arc::default(), wait: WAIT }
    }
}

impl<T> Answer<T> {
    fn age(&self, now: Duration) -> Duration {
        now.saturating_sub(self.figures.read_at)
    }

    /// Whether it is time to read it again.
    fn is_due(&self, now: Duration) -> bool {
        let is_looked_at = now.saturating_sub(self.looked_at) < LOOKED_AT;
        self.age(now) >= if is_looked_at { FRESH } else { IDLE }
    }

    /// Whether a look should wait for newer figures.
    fn is_outdated(&self, now: Duration) -> bool {
        self.age(now) >= OLD && self.figures.took <= QUICK
    }
}

impl<T> State<T> {
    /// What is kept; with `fresh`, unless it should be read anew at once.
    fn look(&mut self, question: &str, now: Duration, fresh: bool) -> Option<Arc<Figures<T>>> {
        let answer = self.answers.get_mut(question).filter(|answer| !fresh || !answer.is_outdated(now))?;
        answer.looked_at = now;
        Some(Arc::clone(&answer.figures))
    }

    fn keep(&mut self, question: String, answer: Answer<T>) {
        if self.answers.len() >= ANSWERS_MAX && !self.answers.contains_key(&question) {
            let oldest = self.answers.iter().min_by_key(|(_, answer)| answer.looked_at);
            let oldest = oldest.map(|(question, _)| question.clone());
            oldest.and_then(|oldest| self.answers.remove(&oldest));
        }
        self.answers.insert(question, answer);
    }

    fn fail(&mut self, question: String, now: Duration, error: ApiError) {
        if self.failed.len() >= ANSWERS_MAX {
            self.failed.pop_first();
        }
        self.failed.insert(question, (now, error));
    }

    /// Why a question has no answer, told once: the next look reads again. What failed long ago may succeed now.
    fn why(&mut self, question: &str, now: Duration) -> Option<ApiError> {
        let (at, error) = self.failed.remove(question)?;
        (now.saturating_sub(at) < FRESH).then_some(error)
    }

    /// Forgets what nobody looks at, and returns the question that is due the longest.
    fn due(&mut self, now: Duration) -> Option<String> {
        self.answers.retain(|_, answer| now.saturating_sub(answer.looked_at) < KEPT_FOR);
        let due = self.answers.iter().filter(|(_, answer)| answer.is_due(now));
        due.max_by_key(|(_, answer)| answer.age(now)).map(|(question, _)| question.clone())
    }
}

impl<T: Send + Sync + 'static> Shelf<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many answers are kept.
    pub(super) fn count(&self) -> usize {
        self.lock().answers.len()
    }

    /// The figures that answer a question, read by `read` where none are kept or those are outdated; None if they are not there in time.
    /// Reading goes on then, and so does it when whoever looks leaves.
    pub(super) async fn get(
        self: &Arc<Self>,
        question: &str,
        now: Duration,
        read: impl Future<Output = Result<Figures<T>, ApiError>> + Send + 'static,
    ) -> Result<Option<Arc<Figures<T>>>, ApiError> {
        let (until, mut settled) = (Instant::now() + self.wait, self.settled(question, now, true));
        if settled.is_none()
            && let Ok(turn) = timeout_at(until, Arc::clone(&self.turn).lock_owned()).await
        {
            // Whoever had the turn before may have read the same.
            settled = self.settled(question, now, true);
            if settled.is_none() {
                let (shelf, question) = (Arc::clone(self), question.to_owned());
                let reading = tokio::spawn(async move {
                    let _turn = turn;
                    let outcome = read.await;
                    shelf.note(question, now, outcome);
                });
                // One that panicked has told so itself; the next look reads again.
                let _ = timeout_at(until, reading).await;
            }
        }
        settled.or_else(|| self.settled(question, now, false)).transpose()
    }

    /// What a look finds: figures, or why there are none.
    fn settled(&self, question: &str, now: Duration, fresh: bool) -> Option<Result<Arc<Figures<T>>, ApiError>> {
        let mut state = self.lock();
        let failed = state.why(question, now).map(Err);
        failed.or_else(|| state.look(question, now, fresh).map(Ok))
    }

    fn note(&self, question: String, now: Duration, outcome: Result<Figures<T>, ApiError>) {
        let mut state = self.lock();
        match outcome {
            Ok(figures) => state.keep(question, Answer { figures: Arc::new(figures), looked_at: now }),
            Err(error) => state.fail(question, now, error),
        }
    }

    /// Reads the question again that is due the longest, and pauses. Does nothing while a look reads.
    pub(super) async fn read_again<F>(&self, now: Duration, read: impl FnOnce(&str) -> F)
    where
        F: Future<Output = Result<Figures<T>, ApiError>>,
    {
        let Some(question) = self.lock().due(now) else { return };
        let began = Instant::now();
        {
            let Ok(_turn) = self.turn.try_lock() else { return };
            match read(&question).await {
                Ok(figures) => {
                    if let Some(answer) = self.lock().answers.get_mut(&question) {
                        answer.figures = Arc::new(figures);
                    }
                }
                Err(error) => {
                    // The next look reads again, and says why.
                    tracing::warn!(%error, "figures of the dashboard cannot be read again");
                    self.lock().answers.remove(&question);
                }
            }
        }
        sleep(began.elapsed() * PAUSE_FACTOR).await;
    }
}

#[cfg(test)]
mod tests;

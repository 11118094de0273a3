//! Figures of all tenants: of many they take seconds to read, so what was read is kept, shown with its moment, and read again in the
//! background while people look.
//!
//! A look waits only where nothing is kept, or where what is kept is old and takes no time to read. The background reads one answer at a
//! time and pauses for [`PAUSE_FACTOR`] times as long, so that looking costs at most a tenth of a core however many people do: the more
//! tenants there are, the older figures get, and every page says how old they are. Files and the API read for each question.
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use weir_contract::Timestamp;
use weir_dashboard::Block;
use weir_steer::engine::Rules;

use crate::finance::{Finance, FinanceError};
use crate::server::App;
use crate::server::error::ApiError;
use crate::server::finance::{with_finance, with_own_finance};

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

/// Figures, and the moment that they are of.
#[derive(Debug)]
pub(super) struct Figures<T> {
    /// The figures.
    pub(super) of: T,
    /// When they were read.
    at: Timestamp,
    /// They have at least what the event log has up to this record.
    through: u64,
    /// When they were read, in elapsed time, and how long that took.
    read_at: Duration,
    took: Duration,
}

impl<T> Figures<T> {
    /// What a page says of their age.
    pub(super) fn as_of(&self) -> Block {
        Block::AsOf(self.at, Some(self.through))
    }
}

/// Reads an answer to a question.
type Read<T> = fn(&mut Finance, &Rules, &str) -> Result<T, FinanceError>;

/// Answers to questions of one kind.
#[derive(Debug)]
pub(super) struct Kept<T> {
    read: Read<T>,
    answers: Mutex<BTreeMap<String, Answer<T>>>,
    /// Whoever reads for a look: others wait for what it finds.
    reading: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Answer<T> {
    figures: Arc<Figures<T>>,
    looked_at: Duration,
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

impl<T: Send + Sync + 'static> Kept<T> {
    pub(super) fn new(read: Read<T>) -> Self {
        Kept { read, answers: Mutex::default(), reading: tokio::sync::Mutex::default() }
    }

    /// The figures that answer a question.
    pub(super) async fn get(&self, app: &App, question: &str) -> Result<Arc<Figures<T>>, ApiError> {
        if let Some(figures) = self.look(question, app.0.clock.elapsed()) {
            return Ok(figures);
        }
        let _reading = self.reading.lock().await;
        let now = app.0.clock.elapsed();
        if let Some(figures) = self.look(question, now) {
            return Ok(figures);
        }
        let figures = Arc::new(with_finance(app, self.reader(app, question)).await?);
        self.keep(question, Answer { figures: Arc::clone(&figures), looked_at: now });
        Ok(figures)
    }

    /// How many answers are kept.
    pub(super) fn count(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Answer<T>>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is kept, unless it should be read anew at once.
    fn look(&self, question: &str, now: Duration) -> Option<Arc<Figures<T>>> {
        let mut answers = self.lock();
        let answer = answers.get_mut(question).filter(|answer| !answer.is_outdated(now))?;
        answer.looked_at = now;
        Some(Arc::clone(&answer.figures))
    }

    fn keep(&self, question: &str, answer: Answer<T>) {
        let mut answers = self.lock();
        if answers.len() >= ANSWERS_MAX && !answers.contains_key(question) {
            let oldest =
                answers.iter().min_by_key(|(_, answer)| answer.looked_at).map(|(question, _)| question.clone());
            oldest.and_then(|oldest| answers.remove(&oldest));
        }
        answers.insert(question.to_owned(), answer);
    }

    /// Forgets what nobody looks at, and returns the question that is due the longest.
    fn due(&self, now: Duration) -> Option<String> {
        let mut answers = self.lock();
        answers.retain(|_, answer| now.saturating_sub(answer.looked_at) < KEPT_FOR);
        let due = answers.iter().filter(|(_, answer)| answer.is_due(now));
        due.max_by_key(|(_, answer)| answer.age(now)).map(|(question, _)| question.clone())
    }

    /// Reads the question again that is due the longest, and pauses.
    pub(super) async fn read_again(&self, app: &App) {
        let Some(question) = self.due(app.0.clock.elapsed()) else { return };
        let began = Instant::now();
        match with_own_finance(app, self.reader(app, &question)).await {
            Ok(figures) => {
                let mut answers = self.lock();
                if let Some(answer) = answers.get_mut(&question) {
                    answer.figures = Arc::new(figures);
                }
            }
            Err(error) => {
                // The next look says why.
                let error: ApiError = error;
                tracing::warn!(%error, "figures of the dashboard cannot be read again");
                self.lock().remove(&question);
            }
        }
        sleep(began.elapsed() * PAUSE_FACTOR).await;
    }

    /// Reads an answer, and notes of when it is.
    fn reader(
        &self,
        app: &App,
        question: &str,
    ) -> impl FnOnce(&mut Finance) -> Result<Figures<T>, FinanceError> + Send + 'static {
        let (read, rules, question) = (self.read, app.0.budgets.rules(), question.to_owned());
        let (read_at, began) = (app.0.clock.elapsed(), Instant::now());
        move |finance| {
            let (at, through) = (finance.now, finance.reader.position()?);
            let of = read(finance, &rules, &question)?;
            Ok(Figures { of, at, through, read_at, took: began.elapsed() })
        }
    }
}

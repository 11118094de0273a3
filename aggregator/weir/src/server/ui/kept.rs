//! Figures of all tenants: of many they take seconds to read, so what was read is kept, shown with its moment, and read again in the
//! background while people look.
//!
//! A look waits a second at most, and only where nothing is kept, or where what is kept is old and takes no time to read. Where nothing
//! is there by then, reading goes on, and the page says so and loads again. The background reads one answer at a
//! time and pauses for nine times as long, so that looking costs at most a tenth of a core however many people do: the more
//! tenants there are, the older figures get, and every page says how old they are. Files and the API read for each question.
mod shelf;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use weir_contract::Timestamp;
use weir_dashboard::Block;
use weir_steer::engine::Rules;

use crate::finance::{Finance, FinanceError};
use crate::server::App;
use crate::server::error::ApiError;
use crate::server::finance::{with_finance, with_own_finance};
use shelf::Shelf;

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
    shelf: Arc<Shelf<T>>,
}

impl<T: Send + Sync + 'static> Kept<T> {
    pub(super) fn new(read: Read<T>) -> Self {
        Kept { read, shelf: Arc::default() }
    }

    /// The figures that answer a question; None while they are being read for the first time, see [`being_read`].
    pub(super) async fn get(&self, app: &App, question: &str) -> Result<Option<Arc<Figures<T>>>, ApiError> {
        let (asked, reader) = (app.clone(), self.reader(app, question));
        let read = async move { with_finance(&asked, reader).await };
        self.shelf.get(question, app.0.clock.elapsed(), read).await
    }

    /// How many answers are kept.
    pub(super) fn count(&self) -> usize {
        self.shelf.count()
    }

    /// Reads the question again that is due the longest, and pauses.
    pub(super) async fn read_again(&self, app: &App) {
        let read = |question: &str| with_own_finance(app, self.reader(app, question));
        self.shelf.read_again(app.0.clock.elapsed(), read).await;
    }

    /// Reads an answer, and notes of when it is.
    fn reader(
        &self,
        app: &App,
        question: &str,
    ) -> impl FnOnce(&mut Finance) -> Result<Figures<T>, FinanceError> + Send + use<T> {
        let (read, rules, question) = (self.read, app.0.budgets.rules(), question.to_owned());
        let (read_at, began) = (app.0.clock.elapsed(), Instant::now());
        move |finance| {
            let (at, through) = (finance.now, finance.reader.position()?);
            let of = read(finance, &rules, &question)?;
            Ok(Figures { of, at, through, read_at, took: began.elapsed() })
        }
    }
}

/// What a page shows in the place of figures that are being read for the first time.
pub(super) fn being_read(what: &str) -> Block {
    Block::BeingRead(what.to_owned())
}

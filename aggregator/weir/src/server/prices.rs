//! The price book in force, and reading it again when its files change. A bad file changes nothing.
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::SystemTime;

use super::App;
use crate::config::prices::{PriceSources, prices_of};
use weir_money::prices::Book;

/// The book in force.
#[derive(Debug, Default)]
pub(super) struct PricesInForce {
    book: RwLock<Option<Arc<Book>>>,
    seen: Mutex<Option<Seen>>,
}

/// What was read last: the settings, and each file's time of change and size.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    sources: PriceSources,
    files: Vec<(PathBuf, Option<(SystemTime, u64)>)>,
}

impl Seen {
    fn look(sources: &PriceSources) -> Self {
        let stamp = |path: &PathBuf| {
            let of = std::fs::metadata(path).ok();
            (path.clone(), of.and_then(|of| Some((of.modified().ok()?, of.len()))))
        };
        Seen { sources: sources.clone(), files: sources.files().iter().map(stamp).collect() }
    }
}

impl PricesInForce {
    /// The book of the start.
    pub(super) fn new(sources: &PriceSources, book: Option<Arc<Book>>) -> Self {
        PricesInForce { book: RwLock::new(book), seen: Mutex::new(Some(Seen::look(sources))) }
    }

    /// The book in force.
    pub(super) fn book(&self) -> Option<Arc<Book>> {
        self.book.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns true if settings or files changed since they were read last.
    fn changed(&self, sources: &PriceSources) -> bool {
        let now = Some(Seen::look(sources));
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = *seen != now;
        *seen = now;
        changed
    }
}

/// Reads the prices again if they changed, and puts them in force for the events that follow.
pub(super) async fn reload(app: &App, sources: &PriceSources) {
    let prices = &app.0.prices;
    if !prices.changed(sources) {
        return;
    }
    let book = match sources.book() {
        Ok(book) => book.map(Arc::new),
        Err(error) => {
            app.0.metrics.prices_read(false);
            tracing::error!(problem = %error, "the prices are not used; the last good ones stay in force");
            return;
        }
    };
    let (now, set) = (app.0.clock.now(), prices_of(book.clone()));
    match app.0.store.ledger.call(move |ledger| ledger.set_prices(set, now)).await {
        Ok(changed) => {
            *prices.book.write().unwrap_or_else(PoisonError::into_inner) = book;
            app.0.metrics.prices_read(true);
            if changed {
                tracing::info!("new prices are in force for the events from now on");
            }
        }
        Err(error) => {
            app.0.metrics.prices_read(false);
            tracing::error!(%error, "the prices could not be put in force; the last good ones stay");
        }
    }
}

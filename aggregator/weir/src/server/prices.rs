//! The price book in force, and reading it again when its files change. A bad file changes nothing.
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
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
    /// Whether what was read last is not in force.
    failing: AtomicBool,
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
        PricesInForce { book: RwLock::new(book), seen: Mutex::new(Some(Seen::look(sources))), failing: false.into() }
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
    if prices.changed(sources) {
        let problem = put_in_force(app, sources).await.err();
        if let Some(problem) = &problem {
            tracing::error!(%problem, "the prices are not used; the last good ones stay in force");
        }
        prices.failing.store(problem.is_some(), Ordering::Relaxed);
    }
    app.0.metrics.prices_read(!prices.failing.load(Ordering::Relaxed));
}

async fn put_in_force(app: &App, sources: &PriceSources) -> Result<(), String> {
    let book = sources.book().map_err(|error| error.to_string())?.map(Arc::new);
    let (now, set) = (app.0.clock.now(), prices_of(book.clone()));
    let changed = app.0.store.ledger.call(move |ledger| ledger.set_prices(set, now)).await;
    if changed.map_err(|error| error.to_string())? {
        tracing::info!("new prices are in force for the events from now on");
    }
    *app.0.prices.book.write().unwrap_or_else(PoisonError::into_inner) = book;
    Ok(())
}

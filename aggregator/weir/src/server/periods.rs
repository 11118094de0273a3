//! Billing periods, kept as Stripe has them: read again every few hours, and when a webhook tells of a subscription.
use std::sync::PoisonError;
use std::time::Duration;

use super::App;
use super::provider::ProviderAccess;
use weir_stripe::subscriptions::{self, RefreshError, Refreshed};

/// How often all subscriptions are read.
const REFRESH_EVERY: Duration = Duration::from_secs(6 * 3_600);
/// How soon again after that failed.
const AGAIN_AFTER: Duration = Duration::from_secs(600);

/// Refreshes for as long as the server runs.
pub(super) async fn keep_fresh(app: App) {
    loop {
        let refreshed = refresh(&app, None).await;
        tokio::time::sleep(if refreshed.is_ok() { REFRESH_EVERY } else { AGAIN_AFTER }).await;
    }
}

/// Reads the subscriptions of all tenants' customers, or of `only` this one, and notes where periods begin. What is wrong is
/// logged once for as long as it is wrong.
pub(super) async fn refresh(app: &App, only: Option<&str>) -> Result<(), RefreshError> {
    let Some(provider) = &app.0.provider else { return Ok(()) };
    let refreshed = ask(app, provider, only).await;
    let problem = match &refreshed {
        Ok(refreshed) => problem(refreshed),
        Err(error) => Some(format!("billing periods could not be read from Stripe's subscriptions: {error}")),
    };
    if only.is_none() {
        let known = refreshed.as_ref().ok().map(|refreshed| refreshed.undecided.len() as u64);
        app.0.metrics.billing_periods(known, app.0.clock.now());
        let mut told = provider.told.lock().unwrap_or_else(PoisonError::into_inner);
        if *told != problem {
            tell(problem.as_deref());
            *told = problem;
        }
    } else if problem.is_some() {
        tell(problem.as_deref());
    }
    refreshed.map(drop)
}

async fn ask(app: &App, provider: &ProviderAccess, only: Option<&str>) -> Result<Refreshed, RefreshError> {
    let snapshot = app.0.directory.current();
    let (names, now) = (provider.event_names(), app.0.clock.now());
    let (customers, in_file) = (snapshot.customers(), snapshot.anchors());
    subscriptions::refresh(&provider.sink, &app.0.store.ledger, &names, customers, in_file, only, now).await
}

/// What of the periods a person has to decide.
fn problem(refreshed: &Refreshed) -> Option<String> {
    let first = refreshed.undecided.first()?;
    let others = refreshed.undecided.len() - 1;
    Some(format!("tenant {}: {} ({others} others like it: weir stripe setup)", first.tenant, first.problem))
}

fn tell(problem: Option<&str>) {
    match problem {
        Some(problem) => {
            tracing::error!(problem, "some billing periods are not known; the last known ones stay in force");
        }
        None => tracing::info!("billing periods are as Stripe's subscriptions say again"),
    }
}

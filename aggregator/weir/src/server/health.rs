//! Liveness, readiness and metrics.
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use weir_event_log::Position;

use super::auth::require;
use super::error::ApiError;
use super::passed_on::is_passed_on;
use super::{App, billing_routes, budgets, read};
use crate::config::tokens::Scope;
use crate::metrics::TextFormat;

/// The process answers.
pub(super) async fn get_healthz() -> &'static str {
    "ok\n"
}

/// The answer of [`get_readyz`].
#[derive(Debug, Serialize)]
struct Readiness {
    ready: bool,
    /// Why events are not accepted; None if they are.
    log: Option<String>,
    /// Why accepted events are not counted; None if they are.
    ledger: Option<String>,
    /// Of one of several nodes: its name, and that it owns.
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
}

/// Answers whether events are accepted and counted.
pub(super) async fn get_readyz(State(app): State<App>) -> Response {
    let (log, ledger) = faults(&app);
    let ready = log.is_none() && ledger.is_none();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let node = app.0.fleet.as_ref().map(|fleet| fleet.me.name.clone());
    let role = node.is_some().then_some("owner");
    (status, Json(Readiness { ready, log, ledger, node, role })).into_response()
}

/// Why events are not accepted, and why accepted events are not counted.
pub(super) fn faults(app: &App) -> (Option<String>, Option<String>) {
    let progress = app.0.store.log.progress();
    let gone = app.0.store.check_in_place().err().map(|error| error.to_string());
    let refused = || progress.broken().map(str::to_owned).or_else(|| progress.refused(app.0.clock.elapsed()));
    let ledger = app.0.store.ledger.progress();
    let standstill = || app.0.standstill.look(progress.last(), ledger.position(), app.0.clock.elapsed());
    (gone.or_else(refused), ledger.failure().or_else(standstill))
}

/// For this long a ledger may count nothing although something is there: its longest transactions take seconds.
const STANDSTILL_MAX: Duration = Duration::from_secs(30);

/// Notices a ledger that neither counts nor fails, such as one whose database hangs.
#[derive(Debug, Default)]
pub(super) struct Standstill(Mutex<Option<(Position, Duration)>>);

impl Standstill {
    /// Why the ledger does not follow a log that ends at `end`, if it has stood at `position` for too long.
    fn look(&self, end: Position, position: Position, now: Duration) -> Option<String> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if position >= end {
            *seen = None;
            return None;
        }
        let since = seen.filter(|(before, _)| *before == position).map_or(now, |(_, since)| since);
        *seen = Some((position, since));
        let took = now.saturating_sub(since);
        (took >= STANDSTILL_MAX).then(|| {
            let seconds = took.as_secs();
            format!("the ledger has counted nothing for {seconds} s although the event log has more; see that its database answers")
        })
    }
}

/// Why this process can write no more and another one has to; None while it can.
pub(super) fn is_over(app: &App) -> Option<String> {
    let store = &app.0.store;
    let taken_over = store.check_in_place().err().map(|error| error.to_string());
    taken_over.or_else(|| store.log.progress().broken().map(str::to_owned))
}

/// Answers all metrics, in Prometheus's text format.
pub(super) async fn get_metrics(State(app): State<App>, headers: HeaderMap) -> Result<Response, ApiError> {
    if !app.0.open_metrics || is_passed_on(&headers) {
        require(&app, &headers, Scope::Metrics)?;
    }
    let metrics = &app.0.metrics;
    metrics.show_ledger(&read::own_totals_view(&app).await?);
    let now = app.0.clock.now();
    let open = read::with_own_reader(&app, move |reader| reader.open_breakers(now)).await?;
    metrics.show_models(open, app.0.store.ledger.recent().left_out());
    metrics.show_exports(&app.exports());
    metrics.show_billing(&read::with_own_reader(&app, billing_routes::status_totals(&app)).await?);
    // A busy center is no reason to show nothing: the last totals stay.
    if let Ok(totals) = app.0.leases.totals().await {
        metrics.show_leases(&totals);
    }
    app.0.ui.show(metrics);
    let signal = app.0.budgets.signal();
    metrics.show_budgets(budgets::lag_ms(&app), signal.evaluated_through(), signal.changes());
    metrics.show_left_out_of_budgets(signal.left_out(), app.0.budgets.untold());
    metrics.show_unpriced_of_budgets(signal.unpriced());
    let format = TextFormat::accepted(headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()));
    let text = metrics.encode(format).map_err(|error| ApiError::internal(&error))?;
    Ok(([(header::CONTENT_TYPE, format.content_type())], text).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_stands_still_that_counts_nothing_although_there_is_more() {
        let (standstill, second) = (Standstill::default(), Duration::from_secs(1));
        assert_eq!(standstill.look(5, 5, second), None);
        assert_eq!(standstill.look(6, 5, 2 * second), None);
        assert_eq!(standstill.look(9, 6, 31 * second), None, "it counts");
        assert_eq!(standstill.look(9, 6, 60 * second), None);
        let said = standstill.look(9, 6, 61 * second).unwrap_or_default();
        assert!(said.contains("counted nothing for 30 s"), "{said}");
        assert_eq!(standstill.look(9, 9, 62 * second), None);
        assert_eq!(standstill.look(10, 9, 99 * second), None, "it had nothing to count");
    }
}

//! Compares the rules with what was measured, again and again.
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use weir_ledger::LedgerError;
use weir_steer::alert::deploy;
use weir_steer::alert::evaluate::Findings;
use weir_steer::alert::file::Severity;
use weir_steer::alert::rule::Rule;
use weir_steer::alert::state;
use weir_steer::notice::outbox;
use weir_steer::receiver::Receiver;

use super::App;
use crate::alerts::measure::Measurer;
use crate::server::billing_routes;
use crate::server::error::ApiError;
use crate::server::finance::with_own_finance;
use crate::server::read::with_own_reader;

/// The pause is at least so many times as long as the comparison took: rules cost at most 2 % of one core.
const PAUSE_FACTOR: u32 = 50;

/// What a comparison found: by rule, and how many subjects were left out.
type Found = (Vec<(usize, Findings)>, u64);

/// Compares for as long as the server runs.
pub(in crate::server) async fn watch(app: App) {
    loop {
        let begun = Instant::now();
        match compare(&app).await {
            Ok(left_out) => app.0.metrics.alerts.evaluated(Some(left_out)),
            Err(error) => {
                app.0.metrics.alerts.evaluated(None);
                tracing::error!(%error, "the rules of alerts are not evaluated; trying again");
            }
        }
        let every = Duration::from_millis(app.0.alerts.current().every_ms);
        sleep(every.max(begun.elapsed() * PAUSE_FACTOR)).await;
    }
}

/// Compares every rule once. Returns how many subjects were left out.
async fn compare(app: &App) -> Result<u64, ApiError> {
    app.0.store.catch_up().await?;
    let rules = Arc::clone(&app.0.alerts.current().rules);
    let budgets = app.0.budgets.rules();
    let billing = match app.0.provider {
        Some(_) => Some(with_own_reader(app, billing_routes::status_totals(app)).await?),
        None => None,
    };
    let asked = Arc::clone(&rules);
    let (found, left_out): Found = with_own_finance(app, move |finance| {
        let mut measurer = Measurer::new(finance, &budgets, billing.as_ref())?;
        let (mut found, mut left_out) = (Vec::new(), 0);
        for (at, rule) in asked.iter().enumerate() {
            if let Some(findings) = measurer.evaluate(rule)? {
                left_out += findings.left_out;
                found.push((at, findings));
            }
        }
        Ok::<_, LedgerError>((found, left_out))
    })
    .await?;
    write(app, &rules, found).await?;
    let counted = with_own_reader(app, |reader| {
        Ok([Severity::Warning, Severity::Critical].map(|severity| (severity, state::firing(reader.db(), severity))))
    });
    for (severity, firing) in counted.await? {
        app.0.metrics.alerts.show_firing(severity, firing?);
    }
    let counts = with_own_reader(app, |reader| {
        Ok((deploy::kept(reader.db())?, outbox::waiting(reader.db())?, outbox::failing(reader.db())?))
    });
    let (deploys, waiting, failing) = counts.await?;
    app.0.metrics.alerts.show_deploys(deploys);
    let is_failing = |receiver: &&Receiver| failing.contains_key(&receiver.name);
    let failing = app.0.alerts.current().receivers.iter().filter(is_failing).count();
    app.0.metrics.alerts.show_outbox(waiting.values().sum(), failing as u64);
    Ok(left_out)
}

/// Writes what changed. A rule that found nothing and has no alert is not written about.
async fn write(app: &App, rules: &Arc<[Rule]>, found: Vec<(usize, Findings)>) -> Result<(), ApiError> {
    let known = with_own_reader(app, |reader| state::list(reader.db())).await?;
    let now = app.0.clock.now();
    let has_alert = |rule: &Rule| known.iter().any(|alert| *alert.rule == *rule.name);
    for (at, findings) in found {
        let Some(rule) = rules.get(at).filter(|rule| !findings.found.is_empty() || has_alert(rule)).cloned() else {
            continue;
        };
        let apply = move |db: &mut weir_database::Connection| state::apply(db, &rule, &findings, now);
        app.0.store.ledger.call(move |ledger| ledger.durably(apply)).await?;
    }
    if known.iter().any(|alert| !rules.iter().any(|rule| *rule.name == *alert.rule)) {
        let rules = Arc::clone(rules);
        let tidy = move |db: &mut weir_database::Connection| state::tidy(db, &rules, now);
        app.0.store.ledger.call(move |ledger| ledger.durably(tidy)).await?;
    }
    Ok(())
}

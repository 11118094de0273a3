//! Alerts in the server: compares rules with what was measured ([`watch`]), makes messages of changes, sends them until they are
//! taken ([`send`]), and answers about them ([`routes`]) and about the deploys that some compare around ([`deploys`]).
pub(super) mod deploys;
mod groups;
mod mail;
pub(super) mod routes;
mod send;
pub(super) mod watch;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use reqwest::{Client, redirect};
use weir_ledger::LedgerError;
use weir_ledger::amount::Currency;
use weir_steer::alert::deploy::{self, Boundary};
use weir_steer::alert::file::Kind;
use weir_steer::alert::rule::Rule;
use weir_steer::alert::state::AlertChange;
use weir_steer::budget::Budget;
use weir_steer::message::Context;
use weir_steer::notice;
use weir_steer::receiver::with_shared;
use weir_steer::subject;
use weir_steer::view::Transition;

use super::App;
use super::error::ApiError;
use super::finance::with_own_finance;
use super::read::with_own_reader;
use crate::config::alerts::Alerts;
use crate::finance::Finance;

/// How often the server looks for changes to tell and messages to send.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The most messages that are sent between two looks.
const SENT_MAX: u32 = 20;
/// How long one attempt may take.
const ATTEMPT_MAX: Duration = Duration::from_secs(10);
/// The characters of the ledger's name in ids: enough that two ledgers' messages differ.
const LEDGER_CHARS: usize = 12;
/// The most changes between two looks for which a likely reason is searched: each costs some queries.
const REASONS_MAX: usize = 20;

/// The alerts in force.
#[derive(Debug)]
pub(crate) struct AlertsInForce {
    alerts: RwLock<Arc<Alerts>>,
    /// Where the files of secrets are.
    base: PathBuf,
    /// None where the machine has no certificates to trust: then nothing can be sent.
    http: Option<Client>,
}

impl AlertsInForce {
    pub(super) fn new(alerts: Alerts, base: PathBuf) -> Self {
        let http = Client::builder().timeout(ATTEMPT_MAX).redirect(redirect::Policy::none()).build().ok();
        AlertsInForce { alerts: RwLock::new(alerts.into()), base, http }
    }

    /// Where the files of secrets are.
    pub(super) fn base(&self) -> &Path {
        &self.base
    }

    /// The client that sends; None where the machine has no certificates to trust.
    pub(super) fn http(&self) -> Option<&Client> {
        self.http.as_ref()
    }

    /// Receivers and rules in force.
    fn current(&self) -> Arc<Alerts> {
        Arc::clone(&self.alerts.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces receivers and rules.
    pub(super) fn replace(&self, alerts: Alerts) {
        *self.alerts.write().unwrap_or_else(PoisonError::into_inner) = alerts.into();
    }
}

/// The part of ids that names the ledger.
fn ledger_name(app: &App) -> String {
    app.0.store.ledger_id.chars().take(LEDGER_CHARS).collect()
}

/// Tells of changes for as long as the server runs.
pub(super) async fn tell(app: App) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        if let Err(error) = look(&app).await {
            tracing::error!(%error, "alerts are not told; trying again");
        }
    }
}

async fn look(app: &App) -> Result<(), ApiError> {
    while with_own_reader(app, |reader| notice::has_untold(reader.db())).await? {
        let alerts = app.0.alerts.current();
        let context = context(app, &alerts).await?;
        let (name, now) = (ledger_name(app), app.0.clock.now());
        let receivers = with_shared(&alerts.receivers, &app.0.budgets.rules().budgets);
        let make = move |db: &mut weir_database::Connection| notice::take(db, &name, &receivers, &context, now);
        if !app.0.store.ledger.call(move |ledger| ledger.durably(make)).await? {
            break;
        }
    }
    let now = app.0.clock.now();
    for notice in with_own_reader(app, move |reader| notice::due(reader.db(), now, SENT_MAX)).await? {
        send::send(app, notice).await?;
    }
    Ok(())
}

/// Who looks after each tenant: as its entry says, else as the configuration does.
fn owners(app: &App, alerts: &Alerts) -> BTreeMap<String, String> {
    let mut owners = alerts.owners.clone();
    let entries = app.0.directory.current();
    owners.extend(entries.owners().iter().map(|(tenant, owner)| (tenant.clone(), owner.clone())));
    owners
}

/// What the messages of the changes that wait say beside them.
async fn context(app: &App, alerts: &Alerts) -> Result<Context, ApiError> {
    let budgets = app.0.budgets.rules().budgets;
    let mut base = Context {
        owners: owners(app, alerts),
        playbooks: alerts.playbooks.clone(),
        rules: Arc::clone(&alerts.rules),
        ..Context::default()
    };
    groups::add(&mut base, app.0.directory.current().plans().clone(), &budgets);
    if alerts.receivers.is_empty() {
        return Ok(base);
    }
    let rules = Arc::clone(&alerts.rules);
    let receivers = with_shared(&alerts.receivers, &budgets);
    with_own_finance(app, move |finance| {
        let stages = notice::untold_transitions(finance.reader.db())?;
        let changes = notice::untold_alerts(finance.reader.db())?;
        let mut context = base;
        for change in stages.iter().take(REASONS_MAX) {
            // A receiver for one of the tenants that share a budget learns nothing of the others.
            let names_tenants = !receivers.iter().any(|receiver| receiver.is_limited_to(&change.subject));
            let reason = reason_of_stage(finance, change, &budgets, names_tenants);
            context.budget_drivers.extend(reason.map(|reason| (change.id, reason)));
        }
        let begun = changes.iter().filter(|change| change.state == "firing");
        for change in begun.take(REASONS_MAX) {
            let rule = rules.iter().find(|rule| *rule.name == *change.rule);
            let found = rule.and_then(|rule| reason_of_alert(finance, rule, change));
            context.alert_drivers.extend(found.map(|reason| (change.id, reason)));
        }
        Ok::<_, LedgerError>(context)
    })
    .await
}

/// What has used most of a budget. A question without an answer leaves the reason out.
fn reason_of_stage(
    finance: &mut Finance,
    change: &Transition,
    budgets: &[Budget],
    names_tenants: bool,
) -> Option<String> {
    let budget = budgets.iter().find(|budget| *budget.name == *change.budget)?;
    let tenants: Vec<&str> = match subject::is_shared(&change.subject) {
        true => budget.named_tenants().collect(),
        false => vec![&change.subject],
    };
    let names_tenants = names_tenants && budget.shared;
    finance.used_most(budget, &tenants, (change.period_start, change.at), names_tenants).ok().flatten()
}

fn reason_of_alert(finance: &mut Finance, rule: &Rule, change: &AlertChange) -> Option<String> {
    if rule.kind != Kind::Sums {
        return None;
    }
    let deploys = deploy::heeded(finance.reader.db()).ok()?;
    let mark = deploy::last(&deploys, rule, &change.subject, change.at);
    let from = mark.map_or_else(|| Boundary::without(rule, change.at), |(_, boundary)| boundary).window_start;
    match (rule.by.as_deref(), &change.tenant) {
        (Some("tenant") | None, Some(tenant)) => {
            let currency = Currency::parse(&change.currency)?;
            finance.moved_by(tenant, currency, from, change.at).ok().flatten()
        }
        (Some(by), None) if by != "plan" => finance.spenders(by, &change.subject, from, change.at).ok().flatten(),
        _ => None,
    }
}

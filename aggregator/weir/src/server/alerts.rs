//! Alerts in the server: compares rules with what was measured ([`watch`]), makes messages of changes, hands them to receivers until they are
//! taken ([`deliver`], [`send`]), and answers about them ([`routes`]) and about the deploys that some compare around ([`deploys`]).
mod deliver;
pub(super) mod deploys;
mod groups;
pub(super) mod mail;
pub(super) mod routes;
mod send;
pub(super) mod watch;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use reqwest::{Client, redirect};
use weir_contract::Timestamp;
use weir_ledger::LedgerError;
use weir_ledger::amount::Currency;
use weir_steer::alert::deploy::{self, Boundary};
use weir_steer::alert::file::Kind;
use weir_steer::alert::rule::Rule;
use weir_steer::alert::state::AlertChange;
use weir_steer::budget::Budget;
use weir_steer::message::Context;
use weir_steer::notice::{self, held};
use weir_steer::receiver::tenant_mail::TenantMailFile;
use weir_steer::receiver::{Receiver, with_shared};
use weir_steer::subject;
use weir_steer::view::Transition;

use self::deliver::Repeats;
use super::App;
use super::error::ApiError;
use super::finance::with_own_finance;
use super::read::with_own_reader;
use crate::config::alerts::Alerts;
use crate::finance::Finance;

/// How often the server looks for changes to tell and messages to send.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The most messages that a receiver is sent between two looks.
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

    /// The mail server by which tenants are told of their own budgets.
    pub(super) fn tenant_mail(&self) -> Option<TenantMailFile> {
        self.current().tenant_mail.clone()
    }

    /// Receivers and rules in force.
    pub(super) fn current(&self) -> Arc<Alerts> {
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
    let mut repeats = Repeats::default();
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        if let Err(error) = look(&app, &mut repeats).await {
            tracing::error!(%error, "alerts are not told; trying again");
        }
    }
}

async fn look(app: &App, repeats: &mut Repeats) -> Result<(), ApiError> {
    let now = app.0.clock.now();
    while with_own_reader(app, move |reader| notice::has_untold(reader.db(), now)).await? {
        let alerts = app.0.alerts.current();
        let context = context(app, &alerts).await?;
        let (name, receivers) = (ledger_name(app), receivers(app, &alerts));
        let make = move |db: &mut weir_database::Connection| notice::take(db, &name, &receivers, &context, now);
        if !app.0.store.ledger.call(move |ledger| ledger.durably(make)).await? {
            break;
        }
    }
    deliver::all(app, repeats).await
}

/// Those of the configuration, and the addresses that tenants have set and proven.
fn receivers(app: &App, alerts: &Alerts) -> Vec<Receiver> {
    let mut receivers = with_shared(&alerts.receivers, &app.0.budgets.rules().budgets);
    if let Some(mail) = &alerts.tenant_mail {
        for (tenant, addresses) in app.0.kept.proven().iter() {
            receivers.extend(addresses.iter().map(|of| Receiver::of_tenant(tenant, of.id, &of.email, mail)));
        }
    }
    receivers
}

/// Who looks after each tenant: as its entry says, else as the configuration does.
fn owners(app: &App, alerts: &Alerts) -> BTreeMap<String, String> {
    let mut owners = alerts.owners.clone();
    let entries = app.0.directory.current();
    owners.extend(entries.owners().iter().map(|(tenant, owner)| (tenant.clone(), owner.clone())));
    owners
}

/// What every message says beside what has happened, without likely reasons.
fn base_context(app: &App, alerts: &Alerts) -> Context {
    let budgets = app.0.budgets.rules().budgets;
    let mut base = Context {
        pages: app.0.ui.pages(),
        owners: owners(app, alerts),
        playbooks: alerts.playbooks.clone(),
        rules: Arc::clone(&alerts.rules),
        budgets: Arc::clone(&budgets),
        ..Context::default()
    };
    groups::add(&mut base, app.0.directory.current().plans().clone(), &budgets);
    base
}

/// What the messages of the changes that wait say beside them.
async fn context(app: &App, alerts: &Alerts) -> Result<Context, ApiError> {
    let base = base_context(app, alerts);
    if alerts.receivers.is_empty() {
        return Ok(base);
    }
    let (rules, now) = (Arc::clone(&alerts.rules), app.0.clock.now());
    let budgets = app.0.budgets.rules().budgets;
    let receivers = receivers(app, alerts);
    with_own_finance(app, move |finance| {
        let stages = held::plan(finance.reader.db(), now)?.told;
        let changes = notice::untold_alerts(finance.reader.db())?;
        let mut context = base;
        for change in stages.iter().take(REASONS_MAX) {
            // A receiver for one of the tenants that share a budget learns nothing of the others.
            let names_tenants = !receivers.iter().any(|receiver| receiver.is_limited_to(&change.subject));
            let reason = reason_of_stage(finance, change, &budgets, names_tenants);
            context.budget_drivers.extend(reason.map(|reason| (change.id, reason)));
        }
        for change in changes.iter().filter(|change| change.state == "firing").take(REASONS_MAX) {
            let AlertChange { rule, subject, currency, tenant, .. } = change;
            let about = About { subject, currency, tenant: tenant.as_deref(), at: change.at };
            context
                .alert_drivers
                .extend(reason_of_alert(finance, &rules, rule, about).map(|reason| (change.id, reason)));
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

/// What an alert is about, and until when its reason is searched.
#[derive(Clone, Copy, Debug)]
struct About<'a> {
    subject: &'a str,
    currency: &'a str,
    tenant: Option<&'a str>,
    at: Timestamp,
}

fn reason_of_alert(finance: &mut Finance, rules: &[Rule], rule: &str, about: About<'_>) -> Option<String> {
    let rule = rules.iter().find(|known| *known.name == *rule).filter(|rule| rule.kind == Kind::Sums)?;
    let About { subject, currency, tenant, at } = about;
    let deploys = deploy::heeded(finance.reader.db(), at).ok()?;
    let mark = deploy::last(&deploys, rule, subject, at);
    let from = mark.map_or_else(|| Boundary::without(rule, at), |(_, boundary)| boundary).window_start;
    match (rule.by.as_deref(), tenant) {
        (Some("tenant") | None, Some(tenant)) => {
            finance.moved_by(tenant, Currency::parse(currency)?, from, at).ok().flatten()
        }
        (Some(by), None) if by != "plan" => finance.spenders(by, subject, from, at).ok().flatten(),
        _ => None,
    }
}

//! Alerts: what fires and since when, who is told; acknowledge, silence, test.
use std::collections::BTreeMap;

use axum::Router;
use axum::extract::State;
use axum::response::{Redirect, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use weir_dashboard::{Act, Block, Cell, Field, Form, Href, Kind, Section, Table, Tone};
use weir_steer::alert::silence::Silence;
use weir_steer::alert::state::{Alert, AlertChange};
use weir_steer::notice::Notice;

use super::asked::Ask;
use super::guard::{Acted, Admin, Operator, Staff};
use super::part::following;
use super::words::{DONE, done, severity, tenant_link};
use super::{UiError, page};
use crate::alerts::{
    AckRequest, AlertHistoryQuery, AlertsView, ReceiverView, SilenceRequest, TestRequest, UnsilenceRequest,
};
use crate::config::tokens::Scope;
use crate::server::App;
use crate::server::alerts::routes as alerts;

/// Alerts of a page, those that fire first: some 100 KB. `weir alerts list` has all.
const SHOWN: usize = 100;

/// The parameter that names the last silence that is not shown.
const SILENCES_AFTER: &str = "silences_after";

/// What the address says.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Asked {
    /// Only silences after this one.
    silences_after: String,
    done: Option<String>,
}

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/alerts", get(get_page))
        .route("/alerts/ack", post(post_ack))
        .route("/alerts/silence", post(post_silence))
        .route("/alerts/unsilence", post(post_unsilence))
        .route("/alerts/test", post(post_test))
}

pub(super) async fn get_page(
    State(app): State<App>,
    staff: Staff,
    Ask(asked): Ask<Asked>,
) -> Result<Response, UiError> {
    let view = alerts::view(&app).await?;
    let changes = alerts::history(&app, AlertHistoryQuery::default()).await?;
    let (may_act, may_test) = (staff.may(&Scope::Operator), staff.may(&Scope::Admin));
    let mut blocks = done(asked.done.as_deref());
    blocks.push(Block::Table(holding(&view, &alerts::owners_of(&app), may_act)));
    blocks.push(Block::Table(silences(&view.silences, &asked.silences_after, may_act)));
    blocks.extend(may_act.then(|| Block::Form(silence_form())));
    blocks.push(Block::Table(receivers(&view.receivers, may_test)));
    blocks.push(Block::Table(notices(&view.notices)));
    blocks.push(Block::Table(history(&changes)));
    Ok(page(&app, &staff, Section::Alerts, "Alerts", blocks))
}

fn tenant(tenant: Option<&String>) -> Cell {
    tenant.map_or(Cell::Missing, |tenant| tenant_link(tenant))
}

/// Alerts whose conditions hold, those that fire first.
fn holding(view: &AlertsView, owners: &BTreeMap<String, String>, may_act: bool) -> Table {
    let rows = view.alerts.iter().map(|alert| {
        let may_ack = may_act && alert.fires() && alert.acknowledged.is_none();
        let action = view.rules.iter().find(|rule| rule.name == alert.rule).and_then(|rule| rule.action.clone());
        let owner = alert.tenant.as_ref().and_then(|tenant| owners.get(tenant));
        vec![
            alert_state(alert, &view.silences),
            severity(alert.severity),
            figures_of(alert).map_or_else(|| Cell::text(&alert.rule), |page| Cell::link(&alert.rule, page)),
            Cell::text(&alert.subject),
            tenant(alert.tenant.as_ref()),
            Cell::text(&alert.summary),
            Cell::maybe(action),
            alert.since.into(),
            match (&alert.acknowledged, owner) {
                (None, Some(owner)) => Cell::text(format!("nobody yet; the tenant's owner: {owner}")),
                _ => told(alert),
            },
            Cell::Acts(if may_ack { vec![ack(alert)] } else { Vec::new() }),
        ]
    });
    let columns = [
        "State",
        "Severity",
        "Rule",
        "Subject",
        "Tenant",
        "What holds",
        "What to do",
        "Since",
        "Who looks after it",
        "Actions",
    ];
    Table::new("Alerts", &columns, "No alert fires, and no condition of one holds.").first(SHOWN, rows)
}

/// The page with the figures that an alert is about.
fn figures_of(alert: &Alert) -> Option<Href> {
    match (alert.rule.as_str(), &alert.tenant) {
        ("rows-held" | "stripe-differs", _) => Some(Section::Billing.href()),
        ("numbers-missing" | "usage-not-arriving", _) => Some(Section::Gateways.href()),
        ("unpriced-usage", _) => Some(Section::Models.href()),
        ("budget-forecast", _) => Some(Section::Budgets.href()),
        (_, Some(tenant)) => Some(Href::to(&["tenants", tenant])),
        _ => None,
    }
}

/// Whether an alert fires, and whether it is silenced.
pub(super) fn alert_state(alert: &Alert, silences: &[Silence]) -> Cell {
    let is_loud = alert.fires() && !alert.is_silenced(silences);
    Cell::status(alert.words(silences), if is_loud { Tone::Bad } else { Tone::Warn })
}

/// Who looks after an alert.
pub(super) fn told(alert: &Alert) -> Cell {
    Cell::maybe(alert.acknowledged.as_ref().map(|seen| format!("{}: {}", seen.who, seen.why)))
}

fn why() -> Field {
    Field::required("why", "Reason or remark", Kind::Text(String::new()))
}

fn ack(alert: &Alert) -> Act {
    let of = format!("{} {}", alert.rule, alert.subject);
    Act::new("Acknowledge", of.trim_end(), ack_form(&alert.rule, &alert.subject))
}

/// The form that acknowledges an alert.
pub(super) fn ack_form(rule: &str, subject: &str) -> Form {
    let fields = vec![Field::hidden("rule", rule), Field::hidden("subject", subject), why()];
    let words = format!("Acknowledge {rule} {subject}");
    Form::act("", Href::to(&["alerts", "ack"]), fields, words.trim_end())
}

/// The silences after the one of this number.
pub(super) fn silences(silences: &[Silence], after: &str, may_act: bool) -> Table {
    let (shown, last) = following(silences, |silence| silence.id.to_string(), after);
    let rows = shown.iter().map(|silence| {
        let id = vec![Field::hidden("id", silence.id.to_string())];
        let words = format!("End the silence of {}", silence.words());
        let end = || Act::new("End", silence.words(), Form::act("", Href::to(&["alerts", "unsilence"]), id, &words));
        vec![
            Cell::text(silence.words()),
            silence.until.into(),
            Cell::text(&silence.who),
            Cell::text(&silence.why),
            Cell::Acts(if may_act { vec![end()] } else { Vec::new() }),
        ]
    });
    let columns = ["Of", "Until", "Who", "Reason", "Actions"];
    let mut table = Table::new("Silences", &columns, "Nothing is silenced.").rows(rows);
    table.next = last.map(|last| Section::Alerts.href().with(SILENCES_AFTER, &last));
    table
}

pub(super) fn silence_form() -> Form {
    let any = "With * for any text.";
    let fields = vec![
        Field::optional("rule", "Rule", Kind::Text(String::new())).hint(any),
        Field::optional("budget", "Budget", Kind::Text(String::new())).hint("With * for any text."),
        Field::optional("subject", "Subject", Kind::Text(String::new())).hint("With * for any text. Empty: all."),
        Field::optional("tenant", "Tenant", Kind::Text(String::new()))
            .hint("Without rule and budget: all that is about it."),
        Field::required("until", "Until (UTC)", Kind::Time),
        why(),
    ];
    Form::act("Silence alerts", Href::to(&["alerts", "silence"]), fields, "Silence")
}

fn receivers(receivers: &[ReceiverView], may_test: bool) -> Table {
    let rows = receivers.iter().map(|receiver| {
        let fields = vec![Field::hidden("receiver", &receiver.name)];
        let words = format!("Send a test to {}", receiver.name);
        let test = || Act::new("Test", &receiver.name, Form::act("", Href::to(&["alerts", "test"]), fields, &words));
        vec![
            Cell::text(&receiver.name),
            Cell::text(&receiver.form),
            state(receiver),
            Cell::Number(receiver.waiting.into()),
            Cell::maybe(receiver.failing.as_ref().map(|failing| failing.since)),
            Cell::maybe(receiver.failing.as_ref().map(|failing| failing.error.clone())),
            Cell::Acts(if may_test { vec![test()] } else { Vec::new() }),
        ]
    });
    let empty = "Nobody is told: `alerts.receivers` in weir.yaml names receivers.";
    Table::new(
        "Who is told",
        &["Receiver", "Kind", "State", "Waiting", "Fails since", "Last failure", "Actions"],
        empty,
    )
    .rows(rows)
}

fn state(receiver: &ReceiverView) -> Cell {
    match receiver.failing {
        Some(_) => Cell::status("fails", Tone::Bad),
        None => Cell::status("well", Tone::Good),
    }
}

fn notices(notices: &[Notice]) -> Table {
    let rows = notices.iter().map(|notice| {
        let tone = match notice.state.as_str() {
            "delivered" => Tone::Good,
            "failed" => Tone::Bad,
            _ => Tone::Warn,
        };
        vec![
            notice.at.into(),
            Cell::text(&notice.receiver),
            Cell::status(&notice.state, tone),
            Cell::Number(notice.attempts.into()),
            Cell::maybe(notice.error.clone()),
            Cell::Code(notice.id.clone()),
        ]
    });
    let columns = ["Made", "Receiver", "State", "Attempts", "Last failure", "Id"];
    Table::new("Latest messages", &columns, "No message was made yet.").rows(rows)
}

fn history(changes: &[AlertChange]) -> Table {
    let rows = changes.iter().map(|change| {
        vec![
            change.at.into(),
            Cell::text(&change.state),
            severity(change.severity),
            Cell::text(&change.rule),
            Cell::text(&change.subject),
            tenant(change.tenant.as_ref()),
            Cell::text(&change.summary),
        ]
    });
    let columns = ["When", "State", "Severity", "Rule", "Subject", "Tenant", "What held"];
    Table::new("History", &columns, "No alert has begun or ended yet.").rows(rows)
}

fn back(word: &str) -> Redirect {
    Redirect::to(Href::to(&["alerts"]).with(DONE, word).as_str())
}

pub(super) async fn post_ack(
    State(app): State<App>,
    Acted(Operator(staff), fields): Acted<Operator>,
) -> Result<Redirect, UiError> {
    let request =
        AckRequest { rule: fields.text("rule"), subject: fields.optional("subject"), why: fields.text("why") };
    let (rule, subject) = (fields.get("rule"), fields.get("subject"));
    let is_it = |alert: &&Alert| alert.rule == rule && alert.subject == subject && alert.acknowledged.is_some();
    let before = alerts::view(&app).await?.alerts.iter().any(|alert| is_it(&alert));
    alerts::acknowledge(&app, staff.token().clone(), request).await?;
    Ok(back(if before { "acknowledged_again" } else { "acknowledged" }))
}

pub(super) async fn post_silence(
    State(app): State<App>,
    Acted(Operator(staff), fields): Acted<Operator>,
) -> Result<Redirect, UiError> {
    let request = SilenceRequest {
        rule: fields.optional("rule"),
        budget: fields.optional("budget"),
        subject: fields.optional("subject"),
        tenant: fields.optional("tenant"),
        until: fields.at("until")?,
        why: fields.text("why"),
    };
    alerts::silence(&app, staff.token().clone(), request).await?;
    Ok(back("silenced"))
}

pub(super) async fn post_unsilence(
    State(app): State<App>,
    Acted(Operator(staff), fields): Acted<Operator>,
) -> Result<Redirect, UiError> {
    let request = UnsilenceRequest { id: fields.number("id")? };
    alerts::unsilence(&app, staff.token().clone(), request).await?;
    Ok(back("unsilenced"))
}

pub(super) async fn post_test(
    State(app): State<App>,
    Acted(Admin(staff), fields): Acted<Admin>,
) -> Result<Redirect, UiError> {
    let sent = alerts::test(&app, staff.token(), TestRequest { receiver: fields.text("receiver") }).await?;
    Ok(back(match sent.state.as_str() {
        "delivered" => "tested",
        _ => "test_failed",
    }))
}

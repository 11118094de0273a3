//! Reporting to Stripe: what is pending and held, what Stripe found wrong; held rows are settled here.
use axum::extract::State;
use axum::response::{Redirect, Response};
use serde::Deserialize;
use weir_billing::outbox::look::{Held, Reported, ReportedRow};
use weir_billing::outbox::view::{OutboxRow, SettleRequest, Settlement};
use weir_dashboard::{Block, Cell, Field, Form, Href, Kind, Section, Table, Tile, Tone};
use weir_stripe::status::StatusView;

use super::asked::Ask;
use super::guard::{Acted, Staff};
use super::rows::{by_tenant, framed, named, of_tenant, requests_of};
use super::settled;
use super::words::{DONE, done, problem_count, tenant_link};
use super::{UiError, page};
use crate::config::tokens::Scope;
use crate::server::error::ApiError;
use crate::server::{App, billing_routes};

/// Pending rows of a page.
const ROWS_SHOWN: usize = 100;

/// What the address says.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Asked {
    /// Only this tenant's held and reported rows.
    tenant: String,
    /// Only held rows with a number above this one.
    after: Option<i64>,
    /// Only reported rows with a number below this one.
    before: Option<i64>,
    done: Option<String>,
}

pub(super) async fn get_page(
    State(app): State<App>,
    staff: Staff,
    Ask(asked): Ask<Asked>,
) -> Result<Response, UiError> {
    let status = billing_routes::status_rows(&app).await?;
    let tenant = named(&asked.tenant);
    let (held, sent) = billing_routes::rows(&app, tenant.clone(), (asked.after, asked.before)).await?;
    let here = of_tenant(Section::Billing.href(), tenant.as_deref());
    let mut blocks = done(asked.done.as_deref());
    if app.0.provider.is_none() {
        let told = "Nothing is reported: weir.yaml has no `stripe`. See docs/stripe.md.";
        blocks.push(Block::Notice(Tone::Plain, told.to_owned()));
    }
    blocks.push(Block::Tiles(tiles(&status)));
    blocks.push(Block::Table(reasons(&status)));
    blocks.push(Block::Form(by_tenant(Section::Billing.href(), tenant)));
    blocks.push(Block::Table(held_rows(&held, &here, staff.may(&Scope::Admin))));
    blocks.push(Block::Table(pending(&status)));
    blocks.push(Block::Table(reported(&sent, &here)));
    blocks.push(Block::Table(errors(&status)));
    blocks.extend(reconciled(&status));
    Ok(page(&app, &staff, Section::Billing, "Billing", blocks))
}

fn tiles(status: &StatusView) -> Vec<Tile> {
    let billing = &status.billing;
    vec![
        Tile::new("Held for a person", problem_count(billing.held)),
        Tile::new("Pending", billing.pending),
        Tile::new("Under way", status.in_flight),
        Tile::new("Reported", billing.reported),
        Tile::new("Settled by hand", billing.settled).link(settled::href()),
        Tile::new("Oldest hour that Stripe lacks", billing.oldest_open.map_or(Cell::Missing, Cell::Time)),
        Tile::new("Tenants without a billing period", problem_count(status.periods_undecided)),
        Tile::new("Calls of Stripe that could not be read", problem_count(status.unread_reports.len() as u64)),
    ]
}

fn reasons(status: &StatusView) -> Table {
    let rows = status
        .held_for
        .iter()
        .map(|held| vec![Cell::text(&held.reason), held.rows.into(), held.since.into(), Cell::text(&held.remedy)]);
    let empty = "No row is held: everything that is due is reported or on its way.";
    Table::new("Why rows are held", &["Reason", "Rows", "Since", "What to do"], empty).rows(rows)
}

const COLUMNS: [&str; 10] =
    ["Row", "Hour", "Tenant", "Meter", "Amount", "Reason", "Stripe's last words", "Customer", "Attempts", "Behind it"];

/// Held rows, the oldest first. Each leads to its page.
fn held_rows(held: &Held, here: &Href, may_settle: bool) -> Table {
    let mut table = Table::new("Held rows", &COLUMNS, "None of these rows is held.")
        .rows(held.rows.iter().map(|row| outbox_row(row, may_settle)));
    table.next = held.after.map(|after| here.clone().with("after", &after.to_string()));
    table
}

/// Pending rows of all tenants, the oldest first.
fn pending(status: &StatusView) -> Table {
    let of_state = status.billing.rows.iter().filter(|row| row.state == "pending");
    Table::new("Pending rows", &COLUMNS, "No row waits to be sent.")
        .first(ROWS_SHOWN, of_state.map(|row| outbox_row(row, false)))
}

fn outbox_row(row: &OutboxRow, may_settle: bool) -> Vec<Cell> {
    let text = |text: &Option<String>| Cell::maybe(text.clone());
    let what = if may_settle { "Settle row" } else { "Row" };
    framed(row, what, [text(&row.reason), text(&row.detail), text(&row.customer), row.attempts.into()])
}

/// What the address of a row says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AskedRow {
    row: i64,
}

/// One row, and the form that settles it if it is held.
pub(super) async fn get_row(
    State(app): State<App>,
    staff: Staff,
    Ask(asked): Ask<AskedRow>,
) -> Result<Response, UiError> {
    let found = billing_routes::row(&app, asked.row).await?;
    let (row, settlement) = found.ok_or_else(|| ApiError::Unknown(format!("there is no row {}", asked.row)))?;
    let text = |text: &Option<String>| Cell::maybe(text.clone());
    let facts = vec![
        ("State", Cell::text(&row.state)),
        ("Tenant", tenant_link(&row.tenant)),
        ("Meter", Cell::text(&row.meter)),
        ("Amount", row.value.into()),
        ("Hour", row.window.into()),
        ("Requests of the hour", Cell::link("Requests", requests_of(&row.tenant, row.window))),
        ("Customer", text(&row.customer)),
        ("Reason", text(&row.reason)),
        ("Stripe's last words", text(&row.detail)),
        ("Stripe's identifier", row.identifier.clone().map_or(Cell::Missing, Cell::Code)),
        ("Attempts", row.attempts.into()),
        ("Made", row.created_at.into()),
    ];
    let mut blocks = vec![Block::Facts(format!("{} {} of {}", row.value, row.meter, row.tenant), facts)];
    blocks.extend(
        settlement.as_ref().map(|settled| Block::Facts("How it was settled".to_owned(), settled::facts(settled))),
    );
    blocks.extend((row.state == "held" && staff.may(&Scope::Admin)).then(|| Block::Form(settle_form(row.id))));
    Ok(page(&app, &staff, Section::Billing, format!("Row {}", row.id), blocks))
}

/// The form that settles a row.
pub(super) fn settle_form(row: i64) -> Form {
    let choices = [("invoiced", "It is billed by other means"), ("void", "It is not billed")];
    let choices = choices.map(|(value, words)| (value.to_owned(), words.to_owned())).to_vec();
    let fields = vec![
        Field::hidden("row", row.to_string()),
        Field::required("as", "Outcome", Kind::Choice(choices)),
        Field::optional("ref", "Invoice or invoice item", Kind::Text(String::new()))
            .hint("Needed if it is billed by other means."),
        Field::required("why", "Reason", Kind::Text(String::new())),
    ];
    Form::act("", Href::to(&["billing", "settle"]), fields, &format!("Settle row {row}"))
}

/// What Stripe has taken, the latest first.
fn reported(sent: &Reported, here: &Href) -> Table {
    let rows = sent.rows.iter().map(|ReportedRow { row, at }| {
        let identifier = row.identifier.clone().map_or(Cell::Missing, Cell::Code);
        framed(row, "Row", [Cell::maybe(row.customer.clone()), identifier, Cell::maybe(*at)])
    });
    let columns =
        ["Row", "Hour", "Tenant", "Meter", "Amount", "Customer", "Stripe's identifier", "Reported", "Behind it"];
    let mut table =
        Table::new("Reported rows, the latest first", &columns, "None of these rows was reported.").rows(rows);
    table.next = sent.before.map(|before| here.clone().with("before", &before.to_string()));
    table
}

fn errors(status: &StatusView) -> Table {
    let rows = status.errors.iter().map(|error| {
        vec![
            Cell::text(&error.event_name),
            Cell::Code(error.code.clone()),
            error.errors.into(),
            problem_count(error.unseen),
            Cell::text(&error.message),
            error.first_at.into(),
            error.last_at.into(),
        ]
    });
    let columns = ["Stripe's meter", "Code", "Events", "Not acknowledged", "What Stripe says", "First", "Last"];
    Table::new("What Stripe found wrong afterwards", &columns, "Stripe has reported no errors.").rows(rows)
}

/// The last comparison with Stripe.
fn reconciled(status: &StatusView) -> Option<Block> {
    let last = status.reconciliation.as_ref()?;
    let causes: Vec<String> =
        last.by_cause.iter().map(|(cause, hours)| format!("{}: {hours}", cause.as_str())).collect();
    let needs = if last.attention {
        Cell::status("a person has to look", Tone::Bad)
    } else {
        Cell::status("none needs a person", Tone::Good)
    };
    let facts = vec![
        ("Compared", last.at.into()),
        ("From", last.from.into()),
        ("To", last.to.into()),
        ("Hours", last.windows.into()),
        ("Differing hours by cause", Cell::text(causes.join(", "))),
        ("Differences", needs),
    ];
    Some(Block::Facts("The last comparison with Stripe".to_owned(), facts))
}

pub(super) async fn post_settle(
    State(app): State<App>,
    Acted(staff, fields): Acted<Staff>,
) -> Result<Redirect, UiError> {
    let outcome = match fields.get("as") {
        "invoiced" => Settlement::Invoiced,
        "void" => Settlement::Void,
        other => return Err(ApiError::Request(format!("`as` is invoiced or void, not {other:?}")).into()),
    };
    let request = SettleRequest {
        rows: vec![fields.number("row")?],
        outcome,
        reference: fields.text("ref"),
        why: fields.text("why"),
    };
    billing_routes::settle(&app, staff.token().clone(), request).await?;
    Ok(Redirect::to(Href::to(&["billing"]).with(DONE, "settled").as_str()))
}

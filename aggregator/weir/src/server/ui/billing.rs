//! Reporting to Stripe: what is pending and held, what Stripe found wrong; held rows are settled here.
use axum::extract::State;
use axum::response::{Redirect, Response};
use serde::Deserialize;
use weir_billing::outbox::look::{Reported, ReportedRow, Sum, Waiting, Which};
use weir_billing::outbox::view::{OutboxRow, SettleRequest, Settlement};
use weir_dashboard::{Block, Cell, Field, Form, Href, Kind, Section, Table, Tile, Tone};
use weir_stripe::status::StatusView;

use super::asked::Ask;
use super::guard::{Acted, Admin, Staff};
use super::rows::{framed, here, requests_of, which, whose, words};
use super::settled;
use super::words::{DONE, done, problem_count, tenant_link};
use super::{UiError, page};
use crate::config::tokens::Scope;
use crate::server::billing_routes::{Rows, Start};
use crate::server::error::ApiError;
use crate::server::{App, billing_routes};

/// What the address says.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Asked {
    /// Only this tenant's rows.
    tenant: String,
    /// Only the rows of this customer of Stripe's.
    customer: String,
    /// Only rows of windows that begin at this moment or later, and before the next one.
    from: String,
    to: String,
    /// Only held rows with a number above this one.
    after: Option<i64>,
    /// Only pending rows with a number above this one.
    pending: Option<i64>,
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
    let which = which([&asked.tenant, &asked.customer, &asked.from, &asked.to])?;
    let start = Start { held: asked.after, pending: asked.pending, reported: asked.before };
    let Rows { sums, held, pending, reported } = billing_routes::rows(&app, which.clone(), start).await?;
    let here = here(Section::Billing.href(), &which);
    let may_settle = staff.may(&Scope::Admin);
    let mut blocks = done(asked.done.as_deref());
    if app.0.provider.is_none() {
        let told = "Nothing is reported: weir.yaml has no `stripe`. See docs/stripe.md.";
        blocks.push(Block::Notice(Tone::Plain, told.to_owned()));
    }
    blocks.push(Block::Tiles(tiles(&status)));
    blocks.push(Block::Table(reasons(&status)));
    let (of, asks_for_some) = (words(&which), which.is_some());
    // Who turns the pages of one list reads that one.
    let turns = [asked.after, asked.pending, asked.before].iter().flatten().count() == 1;
    let is_read = |cursor: Option<i64>| !turns || cursor.is_some();
    if asks_for_some {
        blocks.push(Block::Paragraph("Counts and reasons are of all rows.".to_owned()));
    }
    blocks.push(Block::Form(whose(Section::Billing.href(), which)));
    blocks.extend((!sums.is_empty()).then(|| Block::Table(sums_of(&sums))));
    let none = format!("No row{of} is held.");
    if is_read(asked.after) {
        blocks.push(Block::Table(waiting(("Held rows", &none), &held, (&here, "after"), may_settle)));
    }
    let none = format!("No row{of} waits to be sent.");
    if is_read(asked.pending) {
        blocks.push(Block::Table(waiting(("Pending rows", &none), &pending, (&here, "pending"), false)));
    }
    if is_read(asked.before) {
        blocks.push(Block::Table(sent(&reported, &of, &here)));
    }
    if turns {
        blocks.push(Block::Tabs("Rows".to_owned(), vec![("All lists from their beginning".to_owned(), here, false)]));
    }
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
    let empty = "No row is held.";
    Table::new("Why rows are held", &["Reason", "Rows", "Since", "What to do"], empty).rows(rows)
}

const COLUMNS: [&str; 10] =
    ["Row", "Hour", "Tenant", "Meter", "Amount", "Reason", "Stripe's last words", "Customer", "Attempts", "Behind it"];

/// What a customer's rows add up to, to be compared with an invoice.
fn sums_of(sums: &[Sum]) -> Table {
    let row = |sum: &Sum| vec![Cell::text(&sum.meter), Cell::text(&sum.state), sum.rows.into(), sum.value.into()];
    Table::new("What these rows add up to", &["Meter", "State", "Rows", "Amount"], "").rows(sums.iter().map(row))
}

/// Rows that wait, the oldest first. Each leads to its page.
fn waiting(
    (caption, empty): (&str, &str),
    found: &Waiting,
    (here, parameter): (&Href, &str),
    may_settle: bool,
) -> Table {
    let rows = found.rows.iter().map(|row| outbox_row(row, may_settle));
    let mut table = Table::new(caption, &COLUMNS, empty).rows(rows);
    table.next = found.after.map(|after| here.clone().with(parameter, &after.to_string()));
    table
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
    let one = found.ok_or_else(|| ApiError::Unknown(format!("there is no row {}", asked.row)))?;
    let row = &one.row;
    let text = |text: &Option<String>| Cell::maybe(text.clone());
    let none = || Cell::text("none: it was added by hand");
    let facts = vec![
        ("State", Cell::text(&row.state)),
        ("Tenant", tenant_link(&row.tenant)),
        ("Meter", Cell::text(&row.meter)),
        ("Amount", row.value.into()),
        ("From", row.window.into()),
        ("To", row.until.into()),
        ("Requests of that time", requests_of(row).map_or_else(none, |requests| Cell::link("Requests", requests))),
        ("Customer", text(&row.customer)),
        ("Reason", text(&row.reason)),
        ("Stripe's last words", text(&row.detail)),
        ("Stripe's identifier", row.identifier.clone().map_or(Cell::Missing, Cell::Code)),
        ("Attempts", row.attempts.into()),
        ("Made", row.created_at.into()),
        ("Reported", Cell::maybe(one.reported_at)),
    ];
    let mut blocks = vec![Block::Facts(format!("{} {} of {}", row.value, row.meter, row.tenant), facts)];
    blocks.extend(one.adjusted.as_ref().map(|by| {
        let facts = vec![("Who", Cell::text(&by.who)), ("When", by.at.into()), ("Why", Cell::text(&by.why))];
        Block::Facts("Added by hand".to_owned(), facts)
    }));
    blocks.extend(
        one.settled.as_ref().map(|settled| Block::Facts("How it was settled".to_owned(), settled::facts(settled))),
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
fn sent(found: &Reported, of: &str, here: &Href) -> Table {
    let rows = found.rows.iter().map(|ReportedRow { row, at }| {
        let identifier = row.identifier.clone().map_or(Cell::Missing, Cell::Code);
        framed(row, "Row", [Cell::maybe(row.customer.clone()), identifier, Cell::maybe(*at)])
    });
    let columns =
        ["Row", "Hour", "Tenant", "Meter", "Amount", "Customer", "Stripe's identifier", "Reported", "Behind it"];
    let empty = match found.before {
        None => format!("No row{of} was reported."),
        Some(before) => {
            format!("No row{of} with a number of {before} or above was reported; the next page looks at those below.")
        }
    };
    let mut table = Table::new("Reported rows, the latest first", &columns, &empty).rows(rows);
    table.next = found.before.map(|before| here.clone().with("before", &before.to_string()));
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
    Acted(Admin(staff), fields): Acted<Admin>,
) -> Result<Redirect, UiError> {
    let outcome = match fields.get("as") {
        "invoiced" => Settlement::Invoiced,
        "void" => Settlement::Void,
        other => return Err(ApiError::Request(format!("`as` is invoiced or void, not {other:?}")).into()),
    };
    let row = fields.number("row")?;
    let request = SettleRequest { rows: vec![row], outcome, reference: fields.text("ref"), why: fields.text("why") };
    billing_routes::settle(&app, staff.token().clone(), request).await?;
    // The tenant's next row is likely to be settled next.
    let settled = billing_routes::row(&app, row).await?;
    let which = Which { tenant: settled.map(|of| of.row.tenant), ..Which::default() };
    Ok(Redirect::to(here(Section::Billing.href(), &which).with(DONE, "settled").as_str()))
}

//! Rows that people have settled: how, by whom and why.
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use weir_billing::outbox::look::Settled;
use weir_dashboard::{Block, Cell, Fact, Href, Section, Table};

use super::asked::Ask;
use super::guard::Staff;
use super::rows::{framed, here, which, whose, words};
use super::{UiError, page};
use crate::server::{App, billing_routes};

/// What the address says.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Asked {
    tenant: String,
    customer: String,
    from: String,
    to: String,
    /// Only rows with a number below this one.
    before: Option<i64>,
}

/// The page of settled rows.
pub(super) fn href() -> Href {
    Href::to(&["billing", "settled"])
}

pub(super) async fn get_page(
    State(app): State<App>,
    staff: Staff,
    Ask(asked): Ask<Asked>,
) -> Result<Response, UiError> {
    let which = which([&asked.tenant, &asked.customer, &asked.from, &asked.to])?;
    let (settled, before) = billing_routes::settled(&app, which.clone(), asked.before).await?;
    let columns = [
        "Row",
        "Hour",
        "Tenant",
        "Meter",
        "Amount",
        "Held for",
        "Outcome",
        "Billed by",
        "Who",
        "When",
        "Why",
        "Behind it",
    ];
    let empty = format!("No row{} was settled by hand.", words(&which));
    let mut table = Table::new("Settled rows, the latest first", &columns, &empty).rows(settled.iter().map(row));
    table.next = before.map(|before| here(href(), &which).with("before", &before.to_string()));
    let blocks = vec![Block::Form(whose(href(), which)), Block::Table(table)];
    Ok(page(&app, &staff, Section::Billing, "Settled rows", blocks))
}

fn row(settled: &Settled) -> Vec<Cell> {
    let row = &settled.row;
    let more = [
        Cell::maybe(row.reason.clone()),
        Cell::text(outcome(settled)),
        reference(settled),
        Cell::text(&settled.who),
        settled.at.into(),
        Cell::text(&settled.why),
    ];
    framed(row, "Row", more)
}

/// How a row was settled.
pub(super) fn facts(settled: &Settled) -> Vec<Fact> {
    vec![
        ("Outcome", Cell::text(outcome(settled))),
        ("Invoice or invoice item", reference(settled)),
        ("Who", Cell::text(&settled.who)),
        ("When", settled.at.into()),
        ("Why", Cell::text(&settled.why)),
    ]
}

fn outcome(settled: &Settled) -> &'static str {
    if settled.outcome == "invoiced" { "invoiced: billed by other means" } else { "void: not billed" }
}

fn reference(settled: &Settled) -> Cell {
    Cell::maybe(Some(settled.reference.clone()).filter(|reference| !reference.is_empty()))
}

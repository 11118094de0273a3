//! How the pages of billing name and show rows, and ask for those of one tenant.
use weir_billing::outbox::look::Which;
use weir_billing::outbox::view::OutboxRow;
use weir_contract::Timestamp;
use weir_dashboard::{Cell, Field, Form, Href, Kind, Section};

use super::asked;
use super::words::tenant_link;
use crate::server::error::ApiError;

/// The tenant or customer that an address names.
fn named(name: &str) -> Option<String> {
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}

/// Which rows an address asks for.
pub(super) fn which([tenant, customer, from, to]: [&str; 4]) -> Result<Which, ApiError> {
    Ok(Which {
        tenant: named(tenant),
        customer: named(customer),
        from: asked::moment("from", from)?,
        to: asked::moment("to", to)?,
    })
}

/// A moment as fields of forms have it.
fn minute(at: Timestamp) -> String {
    at.to_string().chars().take("2026-12-01T09:00".len()).collect()
}

/// A page's address, of the same rows.
pub(super) fn here(page: Href, which: &Which) -> Href {
    let named = [
        ("tenant", which.tenant.clone()),
        ("customer", which.customer.clone()),
        ("from", which.from.map(|at| at.to_string())),
        ("to", which.to.map(|at| at.to_string())),
    ];
    named.into_iter().fold(page, |page, (name, value)| match value {
        Some(value) => page.with(name, &value),
        None => page,
    })
}

/// The form that asks for some of the rows.
pub(super) fn whose(page: Href, which: Which) -> Form {
    let field = |name, label, value: Option<String>| {
        Field::optional(name, label, Kind::Text(value.unwrap_or_default())).hint("Empty: of all.")
    };
    let (from, to) = (which.from.map(minute), which.to.map(minute));
    let fields = vec![
        field("tenant", "Rows of the tenant", which.tenant),
        field("customer", "Rows of Stripe's customer", which.customer),
        Field::optional("from", "From (UTC)", Kind::Time),
        Field::optional("to", "Before (UTC)", Kind::Time),
    ];
    Form::ask(page, fields, "Show").filled(|name| match name {
        "from" => from.clone(),
        "to" => to.clone(),
        _ => None,
    })
}

/// Which rows are asked for, as a sentence ends that says that there are none.
pub(super) fn words(which: &Which) -> String {
    let tenant = which.tenant.as_ref().map(|tenant| format!(" of the tenant {tenant:?}"));
    let customer = which.customer.as_ref().map(|customer| format!(" of the customer {customer:?}"));
    let from = which.from.map(|at| format!(" from {at}"));
    let to = which.to.map(|at| format!(" before {at}"));
    [tenant, customer, from, to].into_iter().flatten().collect()
}

/// The page of a row.
pub(super) fn row_href(row: i64) -> Href {
    Href::to(&["billing", "row"]).with("row", &row.to_string())
}

/// The requests of a row's window, in which what was added by hand has none: `weir explain` takes the sums of whole billing periods apart.
pub(super) fn requests_of(row: &OutboxRow) -> Option<Href> {
    let requests = Section::Requests.href().with("tenant", &row.tenant);
    let requests = requests.with("from", &row.window.to_string()).with("to", &row.until.to_string());
    (!row.adjustment).then_some(requests)
}

/// The cells of a row of the outbox: what it is, `more` about it, and the requests behind it.
pub(super) fn framed(row: &OutboxRow, what: &str, more: impl IntoIterator<Item = Cell>) -> Vec<Cell> {
    let by_hand = if row.adjustment { ", added by hand" } else { "" };
    let is = [
        Cell::link(format!("{what} {}{by_hand}", row.id), row_href(row.id)),
        row.window.into(),
        tenant_link(&row.tenant),
        Cell::text(&row.meter),
        row.value.into(),
    ];
    let behind = requests_of(row)
        .map_or(Cell::Missing, |requests| Cell::link_of("Requests", requests, format!("row {}", row.id)));
    is.into_iter().chain(more).chain([behind]).collect()
}

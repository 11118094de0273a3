//! How the pages of billing name and show rows, and ask for those of one tenant.
use weir_billing::outbox::look::Which;
use weir_billing::outbox::view::OutboxRow;
use weir_dashboard::{Cell, Field, Form, Href, Kind, Section};

use super::words::tenant_link;

/// The tenant or customer that an address names.
pub(super) fn named(name: &str) -> Option<String> {
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}

/// An address of the same for one name, such as a tenant's.
fn of(href: Href, parameter: &str, name: Option<&str>) -> Href {
    match name {
        Some(name) => href.with(parameter, name),
        None => href,
    }
}

/// A page's address, of the same rows.
pub(super) fn here(page: Href, which: &Which) -> Href {
    of(of(page, "tenant", which.tenant.as_deref()), "customer", which.customer.as_deref())
}

/// The form that asks for some of the rows.
pub(super) fn whose(page: Href, which: Which) -> Form {
    let field = |name, label, value: Option<String>| {
        Field::optional(name, label, Kind::Text(value.unwrap_or_default())).hint("Empty: of all.")
    };
    let fields = vec![
        field("tenant", "Rows of the tenant", which.tenant),
        field("customer", "Rows of Stripe's customer", which.customer),
    ];
    Form::ask(page, fields, "Show")
}

/// Whose rows are asked for, as a sentence ends that says that there are none.
pub(super) fn words(which: &Which) -> String {
    let tenant = which.tenant.as_ref().map(|tenant| format!(" of the tenant {tenant:?}"));
    let customer = which.customer.as_ref().map(|customer| format!(" of the customer {customer:?}"));
    tenant.into_iter().chain(customer).collect()
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
    let behind = requests_of(row).map_or(Cell::Missing, |requests| {
        Cell::link_of("Requests", requests, format!("row {}", row.id))
    });
    is.into_iter().chain(more).chain([behind]).collect()
}

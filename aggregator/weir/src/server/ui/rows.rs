//! How the pages of billing name and show rows, and ask for those of one tenant.
use weir_billing::outbox::view::OutboxRow;
use weir_contract::Timestamp;
use weir_contract::time::HOUR_MS;
use weir_dashboard::{Cell, Field, Form, Href, Kind, Section};

use super::words::tenant_link;

/// The tenant or customer that an address names.
pub(super) fn named(name: &str) -> Option<String> {
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}

/// An address of the same for one name, such as a tenant's.
pub(super) fn of(href: Href, parameter: &str, name: Option<&str>) -> Href {
    match name {
        Some(name) => href.with(parameter, name),
        None => href,
    }
}

/// The form that asks for rows of one tenant.
pub(super) fn by_tenant(page: Href, tenant: Option<String>) -> Form {
    let tenant = Field::optional("tenant", "Rows of the tenant", Kind::Text(tenant.unwrap_or_default()));
    Form::ask(page, vec![tenant.hint("Empty: of all.")], "Show")
}

/// The page of a row.
pub(super) fn row_href(row: i64) -> Href {
    Href::to(&["billing", "row"]).with("row", &row.to_string())
}

/// The requests of a row's hour: `weir explain` takes the sums of whole billing periods apart.
pub(super) fn requests_of(tenant: &str, from: Timestamp) -> Href {
    let to = from.plus_millis(HOUR_MS);
    let requests = Section::Requests.href().with("tenant", tenant);
    requests.with("from", &from.to_string()).with("to", &to.to_string())
}

/// The cells of a row of the outbox: what it is, `more` about it, and the requests behind it.
pub(super) fn framed(row: &OutboxRow, what: &str, more: impl IntoIterator<Item = Cell>) -> Vec<Cell> {
    let is = [
        Cell::link(format!("{what} {}", row.id), row_href(row.id)),
        row.window.into(),
        tenant_link(&row.tenant),
        Cell::text(&row.meter),
        row.value.into(),
    ];
    let behind = Cell::link_of("Requests", requests_of(&row.tenant, row.window), format!("row {}", row.id));
    is.into_iter().chain(more).chain([behind]).collect()
}

//! Fleet-wide limits and pools as they stand: what is left, who holds leases, what was refused.
use axum::extract::{Query, State};
use axum::response::Response;
use serde::Deserialize;
use weir_contract::Timestamp;
use weir_dashboard::{Block, Cell, Field, Form, Href, Kind, Section, Table};
use weir_ledger::view::RefusedRow;
use weir_steer::engine::Rules;

use super::guard::Staff;
use super::words::tenant_link;
use super::{UiError, page};
use crate::finance::{Finance, FinanceError};
use crate::leases::view::{LimitRow, LimitsQuery};
use crate::server::App;
use crate::server::read::with_reader;

const DAY_MS: u64 = 24 * 3_600 * 1_000;

/// What the address says.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    tenant: String,
    #[serde(default)]
    pool: String,
}

pub(super) async fn get_page(
    State(app): State<App>,
    staff: Staff,
    Query(asked): Query<Asked>,
) -> Result<Response, UiError> {
    let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let query = LimitsQuery { tenant: some(&asked.tenant), pool: some(&asked.pool) };
    let limits = app.0.leases.view(query).await?;
    let refused = match some(&asked.tenant) {
        None => {
            let figures = app.0.ui.kept.refusals.get(&app, "").await?;
            vec![Block::Table(refusals(&figures.of)), figures.as_of()]
        }
        Some(tenant) => {
            let since = day_before(app.0.clock.now());
            let rows = with_reader(&app, move |reader| reader.frequent_refusals(Some(&tenant), since)).await?;
            vec![Block::Table(refusals(&rows))]
        }
    };
    let search = Form::ask(
        Href::to(&["limits"]),
        vec![
            Field::optional("tenant", "Tenant", Kind::Text(asked.tenant)),
            Field::optional("pool", "Pool", Kind::Text(asked.pool)),
        ],
        "Show",
    );
    let tables = [levels(&limits), holders(&limits)];
    let blocks = [Block::Form(search)].into_iter().chain(tables.map(Block::Table)).chain(refused).collect();
    Ok(page(&app, &staff, Section::Limits, "Limits", blocks))
}

/// Reads the most frequent refusals of the last day.
pub(super) fn read(finance: &mut Finance, _: &Rules, _: &str) -> Result<Vec<RefusedRow>, FinanceError> {
    Ok(finance.reader.frequent_refusals(None, day_before(finance.now))?)
}

/// The hour that was a day before.
fn day_before(now: Timestamp) -> Timestamp {
    Timestamp::from_millis(now.as_millis().saturating_sub(DAY_MS)).hour()
}

fn owner(row: &LimitRow) -> Cell {
    match (&row.tenant, &row.pool) {
        (Some(tenant), _) => tenant_link(tenant),
        (None, Some(pool)) => Cell::text(format!("pool {pool}")),
        (None, None) => Cell::Missing,
    }
}

fn levels(limits: &[LimitRow]) -> Table {
    let rows = limits.iter().flat_map(|row| {
        row.state.tiers.iter().map(move |tier| {
            vec![
                owner(row),
                Cell::text(&row.limit),
                Cell::maybe(row.part.clone()),
                Cell::text(&tier.name),
                row.state.definition.capacity.into(),
                tier.level.into(),
                tier.available.into(),
                row.state.set_aside.into(),
                row.minute_max.into(),
            ]
        })
    });
    let columns =
        ["Whose", "Limit", "Bucket", "Tier", "Capacity", "Level", "Available now", "Set aside", "At most in a minute"];
    let empty =
        "No fleet-wide limit is in use. Plans have them with `scope: fleet`; other limits live in the gateways.";
    Table::new("Levels", &columns, empty).rows(rows)
}

fn holders(limits: &[LimitRow]) -> Table {
    let rows = limits.iter().flat_map(|row| {
        row.state.holders.iter().map(move |holder| {
            vec![
                owner(row),
                Cell::text(&row.limit),
                Cell::text(&holder.gateway),
                holder.holds.into(),
                holder.granted.into(),
                Cell::text(if holder.draws { "asks for each request" } else { "holds a lease" }),
                Cell::amount(holder.ends_in_ms, "ms"),
            ]
        })
    });
    let columns = ["Whose", "Limit", "Gateway", "May still spend", "Granted", "How", "Ends in"];
    Table::new("Leases", &columns, "No gateway holds a lease.").rows(rows)
}

/// Refusals of the last day, the most frequent first.
fn refusals(refused: &[RefusedRow]) -> Table {
    let rows = refused.iter().map(|row| {
        let tenant = if row.tenant.is_empty() { Cell::text("(not identified)") } else { tenant_link(&row.tenant) };
        vec![tenant, Cell::Code(row.reason.clone()), row.count.into()]
    });
    let empty = "No request was refused in the last day.";
    Table::new("Refused requests of the last day, by reason", &["Tenant", "Reason", "Requests"], empty).rows(rows)
}

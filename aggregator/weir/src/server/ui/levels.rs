//! Levels of fleet-wide limits and pools, and who holds leases on them: as the page shows them, and as it follows them.
use serde::Deserialize;
use weir_dashboard::{Block, Cell, Href, Table, fragment};

use super::words::tenant_link;
use crate::leases::LeasesError;
use crate::leases::view::{LimitRow, LimitsQuery};
use crate::server::App;

/// Rows of a table; a question for a tenant or a pool shows others.
const ROWS_SHOWN: usize = 200;

/// What the address says.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Asked {
    pub(super) tenant: String,
    pub(super) pool: String,
}

impl Asked {
    pub(super) fn query(&self) -> LimitsQuery {
        let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        LimitsQuery { tenant: some(&self.tenant), pool: some(&self.pool) }
    }

    /// Where those who have the page open follow levels and leases.
    pub(super) fn live(&self) -> Href {
        Href::to(&["limits", "live"]).with("tenant", &self.tenant).with("pool", &self.pool)
    }
}

/// Levels and leases as the page has them.
pub(super) async fn now(app: &App, asked: &Asked) -> Result<String, LeasesError> {
    Ok(fragment(&tables(&app.0.leases.view(asked.query()).await?)))
}

/// Both tables.
pub(super) fn tables(limits: &[LimitRow]) -> Vec<Block> {
    [levels(limits), holders(limits)].map(Block::Table).into()
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
    Table::new("Levels", &columns, empty).first(ROWS_SHOWN, rows)
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
    Table::new("Leases", &columns, "No gateway holds a lease.").first(ROWS_SHOWN, rows)
}

//! Gateways and sources: when each was last heard, with which configuration, and which numbers are missing.
use axum::extract::State;
use axum::response::Response;
use weir_contract::Timestamp;
use weir_dashboard::{Block, Cell, Section, Table, Tile, Tone};
use weir_ledger::view::{LedgerView, SourceView};

use super::asked::Ask;
use super::guard::Staff;
use super::words::problem_count;
use super::{UiError, page};
use crate::server::finance::Nothing;
use crate::server::{App, budgets, read, status};
use crate::status::{GatewayStatus, NodeStatus, SILENT_MS, SystemStatus};

/// Sources that are listed: those with problems first, then the latest.
const SOURCES_SHOWN: usize = 200;

pub(super) async fn get_page(
    State(app): State<App>,
    staff: Staff,
    Ask(Nothing {}): Ask<Nothing>,
) -> Result<Response, UiError> {
    let (status, ledger) = tokio::try_join!(status::system(&app), read::ledger_view(&app))?;
    let now = app.0.clock.now();
    let totals = &ledger.totals;
    let tiles = vec![
        Tile::new("Sources", totals.sources),
        Tile::new("Events counted", totals.accepted),
        Tile::new("Waiting to be counted", status.events.uncounted_records).note("records of the event log"),
        Tile::new("Budgets lag", Cell::amount(budgets::lag_ms(&app), "ms"))
            .note("the oldest event that is not evaluated"),
        Tile::new("Missing numbers", problem_count(totals.missing)),
        Tile::new("Repeats", totals.duplicates).note("arrived again, counted once"),
        Tile::new("Conflicts", problem_count(totals.conflicts)),
        Tile::new("Refused events", problem_count(status.events.refused))
            .note("`weir quarantine list` shows them, `weir quarantine retry` counts them"),
        Tile::new("Left as log lines", totals.spilled).note("`weir replay` brings them back"),
    ];
    let mut blocks = vec![
        Block::Tiles(tiles),
        Block::Table(gateways(&status, now)),
        Block::Table(fetches(&status)),
        Block::Table(sources(&ledger)),
    ];
    blocks.extend(nodes(&status).map(Block::Table));
    Ok(page(&app, &staff, Section::Gateways, "Gateways", blocks))
}

fn gateways(status: &SystemStatus, now: Timestamp) -> Table {
    let columns = ["Gateway", "State", "Last heard", "Configuration", "Plans", "Workers", "Events", "Missing"];
    let empty =
        "No gateway was heard of within a day. Configure one with `events` to this server: see docs/gateways.md.";
    Table::new("Gateways", &columns, empty).rows(status.gateways.iter().map(|gateway| gateway_row(gateway, now)))
}

fn gateway_row(gateway: &GatewayStatus, now: Timestamp) -> Vec<Cell> {
    let is_silent = gateway.last_at.is_some_and(|last| now.millis_since(last) > SILENT_MS);
    let state = match (gateway.workers, is_silent) {
        (0, _) => Cell::status("ended", Tone::Plain),
        (_, true) => Cell::status("silent", Tone::Bad),
        (_, false) => Cell::status("heard", Tone::Good),
    };
    vec![
        Cell::text(&gateway.gateway),
        state,
        Cell::maybe(gateway.last_at),
        gateway.config_version.clone().map_or(Cell::Missing, Cell::Code),
        Cell::text(gateway.plans.join(", ")),
        gateway.workers.into(),
        gateway.accepted.into(),
        problem_count(gateway.missing),
    ]
}

/// The nodes of weir itself, where there are several.
fn nodes(status: &SystemStatus) -> Option<Table> {
    let server = status.server.as_ref().filter(|server| !server.nodes.is_empty())?;
    let columns = ["Node", "State", "Address", "Version", "Owner since", "Started", "Note"];
    let since = |node: &NodeStatus| server.partitions.iter().find(|part| part.owner == node.name && node.owns)?.since;
    let rows = server.nodes.iter().map(|node| {
        let state = match (node.is_seen, node.owns) {
            (false, _) => Cell::status("missing", Tone::Bad),
            (true, true) => Cell::status("owner", Tone::Good),
            (true, false) => Cell::status("follower", Tone::Good),
        };
        let (name, address) = (Cell::text(&node.name), Cell::text(&node.address));
        let version = Cell::Code(node.version.clone());
        vec![name, state, address, version, Cell::maybe(since(node)), Cell::maybe(node.started), Cell::text(&node.note)]
    });
    Some(Table::new("Nodes: the `weir serve` that share event log and ledger", &columns, "There are none.").rows(rows))
}

fn fetches(status: &SystemStatus) -> Table {
    let fetches = status.server.iter().flat_map(|server| &server.fetches);
    let rows = fetches.map(|fetch| vec![Cell::text(&fetch.token), fetch.at.into(), Cell::Code(fetch.version.clone())]);
    let columns = ["Token", "Last fetch", "Version it knows"];
    Table::new("Who fetches tenants", &columns, "No gateway has fetched tenants since the start.").rows(rows)
}

fn sources(ledger: &LedgerView) -> Table {
    let rows = ledger.sources.iter().map(source);
    let columns =
        ["Source", "State", "Highest number", "Counted", "Missing", "Refused", "Repeats", "Conflicts", "Last heard"];
    Table::new("Sources: one for each worker of a gateway", &columns, "No source was heard of yet.")
        .first(SOURCES_SHOWN, rows)
}

fn source(source: &SourceView) -> Vec<Cell> {
    vec![
        Cell::Code(source.source.clone()),
        Cell::text(if source.closed { "ended" } else { "open" }),
        source.last.into(),
        source.accepted.into(),
        problem_count(source.missing),
        problem_count(source.quarantined),
        source.duplicates.into(),
        problem_count(source.conflicts),
        source.last_at.into(),
    ]
}

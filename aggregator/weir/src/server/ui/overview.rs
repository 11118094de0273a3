//! How everything stands: what comes in, whether the books balance, what is missing, what fires.
use axum::extract::State;
use axum::response::Response;
use weir_dashboard::{Block, Cell, Column, Section, Table, Tile, Tone};
use weir_ledger::view::{LedgerView, MeterView};

use super::alerts::{alert_state, silences, told};
use super::asked::Ask;
use super::guard::Staff;
use super::words::{grouped, problem_count, severity, tenant_link};
use super::{UiError, page};
use crate::alerts::AlertsView;
use crate::server::alerts::routes as alerts;
use crate::server::finance::Nothing;
use crate::server::{App, budgets, read, status};
use crate::status::SystemStatus;

/// What the page says before any gateway was heard.
const FRESH: &str = "No gateway was ever heard: nothing is counted yet. Configure one to send its events here, as docs/gateways.md shows.";
/// Sources with missing numbers that are listed.
const SOURCES_SHOWN: usize = 50;

pub(super) async fn get_page(
    State(app): State<App>,
    staff: Staff,
    Ask(Nothing {}): Ask<Nothing>,
) -> Result<Response, UiError> {
    let (status, ledger, alerts) = tokio::try_join!(status::system(&app), read::ledger_view(&app), alerts::view(&app))?;
    let mut blocks: Vec<Block> =
        status.problems.iter().map(|problem| Block::Notice(Tone::Bad, problem.clone())).collect();
    if status.problems.is_empty() {
        let is_fresh = ledger.totals.sources == 0;
        let (tone, told) = if is_fresh { (Tone::Warn, FRESH) } else { (Tone::Good, "Everything is as it should be.") };
        blocks.push(Block::Notice(tone, told.to_owned()));
    }
    blocks.push(Block::Tiles(tiles(&app, &status, &ledger, &alerts)));
    blocks.push(Block::Table(firing(&alerts)));
    if !alerts.silences.is_empty() {
        blocks.push(Block::Table(silences(&alerts.silences, "", false)));
    }
    blocks.push(Block::Table(books(&ledger)));
    blocks.push(Block::Table(missing(&ledger)));
    Ok(page(&app, &staff, Section::Overview, "Overview", blocks))
}

fn live(name: &'static str, text: String) -> Cell {
    Cell::Live { name, text }
}

fn tiles(app: &App, status: &SystemStatus, ledger: &LedgerView, alerts: &AlertsView) -> Vec<Tile> {
    let firing = alerts.alerts.iter().filter(|alert| alert.fires()).count() as u64;
    let books = if ledger.balanced { "every equation holds" } else { "an equation does not hold" };
    let mut tiles = vec![
        Tile::new("Events per second", live("per_second", "–".to_owned())).note("counted now; needs the script"),
        Tile::new("Events counted", live("accepted", grouped(status.events.accepted))),
        Tile::new("Waiting to be counted", live("uncounted", grouped(status.events.uncounted_records)))
            .note("records of the event log"),
        Tile::new("Budgets lag", live("lag", format!("{} ms", grouped(budgets::lag_ms(app)))))
            .note("the oldest event that is not evaluated"),
        Tile::new("The books", live("books", books.to_owned())),
        Tile::new("Missing events", live("missing", grouped(status.events.missing))).link(Section::Gateways.href()),
        Tile::new("Refused events", problem_count(status.events.refused)).link(Section::Gateways.href()),
        Tile::new("Silences", alerts.silences.len() as u64).link(Section::Alerts.href()),
        Tile::new("Alerts firing", problem_count(firing)).link(Section::Alerts.href()),
        Tile::new("Gateways", Cell::Number(status.gateways.len() as i128)).link(Section::Gateways.href()),
    ];
    if let Some(server) = &status.server {
        tiles.push(Tile::new("Tenants", server.tenants).link(Section::Tenants.href()));
    }
    if let Some(billing) = &status.billing {
        tiles.push(Tile::new("Rows held", problem_count(billing.held)).link(Section::Billing.href()));
        tiles.push(
            Tile::new("Next report", billing.next_report.map_or(Cell::Missing, Cell::Time))
                .link(Section::Billing.href()),
        );
    }
    tiles
}

fn firing(alerts: &AlertsView) -> Table {
    let firing = alerts.alerts.iter().filter(|alert| alert.fires());
    let rows = firing.map(|alert| {
        let tenant = alert.tenant.as_deref().map_or(Cell::Missing, tenant_link);
        vec![
            alert_state(alert, &alerts.silences),
            severity(alert.severity),
            Cell::text(&alert.rule),
            tenant,
            Cell::text(&alert.summary),
            Cell::maybe(alert.fired_at),
            told(alert),
        ]
    });
    let columns = ["State", "Severity", "Rule", "Tenant", "What holds", "Since", "Who looks after it"];
    Table::new("Alerts firing", &columns, "No alert fires.").rows(rows)
}

/// The equations of each meter, side by side.
fn books(ledger: &LedgerView) -> Table {
    let columns = [
        "Meter",
        "Accepted",
        "= Billable",
        "+ Excluded",
        "Adjusted",
        "= Reported",
        "+ Pending",
        "+ Held",
        "+ Settled",
        "Balance",
    ];
    let mut table = Table::new(
        "The books: accepted = billable + excluded; billable + adjusted = reported + pending + held + settled",
        &[],
        "No meter has counted anything yet: send events, or wait for the first ones.",
    );
    table.columns = columns.into_iter().map(Column::from).collect();
    table.rows(ledger.meters.iter().map(meter))
}

fn meter(meter: &MeterView) -> Vec<Cell> {
    let excluded: u64 = meter.excluded.values().sum();
    let balance =
        if meter.balanced { Cell::status("holds", Tone::Good) } else { Cell::status("does not hold", Tone::Bad) };
    vec![
        Cell::text(&meter.meter),
        meter.accepted.into(),
        meter.billable.into(),
        excluded.into(),
        meter.adjusted.into(),
        meter.reported.into(),
        meter.pending.into(),
        meter.held.into(),
        meter.settled.into(),
        balance,
    ]
}

/// What is missing, by name.
fn missing(ledger: &LedgerView) -> Table {
    let sources = ledger.sources.iter().filter(|source| source.missing > 0).take(SOURCES_SHOWN);
    let rows = sources.map(|source| {
        let range =
            |(first, last): &(u64, u64)| if first == last { first.to_string() } else { format!("{first}–{last}") };
        let ranges: Vec<String> = source.missing_ranges.iter().map(range).collect();
        vec![
            Cell::Code(source.source.clone()),
            source.missing.into(),
            Cell::text(ranges.join(", ")),
            source.last_at.into(),
        ]
    });
    let empty = "No number is missing: every event that a gateway numbered has arrived.";
    Table::new("Missing events, by source", &["Source", "Missing", "Numbers", "Last heard"], empty).rows(rows)
}

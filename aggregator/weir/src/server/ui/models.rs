//! Providers and models: how requests went lately, and what each model did and cost this month.
use axum::extract::State;
use axum::response::Response;
use weir_contract::Timestamp;
use weir_dashboard::{Block, Cell, Chart, Href, Point, Section, Table, Tone};
use weir_ledger::attempts::{OpenBreaker, ProviderHealth};
use weir_money::margin::MarginRow;
use weir_money::ratio::Percent;

use super::asked::Ask;
use super::guard::Staff;
use super::kept::being_read;
use super::money::{MODEL, Margins};
use super::words::{level, problem_count};
use super::{UiError, page};
use crate::models::ModelsView;
use crate::server::finance::Nothing;
use crate::server::{App, models, status};
use crate::status::{ProviderStatus, SystemStatus};

/// Models that are listed, the most expensive first.
const MODELS_SHOWN: usize = 200;
/// Models of the chart.
const BARS_SHOWN: usize = 20;

pub(super) async fn get_page(
    State(app): State<App>,
    staff: Staff,
    Ask(Nothing {}): Ask<Nothing>,
) -> Result<Response, UiError> {
    let kept = &app.0.ui.kept;
    let (lately, status) = (models::shown(&app), status::system(&app).await?);
    let mut blocks = vec![Block::Table(live(&lately)), Block::Table(providers_now(&status))];
    blocks.extend(breakers(&status).map(Block::Table));
    match kept.margins.get(&app, MODEL).await? {
        Some(figures) => blocks.extend([figures.as_of()].into_iter().chain(month(&figures.of))),
        None => blocks.push(being_read("The figures of the month")),
    }
    match kept.drift.get(&app, "").await? {
        Some(figures) => blocks.extend(figures.of.blocks().into_iter().chain([figures.as_of()])),
        None => blocks.push(being_read("Costs of the weeks before")),
    }
    Ok(page(&app, &staff, Section::Models, "Models", blocks))
}

/// What each model did and cost this month.
fn month(margins: &Margins) -> Vec<Block> {
    let view = &margins.view;
    let mut sorted: Vec<&MarginRow> = view.rows.iter().collect();
    sorted.sort_by_key(|row| (row.currency, std::cmp::Reverse(row.llm_cost)));
    let rows = sorted.iter().map(|row| {
        let served: Vec<&str> = margins.providers.get(&row.key).into_iter().flatten().map(String::as_str).collect();
        line(row, served.join(", "), (view.from, view.to))
    });
    let columns = [
        "Model",
        "Providers",
        "Requests",
        "Cost",
        "Cost of a request",
        "Failed and repeated",
        "Repeated %",
        "Tokens without a price",
        "Margin",
        "Level",
        "Behind it",
    ];
    let table = Table::new("Models this month", &columns, "No model was used this month.").first(MODELS_SHOWN, rows);
    let of_currency = sorted.chunk_by(|one, other| one.currency == other.currency);
    let mut blocks: Vec<Block> = of_currency.map(|rows| Block::Chart(chart(rows))).collect();
    blocks.push(Block::Table(table));
    blocks.extend(view.notes.iter().map(|note| Block::Paragraph(note.clone())));
    blocks
}

/// How requests of the last 15 minutes went, by model and class.
fn live(view: &ModelsView) -> Table {
    let rows = view.models.iter().flat_map(|model| {
        model.figures.iter().map(|of| {
            let millis = |value: Option<u64>| value.map_or(Cell::Missing, |millis| Cell::amount(millis, "ms"));
            vec![
                Cell::text(&model.name),
                Cell::text(of.class.as_str()),
                of.requests.into(),
                problem_count(of.errors),
                millis(of.p50_ms),
                millis(of.p99_ms),
                millis(of.first_token_p50_ms),
                millis(of.first_token_p99_ms),
            ]
        })
    });
    let columns = ["Model", "Class", "Requests", "Errors", "p50", "p99", "First token, p50", "First token, p99"];
    let empty = "No model has answered within 15 minutes.";
    Table::new("The last 15 minutes", &columns, empty).rows(rows)
}

/// The providers that gateways have tried lately.
fn providers_now(status: &SystemStatus) -> Table {
    let rows = status.providers.iter().map(|of| {
        let ProviderHealth { provider, attempts, failed, retries_refused, last_failure, open, .. } = &of.health;
        let refused = (*retries_refused > 0).then(|| format!("retries refused: {retries_refused}"));
        let reasons = failed.iter().map(|(reason, count)| format!("{reason}: {count}"));
        let reasons: Vec<String> = reasons.chain(refused).collect();
        let breakers = match open.len() {
            0 => Cell::status("none is open", Tone::Good),
            gateways => Cell::status(format!("open at {gateways}"), Tone::Bad),
        };
        vec![
            Cell::text(provider),
            (*attempts).into(),
            problem_count(failed.values().sum()),
            Cell::text(reasons.join(", ")),
            Cell::maybe(last_failure.as_ref().map(|last| last.at)),
            Cell::maybe(last_failure.as_ref().map(|last| last.reason.clone())),
            breakers,
        ]
    });
    let columns = ["Provider", "Attempts", "Failed", "Reasons", "Last failure", "Why", "Breakers"];
    let empty = "Gateways tell of attempts where a catalogue of models routes requests: see docs/routing.md.";
    Table::new("Providers in this hour and the one before", &columns, empty).rows(rows)
}

/// The breakers that are open: each gateway has its own.
fn breakers(status: &SystemStatus) -> Option<Table> {
    let of = |of: &ProviderStatus| {
        let provider = of.health.provider.clone();
        let row = move |one: &OpenBreaker| vec![Cell::text(&provider), Cell::text(&one.gateway), one.until.into()];
        of.health.open.iter().map(row).collect::<Vec<_>>()
    };
    let rows: Vec<_> = status.providers.iter().flat_map(of).collect();
    let table = |rows| Table::new("Open breakers", &["Provider", "Gateway", "Tried again"], "").rows(rows);
    (!rows.is_empty()).then(|| table(rows))
}

fn line(row: &MarginRow, providers: String, (from, to): (Timestamp, Timestamp)) -> Vec<Cell> {
    let amount = |amount| Cell::amount(amount, row.currency);
    let requests = Href::to(&["requests"]).with("model", &row.key);
    let requests = requests.with("from", &from.to_string()).with("to", &to.to_string());
    let each = weir_money::margin::average(row.llm_cost, row.requests);
    vec![
        Cell::text(&row.key),
        Cell::text(providers),
        row.requests.into(),
        amount(row.llm_cost),
        each.map_or(Cell::Missing, amount),
        amount(row.wasted_cost),
        row.retry_percent.map_or(Cell::Missing, |percent: Percent| Cell::amount(percent, "%")),
        row.unpriced_tokens.into(),
        amount(row.margin),
        level(row.level),
        Cell::link_of("Requests", requests, &row.key),
    ]
}

/// The models of one currency.
fn chart(rows: &[&MarginRow]) -> Chart {
    let unit = rows.first().map_or_else(|| "Cost".to_owned(), |row| format!("Cost, {}", row.currency));
    Chart {
        caption: "The most expensive models this month".to_owned(),
        of: "Model".to_owned(),
        unit,
        points: rows
            .iter()
            .filter(|row| row.llm_cost.0 > 0)
            .take(BARS_SHOWN)
            .map(|row| Point {
                label: row.key.clone(),
                value: row.llm_cost.0,
                exact: Cell::amount(row.llm_cost, row.currency),
            })
            .collect(),
        empty: "No model has cost anything this month.".to_owned(),
        csv: None,
    }
}

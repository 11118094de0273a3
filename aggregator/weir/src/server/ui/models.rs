//! Providers and models: what each model did and cost this month, and what failed.
use std::collections::BTreeSet;

use axum::extract::State;
use axum::response::Response;
use weir_dashboard::{Block, Cell, Chart, Href, Point, Section, Table};
use weir_money::margin::MarginRow;
use weir_money::ratio::Percent;

use super::guard::Staff;
use super::words::level;
use super::{UiError, page};
use crate::finance::FinanceError;
use crate::finance::query::MarginQuery;
use crate::server::App;
use crate::server::finance::with_finance;

/// Models that are listed, the most expensive first.
const MODELS_SHOWN: usize = 200;
/// Models of the chart.
const BARS_SHOWN: usize = 20;

pub(super) async fn get_page(State(app): State<App>, staff: Staff) -> Result<Response, UiError> {
    let read = with_finance(&app, |finance| {
        let view = finance.margin(&MarginQuery { by: Some("model".to_owned()), ..MarginQuery::default() })?;
        let names: BTreeSet<String> = view.rows.iter().map(|row| row.key.clone()).collect();
        let providers = finance.reader.providers_of(&names, view.from, view.to)?;
        Ok::<_, FinanceError>((view, providers))
    });
    let (mut view, providers) = read.await?;
    view.rows.sort_by_key(|row| (row.currency, std::cmp::Reverse(row.llm_cost)));
    let rows = view.rows.iter().take(MODELS_SHOWN).map(|row| {
        let served: Vec<&str> = providers.get(&row.key).into_iter().flatten().map(String::as_str).collect();
        line(row, served.join(", "))
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
    let table = Table::new("Models this month", &columns, "No model was used this month.").rows(rows);
    let mut blocks = vec![Block::Chart(chart(&view.rows)), Block::Table(table)];
    blocks.extend(view.notes.iter().map(|note| Block::Paragraph(note.clone())));
    Ok(page(&app, &staff, Section::Models, "Models", blocks))
}

fn line(row: &MarginRow, providers: String) -> Vec<Cell> {
    let amount = |amount| Cell::amount(amount, row.currency);
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
        Cell::link("Requests", Href::to(&["requests"]).with("model", &row.key)),
    ]
}

fn chart(rows: &[MarginRow]) -> Chart {
    let currency = rows.iter().max_by_key(|row| row.llm_cost).map(|row| row.currency);
    let of_currency = rows.iter().filter(|row| Some(row.currency) == currency && row.llm_cost.0 > 0);
    let unit = currency.map_or_else(|| "Cost".to_owned(), |currency| format!("Cost, {currency}"));
    Chart {
        caption: "The most expensive models this month".to_owned(),
        of: "Model".to_owned(),
        unit,
        points: of_currency
            .take(BARS_SHOWN)
            .map(|row| Point {
                label: row.key.clone(),
                value: row.llm_cost.0,
                exact: Cell::amount(row.llm_cost, row.currency),
            })
            .collect(),
        empty: "No model has cost anything this month.".to_owned(),
    }
}

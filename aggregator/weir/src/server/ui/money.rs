//! Money: revenue, cost and margin by any dimension, the weekly review, price plans compared.
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Deserialize;
use weir_dashboard::{Block, Cell, Field, Form, Href, Kind, Section, Sheet, Table, Tile, Tone};
use weir_ledger::analysis::DIMENSIONS;
use weir_money::compare::CompareView;
use weir_money::document::{Block as Part, Document};
use weir_money::margin::{Level, MarginRow, MarginView};
use weir_money::review;
use weir_steer::engine::Rules;

use super::asked::{self, Ask};
use super::guard::Staff;
use super::kept::{Figures, being_read};
use super::span::Month;
use super::tenant::words_of;
use super::words::{level, tenant_link};
use super::{UiError, page};
use crate::finance::query::{CompareQuery, MarginQuery, ReviewQuery};
use crate::finance::{Finance, FinanceError};
use crate::server::App;
use crate::server::error::ApiError;
use crate::server::finance::with_finance;

/// What sums are by, unless the address says something else.
const TENANT: &str = "tenant";
/// The dimension of which providers are told.
pub(super) const MODEL: &str = "model";
/// Rows of a table, the worst margins first: pages stay below 150 KB with style and script.
const ROWS_SHOWN: usize = 50;

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/money", get(get_page))
        .route("/money/margin.csv", get(get_csv))
        .route("/money/review", get(get_review))
        .route("/money/compare", get(get_compare))
}

/// What the address says.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Asked {
    by: String,
    month: String,
}

impl Asked {
    fn by(&self) -> Result<&str, ApiError> {
        let known: Vec<&str> = [TENANT, "plan"].into_iter().chain(DIMENSIONS).collect();
        asked::one_of("by", &self.by, &known)
    }
}

/// What the address of a review says.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct AskedWeek {
    week: String,
}

/// What the address of a comparison says.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct AskedTenant {
    tenant: String,
}

/// Links to the other pages about money, and to sums by other dimensions of the same month.
pub(super) fn tabs(here: &str, month: Option<&Month>) -> Block {
    let of_month = |href: Href| month.map_or(href.clone(), |month| month.of(href));
    let by = ["tenant"]
        .into_iter()
        .chain(DIMENSIONS)
        .map(|by| (format!("By {}", words_of(by)), of_month(Href::to(&["money"]).with("by", by)), by == here));
    let others = [("Weekly review", "review"), ("Compare prices", "compare"), ("Own GPUs", "crossover")];
    let others = others.map(|(words, name)| (words.to_owned(), Href::to(&["money", name]), name == here));
    Block::Tabs("About money".to_owned(), by.chain(others).collect())
}

/// Revenue, cost and margin of the month by a dimension.
#[derive(Debug)]
pub(super) struct Margins {
    /// The sums.
    pub(super) view: MarginView,
    /// The providers that answered for each model, of sums by model.
    pub(super) providers: BTreeMap<String, BTreeSet<String>>,
}

/// Reads margins by a dimension, of the month that runs or, after a blank, of an earlier one.
pub(super) fn read_margins(finance: &mut Finance, _: &Rules, question: &str) -> Result<Margins, FinanceError> {
    let (by, month) = question.split_once(' ').unwrap_or((question, ""));
    let month = Month::read(month, finance.now).map_err(|error| FinanceError::Question(error.to_string()))?;
    let view = finance.margin(&month.query(MarginQuery { by: Some(by.to_owned()), ..MarginQuery::default() }))?;
    if by != MODEL {
        return Ok(Margins { view, providers: BTreeMap::new() });
    }
    let names: BTreeSet<String> = view.rows.iter().map(|row| row.key.clone()).collect();
    let providers = finance.reader.providers_of(&names, view.from, view.to)?;
    Ok(Margins { view, providers })
}

async fn get_page(State(app): State<App>, staff: Staff, Ask(asked): Ask<Asked>) -> Result<Response, UiError> {
    let (by, month) = (asked.by()?, Month::read(&asked.month, app.0.clock.now())?);
    let kept = &app.0.ui.kept;
    // How all tenants stand is these sums, too.
    let parts = if by == TENANT {
        let figures = kept.standing.get(&app, &month.asked()).await?;
        figures.map(|figures| (figures.as_of(), shown(by, &figures.of.margin, &month)))
    } else {
        match kept.margins.get(&app, format!("{by} {}", month.asked()).trim_end()).await {
            // Sums by tenant and plan are kept for ever, others are not.
            Err(ApiError::Report(why)) => Some((Block::Notice(Tone::Plain, why), Vec::new())),
            figures => figures?.map(|figures| (figures.as_of(), shown(by, &figures.of.view, &month))),
        }
    };
    let (as_of, parts) = parts.unwrap_or_else(|| (being_read("The figures of all tenants"), Vec::new()));
    let months = month.links(&Href::to(&["money"]).with("by", by));
    let blocks = [tabs(by, Some(&month)), months, as_of].into_iter().chain(parts).collect();
    Ok(page(&app, &staff, Section::Money, "Money", blocks))
}

fn shown(by: &str, view: &MarginView, month: &Month) -> Vec<Block> {
    let words = month.words();
    let mut blocks = vec![Block::Tiles(view.totals.iter().flat_map(|row| totals(row, &words)).collect())];
    blocks.extend(view.notes.iter().map(|note| Block::Notice(Tone::Warn, note.clone())));
    let negative = view.rows.iter().filter(|row| row.level == Level::Negative);
    let empty = format!("No {} costs more than it brings in.", words_of(by));
    blocks.push(Block::Table(table(&format!("Cost above revenue {words}"), by, &empty, negative)));
    let caption = if month.is_over() { month.asked() } else { "This month".to_owned() };
    let mut all = table(&caption, by, &format!("Nothing was used or billed {words}."), view.rows.iter());
    all.csv = Some(month.of(Href::to(&["money", "margin.csv"]).with("by", by)));
    blocks.push(Block::Table(all));
    if !view.unpriced.is_empty() {
        blocks.push(Block::Table(unpriced(view)));
    }
    blocks
}

fn totals(row: &MarginRow, month: &str) -> Vec<Tile> {
    let tile = |label: &str, amount| Tile::new(label, Cell::amount(amount, row.currency));
    let percent = row.margin_percent.map_or(Cell::Missing, |percent| Cell::amount(percent, "%"));
    vec![
        tile(&format!("Revenue {month}"), row.revenue),
        tile("Cost of providers", row.llm_cost),
        tile("Other cost", row.other_cost),
        tile("Margin", row.margin),
        Tile::new("Margin of revenue", percent),
        tile("Failed and repeated requests", row.wasted_cost).note("part of the cost of providers"),
    ]
}

fn table<'a>(caption: &str, by: &str, empty: &str, rows: impl Iterator<Item = &'a MarginRow>) -> Table {
    let heading = words_of(by);
    let columns = [
        &*heading,
        "Revenue",
        "Cost of providers",
        "Other cost",
        "Margin",
        "Margin %",
        "Level",
        "Requests",
        "Failed and repeated",
        "Tokens without a price",
    ];
    Table::new(caption, &columns, empty).first(
        ROWS_SHOWN,
        rows.map(|row| {
            let amount = |amount| Cell::amount(amount, row.currency);
            vec![
                if by == "tenant" { tenant_link(&row.key) } else { Cell::text(&row.key) },
                amount(row.revenue),
                amount(row.llm_cost),
                amount(row.other_cost),
                amount(row.margin),
                row.margin_percent.map_or(Cell::Missing, |percent| Cell::amount(percent, "%")),
                level(row.level),
                row.requests.into(),
                amount(row.wasted_cost),
                row.unpriced_tokens.into(),
            ]
        }),
    )
}

fn unpriced(view: &MarginView) -> Table {
    let rows = view.unpriced.iter().map(|(model, tokens)| {
        let requests = view.unpriced_requests.get(model).copied().unwrap_or(0);
        vec![Cell::text(model), (*tokens).into(), requests.into()]
    });
    let columns = ["Model", "Tokens without a price", "Requests"];
    Table::new("Models without a price: their cost is missing from every sum", &columns, "").rows(rows)
}

/// Every row as a file, with exact amounts.
async fn get_csv(State(app): State<App>, _staff: Staff, Ask(asked): Ask<Asked>) -> Result<Response, UiError> {
    let (by, month) = (asked.by()?, Month::read(&asked.month, app.0.clock.now())?);
    let query = month.query(MarginQuery { by: Some(by.to_owned()), ..MarginQuery::default() });
    let view = with_finance(&app, move |finance| finance.margin(&query)).await?;
    let mut sheet = Sheet::new(&[
        by,
        "currency",
        "revenue",
        "provider_cost",
        "other_cost",
        "margin",
        "requests",
        "unpriced_tokens",
    ]);
    for row in &view.rows {
        sheet.row(&[
            row.key.clone(),
            row.currency.to_string(),
            row.revenue.to_string(),
            row.llm_cost.to_string(),
            row.other_cost.to_string(),
            row.margin.to_string(),
            row.requests.to_string(),
            row.unpriced_tokens.to_string(),
        ]);
    }
    if view.left_out > 0 {
        sheet.row(&[format!("({} more are left out: `weir margin` by command has all)", view.left_out)]);
    }
    let of: String = view.from.to_string().chars().take(7).collect();
    Ok(download(sheet, &["margin", by, &of]))
}

/// A file that browsers save and do not show. It is named by what it holds.
pub(super) fn download(sheet: Sheet, of: &[&str]) -> Response {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let name: String = of.join("-").chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
    let disposition = HeaderValue::from_str(&format!("attachment; filename=\"{name}.csv\""));
    let disposition = disposition.unwrap_or(HeaderValue::from_static("attachment"));
    let kind = HeaderValue::from_static("text/csv; charset=utf-8");
    ([(header::CONTENT_TYPE, kind), (header::CONTENT_DISPOSITION, disposition)], sheet.into_text()).into_response()
}

async fn get_review(State(app): State<App>, staff: Staff, Ask(asked): Ask<AskedWeek>) -> Result<Response, UiError> {
    let report = app.0.ui.kept.reviews.get(&app, asked.week.trim()).await;
    let ask = Form::ask(
        Href::to(&["money", "review"]),
        vec![
            Field::optional("week", "Week", Kind::Text(asked.week))
                .hint("2026-W47, or one of its days. Empty: the last one that is over."),
        ],
        "Show",
    );
    let mut blocks = vec![tabs("review", None), Block::Form(ask)];
    let title = match &report {
        Ok(Some(report)) => report.of.title.clone(),
        _ => "Weekly review".to_owned(),
    };
    let shown = |report: Option<Arc<Figures<Document>>>| match report {
        Some(report) => [report.as_of(), rounded()].into_iter().chain(parts(&report.of)).collect(),
        None => vec![being_read("The figures of the week")],
    };
    blocks.extend(or_why(report.map(shown))?);
    Ok(page(&app, &staff, Section::Money, title, blocks))
}

/// What a review says of its amounts.
fn rounded() -> Block {
    let told = "Amounts of a review are rounded to two decimals; those of the page of money are exact.";
    Block::Paragraph(told.to_owned())
}

/// Reads the review of a week, or of the last one that is over.
pub(super) fn read_review(finance: &mut Finance, _: &Rules, week: &str) -> Result<Document, FinanceError> {
    let week = Some(week.to_owned()).filter(|week| !week.is_empty());
    let view = finance.review(&ReviewQuery { week, ..ReviewQuery::default() })?;
    Ok(review::document(&view))
}

/// An answer's parts; or, where there is nothing to answer from yet, the reason.
pub(super) fn or_why(answer: Result<Vec<Block>, ApiError>) -> Result<Vec<Block>, ApiError> {
    match answer {
        Err(ApiError::Report(why)) => Ok(vec![Block::Notice(Tone::Plain, why)]),
        other => other,
    }
}

/// A report's parts as they stand in its other forms. A table takes the heading above it.
fn parts(report: &Document) -> Vec<Block> {
    let (mut blocks, mut heading) = (Vec::new(), None::<&String>);
    for part in &report.blocks {
        match part {
            Part::Heading(text) => {
                blocks.extend(heading.replace(text).map(|before| Block::Heading(before.clone())));
            }
            Part::Paragraph(text) => {
                blocks.extend(heading.take().map(|before| Block::Heading(before.clone())));
                blocks.push(Block::Paragraph(text.clone()));
            }
            Part::Table { columns, rows } => {
                let names: Vec<&str> = columns.iter().map(|name| name.trim_start_matches('#')).collect();
                let caption = heading.take().map_or("", String::as_str);
                let cells = rows.iter().map(|row| row.iter().map(Cell::text).collect());
                let table = Table::new(caption, &names, "There is nothing to list.");
                blocks.push(Block::Table(table.first(ROWS_SHOWN, cells)));
            }
        }
    }
    blocks.extend(heading.map(|before| Block::Heading(before.clone())));
    blocks
}

async fn get_compare(State(app): State<App>, staff: Staff, Ask(asked): Ask<AskedTenant>) -> Result<Response, UiError> {
    let ask = Form::ask(
        Href::to(&["money", "compare"]),
        vec![Field::required("tenant", "Tenant", Kind::Text(asked.tenant.clone()))],
        "Compare",
    );
    let mut blocks = vec![tabs("compare", None), Block::Form(ask)];
    if !asked.tenant.is_empty() {
        let query = CompareQuery { tenant: asked.tenant, plans: None, from: None, to: None };
        let view = with_finance(&app, move |finance: &mut Finance| finance.compare(&query)).await;
        blocks.extend(or_why(view.map(|view| compared(&view)))?);
    }
    Ok(page(&app, &staff, Section::Money, "Compare prices", blocks))
}

fn compared(view: &CompareView) -> Vec<Block> {
    let rows = view.plans.iter().map(|plan| {
        let amount = |amount| Cell::amount(amount, plan.currency);
        vec![
            Cell::text(&plan.plan),
            Cell::text(if plan.current { "today's" } else { "" }),
            amount(plan.revenue),
            amount(plan.cost),
            amount(plan.margin),
            plan.margin_percent.map_or(Cell::Missing, |percent| Cell::amount(percent, "%")),
            level(plan.level),
            plan.more_than_current.map_or(Cell::Missing, amount),
        ]
    });
    let columns = ["Price plan", "In force", "Revenue", "Cost", "Margin", "Margin %", "Level", "More than today"];
    let empty = "There are no price plans to compare: `price_plans` in weir.yaml has them.";
    let caption =
        format!("The usage of {} under each price plan, over {} billing periods", view.tenant, view.periods.len());
    let lacks = view.unpriced.words().map(|words| Block::Notice(Tone::Warn, words));
    let periods = view.periods.iter().map(|start| ("Begins", Cell::Time(*start))).collect();
    let periods = Block::Facts("Billing periods that are compared".to_owned(), periods);
    [periods, Block::Table(Table::new(&caption, &columns, empty).rows(rows))].into_iter().chain(lacks).collect()
}

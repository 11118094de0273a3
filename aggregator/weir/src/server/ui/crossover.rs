//! Own GPUs against the API: from how many requests a month they cost less, with both curves.
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use weir_dashboard::{Block, Cell, Field, Form, Href, Kind, Section, Table, Tile, Tone};
use weir_money::crossover::{CrossoverView, Month, draw};

use super::asked::Ask;
use super::guard::Staff;
use super::money::{or_why, tabs};
use super::{UiError, page};
use crate::finance::query::CrossoverQuery;
use crate::server::App;
use crate::server::error::ApiError;
use crate::server::finance::with_finance;

/// What the address says. Empty values say nothing.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Asked {
    hour: String,
    tokens_per_second: String,
    utilisation: String,
    replicas: String,
    models: String,
}

impl Asked {
    fn query(&self) -> Result<CrossoverQuery, ApiError> {
        let some = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        let number = |name: &str, text: &str| {
            let wrong = |_| ApiError::Request(format!("`{name}` is a whole number, not {text:?}"));
            some(text).map(|text| text.parse().map_err(wrong)).transpose()
        };
        Ok(CrossoverQuery {
            hour: some(&self.hour),
            tokens_per_second: number("tokens_per_second", &self.tokens_per_second)?,
            utilisation: some(&self.utilisation),
            replicas: number("replicas", &self.replicas)?,
            models: some(&self.models),
            ..CrossoverQuery::default()
        })
    }

    fn form(&self) -> Form {
        let text = |text: &str| Kind::Text(text.to_owned());
        let fields = vec![
            Field::required("hour", "Price of a GPU per hour", text(&self.hour))
                .hint("Such as 2.50, in the currency of the cost."),
            Field::required("tokens_per_second", "Tokens per second at full use", text(&self.tokens_per_second)),
            Field::optional("utilisation", "Share of it that is used, in percent", text(&self.utilisation)),
            Field::optional("replicas", "GPUs that run at least", text(&self.replicas)),
            Field::optional("models", "Models that they would replace", text(&self.models))
                .hint("Such as gpt-4o*, claude-*. Empty: all."),
        ];
        Form::ask(Href::to(&["money", "crossover"]), fields, "Compare")
    }

    /// The address of the drawing for the same question.
    fn drawing(&self) -> Href {
        let Asked { hour, tokens_per_second, utilisation, replicas, models } = self;
        let named = [
            ("hour", hour),
            ("tokens_per_second", tokens_per_second),
            ("utilisation", utilisation),
            ("replicas", replicas),
            ("models", models),
        ];
        named.into_iter().fold(Href::to(&["money", "crossover.svg"]), |href, (name, value)| href.with(name, value))
    }
}

pub(super) async fn get_page(
    State(app): State<App>,
    staff: Staff,
    Ask(asked): Ask<Asked>,
) -> Result<Response, UiError> {
    let mut blocks = vec![tabs("crossover", None), Block::Form(asked.form())];
    if !asked.hour.is_empty() {
        let query = asked.query()?;
        let view = with_finance(&app, move |finance| finance.crossover(&query)).await;
        blocks.extend(or_why(view.map(|view| compared(&view, asked.drawing())))?);
    }
    Ok(page(&app, &staff, Section::Money, "Own GPUs against the API", blocks))
}

/// Both curves as SVG.
pub(super) async fn get_drawing(
    State(app): State<App>,
    _staff: Staff,
    Ask(asked): Ask<Asked>,
) -> Result<Response, UiError> {
    let query = asked.query()?;
    let view = with_finance(&app, move |finance| finance.crossover(&query)).await?;
    Ok(([(header::CONTENT_TYPE, HeaderValue::from_static("image/svg+xml"))], draw(&view)).into_response())
}

fn compared(view: &CrossoverView, drawing: Href) -> Vec<Block> {
    let count = |number: Option<u64>| number.map_or_else(|| Cell::text("never"), Cell::from);
    let tiles = vec![
        Tile::new("Own GPUs cost no more from so many requests a month on", count(view.break_even_requests)),
        Tile::new("Tokens of a request", view.tokens_per_request),
    ];
    let rows = view.months.iter().map(|month| row(view, month));
    let columns =
        ["Requests a month", "The API costs", "Own GPUs cost", "GPUs", "Requests they carry", "Saved", "Saved %"];
    let months =
        Table::new("At the traffic of the last 30 days, as that of a month, and at what the GPUs carry", &columns, "")
            .rows(rows);
    let points = view.curve.iter().map(|(requests, api, own)| {
        vec![(*requests).into(), Cell::amount(*api, view.currency), Cell::amount(*own, view.currency)]
    });
    let curve =
        Table::new("Points of both curves", &["Requests a month", "The API costs", "Own GPUs cost"], "").rows(points);
    let words = "Curves of what the API and own GPUs cost by requests a month. The table below has the numbers.";
    let lacks = view.unpriced.words().map(|words| Block::Notice(Tone::Warn, words));
    let blocks =
        [Block::Tiles(tiles), Block::Table(months), Block::Picture(drawing, words.to_owned()), Block::Table(curve)];
    blocks.into_iter().chain(lacks).collect()
}

fn row(view: &CrossoverView, month: &Month) -> Vec<Cell> {
    let amount = |amount| Cell::amount(amount, view.currency);
    vec![
        month.requests.into(),
        amount(month.api_cost),
        amount(month.own_cost),
        month.replicas.into(),
        month.capacity.into(),
        amount(month.saved),
        month.saved_percent.map_or(Cell::Missing, |percent| Cell::amount(percent, "%")),
    ]
}

//! All tenants, a page at a time: by name, or by what they bring in and cost this month.
use std::cmp::Reverse;

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};
use serde::Deserialize;
use weir_dashboard::{Block, Cell, Column, Field, Form, Href, Kind, Section, Table, Tile, Tone};
use weir_money::margin::MarginRow;
use weir_steer::view::Use;
use weir_tenants::Snapshot;

use super::asked::Ask;
use super::guard::Staff;
use super::kept::being_read;
use super::span::Month;
use super::standing::{Rest, Standing};
use super::words::{level, share, stage};
use super::{UiError, keys, page, provider_keys, tenant};
use crate::config::home::TenantsHome;
use crate::server::App;
use crate::server::error::ApiError;

/// Tenants of a page.
const SHOWN: usize = 100;
/// The most tenants whose figures are sorted: those that [`weir_money::margin`] lists.
const CUT: &str = "More tenants have figures than are sorted; the rest are found by name.";

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/tenants", get(get_page))
        .route("/tenants/{id}", get(tenant::get_page))
        .route("/tenants/{id}/bill", get(tenant::get_bill))
        .route("/tenants/{id}/state", post(tenant::post_state))
        .route("/tenants/{id}/budget", post(tenant::post_budget))
        .route("/tenants/{id}/keys", post(keys::post_create))
        .route("/tenants/{id}/keys/{key}/rotate", post(keys::post_rotate))
        .route("/tenants/{id}/keys/{key}/revoke", post(keys::post_revoke))
        .route("/tenants/{id}/provider-keys", post(provider_keys::post_store))
        .route("/tenants/{id}/provider-keys/{provider}/remove", post(provider_keys::post_remove))
}

/// The order of the list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Sort {
    /// By name.
    #[default]
    Name,
    /// The worst margin first.
    Margin,
    /// The greatest cost first.
    Cost,
    /// The greatest revenue first.
    Revenue,
    /// The most used budget first.
    Budget,
}

impl Sort {
    fn as_str(self) -> &'static str {
        match self {
            Sort::Name => "name",
            Sort::Margin => "margin",
            Sort::Cost => "cost",
            Sort::Revenue => "revenue",
            Sort::Budget => "budget",
        }
    }
}

/// What the address says.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    #[serde(default)]
    sort: Sort,
    /// A part of a tenant's name, plan or owner.
    #[serde(default)]
    q: String,
    /// The last tenant of the page before; by figures, how many came before.
    #[serde(default)]
    after: String,
    /// The month of the figures; empty for the one that runs.
    #[serde(default)]
    month: String,
}

impl Asked {
    /// How many came before, by figures.
    fn place(&self) -> Result<usize, ApiError> {
        let wrong = |_| ApiError::Request(format!("`after` is how many came before, not {:?}", self.after));
        if self.after.is_empty() { Ok(0) } else { self.after.parse().map_err(wrong) }
    }

    fn href(&self, sort: Sort) -> Href {
        let href = Href::to(&["tenants"]).with("sort", sort.as_str()).with("q", &self.q);
        if self.month.is_empty() { href } else { href.with("month", &self.month) }
    }
}

pub(super) async fn get_page(
    State(app): State<App>,
    staff: Staff,
    Ask(asked): Ask<Asked>,
) -> Result<Response, UiError> {
    let month = Month::read(&asked.month, app.0.clock.now())?;
    let (figures, tenants) = (app.0.ui.kept.standing.get(&app, &month.asked()).await?, app.directory().current());
    let search = Form::ask(
        Href::to(&["tenants"]),
        vec![
            Field::optional("q", "Name, plan or owner", Kind::Text(asked.q.clone())),
            Field::hidden("sort", asked.sort.as_str()),
            Field::hidden("month", asked.month.as_str()),
        ],
        "Search",
    );
    let Some(figures) = figures else {
        let after = if asked.sort == Sort::Name { asked.after } else { String::new() };
        let by_name = Asked { sort: Sort::Name, after, ..asked };
        let table = table(&app, &by_name, &Standing::unknown(), &tenants).await?;
        let blocks = vec![being_read("The figures of all tenants"), Block::Form(search), Block::Table(table)];
        return Ok(page(&app, &staff, Section::Tenants, "Tenants", blocks));
    };
    let standing = &figures.of;
    let months = Href::to(&["tenants"]).with("sort", asked.sort.as_str()).with("q", &asked.q);
    let mut blocks = vec![month.links(&months), figures.as_of(), Block::Tiles(totals(standing, &month.words()))];
    if !asked.q.is_empty() {
        blocks.push(Block::Paragraph("These sums are of all tenants; the list shows those that fit.".to_owned()));
    }
    blocks.push(Block::Form(search));
    if asked.sort != Sort::Name && standing.margin.left_out > 0 {
        blocks.push(Block::Paragraph(CUT.to_owned()));
    }
    blocks.push(Block::Table(table(&app, &asked, standing, &tenants).await?));
    blocks.extend(standing.margin.notes.iter().map(|note| Block::Paragraph(note.clone())));
    Ok(page(&app, &staff, Section::Tenants, "Tenants", blocks))
}

/// The sums of each currency.
fn totals(standing: &Standing, month: &str) -> Vec<Tile> {
    let of = |row: &MarginRow| {
        let tile =
            |label: &str, amount| Tile::new(&format!("{label}, {}", row.currency), Cell::amount(amount, row.currency));
        [
            tile(&format!("Revenue {month}"), row.revenue),
            tile(&format!("Cost {month}"), row.llm_cost + row.other_cost),
            tile(&format!("Margin {month}"), row.margin),
        ]
    };
    standing.margin.totals.iter().flat_map(of).collect()
}

async fn table(app: &App, asked: &Asked, standing: &Standing, tenants: &Snapshot) -> Result<Table, UiError> {
    let empty = match app.0.home {
        TenantsHome::Database => "No tenant fits. `weir tenants create` and the API make tenants.",
        TenantsHome::File(_) => "No tenant fits. Tenants come from the tenants file.",
        TenantsHome::Nowhere => {
            "There is no tenant: `tenants` or `tenants_database` in weir.yaml says where they are kept."
        }
    };
    let mut table = Table::new("Tenants", &[], empty);
    table.columns = vec![
        Column::sorted_by("Tenant", asked.href(Sort::Name)),
        "Plan".into(),
        "Owner".into(),
        "State".into(),
        Column::sorted_by("Revenue", asked.href(Sort::Revenue)),
        Column::sorted_by("Cost", asked.href(Sort::Cost)),
        Column::sorted_by("Margin", asked.href(Sort::Margin)),
        "Margin %".into(),
        "Level".into(),
        Column::sorted_by("Budget used", asked.href(Sort::Budget)),
        "Stage".into(),
    ];
    let (rows, next) = match asked.sort {
        Sort::Name => {
            let (names, next) = names(asked, tenants);
            let rest = standing.rest(app, &names).await?;
            (by_name(asked, &names, (standing, &rest), tenants), next)
        }
        sort => by_figures(asked, sort, standing, tenants)?,
    };
    table.next = next.map(|after| asked.href(asked.sort).with("after", &after));
    Ok(table.rows(rows))
}

/// The names after `after`, and where the next page begins.
fn names(asked: &Asked, tenants: &Snapshot) -> (Vec<String>, Option<String>) {
    let mut names: Vec<&str> = tenants
        .ids()
        .iter()
        .map(String::as_str)
        .filter(|tenant| *tenant > asked.after.as_str() && fits(asked, tenant, tenants))
        .collect();
    let more = names.len() > SHOWN;
    if more {
        names.select_nth_unstable(SHOWN - 1);
        names.truncate(SHOWN);
    }
    names.sort_unstable();
    let next = more.then(|| names.last().map(|name| (*name).to_owned())).flatten();
    (names.into_iter().map(str::to_owned).collect(), next)
}

fn by_name(
    asked: &Asked,
    names: &[String],
    (standing, rest): (&Standing, &Rest),
    tenants: &Snapshot,
) -> Vec<Vec<Cell>> {
    let rows_of = |tenant: &String| {
        let budget = standing.budget(rest, tenant);
        let mut rows: Vec<Vec<Cell>> =
            standing.of(rest, tenant).map(|of| row(asked, tenant, (Some(of), budget), tenants)).collect();
        if rows.is_empty() {
            rows.push(row(asked, tenant, (None, budget), tenants));
        }
        rows
    };
    names.iter().flat_map(rows_of).collect()
}

/// The same by figures. Currencies are never compared: each stands by itself.
fn by_figures(
    asked: &Asked,
    sort: Sort,
    standing: &Standing,
    tenants: &Snapshot,
) -> Result<(Vec<Vec<Cell>>, Option<String>), ApiError> {
    let before = asked.place()?;
    let mut found: Vec<&MarginRow> = standing.margin.rows.iter().filter(|row| fits(asked, &row.key, tenants)).collect();
    match sort {
        // The view lists the worst margins first.
        Sort::Name | Sort::Margin => {}
        Sort::Cost => found.sort_by_key(|row| (row.currency, Reverse(row.llm_cost + row.other_cost))),
        Sort::Revenue => found.sort_by_key(|row| (row.currency, Reverse(row.revenue))),
        Sort::Budget => {
            found.sort_by_key(|row| Reverse(standing.budget(&Rest::default(), &row.key).map(Use::weight)));
        }
    }
    let end = before.saturating_add(SHOWN);
    let next = (found.len() > end).then(|| end.to_string());
    let shown = found.into_iter().skip(before).take(SHOWN);
    let budget = |tenant: &str| standing.budget(&Rest::default(), tenant);
    Ok((shown.map(|of| row(asked, &of.key, (Some(of), budget(&of.key)), tenants)).collect(), next))
}

fn fits(asked: &Asked, tenant: &str, tenants: &Snapshot) -> bool {
    if asked.q.is_empty() {
        return true;
    }
    let wanted = asked.q.to_lowercase();
    let plan = tenants.plans().get(tenant).map(String::as_str);
    let owner = tenants.owners().get(tenant).map(String::as_str);
    [Some(tenant), plan, owner].into_iter().flatten().any(|text| text.to_lowercase().contains(&wanted))
}

/// A tenant's page, of the same month.
fn page_of(asked: &Asked, tenant: &str) -> Href {
    let page = Href::to(&["tenants", tenant]);
    if asked.month.is_empty() { page } else { page.with("month", &asked.month) }
}

/// Whether a tenant may use the service; nothing of one that may.
fn state(tenant: &str, tenants: &Snapshot) -> Cell {
    if tenants.has_left(tenant) {
        Cell::status("archived", Tone::Warn)
    } else if tenants.is_suspended(tenant) {
        Cell::status("suspended", Tone::Warn)
    } else {
        Cell::Missing
    }
}

fn row(asked: &Asked, tenant: &str, (of, budget): (Option<&MarginRow>, Option<Use>), tenants: &Snapshot) -> Vec<Cell> {
    let text = |text: Option<&String>| text.map_or(Cell::Missing, Cell::text);
    let amount = |pick: fn(&MarginRow) -> weir_money::amount::Pico| {
        of.map_or(Cell::Missing, |row| Cell::amount(pick(row), row.currency))
    };
    let percent = of.and_then(|row| row.margin_percent).map_or(Cell::Missing, |percent| Cell::amount(percent, "%"));
    vec![
        Cell::link(tenant, page_of(asked, tenant)),
        text(tenants.plans().get(tenant)),
        text(tenants.owners().get(tenant)),
        state(tenant, tenants),
        amount(|row| row.revenue),
        amount(|row| row.llm_cost + row.other_cost),
        amount(|row| row.margin),
        percent,
        of.map_or(Cell::Missing, |row| level(row.level)),
        budget.map_or(Cell::Missing, share),
        budget.map_or(Cell::Missing, stage),
    ]
}

//! Budgets: how much is used, by whom, and what bounds nobody yet. Each leads to a page of its own ([`super::budget`]).
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use weir_contract::stage::Stage;
use weir_dashboard::{Block, Cell, Field, Form, Href, Kind, Section, Table, Tone};
use weir_steer::engine::Rules;
use weir_steer::subject;
use weir_steer::view::{BudgetView, Transition};

use super::asked::{self, Ask};
use super::guard::Staff;
use super::kept::being_read;
use super::words::{done, share, stage, stage_tone, tenant_link};
use super::{UiError, page};
use crate::budgets::{BudgetQuery, HistoryQuery};
use crate::finance::{Finance, FinanceError};
use crate::server::read::with_reader;
use crate::server::{App, budgets};

/// Budgets of a page, and changes of stages.
const SHOWN: usize = 50;
const CHANGES_SHOWN: usize = 50;

/// What the address says.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Asked {
    tenant: String,
    stage: String,
    done: Option<String>,
}

pub(super) async fn get_page(
    State(app): State<App>,
    staff: Staff,
    Ask(asked): Ask<Asked>,
) -> Result<Response, UiError> {
    let tenant = Some(asked.tenant.trim().to_owned()).filter(|tenant| !tenant.is_empty());
    let stage = asked::stage(&asked.stage)?;
    let (found, lacks) = match &tenant {
        None => match app.0.ui.kept.budgets.get(&app, stage.unwrap_or_default().as_str()).await? {
            Some(figures) => (vec![figures.as_of(), Block::Table(table(&figures.of))], lacking(&figures.of)),
            None => (vec![being_read("The budgets of all tenants")], None),
        },
        Some(_) => {
            let view = budgets::list(&app, BudgetQuery { tenant: tenant.clone(), stage }).await?;
            (vec![Block::Table(table(&view.budgets))], lacking(&view.budgets))
        }
    };
    let changes = HistoryQuery { subject: tenant, ..HistoryQuery::default() };
    let rules = app.0.budgets.rules();
    let configured = configured(&rules);
    let changes = with_reader(&app, move |reader| crate::budgets::history(reader, &rules, &changes)).await?;
    let changes = changes.unwrap_or_default();
    let stages = Stage::ALL.map(|stage| (stage.as_str().to_owned(), format!("{stage} or beyond")));
    let search = Form::ask(
        Href::to(&["budgets"]),
        vec![
            Field::optional("tenant", "Tenant", Kind::Text(asked.tenant)),
            Field::required("stage", "Stage", Kind::Choice(stages.to_vec())),
        ],
        "Show",
    );
    let mut blocks = done(asked.done.as_deref());
    blocks.extend(lacks.map(|words| Block::Notice(Tone::Warn, words)));
    blocks.push(Block::Form(search.filled(|name| (name == "stage").then(|| asked.stage.clone()))));
    blocks.extend(found);
    blocks.push(Block::Table(configured));
    blocks.push(Block::Table(history(&changes)));
    Ok(page(&app, &staff, Section::Budgets, "Budgets", blocks))
}

/// Reads the most used budgets at a stage or beyond it.
pub(super) fn read(finance: &mut Finance, rules: &Rules, least: &str) -> Result<Vec<BudgetView>, FinanceError> {
    let query = BudgetQuery { tenant: None, stage: Stage::from_name(least) };
    // A question that names no tenant names nobody unknown.
    Ok(crate::budgets::budgets(&mut finance.reader, rules, &query, finance.now)?.unwrap_or_default())
}

/// What the shown budgets cannot count, if anything.
fn lacking(budgets: &[BudgetView]) -> Option<String> {
    let lacking = budgets.iter().filter(|budget| budget.unpriced_requests > 0);
    let (count, requests) =
        lacking.fold((0, 0), |(count, requests), budget| (count + 1, requests + budget.unpriced_requests));
    (count > 0).then(|| {
        format!(
            "{count} of these budgets lack {requests} requests that have no price in their currency: the page of money names \
             the models. Give them prices; until then `unpriced` of the budget says in which stage it stands."
        )
    })
}

/// The budgets, the most used first: name a tenant to see others.
pub(super) fn table(budgets: &[BudgetView]) -> Table {
    let columns =
        ["Tenant", "Budget", "Covers", "Used", "Amount", "Share", "Stage", "Period ends", "Raised or paused", "Until"];
    let empty = "No budget fits: nothing was used of one in its current period. Those that there are stand below; name a tenant to see its.";
    Table::new("Budgets", &columns, empty).first(SHOWN, budgets.iter().map(row))
}

fn row(budget: &BudgetView) -> Vec<Cell> {
    let raise = budget.raise.as_ref();
    let words = raise.map(|raise| {
        let what = raise.amount.map_or_else(|| "paused".to_owned(), |amount| format!("to {amount}"));
        format!("{what} by {}: {}", raise.who, raise.why)
    });
    let subject = &budget.subject;
    let of = if subject::is_shared(subject) { subject } else { subject::tenant(subject) };
    vec![
        whose(subject),
        Cell::link_of(&budget.budget, one(of, &budget.budget), of),
        Cell::text(&budget.covers),
        Cell::amount(budget.used, &budget.unit),
        Cell::amount(budget.amount, &budget.unit),
        share(budget.use_of()),
        stage(budget.use_of()),
        Cell::maybe(budget.period_end),
        Cell::maybe(words),
        Cell::maybe(raise.map(|raise| raise.until)),
    ]
}

/// The page of one budget of a tenant, or of `#` and the name of one that tenants share.
pub(super) fn one(of: &str, budget: &str) -> Href {
    Href::to(&["budgets", "one"]).with("tenant", of).with("budget", budget)
}

/// The tenant whose budget it is, for an end user's budget the tenant of the user, or the name of a shared budget.
pub(super) fn whose(subject: &str) -> Cell {
    if subject::is_shared(subject) { Cell::text(subject) } else { tenant_link(subject::tenant(subject)) }
}

/// What the configuration has, whether or not anybody has used it.
fn configured(rules: &Rules) -> Table {
    let rows = rules.budgets.iter().map(|budget| {
        let whose = match (budget.shared, budget.per_user) {
            (true, _) => "its tenants together",
            (_, true) => "each end user",
            (false, false) => "each tenant",
        };
        vec![
            Cell::text(&*budget.name),
            Cell::amount(budget.amount(""), budget.unit()),
            Cell::text(budget.span.as_str().replace('_', " ")),
            Cell::text(whose),
            Cell::text(budget.mode.as_str()),
        ]
    });
    let empty = "There is none: `budgets` in weir.yaml says how much tenants may use.";
    Table::new("Budgets of the configuration", &["Budget", "Amount", "Period", "Of", "Mode"], empty).rows(rows)
}

pub(super) fn history(changes: &[Transition]) -> Table {
    let rows = changes.iter().map(|change| {
        let stage = Stage::from_name(&change.stage).unwrap_or_default();
        vec![
            change.at.into(),
            whose(&change.subject),
            Cell::text(&change.budget),
            Cell::text(&change.was),
            Cell::ranked(&change.stage, stage_tone(stage), stage as u8),
            Cell::amount(&change.used, &change.unit),
            amount_of(change),
            Cell::text(if change.why.is_empty() { change.cause.words() } else { &change.why }),
        ]
    });
    let columns = ["When", "Tenant", "Budget", "From", "To", "Used", "Amount", "Why"];
    Table::new("Latest changes of stages", &columns, "No budget has changed its stage yet.").first(CHANGES_SHOWN, rows)
}

/// The amount of a change. An amount is above 0: while the budget was paused there was none.
fn amount_of(change: &Transition) -> Cell {
    if change.amount == "0" { Cell::text("none: paused") } else { Cell::amount(&change.amount, &change.unit) }
}

#[cfg(test)]
mod tests {
    use weir_contract::Timestamp;
    use weir_dashboard::{Page, Role, Viewer};
    use weir_ledger::amount::Pico;
    use weir_steer::raise::Raise;

    use super::*;

    /// A page has at most so many bytes, beside style and script.
    const PAGE_MAX_BYTES: usize = 120_000;

    #[test]
    fn a_page_of_budgets_is_small_however_many_there_are() {
        let name = |what: &str, number: usize| format!("{what}-with-a-long-name-{number:05}");
        let budget = |number| {
            let raise = Raise {
                id: 1,
                subject: name("tenant", number),
                budget: name("budget", number),
                amount: Pico::parse("1234.567891"),
                until: Timestamp::from_millis(1_800_000_000_000),
                who: "Ada Lovelace, with finance".to_owned(),
                why: "a launch that everybody waits for since a long time".to_owned(),
                at: Timestamp::default(),
                ended_at: None,
            };
            BudgetView {
                budget: raise.budget.clone(),
                subject: raise.subject.clone(),
                covers: "feature search".to_owned(),
                unit: "USD".to_owned(),
                period_start: Timestamp::default(),
                period_end: Some(raise.until),
                used: Pico::parse("1234567.123456789").expect("a decimal"),
                amount: Pico::parse("1234567.123456789").expect("a decimal"),
                used_permille: 1_000,
                unpriced_requests: 0,
                stage: Stage::Exceeded,
                mode: "enforce".to_owned(),
                raise: Some(raise),
            }
        };
        let budgets: Vec<BudgetView> = (0..10_000).map(budget).collect();
        let table = table(&budgets);
        assert_eq!(table.left_out, 10_000 - SHOWN);
        let (title, at) = ("Budgets".to_owned(), Timestamp::default());
        let page = Page { title, section: Section::Budgets, at, blocks: vec![Block::Table(table)] };
        let page = page.render(&Viewer { role: Role::Admin, ..Viewer::default() });
        assert!(page.len() < PAGE_MAX_BYTES, "{} bytes", page.len());
    }
}

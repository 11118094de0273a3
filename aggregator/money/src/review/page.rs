//! The review as a report for people.
use super::{Change, Drift, PlannedRow, ReviewView};
use crate::amount::{Currency, Pico};
use crate::document::{Block, Document};
use crate::exact::divide;

/// The decimals of amounts in the report; `--json` has all of them.
const SHOWN_DECIMALS: u32 = 2;

/// Writes the review as a report.
pub fn document(view: &ReviewView) -> Document {
    let currency = view.currency;
    let (first, last) = &view.days;
    let title = format!("Margin review, {first} to {last} ({currency})");
    let mut blocks = vec![Block::Paragraph(summary(view))];
    let mut section = |heading: &str, table: Block| {
        if matches!(&table, Block::Table { rows, .. } if !rows.is_empty()) {
            blocks.extend([Block::Heading(heading.to_owned()), table]);
        }
    };
    section("Tenants by spend", changes("tenant", &view.by_spend));
    section("Tenants by change of margin", changes("tenant", &view.by_change));
    section("Cost per workflow", costs("route", &view.workflows));
    section("Cost per feature", costs("feature", &view.features));
    section("Prompt versions", drift(&view.drift));
    section("Planned and actual", planned(&view.planned));
    blocks.push(Block::Heading("Concentration".to_owned()));
    let share = |share: Option<crate::ratio::Percent>| share.map_or("-".to_owned(), |share| format!("{share} %"));
    let (one, five) = view.concentration;
    blocks.push(Block::Paragraph(format!(
        "The largest tenant has {} of all cost, the five largest {}.",
        share(one),
        share(five)
    )));
    blocks.push(Block::Heading("Negative for weeks".to_owned()));
    let weeks = super::SUSTAINED_WEEKS;
    blocks.push(Block::Paragraph(match view.sustained_negative.as_slice() {
        [] => format!("No tenant had a negative margin in each of the last {weeks} weeks."),
        tenants => format!("In each of the last {weeks} weeks these had a negative margin: {}.", tenants.join(", ")),
    }));
    Document { title, blocks }
}

fn summary(view: &ReviewView) -> String {
    let total = &view.total;
    let likely = if total.likely.is_empty() { String::new() } else { format!(" Likely driver: {}.", total.likely) };
    let others: Vec<&str> = view.other_currencies.iter().map(Currency::as_str).collect();
    let others = match others.as_slice() {
        [] => String::new(),
        others => format!(" Revenue and cost in {} are not part of it.", others.join(", ")),
    };
    let unpriced = view.unpriced.words().map_or_else(String::new, |words| format!(" In the week {words}."));
    let partial = view.until.map_or_else(String::new, |until| {
        format!(" The week is not over: it is counted up to {until}, beside the whole of the week before.")
    });
    format!(
        "Revenue {} → {}, cost {} → {}, margin {} → {}.{partial}{likely}{unpriced}{others}",
        shown(total.revenue.0),
        shown(total.revenue.1),
        shown(total.cost.0),
        shown(total.cost.1),
        shown(total.margin.0),
        shown(total.margin.1)
    )
}

fn changes(key: &'static str, changes: &[Change]) -> Block {
    let row = |change: &Change| {
        let amounts = [change.revenue.1, change.cost.0, change.cost.1, change.margin.0, change.margin.1];
        let per_request = change.cost_per_request.1.map(|cost| cost.to_string()).unwrap_or_default();
        let numbers = amounts.map(shown).into_iter().chain([per_request, change.likely.clone()]);
        std::iter::once(change.key.clone()).chain(numbers).collect()
    };
    Block::Table {
        columns: vec![
            key,
            "#revenue",
            "#cost before",
            "#cost",
            "#margin before",
            "#margin",
            "#cost per request",
            "likely driver of the cost",
        ],
        rows: changes.iter().map(row).collect(),
    }
}

/// Changes of cost alone: no revenue belongs to a route or feature.
fn costs(key: &'static str, changes: &[Change]) -> Block {
    let row = |change: &Change| {
        let per_request = change.cost_per_request.1.map(|cost| cost.to_string()).unwrap_or_default();
        let key = if change.key.is_empty() { "(none)".to_owned() } else { change.key.clone() };
        vec![key, shown(change.cost.0), shown(change.cost.1), per_request, change.likely.clone()]
    };
    Block::Table {
        columns: vec![key, "#cost before", "#cost", "#cost per request", "likely driver of the cost"],
        rows: changes.iter().map(row).collect(),
    }
}

fn drift(drift: &[Drift]) -> Block {
    let row = |drift: &Drift| {
        let (before, after) = drift.cost_per_request;
        vec![
            drift.feature.clone(),
            drift.before.clone(),
            drift.after.clone(),
            drift.since.to_string(),
            before.to_string(),
            after.to_string(),
            format!("{} %", drift.ratio),
            if drift.marked { "costs more".to_owned() } else { String::new() },
        ]
    };
    Block::Table {
        columns: vec!["feature", "before", "after", "since", "#cost per request before", "#after", "#ratio", ""],
        rows: drift.iter().map(row).collect(),
    }
}

fn planned(planned: &[PlannedRow]) -> Block {
    let row = |row: &PlannedRow| {
        vec![
            row.tenant.clone(),
            row.of.clone(),
            shown(row.planned),
            shown(row.actual),
            row.reached.map_or(String::new(), |reached| format!("{reached} %")),
            format!("{} %", row.elapsed),
            if row.off { "off plan".to_owned() } else { String::new() },
        ]
    };
    Block::Table {
        columns: vec!["tenant", "of", "#planned", "#actual", "#reached", "#of the month over", ""],
        rows: planned.iter().map(row).collect(),
    }
}

/// An amount with two decimals.
fn shown(amount: Pico) -> String {
    let unit = crate::amount::PICO / 10_i128.pow(SHOWN_DECIMALS);
    let hundredths = divide(amount.0, unit);
    let sign = if hundredths < 0 { "-" } else { "" };
    format!("{sign}{}.{:02}", hundredths.unsigned_abs() / 100, hundredths.unsigned_abs() % 100)
}

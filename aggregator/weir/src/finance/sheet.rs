//! Answers as rows under columns, for tables and CSV.
use weir_money::amount::Pico;
use weir_money::compare::CompareView;
use weir_money::crossover::CrossoverView;
use weir_money::lifetime::LifetimeRow;
use weir_money::margin::MarginView;
use weir_money::ratio::Percent;
use weir_money::review::{Change, ReviewView};
use weir_money::whatif::WhatIfView;

use super::bill::BillView;

/// Rows under columns; a leading `#` marks columns of numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sheet {
    /// The columns.
    pub columns: Vec<&'static str>,
    /// The rows.
    pub rows: Vec<Vec<String>>,
}

fn optional<T: ToString>(value: Option<T>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

fn percent(value: Option<Percent>) -> String {
    optional(value)
}

/// A row for each key, then the sums.
pub fn margin(view: &MarginView) -> Sheet {
    let columns = vec![
        "key",
        "currency",
        "#revenue",
        "spread",
        "#LLM cost",
        "#other cost",
        "#margin",
        "#margin %",
        "#LLM cost %",
        "#failed and retried",
        "#requests",
        "#failed %",
        "#retry %",
        "#unpriced requests",
        "#unpriced tokens",
        "#unpriced %",
        "#estimated",
        "level",
    ];
    let rows = view.rows.iter().chain(&view.totals).map(|row| {
        vec![
            row.key.clone(),
            row.currency.to_string(),
            row.revenue.to_string(),
            if row.revenue_spread { "~".to_owned() } else { String::new() },
            row.llm_cost.to_string(),
            row.other_cost.to_string(),
            if row.revenue_unattributed { String::new() } else { row.margin.to_string() },
            percent(row.margin_percent),
            percent(row.llm_cost_percent),
            row.wasted_cost.to_string(),
            row.requests.to_string(),
            percent(row.failed_percent),
            percent(row.retry_percent),
            row.unpriced_requests.to_string(),
            row.unpriced_tokens.to_string(),
            percent(row.unpriced_percent),
            row.estimated_cost.to_string(),
            row.level.as_str().to_owned(),
        ]
    });
    Sheet { columns, rows: rows.collect() }
}

/// A row for each line, and the amount due.
pub fn bill(view: &BillView) -> Sheet {
    let mut rows = Vec::new();
    for bill in &view.bills {
        let currency = bill.currency.to_string();
        for line in &bill.lines {
            rows.push(vec![
                line.kind.as_str().to_owned(),
                line.meter.clone().unwrap_or_default(),
                line.plan.clone(),
                line.exact_quantity(),
                line.price.to_string(),
                line.amount.to_string(),
                currency.clone(),
            ]);
        }
        let sum = |name: &str, amount: Pico| {
            let empty = String::new;
            vec![name.to_owned(), empty(), empty(), empty(), empty(), amount.to_string(), currency.clone()]
        };
        rows.push(sum("total", bill.total));
        rows.push(sum("due", bill.due));
    }
    Sheet { columns: vec!["line", "meter", "plan", "#quantity", "#price", "#amount", "currency"], rows }
}

/// A row for each plan.
pub fn compare(view: &CompareView) -> Sheet {
    let columns = vec![
        "plan",
        "current",
        "currency",
        "#revenue",
        "#cost",
        "#other cost",
        "#margin",
        "#margin %",
        "level",
        "#more than now",
        "#spread %",
        "bills",
    ];
    let rows = view.plans.iter().map(|row| {
        let bills: Vec<String> = row.bills.iter().map(ToString::to_string).collect();
        vec![
            row.plan.clone(),
            if row.current { "yes".to_owned() } else { String::new() },
            row.currency.to_string(),
            row.revenue.to_string(),
            row.cost.to_string(),
            row.other_cost.to_string(),
            row.margin.to_string(),
            percent(row.margin_percent),
            row.level.as_str().to_owned(),
            optional(row.more_than_current),
            percent(row.spread_percent),
            bills.join(" "),
        ]
    });
    Sheet { columns, rows: rows.collect() }
}

/// A row for each model.
pub fn whatif(view: &WhatIfView) -> Sheet {
    let rows = view.models.iter().map(|row| {
        vec![
            row.model.clone(),
            row.requests_before.to_string(),
            row.requests_after.to_string(),
            row.cost_before.to_string(),
            row.cost_after.to_string(),
        ]
    });
    Sheet { columns: vec!["model", "#requests", "#requests then", "#cost", "#cost then"], rows: rows.collect() }
}

/// A row for each month that is compared.
pub fn crossover(view: &CrossoverView) -> Sheet {
    let columns = vec!["#requests", "#API", "#own GPUs", "#replicas", "#capacity", "#saved", "#saved %"];
    let rows = view.months.iter().map(|month| {
        vec![
            month.requests.to_string(),
            month.api_cost.to_string(),
            month.own_cost.to_string(),
            month.replicas.to_string(),
            month.capacity.to_string(),
            month.saved.to_string(),
            percent(month.saved_percent),
        ]
    });
    Sheet { columns, rows: rows.collect() }
}

/// The points of both curves.
pub fn curve(view: &CrossoverView) -> Sheet {
    let point = |(requests, api, own): &(u64, Pico, Pico)| vec![requests.to_string(), api.to_string(), own.to_string()];
    Sheet { columns: vec!["#requests", "#API", "#own GPUs"], rows: view.curve.iter().map(point).collect() }
}

/// A row for each tenant.
pub fn lifetime(view: &[LifetimeRow]) -> Sheet {
    let columns = vec![
        "tenant",
        "created",
        "first answer",
        "#seconds to it",
        "currency",
        "#revenue",
        "#lifetime value",
        "#acquisition cost",
        "#ratio %",
        "",
    ];
    let rows = view.iter().map(|row| {
        vec![
            row.tenant.clone(),
            optional(row.created_at),
            optional(row.first_answer),
            optional(row.seconds_to_first_answer),
            optional(row.currency),
            optional(row.revenue),
            optional(row.lifetime_value),
            optional(row.acquisition_cost),
            percent(row.ratio),
            match (row.below, row.stated) {
                (true, true) => "below 3:1, as readings say".to_owned(),
                (true, false) => "below 3:1".to_owned(),
                (false, true) => "as readings say".to_owned(),
                (false, false) => String::new(),
            },
        ]
    });
    Sheet { columns, rows: rows.collect() }
}

/// Every change of a review: which list it stands in, and its numbers.
pub fn review(view: &ReviewView) -> Sheet {
    let columns = vec![
        "list",
        "key",
        "#revenue before",
        "#revenue",
        "#cost before",
        "#cost",
        "#margin before",
        "#margin",
        "#requests before",
        "#requests",
        "likely driver",
    ];
    let total = std::slice::from_ref(&view.total);
    let lists: [(&str, &[Change]); 5] = [
        ("total", total),
        ("spend", &view.by_spend),
        ("change", &view.by_change),
        ("workflow", &view.workflows),
        ("feature", &view.features),
    ];
    let row = |list: &str, change: &Change| {
        vec![
            list.to_owned(),
            if change.key.is_empty() { "(none)".to_owned() } else { change.key.clone() },
            change.revenue.0.to_string(),
            change.revenue.1.to_string(),
            change.cost.0.to_string(),
            change.cost.1.to_string(),
            change.margin.0.to_string(),
            change.margin.1.to_string(),
            change.requests.0.to_string(),
            change.requests.1.to_string(),
            change.likely.clone(),
        ]
    };
    let rows = lists.iter().flat_map(|(list, changes)| changes.iter().map(|change| row(list, change)));
    Sheet { columns, rows: rows.collect() }
}

//! How all tenants stand this month: margins and budgets; and margins of earlier months.
use std::collections::{BTreeMap, HashMap};

use weir_contract::Timestamp;
use weir_money::margin::{MarginRow, MarginView};
use weir_steer::engine::Rules;
use weir_steer::view::{self, BudgetView, MostUsed, Use};

use super::span::Month;
use crate::budgets::BudgetQuery;
use crate::finance::query::MarginQuery;
use crate::finance::{Finance, FinanceError};
use crate::server::App;
use crate::server::error::ApiError;
use crate::server::finance::with_finance;

/// The most tenants and shared budgets whose use is kept, some megabytes; that of others is read for the page.
const BUDGETS_KEPT: usize = 100_000;

/// A span of time.
type Span = (Timestamp, Timestamp);

/// All tenants at one moment.
#[derive(Debug)]
pub(super) struct Standing {
    /// Margins by tenant since the start of the month.
    pub(super) margin: MarginView,
    /// The places of a tenant's rows in it: one for each currency.
    rows: HashMap<String, Vec<usize>>,
    /// How far each tenant has used the budget that it has used most of.
    budgets: HashMap<String, Use>,
    /// Whether there are more budgets than those.
    has_more_budgets: bool,
}

/// Figures of single tenants that those of all have no room for.
#[derive(Debug, Default)]
pub(super) struct Rest {
    rows: HashMap<String, Vec<MarginRow>>,
    budgets: HashMap<String, Use>,
}

impl Standing {
    /// What is known before anything was read.
    pub(super) fn unknown() -> Self {
        let (rows, budgets, now) = (HashMap::new(), HashMap::new(), Timestamp::default());
        Standing {
            margin: MarginView::new("tenant", now, now, BTreeMap::new()),
            rows,
            budgets,
            has_more_budgets: false,
        }
    }

    /// A tenant's rows: one for each currency.
    pub(super) fn of<'a>(&'a self, rest: &'a Rest, tenant: &str) -> impl Iterator<Item = &'a MarginRow> {
        let places = self.rows.get(tenant).map_or(&[][..], Vec::as_slice);
        let rest = rest.rows.get(tenant).map_or(&[][..], Vec::as_slice);
        places.iter().filter_map(|place| self.margin.rows.get(*place)).chain(rest)
    }

    /// The budget that a tenant has used most of.
    pub(super) fn budget(&self, rest: &Rest, tenant: &str) -> Option<Use> {
        self.budgets.get(tenant).or_else(|| rest.budgets.get(tenant)).copied()
    }

    /// The figures of those of these tenants, at most a page, that are not among the figures of all.
    pub(super) async fn rest(&self, app: &App, tenants: &[String]) -> Result<Rest, ApiError> {
        let lacking = |is_known: &dyn Fn(&str) -> bool, has_more: bool| -> Vec<String> {
            if !has_more {
                return Vec::new();
            }
            tenants.iter().filter(|tenant| !is_known(tenant)).cloned().collect()
        };
        let of_rows = lacking(&|tenant| self.rows.contains_key(tenant), self.margin.left_out > 0);
        let of_budgets = lacking(&|tenant| self.budgets.contains_key(tenant), self.has_more_budgets);
        if of_rows.is_empty() && of_budgets.is_empty() {
            return Ok(Rest::default());
        }
        let rules = app.0.budgets.rules();
        let span = (self.margin.from, self.margin.to);
        with_finance(app, move |finance| rest_of(finance, &rules, (of_rows, span), of_budgets)).await
    }
}

fn rest_of(
    finance: &mut Finance,
    rules: &Rules,
    (of_rows, span): (Vec<String>, Span),
    of_budgets: Vec<String>,
) -> Result<Rest, FinanceError> {
    let rows = rows_of(finance, of_rows, span)?;
    let mut budgets = HashMap::new();
    for tenant in of_budgets {
        let query = BudgetQuery { tenant: Some(tenant.clone()), stage: None };
        // A tenant that nobody knows any more has no budget.
        let of_tenant = crate::budgets::budgets(&mut finance.reader, rules, &query, finance.now)?.unwrap_or_default();
        let own = of_tenant.iter().filter(|budget| budget.subject == tenant);
        let used = own.map(BudgetView::use_of).max_by_key(|used| used.weight());
        budgets.extend(used.map(|used| (tenant, used)));
    }
    Ok(Rest { rows, budgets })
}

fn rows_of(
    finance: &mut Finance,
    tenants: Vec<String>,
    (from, to): Span,
) -> Result<HashMap<String, Vec<MarginRow>>, FinanceError> {
    let of = |tenant: String| {
        let span = MarginQuery { from: Some(from), to: Some(to), ..MarginQuery::default() };
        let view = finance.margin(&MarginQuery { tenant: Some(tenant.clone()), ..span })?;
        Ok((tenant, view.rows))
    };
    tenants.into_iter().map(of).collect()
}

/// Reads how tenants stand this month; or what they brought in and cost in an earlier one, of which budgets say nothing.
pub(super) fn read(finance: &mut Finance, rules: &Rules, month: &str) -> Result<Standing, FinanceError> {
    let month = Month::read(month, finance.now).map_err(|error| FinanceError::Question(error.to_string()))?;
    let margin = finance.margin(&month.query(MarginQuery::default()))?;
    let mut rows: HashMap<String, Vec<usize>> = HashMap::new();
    for (place, row) in margin.rows.iter().enumerate() {
        rows.entry(row.key.clone()).or_default().push(place);
    }
    let most_used = match month.is_over() {
        true => MostUsed::default(),
        false => view::most_used(finance.reader.db(), rules, finance.now, BUDGETS_KEPT)?,
    };
    Ok(Standing { margin, rows, budgets: most_used.by_subject, has_more_budgets: most_used.has_more })
}

//! How all tenants stand this month: margins and budgets, read at most every ten seconds however many people look.
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use weir_contract::stage::Stage;
use weir_money::margin::{MarginRow, MarginView};
use weir_steer::view;

use crate::budgets::BudgetQuery;
use crate::finance::query::MarginQuery;
use crate::finance::{Finance, FinanceError};
use crate::server::error::ApiError;
use crate::server::finance::with_finance;
use crate::server::{App, budgets};

/// How long what was read is shown.
const KEPT: Duration = Duration::from_secs(10);

/// What was read last, and when.
#[derive(Debug, Default)]
pub(super) struct Standings(Mutex<Option<(Duration, Arc<Standing>)>>);

/// All tenants at one moment.
#[derive(Debug)]
pub(super) struct Standing {
    /// Margins by tenant since the start of the month.
    pub(super) margin: MarginView,
    /// The places of a tenant's rows in it: one for each currency.
    rows: HashMap<String, Vec<usize>>,
    /// The budget that each tenant has used most of, in thousandths, and its stage.
    budgets: HashMap<String, (u32, Stage)>,
    /// Whether there are more budgets than those.
    has_more_budgets: bool,
}

/// Figures of single tenants that those of all have no room for.
#[derive(Debug, Default)]
pub(super) struct Rest {
    rows: HashMap<String, Vec<MarginRow>>,
    budgets: HashMap<String, (u32, Stage)>,
}

impl Standing {
    /// A tenant's rows: one for each currency.
    pub(super) fn of<'a>(&'a self, rest: &'a Rest, tenant: &str) -> impl Iterator<Item = &'a MarginRow> {
        let places = self.rows.get(tenant).map_or(&[][..], Vec::as_slice);
        let rest = rest.rows.get(tenant).map_or(&[][..], Vec::as_slice);
        places.iter().filter_map(|place| self.margin.rows.get(*place)).chain(rest)
    }

    /// The budget that a tenant has used most of.
    pub(super) fn budget(&self, rest: &Rest, tenant: &str) -> Option<(u32, Stage)> {
        self.budgets.get(tenant).or_else(|| rest.budgets.get(tenant)).copied()
    }

    /// The figures of those of these tenants, at most a page, that are not among the figures of all.
    pub(super) async fn rest(&self, app: &App, tenants: &[String]) -> Result<Rest, ApiError> {
        let mut rest = Rest::default();
        let lacks = |known: bool, has_more: bool| has_more && !known;
        let unknown = |tenant: &&String| lacks(self.rows.contains_key(*tenant), self.margin.left_out > 0);
        let asked: Vec<String> = tenants.iter().filter(unknown).cloned().collect();
        if !asked.is_empty() {
            rest.rows = with_finance(app, move |finance| rows_of(finance, asked)).await?;
        }
        for tenant in tenants.iter().filter(|of| lacks(self.budgets.contains_key(*of), self.has_more_budgets)) {
            let query = BudgetQuery { tenant: Some(tenant.clone()), stage: None };
            let own = budgets::list(app, query).await?.budgets.into_iter().find(|budget| budget.subject == *tenant);
            rest.budgets.extend(own.map(|budget| (budget.subject, (budget.used_permille, budget.stage))));
        }
        Ok(rest)
    }
}

fn rows_of(finance: &mut Finance, tenants: Vec<String>) -> Result<HashMap<String, Vec<MarginRow>>, FinanceError> {
    let of = |tenant: String| {
        let view = finance.margin(&MarginQuery { tenant: Some(tenant.clone()), ..MarginQuery::default() })?;
        Ok((tenant, view.rows))
    };
    tenants.into_iter().map(of).collect()
}

/// How tenants stand now, or did a few seconds ago. Who asks while others read waits for what they find.
pub(super) async fn now(app: &App) -> Result<Arc<Standing>, ApiError> {
    let mut kept = app.0.ui.standing.0.lock().await;
    let now = app.0.clock.elapsed();
    if let Some((at, standing)) = &*kept
        && now.saturating_sub(*at) < KEPT
    {
        return Ok(Arc::clone(standing));
    }
    let margin = with_finance(app, |finance| finance.margin(&MarginQuery::default())).await?;
    let mut rows: HashMap<String, Vec<usize>> = HashMap::new();
    for (place, row) in margin.rows.iter().enumerate() {
        rows.entry(row.key.clone()).or_default().push(place);
    }
    let mut used: HashMap<String, (u32, Stage)> = HashMap::new();
    let budgets = budgets::list(app, BudgetQuery::default()).await?.budgets;
    let has_more_budgets = budgets.len() >= view::ROWS_MAX as usize;
    // The most used come first.
    for budget in budgets {
        used.entry(budget.subject).or_insert((budget.used_permille, budget.stage));
    }
    let standing = Arc::new(Standing { margin, rows, budgets: used, has_more_budgets });
    *kept = Some((now, Arc::clone(&standing)));
    Ok(standing)
}

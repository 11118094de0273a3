//! How all tenants stand this month: margins and budgets, read at most every ten seconds however many people look.
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use weir_contract::stage::Stage;
use weir_money::margin::{MarginRow, MarginView};

use crate::budgets::BudgetQuery;
use crate::finance::query::MarginQuery;
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
}

impl Standing {
    /// A tenant's rows: one for each currency.
    pub(super) fn of(&self, tenant: &str) -> impl Iterator<Item = &MarginRow> {
        let places = self.rows.get(tenant).map_or(&[][..], Vec::as_slice);
        places.iter().filter_map(|place| self.margin.rows.get(*place))
    }

    /// The budget that a tenant has used most of.
    pub(super) fn budget(&self, tenant: &str) -> Option<(u32, Stage)> {
        self.budgets.get(tenant).copied()
    }
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
    // The most used come first.
    for budget in budgets::list(app, BudgetQuery::default()).await?.budgets {
        used.entry(budget.subject).or_insert((budget.used_permille, budget.stage));
    }
    let standing = Arc::new(Standing { margin, rows, budgets: used });
    *kept = Some((now, Arc::clone(&standing)));
    Ok(standing)
}

//! The figures that the dashboard keeps, and the task that reads them again.
use std::time::Duration;

use tokio::time::sleep;
use weir_money::document::Document;
use weir_steer::view::BudgetView;

use super::drift::Drift;
use super::kept::Kept;
use super::limits::Refused;
use super::money::{self, Margins};
use super::standing::{self, Standing};
use super::{budgets, drift, limits};
use crate::server::App;

/// How often to look for what is to be read again.
const EVERY: Duration = Duration::from_secs(1);

/// All figures that are kept.
#[derive(Debug)]
pub(super) struct Everything {
    /// How all tenants stand.
    pub(super) standing: Kept<Standing>,
    /// Revenue, cost and margin of the month, by dimension.
    pub(super) margins: Kept<Margins>,
    /// Reviews, by week.
    pub(super) reviews: Kept<Document>,
    /// The most used budgets, by the least stage.
    pub(super) budgets: Kept<Vec<BudgetView>>,
    /// Costs of requests against the weeks before.
    pub(super) drift: Kept<Drift>,
    /// The refusals of the last day.
    pub(super) refusals: Kept<Refused>,
}

impl Default for Everything {
    fn default() -> Self {
        Everything {
            standing: Kept::new(standing::read),
            margins: Kept::new(money::read_margins),
            reviews: Kept::new(money::read_review),
            budgets: Kept::new(budgets::read),
            drift: Kept::new(drift::read),
            refusals: Kept::new(limits::read),
        }
    }
}

impl Everything {
    /// How many answers are kept.
    pub(super) fn count(&self) -> usize {
        let Everything { standing, margins, reviews, budgets, drift, refusals } = self;
        let of_tenants = standing.count() + margins.count() + reviews.count();
        of_tenants + budgets.count() + drift.count() + refusals.count()
    }
}

/// Reads again what is due, for as long as the server runs.
pub(in crate::server) async fn follow(app: App) {
    let kept = || &app.0.ui.kept;
    loop {
        sleep(EVERY).await;
        kept().standing.read_again(&app).await;
        kept().margins.read_again(&app).await;
        kept().reviews.read_again(&app).await;
        kept().budgets.read_again(&app).await;
        kept().drift.read_again(&app).await;
        kept().refusals.read_again(&app).await;
    }
}

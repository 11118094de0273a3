//! Answers about money: reads the ledger's sums, replays price plans over them, and hands both to `weir-money`.
//!
//! Server and commands ask the same functions. Nothing here scans events: every number comes from sums.
pub mod bill;
mod budgeted;
mod compare;
mod cost;
mod crossover;
pub(crate) mod drift;
mod lifetime;
mod margin;
mod models;
pub mod query;
mod revenue;
mod review;
pub mod sheet;
mod spans;
pub mod stripe_prices;
mod watched;
mod whatif;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use weir_contract::Timestamp;
use weir_ledger::LedgerError;
use weir_ledger::cost_query::CostError;
use weir_ledger::periods::Anchor;
use weir_ledger::query::LedgerReader;
use weir_ledger::tenant_plans::PlanHistories;
use weir_ledger::validate::AHEAD_MAX_MS;
use weir_ledger::view::cost::CostRow;
use weir_money::crossover::CrossoverError;
use weir_money::margin::Unpriced;
use weir_money::other::OtherCost;
use weir_money::plans::{Charge, PricePlan, Pricing};
use weir_money::prices::Book;
use weir_money::weeks::WeekError;
use weir_money::whatif::WhatIfError;
use weir_tenants::Snapshot;

use crate::config::finances::Finances;

/// Everything that an answer about money rests on.
#[derive(Debug)]
pub struct Finance {
    /// The ledger.
    pub reader: LedgerReader,
    /// What tenants pay, and what is planned.
    pub finances: Arc<Finances>,
    /// Costs that no request causes.
    pub other_costs: Vec<OtherCost>,
    /// The tenants and their plans.
    pub tenants: Arc<Snapshot>,
    /// What providers charge, if prices are configured.
    pub prices: Option<Arc<Book>>,
    /// The present.
    pub now: Timestamp,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum FinanceError {
    /// The ledger cannot be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The question names no dimension, or asks for too much.
    #[error(transparent)]
    Cost(#[from] CostError),
    /// The question is not valid; says what would be.
    #[error("{0}")]
    Question(String),
    /// The question names something that does not exist.
    #[error("{0}")]
    Unknown(String),
    /// The parts of the question contradict each other, or there is nothing to answer from.
    #[error("{0}")]
    Conflict(String),
}

impl From<WeekError> for FinanceError {
    fn from(error: WeekError) -> Self {
        FinanceError::Question(error.to_string())
    }
}

impl From<WhatIfError> for FinanceError {
    fn from(error: WhatIfError) -> Self {
        match error {
            WhatIfError::NoTraffic | WhatIfError::Unpriced(_) => FinanceError::Conflict(error.to_string()),
            WhatIfError::Mix(_) | WhatIfError::Cache(_) | WhatIfError::NoModel(..) => {
                FinanceError::Question(error.to_string())
            }
        }
    }
}

impl From<CrossoverError> for FinanceError {
    fn from(error: CrossoverError) -> Self {
        FinanceError::Conflict(error.to_string())
    }
}

impl Finance {
    /// A span: from the start of this calendar month to now, where the question does not say. It ends now at the latest: nothing has been
    /// used since, so fees of days to come would stand beside no cost.
    fn span(&self, from: Option<Timestamp>, to: Option<Timestamp>) -> Result<(Timestamp, Timestamp), FinanceError> {
        let asked = to.unwrap_or(self.now);
        let to = asked.min(self.now);
        let month = || Anchor::default().period(to).start;
        let from = from.unwrap_or_else(month);
        if from < to {
            return Ok((from, to));
        }
        Err(FinanceError::Conflict(if from < asked {
            format!("the span begins at {from}, which is in the future: it is {}", self.now)
        } else {
            format!("the span ends at {asked}, before or where it begins: {from}")
        }))
    }

    /// Says that a span was cut because it reached into the future.
    fn note_future(&self, to: Option<Timestamp>) -> Option<String> {
        let now = self.now;
        to.filter(|to| *to > now).map(|_| format!("the span ends now, at {now}: what follows has not been used yet"))
    }

    /// Usage of a span without a price: sums of cost lack its cost.
    fn unpriced_usage(
        &mut self,
        tenant: Option<&str>,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Unpriced, FinanceError> {
        let rows = self.reader.tenant_costs(tenant, from, to)?;
        let of = |row: &CostRow| Unpriced { requests: row.sums.unpriced_requests, tokens: row.sums.unpriced_tokens };
        Ok(rows.iter().map(of).sum())
    }

    /// Where billing periods of one tenant or of all begin: as the tenants file says, else as the ledger knows from the provider.
    fn anchors(&mut self, tenant: Option<&str>) -> Result<HashMap<String, Anchor>, FinanceError> {
        let mut anchors = self.reader.anchors(tenant)?;
        let said = self.tenants.anchors();
        match tenant {
            Some(tenant) => anchors.extend(said.get(tenant).map(|anchor| (tenant.to_owned(), *anchor))),
            None => anchors.extend(said.iter().map(|(tenant, anchor)| (tenant.clone(), *anchor))),
        }
        Ok(anchors)
    }

    /// The plans of one tenant or of all over time, up to the present.
    fn plan_histories(&mut self, tenant: Option<&str>) -> Result<PlanHistories, FinanceError> {
        let mut histories = self.reader.plan_histories(tenant)?;
        let now = tenant.map_or_else(|| self.tenants.plans_now(), |tenant| self.tenants.plan_now(tenant));
        now.complete(&mut histories, self.now);
        Ok(histories)
    }

    /// The plan of a tenant in the tenants file.
    fn plan_of(&self, tenant: &str) -> Option<&str> {
        self.tenants.plans().get(tenant).map(String::as_str)
    }

    /// The price plan that applies to a tenant now.
    fn price_plan(&self, tenant: &str) -> Option<&PricePlan> {
        self.finances.plans.of(tenant, self.plan_of(tenant), self.now)
    }

    /// Units of a billing period that a tenant's price plan includes, by meter.
    pub(crate) fn included(&self, tenant: &str) -> BTreeMap<String, u64> {
        let charges = self.price_plan(tenant).map_or(&[][..], |plan| &plan.charges);
        let of = |charge: &Charge| match &charge.pricing {
            Pricing::PerUnit { included, .. } => Some((charge.meter.clone(), *included)),
            Pricing::Graduated(_) | Pricing::Volume(_) => None,
        };
        charges.iter().filter_map(of).filter(|(_, included)| *included > 0).collect()
    }

    /// Refuses a tenant that nobody knows.
    pub(crate) fn check_tenant(&mut self, tenant: &str) -> Result<(), FinanceError> {
        let is_known = self.tenants.knows(tenant) || self.plan_histories(Some(tenant))?.contains_key(tenant);
        if is_known || self.reader.first_windows(Some(tenant))?.contains_key(tenant) {
            return Ok(());
        }
        // Requests of which nothing is billable have a cost, or lack a price.
        let ever = (Timestamp::default(), self.now.plus_millis(AHEAD_MAX_MS));
        if !self.reader.tenant_costs(Some(tenant), ever.0, ever.1)?.is_empty() {
            return Ok(());
        }
        Err(FinanceError::Unknown(format!("no usage of a tenant {tenant:?} is known, and there is none of that name")))
    }
}

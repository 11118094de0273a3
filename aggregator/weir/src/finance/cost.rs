//! `weir cost`: what requests cost, and costs that no request causes.
use weir_ledger::view::cost::{CostQuery, CostRow, PricedQuery, PricedRow};
use weir_money::other::OtherCostRow;

use super::{Finance, FinanceError};
use crate::money::{OtherQuery, other_costs};

impl Finance {
    /// Costs by tenant, or by dimensions.
    pub fn cost(&mut self, query: &CostQuery) -> Result<Vec<CostRow>, FinanceError> {
        let rows = self.reader.cost(query)??;
        self.check_answer(query.tenant.as_deref(), &rows)?;
        Ok(rows)
    }

    /// Units and costs by model.
    pub fn priced(&mut self, query: &PricedQuery) -> Result<Vec<PricedRow>, FinanceError> {
        let rows = self.reader.priced(query)??;
        self.check_answer(query.tenant.as_deref(), &rows)?;
        Ok(rows)
    }

    /// Costs that no request causes, after spreading.
    pub fn other_costs(&mut self, query: &OtherQuery) -> Result<Vec<OtherCostRow>, FinanceError> {
        let rows = other_costs(&mut self.reader, &self.other_costs, query)??;
        self.check_answer(query.tenant.as_deref(), &rows)?;
        Ok(rows)
    }

    /// Refuses an answer without rows about a tenant that nobody knows: a slip in its name would look like a tenant that costs nothing.
    fn check_answer<R>(&mut self, tenant: Option<&str>, rows: &[R]) -> Result<(), FinanceError> {
        match tenant {
            Some(tenant) if rows.is_empty() => self.check_tenant(tenant),
            _ => Ok(()),
        }
    }
}

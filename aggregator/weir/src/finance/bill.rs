//! `weir bill`: the replay of one billing period, line by line.
use serde::{Deserialize, Serialize};
use weir_contract::Timestamp;
use weir_ledger::periods::Period;
use weir_money::amount::{Currency, Pico};
use weir_money::exact::{Exact, minor_digits};
use weir_money::margin::Unpriced;
use weir_money::revenue::{Line, LineKind};

use super::query::BillQuery;
use super::{Finance, FinanceError};

/// Answer to `GET /v1/bill`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BillView {
    /// The tenant.
    pub tenant: String,
    /// The billing period's start.
    pub from: Timestamp,
    /// Its end.
    pub to: Timestamp,
    /// True if the period is over.
    pub closed: bool,
    /// A bill for each currency.
    pub bills: Vec<CurrencyBill>,
    /// Usage without a price, where a plan multiplies cost: the bill lacks its part.
    #[serde(default, skip_serializing_if = "Unpriced::is_none")]
    pub unpriced: Unpriced,
    /// What the reader should know about the bill.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// A bill in one currency.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CurrencyBill {
    /// The currency.
    pub currency: Currency,
    /// The lines.
    pub lines: Vec<Line>,
    /// Their exact sum.
    pub total: Pico,
    /// The amount due: each line rounded to the currency's smallest unit.
    pub due: Pico,
}

impl Finance {
    /// The bill of a tenant's billing period, up to now if the period is not over.
    pub fn bill(&mut self, query: &BillQuery) -> Result<BillView, FinanceError> {
        let tenant = query.tenant.as_str();
        self.check_tenant(tenant)?;
        let at = query.at.unwrap_or(self.now);
        let anchor = self.anchors(Some(tenant))?.get(tenant).copied().unwrap_or_default();
        let period = anchor.period(at);
        let until = period.end.min(self.now).max(period.start);
        let finances = std::sync::Arc::clone(&self.finances);
        let replays = self.replays(&finances.plans, Some(tenant), period.start, period.end)?;
        let sums = self.sums(&replays, &[until])?;
        let mut bills = Vec::new();
        for replay in replays.iter().filter(|replay| replay.period == period) {
            for (currency, bill) in sums.bill(replay, until) {
                let due = due(&bill.lines, currency);
                bills.push(CurrencyBill { currency, total: bill.total, due, lines: bill.lines });
            }
        }
        let rests_on_cost = bills.iter().flat_map(|bill| &bill.lines).any(|line| line.kind == LineKind::CostPlus);
        let unpriced =
            if rests_on_cost { self.unpriced_usage(Some(tenant), period.start, until)? } else { Unpriced::default() };
        let closed = period.end <= self.now;
        let notes = if bills.is_empty() { vec![self.why_no_bill(tenant, period)] } else { Vec::new() };
        Ok(BillView { tenant: tenant.to_owned(), from: period.start, to: period.end, closed, bills, unpriced, notes })
    }

    /// The reason for an empty bill.
    fn why_no_bill(&self, tenant: &str, period: Period) -> String {
        if period.start > self.now {
            return "the period has not begun".to_owned();
        }
        if self.finances.plans.is_empty() {
            return "there are no `price_plans` in the configuration".to_owned();
        }
        match (self.price_plan(tenant), self.plan_of(tenant)) {
            (Some(plan), _) => format!("the price plan {} did not apply to the tenant in this period", plan.name),
            (None, Some(plan)) => format!(
                "no price plan applies: add the tenant's plan {plan:?} to `plans` of a price plan, or the tenant to `tenants`"
            ),
            (None, None) => "no price plan applies: the tenant has no plan, so name the tenant under \
                             `tenants` of a price plan"
                .to_owned(),
        }
    }
}

fn due(lines: &[Line], currency: Currency) -> Pico {
    let minor: i128 = lines.iter().map(|line| line.amount.minor_units(currency)).sum();
    Pico(minor.saturating_mul(weir_money::amount::PICO / 10_i128.pow(minor_digits(currency))))
}

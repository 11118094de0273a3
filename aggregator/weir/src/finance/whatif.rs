//! `weir whatif`.
use std::collections::BTreeMap;

use weir_contract::Timestamp;
use weir_ledger::periods::Anchor;
use weir_money::amount::{Currency, Pico};
use weir_money::other::Purpose;
use weir_money::ratio::Percent;
use weir_money::whatif::{self, MeasuredTime, Scenario, TenantMonth, WhatIfView};

use super::query::WhatIfQuery;
use super::{Finance, FinanceError};

/// The most calendar months of one scenario.
const MONTHS_MAX: usize = 24;

impl Finance {
    /// The measured traffic under other conditions.
    pub fn whatif(&mut self, query: &WhatIfQuery) -> Result<WhatIfView, FinanceError> {
        let (from, to) = self.span(query.from, query.to)?;
        let tenant = query.tenant.as_deref();
        if let Some(tenant) = tenant {
            self.check_tenant(tenant)?;
        }
        let scenario = scenario(query)?;
        let currency = self.currency(query.currency.as_deref(), tenant, from, to)?;
        let models = self.models(tenant, currency, (from, to), |_| true)?;
        let months = self.tenant_months(tenant, currency, from, to)?;
        let other = self.other(tenant, from, to, Purpose::Running)?;
        let other_cost = other.into_iter().filter(|((_, of), _)| *of == currency).map(|(_, cost)| cost).sum();
        let listed =
            |model: &str| self.listed("", model, to).filter(|(listed, _)| *listed == currency).map(|(_, rates)| rates);
        let time = MeasuredTime { models: &models, months: &months, currency, other_cost };
        let mut view = whatif::compute(&scenario, &time, &listed)?;
        view.unpriced = self.unpriced_usage(tenant, from, to)?;
        view.assumptions.extend(self.note_future(query.to));
        Ok(view)
    }

    /// Cost and revenue of each tenant in each calendar month of a span.
    fn tenant_months(
        &mut self,
        tenant: Option<&str>,
        currency: Currency,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<TenantMonth>, FinanceError> {
        let mut all = Vec::new();
        let mut start = from;
        for number in 0.. {
            if start >= to {
                break;
            }
            if number >= MONTHS_MAX {
                return Err(FinanceError::Conflict(format!("more than {MONTHS_MAX} months; choose a later `from`")));
            }
            let end = Anchor::default().period(start).end.min(to);
            let mut months: BTreeMap<String, TenantMonth> = BTreeMap::new();
            for row in
                self.reader.tenant_costs(tenant, start, end)?.into_iter().filter(|row| row.currency == Some(currency))
            {
                months.entry(row.tenant).or_default().cost += row.sums.cost;
            }
            for ((tenant, _), revenue) in
                self.revenue(tenant, start, end)?.into_iter().filter(|((_, of), _)| *of == currency)
            {
                months.entry(tenant).or_default().revenue += revenue;
            }
            all.extend(months.into_values());
            start = end;
        }
        Ok(all)
    }
}

fn scenario(query: &WhatIfQuery) -> Result<Scenario, FinanceError> {
    Ok(Scenario {
        mix: query.mix.as_deref().map(|mix| shares("mix", mix)).transpose()?.unwrap_or_default(),
        prices: query.price.as_deref().map(|price| shares("price", price)).transpose()?.unwrap_or_default(),
        cache: query.cache.as_deref().map(|cache| percent("cache", cache)).transpose()?,
        cap: query.cap.as_deref().map(|cap| amount("cap", cap)).transpose()?,
        revenue: query.revenue.as_deref().map(|revenue| percent("revenue", revenue)).transpose()?,
    })
}

/// Reads `large=30,small=70`.
fn shares(field: &str, text: &str) -> Result<BTreeMap<String, Percent>, FinanceError> {
    let pair = |pair: &str| {
        let wrong =
            || FinanceError::Question(format!("{field}: {pair:?} is no model and share; write such as gpt-5=30"));
        let (model, share) = pair.rsplit_once('=').ok_or_else(wrong)?;
        Ok((model.trim().to_owned(), percent(field, share)?))
    };
    text.split(',').map(pair).collect()
}

pub(super) fn percent(field: &str, text: &str) -> Result<Percent, FinanceError> {
    let wrong = || FinanceError::Question(format!("{field}: {text:?} is no percentage; write a decimal such as 12.5"));
    Percent::parse(text.trim()).ok_or_else(wrong)
}

pub(super) fn amount(field: &str, text: &str) -> Result<Pico, FinanceError> {
    let wrong = || FinanceError::Question(format!("{field}: {text:?} is no amount; write a decimal such as 12.5"));
    Pico::parse(text.trim()).filter(|amount| *amount >= Pico::ZERO).ok_or_else(wrong)
}

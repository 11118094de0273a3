//! Measures what the rules of alerts compare: sums of money and requests, budgets, and the installation itself.
use std::collections::{BTreeMap, HashMap};

use weir_contract::Timestamp;
use weir_contract::stage::Stage;
use weir_ledger::LedgerError;
use weir_ledger::amount::{PICO, Pico};
use weir_ledger::query::LedgerReader;
use weir_steer::alert::deploy::{self, Boundary, Deploy, Marks};
use weir_steer::alert::evaluate::{self, Findings, Reading, Span, Spans};
use weir_steer::alert::file::{Kind, Quantity};
use weir_steer::alert::rule::{Earlier, Rule};
use weir_steer::engine;
use weir_steer::subject;
use weir_steer::view::{self, BudgetView};
use weir_stripe::status::StatusView;

use crate::finance::Finance;

/// A budget is forecast once so much of its period is over, in percent.
const FORECAST_FROM_PERCENT: u64 = 10;

/// Everything that rules are compared with.
#[derive(Debug)]
pub(crate) struct Measurer<'a> {
    /// Sums of money and requests.
    pub finance: &'a mut Finance,
    /// The budgets in force.
    pub budgets: &'a engine::Rules,
    /// How billing stands, if it is configured.
    pub billing: Option<&'a StatusView>,
    /// The marks of deploys, the latest first.
    deploys: Vec<Deploy>,
    /// The spans that were read already.
    spans: HashMap<SpanKey, Option<Span>>,
}

/// Which sums: by, tenant, from, to.
type SpanKey = (Option<String>, Option<String>, Timestamp, Timestamp);

impl<'a> Measurer<'a> {
    pub(crate) fn new(
        finance: &'a mut Finance,
        budgets: &'a engine::Rules,
        billing: Option<&'a StatusView>,
    ) -> Result<Self, LedgerError> {
        let deploys = deploy::heeded(finance.reader.db(), finance.now)?;
        Ok(Measurer { finance, budgets, billing, deploys, spans: HashMap::new() })
    }

    /// What a rule finds; None if it cannot be measured now, so that nothing changes.
    pub(crate) fn evaluate(&mut self, rule: &Rule) -> Result<Option<Findings>, LedgerError> {
        match rule.kind {
            Kind::Sums => Ok(self.of_sums(rule)),
            Kind::Budgets => {
                let readings = forecasts(&mut self.finance.reader, self.budgets, self.finance.now)?;
                Ok(Some(evaluate::of_readings(rule, &readings)))
            }
            Kind::System => {
                let readings = self.system(rule)?;
                Ok(Some(evaluate::of_readings(rule, &readings)))
            }
        }
    }

    fn of_sums(&mut self, rule: &Rule) -> Option<Findings> {
        let now = self.finance.now;
        let usual = Boundary::without(rule, now);
        let window = self.span(rule, usual.window_start, now)?;
        let deploys = if rule.heeds_deploys() { self.deploys.clone() } else { Vec::new() };
        let last = |subject: &str| deploy::last(&deploys, rule, subject, now);
        // By number. A window that begins at a deploy has no subject that the usual one lacks.
        let marks: BTreeMap<i64, (&Deploy, Boundary)> =
            window.keys().filter_map(|(subject, _)| last(subject)).map(|mark| (mark.0.id, mark)).collect();
        let earlier = self.earlier(rule, usual.earlier_end);
        let spans = Spans { window: &window, earlier: &earlier, since: None };
        let mut findings = evaluate::of_sums(rule, spans, &|subject| last(subject).is_none());
        for (id, (deploy, boundary)) in marks {
            let window = self.span(rule, boundary.window_start, now)?;
            let earlier = self.earlier(rule, boundary.earlier_end);
            let is_cut = boundary.window_start != usual.window_start;
            let spans = Spans { window: &window, earlier: &earlier, since: Some((deploy, is_cut)) };
            findings.extend(evaluate::of_sums(rule, spans, &|subject| {
                last(subject).is_some_and(|(deploy, _)| deploy.id == id)
            }));
        }
        Some(Findings { marks: Marks { deploys, now }, ..findings })
    }

    /// The spans that a rule compares its window with, as far as their sums are kept.
    fn earlier(&mut self, rule: &Rule, end: Timestamp) -> BTreeMap<Earlier, Span> {
        rule.earlier()
            .filter_map(|earlier| Some((earlier, self.span(rule, earlier_by(end, earlier.0), end)?)))
            .collect()
    }

    /// The sums of a span; None if they are not kept for all of it.
    fn span(&mut self, rule: &Rule, from: Timestamp, to: Timestamp) -> Option<Span> {
        let owned = |text: &Option<Box<str>>| text.as_deref().map(str::to_owned);
        let key = (owned(&rule.by), owned(&rule.tenant), from, to);
        if !self.spans.contains_key(&key) {
            let read = self.finance.sums_of_span(rule.by.as_deref(), rule.tenant.as_deref(), from, to);
            if let Err(error) = &read {
                tracing::debug!(rule = %rule.name, %error, "a rule has nothing to compare with");
            }
            self.spans.insert(key.clone(), read.ok());
        }
        self.spans.get(&key).cloned().flatten()
    }

    fn system(&self, rule: &Rule) -> Result<Vec<Reading>, LedgerError> {
        let now = self.finance.now;
        let one = |quantity, value: u64| Reading {
            quantity,
            subject: String::new(),
            tenant: None,
            value: Pico(i128::from(value) * PICO),
        };
        let workers = self.finance.reader.workers_since(earlier_by(now, rule.window_ms))?;
        let missing = workers.iter().map(|worker| worker.missing).sum();
        let findings = self.finance.reader.critical_findings_since(earlier_by(now, rule.window_ms))?;
        let mut readings = vec![one(Quantity::MissingNumbers, missing), one(Quantity::CriticalFindings, findings)];
        let failing = self.finance.reader.own_key_failures_since(earlier_by(now, rule.window_ms).hour())?;
        readings.extend(failing.into_iter().map(|(tenant, count)| Reading {
            quantity: Quantity::OwnKeyFailures,
            subject: tenant.clone(),
            tenant: Some(tenant),
            value: Pico(i128::from(count) * PICO),
        }));
        // A gateway that has said that it ends is not silent. Where none was ever heard, nothing is missed.
        if let Some(last) =
            self.finance.reader.workers_since(Timestamp::default())?.iter().map(|worker| worker.last_at).max()
        {
            readings.push(one(Quantity::SecondsWithoutEvents, now.millis_since(last) / 1000));
        }
        if let Some(billing) = self.billing {
            readings.push(one(Quantity::HeldRows, billing.billing.held));
            let differs = billing.reconciliation.as_ref().filter(|last| last.attention);
            readings.push(one(Quantity::Differences, u64::from(differs.is_some())));
        }
        Ok(readings)
    }
}

fn earlier_by(at: Timestamp, millis: u64) -> Timestamp {
    Timestamp::from_millis(at.as_millis().saturating_sub(millis))
}

/// What each budget will have used at the end of its period, in percent of its amount.
fn forecasts(reader: &mut LedgerReader, rules: &engine::Rules, now: Timestamp) -> Result<Vec<Reading>, LedgerError> {
    let views = view::list(reader.db(), rules, Stage::Ok, now)?;
    Ok(views.iter().filter_map(|view| forecast(view, now)).collect())
}

fn forecast(view: &BudgetView, now: Timestamp) -> Option<Reading> {
    let whole = view.period_end?.millis_since(view.period_start);
    let over = now.millis_since(view.period_start).min(whole);
    let is_paused = view.raise.as_ref().is_some_and(|raise| raise.amount.is_none());
    // Of one that is exceeded nothing is left to forecast: its stage says so.
    if is_paused || view.used_permille >= 1_000 || over * 100 < whole * FORECAST_FROM_PERCENT {
        return None;
    }
    // In thousandths of the amount, which the view has exactly enough.
    let permille = i128::from(view.used_permille) * i128::from(whole) / i128::from(over.max(1));
    let is_tenant = !subject::is_shared(&view.subject);
    Some(Reading {
        quantity: Quantity::BudgetForecastPercent,
        subject: format!("{} of {}", view.budget, view.subject),
        tenant: is_tenant.then(|| subject::tenant(&view.subject).to_owned()),
        value: Pico(permille * (PICO / 10)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(used_permille: u32, days_over: u64) -> (BudgetView, Timestamp) {
        let day = 24 * 3_600;
        let view = BudgetView {
            budget: "monthly".to_owned(),
            subject: "acme".to_owned(),
            covers: String::new(),
            unit: "USD".to_owned(),
            period_start: Timestamp::from_secs(0),
            period_end: Some(Timestamp::from_secs(30 * day)),
            used: Pico::ZERO,
            amount: Pico::ZERO,
            used_permille,
            unpriced_requests: 0,
            stage: Stage::Ok,
            mode: "enforce".to_owned(),
            raise: None,
        };
        (view, Timestamp::from_secs(days_over * day))
    }

    #[test]
    fn a_budget_is_forecast_from_a_tenth_of_its_period_on() {
        let of = |used, days| {
            let (view, now) = view(used, days);
            forecast(&view, now).map(|reading| reading.value.to_string())
        };
        assert_eq!(of(500, 2), None, "too early to tell");
        assert_eq!(of(500, 3).as_deref(), Some("500"));
        assert_eq!(of(500, 15).as_deref(), Some("100"));
        assert_eq!(of(501, 30).as_deref(), Some("50.1"));
        assert_eq!((of(999, 15).as_deref(), of(1_000, 15), of(u32::MAX, 15)), (Some("199.8"), None, None), "exceeded");
    }
}

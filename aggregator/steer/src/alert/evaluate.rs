//! Compares rules with what was measured. Pure.
use std::collections::BTreeMap;

use weir_contract::time::HOUR_MS;
use weir_ledger::amount::{Currency, PICO, Pico};

use super::deploy::{Deploy, Marks};
use super::file::{Kind, Quantity};
use super::rule::{Compare, Condition, Earlier, Rule};

/// The most alerts of one rule. The ones of further subjects are left out and counted.
pub(crate) const SUBJECTS_MAX: usize = 500;
/// One hundred percent.
const ALL: i128 = 100 * PICO;

/// What was measured in a span for one value of `by`, in one currency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// What tenants pay; None where nobody says what they pay.
    pub revenue: Option<Pico>,
    /// What providers charge.
    pub cost: Pico,
    /// Costs that no request causes.
    pub other_cost: Pico,
    /// Requests of any outcome.
    pub requests: u64,
    /// Requests that failed.
    pub failed_requests: u64,
    /// Requests that repeat another.
    pub retried_requests: u64,
    /// Tokens without a price.
    pub unpriced_tokens: u64,
}

impl Sums {
    fn add(&mut self, other: &Sums) {
        self.revenue = match (self.revenue, other.revenue) {
            (Some(a), Some(b)) => Some(a + b),
            (a, b) => a.or(b),
        };
        self.cost += other.cost;
        self.other_cost += other.other_cost;
        self.requests += other.requests;
        self.failed_requests += other.failed_requests;
        self.retried_requests += other.retried_requests;
        self.unpriced_tokens += other.unpriced_tokens;
    }

    fn value(&self, quantity: Quantity, whole_cost: Pico) -> Option<Pico> {
        let whole = |number: u64| Pico(i128::from(number) * PICO);
        let requests = i128::from(self.requests);
        let margin = || Some(self.revenue? - self.cost - self.other_cost);
        match quantity {
            Quantity::Margin => margin(),
            Quantity::MarginPercent => percent(margin()?.0, self.revenue?.0),
            Quantity::Revenue => self.revenue,
            Quantity::Cost => Some(self.cost),
            Quantity::CostPerRequest => (requests > 0).then(|| Pico(self.cost.0 / requests)),
            Quantity::CostSharePercent => percent(self.cost.0, whole_cost.0),
            Quantity::Requests => Some(whole(self.requests)),
            Quantity::SuccessPercent => percent(requests - i128::from(self.failed_requests), requests),
            Quantity::RetryPercent => percent(i128::from(self.retried_requests), requests),
            Quantity::UnpricedTokens => Some(whole(self.unpriced_tokens)),
            _ => None,
        }
    }
}

/// A span: sums by value of `by` and currency.
pub type Span = BTreeMap<(String, Currency), Sums>;

/// What a rule found: its conditions hold for a subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The value of `by`; of a budget, its name and its subject; empty for everything together.
    pub subject: String,
    /// The tenant that it is about, if it is about one.
    pub tenant: Option<String>,
    /// The currency of its amounts; None if it has none.
    pub currency: Option<Currency>,
    /// The quantity of the first condition.
    pub value: Pico,
    /// What holds, in a sentence.
    pub summary: String,
}

/// What a rule found, and how many subjects were left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// At most [`SUBJECTS_MAX`].
    pub found: Vec<Finding>,
    /// Further subjects for which the rule's conditions hold.
    pub left_out: u64,
    /// The marks of deploys around which the rule compared.
    pub marks: Marks,
}

impl Findings {
    fn push(&mut self, finding: Finding) {
        if self.found.len() < SUBJECTS_MAX {
            self.found.push(finding);
        } else {
            self.left_out += 1;
        }
    }

    /// Adds what was found of other subjects.
    pub fn extend(&mut self, other: Findings) {
        self.left_out += other.left_out;
        other.found.into_iter().for_each(|finding| self.push(finding));
    }
}

/// A quantity of the installation or of a budget, as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The quantity.
    pub quantity: Quantity,
    /// Whose it is: empty, or a budget's name and its subject.
    pub subject: String,
    /// The tenant that it is about, if it is about one.
    pub tenant: Option<String>,
    /// How much it is.
    pub value: Pico,
}

/// The sums that a rule about requests and money is compared with.
#[derive(Clone, Copy, Debug)]
pub struct Spans<'a> {
    /// Those of its window.
    pub window: &'a Span,
    /// Those of the spans before it.
    pub earlier: &'a BTreeMap<Earlier, Span>,
    /// The deploy between the two, and whether the window is shorter for it.
    pub since: Option<(&'a Deploy, bool)>,
}

/// Compares a rule about requests and money with the sums of its window and of earlier spans. `judges`: the values of its `by` that these sums
/// judge.
pub fn of_sums(rule: &Rule, spans: Spans<'_>, judges: &dyn Fn(&str) -> bool) -> Findings {
    let Spans { window, earlier, since } = spans;
    let rows = merged(rule, window);
    let before: BTreeMap<Earlier, _> = earlier.iter().map(|(span, sums)| (*span, merged(rule, sums))).collect();
    let mut whole: BTreeMap<Option<Currency>, Pico> = BTreeMap::new();
    for ((_, currency), sums) in &rows {
        *whole.entry(*currency).or_default() += sums.cost;
    }
    let mut findings = Findings::default();
    if (rows.len() as u64) < rule.at_least_values {
        return findings;
    }
    for (key, sums) in &rows {
        let (subject, currency) = key;
        let is_meant = rule.only.as_ref().is_none_or(|only| only.matches(subject))
            && rule.currency.is_none_or(|wanted| currency.is_none_or(|is| is == wanted));
        if !is_meant || sums.requests < rule.at_least_requests || !judges(subject) {
            continue;
        }
        let whole_cost = whole.get(currency).copied().unwrap_or_default();
        let of = |condition: &Condition| {
            let value = sums.value(condition.measure, whole_cost)?;
            let base = condition.earlier().and_then(|span| {
                let sums = before.get(&span)?.get(key).filter(|sums| sums.requests >= rule.at_least_requests.max(1))?;
                per_window(sums.value(condition.measure, Pico::ZERO)?, condition.measure, rule.window_ms, span)
            });
            Some((value, base))
        };
        let tenant = match rule.by.as_deref() {
            Some("tenant") => Some(subject.clone()),
            _ => rule.tenant.as_deref().map(str::to_owned),
        };
        if let Some((value, summary)) = held(rule, (subject, *currency), since, &of) {
            findings.push(Finding { subject: subject.clone(), tenant, currency: *currency, value, summary });
        }
    }
    findings
}

/// Compares a rule about budgets or the installation with readings. Each subject has a reading of each quantity, or the rule says
/// nothing of it.
pub fn of_readings(rule: &Rule, readings: &[Reading]) -> Findings {
    let mut subjects: BTreeMap<&str, Vec<&Reading>> = BTreeMap::new();
    for reading in readings.iter().filter(|reading| reading.quantity.kind() == rule.kind) {
        let is_meant = rule.only.as_ref().is_none_or(|only| only.matches(&reading.subject))
            && rule.tenant.as_deref().is_none_or(|tenant| reading.tenant.as_deref() == Some(tenant));
        if is_meant {
            subjects.entry(&reading.subject).or_default().push(reading);
        }
    }
    let mut findings = Findings::default();
    for (subject, readings) in subjects {
        let of = |condition: &Condition| {
            let reading = readings.iter().find(|reading| reading.quantity == condition.measure)?;
            Some((reading.value, None))
        };
        if let Some((value, summary)) = held(rule, (subject, None), None, &of) {
            let tenant = readings.first().and_then(|reading| reading.tenant.clone());
            findings.push(Finding { subject: subject.to_owned(), tenant, currency: None, value, summary });
        }
    }
    findings
}

/// The rows of a span as a rule sees them: currencies apart only if it is about money, values apart only if it says `by`.
fn merged(rule: &Rule, span: &Span) -> BTreeMap<(String, Option<Currency>), Sums> {
    let mut rows: BTreeMap<(String, Option<Currency>), Sums> = BTreeMap::new();
    for ((value, currency), sums) in span {
        let value = if rule.by.is_some() { value.clone() } else { String::new() };
        rows.entry((value, rule.has_currency().then_some(*currency))).or_default().add(sums);
    }
    rows
}

/// A quantity of an earlier span, for the length of the window if it grows with time.
fn per_window(value: Pico, quantity: Quantity, window_ms: u64, earlier: Earlier) -> Option<Pico> {
    if !quantity.grows() {
        return Some(value);
    }
    let hours = |millis: u64| i128::from(millis / HOUR_MS);
    Some(Pico(value.0.checked_mul(hours(window_ms))? / hours(earlier.0).max(1)))
}

/// A condition's value, and that of the earlier span.
type Compared = (Pico, Option<Pico>);

/// The value of the first condition and the sentence, if all conditions hold.
fn held(
    rule: &Rule,
    (subject, currency): (&str, Option<Currency>),
    since: Option<(&Deploy, bool)>,
    of: &dyn Fn(&Condition) -> Option<Compared>,
) -> Option<(Pico, String)> {
    let mut first = None;
    let mut parts = Vec::new();
    for condition in &rule.when {
        let (value, base) = of(condition)?;
        let unit = currency.filter(|_| condition.measure.is_money()).map_or_else(String::new, |of| format!(" {of}"));
        let how = compared(condition.compare, value, base, since)?;
        first.get_or_insert(value);
        parts.push(format!("{} is {}{unit}, {how}", condition.measure.words(), shown(value)));
    }
    let whose = match (rule.kind, rule.by.as_deref()) {
        (Kind::Sums, Some(by)) => format!("{} {subject}: ", by.replace('_', " ")),
        (Kind::Budgets, _) => format!("budget {subject}: "),
        _ => String::new(),
    };
    let of = rule
        .tenant
        .as_deref()
        .filter(|_| rule.kind == Kind::Sums)
        .map_or_else(String::new, |of| format!(" of tenant {of}"));
    let over = match rule.kind {
        Kind::Sums if since.is_some_and(|(_, is_cut)| is_cut) => format!(", since then{of}"),
        Kind::Sums => format!(", over {}{of}", span_words(rule.window_ms)),
        Kind::Budgets | Kind::System => String::new(),
    };
    first.map(|value| (value, format!("{whose}{}{over}", parts.join("; "))))
}

/// How a value compares, if the condition holds.
fn compared(compare: Compare, value: Pico, base: Option<Pico>, since: Option<(&Deploy, bool)>) -> Option<String> {
    let beside = |base: Pico, percent: i128| mul_div(base.0, ALL + percent, ALL);
    match compare {
        Compare::Above(limit) => (value > limit).then(|| format!("above {}", shown(limit))),
        Compare::Below(limit) => (value < limit).then(|| format!("below {}", shown(limit))),
        Compare::RisesBy(percent, earlier) => {
            let base = base.filter(|base| base.0 > 0)?;
            (value.0 > beside(base, percent.0)).then(|| moved("more", (value, base), earlier, since))
        }
        Compare::FallsBy(percent, earlier) => {
            let base = base.filter(|base| base.0 > 0)?;
            (value.0 < beside(base, -percent.0)).then(|| moved("less", (value, base), earlier, since))
        }
    }
}

fn moved(way: &str, (value, base): (Pico, Pico), earlier: Earlier, since: Option<(&Deploy, bool)>) -> String {
    let by = percent((value.0 - base.0).abs(), base.0).map_or_else(String::new, |by| format!("{} % ", shown(by)));
    let mark = since.map_or_else(String::new, |(Deploy { name, at, who, .. }, _)| {
        format!(" the deploy {name} at {at}, marked by {who}")
    });
    format!("{by}{way} than {} in the {} before{mark}", shown(base), span_words(earlier.0))
}

/// `part` in percent of `whole`; None if the whole is not positive.
fn percent(part: i128, whole: i128) -> Option<Pico> {
    (whole > 0).then(|| Pico(mul_div(part, ALL, whole)))
}

/// `a * b / c`; less exact where the product is beyond every amount that occurs.
fn mul_div(a: i128, b: i128, c: i128) -> i128 {
    match a.checked_mul(b) {
        Some(product) => product / c,
        None => (a / c).saturating_mul(b),
    }
}

/// A value for people: two decimals from 1 on, else six.
fn shown(value: Pico) -> String {
    let step = if value.0.abs() >= PICO { PICO / 100 } else { PICO / 1_000_000 };
    let half = if value.0 < 0 { -step / 2 } else { step / 2 };
    Pico((value.0 + half) / step * step).to_string()
}

fn span_words(millis: u64) -> String {
    let hours = millis / HOUR_MS;
    match (hours, hours % 24) {
        (1, _) => "the last hour".to_owned(),
        (24, _) => "24 hours".to_owned(),
        (_, 0) => format!("{} days", hours / 24),
        _ => format!("{hours} hours"),
    }
}

#[cfg(test)]
mod tests;

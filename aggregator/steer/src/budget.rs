//! Budgets as they are compiled from the configuration.
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashSet};

use jiff::tz::TimeZone;
use weir_contract::hard::HARD_BUDGETS_MAX;
use weir_contract::lease::CAPACITY_MAX;
use weir_contract::stage::{GROUP_KEYS_MAX, SCOPE_MAX_BYTES, Scope, Stage, is_budget_name};
use weir_contract::{TenantId, Timestamp, glob};
use weir_ledger::amount::{Currency, PICO, Pico};
use weir_ledger::periods::Anchor;
use weir_ledger::steering::{Use, UsedAmounts};

use crate::calendar::{self, Period};
use crate::file::{BUDGETS_MAX, BudgetFile, BudgetMode, Measure, Span, Thresholds};
use crate::leasable::{is_leasable, measure};
use crate::subject;

/// The largest share at which a stage may begin, in percent.
const THRESHOLD_MAX: u32 = 1_000;

/// A budget.
///
/// Its text (`Debug`) is the same for the same settings: by it a reload knows what is new.
#[derive(Clone, Debug)]
pub struct Budget {
    /// Its name.
    pub name: Box<str>,
    /// The measured quantity.
    pub of: Measure,
    /// The currency of a cost.
    pub currency: Currency,
    /// The period.
    pub span: Span,
    /// The requests that it covers.
    pub scope: Scope,
    /// Whether it binds.
    pub mode: BudgetMode,
    /// Whether its tenants share one amount.
    pub shared: bool,
    /// Whether each end user has the amount.
    pub per_user: bool,
    /// Whether its amount is leased to gateways.
    pub hard: bool,
    amount: Pico,
    overrides: BTreeMap<String, Pico>,
    zone: TimeZone,
    plans: Vec<String>,
    tenants: BTreeSet<String>,
    thresholds: Thresholds,
    /// The least severe stage while the used amount lacks something.
    unpriced: Stage,
    /// A hash of everything that decides what is counted; two budgets that differ in it do not share a count.
    pub(crate) counted: String,
    /// What the configuration says of it, as JSON.
    pub(crate) says: Box<str>,
}

/// Why budgets cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path} of {name:?}: {problem}", path = self.path())]
pub struct BudgetError {
    /// The place in the list.
    pub at: usize,
    /// The budget's name.
    pub name: String,
    /// The field.
    pub field: Cow<'static, str>,
    /// The problem, and what would be valid.
    pub problem: String,
}

impl BudgetError {
    /// Where it stands in the file.
    pub fn path(&self) -> String {
        format!("budgets[{}].{}", self.at, self.field)
    }
}

/// Checks and compiles the budgets of a configuration.
pub fn compile(files: &[BudgetFile]) -> Result<Vec<Budget>, BudgetError> {
    let mut names = HashSet::new();
    let mut budgets = Vec::with_capacity(files.len());
    for (at, file) in files.iter().enumerate() {
        let wrong = |(field, problem): Problem| BudgetError { at, name: file.name.clone(), field, problem };
        if at >= BUDGETS_MAX {
            return Err(wrong(("name".into(), format!("at most {BUDGETS_MAX} budgets"))));
        }
        if !names.insert(&file.name) {
            return Err(wrong(("name".into(), format!("another budget is named {:?}", file.name))));
        }
        check(file).map_err(wrong)?;
        // Each tenant is told of two periods.
        if files.iter().take(at + 1).filter(|file| file.hard).count() > HARD_BUDGETS_MAX / 2 {
            return Err(wrong(("hard".into(), format!("at most {} hard budgets", HARD_BUDGETS_MAX / 2))));
        }
        budgets.push(Budget::of(file).map_err(wrong)?);
    }
    Ok(budgets)
}

type Problem = (Cow<'static, str>, String);

fn problem<T>(field: &'static str, problem: impl Into<String>) -> Result<T, Problem> {
    Err((Cow::Borrowed(field), problem.into()))
}

/// The amounts of a budget, each with its field.
fn amounts(file: &BudgetFile) -> impl Iterator<Item = (Cow<'static, str>, Pico)> {
    let own = file.overrides.iter().map(|(tenant, amount)| (Cow::Owned(format!("overrides.{tenant}")), *amount));
    std::iter::once((Cow::Borrowed("amount"), file.amount)).chain(own)
}

fn check_amount(of: Measure, amount: Pico) -> Result<(), &'static str> {
    if amount.0 <= 0 {
        return Err("an amount is above 0");
    }
    if !amount.is_writable() {
        return Err("an amount has at most 15 digits before the point");
    }
    if of.is_whole() && amount.0 % PICO != 0 {
        return Err("a number of tokens or requests is whole");
    }
    Ok(())
}

fn check(file: &BudgetFile) -> Result<(), Problem> {
    if !is_budget_name(&file.name) {
        return problem("name", "a name is 1 to 40 characters of a-z 0-9 . _ -");
    }
    check_hard(file)?;
    check_hard_amounts(file)?;
    for (field, amount) in amounts(file) {
        check_amount(file.of, amount).map_err(|problem| (field, problem.to_owned()))?;
    }
    if file.currency.is_some() && !file.of.is_money() {
        return problem("currency", "only money has a currency: a budget of cost or of revenue");
    }
    if file.unpriced.is_some() && file.of != Measure::Cost {
        return problem("unpriced", "only a cost can lack usage without a price: leave it out, or use `of: cost`");
    }
    check_counted(file)?;
    if file.shared && (file.tenants.is_empty() || !file.plans.is_empty() || !file.overrides.is_empty()) {
        return problem("shared", "a shared budget names its tenants, and has neither plans nor overrides");
    }
    if file.shared && file.period == Span::BillingPeriod {
        return problem("period", "tenants that share a budget may have different billing periods; use month");
    }
    if let Some(tenant) = file.tenants.iter().find(|id| TenantId::new(id).is_err()) {
        return problem("tenants", format!("{tenant:?} is no id of a tenant"));
    }
    if let Some(tenant) = file.overrides.keys().find(|id| TenantId::new(id).is_err()) {
        return problem("overrides", format!("{tenant:?} is no id of a tenant"));
    }
    check_scope(&file.only)?;
    check_thresholds(&file.stages)
}

/// Refuses what cannot be counted apart.
fn check_counted(file: &BudgetFile) -> Result<(), Problem> {
    let whole = file.only.is_whole();
    let (field, words) = match file {
        BudgetFile { of: Measure::Revenue | Measure::Credits, .. } if !whole || file.per.is_some() || file.shared => (
            "of",
            "price plans are for all that a tenant uses: such a budget has neither `only` nor `per` nor `shared`",
        ),
        BudgetFile { per: Some(_), .. } if !whole || file.shared => {
            ("per", "what each user has is of all of its requests, and not shared: leave out `only` and `shared`")
        }
        _ => return Ok(()),
    };
    problem(field, words)
}

/// Refuses a hard budget that weir cannot keep.
fn check_hard(file: &BudgetFile) -> Result<(), Problem> {
    let words = match file {
        BudgetFile { hard: false, .. } => return Ok(()),
        BudgetFile { of: Measure::InputTokens | Measure::OutputTokens, .. } => {
            "use `of: tokens`, input and output together"
        }
        BudgetFile { of: Measure::Revenue | Measure::Credits, .. } => {
            "gateways cannot price by price plans: use `of: cost`, `tokens` or `requests`"
        }
        BudgetFile { per: Some(_), .. } => {
            "an end user is the client's to name: a hard budget is a tenant's or a key's"
        }
        BudgetFile { only: Scope::Keys(_) | Scope::User(_), .. } => {
            "a hard budget is of all requests, or of one route or key"
        }
        BudgetFile { shared: true, .. } => "a hard budget is one tenant's: give each tenant a budget of its own",
        BudgetFile { mode: BudgetMode::Observe, .. } => {
            "a budget that only observes binds nobody: leave out one of the two"
        }
        BudgetFile { period: Span::BillingPeriod | Span::Total, .. } => "use a period of a day, a week or a month",
        BudgetFile { only: Scope::Feature(_) | Scope::Class(_) | Scope::Model(_), .. } => {
            "a client can choose its feature, class and model: cover all requests, or those of a route or a key"
        }
        _ => return Ok(()),
    };
    problem("hard", words)
}

/// Refuses an amount that no lease can hold: gateways would have no limit from it.
fn check_hard_amounts(file: &BudgetFile) -> Result<(), Problem> {
    let Some(of) = measure(file.of).filter(|_| file.hard) else { return Ok(()) };
    match amounts(file).find(|(_, amount)| !is_leasable(of, *amount)) {
        None => Ok(()),
        Some((field, _)) => Err((field, format!("a hard budget has 1 to {CAPACITY_MAX} units, of cost in millionths"))),
    }
}

fn check_scope(scope: &Scope) -> Result<(), Problem> {
    if let Scope::User(_) = scope {
        return problem("only", "write `per: user`: each end user has the amount");
    }
    if let Scope::Keys(keys) = scope {
        let fits = |key: &str| (1..=SCOPE_MAX_BYTES).contains(&key.len());
        let distinct: HashSet<_> = keys.iter().collect();
        if !(2..=GROUP_KEYS_MAX).contains(&distinct.len())
            || distinct.len() != keys.len()
            || !keys.iter().all(|key| fits(key))
        {
            let text = format!("2 to {GROUP_KEYS_MAX} different keys, of 1 to {SCOPE_MAX_BYTES} bytes each");
            return problem("only", text);
        }
    }
    match scope.value() {
        Some(value) if value.is_empty() || value.len() > SCOPE_MAX_BYTES => {
            problem("only", format!("a value is 1 to {SCOPE_MAX_BYTES} bytes"))
        }
        _ => Ok(()),
    }
}

fn check_thresholds(of: &Thresholds) -> Result<(), Problem> {
    let all = [of.warn, of.degrade, of.contain, of.exceeded];
    if all.iter().any(|share| !(1..=THRESHOLD_MAX).contains(share)) || !all.is_sorted() {
        let text =
            format!("shares are 1 to {THRESHOLD_MAX} percent, and rise from warn over degrade and contain to exceeded");
        return problem("stages", text);
    }
    Ok(())
}

impl Budget {
    /// Whether a tenant may have this amount of its own.
    pub fn check_own(&self, amount: Pico) -> Result<(), &'static str> {
        if self.shared {
            return Err("tenants share this budget, which has one amount");
        }
        check_amount(self.of, amount)
    }

    fn of(file: &BudgetFile) -> Result<Self, Problem> {
        let zone = file.timezone.as_deref().unwrap_or("UTC");
        let zone = TimeZone::get(zone).map_err(|_| {
            ("timezone".into(), format!("{zone:?} is no time zone; write one such as Europe/Berlin, or UTC"))
        })?;
        let currency = file.currency.unwrap_or(Currency::USD);
        let scope = serde_json::to_string(&file.only).map_err(|error| ("only".into(), error.to_string()))?;
        let name = zone.iana_name().unwrap_or("UTC");
        let counted =
            format!("{} {currency} {} {name} {} {scope}", file.of.as_str(), file.period.as_str(), file.shared);
        let counted = if file.per.is_some() { format!("{counted} per user") } else { counted };
        Ok(Budget {
            name: file.name.as_str().into(),
            of: file.of,
            currency,
            span: file.period,
            scope: file.only.clone(),
            mode: file.mode,
            shared: file.shared,
            per_user: file.per.is_some(),
            hard: file.hard,
            amount: file.amount,
            overrides: file.overrides.clone(),
            zone,
            plans: file.plans.clone(),
            tenants: file.tenants.iter().cloned().collect(),
            thresholds: file.stages,
            unpriced: file.unpriced.unwrap_or(Stage::Warn),
            counted: hash(&counted),
            says: serde_json::to_string(file).map_err(|error| ("name".into(), error.to_string()))?.into(),
        })
    }

    /// Whether a tenant has the budget. `plan`: its own, None if it is not known.
    pub fn applies(&self, tenant: &str, plan: Option<&str>) -> bool {
        let by_plan = plan.is_some_and(|plan| self.plans.iter().any(|one| one == plan));
        by_plan || self.tenants.contains(tenant) || (self.plans.is_empty() && self.tenants.is_empty())
    }

    /// The plans that it names.
    pub fn named_plans(&self) -> impl Iterator<Item = &str> {
        self.plans.iter().map(String::as_str)
    }

    /// The tenants that have an amount of their own.
    pub fn overridden(&self) -> impl Iterator<Item = &str> {
        self.overrides.keys().map(String::as_str)
    }

    /// The tenants that it names.
    pub fn named_tenants(&self) -> impl Iterator<Item = &str> {
        self.tenants.iter().map(String::as_str)
    }

    /// The key of its count for a tenant: the tenant, or the budget itself where it is shared.
    pub fn subject(&self, tenant: &str) -> String {
        if self.shared { subject::of_shared(&self.name) } else { tenant.to_owned() }
    }

    /// Gives a tenant an amount of its own. A shared budget has one for all.
    pub fn set_amount(&mut self, tenant: &str, amount: Pico) {
        if !self.shared {
            self.overrides.insert(tenant.to_owned(), amount);
        }
    }

    /// The configured amount of a subject; an end user has that of its tenant.
    pub fn amount(&self, subject: &str) -> Pico {
        self.overrides.get(subject::tenant(subject)).copied().unwrap_or(self.amount)
    }

    /// Whether a subject is counted under this budget. `plan`: that of the subject's tenant.
    pub(crate) fn counts(&self, subject: &str, plan: Option<&str>) -> bool {
        if self.shared {
            return self.subject("") == subject;
        }
        self.per_user == subject::user(subject).is_some() && self.applies(subject::tenant(subject), plan)
    }

    /// The requests of a subject that it covers, as gateways are told.
    pub(crate) fn scope_of(&self, subject: &str) -> Scope {
        match subject::user(subject).filter(|_| self.per_user) {
            Some(user) => Scope::User(user.into()),
            None => self.scope.clone(),
        }
    }

    /// The period that contains a window's start.
    pub fn period(&self, anchor: impl FnOnce() -> Anchor, at: Timestamp) -> Period {
        calendar::period(self.span, &self.zone, anchor, at)
    }

    /// Whether it covers requests with these traits.
    pub(crate) fn covers(&self, used: &Use<'_>) -> bool {
        if self.of.is_charged() || self.per_user != used.user.is_some() {
            return false;
        }
        match &self.scope {
            Scope::Tenant => true,
            Scope::Feature(feature) => used.feature == &**feature,
            Scope::Route(route) => used.route == &**route,
            Scope::Class(class) => used.class == class.as_str(),
            Scope::Model(model) => glob::matches(model, used.model),
            Scope::Key(key) => used.credential == &**key,
            Scope::Keys(keys) => keys.iter().any(|key| used.credential == &**key),
            Scope::User(user) => used.user == Some(user),
        }
    }

    /// The part of some amounts that it counts, in trillionths of its unit.
    pub(crate) fn measure(&self, amounts: &UsedAmounts, currency: Option<Currency>) -> i128 {
        let whole = |count: u64| i128::from(count) * PICO;
        match self.of {
            Measure::Cost if currency == Some(self.currency) => amounts.cost.0,
            Measure::Cost | Measure::Revenue | Measure::Credits => 0,
            Measure::Tokens => whole(amounts.input_tokens) + whole(amounts.output_tokens),
            Measure::InputTokens => whole(amounts.input_tokens),
            Measure::OutputTokens => whole(amounts.output_tokens),
            Measure::Requests => whole(amounts.requests),
        }
    }

    /// The requests that the measured part lacks: those without a price, and those whose price is in another currency.
    pub(crate) fn lacking(&self, amounts: &UsedAmounts, currency: Option<Currency>) -> u64 {
        match currency {
            _ if self.of != Measure::Cost => 0,
            Some(other) if other != self.currency && amounts.cost != Pico::ZERO => amounts.requests,
            _ => amounts.unpriced_requests,
        }
    }

    /// The unit of its amounts: a currency, or what is counted.
    pub fn unit(&self) -> &str {
        if self.of.is_money() { self.currency.as_str() } else { self.of.as_str() }
    }

    /// The stage at which a used amount stands that lacks so many requests.
    pub fn stage_lacking(&self, used: Pico, amount: Pico, unpriced: u64) -> Stage {
        let floor = if unpriced > 0 { self.unpriced } else { Stage::Ok };
        self.stage(used, amount).max(floor)
    }

    /// The stage at which a used amount stands.
    pub fn stage(&self, used: Pico, amount: Pico) -> Stage {
        let of = &self.thresholds;
        let begins = [
            (Stage::Exceeded, of.exceeded),
            (Stage::Contain, of.contain),
            (Stage::Degrade, of.degrade),
            (Stage::Warn, of.warn),
        ];
        let reached = |share: u32| used.0.saturating_mul(100) >= amount.0.saturating_mul(i128::from(share));
        begins.into_iter().find(|(_, share)| reached(*share)).map_or(Stage::Ok, |(stage, _)| stage)
    }
}

/// A short name for what a budget counts (FNV-1a).
fn hash(counted: &str) -> String {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    format!("{:016x}", counted.bytes().fold(0xcbf2_9ce4_8422_2325, step))
}

/// The used share in thousandths, rounded down.
pub(crate) fn permille(used: Pico, amount: Pico) -> u32 {
    if amount.0 <= 0 {
        return 0;
    }
    u32::try_from(used.0.max(0).saturating_mul(1_000) / amount.0).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;

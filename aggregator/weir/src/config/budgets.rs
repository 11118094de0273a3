//! `budgets`: how much tenants may use.
use std::collections::BTreeSet;
use std::path::Path;

use weir_ledger::amount::Currency;
use weir_money::prices::Book;
use weir_settings::yaml::located::Node;
use weir_steer::budget::{self, Budget, BudgetError};
use weir_steer::file::{BudgetFile, Measure};

use super::ConfigError;
use super::finances::Finances;
use super::prices::PriceSources;

/// Checks and compiles the budgets of a file, whose content is `text`.
pub(super) fn check(
    (path, text): (&Path, &str),
    files: &[BudgetFile],
    finances: &Finances,
) -> Result<Vec<Budget>, ConfigError> {
    let wrong = |error| located((path, text), error);
    let budgets = budget::compile(files).map_err(wrong)?;
    for (at, budget) in budgets.iter().enumerate().filter(|(_, budget)| budget.of.is_charged()) {
        check_paid(budget, finances).map_err(|(field, problem)| wrong(error(at, budget, field, problem)))?;
    }
    Ok(budgets)
}

/// Refuses a budget of what tenants pay that no price plan could ever move.
fn check_paid(budget: &Budget, finances: &Finances) -> Result<(), (&'static str, String)> {
    let plans = finances.plans.versions();
    if plans.is_empty() {
        return Err(("of", "revenue and credits follow from `price_plans`, and the file has none".to_owned()));
    }
    if budget.of == Measure::Credits && plans.iter().all(|plan| plan.credits.is_none()) {
        return Err(("of", "no price plan has `credits`, so the budget would never bind".to_owned()));
    }
    let currencies: BTreeSet<Currency> = plans.iter().map(|plan| plan.currency).collect();
    if budget.of == Measure::Revenue && !currencies.contains(&budget.currency) {
        return Err(("currency", never("price plan", budget.currency, &currencies, "price_plans")));
    }
    Ok(())
}

/// Refuses budgets of cost in a currency that no price has: they would never bind. Where the files of prices cannot be read, nothing is
/// known, and nothing refused.
pub(super) fn check_currencies(
    (path, text): (&Path, &str),
    budgets: &[Budget],
    prices: &PriceSources,
) -> Result<(), ConfigError> {
    let is_cost = |(_, budget): &(usize, &Budget)| budget.of == Measure::Cost;
    let mut of_cost = budgets.iter().enumerate().filter(is_cost).peekable();
    if of_cost.peek().is_none() {
        return Ok(());
    }
    let Ok(book) = prices.book() else { return Ok(()) };
    let entries = book.iter().flat_map(Book::layers).flat_map(|layer| &layer.entries);
    let currencies: BTreeSet<Currency> = entries.map(|entry| entry.currency.unwrap_or(Currency::USD)).collect();
    match of_cost.find(|(_, budget)| !currencies.contains(&budget.currency)) {
        None => Ok(()),
        Some((at, budget)) => {
            let problem = never("price", budget.currency, &currencies, "prices");
            Err(located((path, text), error(at, budget, "currency", problem)))
        }
    }
}

fn never(what: &str, currency: Currency, known: &BTreeSet<Currency>, field: &str) -> String {
    let known: Vec<&str> = known.iter().map(Currency::as_str).collect();
    let known =
        if known.is_empty() { "there are none".to_owned() } else { format!("they are in {}", known.join(", ")) };
    format!(
        "no {what} is in {currency}, so the budget would never bind; {known}. Give `{field}` in {currency}, or the budget \
         another currency"
    )
}

fn error(at: usize, budget: &Budget, field: &'static str, problem: String) -> BudgetError {
    BudgetError { at, name: budget.name.to_string(), field: field.into(), problem }
}

/// The error with its place in the file: of the field, or of the budget where the file leaves the field out.
fn located((path, text): (&Path, &str), source: BudgetError) -> ConfigError {
    let (line, column) = Node::parse(path, text).map_or((0, 0), |document| {
        let location = document.find(&source.path()).0.location;
        (location.line, location.column)
    });
    ConfigError::Budgets { path: path.to_owned(), line, column, source: Box::new(source) }
}

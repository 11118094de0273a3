//! The arguments that say where a tenant is kept apart from others, and its own amounts of budgets.
use std::collections::BTreeMap;
use std::str::FromStr;

use clap::{Args, ValueEnum};
use weir_contract::placement::{Isolation, Placement};
use weir_ledger::amount::Pico;

/// [`Isolation`], for the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum IsolationName {
    Pool,
    Bridge,
    Silo,
}

impl From<IsolationName> for Isolation {
    fn from(name: IsolationName) -> Self {
        match name {
            IsolationName::Pool => Isolation::Pool,
            IsolationName::Bridge => Isolation::Bridge,
            IsolationName::Silo => Isolation::Silo,
        }
    }
}

/// Where a tenant is kept apart from others. A change replaces all three; empty texts take them away.
#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct PlacementArgs {
    /// How far the tenant is kept apart from others.
    #[arg(long, value_enum)]
    isolation: Option<IsolationName>,
    /// The region of its data.
    #[arg(long)]
    region: Option<String>,
    /// The deployment that serves it.
    #[arg(long)]
    endpoint: Option<String>,
}

impl PlacementArgs {
    /// Whether one of them was given.
    pub(in crate::cli) fn is_given(&self) -> bool {
        self.isolation.is_some() || self.region.is_some() || self.endpoint.is_some()
    }

    /// The placement; None if it says nothing.
    pub(in crate::cli) fn placement(&self) -> Option<Placement> {
        let text = |text: &Option<String>| text.as_deref().filter(|text| !text.is_empty()).map(Box::from);
        let placement = Placement {
            isolation: self.isolation.map(Into::into),
            region: text(&self.region),
            endpoint: text(&self.endpoint),
        };
        (!placement.is_empty()).then_some(placement)
    }
}

/// `NAME=AMOUNT`, or an empty text for none.
#[derive(Clone, Debug)]
pub(in crate::cli) struct BudgetAmount(Option<(String, Pico)>);

impl BudgetAmount {
    /// The amounts by the budgets' names.
    pub(in crate::cli) fn all(list: Vec<Self>) -> BTreeMap<String, Pico> {
        list.into_iter().filter_map(|amount| amount.0).collect()
    }
}

impl FromStr for BudgetAmount {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(BudgetAmount(None));
        }
        let (name, amount) = text.split_once('=').ok_or_else(|| "write NAME=AMOUNT".to_owned())?;
        let amount = Pico::parse(amount).ok_or_else(|| format!("{amount:?} is no decimal such as 12.5"))?;
        Ok(BudgetAmount(Some((name.to_owned(), amount))))
    }
}

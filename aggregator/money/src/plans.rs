//! Price plans: what a tenant pays.
//!
//! `price_plans` of `weir.yaml` ([`mod@file`]) is checked as a whole ([`check`]) and becomes [`PricePlans`]. A plan is known
//! by its name; an entry with the same name and a later `effective_from` is a later version of it. At any moment one version of
//! each name is in force, and a tenant has the plan that names it, or else the one that names its plan of the tenants file.
//!
//! # Constraints
//!
//! - A plan has one currency for ever; a tenant has at most one plan at a time.
//! - A version begins on a full hour, so that every window of the ledger has one price.
//! - Amounts are exact: 10^-12 of a currency unit.
mod check;
pub mod file;

use std::collections::BTreeSet;

use weir_contract::{Timestamp, glob};

pub use check::{PlanProblem, PlansError};

use crate::amount::{Currency, Pico};

/// The most entries of `price_plans`, versions included.
pub(crate) const PRICE_PLANS_MAX: usize = 1_024;
/// The most charges of one plan: as many as there can be meters.
pub(crate) const CHARGES_MAX: usize = 64;
/// The most tiers of one charge.
pub(crate) const TIERS_MAX: usize = 64;
/// The most tenants and plans that one price plan can be assigned to by name.
pub(crate) const ASSIGNED_MAX: usize = 10_000;
/// The longest name of a price plan, in bytes.
pub const NAME_MAX_BYTES: usize = 64;
/// The most billing periods after which a grant of credits expires.
pub(crate) const EXPIRY_PERIODS_MAX: u32 = 36;
/// The largest factor of cost-plus.
pub(crate) const MARKUP_MAX: i128 = 1_000;

/// Every price plan, checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PricePlans {
    /// Sorted by name, then by `effective_from`.
    versions: Vec<PricePlan>,
}

/// One version of a price plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PricePlan {
    /// The plan's name.
    pub name: String,
    /// The currency of every amount.
    pub currency: Currency,
    /// The first moment of this version.
    pub effective_from: Timestamp,
    /// Plans of the tenants file that this one prices; `*` stands for any text.
    pub plans: Vec<String>,
    /// Tenants that have this plan whatever their plan in the tenants file, sorted.
    pub tenants: Vec<String>,
    /// Due for each billing period.
    pub base_fee: Pico,
    /// The least that a billing period costs.
    pub minimum: Pico,
    /// Prices of usage.
    pub charges: Vec<Charge>,
    /// Credits that usage burns.
    pub credits: Option<Credits>,
    /// The factor of measured cost, in 10^-12.
    pub cost_plus: Option<Pico>,
    /// Whether a part of a billing period pays a part of the fee, by days.
    pub prorate: bool,
}

/// The price of a meter's units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charge {
    /// The meter.
    pub meter: String,
    /// How units become money.
    pub pricing: Pricing,
}

/// How units become money.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pricing {
    /// Units beyond those included cost the same each.
    PerUnit {
        /// Units of each billing period that cost nothing.
        included: u64,
        /// The price of each further one.
        price: Pico,
    },
    /// Each unit costs as the tier it falls into says.
    Graduated(Vec<Tier>),
    /// All units cost as the tier says that the sum falls into.
    Volume(Vec<Tier>),
}

/// A tier of a charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tier {
    /// The last unit of the tier; None for the last tier.
    pub up_to: Option<u64>,
    /// The price of a unit.
    pub per_unit: Pico,
    /// Due once if the tier is reached.
    pub flat: Pico,
}

/// Credits: granted each billing period, burnt by usage, and bought when they run out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credits {
    /// Credits granted at the start of each billing period, in 10^-12 of a credit.
    pub grant: Pico,
    /// The billing periods after which a grant expires; 1 is the end of its own.
    pub expires_after: u32,
    /// Credits that a unit of each meter burns.
    pub burn: Vec<(String, Pico)>,
    /// The price of a credit beyond those granted.
    pub per_credit: Pico,
}

impl PricePlans {
    /// Every version, by name and `effective_from`.
    pub fn versions(&self) -> &[PricePlan] {
        &self.versions
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.versions.is_empty()
    }

    /// The names, each once.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.versions.iter().map(|plan| plan.name.as_str()).collect();
        names.dedup();
        names
    }

    /// The meters that some plan prices.
    pub fn meters(&self) -> BTreeSet<&str> {
        let charges = self.versions.iter().flat_map(|plan| &plan.charges).map(|charge| charge.meter.as_str());
        let credits = self.versions.iter().filter_map(|plan| plan.credits.as_ref());
        charges.chain(credits.flat_map(|credits| &credits.burn).map(|(meter, _)| meter.as_str())).collect()
    }

    /// The version of the plan `name` that is in force at `at`.
    pub fn named(&self, name: &str, at: Timestamp) -> Option<&PricePlan> {
        self.versions.iter().rev().find(|plan| plan.name == name && plan.effective_from <= at)
    }

    /// The plan of `tenant` at `at`; `plan` is its plan in the tenants file, if it stands there.
    pub fn of(&self, tenant: &str, plan: Option<&str>, at: Timestamp) -> Option<&PricePlan> {
        let named = |price: &&PricePlan| price.tenants.binary_search_by(|named| named.as_str().cmp(tenant)).is_ok();
        let by_tenant = self.in_force(at).find(named);
        let by_plan = || {
            let fits = plan.map(|plan| self.in_force(at).filter_map(move |price| Some((price.fit(plan)?, price))))?;
            fits.max_by_key(|(fit, _)| *fit).map(|(_, price)| price)
        };
        by_tenant.or_else(by_plan)
    }

    /// The version of each name that is in force at `at`.
    fn in_force(&self, at: Timestamp) -> impl Iterator<Item = &PricePlan> {
        self.versions
            .chunk_by(|a, b| a.name == b.name)
            .filter_map(move |versions| versions.iter().rev().find(|plan| plan.effective_from <= at))
    }

    /// Whether some version of the plan `name` grants credits that outlive their billing period.
    pub fn keeps_credits(&self, name: &str) -> bool {
        let lasts = |plan: &PricePlan| plan.credits.as_ref().is_some_and(|credits| credits.expires_after > 1);
        self.versions.iter().any(|plan| plan.name == name && lasts(plan))
    }

    /// The moments within a span at which a version begins.
    pub fn changes(&self, from: Timestamp, to: Timestamp) -> Vec<Timestamp> {
        let mut changes: Vec<_> =
            self.versions.iter().map(|plan| plan.effective_from).filter(|at| *at > from && *at < to).collect();
        changes.sort_unstable();
        changes.dedup();
        changes
    }
}

impl PricePlan {
    /// How closely the plan is assigned to `plan` of the tenants file: an exact name goes first, then the longest pattern.
    fn fit(&self, plan: &str) -> Option<(bool, usize)> {
        let fits = self.plans.iter().filter(|pattern| glob::matches(pattern, plan));
        fits.map(|pattern| (pattern == plan, pattern.len())).max()
    }

    /// The meters whose units the plan needs.
    pub fn meters(&self) -> impl Iterator<Item = &str> {
        let burnt = self.credits.iter().flat_map(|credits| credits.burn.iter().map(|(meter, _)| meter.as_str()));
        self.charges.iter().map(|charge| charge.meter.as_str()).chain(burnt)
    }
}

impl Pricing {
    /// The same prices as tiers, as Stripe writes them: included units are a first tier without a price.
    pub fn as_tiers(&self) -> Vec<Tier> {
        match self {
            Pricing::PerUnit { included, price } => {
                let free = (*included > 0).then_some(Tier { up_to: Some(*included), ..Tier::free() });
                free.into_iter().chain([Tier { up_to: None, per_unit: *price, flat: Pico::ZERO }]).collect()
            }
            Pricing::Graduated(tiers) | Pricing::Volume(tiers) => tiers.clone(),
        }
    }
}

impl Tier {
    fn free() -> Self {
        Tier { up_to: None, per_unit: Pico::ZERO, flat: Pico::ZERO }
    }
}

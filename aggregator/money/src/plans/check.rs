//! Checks `price_plans` as a whole, and says where and how to mend it.
use std::collections::{BTreeMap, BTreeSet, HashMap};

use weir_contract::Timestamp;

use super::file::{ChargeFile, CreditsFile, PricePlanFile, Prorate, TierFile};
use super::{
    ASSIGNED_MAX, CHARGES_MAX, Charge, Credits, EXPIRY_PERIODS_MAX, MARKUP_MAX, NAME_MAX_BYTES, PRICE_PLANS_MAX,
    PricePlan, PricePlans, Pricing, TIERS_MAX, Tier,
};
use crate::amount::{Currency, PICO, Pico};
use crate::exact::Exact;
use crate::prices::check::compete;

/// The meter that `per_request` prices.
const REQUESTS: &str = "requests";

/// The place of a problem in `price_plans`, and the problem with its remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct PlansError {
    /// The path of the field: `price_plans[0].charges[1].per_unit`.
    pub path: String,
    /// The problem.
    pub problem: PlanProblem,
}

/// Why price plans cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanProblem {
    /// There are too many of something.
    #[error("{0} entries; at most {1}")]
    TooMany(usize, usize),
    /// The name is too long or has other characters than allowed.
    #[error("{0:?}: a name is 1 to {NAME_MAX_BYTES} of a-z 0-9 _ - .")]
    Name(String),
    /// Two versions of a plan begin at the same moment.
    #[error("the plan {0:?} is there twice from the same moment; give the later version an effective_from of its own")]
    Twice(String),
    /// A version begins in the middle of an hour.
    #[error("{0} is not a full hour; windows are never split, so write one such as 2026-12-01T00:00:00Z")]
    NotAnHour(Timestamp),
    /// An amount is negative.
    #[error("{0} is negative; write 0 or more")]
    Negative(Pico),
    /// An amount has too many digits.
    #[error("{0} is too large; an amount has at most 15 digits before the point, so check the unit that it is for")]
    TooLarge(Pico),
    /// No meter has this name.
    #[error("there is no meter {0:?}; there are {1}")]
    UnknownMeter(String, String),
    /// A meter is priced twice in one plan.
    #[error("{0:?} is priced twice in this plan; put both prices into one charge")]
    PricedTwice(String),
    /// A charge has no price, or several.
    #[error("write exactly one of per_unit, graduated and volume")]
    OnePricing,
    /// `included` stands beside tiers.
    #[error("`included` goes with per_unit only; with tiers, begin with a tier that costs nothing")]
    IncludedWithTiers,
    /// A plan names another currency.
    #[error("{0} in a plan in {1}; a plan has one currency, so make a plan of its own for {0}")]
    CurrencyMix(Currency, Currency),
    /// The tiers do not increase.
    #[error("up_to {0} does not follow {1}; tiers stand in increasing order")]
    TierOrder(u64, u64),
    /// A tier other than the last has no end.
    #[error("only the last tier has no up_to; give this one the number of its last unit")]
    TierOpen,
    /// The last tier has an end.
    #[error("units beyond {0} have no price; leave up_to of the last tier away, or add a tier")]
    TierClosed(u64),
    /// There is no tier.
    #[error("there is no tier; write at least one")]
    NoTier,
    /// The number of periods is out of range.
    #[error("{0} is not from 1 to {EXPIRY_PERIODS_MAX} billing periods")]
    Expiry(u32),
    /// Nothing burns the credits.
    #[error("no meter burns these credits; write what a unit burns, such as {{input_tokens: 0.001}}")]
    NoBurn,
    /// The factor is out of range.
    #[error("{0} is not a factor from 0 to {MARKUP_MAX} with at most six digits after the point")]
    Markup(Pico),
    /// Patterns of two price plans fit the same plan, and neither goes first.
    #[error(
        "{pattern:?} and {known:?} of the price plan {other:?} are equally long and fit the same plans, from {from} on; make one longer"
    )]
    Patterns {
        /// The pattern.
        pattern: String,
        /// The other.
        known: String,
        /// The price plan of the other.
        other: String,
        /// The first moment at which both apply.
        from: Timestamp,
    },
    /// A tenant or plan has two price plans at once.
    #[error(
        "{what} {name:?} has the price plan {other:?} as well, from {from} on; a tenant pays by one plan at a time"
    )]
    Overlap {
        /// `tenant` or `plan`.
        what: &'static str,
        /// Its name.
        name: String,
        /// The other price plan.
        other: String,
        /// The first moment at which both apply.
        from: Timestamp,
    },
}

type Checked<T> = Result<T, PlansError>;

fn wrong<T>(path: impl Into<String>, problem: PlanProblem) -> Checked<T> {
    Err(PlansError { path: path.into(), problem })
}

impl PricePlans {
    /// Checks the entries of `price_plans`; `meters` are the names of the meters.
    pub fn new(files: Vec<PricePlanFile>, meters: &[String]) -> Checked<Self> {
        if files.len() > PRICE_PLANS_MAX {
            return wrong("price_plans", PlanProblem::TooMany(files.len(), PRICE_PLANS_MAX));
        }
        let mut numbered = Vec::with_capacity(files.len());
        for (number, file) in files.into_iter().enumerate() {
            let at = format!("price_plans[{number}]");
            numbered.push((number, Entry { at: &at, meters }.plan(file)?));
        }
        numbered.sort_by(|(_, a), (_, b)| (&a.name, a.effective_from).cmp(&(&b.name, b.effective_from)));
        check_versions(&numbered)?;
        let numbers: Vec<usize> = numbered.iter().map(|(number, _)| *number).collect();
        let plans = PricePlans { versions: numbered.into_iter().map(|(_, plan)| plan).collect() };
        check_overlaps(&plans, &numbers)?;
        Ok(plans)
    }
}

fn check_versions(sorted: &[(usize, PricePlan)]) -> Checked<()> {
    for pair in sorted.windows(2) {
        let [(_, before), (number, after)] = pair else { continue };
        if before.name != after.name {
            continue;
        }
        let at = format!("price_plans[{number}]");
        if before.effective_from == after.effective_from {
            return wrong(at, PlanProblem::Twice(after.name.clone()));
        }
        if before.currency != after.currency {
            return wrong(format!("{at}.currency"), PlanProblem::CurrencyMix(after.currency, before.currency));
        }
    }
    Ok(())
}

/// Looks at every moment at which a version begins: between them nothing changes.
fn check_overlaps(plans: &PricePlans, numbers: &[usize]) -> Checked<()> {
    let moments: BTreeSet<Timestamp> = plans.versions.iter().map(|plan| plan.effective_from).collect();
    let number_of = |plan: &PricePlan| {
        let at = plans.versions.iter().position(|known| std::ptr::eq(known, plan)).unwrap_or_default();
        numbers.get(at).copied().unwrap_or_default()
    };
    for from in moments {
        let mut taken: HashMap<(&str, &str), &PricePlan> = HashMap::new();
        for plan in plans.in_force(from) {
            let tenants = plan.tenants.iter().map(|name| ("tenant", name));
            for (what, name) in tenants.chain(plan.plans.iter().map(|name| ("plan", name))) {
                if let Some(other) = taken.insert((what, name), plan).filter(|other| !std::ptr::eq(*other, plan)) {
                    let path = format!("price_plans[{}].{what}s", number_of(plan));
                    let (name, other) = (name.clone(), other.name.clone());
                    return wrong(path, PlanProblem::Overlap { what, name, other, from });
                }
            }
        }
        check_patterns(plans, from, &number_of)?;
    }
    Ok(())
}

/// Refuses equally long patterns of two price plans that fit the same plan: neither goes before the other.
fn check_patterns(plans: &PricePlans, from: Timestamp, number_of: &dyn Fn(&PricePlan) -> usize) -> Checked<()> {
    let mut by_length: BTreeMap<usize, Vec<(&str, &PricePlan)>> = BTreeMap::new();
    for plan in plans.in_force(from) {
        for pattern in plan.plans.iter().filter(|pattern| pattern.contains('*')) {
            let known = by_length.entry(pattern.len()).or_default();
            let rival = known.iter().find(|(known, of)| !std::ptr::eq(*of, plan) && compete(known, pattern));
            if let Some((known, other)) = rival {
                let (pattern, known, other) = (pattern.clone(), (*known).to_owned(), other.name.clone());
                let path = format!("price_plans[{}].plans", number_of(plan));
                return wrong(path, PlanProblem::Patterns { pattern, known, other, from });
            }
            known.push((pattern, plan));
        }
    }
    Ok(())
}

/// One entry under check.
struct Entry<'a> {
    at: &'a str,
    meters: &'a [String],
}

impl Entry<'_> {
    fn plan(&self, file: PricePlanFile) -> Checked<PricePlan> {
        let at = self.at;
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-' | b'.');
        if file.name.is_empty() || file.name.len() > NAME_MAX_BYTES || !file.name.bytes().all(fits) {
            return wrong(format!("{at}.name"), PlanProblem::Name(file.name));
        }
        if let Some(from) = file.effective_from.filter(|from| from.hour() != *from) {
            return wrong(format!("{at}.effective_from"), PlanProblem::NotAnHour(from));
        }
        for (field, assigned) in [("plans", &file.plans), ("tenants", &file.tenants)] {
            if assigned.len() > ASSIGNED_MAX {
                return wrong(format!("{at}.{field}"), PlanProblem::TooMany(assigned.len(), ASSIGNED_MAX));
            }
        }
        let mut tenants = file.tenants.clone();
        tenants.sort_unstable();
        Ok(PricePlan {
            base_fee: self.amount("base_fee", file.base_fee)?,
            minimum: self.amount("minimum", file.minimum)?,
            cost_plus: file.cost_plus.map(|factor| self.markup(factor)).transpose()?,
            charges: self.charges(&file)?,
            credits: file.credits.map(|credits| self.credits(credits, &file.charges)).transpose()?,
            prorate: file.prorate.unwrap_or_default() == Prorate::Day,
            name: file.name,
            currency: file.currency,
            effective_from: file.effective_from.unwrap_or_default(),
            plans: file.plans,
            tenants,
        })
    }

    fn amount(&self, field: &str, amount: Option<Pico>) -> Checked<Pico> {
        match amount.unwrap_or_default() {
            negative if negative.is_negative() => {
                wrong(format!("{}.{field}", self.at), PlanProblem::Negative(negative))
            }
            large if !large.is_writable() => wrong(format!("{}.{field}", self.at), PlanProblem::TooLarge(large)),
            amount => Ok(amount),
        }
    }

    fn markup(&self, factor: Pico) -> Checked<Pico> {
        let fits = factor.0 >= 0 && factor.0 <= MARKUP_MAX * PICO && factor.0 % 1_000_000 == 0;
        if fits { Ok(factor) } else { wrong(format!("{}.cost_plus", self.at), PlanProblem::Markup(factor)) }
    }

    fn meter(&self, field: &str, meter: &str) -> Checked<()> {
        if self.meters.iter().any(|known| known == meter) {
            return Ok(());
        }
        let problem = PlanProblem::UnknownMeter(meter.to_owned(), self.meters.join(", "));
        wrong(format!("{}.{field}", self.at), problem)
    }

    fn charges(&self, file: &PricePlanFile) -> Checked<Vec<Charge>> {
        if file.charges.len() > CHARGES_MAX {
            return wrong(format!("{}.charges", self.at), PlanProblem::TooMany(file.charges.len(), CHARGES_MAX));
        }
        let mut charges: BTreeMap<&str, Charge> = BTreeMap::new();
        for (number, charge) in file.charges.iter().enumerate() {
            let at = format!("charges[{number}]");
            self.meter(&format!("{at}.meter"), &charge.meter)?;
            if let Some(other) = charge.currency.filter(|currency| *currency != file.currency) {
                let path = format!("{}.{at}.currency", self.at);
                return wrong(path, PlanProblem::CurrencyMix(other, file.currency));
            }
            let priced = Charge { meter: charge.meter.clone(), pricing: self.pricing(&at, charge)? };
            if charges.insert(&charge.meter, priced).is_some() {
                return wrong(format!("{}.{at}.meter", self.at), PlanProblem::PricedTwice(charge.meter.clone()));
            }
        }
        if let Some(price) = file.per_request {
            self.meter("per_request", REQUESTS)?;
            let price = self.amount("per_request", Some(price))?;
            let charge = Charge { meter: REQUESTS.to_owned(), pricing: Pricing::PerUnit { included: 0, price } };
            if charges.insert(REQUESTS, charge).is_some() {
                return wrong(format!("{}.per_request", self.at), PlanProblem::PricedTwice(REQUESTS.to_owned()));
            }
        }
        Ok(charges.into_values().collect())
    }

    fn pricing(&self, at: &str, charge: &ChargeFile) -> Checked<Pricing> {
        match (charge.per_unit, &charge.graduated, &charge.volume) {
            (Some(price), None, None) => Ok(Pricing::PerUnit {
                included: charge.included.unwrap_or(0),
                price: self.amount(&format!("{at}.per_unit"), Some(price))?,
            }),
            (None, Some(_), None) | (None, None, Some(_)) if charge.included.is_some() => {
                wrong(format!("{}.{at}.included", self.at), PlanProblem::IncludedWithTiers)
            }
            (None, Some(tiers), None) => self.tiers(&format!("{at}.graduated"), tiers).map(Pricing::Graduated),
            (None, None, Some(tiers)) => self.tiers(&format!("{at}.volume"), tiers).map(Pricing::Volume),
            _ => wrong(format!("{}.{at}", self.at), PlanProblem::OnePricing),
        }
    }

    fn tiers(&self, at: &str, files: &[TierFile]) -> Checked<Vec<Tier>> {
        if files.len() > TIERS_MAX {
            return wrong(format!("{}.{at}", self.at), PlanProblem::TooMany(files.len(), TIERS_MAX));
        }
        let Some(last) = files.len().checked_sub(1) else {
            return wrong(format!("{}.{at}", self.at), PlanProblem::NoTier);
        };
        let (mut tiers, mut before) = (Vec::with_capacity(files.len()), 0);
        for (number, file) in files.iter().enumerate() {
            let field = format!("{}.{at}[{number}].up_to", self.at);
            match (file.up_to, number == last) {
                (Some(up_to), true) => return wrong(field, PlanProblem::TierClosed(up_to)),
                (None, false) => return wrong(field, PlanProblem::TierOpen),
                (Some(up_to), _) if up_to <= before => return wrong(field, PlanProblem::TierOrder(up_to, before)),
                (up_to, _) => before = up_to.unwrap_or(before),
            }
            tiers.push(Tier {
                up_to: file.up_to,
                per_unit: self.amount(&format!("{at}[{number}].per_unit"), file.per_unit)?,
                flat: self.amount(&format!("{at}[{number}].flat"), file.flat)?,
            });
        }
        Ok(tiers)
    }

    fn credits(&self, file: CreditsFile, charges: &[ChargeFile]) -> Checked<Credits> {
        let expires_after = file.expires_after.unwrap_or(1);
        if !(1..=EXPIRY_PERIODS_MAX).contains(&expires_after) {
            return wrong(format!("{}.credits.expires_after", self.at), PlanProblem::Expiry(expires_after));
        }
        if file.burn.is_empty() {
            return wrong(format!("{}.credits.burn", self.at), PlanProblem::NoBurn);
        }
        let mut burn = Vec::with_capacity(file.burn.len());
        for (meter, rate) in file.burn {
            let field = format!("credits.burn.{meter}");
            self.meter(&field, &meter)?;
            if charges.iter().any(|charge| charge.meter == meter) {
                return wrong(format!("{}.{field}", self.at), PlanProblem::PricedTwice(meter));
            }
            burn.push((meter, self.amount(&field, Some(rate))?));
        }
        Ok(Credits {
            grant: self.amount("credits.grant", Some(file.grant))?,
            expires_after,
            burn,
            per_credit: self.amount("credits.per_credit", file.per_credit)?,
        })
    }
}

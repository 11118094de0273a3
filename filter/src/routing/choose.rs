//! Chooses the models that serve one request, in the order in which they are tried.
//!
//! Candidates are looked at in the order of their prices, and once, by comparing numbers; those that are dearer than all that would
//! be tried are not looked at (`cheapest`). A body is translated only for those that would be tried, since what a dialect cannot
//! say rules a candidate out before it is tried.
use std::hash::Hasher;
use std::rc::Rc;

use siphasher::sip::SipHasher13;
use weir_config::routing::{Order, SplitBy};
use weir_contract::Class;
use weir_contract::placement::Placement;
use weir_contract::stage::Stage;
use weir_llm_translate::{Dialect, Server, betas, translate};

use super::cheapest::{Cheapest, Fit};
use super::{Candidate, Catalogue, Habits, Least, Misfit, Model, Rule, class_bit, stage_bit};
use crate::flags::RequestFlags;
use crate::hash;
use crate::plan::Plan;

/// What a choice depends on.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The dialect that the client speaks.
    pub dialect: Dialect,
    /// The model that it asks for.
    pub model: &'a str,
    /// The class of the request.
    pub class: Class,
    /// The plan of its tenant.
    pub plan: &'a Plan,
    /// The stage of the tenant's budget.
    pub stage: Stage,
    /// Where the tenant is kept apart from others.
    pub placement: Option<&'a Placement>,
    /// The headers of a caller that is believed, as far as rules depend on them.
    pub headers: &'a [(Box<str>, Box<str>)],
    /// Its tenant.
    pub tenant: &'a str,
    /// Its end user.
    pub user: Option<&'a str>,
    /// The tokens of its prompt, by estimate.
    pub input_tokens: u64,
    /// The tokens that its answer is expected to have.
    pub output_tokens: u64,
    /// The most tokens that it asks for, if it says so.
    pub output_cap: Option<u64>,
    /// It has tools.
    pub tools: bool,
    /// It has images.
    pub images: bool,
    /// Its feature flags, where they are decided.
    pub flags: Option<&'a RequestFlags>,
    /// Its answer can be translated. Kong cannot.
    pub translates: bool,
    /// Its body.
    pub body: &'a [u8],
    /// What it says in `anthropic-beta`, with commas, where a provider of the catalogue depends on it.
    pub betas: &'a str,
    /// Providers whose breaker is open, a bit each.
    pub open: u32,
    /// Providers whose pool is saturated, a bit each.
    pub saturated: u32,
    /// Providers at which the tenant has no key of its own that serves, though it needs one, a bit each.
    pub keyless: u32,
}

/// Why the first model of a chain was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The client named it.
    Named,
    /// It costs least.
    Cheapest,
    /// The tenant had it before, and no other is enough cheaper.
    Kept,
    /// The tenant or user belongs to its part.
    Split,
    /// It is listed first of those that fit.
    Listed,
    /// Every provider fails, and this one is tried all the same.
    LastResort,
}

impl Why {
    /// The word in events and headers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Why::Named => "named",
            Why::Cheapest => "cheapest",
            Why::Kept => "kept",
            Why::Split => "split",
            Why::Listed => "listed",
            Why::LastResort => "last_resort",
        }
    }
}

/// The models that serve a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// In the order in which they are tried, each of another provider.
    pub models: Vec<Rc<str>>,
    /// Their providers, joined by dots: the value of [`super::CHAIN_HEADER`].
    pub chain: String,
    /// Why the first of them is the first.
    pub why: Why,
    /// Candidates that do not fit.
    pub dropped: Vec<(Rc<str>, Misfit)>,
}

/// The result of a choice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Nothing in the catalogue is asked for.
    Unasked,
    /// No candidate fits.
    NoneFits(Vec<(Rc<str>, Misfit)>),
    /// These serve it.
    Chosen(Chosen),
}

impl Choice {
    fn dropped(&self) -> &[(Rc<str>, Misfit)] {
        match self {
            Choice::Chosen(Chosen { dropped, .. }) | Choice::NoneFits(dropped) => dropped,
            Choice::Unasked => &[],
        }
    }

    /// The model that is tried first.
    pub(crate) fn first(&self) -> Option<&str> {
        if let Choice::Chosen(chosen) = self { chosen.models.first().map(|model| &**model) } else { None }
    }
}

/// Which candidates are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// All.
    All,
    /// Until no other can be among those that are tried.
    Cheapest,
}

/// What a request asks of each candidate.
struct Bounds {
    least: Least,
    tokens: u64,
    /// For each provider why it may not serve the tenant.
    barred: [Option<Misfit>; super::PROVIDERS_MAX],
}

impl Catalogue {
    /// Chooses the models for a request.
    pub fn choose(&self, asked: &Asked<'_>, habits: &mut Habits) -> Choice {
        if let Some((at, rule)) = self.rules.iter().enumerate().find(|(_, rule)| rule.matches(asked)) {
            return self.choose_by(at, rule, asked, habits);
        }
        let Some(named) = self.models.iter().position(|model| *model.name == *asked.model) else {
            return Choice::Unasked;
        };
        // A model that the plan does not allow is the plan's matter: it refuses it, or puts another in its place.
        if asked.plan.models.as_ref().is_some_and(|models| !models.allows(asked.model)) {
            return Choice::Unasked;
        }
        let mut sorted = Sorted::default();
        self.consider(named, &self.bounds(Least::ANY, asked), asked, &mut sorted);
        self.chain(sorted, None, Why::Named, asked)
    }

    fn choose_by(&self, at: usize, rule: &Rule, asked: &Asked<'_>, habits: &mut Habits) -> Choice {
        let choice = self.choose_among(Reach::Cheapest, at, rule, asked, habits);
        // What a dialect cannot say makes room for candidates that were not looked at.
        if choice.dropped().iter().any(|(_, misfit)| *misfit == Misfit::Dialect) {
            return self.choose_among(Reach::All, at, rule, asked, habits);
        }
        choice
    }

    pub(super) fn choose_among(
        &self,
        reach: Reach,
        at: usize,
        rule: &Rule,
        asked: &Asked<'_>,
        habits: &mut Habits,
    ) -> Choice {
        let bounds = self.bounds(rule.least, asked);
        let reach = if rule.order == Order::Listed { Reach::All } else { reach };
        let mut sorted = self.sort(rule, reach, &bounds, asked);
        if let Some(model) = rule.part(asked) {
            self.consider_if_new(model, rule, &bounds, asked, &mut sorted);
            return self.chain(sorted, Some(model), Why::Split, asked);
        }
        if rule.order == Order::Listed {
            sorted.rank(&rule.candidates);
            return self.chain(sorted, None, Why::Listed, asked);
        }
        if rule.candidates.len() == 1 {
            return self.chain(sorted, None, Why::Cheapest, asked);
        }
        let key = self.habit_key(at, asked.tenant);
        let before = habits.model(key);
        if let Some(model) = before {
            self.consider_if_new(model, rule, &bounds, asked, &mut sorted);
        }
        let is_cheapest = before.and_then(|model| sorted.is_cheapest_of_near(model, self.hysteresis_percent));
        let kept = before.filter(|_| is_cheapest.is_some());
        let why = if is_cheapest == Some(false) { Why::Kept } else { Why::Cheapest };
        let choice = self.chain(sorted, kept, why, asked);
        if let Choice::Chosen(Chosen { models, why: Why::Cheapest | Why::Kept, .. }) = &choice
            && let Some(first) = models.first()
        {
            let is_first = |model: &Model| Rc::ptr_eq(&model.name, first);
            if !kept.and_then(|kept| self.models.get(kept)).is_some_and(is_first)
                && let Some(model) = self.models.iter().position(is_first)
            {
                habits.keep(key, model);
            }
        }
        choice
    }

    /// Names a tenant under a rule of this catalogue. Two that share a name share what they had before, and nothing else.
    fn habit_key(&self, rule: usize, tenant: &str) -> u64 {
        hash::fixed(tenant) ^ hash::fixed(self.delivered.as_deref().unwrap_or_default()) ^ (rule as u64).rotate_left(32)
    }

    /// What a request asks of each candidate.
    fn bounds(&self, least: Least, asked: &Asked<'_>) -> Bounds {
        let tokens = asked.input_tokens.saturating_add(asked.output_cap.unwrap_or(0));
        Bounds { least, tokens, barred: self.barred(asked) }
    }

    /// Sorts candidates of a rule into those that fit, those behind an open breaker, and the others.
    fn sort(&self, rule: &Rule, reach: Reach, bounds: &Bounds, asked: &Asked<'_>) -> Sorted {
        let mut sorted = Sorted::default();
        let mut cheapest = Cheapest::of(self.tried(rule, bounds, asked).filter(|_| reach == Reach::Cheapest));
        for candidate in &rule.by_price {
            if cheapest.beats(|| self.least_cost(candidate, asked)) {
                break;
            }
            if let Some(fit) = self.consider(candidate.model, bounds, asked, &mut sorted) {
                cheapest.add(fit);
            }
        }
        sorted
    }

    /// How many providers a chain of the rule tries. None where some may not be tried now: then all candidates are looked at, so that
    /// the event says which were left out.
    fn tried(&self, rule: &Rule, bounds: &Bounds, asked: &Asked<'_>) -> Option<u32> {
        let barred = bounds.barred.iter().take(self.providers.len()).zip(0_u32..);
        let barred = barred.filter(|(misfit, _)| misfit.is_some());
        let barred = barred.fold(0, |bits, (_, at)| bits | 1_u32.checked_shl(at).unwrap_or(0));
        let all_may = rule.providers & (asked.open | asked.saturated | barred) == 0;
        all_may.then(|| rule.providers.count_ones().min(u32::try_from(self.attempts_max).unwrap_or(u32::MAX)))
    }

    /// A bound for the cost of a candidate and all that are dearer by their input.
    fn least_cost(&self, candidate: &Candidate, asked: &Asked<'_>) -> u64 {
        let input = self.models.get(candidate.model).map_or(0, |model| model.price.input);
        let output = asked.output_tokens.min(candidate.output_max_least);
        let input = asked.input_tokens.saturating_mul(input);
        input.saturating_add(output.saturating_mul(candidate.output_price_least))
    }

    /// Looks at a candidate. Returns it if it fits and its provider works.
    fn consider(&self, at: usize, bounds: &Bounds, asked: &Asked<'_>, sorted: &mut Sorted) -> Option<Fit> {
        let model = self.models.get(at)?;
        let misfit = match bounds.barred.get(model.provider).copied().flatten() {
            Some(misfit) => Some(misfit),
            None if asked.saturated & 1 << model.provider != 0 => Some(Misfit::Pool),
            None => {
                let Bounds { least, tokens, .. } = *bounds;
                model.misfit(least.quality, tokens, asked).or_else(|| self.slow(at, least, asked.class))
            }
        };
        if let Some(misfit) = misfit {
            sorted.dropped.push((Rc::clone(&model.name), misfit));
            return None;
        }
        let fit = Fit { cost: model.cost(asked), model: at, provider: model.provider };
        if asked.open & 1 << model.provider != 0 {
            sorted.open.push(fit);
            return None;
        }
        sorted.fits.push(fit);
        Some(fit)
    }

    /// Looks at a candidate of a rule that was not looked at yet.
    fn consider_if_new(&self, at: usize, rule: &Rule, bounds: &Bounds, asked: &Asked<'_>, sorted: &mut Sorted) {
        let Some(model) = self.models.get(at) else { return };
        let is_known = sorted.fits.iter().chain(&sorted.open).any(|fit| fit.model == at)
            || sorted.dropped.iter().any(|(name, _)| Rc::ptr_eq(name, &model.name));
        if !is_known && rule.candidates.contains(&at) {
            self.consider(at, bounds, asked, sorted);
        }
    }

    /// Whether a model has been too slow lately. One that nobody has measured is not.
    fn slow(&self, model: usize, least: Least, class: Class) -> Option<Misfit> {
        let max = Some(least.latency_p99_ms_max).filter(|max| *max != u32::MAX)?;
        (self.p99_ms(model, class)? > max).then_some(Misfit::Latency)
    }

    /// For each provider why it may not serve the tenant, if it may not. What the plan says and what the tenant's own record says
    /// bind both: neither widens the other.
    fn barred(&self, asked: &Asked<'_>) -> [Option<Misfit>; super::PROVIDERS_MAX] {
        let regions = [asked.plan.region.as_deref(), asked.placement.and_then(|placement| placement.region.as_deref())];
        let endpoints =
            [asked.plan.endpoint.as_deref(), asked.placement.and_then(|placement| placement.endpoint.as_deref())];
        if regions == [None; 2] && endpoints == [None; 2] && asked.keyless == 0 && !self.has_endpoints {
            return [None; super::PROVIDERS_MAX];
        }
        let is_other =
            |wanted: &[Option<&str>; 2], own: Option<&str>| wanted.iter().flatten().any(|wanted| Some(*wanted) != own);
        let mut barred = [None; super::PROVIDERS_MAX];
        for (at, (place, provider)) in barred.iter_mut().zip(&self.providers).enumerate() {
            let endpoint = provider.endpoint.as_deref();
            // A dedicated endpoint serves those alone who name it.
            let is_anothers = endpoint.is_some() && endpoints == [None; 2];
            *place = match () {
                () if is_other(&regions, provider.region.as_deref()) => Some(Misfit::Region),
                () if is_anothers || is_other(&endpoints, endpoint) => Some(Misfit::Endpoint),
                () if asked.keyless & 1 << at != 0 => Some(Misfit::Key),
                () => None,
            };
        }
        barred
    }

    /// Makes a chain of the cheapest models that fit, each of another provider; `first` comes first.
    fn chain(&self, sorted: Sorted, first: Option<usize>, why: Why, asked: &Asked<'_>) -> Choice {
        let Sorted { mut fits, open, mut dropped } = sorted;
        let (mut tried, mut name) = (0_u32, String::new());
        let mut models = Vec::with_capacity(self.attempts_max.min(fits.len().max(open.len())));
        let mut reason = why;
        if fits.is_empty() && !open.is_empty() {
            (fits, reason) = (open, Why::LastResort);
        } else {
            dropped.extend(
                open.iter().filter_map(|fit| Some((Rc::clone(&self.models.get(fit.model)?.name), Misfit::Breaker))),
            );
        }
        let mut is_first = true;
        while models.len() < self.attempts_max
            && let Some(at) = next(&fits, tried, first.filter(|_| is_first))
        {
            let fit = fits.swap_remove(at);
            let Some(model) = self.models.get(fit.model) else { continue };
            let is_wanted = first.is_none_or(|first| first == fit.model);
            if self.speaks(model, asked) {
                if is_first && !is_wanted && reason != Why::LastResort {
                    reason = Why::Cheapest;
                }
                is_first = false;
                tried |= bit(fit.provider);
                self.extend_name(&mut name, fit.provider);
                models.push(Rc::clone(&model.name));
            } else {
                dropped.push((Rc::clone(&model.name), Misfit::Dialect));
            }
        }
        if models.is_empty() {
            return Choice::NoneFits(dropped);
        }
        Choice::Chosen(Chosen { models, chain: name, why: reason, dropped })
    }

    /// Whether the request can be said in the model's dialect without a loss.
    fn speaks(&self, model: &Model, asked: &Asked<'_>) -> bool {
        let Some(provider) = self.providers.get(model.provider) else { return false };
        if !asked.translates && provider.server.dialect() != asked.dialect {
            return false;
        }
        let is_own =
            provider.server.dialect() == asked.dialect && matches!(provider.server, Server::OpenAi | Server::Anthropic);
        if is_own {
            return true;
        }
        if provider.server.is_cloud() && betas(provider.server, &provider.betas, asked.betas).is_err() {
            return false;
        }
        translate(asked.dialect, &model.target(provider.server), asked.body).is_ok()
    }
}

/// The bit of a provider.
fn bit(provider: usize) -> u32 {
    u32::try_from(provider).ok().and_then(|at| 1_u32.checked_shl(at)).unwrap_or(0)
}

/// The place of the fit that is tried next: `first` if it is there, else the cheapest of a provider that has no turn yet.
/// `tried`: the providers that have, a bit each.
fn next(fits: &[Fit], tried: u32, first: Option<usize>) -> Option<usize> {
    if let Some(at) = first.and_then(|first| fits.iter().position(|fit| fit.model == first)) {
        return Some(at);
    }
    let left = fits.iter().enumerate().filter(|(_, fit)| tried & bit(fit.provider) == 0);
    left.min_by_key(|(_, fit)| (fit.cost, fit.model)).map(|(at, _)| at)
}

#[derive(Debug, Default)]
struct Sorted {
    fits: Vec<Fit>,
    /// They would fit, and their provider fails.
    open: Vec<Fit>,
    dropped: Vec<(Rc<str>, Misfit)>,
}

impl Sorted {
    /// Puts those that fit in the order of a list.
    fn rank(&mut self, list: &[usize]) {
        for fit in self.fits.iter_mut().chain(&mut self.open) {
            let place = list.iter().position(|model| *model == fit.model).unwrap_or(list.len());
            fit.cost = u64::try_from(place).unwrap_or(u64::MAX);
        }
    }

    /// Whether a model is as cheap as the cheapest; None if it does not fit, or costs more than so many percent more.
    fn is_cheapest_of_near(&self, model: usize, percent: u64) -> Option<bool> {
        let own = self.fits.iter().find(|fit| fit.model == model)?.cost;
        let least = self.fits.iter().map(|fit| fit.cost).min().unwrap_or(0);
        let is_near = own.saturating_mul(100) <= least.saturating_mul(percent.saturating_add(100));
        is_near.then_some(own <= least)
    }
}

impl Model {
    fn misfit(&self, quality_min: u8, tokens: u64, asked: &Asked<'_>) -> Option<Misfit> {
        if tokens > self.context_max_tokens {
            return Some(Misfit::Context);
        }
        if asked.output_cap.is_some_and(|cap| cap > self.output_max_tokens) {
            return Some(Misfit::Output);
        }
        if asked.tools && !self.tools {
            return Some(Misfit::Tools);
        }
        if asked.images && !self.images {
            return Some(Misfit::Images);
        }
        if quality_min > 0 && self.quality(asked.class) < quality_min {
            return Some(Misfit::Quality);
        }
        if asked.plan.models.as_ref().is_some_and(|models| !models.allows(&self.name)) {
            return Some(Misfit::Plan);
        }
        None
    }

    /// The expected cost, in units that only compare.
    fn cost(&self, asked: &Asked<'_>) -> u64 {
        let output = asked.output_tokens.min(self.output_max_tokens);
        let input = asked.input_tokens.saturating_mul(self.price.input);
        input.saturating_add(output.saturating_mul(self.price.output))
    }
}

impl Rule {
    fn matches(&self, asked: &Asked<'_>) -> bool {
        *self.model == *asked.model
            && self.classes & class_bit(asked.class) != 0
            && self.stages & stage_bit(asked.stage) != 0
            && asked.input_tokens <= self.prompt_tokens_max
            && self.tools.is_none_or(|tools| tools == asked.tools)
            && self.images.is_none_or(|images| images == asked.images)
            && self.flag.as_ref().is_none_or(|flag| flag.holds(asked.flags))
            && (self.plans.is_empty() || self.plans.contains(&asked.plan.name))
            && (self.tenants.is_empty() || self.tenants.iter().any(|tenant| tenant.as_str() == asked.tenant))
            && self.headers.iter().all(|header| asked.headers.contains(header))
    }

    /// The candidate of a split that the tenant or user belongs to; the same for every worker, gateway and start.
    fn part(&self, asked: &Asked<'_>) -> Option<usize> {
        if self.parts.is_empty() {
            return None;
        }
        let total: u64 = self.parts.iter().map(|part| u64::from(*part)).sum();
        let mut hasher = SipHasher13::new();
        hasher.write(self.model.as_bytes());
        hasher.write_u8(0);
        hasher.write(asked.tenant.as_bytes());
        if let Some(user) = asked.user.filter(|_| self.split_by == SplitBy::User) {
            hasher.write_u8(0);
            hasher.write(user.as_bytes());
        }
        let mut place = hasher.finish().checked_rem(total)?;
        for (part, candidate) in self.parts.iter().zip(&self.candidates) {
            match place.checked_sub(u64::from(*part)) {
                Some(left) => place = left,
                None => return Some(*candidate),
            }
        }
        None
    }
}

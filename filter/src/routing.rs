//! Which model serves a request: the catalogue, the rules, and the choice among the models that fit.
//!
//! [`Catalogue::choose`] finds the rule that matches, drops the candidates that do not fit, each for a [`Misfit`], and puts the
//! cheapest of the others first. What follows in the chain is tried when an attempt fails; Envoy has a route for each chain,
//! named by a header ([`CHAIN_HEADER`]) that only weir sets.
//!
//! The role `upstream` ([`crate::upstream`]) learns from [`told`] which model of its provider was chosen.
//!
//! [`breaker`] keeps requests away from providers that fail.
mod accounts;
pub mod breaker;
mod cheapest;
mod choose;
mod compile;
mod deliver;
mod habits;
pub mod handed;
mod in_force;
mod kong;
mod latency;
mod price;
pub mod retries;
pub mod told;

use std::collections::BTreeSet;
use std::rc::Rc;

use weir_config::routing::{Order, RetryBudget, SplitBy};
use weir_contract::stage::Stage;
use weir_contract::{Class, TenantId};
use weir_llm_translate::{Dialect, Server, Target, Thinking};
use weir_llm_usage::Provider as Answerer;

use crate::flags::Condition;
use crate::vault::rule::OwnKeyRule;

pub use accounts::OwnAccounts;
use cheapest::Candidate;
pub use choose::{Asked, Choice, Chosen, Why};
pub(crate) use compile::{MODEL_IN_PATH, check_provider, check_reach, compile_model, server_of};
pub use deliver::{check_delivered, unread_of_delivered};
pub use habits::Habits;
pub use in_force::InForce;
pub use kong::fault_on_kong;
use latency::Latencies;

/// The header by which Envoy picks the route of a chain: names of providers, joined by dots.
pub const CHAIN_HEADER: &str = "x-weir-chain";

/// The most providers of a catalogue: a bit each.
pub(crate) const PROVIDERS_MAX: usize = 32;

/// The most models of a catalogue.
pub(crate) const MODELS_MAX: usize = 256;

/// The most rules.
pub(crate) const RULES_MAX: usize = 256;

/// The most providers that one request tries.
pub(crate) const ATTEMPTS_MAX: usize = 4;

/// The most headers that one rule depends on.
pub(crate) const HEADERS_MAX: usize = 8;

/// The most chains of a catalogue: the gateway has a route for each, and looks through them one by one.
pub const CHAINS_MAX: usize = 1024;

/// The models, their providers, and the rules, compiled.
#[derive(Debug)]
pub struct Catalogue {
    pub(crate) providers: Vec<Provider>,
    /// Some of them is a dedicated endpoint.
    has_endpoints: bool,
    /// Some of them is a cloud, which knows its own list of `anthropic-beta`.
    pub(crate) has_clouds: bool,
    pub(crate) models: Vec<Model>,
    rules: Vec<Rule>,
    attempts_max: usize,
    hysteresis_percent: u64,
    /// Of all prices.
    currency: Box<str>,
    /// Whether clients are told.
    pub tells_client: bool,
    /// What attempts beyond the first draw from.
    pub(crate) retry_budget: RetryBudget,
    /// How fast its models have been lately.
    latencies: Latencies,
    /// The version under which the directory brought it; None for that of the configuration.
    delivered: Option<Box<str>>,
}

/// A provider, compiled.
#[derive(Debug)]
pub(crate) struct Provider {
    pub(crate) name: Rc<str>,
    server: Server,
    region: Option<Box<str>>,
    endpoint: Option<Box<str>>,
    /// Names in `anthropic-beta` that it knows beside those of the tables.
    betas: Box<[Box<str>]>,
    /// How long an attempt may take until the first byte of a stream, and until the end of an answer that comes whole.
    attempt_ms_max: [Option<u32>; 2],
    /// What it does with tenants' own keys.
    pub(crate) own_key: Option<Rc<OwnKeyRule>>,
}

/// A model, compiled.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) name: Rc<str>,
    pub(crate) provider: usize,
    upstream: Box<str>,
    context_max_tokens: u64,
    output_max_tokens: u64,
    quality: [u8; Class::ALL.len()],
    price: Price,
    thinking: Thinking,
    samples: bool,
    tools: bool,
    images: bool,
}

/// What a million tokens of a model cost, in millionths of the currency.
#[derive(Clone, Copy, Debug)]
struct Price {
    input: u64,
    output: u64,
    cache_read: u64,
    cache_write: u64,
}

/// Names, lower case, and values of headers.
type Headers = Vec<(Box<str>, Box<str>)>;

/// A rule, compiled.
#[derive(Debug)]
struct Rule {
    model: Box<str>,
    /// Bits of [`Class`]; all where the rule names none.
    classes: u16,
    /// Bits of [`Stage`]; all where the rule names none.
    stages: u8,
    plans: Vec<Box<str>>,
    tenants: Vec<TenantId>,
    /// Of a caller that is believed. Names are lower case.
    headers: Headers,
    prompt_tokens_max: u64,
    tools: Option<bool>,
    images: Option<bool>,
    flag: Option<Condition>,
    candidates: Vec<usize>,
    /// The same in the order of their prices.
    by_price: Vec<Candidate>,
    /// Their providers, a bit each.
    providers: u32,
    /// The parts of the candidates, if they share the requests: none where the cheapest is chosen.
    parts: Vec<u32>,
    split_by: SplitBy,
    order: Order,
    least: Least,
}

/// What a model must be at least.
#[derive(Clone, Copy, Debug)]
struct Least {
    quality: u8,
    /// The longest time for 99 of 100 answers, in milliseconds.
    latency_p99_ms_max: u32,
}

impl Least {
    /// Every model is as good as this.
    const ANY: Least = Least { quality: 0, latency_p99_ms_max: u32::MAX };
}

/// Why a candidate does not fit a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misfit {
    /// The plan does not allow the model.
    Plan,
    /// Its provider works in another region.
    Region,
    /// Its provider is not the dedicated endpoint, or is that of others.
    Endpoint,
    /// Prompt and answer are longer than its context.
    Context,
    /// It gives no answers as long as the request asks for.
    Output,
    /// It calls no tools.
    Tools,
    /// It reads no images.
    Images,
    /// It is not good enough.
    Quality,
    /// It has been too slow lately.
    Latency,
    /// Its provider fails.
    Breaker,
    /// Its provider's pool is saturated.
    Pool,
    /// The tenant has no key of its own at its provider, or none that can be used.
    Key,
    /// The request says something that has no counterpart in its dialect.
    Dialect,
}

impl Misfit {
    /// The word in events.
    pub const fn as_str(self) -> &'static str {
        match self {
            Misfit::Plan => "plan",
            Misfit::Region => "region",
            Misfit::Endpoint => "endpoint",
            Misfit::Context => "context",
            Misfit::Output => "output",
            Misfit::Tools => "tools",
            Misfit::Images => "images",
            Misfit::Quality => "quality",
            Misfit::Latency => "latency",
            Misfit::Breaker => "breaker",
            Misfit::Pool => "pool",
            Misfit::Key => "key",
            Misfit::Dialect => "dialect",
        }
    }
}

impl Model {
    /// A model as far as the upstream role needs it.
    fn told(name: &str, upstream: &str, output_max_tokens: u64, (thinking, samples): (Thinking, bool)) -> Self {
        Model {
            name: name.into(),
            provider: 0,
            upstream: upstream.into(),
            context_max_tokens: u64::MAX,
            output_max_tokens,
            quality: [0; Class::ALL.len()],
            price: Price { input: 0, output: 0, cache_read: 0, cache_write: 0 },
            thinking,
            samples,
            tools: true,
            images: true,
        }
    }

    /// Its name at the provider.
    pub(crate) fn upstream(&self) -> &str {
        &self.upstream
    }

    pub(crate) fn target(&self, server: Server) -> Target<'_> {
        Target {
            server,
            model: &self.upstream,
            output_tokens_max: self.output_max_tokens,
            thinking: self.thinking,
            samples: self.samples,
        }
    }

    fn quality(&self, class: Class) -> u8 {
        self.quality.get(class as usize).copied().unwrap_or(0)
    }
}

impl Catalogue {
    /// The headers of a caller that is believed, on which rules depend.
    pub(crate) fn header_names(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().flat_map(|rule| &rule.headers).map(|(name, _)| &**name)
    }

    /// How long each attempt of a chain may take, in milliseconds; None: as long as its provider may say nothing. The gateway knows one
    /// time for all attempts of a request, so it is the longest.
    pub(crate) fn attempt_ms_max(&self, chosen: &Chosen, streams: bool) -> Option<u32> {
        let mut longest = 0;
        for model in &chosen.models {
            let [first_token, whole] = self.providers.get(self.provider_at(model)?)?.attempt_ms_max;
            longest = longest.max(if streams { first_token } else { whole }?);
        }
        Some(longest)
    }

    /// The quality of a model for a class.
    pub(crate) fn quality_of(&self, model: &str, class: Class) -> Option<u8> {
        self.model_named(model).map(|model| model.quality(class))
    }

    /// What the upstream role is told of a choice.
    pub(crate) fn told(&self, chosen: &Chosen, dialect: Dialect, terms: &told::Terms) -> String {
        let mut text = told::begin_choice(dialect, terms);
        for name in &chosen.models {
            let model = self.delivered.as_ref().and_then(|_| self.model_named(name));
            match model.and_then(|model| Some((model, self.providers.get(model.provider)?))) {
                Some((model, provider)) => told::add_in_full(&mut text, model, &provider.name),
                None => told::add_word(&mut text, name),
            }
        }
        text
    }

    /// Who answers for a model, as events name it: a translated answer has the shape of another provider.
    pub(crate) fn answerer(&self, model: &str) -> Option<Answerer> {
        let model = self.model_named(model)?;
        Some(match self.providers.get(model.provider)?.server {
            Server::OpenAi | Server::Vllm => Answerer::OpenAi,
            Server::Anthropic => Answerer::Anthropic,
            Server::VertexAnthropic => Answerer::Google,
            Server::BedrockAnthropic => Answerer::Bedrock,
            Server::Mistral => Answerer::Mistral,
            Server::Ollama => Answerer::Ollama,
        })
    }

    /// The name by which a cloud bills a model, which tells the region as well: its answers have the maker's name instead.
    pub(crate) fn billed_name(&self, model: &str) -> Option<&str> {
        let model = self.model_named(model)?;
        let is_cloud =
            matches!(self.providers.get(model.provider)?.server, Server::VertexAnthropic | Server::BedrockAnthropic);
        is_cloud.then_some(&*model.upstream)
    }

    /// The model of a name. Names of a choice are the catalogue's own, so that most are found without reading them.
    fn model_named(&self, name: &str) -> Option<&Model> {
        let is_own =
            |known: &&Model| std::ptr::eq(known.name.as_ptr(), name.as_ptr()) && known.name.len() == name.len();
        self.models.iter().find(is_own).or_else(|| self.models.iter().find(|known| *known.name == *name))
    }

    /// The place of a model's provider.
    pub(crate) fn provider_at(&self, model: &str) -> Option<usize> {
        self.model_named(model).map(|model| model.provider)
    }

    /// The provider of a model: its bit, and its name.
    pub(crate) fn provider_of(&self, model: &str) -> Option<(u32, Rc<str>)> {
        let at = self.provider_at(model)?;
        Some((1_u32.checked_shl(u32::try_from(at).ok()?)?, Rc::clone(&self.providers.get(at)?.name)))
    }

    /// The names of all chains that a choice can make, for the gateway's routes: providers in each order, joined by dots. None
    /// beyond [`CHAINS_MAX`].
    pub fn chains(&self) -> Option<Vec<String>> {
        let mut sets: Vec<Vec<usize>> = self.providers.iter().enumerate().map(|(at, _)| vec![at]).collect();
        for rule in &self.rules {
            let mut set: Vec<usize> =
                rule.candidates.iter().filter_map(|at| Some(self.models.get(*at)?.provider)).collect();
            set.sort_unstable();
            set.dedup();
            sets.push(set);
        }
        self.chains_of(sets)
    }

    /// The names of all chains of some of the providers, where rules may change: each in every order.
    pub(crate) fn chains_of_all(&self) -> Option<Vec<String>> {
        self.chains_of(vec![(0..self.providers.len()).collect()])
    }

    fn chains_of(&self, mut sets: Vec<Vec<usize>>) -> Option<Vec<String>> {
        sets.sort_unstable();
        sets.dedup();
        let mut chains = BTreeSet::new();
        for set in sets {
            self.extend_chains(&set, &mut Vec::new(), &mut chains);
        }
        (chains.len() <= CHAINS_MAX).then(|| chains.into_iter().collect())
    }

    fn extend_chains(&self, set: &[usize], chain: &mut Vec<usize>, chains: &mut BTreeSet<String>) {
        if !chain.is_empty() {
            chains.insert(self.chain_name(chain));
        }
        if chain.len() >= self.attempts_max || chains.len() > CHAINS_MAX {
            return;
        }
        for at in set {
            if !chain.contains(at) {
                chain.push(*at);
                self.extend_chains(set, chain, chains);
                chain.pop();
            }
        }
    }

    fn chain_name(&self, providers: &[usize]) -> String {
        let mut name = String::new();
        providers.iter().for_each(|provider| self.extend_name(&mut name, *provider));
        name
    }

    /// Adds a provider to the name of a chain.
    fn extend_name(&self, name: &mut String, provider: usize) {
        let Some(provider) = self.providers.get(provider) else { return };
        if !name.is_empty() {
            name.push('.');
        }
        name.push_str(&provider.name);
    }
}

/// The dialect that a client speaks on a path; None where no model is chosen.
pub(crate) fn client_dialect(path: &[u8]) -> Option<Dialect> {
    match path {
        b"/v1/chat/completions" => Some(Dialect::OpenAi),
        b"/v1/messages" => Some(Dialect::Anthropic),
        _ => None,
    }
}

const fn stage_bit(stage: Stage) -> u8 {
    1 << stage as u8
}

const fn class_bit(class: Class) -> u16 {
    1 << class as u16
}

#[cfg(test)]
mod tests;

//! Checks and compiles the catalogue and its rules.
use std::collections::BTreeMap;

use weir_config::plans;
use weir_config::routing::Dialect;
use weir_config::shape::{Config, Source};
use weir_config::{ConfigError, routing};
use weir_contract::Class;
use weir_llm_translate::{Server, Thinking};

use crate::flags::Condition;
use crate::head::INJECTED;
use crate::vault::rule;

use super::cheapest::by_price;
use super::{
    ATTEMPTS_MAX, Catalogue, HEADERS_MAX, Headers, Latencies, Least, MODELS_MAX, Model, PROVIDERS_MAX, Price, Provider,
    RULES_MAX, Rule, class_bit, stage_bit,
};

/// The longest name of a provider, in bytes.
const PROVIDER_NAME_MAX_BYTES: usize = 32;

/// The largest share of retries, in percent: more attempts no request makes.
const RETRIES_MAX_PERCENT: u16 = 300;

/// Stands for the model's name in a provider's path.
pub(crate) const MODEL_IN_PATH: &str = "{model}";

/// The longest name of a model, in bytes.
const MODEL_NAME_MAX_BYTES: usize = 64;

/// The most names in `anthropic-beta` that a provider adds.
const BETAS_MAX: usize = 64;

/// The longest of these names, in bytes.
const BETA_MAX_BYTES: usize = 64;

/// What a catalogue is compiled from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written<'a> {
    pub(super) providers: &'a [routing::Provider],
    pub(super) models: &'a [routing::Model],
    pub(super) routing: &'a routing::Routing,
    /// The plans that rules may name; None: any.
    pub(super) plans: Option<&'a BTreeMap<String, plans::Plan>>,
}

impl Catalogue {
    /// Compiles what a configuration says; None where it routes nothing.
    ///
    /// # Errors
    /// For a name that is unknown or given twice, a number out of bounds, and a catalogue that nothing would use.
    pub(crate) fn compile(config: &Config) -> Result<Option<Self>, ConfigError> {
        let Some(routing) = &config.routing else { return check_unused(config).map(|()| None) };
        if !config.hold {
            return Err(ConfigError::new("routing", "with `hold: false` no body is read, so no model can be chosen"));
        }
        if routing.from == routing::Source::Directory && config.directory.is_none() {
            let problem = "`directory` is missing: nothing says which weir serve has the models and rules";
            return Err(ConfigError::new("routing.from", problem));
        }
        let is_measured = |rule: &routing::Rule| rule.latency_p99_ms_max.is_some();
        if let Some(at) = routing.rules.iter().position(is_measured).filter(|_| config.directory.is_none()) {
            let problem = "figures come from weir serve: it needs `directory`";
            return Err(ConfigError::new(format!("routing.rules[{at}].latency_p99_ms_max"), problem));
        }
        for (at, provider) in config.providers.iter().enumerate() {
            check_reach(provider, &format!("providers[{at}]"))?;
        }
        let (providers, models, plans) = (&config.providers, &config.models, Some(&config.plans));
        let catalogue = Self::of(&Written { providers, models, routing, plans })?;
        catalogue.check_plans(config)?;
        check_headers(config)?;
        Ok(Some(catalogue))
    }

    /// Compiles models and rules.
    pub(super) fn of(written: &Written<'_>) -> Result<Self, ConfigError> {
        let rules = written.routing;
        let providers = compile_providers(written.providers, [rules.first_token_ms_max, rules.attempt_ms_max])?;
        let models = compile_models(written.models, &providers)?;
        if !(1..=ATTEMPTS_MAX).contains(&rules.attempts_max) {
            return Err(ConfigError::new("routing.attempts_max", format_args!("expected 1 to {ATTEMPTS_MAX}")));
        }
        if rules.currency.len() != 3 || !rules.currency.bytes().all(|byte| byte.is_ascii_uppercase()) {
            return Err(ConfigError::new("routing.currency", "expected a currency by ISO 4217, such as USD"));
        }
        check_times("routing", [rules.first_token_ms_max, rules.attempt_ms_max])?;
        if rules.retry_budget.percent > RETRIES_MAX_PERCENT {
            return Err(ConfigError::new(
                "routing.retry_budget.percent",
                format_args!("at most {RETRIES_MAX_PERCENT}"),
            ));
        }
        bounded("routing.rules", rules.rules.len(), RULES_MAX)?;
        let mut catalogue = Catalogue {
            latencies: Latencies::of(&models),
            has_endpoints: providers.iter().any(|provider| provider.endpoint.is_some()),
            has_clouds: providers.iter().any(|provider| provider.server.is_cloud()),
            providers,
            models,
            rules: Vec::new(),
            attempts_max: rules.attempts_max,
            hysteresis_percent: rules.hysteresis_percent.into(),
            currency: rules.currency.as_str().into(),
            tells_client: rules.tell_client,
            retry_budget: rules.retry_budget,
            delivered: None,
        };
        for (at, rule) in rules.rules.iter().enumerate() {
            let rule = catalogue.compile_rule(rule, written.plans, &format!("routing.rules[{at}]"))?;
            catalogue.rules.push(rule);
        }
        Ok(catalogue)
    }

    fn compile_rule(
        &self,
        rule: &routing::Rule,
        plans: Option<&BTreeMap<String, plans::Plan>>,
        path: &str,
    ) -> Result<Rule, ConfigError> {
        if rule.candidates.is_empty() == rule.split.is_empty() {
            return Err(ConfigError::new(path, "give either `candidates` or `split`"));
        }
        if rule.quality_min > 100 {
            return Err(ConfigError::new(format!("{path}.quality_min"), "expected 0 to 100"));
        }
        let is_unknown = |plan: &&String| plans.is_some_and(|plans| !plans.contains_key(*plan));
        if let Some(plan) = rule.matches.plans.iter().find(is_unknown) {
            return Err(ConfigError::new(format!("{path}.match.plans"), format_args!("no plan is named {plan:?}")));
        }
        if rule.split.values().any(|part| *part == 0 || *part > 1_000_000) {
            return Err(ConfigError::new(format!("{path}.split"), "a part is 1 to 1000000"));
        }
        let model = |name: &String| {
            let found = self.models.iter().position(|model| *model.name == **name);
            found.ok_or_else(|| ConfigError::new(path, format_args!("no model of the catalogue is named {name:?}")))
        };
        let repeats =
            |(at, name): (usize, &String)| rule.candidates.iter().skip(at.saturating_add(1)).any(|other| other == name);
        if rule.candidates.len() > MODELS_MAX || rule.candidates.iter().enumerate().any(repeats) {
            return Err(ConfigError::new(format!("{path}.candidates"), "name each model once"));
        }
        if rule.order == routing::Order::Listed && !rule.split.is_empty() {
            return Err(ConfigError::new(format!("{path}.order"), "models that share requests have no order"));
        }
        let named = rule.candidates.iter().chain(rule.split.keys());
        let matches = &rule.matches;
        let bits = |bits: u16| if bits == 0 { u16::MAX } else { bits };
        let stages = matches.stages.iter().fold(0, |bits, stage| bits | u16::from(stage_bit(*stage)));
        let candidates: Vec<usize> = named.map(model).collect::<Result<_, _>>()?;
        let providers =
            candidates.iter().filter_map(|at| 1_u32.checked_shl(u32::try_from(self.models.get(*at)?.provider).ok()?));
        Ok(Rule {
            by_price: by_price(&candidates, &self.models),
            providers: providers.fold(0, |bits, bit| bits | bit),
            model: rule.model.as_str().into(),
            classes: bits(matches.classes.iter().fold(0, |bits, class| bits | class_bit(*class))),
            stages: bits(stages) as u8,
            plans: matches.plans.iter().map(|plan| plan.as_str().into()).collect(),
            tenants: matches.tenants.clone(),
            headers: compile_headers(&matches.headers, path)?,
            prompt_tokens_max: matches.prompt_tokens_max.unwrap_or(u64::MAX),
            tools: matches.tools,
            images: matches.images,
            flag: matches.flag.clone().map(Condition::new),
            candidates,
            parts: rule.split.values().copied().collect(),
            split_by: rule.split_by,
            order: rule.order,
            least: Least { quality: rule.quality_min, latency_p99_ms_max: rule.latency_p99_ms_max.unwrap_or(u32::MAX) },
        })
    }

    /// Refuses a plan that no provider can serve.
    fn check_plans(&self, config: &Config) -> Result<(), ConfigError> {
        for (name, plan) in &config.plans {
            let has = |provider: &Provider| {
                (plan.region.is_none() || provider.region.as_deref() == plan.region.as_deref())
                    && provider.endpoint.as_deref() == plan.endpoint.as_deref()
            };
            if (plan.region.is_some() || plan.endpoint.is_some()) && !self.providers.iter().any(has) {
                let problem = "no provider has this region and this endpoint";
                return Err(ConfigError::new(format!("plans.{name}.region"), problem));
            }
        }
        Ok(())
    }
}

fn compile_headers(headers: &BTreeMap<String, String>, path: &str) -> Result<Headers, ConfigError> {
    let path = format!("{path}.match.headers");
    bounded(&path, headers.len(), HEADERS_MAX)?;
    let is_name =
        |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let compiled = headers.iter().map(|(name, value)| {
        let name = name.to_ascii_lowercase();
        if !is_name(&name) || INJECTED.contains(&name.as_str()) {
            let problem = "a header of letters, digits and hyphens that weir does not set itself";
            return Err(ConfigError::new(format!("{path}.{name}"), problem));
        }
        Ok((name.into(), value.as_str().into()))
    });
    compiled.collect()
}

/// Refuses a rule about headers where no caller is believed, so that it would never match.
fn check_headers(config: &Config) -> Result<(), ConfigError> {
    let rules = config.routing.iter().flat_map(|routing| &routing.rules);
    let is_believed = config.identity.sources.iter().any(|source| matches!(source, Source::Header(_)));
    match rules.enumerate().find(|(_, rule)| !rule.matches.headers.is_empty()) {
        Some((at, _)) if !is_believed => Err(ConfigError::new(
            format!("routing.rules[{at}].match.headers"),
            "no caller is believed: give `identity` a `header` source, which names addresses or certificates",
        )),
        _ => Ok(()),
    }
}

/// Refuses what would do nothing without `routing`.
fn check_unused(config: &Config) -> Result<(), ConfigError> {
    let bound = config.plans.iter().find(|(_, plan)| plan.region.is_some() || plan.endpoint.is_some());
    if let Some((name, _)) = bound {
        let problem =
            "without `routing` no model is chosen, so nothing keeps the region; leave it out, or give `routing`";
        return Err(ConfigError::new(format!("plans.{name}.region"), problem));
    }
    for (field, is_used) in [("providers", !config.providers.is_empty()), ("models", !config.models.is_empty())] {
        if is_used {
            return Err(ConfigError::new(
                field,
                "without `routing` nothing uses them; leave them out, or give `routing`",
            ));
        }
    }
    Ok(())
}

/// `times`: how long an attempt may take where a provider says nothing else.
fn compile_providers(providers: &[routing::Provider], times: [Option<u32>; 2]) -> Result<Vec<Provider>, ConfigError> {
    bounded("providers", providers.len(), PROVIDERS_MAX)?;
    let mut compiled: Vec<Provider> = Vec::new();
    for (at, provider) in providers.iter().enumerate() {
        let path = format!("providers[{at}]");
        check_provider(provider, &path)?;
        if compiled.iter().any(|other| *other.name == *provider.name) {
            return Err(ConfigError::new(format!("{path}.name"), "another provider has this name"));
        }
        compiled.push(Provider {
            name: provider.name.as_str().into(),
            server: server_of(provider.dialect),
            region: provider.region.as_deref().map(Into::into),
            endpoint: provider.endpoint.as_deref().map(Into::into),
            betas: provider.betas.iter().map(|name| name.as_str().into()).collect(),
            attempt_ms_max: [provider.first_token_ms_max.or(times[0]), provider.attempt_ms_max.or(times[1])],
            own_key: rule::of_provider(provider)
                .map_err(|(field, problem)| ConfigError::new(format!("{path}.{field}"), problem))?,
        });
    }
    Ok(compiled)
}

/// Checks what a shape cannot express about a provider.
pub(crate) fn check_provider(provider: &routing::Provider, path: &str) -> Result<(), ConfigError> {
    let is_name_byte = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if !(1..=PROVIDER_NAME_MAX_BYTES).contains(&provider.name.len()) || !provider.name.bytes().all(is_name_byte) {
        let problem = "a name is 1 to 32 characters of a-z 0-9 -";
        return Err(ConfigError::new(format!("{path}.name"), problem));
    }
    for (field, given) in [("path", &provider.path), ("stream_path", &provider.stream_path)] {
        let is_path = |path: &str| path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic());
        if given.as_deref().is_some_and(|path| !is_path(path)) {
            return Err(ConfigError::new(format!("{path}.{field}"), "expected a path that begins with /"));
        }
    }
    check_times(path, [provider.first_token_ms_max, provider.attempt_ms_max])?;
    let is_authority = |authority: &str| !authority.is_empty() && authority.bytes().all(|byte| byte.is_ascii_graphic());
    if provider.authority.as_deref().is_some_and(|authority| !is_authority(authority)) {
        return Err(ConfigError::new(format!("{path}.authority"), "expected a name, such as api.example.com"));
    }
    Ok(())
}

/// Refuses names of features that are none, or that nobody would look up.
fn check_betas(provider: &routing::Provider, path: &str) -> Result<(), ConfigError> {
    let is_name = |name: &String| {
        (1..=BETA_MAX_BYTES).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    let error = |problem: &str| Err(ConfigError::new(format!("{path}.betas"), problem));
    match provider.dialect {
        _ if provider.betas.is_empty() => Ok(()),
        Dialect::VertexAnthropic | Dialect::BedrockAnthropic if provider.betas.len() > BETAS_MAX => {
            error(&format!("at most {BETAS_MAX}"))
        }
        Dialect::VertexAnthropic | Dialect::BedrockAnthropic if provider.betas.iter().all(is_name) => Ok(()),
        Dialect::VertexAnthropic | Dialect::BedrockAnthropic => {
            error("a name is 1 to 64 letters, digits, `-`, `_` and `.`, such as interleaved-thinking-2025-05-14")
        }
        _ => error(
            "only the clouds `vertex_anthropic` and `bedrock_anthropic` have a list; others read `anthropic-beta` themselves",
        ),
    }
}

/// Checks what a provider needs where it is reached, and nowhere else: paths and features of a cloud.
///
/// # Errors
/// The field, and what would be valid there.
pub(crate) fn check_reach(provider: &routing::Provider, path: &str) -> Result<(), ConfigError> {
    check_paths(provider, path)?;
    check_betas(provider, path)
}

/// Refuses paths with which requests for models of a cloud would go astray: there the path names the model, and streams have another.
fn check_paths(provider: &routing::Provider, path: &str) -> Result<(), ConfigError> {
    let names = |given: &Option<String>| given.as_deref().is_some_and(|path| path.contains(MODEL_IN_PATH));
    let error = |field: &str, problem: &str| Err(ConfigError::new(format!("{path}.{field}"), problem));
    match provider.dialect {
        Dialect::VertexAnthropic if !names(&provider.path) || !names(&provider.stream_path) => error(
            "path",
            "give `path` and `stream_path`: /v1/projects/PROJECT/locations/LOCATION/publishers/anthropic/models/{model}:rawPredict, \
             and the same with :streamRawPredict",
        ),
        Dialect::BedrockAnthropic if provider.path.is_some() && !names(&provider.path) => {
            error("path", "it must name the model: /model/{model}/invoke")
        }
        Dialect::BedrockAnthropic if provider.stream_path.is_some() => error(
            "stream_path",
            "Bedrock streams Messages in frames of AWS, which weir does not translate: requests for a stream go to other providers; leave it \
             out",
        ),
        _ => Ok(()),
    }
}

fn check_times(path: &str, [first_token, whole]: [Option<u32>; 2]) -> Result<(), ConfigError> {
    for (name, ms) in [("first_token_ms_max", first_token), ("attempt_ms_max", whole)] {
        if ms == Some(0) {
            return Err(ConfigError::new(format!("{path}.{name}"), "expected at least 1"));
        }
    }
    Ok(())
}

fn compile_models(models: &[routing::Model], providers: &[Provider]) -> Result<Vec<Model>, ConfigError> {
    bounded("models", models.len(), MODELS_MAX)?;
    let mut compiled: Vec<Model> = Vec::new();
    for (at, model) in models.iter().enumerate() {
        let path = format!("models[{at}]");
        let provider = providers.iter().position(|provider| *provider.name == *model.provider);
        let provider = provider.ok_or_else(|| {
            ConfigError::new(format!("{path}.provider"), format_args!("no provider is named {:?}", model.provider))
        })?;
        if compiled.iter().any(|other| *other.name == *model.name) {
            return Err(ConfigError::new(format!("{path}.name"), "another model has this name"));
        }
        compiled.push(compile_model(model, provider, &path)?);
    }
    Ok(compiled)
}

pub(crate) fn compile_model(model: &routing::Model, provider: usize, path: &str) -> Result<Model, ConfigError> {
    let is_name_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"._:/-".contains(&byte);
    if !(1..=MODEL_NAME_MAX_BYTES).contains(&model.name.len()) || !model.name.bytes().all(is_name_byte) {
        let problem = "a name is 1 to 64 characters of A-Z a-z 0-9 . _ : / -";
        return Err(ConfigError::new(format!("{path}.name"), problem));
    }
    if model.output_max_tokens == 0 || model.context_max_tokens < model.output_max_tokens {
        let problem = "expected at least as many tokens as `output_max_tokens`, which is at least 1";
        return Err(ConfigError::new(format!("{path}.context_max_tokens"), problem));
    }
    let mut quality = [0; Class::ALL.len()];
    for (class, grade) in &model.quality {
        if *grade > 100 {
            return Err(ConfigError::new(format!("{path}.quality.{}", class.as_str()), "expected 0 to 100"));
        }
        if let Some(place) = quality.get_mut(*class as usize) {
            *place = *grade;
        }
    }
    Ok(Model {
        name: model.name.as_str().into(),
        provider,
        upstream: model.upstream.as_deref().unwrap_or(&model.name).into(),
        context_max_tokens: model.context_max_tokens,
        output_max_tokens: model.output_max_tokens,
        quality,
        price: Price {
            input: model.price.input,
            output: model.price.output,
            cache_read: model.price.cache_read.unwrap_or(model.price.input),
            cache_write: model.price.cache_write.unwrap_or(model.price.input),
        },
        thinking: match model.thinking {
            routing::Thinking::Never => Thinking::Never,
            routing::Thinking::Budget => Thinking::Budget,
            routing::Thinking::Effort => Thinking::Effort,
        },
        samples: model.sampling,
        tools: model.tools,
        images: model.images,
    })
}

fn bounded(field: &str, count: usize, max: usize) -> Result<(), ConfigError> {
    if count <= max { Ok(()) } else { Err(ConfigError::new(field, format_args!("at most {max}"))) }
}

/// The server of a dialect, for the translation.
pub(crate) const fn server_of(dialect: routing::Dialect) -> Server {
    match dialect {
        routing::Dialect::OpenAi => Server::OpenAi,
        routing::Dialect::Anthropic => Server::Anthropic,
        routing::Dialect::Vllm => Server::Vllm,
        routing::Dialect::Mistral => Server::Mistral,
        routing::Dialect::Ollama => Server::Ollama,
        routing::Dialect::VertexAnthropic => Server::VertexAnthropic,
        routing::Dialect::BedrockAnthropic => Server::BedrockAnthropic,
    }
}

//! Feature flags of requests: decided once, at the head of a request, from rules; then conditions of plans and of routing, and told
//! to the upstream and in the event.
//!
//! What flags say of a subject is remembered ([`in_force`]), since a hash for each percentage costs more than everything else here.
//!
//! The rules are those of the configuration. Those that `weir serve` has for a flag of the same name and type go before them.
mod in_force;

use std::cell::OnceCell;
use std::rc::Rc;

pub(crate) use in_force::FlagsInForce;
use weir_config::ConfigError;
use weir_config::flags::FlagIs;
use weir_config::routing::Source;
use weir_config::shape::Config;
use weir_contract::flags::{self, FlagType, FlagValue, Flags, Subject};

/// The header that tells the upstream the flags of a request: a structured dictionary (RFC 8941).
pub(crate) const HEADER: &str = "x-weir-flags";

/// The most rules of a plan that a flag decides about.
const FLAGGED_MAX: usize = 8;

/// What a configuration does with flags.
#[derive(Debug)]
pub struct FlagPolicy {
    declared: Flags,
    /// Whether the upstream is told, on routes that do not say otherwise.
    header: bool,
    /// Whether it is told on some route.
    tells: bool,
    /// Whether a plan or a rule of routing depends on a flag.
    decides: bool,
    /// Whether rules of routing come from the directory, which may name flags that the configuration does not.
    routes_by_directory: bool,
}

/// The flags of one request, decided. Requests of one subject share them.
#[derive(Clone, Debug)]
pub struct RequestFlags(Rc<Decided>);

#[derive(Debug)]
struct Decided {
    flags: Rc<Flags>,
    /// For each flag, in order, the rule that decides; None where the default does.
    rules: Vec<Option<usize>>,
    /// Written when it is first asked for.
    dictionary: OnceCell<String>,
}

/// Flags, and the values that they must have.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Condition(Box<[(Box<str>, FlagValue)]>);

impl FlagPolicy {
    /// Checks what the configuration says of flags; None where nothing in it asks for one.
    pub(crate) fn compile(config: &Config) -> Result<Option<Self>, ConfigError> {
        let mut declared = config.flags.clone();
        flags::check(&mut declared).map_err(|error| ConfigError::new(error.path, error.problem))?;
        let routes_by_directory = config.routing.as_ref().is_some_and(|routing| routing.from == Source::Directory);
        let decides = check_conditions(config, &declared)? || routes_by_directory;
        let tells = config.flags_header || config.routes.iter().any(|route| route.flags == Some(true));
        if tells && declared.is_empty() && config.directory.is_none() {
            let problem = "there are no flags: declare some in `flags`, or get those of weir serve by `directory`";
            return Err(ConfigError::new("flags_header", problem));
        }
        if !tells && !decides {
            let problem = "nothing asks for them: no plan, no rule of routing and no `flags_header`";
            return if declared.is_empty() { Ok(None) } else { Err(ConfigError::new("flags", problem)) };
        }
        Ok(Some(FlagPolicy { declared, header: config.flags_header, tells, decides, routes_by_directory }))
    }

    /// The flags in force where `weir serve` has these.
    pub(crate) fn with_served(&self, served: Option<&Flags>) -> Flags {
        let mut all = self.declared.clone();
        for (name, flag) in served.into_iter().flatten() {
            match all.get_mut(name) {
                Some(own) if own.kind == flag.kind => own.clone_from(flag),
                // Conditions here expect another type.
                Some(_) => {}
                None if self.tells || self.routes_by_directory => drop(all.insert(name.clone(), flag.clone())),
                None => {}
            }
        }
        all
    }

    /// Whether the upstream of a route is told. `route`: what it says itself.
    pub(crate) fn tells(&self, route: Option<bool>) -> bool {
        route.unwrap_or(self.header)
    }

    /// Whether flags are decided for requests of a route.
    pub(crate) fn concerns(&self, route: Option<bool>) -> bool {
        self.decides || self.tells(route)
    }
}

impl RequestFlags {
    /// Decides all flags for a request.
    pub(crate) fn decide(flags: &Rc<Flags>, subject: &Subject<'_>) -> Self {
        let rules = flags.iter().map(|(name, flag)| flag.rule_for(name, subject)).collect();
        RequestFlags(Rc::new(Decided { flags: Rc::clone(flags), rules, dictionary: OnceCell::new() }))
    }

    fn values(&self) -> impl Iterator<Item = (&str, &FlagValue)> {
        self.0.flags.iter().zip(&self.0.rules).map(|((name, flag), rule)| {
            let rule = rule.and_then(|at| flag.rules.get(at));
            (&**name, rule.map_or(&flag.default, |rule| &rule.value))
        })
    }

    /// Its flags as one structured dictionary; None if there are none.
    pub(crate) fn dictionary(&self) -> Option<&str> {
        let text = self.0.dictionary.get_or_init(|| flags::write_dictionary(self.values()));
        (!text.is_empty()).then_some(text)
    }
}

impl Condition {
    /// A condition that [`FlagPolicy::compile`] has checked.
    pub(crate) fn new(is: FlagIs) -> Self {
        Condition(is.0.into_iter().map(|(name, value)| (name.into(), value)).collect())
    }

    /// Whether it is true of a request. Without flags it is not.
    pub(crate) fn holds(&self, flags: Option<&RequestFlags>) -> bool {
        let Some(flags) = flags else { return false };
        self.0.iter().all(|(name, expected)| {
            let found = flags.values().find(|(known, _)| *known == &**name);
            found.is_some_and(|(_, value)| *value == *expected || same_number(value, expected))
        })
    }
}

/// `2` is written for a number, too.
fn same_number(value: &FlagValue, expected: &FlagValue) -> bool {
    matches!(value, FlagValue::Thousandths(_)) && expected.as_type(FlagType::Number).as_ref() == Some(value)
}

/// Checks every condition on flags; true if there are some.
fn check_conditions(config: &Config, declared: &Flags) -> Result<bool, ConfigError> {
    let mut some = false;
    for (name, plan) in &config.plans {
        if plan.flags.len() > FLAGGED_MAX {
            return Err(ConfigError::new(format!("plans.{name}.flags"), format_args!("at most {FLAGGED_MAX}")));
        }
        for (at, rules) in plan.flags.iter().enumerate() {
            check_condition(&rules.flag, declared, &format!("plans.{name}.flags[{at}].flag"))?;
            some = true;
        }
    }
    let rules = config.routing.iter().flat_map(|routing| routing.rules.iter().enumerate());
    for (at, is) in rules.filter_map(|(at, rule)| Some((at, rule.matches.flag.as_ref()?))) {
        check_condition(is, declared, &format!("routing.rules[{at}].match.flag"))?;
        some = true;
    }
    Ok(some)
}

pub(crate) fn check_condition(is: &FlagIs, declared: &Flags, path: &str) -> Result<(), ConfigError> {
    if is.0.is_empty() {
        return Err(ConfigError::new(path, "name a flag"));
    }
    for (name, value) in &is.0 {
        let Some(flag) = declared.get(name.as_str()) else {
            let known = declared.keys().map(|name| &**name).collect::<Vec<_>>().join(", ");
            let known =
                if known.is_empty() { "`flags` declares none".to_owned() } else { format!("declared are: {known}") };
            return Err(ConfigError::new(path, format_args!("no flag is named {name:?}; {known}")));
        };
        if value.as_type(flag.kind).is_none() {
            let problem = format_args!("{value} is no value of {name}, a flag of type {}", flag.kind).to_string();
            return Err(ConfigError::new(path, problem));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;

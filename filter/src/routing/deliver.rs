//! Catalogues that come from the directory: what `weir serve` checks before it hands one out, and what a gateway checks before
//! it uses one.
use weir_config::{ConfigError, routing};
use weir_contract::flags::Flags;

use super::compile::Written;
use super::{Catalogue, told};
use crate::flags::check_condition;

/// What a gateway can reach: it has a cluster for each of these providers, and a route for chains of so many.
#[derive(Debug)]
pub(super) struct Reach {
    pub(super) providers: Vec<routing::Provider>,
    pub(super) attempts_max: usize,
}

/// Checks a catalogue as far as it does not depend on a gateway. `flags`: those that its rules may name.
///
/// # Errors
/// The field, and what would be valid there.
pub fn check_delivered(delivered: &routing::Delivered, flags: &Flags) -> Result<(), ConfigError> {
    let routing::Delivered { providers, models, routing } = delivered;
    if routing.from == routing::Source::Directory {
        let problem = "here is the directory that gateways get it from: give `rules`";
        return Err(ConfigError::new("routing.from", problem));
    }
    for (at, provider) in providers.iter().enumerate() {
        if let Some(field) = unread_and_missed(provider) {
            return Err(ConfigError::new(
                format!("providers[{at}].{field}"),
                "no gateway reads it here: give it to the provider of this name in the gateway's own configuration (`providers`)",
            ));
        }
    }
    for (at, model) in models.iter().enumerate() {
        if !told::is_tellable(model.upstream.as_deref().unwrap_or(&model.name)) {
            let problem = "expected 1 to 256 characters of ASCII, without spaces and `;`";
            return Err(ConfigError::new(format!("models[{at}].upstream"), problem));
        }
    }
    Catalogue::of(&Written { providers, models, routing, plans: None })?;
    for (at, rule) in routing.rules.iter().enumerate() {
        if let Some(is) = &rule.matches.flag {
            check_condition(is, flags, &format!("routing.rules[{at}].match.flag"))?;
        }
    }
    Ok(())
}

/// A field of a provider that a gateway reads in its own configuration alone, and without which it would do something else than a
/// catalogue of the directory says.
fn unread_and_missed(provider: &routing::Provider) -> Option<&'static str> {
    let fields = [
        ("tenant_key", provider.tenant_key.is_some()),
        ("first_token_ms_max", provider.first_token_ms_max.is_some()),
        ("attempt_ms_max", provider.attempt_ms_max.is_some()),
        ("pool", provider.pool.is_some()),
        ("betas", !provider.betas.is_empty()),
    ];
    fields.into_iter().find_map(|(field, is_there)| is_there.then_some(field))
}

/// Fields about where a provider of a catalogue of the directory is, which only the gateways' own configurations say: each with its path.
pub fn unread_of_delivered(delivered: &routing::Delivered) -> Vec<String> {
    let of = |(at, provider): (usize, &routing::Provider)| {
        let fields = [
            ("authority", provider.authority.is_some()),
            ("path", provider.path.is_some()),
            ("stream_path", provider.stream_path.is_some()),
        ];
        fields.into_iter().filter(|(_, is_there)| *is_there).map(move |(field, _)| format!("providers[{at}].{field}"))
    };
    delivered.providers.iter().enumerate().flat_map(of).collect()
}

impl Reach {
    /// Compiles a catalogue for this gateway. What it says of providers must agree with the gateway, which has the last word on where
    /// they are.
    pub(super) fn compile(&self, delivered: &routing::Delivered) -> Result<Catalogue, ConfigError> {
        for (at, provider) in delivered.providers.iter().enumerate() {
            self.check(provider).map_err(|problem| ConfigError::new(format!("providers[{at}]"), problem))?;
        }
        let routing::Delivered { models, routing, .. } = delivered;
        let mut catalogue = Catalogue::of(&Written { providers: &self.providers, models, routing, plans: None })?;
        catalogue.attempts_max = catalogue.attempts_max.min(self.attempts_max);
        Ok(catalogue)
    }

    fn check(&self, provider: &routing::Provider) -> Result<(), String> {
        let name = &provider.name;
        let Some(own) = self.providers.iter().find(|own| own.name == *name) else {
            return Err(format!(
                "this gateway has no provider {name:?}: add it to its `providers`, with a cluster and routes (`weir gateway generate`)"
            ));
        };
        let same =
            own.dialect == provider.dialect && own.region == provider.region && own.endpoint == provider.endpoint;
        let problem = || format!("this gateway's provider {name:?} has another dialect, region or endpoint");
        if same { Ok(()) } else { Err(problem()) }
    }
}

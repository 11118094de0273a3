//! The catalogue of models that gateways fetch with the directory.
use std::path::Path;

use sha2::{Digest, Sha256};
use weir_contract::catalogue::CATALOGUE_MAX_BYTES;
use weir_contract::flags::Flags;
use weir_filter::config::routing::{Delivered, Model, Provider, Routing};
use weir_filter::routing::check_delivered;

use super::ConfigError;

/// A catalogue that was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Catalogue {
    /// The first half of the SHA-256 of its JSON, in hex.
    pub version: String,
    /// What it says.
    pub says: Delivered,
    /// The same in JSON, as gateways get it.
    pub json: String,
}

impl Catalogue {
    /// The model of that name.
    pub fn model(&self, name: &str) -> Option<&Model> {
        self.says.models.iter().find(|model| model.name == name)
    }
}

/// Checks the catalogue; None where the configuration has none.
pub(super) fn check(
    path: &Path,
    (providers, models, routing): (Vec<Provider>, Vec<Model>, Option<Routing>),
    flags: &Flags,
) -> Result<Option<Catalogue>, ConfigError> {
    let wrong = |field, problem: &str| ConfigError::Field { path: path.to_owned(), field, problem: problem.to_owned() };
    let Some(routing) = routing else {
        let unused = "without `routing` no gateway uses them; leave them out, or give `routing`";
        let named = [("providers", providers.is_empty()), ("models", models.is_empty())];
        return named.iter().find(|(_, is_empty)| !is_empty).map_or(Ok(None), |(field, _)| Err(wrong(field, unused)));
    };
    let says = Delivered { providers, models, routing };
    check_delivered(&says, flags).map_err(|error| ConfigError::Catalogue { path: path.to_owned(), source: error })?;
    let json = serde_json::to_string(&says).map_err(|error| wrong("routing", &error.to_string()))?;
    if json.len() > CATALOGUE_MAX_BYTES {
        let problem = format!("the catalogue has {} bytes of JSON; gateways take {CATALOGUE_MAX_BYTES}", json.len());
        return Err(wrong("models", &problem));
    }
    let version = hex::encode(&Sha256::digest(&json)[..16]);
    Ok(Some(Catalogue { version, says, json }))
}

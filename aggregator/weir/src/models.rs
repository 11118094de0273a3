//! The models of the catalogue with their live figures: what server and commands share.
use serde::{Deserialize, Serialize};
use weir_contract::Timestamp;
use weir_contract::catalogue::ModelFigures;
use weir_filter::config::routing::Model;

use crate::config::catalogue::Catalogue;

/// Answer to `GET /v1/models`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelsView {
    /// The version of the catalogue; absent without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The currency of its prices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
    /// The models of the catalogue, then others that served within 15 minutes.
    pub models: Vec<ModelView>,
    /// Gateways that have fetched a catalogue lately, by name.
    pub gateways: Vec<CatalogueUse>,
}

/// A model, and how requests to it went within 15 minutes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelView {
    /// Its name.
    pub name: String,
    /// Its provider's region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// What the catalogue says of it; absent for a model that it does not have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catalogue: Option<Model>,
    /// The figures, by class; those with the most requests first.
    pub figures: Vec<ModelFigures>,
}

/// The catalogue that a gateway has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogueUse {
    /// The gateway's name.
    pub gateway: String,
    /// The version that it fetched last.
    pub version: String,
    /// Whether it cannot use it, and goes on with the one before. Its log says why.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub refused: bool,
    /// When it said so.
    pub at: Timestamp,
}

impl ModelsView {
    /// Puts catalogue and figures together.
    pub(crate) fn of(
        catalogue: Option<&Catalogue>,
        mut figures: Vec<ModelFigures>,
        gateways: Vec<CatalogueUse>,
    ) -> Self {
        let mut models = Vec::new();
        for model in catalogue.iter().flat_map(|catalogue| &catalogue.says.models) {
            let provider = catalogue.and_then(|all| all.says.providers.iter().find(|one| one.name == model.provider));
            models.push(ModelView {
                name: model.name.clone(),
                region: provider.and_then(|provider| provider.region.clone()),
                catalogue: Some(model.clone()),
                figures: figures.extract_if(.., |row| row.model == model.name).collect(),
            });
        }
        while let Some(name) = figures.first().map(|row| row.model.clone()) {
            let figures = figures.extract_if(.., |row| row.model == name).collect();
            models.push(ModelView { name, region: None, catalogue: None, figures });
        }
        ModelsView {
            version: catalogue.map(|catalogue| catalogue.version.clone()),
            currency: catalogue.map(|catalogue| catalogue.says.routing.currency.clone()),
            models,
            gateways,
        }
    }
}

/// Millionths as a decimal: `3.00`, `0.125`.
pub(crate) fn decimal(millionths: u64) -> String {
    let (whole, part) = (millionths / 1_000_000, format!("{:06}", millionths % 1_000_000));
    let part = part.trim_end_matches('0');
    format!("{whole}.{part:0<2}")
}

#[cfg(test)]
mod tests {
    use super::decimal;

    #[test]
    fn amounts_have_two_digits_or_as_many_as_they_need() {
        assert_eq!([3_000_000, 125_000, 1, 0].map(decimal), ["3.00", "0.125", "0.000001", "0.00"]);
    }
}

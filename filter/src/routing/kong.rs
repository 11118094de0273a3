//! What Kong can keep of a catalogue: the choice among models of one provider.
//!
//! Kong runs no filters in front of a provider, picks no route by the choice and retries at no other provider. So the filter writes
//! the model's name into the body itself, and requests in another dialect than the provider's find no model: nobody would translate
//! the answer.
use weir_config::ConfigError;
use weir_config::routing::Dialect;
use weir_config::shape::Config;
use weir_llm_translate::{Dialect as Client, translate};

use super::Catalogue;

impl Catalogue {
    /// A request anew for a model, where no upstream role does it.
    pub(crate) fn rewritten(&self, model: &str, dialect: Client, body: &[u8]) -> Option<Vec<u8>> {
        let model = self.model_named(model)?;
        let server = self.providers.get(model.provider)?.server;
        translate(dialect, &model.target(server), body).ok().map(|translated| translated.body)
    }
}

/// What of a catalogue Kong cannot keep; None where it keeps all, and where there is none.
pub fn fault_on_kong(config: &Config) -> Option<ConfigError> {
    let routing = config.routing.as_ref()?;
    let error = |path: &str, problem: &str| Some(ConfigError::new(path, problem));
    let [provider] = config.providers.as_slice() else {
        return error(
            "providers",
            "Kong sends all requests of a filter chain to its own service and retries at no other provider: give the one provider of \
             that service, or choose models in Envoy",
        );
    };
    if matches!(provider.dialect, Dialect::VertexAnthropic | Dialect::BedrockAnthropic) {
        return error("providers[0].dialect", "its path names the model, and filters of Kong change no path");
    }
    let by_service = "on Kong the service says this: leave it out";
    let by_nobody = "Kong makes one attempt, and its service has time-outs of its own: leave it out";
    let unkept = [
        ("providers[0].path", provider.path.is_some(), by_service),
        ("providers[0].stream_path", provider.stream_path.is_some(), by_service),
        ("providers[0].authority", provider.authority.is_some(), by_service),
        ("providers[0].first_token_ms_max", provider.first_token_ms_max.is_some(), by_nobody),
        ("providers[0].attempt_ms_max", provider.attempt_ms_max.is_some(), by_nobody),
        (
            "providers[0].tenant_key",
            provider.tenant_key.is_some(),
            "tenants' own keys and `routing` go together in Envoy alone",
        ),
        ("routing.first_token_ms_max", routing.first_token_ms_max.is_some(), by_nobody),
        ("routing.attempt_ms_max", routing.attempt_ms_max.is_some(), by_nobody),
        ("routing.retry_budget", !routing.retry_budget.is_default(), by_nobody),
    ];
    unkept.into_iter().find(|(_, is_given, _)| *is_given).and_then(|(path, _, problem)| error(path, problem))
}

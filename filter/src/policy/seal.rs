//! Compiles the keys that seal ids, and what each route keeps apart.
use std::rc::Rc;

use weir_config::ConfigError;
use weir_config::shape::{SealedIds, SealingKey};
use weir_config::shared::{Permit, Shared};
use weir_llm_usage::Provider;
use weir_sealed_ids::key::{SECRET_MIN_BYTES, VERSIONS};
use weir_sealed_ids::{Dialect, Guard, Keys, Kinds};

/// The keys that seal ids; None where the configuration has none.
pub(super) fn keys(config: Option<&SealedIds>) -> Result<Option<Rc<Keys>>, ConfigError> {
    let Some(SealedIds { keys }) = config else { return Ok(None) };
    let (current, previous) = match keys.as_slice() {
        [current] => (current, None),
        [current, previous] if current.version != previous.version => (current, Some(previous)),
        [_, _] => return Err(ConfigError::new("sealed_ids.keys", "two keys need two versions")),
        _ => return Err(ConfigError::new("sealed_ids.keys", "give one key, or two while you rotate them")),
    };
    for (at, key) in keys.iter().enumerate() {
        let error =
            |field: &str, problem: String| Err(ConfigError::new(format!("sealed_ids.keys[{at}].{field}"), problem));
        if key.version >= VERSIONS {
            return error("version", format!("it is 0 to {}", VERSIONS.saturating_sub(1)));
        }
        if key.secret.expose().len() < SECRET_MIN_BYTES {
            return error("secret", format!("it has fewer than {SECRET_MIN_BYTES} bytes"));
        }
    }
    let pair = |key: &SealingKey| (key.version, key.secret.expose().as_bytes().to_vec());
    let (current, previous) = (pair(current), previous.map(pair));
    let previous = previous.as_ref().map(|(version, secret)| (*version, secret.as_slice()));
    Ok(Keys::new((current.0, &current.1), previous).map(Rc::new))
}

/// What a route keeps apart; None where it seals nothing.
pub(super) fn guard(
    permit: &Permit,
    upgrade: bool,
    provider: Option<Provider>,
    keys: Option<&Rc<Keys>>,
) -> Result<Option<Rc<Guard>>, String> {
    let Some(first) = permit.sealed.first() else { return Ok(None) };
    let keys = keys.ok_or("to seal ids, weir needs `sealed_ids.keys`")?;
    let dialect = match provider {
        Some(Provider::OpenAi | Provider::AzureOpenAi) => Dialect::OpenAi,
        Some(Provider::Anthropic) => Dialect::Anthropic,
        Some(Provider::Google) => Dialect::Gemini,
        _ => {
            return Err(
                "to seal ids, weir needs the route's `provider`: openai, azure_openai, anthropic or google".into()
            );
        }
    };
    if let Some(kind) = permit.sealed.iter().find(|kind| !dialect.seals(**kind)) {
        return Err(format!("{kind:?} cannot be sealed with this provider; share or leave it out"));
    }
    if upgrade {
        return Err(format!("an upgraded connection is not read, so {first:?} cannot be sealed beside `upgrade`"));
    }
    let kinds = |kinds: &[Shared]| kinds.iter().copied().fold(Kinds::NONE, Kinds::with);
    let (sealed, shared) = (kinds(&permit.sealed), kinds(&permit.shared));
    Ok(Some(Rc::new(Guard { keys: Rc::clone(keys), dialect, sealed, shared })))
}

//! The secrets of a configuration: found in the environment, and refused where everybody knows them.
use weir_config::shape::{Config, Source};
use weir_config::{ConfigError, Environment, Secret};
use weir_contract::directory::Tenant;
use weir_contract::placeholder;

const KNOWN: &str = "a placeholder, or a secret of documentation or tutorials, which everybody knows: put one of your own \
                     there; `weir keys new` makes one";

/// Replaces the name of each environment variable by its value, and refuses secrets that let anybody in.
pub(super) fn resolve(config: &mut Config, environment: &Environment) -> Result<(), ConfigError> {
    each(config, &mut |path, secret| {
        secret.resolve(path, environment)?;
        let text = secret.expose();
        if text.is_empty() {
            return Err(ConfigError::new(path, "a secret is not empty"));
        }
        if placeholder::is_known(text) { Err(ConfigError::new(path, KNOWN)) } else { Ok(()) }
    })
}

/// Visits every secret with the path of its field.
fn each(
    config: &mut Config,
    visit: &mut impl FnMut(&str, &mut Secret) -> Result<(), ConfigError>,
) -> Result<(), ConfigError> {
    if let Some(events) = &mut config.events {
        visit("events.token", &mut events.token)?;
        events.signing_key.iter_mut().try_for_each(|key| visit("events.signing_key", key))?;
        events.user_key.iter_mut().try_for_each(|key| visit("events.user_key", key))?;
    }
    if let Some(directory) = &mut config.directory {
        visit("directory.token", &mut directory.token)?;
        directory.receive_keys_seed.iter_mut().try_for_each(|seed| visit("directory.receive_keys_seed", seed))?;
    }
    if let Some(leases) = &mut config.leases {
        visit("leases.token", &mut leases.token)?;
    }
    for (at, key) in config.sealed_ids.iter_mut().flat_map(|sealed| &mut sealed.keys).enumerate() {
        visit(&format!("sealed_ids.keys[{at}].secret"), &mut key.secret)?;
    }
    for (at, source) in config.identity.sources.iter_mut().enumerate() {
        let Source::Jwt(jwt) = source else { continue };
        for (k, key) in jwt.keys.iter_mut().enumerate() {
            let path = || format!("identity.sources[{at}].jwt.keys[{k}].secret");
            key.secret.iter_mut().try_for_each(|secret| visit(&path(), secret))?;
        }
    }
    Ok(())
}

/// Refuses API keys of documentation and tutorials: their holders are everybody.
pub(super) fn check_keys(tenants: &[Tenant]) -> Result<(), ConfigError> {
    for (at, tenant) in tenants.iter().enumerate() {
        if let Some(key) = tenant.keys.iter().position(|key| placeholder::is_known_hash(&key.sha256)) {
            return Err(ConfigError::new(format!("tenants[{at}].keys[{key}].sha256"), KNOWN));
        }
    }
    Ok(())
}

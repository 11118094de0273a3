//! `weir byok`: tenants' own keys at providers. A key is read from standard input, and never shown.
use std::io::Read;

use anyhow::{Context, bail};
use serde_json::json;
use weir_contract::plans::percent_encoded;
use weir_filter::policy::own_keys;
use weir_tenants::store::TenantStore;
use weir_tenants::store::vault::rotate::RotationView;
use weir_tenants::store::vault::{Fallback, ProviderKeyView, ProviderKeysView};
use weir_tenants::vault::ProviderSecret;
use zeroize::Zeroizing;

use super::access;
use super::args::byok::{ByokCommand, PutArgs, RotateVaultArgs};
use super::render::{json, say, table};
use super::tenants::{Keeper, by, keeper, path};
use super::{EXIT_ATTENTION, EXIT_DONE};
use crate::config::Config;
use crate::server::byok::FallbackPatch;
use crate::vault::Vault;

pub(super) fn run(config: &Config, command: ByokCommand, as_json: bool) -> anyhow::Result<u8> {
    match command {
        ByokCommand::Put(args) => put(config, &args, as_json),
        ByokCommand::List { tenant } => list(config, tenant.as_str(), as_json),
        ByokCommand::Remove { tenant, provider } => remove(config, tenant.as_str(), &provider, as_json),
        ByokCommand::Fallback { tenant, to } => fallback(config, tenant.as_str(), to.into(), as_json),
        ByokCommand::Rotate(args) => rotate(config, &args, as_json),
    }
}

/// The longest text that is read from standard input, in bytes: a longer one is no key, whatever stands in it.
const INPUT_MAX_BYTES: u64 = 64 * 1024;

fn read_secret() -> anyhow::Result<ProviderSecret> {
    let mut text = Zeroizing::new(String::new());
    let read = std::io::stdin().take(INPUT_MAX_BYTES).read_to_string(&mut text);
    // The error of a text that is not UTF-8 names no byte of it.
    read.context("reading the key from standard input")?;
    Ok(ProviderSecret::new(&text)?)
}

fn open(config: &Config, store: &TenantStore) -> anyhow::Result<Vault> {
    let Some(vault) = &config.vault else {
        bail!("{}: there is no vault: give it a `vault` with a `key`", config.path.display())
    };
    Ok(Vault::open(store, vault, &config.base)?)
}

fn key_path(tenant: &str, provider: &str) -> String {
    format!("{}/provider-keys/{}", path(tenant), percent_encoded(provider))
}

fn put(config: &Config, args: &PutArgs, as_json: bool) -> anyhow::Result<u8> {
    let (tenant, provider) = (args.tenant.as_str(), args.provider.as_str());
    own_keys::provider(provider).map_err(|problem| anyhow::anyhow!("provider {provider:?}: {problem}"))?;
    if args.secret.is_some() {
        bail!("a key is no argument, which lists of processes and the shell's history show: pipe it to standard input");
    }
    let secret = read_secret()?;
    let view: ProviderKeyView = access::block_on(async {
        match keeper(config)? {
            Keeper::Server(server) => {
                let body = json!({"secret": secret.expose(), "expires": args.expires});
                server.put(&key_path(tenant, provider), &body).await
            }
            Keeper::Here(store, _lock) => {
                let vault = open(config, &store)?;
                vault.check(provider, &secret).await?;
                let put = store.put_provider_key(tenant, provider, (&secret, args.expires), &vault.ring, &by());
                Ok(put?.answer)
            }
        }
    })?;
    if as_json {
        json(&view)?;
    } else {
        let (fingerprint, last) = (view.fingerprint.unwrap_or_default(), view.last_four.unwrap_or_default());
        say!(
            "{} at {}: version {}, fingerprint {fingerprint}, ends in {last}",
            view.tenant,
            view.provider,
            view.version
        );
    }
    Ok(EXIT_DONE)
}

fn list(config: &Config, tenant: &str, as_json: bool) -> anyhow::Result<u8> {
    let view = access::block_on(async {
        match keeper(config)? {
            Keeper::Server(server) => server.get(&format!("{}/provider-keys", path(tenant)), &()).await,
            Keeper::Here(store, _lock) => Ok(store.provider_keys(tenant)?),
        }
    })?;
    show(&view, as_json)
}

fn show(view: &ProviderKeysView, as_json: bool) -> anyhow::Result<u8> {
    if as_json {
        json(view)?;
        return Ok(EXIT_DONE);
    }
    let mut rows = table(&["provider", "#version", "fingerprint", "ends in", "expires", "changed", "by"]);
    for key in view.keys.clone() {
        let fingerprint = key.fingerprint.unwrap_or_else(|| "removed".to_owned());
        let expires = key.expires.map(|expires| expires.to_string()).unwrap_or_default();
        let last = key.last_four.unwrap_or_default();
        let changed = key.changed_at.to_string();
        rows.add_row([key.provider, key.version.to_string(), fingerprint, last, expires, changed, key.changed_by]);
    }
    say!("{rows}\nfallback: {}", view.fallback.as_str());
    Ok(EXIT_DONE)
}

fn remove(config: &Config, tenant: &str, provider: &str, as_json: bool) -> anyhow::Result<u8> {
    let view: ProviderKeyView = access::block_on(async {
        match keeper(config)? {
            Keeper::Server(server) => server.delete(&key_path(tenant, provider)).await,
            Keeper::Here(store, _lock) => Ok(store.remove_provider_key(tenant, provider, &by())?.answer),
        }
    })?;
    if as_json {
        json(&view)?;
    } else {
        say!("the key of {} at {} is removed", view.tenant, view.provider);
    }
    Ok(EXIT_DONE)
}

fn fallback(config: &Config, tenant: &str, to: Fallback, as_json: bool) -> anyhow::Result<u8> {
    let view = access::block_on(async {
        match keeper(config)? {
            Keeper::Server(server) => {
                let patch = FallbackPatch { fallback: to };
                server.patch(&format!("{}/provider-keys", path(tenant)), &patch, None).await
            }
            Keeper::Here(store, _lock) => Ok(store.set_fallback(tenant, to, &by())?.answer),
        }
    })?;
    show(&view, as_json)
}

fn rotate(config: &Config, args: &RotateVaultArgs, as_json: bool) -> anyhow::Result<u8> {
    let view: RotationView = access::block_on(async {
        match keeper(config)? {
            Keeper::Server(server) => server.post("/v1/byok/rotate", &args.request()).await,
            Keeper::Here(store, _lock) => {
                let next = open(config, &store)?.next(&store)?;
                Ok(store.rotate_vault(&next.ring, args.request())?)
            }
        }
    })?;
    let unreadable = !view.unreadable.is_empty();
    if as_json {
        json(&view)?;
    } else {
        say!(
            "{} data keys rewrapped, {} made anew; the key-encryption key is {}",
            view.rewrapped,
            view.resealed,
            view.kek
        );
        for tenant in &view.unreadable {
            say!("the rows of {tenant} do not open: give the vault the key that wraps them, or store its keys again");
        }
    }
    Ok(if unreadable { EXIT_ATTENTION } else { EXIT_DONE })
}

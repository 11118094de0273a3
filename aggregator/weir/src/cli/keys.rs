//! `weir keys`: keys of tenants in the database, and keys for a tenants file, which are printed once and stored nowhere.
use std::io::Read;

use anyhow::bail;
use weir_contract::directory::KeyHash;

use super::args::tenants::{KeyCreateArgs, RotateArgs, WhichKey};
use super::render::{json, say, table};
use super::tenants::{Keeper, by, keeper, path};
use super::{EXIT_DONE, access};
use crate::config::Config;
use crate::config::tokens::random_token;
use crate::server::keys::make;
use weir_contract::Timestamp;
use weir_contract::plans::percent_encoded;
use weir_tenants::store::view::KeyView;

/// The characters of a day in a time: `2026-11-28`.
const DAY_CHARS: usize = 10;

pub(super) fn new(prefix: &str, as_json: bool) -> anyhow::Result<u8> {
    let key = format!("{prefix}{}", random_token()?);
    let hash = KeyHash::of(key.as_bytes());
    if as_json {
        say!("{}", serde_json::json!({"key": key, "sha256": hash.to_string()}));
    } else {
        say!(
            "key     {key}\nsha256  {hash}\n\nThe key is shown this once; the hash goes into the tenants file or the configuration."
        );
    }
    Ok(EXIT_DONE)
}

pub(super) fn hash(as_json: bool) -> anyhow::Result<u8> {
    let mut key = Vec::new();
    std::io::stdin().read_to_end(&mut key)?;
    let key = key.trim_ascii_end();
    if key.is_empty() {
        bail!("no key on standard input; try: printf %s \"$KEY\" | weir keys hash");
    }
    let hash = KeyHash::of(key);
    if as_json {
        say!("{}", serde_json::json!({"sha256": hash.to_string()}));
    } else {
        say!("{hash}");
    }
    Ok(EXIT_DONE)
}

pub(super) fn create(config: &Config, args: KeyCreateArgs, as_json: bool) -> anyhow::Result<u8> {
    let tenant = args.tenant.clone();
    let (tenant, new) = (tenant.as_str(), args.key());
    let key = access::block_on(async {
        match keeper(config)? {
            Keeper::Server(server) => server.post(&format!("{}/keys", path(tenant)), &new).await,
            Keeper::Here(store, _lock) => Ok(store.create_key(tenant, &new, &make()?, &by())?.answer),
        }
    })?;
    print_new(&key, as_json)
}

pub(super) fn rotate(config: &Config, args: &RotateArgs, as_json: bool) -> anyhow::Result<u8> {
    let (tenant, key) = (args.which.tenant.as_str(), args.which.key.as_str());
    let successor = access::block_on(async {
        match keeper(config)? {
            Keeper::Server(server) => server.post(&format!("{}/rotate", path_of(&args.which)), &args.rotation()).await,
            Keeper::Here(store, _lock) => Ok(store.rotate_key(tenant, key, &args.rotation(), &make()?, &by())?.answer),
        }
    })?;
    print_new(&successor, as_json)
}

pub(super) fn revoke(config: &Config, which: &WhichKey, as_json: bool) -> anyhow::Result<u8> {
    let key: KeyView = access::block_on(async {
        match keeper(config)? {
            Keeper::Server(server) => server.delete(&path_of(which)).await,
            Keeper::Here(store, _lock) => Ok(store.revoke_key(which.tenant.as_str(), &which.key, &by())?.answer),
        }
    })?;
    if as_json {
        json(&key)?;
    } else {
        say!("key {} of {} is revoked", key.id, key.tenant);
    }
    Ok(EXIT_DONE)
}

pub(super) fn list(config: &Config, tenant: &str, as_json: bool) -> anyhow::Result<u8> {
    let keys: Vec<KeyView> = access::block_on(async {
        match keeper(config)? {
            Keeper::Server(server) => server.get(&format!("{}/keys", path(tenant)), &()).await,
            Keeper::Here(store, _lock) => Ok(store.keys(tenant)?),
        }
    })?;
    if as_json {
        json(&keys)?;
        return Ok(EXIT_DONE);
    }
    let time = |time: Option<Timestamp>| time.map(|time| time.to_string()).unwrap_or_default();
    let mut rows =
        table(&["key", "environment", "feature", "plan", "scopes", "created", "expires", "revoked", "last used"]);
    for key in keys {
        let scopes = key.scopes.map(|scopes| scopes.iter().collect::<Vec<_>>().join(", ")).unwrap_or_default();
        let texts = [key.id, key.environment.unwrap_or_default(), key.feature.unwrap_or_default()];
        let used = key.last_used.map(|day| day.to_string().chars().take(DAY_CHARS).collect()).unwrap_or_default();
        let times = [time(key.created_at), time(key.expires), time(key.revoked_at), used];
        rows.add_row(texts.into_iter().chain([key.plan.unwrap_or_default(), scopes]).chain(times));
    }
    say!("{rows}");
    Ok(EXIT_DONE)
}

fn path_of(which: &WhichKey) -> String {
    format!("{}/keys/{}", path(which.tenant.as_str()), percent_encoded(&which.key))
}

fn print_new(key: &KeyView, as_json: bool) -> anyhow::Result<u8> {
    if as_json {
        json(key)?;
    } else {
        say!("key    {}\nname   {}", key.key.as_deref().unwrap_or_default(), key.id);
        if let Some(expires) = key.expires {
            say!("until  {expires}");
        }
        say!("\nThe key is shown this once.");
    }
    Ok(EXIT_DONE)
}

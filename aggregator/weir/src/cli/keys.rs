//! `weir keys`: makes a key, prints it once and stores it nowhere.
use std::io::Read;

use anyhow::bail;
use serde_json::json;
use weir_contract::directory::KeyHash;

use super::EXIT_DONE;
use super::render::say;
use crate::config::tokens::random_token;

pub(super) fn new(prefix: &str, json: bool) -> anyhow::Result<u8> {
    let key = format!("{prefix}{}", random_token()?);
    let hash = KeyHash::of(key.as_bytes());
    if json {
        say!("{}", json!({"key": key, "sha256": hash.to_string()}));
    } else {
        say!(
            "key     {key}\nsha256  {hash}\n\nThe key is shown this once; the hash goes into the tenants file or the configuration."
        );
    }
    Ok(EXIT_DONE)
}

pub(super) fn hash(json: bool) -> anyhow::Result<u8> {
    let mut key = Vec::new();
    std::io::stdin().read_to_end(&mut key)?;
    let key = key.trim_ascii_end();
    if key.is_empty() {
        bail!("no key on standard input; try: printf %s \"$KEY\" | weir keys hash");
    }
    let hash = KeyHash::of(key);
    if json {
        say!("{}", json!({"sha256": hash.to_string()}));
    } else {
        say!("{hash}");
    }
    Ok(EXIT_DONE)
}

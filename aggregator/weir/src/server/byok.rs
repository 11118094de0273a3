//! Tenants' own keys at providers: stores, lists and removes them, rotates what protects them, and hands them to gateways that may
//! have them. No answer, log line or error has a key.
use std::path::PathBuf;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use weir_contract::Timestamp;
use weir_contract::directory::Page;
use weir_contract::vault::RECIPIENT_HEADER;
use weir_filter::policy::own_keys;
use weir_key_delivery::{Label, Sender};

use super::App;
use super::admin::audit;
use super::auth::{require, require_for};
use super::error::{ApiError, object};
use super::tenants::{by, kept, told};
use crate::config::tokens::{Scope, Token, random_bytes};
use crate::config::vault::VaultConfig;
use crate::vault::Vault;
use weir_tenants::store::Outcome;
use weir_tenants::store::TenantStore;
use weir_tenants::store::change::{By, ChangeError};
use weir_tenants::store::vault::rotate::{RotationRequest, RotationView, VaultError};
use weir_tenants::store::vault::{Fallback, ProviderKeyView, ProviderKeysView};
use weir_tenants::vault::{KeyRing, ProviderSecret};

/// Why there is no vault.
const NONE: &str = "there is no vault: give the configuration a `vault` with a `key`";
/// The error of every wrong body: that of a parser might repeat a key.
const BODY: &str = "the body is {\"secret\": TEXT, \"expires\": TIME}; a secret has 16 to 1024 printable ASCII characters without \
                    spaces, and `expires` may be left out";

/// A key to be stored.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewProviderKey {
    pub(super) secret: ProviderSecret,
    #[serde(default)]
    pub(super) expires: Option<Timestamp>,
}

/// A change of what serves a tenant where its own key does not.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FallbackPatch {
    /// Whose key serves.
    pub(crate) fallback: Fallback,
}

pub(super) async fn get_keys(
    State(app): State<App>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Json<ProviderKeysView>, ApiError> {
    require_for(&app, &headers, Scope::Viewer, &id)?;
    kept(&app, move |store| store.provider_keys(&id)).await.map(Json)
}

pub(super) async fn put_key(
    State(app): State<App>,
    headers: HeaderMap,
    Path((id, provider)): Path<(String, String)>,
    body: Bytes,
) -> Result<Response, ApiError> {
    let by = by(&app, &headers, require_for(&app, &headers, Scope::Operator, &id)?.name)?;
    let new: NewProviderKey = object(&body).map_err(|_| ApiError::Request(BODY.to_owned()))?;
    Ok(told(StatusCode::OK, store(&app, (id, provider), new, by).await?))
}

/// Stores a tenant's key at a provider.
pub(super) async fn store(
    app: &App,
    (id, provider): (String, String),
    new: NewProviderKey,
    by: By,
) -> Result<Outcome<ProviderKeyView>, ApiError> {
    let vault = vault(app)?;
    own_keys::provider(&provider).map_err(|problem| ApiError::Request(format!("provider {provider:?}: {problem}")))?;
    vault.check(&provider, &new.secret).await.map_err(|refused| ApiError::Report(refused.to_string()))?;
    // The provider may have taken its time, and another key be in force.
    let vault = self::vault(app)?;
    kept(app, move |store| store.put_provider_key(&id, &provider, (&new.secret, new.expires), &vault.ring, &by)).await
}

pub(super) async fn delete_key(
    State(app): State<App>,
    headers: HeaderMap,
    Path((id, provider)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let by = by(&app, &headers, require_for(&app, &headers, Scope::Operator, &id)?.name)?;
    let outcome = kept(&app, move |store| store.remove_provider_key(&id, &provider, &by)).await?;
    Ok(told(StatusCode::OK, outcome))
}

/// The operator pays where its key serves, so a tenant cannot choose that.
pub(super) async fn patch_keys(
    State(app): State<App>,
    headers: HeaderMap,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Response, ApiError> {
    let by = by(&app, &headers, require(&app, &headers, Scope::Operator)?.name)?;
    let patch: FallbackPatch = object(&body)?;
    let outcome = kept(&app, move |store| store.set_fallback(&id, patch.fallback, &by)).await?;
    Ok(told(StatusCode::OK, outcome))
}

pub(super) async fn post_rotate(
    State(app): State<App>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<RotationView>, ApiError> {
    let by = require(&app, &headers, Scope::Admin)?;
    let request: RotationRequest = if body.is_empty() { RotationRequest::default() } else { object(&body)? };
    let alone = app.0.vault.change().await;
    let (vault, rotating) = (vault(&app)?, app.clone());
    let rotated = tokio::task::spawn_blocking(move || {
        // Goes on to its end if the caller leaves.
        let _alone = alone;
        rotate(&rotating, &vault, request)
    });
    let view = rotated.await.map_err(|error| ApiError::internal(&error))??;
    let detail = format!("key {}: {} rewrapped, {} resealed", view.kek, view.rewrapped, view.resealed);
    audit(&app, by.name, "vault rotate", detail).await?;
    Ok(Json(view))
}

/// Rotates the vault in force. Its next keys are in force before a row needs them, so that traffic goes on.
fn rotate(app: &App, vault: &Vault, request: RotationRequest) -> Result<RotationView, VaultError> {
    let next = vault.next(&app.0.kept)?;
    let ring = next.ring.clone();
    app.0.vault.replace(Some(next));
    app.0.kept.rotate_vault(&ring, request)
}

impl From<VaultError> for ApiError {
    fn from(error: VaultError) -> Self {
        match error {
            VaultError::Change(error) => error.into(),
            VaultError::Ring(_) | VaultError::OtherKey { .. } => ApiError::Report(error.to_string()),
            VaultError::Database(error) => ApiError::of_tenants(&error),
        }
    }
}

fn vault(app: &App) -> Result<Arc<Vault>, ApiError> {
    app.0.vault.current().ok_or(ApiError::NotConfigured(NONE))
}

/// Puts the vault of a changed configuration in force.
pub(super) async fn reload(app: &App, config: Option<VaultConfig>, base: PathBuf) {
    let _alone = app.0.vault.change().await;
    if app.0.vault.current().as_ref().map(|vault| &vault.config) == config.as_ref() {
        return;
    }
    let Some(config) = config else { return app.0.vault.replace(None) };
    let store = Arc::clone(&app.0.kept);
    match tokio::task::spawn_blocking(move || Vault::open(&store, &config, &base)).await {
        Ok(Ok(vault)) => {
            tracing::info!(key = vault.ring.current().id(), "the vault has another key");
            app.0.vault.replace(Some(vault));
        }
        Ok(Err(error)) => tracing::error!(%error, "the vault is not opened anew; it stays as it is"),
        Err(error) => tracing::error!(%error, "the vault is not opened anew; it stays as it is"),
    }
}

/// Refuses a worker's key that is none, also where nothing on the page is sealed.
pub(super) fn check_recipient(headers: &HeaderMap) -> Result<(), ApiError> {
    let Some(asked) = headers.get(RECIPIENT_HEADER) else { return Ok(()) };
    let parts = asked.to_str().ok().and_then(|asked| asked.split_once('.'));
    let is_hex = |key: &str| key.len() == 64 && key.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let is_number = |call: &str| (1..=19).contains(&call.len()) && call.bytes().all(|byte| byte.is_ascii_digit());
    if parts.is_some_and(|(key, call)| is_hex(key) && is_number(call)) { Ok(()) } else { Err(wrong_recipient()) }
}

fn wrong_recipient() -> ApiError {
    ApiError::Contradiction(format!(
        "nothing can be sealed to this {RECIPIENT_HEADER}: it is a public key in hex, a dot and a number"
    ))
}

/// The worker to which the keys on a page are sealed. None where it may not have them.
pub(super) fn recipient(
    app: &App,
    headers: &HeaderMap,
    token: &Token,
) -> Result<Option<(Sender, Arc<Vault>)>, ApiError> {
    let Some(asked) = headers.get(RECIPIENT_HEADER) else { return Ok(None) };
    let random = random_bytes().map_err(|error| ApiError::internal(&error))?;
    let sender = asked.to_str().ok().and_then(|asked| Sender::new(random, asked));
    // Its form is good: it is one of the few points of the curve that would give the secret away.
    let unsafe_key =
        || ApiError::Contradiction(format!("nothing can be sealed to this {RECIPIENT_HEADER}: make another key"));
    let sender = sender.ok_or_else(unsafe_key)?;
    let vault = app.0.vault.current().filter(|_| token.opens(&Scope::Byok));
    Ok(vault.map(|vault| (sender, vault)))
}

/// Seals the keys of a page's tenants. One that does not open is left out: the gateway refuses requests that need it.
pub(super) fn hand_over(
    store: &TenantStore,
    ring: &KeyRing,
    sender: &mut Sender,
    page: &mut Page,
) -> Result<(), ChangeError> {
    for tenant in page.tenants.iter_mut().filter(|tenant| !tenant.provider_keys.is_empty()) {
        let opened = store.open_provider_keys(&tenant.id, ring)?;
        for key in &mut tenant.provider_keys {
            let found = opened.iter().find(|found| *found.provider == *key.provider && found.version == key.version);
            if found.is_some_and(|found| found.secret.is_none()) {
                tracing::error!(tenant = %tenant.id, provider = %key.provider, "a key in the vault does not open; store it again");
            }
            let label = Label { tenant: tenant.id.as_str(), provider: &key.provider, version: key.version };
            let secret = found.and_then(|found| found.secret.as_ref());
            key.sealed = secret.and_then(|secret| sender.seal(label, secret)).map(Into::into);
        }
    }
    page.sealed_by = Some(sender.public());
    Ok(())
}

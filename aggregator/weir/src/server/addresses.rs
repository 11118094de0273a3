//! Addresses at which tenants are told of their own budgets: a tenant adds one, proves it by the code that is mailed to it, and removes it;
//! so does an operator for it. Every message has a link that removes its address.
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;
use weir_settings::secret::masked;
use weir_steer::notice::outbox::Attempt;
use weir_steer::receiver::tenant_mail::TenantMailFile;
use weir_tenants::store::addresses::{AddressView, Codes};
use weir_tenants::store::change::By;

use super::App;
use super::alerts::mail::{self, Letter};
use super::auth::{allow_for, require_for};
use super::error::{ApiError, object};
use super::tenants::{by, kept};
use crate::config::tokens::{Scope, Token, random_token};

/// The characters of a code: 40 random bits, of which one in a hundred thousand million is guessed in five tries.
const CODE_CHARS: usize = 10;
/// Those of what names an address in a link: 128 random bits.
const STOP_CHARS: usize = 32;
/// Why no address can be set.
const NO_MAIL: &str = "tenants set no addresses here: the configuration has no `alerts.tenant_mail`";

/// Body of `POST /v1/tenants/{id}/alert-addresses`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewAddress {
    email: String,
}

/// Body of `POST /v1/tenants/{id}/alert-addresses/{number}/prove`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Proof {
    code: String,
}

pub(super) async fn get_addresses(
    State(app): State<App>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Json<Vec<AddressView>>, ApiError> {
    require_for(&app, &headers, Scope::Viewer, &id)?;
    list(&app, id).await.map(Json)
}

/// A tenant's addresses.
pub(super) async fn list(app: &App, id: String) -> Result<Vec<AddressView>, ApiError> {
    kept(app, move |store| store.addresses(&id)).await
}

pub(super) async fn post_address(
    State(app): State<App>,
    headers: HeaderMap,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<(StatusCode, Json<AddressView>), ApiError> {
    let token = require_for(&app, &headers, Scope::Operator, &id)?;
    let by = by(&app, &headers, token.name.clone())?;
    let NewAddress { email } = object(&body)?;
    add(&app, &token, (id, email), by).await.map(|view| (StatusCode::CREATED, Json(view)))
}

/// Adds an address for an operator or the tenant itself, and sends the code that proves it.
pub(super) async fn add(
    app: &App,
    token: &Token,
    (id, email): (String, String),
    by: By,
) -> Result<AddressView, ApiError> {
    allow_for(token, Scope::Operator, &id)?;
    let mail = settings(app)?;
    let random = || random_token().map_err(|error| ApiError::internal(&error));
    let cut = |text: String, chars: usize| text.chars().take(chars).collect::<String>();
    let codes = Codes { code: cut(random()?, CODE_CHARS), stop: cut(random()?, STOP_CHARS) };
    let (made, of) = (codes.clone(), id.clone());
    let view = kept(app, move |store| store.add_address(&of, &email, &made, &by)).await?;
    let (half, rest) = codes.code.split_at(CODE_CHARS / 2);
    let text = format!(
        "Somebody with access to the account {id} asked that messages about its budgets go to this address.\n\n\
         Code: {half}-{rest}\n\nEnter it on the page where the address was added. It is good for an hour.\n\
         If you know nothing of this, do nothing: no other message follows."
    );
    let letter = Letter {
        id: &format!("code_{}", cut(random()?, STOP_CHARS)),
        subject: "Confirm this address for messages about budgets",
        text: &text,
        stop: None,
    };
    match mail::send(&mail.to(&view.email), app.0.alerts.base(), &letter).await {
        Attempt::Delivered => Ok(view),
        Attempt::Failed(why) | Attempt::Gone(why) => {
            tracing::warn!(tenant = %id, why = %masked(&why), "the code of an address is not sent");
            // What the mail server says is the operator's business.
            Err(ApiError::Unreachable("the code could not be sent: add the address again in a few minutes".to_owned()))
        }
    }
}

pub(super) async fn post_proof(
    State(app): State<App>,
    headers: HeaderMap,
    Path((id, number)): Path<(String, String)>,
    body: Bytes,
) -> Result<Json<AddressView>, ApiError> {
    let token = require_for(&app, &headers, Scope::Operator, &id)?;
    let by = by(&app, &headers, token.name.clone())?;
    let Proof { code } = object(&body)?;
    prove(&app, &token, (id, number_of(&number)?), code, by).await.map(Json)
}

/// Proves an address by its code.
pub(super) async fn prove(
    app: &App,
    token: &Token,
    (id, number): (String, i64),
    code: String,
    by: By,
) -> Result<AddressView, ApiError> {
    allow_for(token, Scope::Operator, &id)?;
    kept(app, move |store| store.prove_address(&id, number, &code, &by)).await
}

pub(super) async fn delete_address(
    State(app): State<App>,
    headers: HeaderMap,
    Path((id, number)): Path<(String, String)>,
) -> Result<Json<AddressView>, ApiError> {
    let token = require_for(&app, &headers, Scope::Operator, &id)?;
    let by = by(&app, &headers, token.name.clone())?;
    remove(&app, &token, (id, number_of(&number)?), by).await.map(Json)
}

/// Removes an address for an operator or the tenant itself.
pub(super) async fn remove(
    app: &App,
    token: &Token,
    (id, number): (String, i64),
    by: By,
) -> Result<AddressView, ApiError> {
    allow_for(token, Scope::Operator, &id)?;
    kept(app, move |store| store.remove_address(&id, number, &by)).await
}

/// Removes the address that a message's link names. False if there is none any more.
pub(super) async fn stop(app: &App, named: String) -> Result<bool, ApiError> {
    let at = app.0.clock.now();
    Ok(kept(app, move |store| store.stop_address(&named, at)).await?.is_some())
}

/// The number of an address in a path.
fn number_of(text: &str) -> Result<i64, ApiError> {
    text.parse().map_err(|_| ApiError::Request(format!("{text:?} is no number of an address")))
}

/// The mail server for tenants.
fn settings(app: &App) -> Result<TenantMailFile, ApiError> {
    app.0.alerts.tenant_mail().ok_or(ApiError::NotConfigured(NO_MAIL))
}

/// Whether tenants can set addresses.
pub(super) fn is_configured(app: &App) -> bool {
    app.0.alerts.tenant_mail().is_some()
}

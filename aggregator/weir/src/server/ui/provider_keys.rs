//! A tenant's own keys at providers, on its page: what stands in the vault, without the keys; operators store and remove them.
use axum::extract::{Path, State};
use axum::response::Redirect;
use weir_contract::Timestamp;
use weir_dashboard::{Act, Block, Cell, Field, Form, Href, Kind, Table};
use weir_filter::policy::own_keys;
use weir_tenants::store::change::By;
use weir_tenants::store::vault::ProviderKeyView;
use weir_tenants::vault::ProviderSecret;

use super::UiError;
use super::guard::{Acted, Operator, Staff};
use super::keys::{by, standing};
use super::words::{DONE, Named};
use crate::config::tokens::Scope;
use crate::server::App;
use crate::server::byok::{self, NewProviderKey};
use crate::server::error::ApiError;
use crate::server::tenants::kept;

/// The keys of a tenant; none where there is no vault.
pub(super) async fn of(app: &App, staff: &Staff, tenant: &str) -> Result<Vec<Block>, UiError> {
    if app.0.vault.current().is_none() {
        return Ok(Vec::new());
    }
    let id = tenant.to_owned();
    let keys = match kept(app, move |store| store.provider_keys(&id)).await {
        Ok(view) => view.keys,
        Err(ApiError::NotConfigured(_) | ApiError::Unknown(_)) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let (may_act, now) = (staff.may(&Scope::Operator), app.0.clock.now());
    let columns =
        ["Provider", "State", "Ends in", "SHA-256 begins with", "Stored or removed", "By", "Expires", "Actions"];
    let empty = "The tenant has no key of its own at a provider.";
    let rows = keys.iter().map(|key| row(key, tenant, may_act, now));
    let mut blocks = vec![Block::Table(Table::new("Own keys at providers", &columns, empty).rows(rows))];
    blocks.extend(may_act.then(|| Block::Form(form(tenant))));
    Ok(blocks)
}

fn row(key: &ProviderKeyView, tenant: &str, may_act: bool, now: Timestamp) -> Vec<Cell> {
    let is_stored = key.fingerprint.is_some();
    let remove = || {
        let href = Href::to(&["tenants", tenant, "provider-keys", &key.provider, "remove"]);
        Act::new(
            "Remove",
            &key.provider,
            Form::act("", href, Vec::new(), &format!("Remove the key at {}", key.provider)),
        )
    };
    let removed = (!is_stored).then_some(key.changed_at);
    vec![
        Cell::text(&key.provider),
        standing(removed, key.expires, now),
        key.last_four.as_ref().map_or(Cell::Missing, |last| Cell::Code(format!("…{last}"))),
        key.fingerprint.clone().map_or(Cell::Missing, Cell::Code),
        key.changed_at.into(),
        Cell::text(&key.changed_by),
        Cell::maybe(key.expires),
        Cell::Acts(if may_act && is_stored { vec![remove()] } else { Vec::new() }),
    ]
}

pub(super) fn form(tenant: &str) -> Form {
    let choices = own_keys::names().map(|name| (name.to_owned(), name.to_owned())).collect();
    let fields = vec![
        Field::required("provider", "Provider", Kind::Choice(choices)),
        Field::required("secret", "Key", Kind::Secret)
            .hint("It is sealed at once, and never shown again. It takes the place of one that is there."),
        Field::optional("expires", "Expires (UTC)", Kind::Time),
    ];
    Form::act("Store a key at a provider", Href::to(&["tenants", tenant, "provider-keys"]), fields, "Store the key")
}

fn back(tenant: &str, done: &str) -> Redirect {
    Redirect::to(Href::to(&["tenants", tenant]).with(DONE, done).as_str())
}

fn operator(app: &App, staff: &Staff) -> Result<By, ApiError> {
    Ok(by(app, staff.token()))
}

pub(super) async fn post_store(
    State(app): State<App>,
    Path(Named(id)): Path<Named>,
    Acted(Operator(staff), fields): Acted<Operator>,
) -> Result<Redirect, UiError> {
    let by = operator(&app, &staff)?;
    let secret = ProviderSecret::new(fields.get("secret")).map_err(|error| ApiError::Request(error.to_string()))?;
    let new = NewProviderKey { secret, expires: fields.moment("expires")? };
    byok::store(&app, (id.clone(), fields.text("provider")), new, by).await?;
    Ok(back(&id, "stored"))
}

pub(super) async fn post_remove(
    State(app): State<App>,
    Path((Named(id), Named(provider))): Path<(Named, Named)>,
    Acted(Operator(staff), _): Acted<Operator>,
) -> Result<Redirect, UiError> {
    let by = operator(&app, &staff)?;
    let of = id.clone();
    kept(&app, move |store| store.remove_provider_key(&of, &provider, &by)).await?;
    Ok(back(&id, "removed"))
}

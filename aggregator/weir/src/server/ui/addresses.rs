//! A tenant's addresses for alerts of its own budgets, on its own page, and the page behind the link that ends messages.
use axum::extract::{Path, State};
use axum::response::{Html, IntoResponse, Redirect, Response};
use serde::Deserialize;
use weir_dashboard::{Act, Block, Cell, Field, Form, Href, Kind, Table, Tone, stop_page, stopped};
use weir_steer::receiver::{Receiver, Target};
use weir_tenants::store::addresses::{ADDRESSES_MAX, AddressView};

use super::UiError;
use super::asked::Ask;
use super::guard::{Acted, Member};
use super::keys::by;
use super::words::DONE;
use crate::server::error::ApiError;
use crate::server::{App, addresses};

/// Where a tenant is told of its budgets: addresses of its own, which it may change where these are set up, and those that the operator
/// has set for it.
pub(super) async fn blocks(app: &App, tenant: &str) -> Result<Vec<Block>, UiError> {
    let own = own(app, tenant).await?;
    let set: Vec<Vec<Cell>> = app.0.alerts.current().receivers.iter().filter_map(|of| operators(of, tenant)).collect();
    if own.is_none() && set.is_empty() {
        return Ok(Vec::new());
    }
    let columns = ["Address", "State", "Added by", "Added", "Actions"];
    let empty = "Nobody is told of your budgets. Add an address below.";
    let rows = own.iter().flatten().map(row).chain(set);
    let mut blocks = vec![Block::Table(Table::new("Addresses for alerts", &columns, empty).rows(rows))];
    if own.is_some_and(|own| own.len() < ADDRESSES_MAX) {
        blocks.push(Block::Form(new_form()));
    }
    Ok(blocks)
}

/// The form that adds an address.
pub(super) fn new_form() -> Form {
    let email = Field::required("email", "E-mail address", Kind::Text(String::new()))
        .hint("A code is sent there. Enter it here within an hour; nothing else is sent before.");
    Form::act("A new address", Href::to(&["own", "alert-addresses"]), vec![email], "Send the code")
}

/// The form that takes an address's code.
pub(super) fn prove_form(number: &str) -> Form {
    let code = Field::required("code", "Code", Kind::Text(String::new()));
    Form::act("", Href::to(&["own", "alert-addresses", number, "prove"]), vec![code], "Confirm the address")
}

/// The addresses that a tenant has set; None where it cannot set any.
async fn own(app: &App, tenant: &str) -> Result<Option<Vec<AddressView>>, UiError> {
    if !addresses::is_configured(app) {
        return Ok(None);
    }
    match addresses::list(app, tenant.to_owned()).await {
        Ok(list) => Ok(Some(list)),
        // Tenants of a file set none.
        Err(ApiError::NotConfigured(_) | ApiError::Unknown(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A receiver of the configuration that is the tenant's own. The address of a webhook or a chat may be a secret.
fn operators(receiver: &Receiver, tenant: &str) -> Option<Vec<Cell>> {
    let of_tenant = receiver.tenant.as_deref() == Some(tenant);
    let address = match &receiver.target {
        Target::Email(email) => email.to.join(", "),
        Target::Webhook(_) => "a webhook".to_owned(),
        Target::Slack(_) => "a chat".to_owned(),
        Target::Alertmanager(_) => "an Alertmanager".to_owned(),
    };
    let told = Cell::status("is told", Tone::Good);
    of_tenant.then(|| vec![Cell::text(address), told, Cell::text("the operator"), Cell::Missing, Cell::Missing])
}

fn row(address: &AddressView) -> Vec<Cell> {
    let number = address.id.to_string();
    let remove = Href::to(&["own", "alert-addresses", &number, "remove"]);
    let mut acts = Vec::new();
    if !address.proven {
        acts.push(Act::new("Enter the code", &address.email, prove_form(&number)));
    }
    acts.push(Act::new(
        "Remove",
        &address.email,
        Form::act("", remove, Vec::new(), &format!("Remove {}", address.email)),
    ));
    let state = match address.proven {
        true => Cell::status("is told", Tone::Good),
        false => Cell::status("waits for its code", Tone::Warn),
    };
    vec![Cell::text(&address.email), state, Cell::text(&address.added_by), address.added_at.into(), Cell::Acts(acts)]
}

fn back(done: &str) -> Redirect {
    Redirect::to(Href::to(&["own"]).with(DONE, done).as_str())
}

pub(super) async fn post_add(
    State(app): State<App>,
    Acted(member, fields): Acted<Member>,
) -> Result<Redirect, UiError> {
    let (by, named) = (by(&app, member.token()), (member.tenant().to_string(), fields.text("email")));
    addresses::add(&app, member.token(), named, by).await?;
    Ok(back("code_sent"))
}

pub(super) async fn post_prove(
    State(app): State<App>,
    Path(number): Path<i64>,
    Acted(member, fields): Acted<Member>,
) -> Result<Redirect, UiError> {
    let (by, named) = (by(&app, member.token()), (member.tenant().to_string(), number));
    addresses::prove(&app, member.token(), named, fields.text("code"), by).await?;
    Ok(back("proven"))
}

pub(super) async fn post_remove(
    State(app): State<App>,
    Path(number): Path<i64>,
    Acted(member, _): Acted<Member>,
) -> Result<Redirect, UiError> {
    let (by, named) = (by(&app, member.token()), (member.tenant().to_string(), number));
    addresses::remove(&app, member.token(), named, by).await?;
    Ok(back("address_removed"))
}

/// What a message's link says.
#[derive(Debug, Deserialize)]
pub(super) struct Named {
    token: String,
}

/// Asks whether messages are to end: programs that look at links must not end them.
pub(super) async fn get_stop(State(app): State<App>, Ask(named): Ask<Named>) -> Response {
    Html(stop_page(&app.0.ui.brand(), &named.token)).into_response()
}

/// Ends the messages to an address, for whoever has a link that was sent there: a person, or a mail program by itself (RFC 8058).
pub(super) async fn post_stop(State(app): State<App>, Ask(named): Ask<Named>) -> Result<Response, UiError> {
    let was_there = addresses::stop(&app, named.token).await?;
    Ok(Html(stopped(&app.0.ui.brand(), was_there)).into_response())
}

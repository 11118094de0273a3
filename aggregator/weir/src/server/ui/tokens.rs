//! Tokens of the API: made, shown once, revoked.
use axum::Router;
use axum::extract::State;
use axum::response::{Redirect, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use weir_contract::Timestamp;
use weir_dashboard::{Act, Block, Cell, Field, Form, Href, Kind, Section, Table};

use super::asked::Ask;
use super::guard::{Acted, Admin, Staff};
use super::keys::standing;
use super::part::following;
use super::words::{DONE, done};
use super::{UiError, page};
use crate::config::tokens::{NewToken, Origin, Scope, TokenView};
use crate::server::error::ApiError;
use crate::server::{App, tokens};

/// The parameter that names the last token that is not shown.
const AFTER: &str = "after";

/// What the address says.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Asked {
    /// Only tokens after this one.
    after: String,
    done: Option<String>,
}

pub(super) fn routes() -> Router<App> {
    Router::new().route("/tokens", get(get_page).post(post_create)).route("/tokens/revoke", post(post_revoke))
}

async fn get_page(State(app): State<App>, staff: Staff, Ask(asked): Ask<Asked>) -> Result<Response, UiError> {
    let (list, now) = (tokens::list(&app, staff.token()).await?, app.0.clock.now());
    let columns =
        ["Name", "Person", "Opens", "Gateway", "From", "Made", "By", "Last used", "Expires", "State", "Actions"];
    let (shown, last) = following(&list, |token| token.name.clone(), &asked.after);
    let mut table =
        Table::new("Tokens", &columns, "There is no token.").rows(shown.iter().map(|token| row(token, now)));
    table.next = last.map(|last| Section::Access.href().with(AFTER, &last));
    let mut blocks = done(asked.done.as_deref());
    blocks.push(Block::Table(table));
    blocks.push(Block::Form(new_form()));
    Ok(page(&app, &staff, Section::Access, "Tokens", blocks))
}

fn row(token: &TokenView, now: Timestamp) -> Vec<Cell> {
    let text = |text: &Option<String>| Cell::maybe(text.clone());
    let is_made = token.from == Origin::Made;
    let acts = if is_made && token.revoked_at.is_none() { vec![revoke(&token.name)] } else { Vec::new() };
    vec![
        Cell::text(&token.name),
        text(&token.person),
        Cell::text(token.opens()),
        text(&token.gateway),
        Cell::text(if is_made { "a call or a command" } else { "the configuration" }),
        Cell::maybe(token.created_at),
        text(&token.created_by),
        Cell::maybe(token.last_used),
        Cell::maybe(token.expires),
        standing(token.revoked_at, token.expires, now),
        Cell::Acts(acts),
    ]
}

fn revoke(name: &str) -> Act {
    let fields = vec![Field::hidden("name", name)];
    Act::new("Revoke", name, Form::act("", Href::to(&["tokens", "revoke"]), fields, &format!("Revoke {name} now")))
}

pub(super) fn new_form() -> Form {
    let text = || Kind::Text(String::new());
    let scopes =
        "With commas between them: viewer, operator, admin, tenant:ID, ingest, directory, byok, readings, metrics.";
    let fields = vec![
        Field::required("name", "Name", text()).hint("Unique for ever: the audit names it."),
        Field::optional("person", "Person", text()).hint("Who gets it. The audit names them with what they do."),
        Field::required("scopes", "Opens", text()).hint(scopes),
        Field::optional("expires", "Expires (UTC)", Kind::Time),
    ];
    Form::act("A new token", Href::to(&["tokens"]), fields, "Make the token")
}

async fn post_create(State(app): State<App>, Acted(Admin(staff), fields): Acted<Admin>) -> Result<Response, UiError> {
    let scopes = fields.get("scopes").split(',').map(str::trim).filter(|scope| !scope.is_empty());
    let scopes: Vec<Scope> = scopes.map(str::parse).collect::<Result<_, _>>().map_err(ApiError::Request)?;
    let new = NewToken {
        name: fields.text("name"),
        person: fields.optional("person"),
        scopes,
        gateway: None,
        expires: fields.moment("expires")?,
    };
    let made = tokens::create(&app, staff.token().clone(), new).await?;
    let secret = Block::Secret { label: format!("The token {}", made.name), value: made.token.unwrap_or_default() };
    let back = Block::Tabs("Back".to_owned(), vec![("Back to the tokens".to_owned(), Section::Access.href(), false)]);
    Ok(page(&app, &staff, Section::Access, "A new token", vec![secret, back]))
}

async fn post_revoke(State(app): State<App>, Acted(Admin(staff), fields): Acted<Admin>) -> Result<Redirect, UiError> {
    tokens::revoke(&app, staff.token().clone(), fields.text("name")).await?;
    Ok(Redirect::to(Section::Access.href().with(DONE, "revoked").as_str()))
}

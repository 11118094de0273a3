//! A tenant's keys: made, rotated and revoked by operators, or by the tenant itself on its own page.
use axum::extract::{Path, State};
use axum::response::{Html, IntoResponse, Redirect, Response};
use weir_contract::Timestamp;
use weir_dashboard::{Act, Block, Cell, Field, Form, Href, Kind, Page, Section, Table, Tone, Viewer};
use weir_tenants::store::change::{By, NewKey, Rotation};
use weir_tenants::store::view::KeyView;

use super::UiError;
use super::guard::{Acted, Fields, Member, Operator};
use super::part::following;
use super::words::{DONE, Named};
use crate::config::tokens::Token;
use crate::server::{App, keys};

/// The parameter of a page with keys that names the last one that is not shown.
const KEYS_AFTER: &str = "keys_after";

/// Whose page keys are on: the address of its acts.
pub(super) struct Place {
    base: Vec<String>,
    section: Section,
}

impl Place {
    /// The page of a tenant among others.
    pub(super) fn of(tenant: &str) -> Self {
        Place { base: vec!["tenants".to_owned(), tenant.to_owned()], section: Section::Tenants }
    }

    /// A tenant's own page.
    pub(super) fn own() -> Self {
        Place { base: vec!["own".to_owned()], section: Section::Own }
    }

    fn href(&self, more: &[&str]) -> Href {
        let segments: Vec<&str> = self.base.iter().map(String::as_str).chain(more.iter().copied()).collect();
        Href::to(&segments)
    }
}

/// The table of keys, from the one after `after` on, and the form that makes one if the viewer may.
pub(super) fn blocks(keys: &[KeyView], place: &Place, after: &str, may_act: bool, now: Timestamp) -> Vec<Block> {
    let columns = ["Key", "State", "Plan", "Environment", "Feature", "Made", "Last used", "Expires", "Actions"];
    let (shown, last) = following(keys, |key| key.id.clone(), after);
    let mut table = Table::new("Keys", &columns, "There is no key. Make one below.")
        .rows(shown.iter().map(|key| row(key, place, may_act, now)));
    table.next = last.map(|last| place.href(&[]).with(KEYS_AFTER, &last));
    let mut blocks = vec![Block::Table(table)];
    if may_act {
        blocks.push(Block::Form(new_form(place)));
    }
    blocks
}

/// The form that makes a key.
pub(super) fn new_form(place: &Place) -> Form {
    let name = Field::optional("id", "Name", Kind::Text(String::new()))
        .hint("It appears in events. Empty: key-1, key-2 and so on.");
    let expires = Field::optional("expires", "Expires (UTC)", Kind::Time);
    Form::act("A new key", place.href(&["keys"]), vec![name, expires], "Make the key")
}

fn row(key: &KeyView, place: &Place, may_act: bool, now: Timestamp) -> Vec<Cell> {
    let text = |text: &Option<String>| Cell::maybe(text.clone());
    let is_over = key.revoked_at.is_some() || key.expires.is_some_and(|expires| expires <= now);
    let acts = if may_act && !is_over { acts(key, place) } else { Vec::new() };
    vec![
        Cell::Code(key.id.clone()),
        standing(key.revoked_at, key.expires, now),
        text(&key.plan),
        text(&key.environment),
        text(&key.feature),
        Cell::maybe(key.created_at),
        Cell::maybe(key.last_used),
        Cell::maybe(key.expires),
        Cell::Acts(acts),
    ]
}

/// Whether a key or a token is in force.
pub(super) fn standing(revoked: Option<Timestamp>, expires: Option<Timestamp>, now: Timestamp) -> Cell {
    match (revoked, expires) {
        (Some(_), _) => Cell::status("revoked", Tone::Plain),
        (None, Some(expires)) if expires <= now => Cell::status("expired", Tone::Plain),
        (None, _) => Cell::status("in force", Tone::Good),
    }
}

fn acts(key: &KeyView, place: &Place) -> Vec<Act> {
    let act = |label: &str, what: &str, submit: String| {
        Act::new(label, &key.id, Form::act("", place.href(&["keys", &key.id, what]), Vec::new(), &submit))
    };
    vec![
        act("Rotate", "rotate", format!("Make a new key; {} ends in a day", key.id)),
        act("Revoke", "revoke", format!("Revoke {} now", key.id)),
    ]
}

pub(super) fn by(app: &App, token: &Token) -> By {
    By { who: token.name.clone(), at: app.0.clock.now(), key: None }
}

fn new_key(fields: &Fields) -> Result<NewKey, UiError> {
    Ok(NewKey { id: fields.optional("id"), expires: fields.moment("expires")?, ..NewKey::default() })
}

/// The page that shows a key this once.
fn made(app: &App, viewer: &Viewer, key: &KeyView, place: &Place) -> Response {
    let secret = Block::Secret {
        label: format!("The key {} of {}", key.id, key.tenant),
        value: key.key.clone().unwrap_or_default(),
    };
    let is_suspended = app.directory().current().is_suspended(key.tenant.as_str());
    let told = if is_suspended {
        "Gateways know it within a second, and refuse its requests as long as the tenant is suspended."
    } else {
        "Gateways know it within a second."
    };
    let back = Block::Tabs("Back".to_owned(), vec![("Back to the keys".to_owned(), place.href(&[]), false)]);
    let page = Page {
        title: "A new key".to_owned(),
        section: place.section,
        at: app.0.clock.now(),
        blocks: vec![secret, Block::Paragraph(told.to_owned()), back],
    };
    Html(page.render(viewer)).into_response()
}

fn revoked(place: &Place) -> Redirect {
    Redirect::to(place.href(&[]).with(DONE, "revoked").as_str())
}

pub(super) async fn post_create(
    State(app): State<App>,
    Path(Named(id)): Path<Named>,
    Acted(Operator(staff), fields): Acted<Operator>,
) -> Result<Response, UiError> {
    let (new, by) = (new_key(&fields)?, by(&app, staff.token()));
    let outcome = keys::create(&app, staff.token(), id.clone(), new, by).await?;
    Ok(made(&app, staff.viewer(), &outcome.answer, &Place::of(&id)))
}

pub(super) async fn post_rotate(
    State(app): State<App>,
    Path((Named(id), Named(key))): Path<(Named, Named)>,
    Acted(Operator(staff), _): Acted<Operator>,
) -> Result<Response, UiError> {
    let (by, place) = (by(&app, staff.token()), Place::of(&id));
    let outcome = keys::rotate(&app, staff.token(), (id, key), Rotation::default(), by).await?;
    Ok(made(&app, staff.viewer(), &outcome.answer, &place))
}

pub(super) async fn post_revoke(
    State(app): State<App>,
    Path((Named(id), Named(key))): Path<(Named, Named)>,
    Acted(Operator(staff), _): Acted<Operator>,
) -> Result<Redirect, UiError> {
    let (by, place) = (by(&app, staff.token()), Place::of(&id));
    keys::revoke(&app, staff.token(), (id, key), by).await?;
    Ok(revoked(&place))
}

pub(super) async fn post_own_create(
    State(app): State<App>,
    Acted(member, fields): Acted<Member>,
) -> Result<Response, UiError> {
    let (new, by) = (new_key(&fields)?, by(&app, member.token()));
    let outcome = keys::create(&app, member.token(), member.tenant().to_string(), new, by).await?;
    Ok(made(&app, member.viewer(), &outcome.answer, &Place::own()))
}

pub(super) async fn post_own_rotate(
    State(app): State<App>,
    Path(Named(key)): Path<Named>,
    Acted(member, _): Acted<Member>,
) -> Result<Response, UiError> {
    let (by, named) = (by(&app, member.token()), (member.tenant().to_string(), key));
    let outcome = keys::rotate(&app, member.token(), named, Rotation::default(), by).await?;
    Ok(made(&app, member.viewer(), &outcome.answer, &Place::own()))
}

pub(super) async fn post_own_revoke(
    State(app): State<App>,
    Path(Named(key)): Path<Named>,
    Acted(member, _): Acted<Member>,
) -> Result<Redirect, UiError> {
    let (by, named) = (by(&app, member.token()), (member.tenant().to_string(), key));
    keys::revoke(&app, member.token(), named, by).await?;
    Ok(revoked(&Place::own()))
}

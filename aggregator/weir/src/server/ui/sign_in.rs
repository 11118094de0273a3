//! Signing in with a token, and out. Sessions begin here, however a person signs in.
use axum::Extension;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Redirect, Response};
use serde::Deserialize;
use weir_contract::directory::KeyHash;
use weir_dashboard::{Brand, Href, SignIn, TO_FIELD, Ways, entered, over, sign_in};

use super::UiError;
use super::asked::{Ask, page_at};
use super::cookies::{Shown, is_in_frame};
use super::guard::{Acted, Anyone, Fields, check_origin, session_name, token_of};
use super::sessions::Holder;
use crate::metrics::ui::SignedIn;
use crate::server::App;
use crate::server::connections::Slot;
use crate::server::error::ApiError;
use crate::server::passed_on::PassedOn;

/// Where people sign in.
const SIGN_IN: &str = "/ui/sign-in";
/// The length from which a token cannot be guessed: those that weir makes are longer.
const UNGUESSABLE_MIN_BYTES: usize = 40;

/// What the address says.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    to: String,
    ended: String,
}

/// How people may sign in, for the page that asks them to, and where that leads.
fn ways(app: &App, to: &str) -> Ways {
    Ways { openid: app.0.ui.openid.is_some(), brand: app.0.ui.brand(), to: Href::local(to) }
}

pub(super) async fn get_page(State(app): State<App>, Ask(asked): Ask<Asked>) -> Html<String> {
    let why = if asked.ended.is_empty() { SignIn::First } else { SignIn::Ended };
    Html(sign_in(why, &ways(&app, &asked.to)))
}

/// Where a person goes once they are signed in: the page that they wanted, if it is one of theirs.
pub(super) fn landing(app: &App, holder: &Holder, to: &str) -> Option<Href> {
    let token = token_of(app, holder)?;
    page_at(to).filter(|page| Anyone::may_open(&token, page))
}

/// Begins a session. Its name is always a new one, and a session that the browser had before ends: a name that somebody planted leads
/// nowhere.
pub(super) async fn post_sign_in(
    State(app): State<App>,
    Extension(slot): Extension<Slot>,
    passed_on: Option<Extension<PassedOn>>,
    headers: HeaderMap,
    fields: Fields,
) -> Result<Response, UiError> {
    check_origin(&app, &headers)?;
    let (ui, now) = (&app.0.ui, app.0.clock.elapsed());
    let again = |status, why| Ok((status, Html(sign_in(why, &ways(&app, fields.get(TO_FIELD))))).into_response());
    // Who comes through another node is who asked that node.
    let client = passed_on.map_or(slot.peer(), |Extension(passed_on)| passed_on.client);
    // Behind a proxy everybody has one address: who fails there keeps nobody out whose token cannot be guessed.
    let is_unguessable = fields.get("token").len() >= UNGUESSABLE_MIN_BYTES;
    if !is_unguessable && !ui.attempts.may_try(client, now) {
        app.0.metrics.ui.signed_in(SignedIn::Limited);
        return again(StatusCode::TOO_MANY_REQUESTS, SignIn::TooMany);
    }
    let holder = Holder::Token(KeyHash::of(fields.get("token").as_bytes()));
    if token_of(&app, &holder).is_none() {
        ui.attempts.failed(client, now);
        app.0.metrics.ui.signed_in(SignedIn::Refused);
        return again(StatusCode::UNAUTHORIZED, SignIn::Refused);
    }
    let to = landing(&app, &holder, fields.get(TO_FIELD));
    let cookies = begin(&app, &headers, holder, Shown::Here).await?;
    Ok(with_cookies(Redirect::to(to.as_ref().map_or("/ui", Href::as_str)), cookies))
}

/// Begins a session, ends the one that the browser had, writes the audit, and returns the cookies.
pub(super) async fn begin(
    app: &App,
    headers: &HeaderMap,
    holder: Holder,
    shown: Shown,
) -> Result<Vec<HeaderValue>, UiError> {
    let who = token_of(app, &holder).map(|token| token.name).ok_or(ApiError::Unauthorized)?;
    note(app, who, "signed in to the dashboard").await?;
    app.0.metrics.ui.signed_in(SignedIn::Done);
    if let Some(before) = session_name(app, headers) {
        app.0.ui.sessions.end(before);
    }
    let name = app.0.ui.sessions.begin(holder, app.0.clock.elapsed()).map_err(|error| ApiError::internal(&error))?;
    let is_https = app.0.ui.settings.is_https;
    let ended = Shown::ALL.into_iter().filter(|other| is_https && *other != shown).map(|other| (other, ""));
    let cookies = std::iter::once((shown, name.as_str())).chain(ended);
    Ok(cookies.filter_map(|(shown, name)| shown.set(name, is_https)).collect())
}

/// Writes into the audit what a person did who changed nothing else.
async fn note(app: &App, who: String, act: &'static str) -> Result<(), ApiError> {
    let now = app.0.clock.now();
    Ok(app.0.store.ledger.call(move |ledger| ledger.audit(now, &who, act, "")).await?)
}

/// A page that moves on to the dashboard, after another site has sent the browser here. Browsers differ in whether they send a new cookie
/// along redirects that another site began; with a page of this server they all do.
pub(super) fn moves_on(cookies: Vec<HeaderValue>, to: Option<&Href>, brand: &Brand) -> Response {
    with_cookies(Html(entered(to, brand)), cookies)
}

fn with_cookies(response: impl IntoResponse, cookies: Vec<HeaderValue>) -> Response {
    let mut response = response.into_response();
    for cookie in cookies {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

pub(super) async fn post_sign_out(
    State(app): State<App>,
    headers: HeaderMap,
    Acted(person, _): Acted<Anyone>,
) -> Result<Response, UiError> {
    if let Some(name) = session_name(&app, &headers) {
        app.0.ui.sessions.end(name);
    }
    note(&app, person.name().to_owned(), "signed out of the dashboard").await?;
    let is_https = app.0.ui.settings.is_https;
    let cookies = Shown::ALL.into_iter().filter_map(|shown| shown.set("", is_https)).collect();
    Ok(with_cookies(Redirect::to(SIGN_IN), cookies))
}

/// Tells people in a frame that their session is over, instead of leading them to the page where one signs in: that one stands in no frame,
/// and a browser would show its own words about that.
pub(super) async fn without_sign_in(State(app): State<App>, request: Request, next: Next) -> Response {
    let in_frame = is_in_frame(request.headers());
    let mut response = next.run(request).await;
    let to = response.headers().get(header::LOCATION).map(HeaderValue::as_bytes).unwrap_or_default();
    if in_frame && to.starts_with(SIGN_IN.as_bytes()) {
        response.headers_mut().remove(header::LOCATION);
        *response.status_mut() = StatusCode::UNAUTHORIZED;
        let page = Html(over(app.0.ui.theme.brand())).into_response();
        response.headers_mut().extend(page.headers().clone());
        *response.body_mut() = page.into_body();
    }
    response
}

//! Signing in with a token, and out.
use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use weir_contract::directory::KeyHash;
use weir_dashboard::{SignIn, sign_in};

use super::UiError;
use super::guard::{Acted, Anyone, COOKIE, Fields, check_origin, session_name, token_of};
use crate::metrics::ui::SignedIn;
use crate::server::App;
use crate::server::connections::Slot;
use crate::server::error::ApiError;

/// The length from which a token cannot be guessed: those that weir makes are longer.
const UNGUESSABLE_MIN_BYTES: usize = 40;

pub(super) async fn get_page() -> Html<String> {
    Html(sign_in(SignIn::First))
}

/// Begins a session. Its name is always a new one, and a session that the browser had before ends: a name that somebody planted leads
/// nowhere.
pub(super) async fn post_sign_in(
    State(app): State<App>,
    Extension(slot): Extension<Slot>,
    headers: HeaderMap,
    fields: Fields,
) -> Result<Response, UiError> {
    check_origin(&headers)?;
    let (ui, now) = (&app.0.ui, app.0.clock.elapsed());
    let again = |status, why| Ok((status, Html(sign_in(why))).into_response());
    // Behind a proxy everybody has one address: who fails there keeps nobody out whose token cannot be guessed.
    let is_unguessable = fields.get("token").len() >= UNGUESSABLE_MIN_BYTES;
    if !is_unguessable && !ui.attempts.may_try(slot.peer(), now) {
        app.0.metrics.ui.signed_in(SignedIn::Limited);
        return again(StatusCode::TOO_MANY_REQUESTS, SignIn::TooMany);
    }
    let hash = KeyHash::of(fields.get("token").as_bytes());
    if token_of(&app, &hash).is_none() {
        ui.attempts.failed(slot.peer(), now);
        app.0.metrics.ui.signed_in(SignedIn::Refused);
        return again(StatusCode::UNAUTHORIZED, SignIn::Refused);
    }
    app.0.metrics.ui.signed_in(SignedIn::Done);
    if let Some(before) = session_name(&headers) {
        ui.sessions.end(before);
    }
    let name = ui.sessions.begin(hash, now).map_err(|error| ApiError::internal(&error))?;
    Ok(([(header::SET_COOKIE, cookie(&app, &name, None)?)], Redirect::to("/ui")).into_response())
}

pub(super) async fn post_sign_out(
    State(app): State<App>,
    headers: HeaderMap,
    Acted(_, _): Acted<Anyone>,
) -> Result<Response, UiError> {
    if let Some(name) = session_name(&headers) {
        app.0.ui.sessions.end(name);
    }
    Ok(([(header::SET_COOKIE, cookie(&app, "", Some(0))?)], Redirect::to("/ui/sign-in")).into_response())
}

/// The cookie with a session's name: for pages below `/ui`, out of the reach of scripts, and never sent with another site's request.
fn cookie(app: &App, name: &str, max_age: Option<u32>) -> Result<HeaderValue, ApiError> {
    let secure = if app.0.ui.settings.is_https { "; Secure" } else { "" };
    let age = max_age.map_or_else(String::new, |seconds| format!("; Max-Age={seconds}"));
    let cookie = format!("{COOKIE}={name}; Path=/ui; HttpOnly; SameSite=Strict{secure}{age}");
    HeaderValue::from_str(&cookie).map_err(|error| ApiError::internal(&error))
}

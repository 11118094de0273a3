//! The dashboard under `/ui`: pages for people, from the same functions that answer the API.
//!
//! | page | who | |
//! |---|---|---|
//! | `/ui/sign-in`, `/ui/sign-out` | anybody | [`sign_in`] |
//! | `/ui/overview`, `/ui/live` | viewer | [`overview`], [`live`] |
//! | `/ui/tenants`, `/ui/tenants/{id}` and below | viewer; acts: operator | [`tenants`], [`tenant`], [`keys`] |
//! | `/ui/budgets` | viewer; acts: admin | [`budgets`] |
//! | `/ui/limits` | viewer | [`limits`] |
//! | `/ui/money` and below | viewer | [`money`] |
//! | `/ui/billing` | viewer; acts: admin | [`billing`] |
//! | `/ui/alerts` | viewer; acts: operator, tests: admin | [`alerts`] |
//! | `/ui/models` | viewer | [`models`] |
//! | `/ui/tokens` | admin | [`tokens`] |
//! | `/ui/requests` | viewer | [`requests`] |
//! | `/ui/gateways` | viewer | [`gateways`] |
//! | `/ui/own` and below | a tenant, about itself | [`own`] |
//!
//! A person signs in with a token of the API; the browser gets a session's name in a cookie ([`sessions`]). Each request looks the
//! session's token up again, so that a revoked token ends its sessions at once. A form is acted on only if it carries the session's
//! own token and comes from a page of this server ([`guard`]). An act calls the function that the API calls, which asks for the scope
//! and names the person in the audit.
mod alerts;
mod attempts;
mod billing;
mod budgets;
mod gateways;
mod guard;
mod keys;
mod limits;
pub(super) mod live;
mod models;
mod money;
mod overview;
mod own;
mod requests;
mod sessions;
mod sign_in;
mod standing;
mod tenant;
mod tenants;
mod tokens;
mod words;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Path};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::map_response;
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use weir_dashboard::{Block, Page, Section, asset, error};

use super::App;
use super::error::ApiError;
use crate::config::ui::Ui;
use crate::metrics::Metrics;
use guard::{Anyone, Staff};

/// The largest form, in bytes.
const FORM_MAX_BYTES: usize = 64 * 1024;
/// How long a browser keeps stylesheet and script, in seconds: short, so that a new version is seen soon.
const ASSETS_KEPT: HeaderValue = HeaderValue::from_static("private, max-age=600");

/// What every page is sent with. No page runs or loads anything but the files below `/ui/assets`, stands in a frame, or is kept.
const HEADERS: [(HeaderName, &str); 6] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; \
         frame-ancestors 'none'; base-uri 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    // A browser that is told to name no referrer at all hides the origin of forms as well.
    (header::REFERRER_POLICY, "same-origin"),
    (header::CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
];

/// The dashboard's state.
#[derive(Debug)]
pub(super) struct Dashboard {
    settings: Ui,
    sessions: sessions::Sessions,
    attempts: attempts::Attempts,
    live: live::Live,
    standing: standing::Standings,
}

impl Dashboard {
    pub(super) fn new(settings: Ui) -> Self {
        Dashboard {
            settings,
            sessions: sessions::Sessions::default(),
            attempts: attempts::Attempts::default(),
            live: live::Live::default(),
            standing: standing::Standings::default(),
        }
    }

    /// Shows how many people use it.
    pub(super) fn show(&self, metrics: &Metrics) {
        metrics.ui.show(self.sessions.count(), self.live.viewers());
    }

    /// Its routes; none if there is to be no dashboard.
    pub(super) fn router(&self) -> Router<App> {
        if self.settings.is_enabled { Router::new().nest("/ui", routes()) } else { Router::new() }
    }
}

fn routes() -> Router<App> {
    Router::new()
        .route("/", get(first_page))
        .route("/assets/{name}", get(get_asset))
        .route("/sign-in", get(sign_in::get_page).post(sign_in::post_sign_in))
        .route("/sign-out", post(sign_in::post_sign_out))
        .route("/live", get(live::get_live))
        .route("/overview", get(overview::get_page))
        .route("/limits", get(limits::get_page))
        .route("/billing", get(billing::get_page))
        .route("/billing/settle", post(billing::post_settle))
        .route("/models", get(models::get_page))
        .route("/requests", get(requests::get_page))
        .route("/gateways", get(gateways::get_page))
        .merge(tenants::routes())
        .merge(budgets::routes())
        .merge(money::routes())
        .merge(alerts::routes())
        .merge(tokens::routes())
        .merge(own::routes())
        .fallback(nothing_here)
        .method_not_allowed_fallback(nothing_here)
        .layer(DefaultBodyLimit::max(FORM_MAX_BYTES))
        .layer(map_response(guarded))
}

/// Adds what every page is sent with, but for what a handler says itself.
async fn guarded(mut response: Response) -> Response {
    for (name, value) in HEADERS {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// Sends people to the page that is theirs.
async fn first_page(person: Anyone) -> Redirect {
    let section = if person.is_staff() { Section::Overview } else { Section::Own };
    Redirect::to(section.href().as_str())
}

async fn get_asset(Path(name): Path<String>) -> Result<Response, UiError> {
    let asset = asset(&name).ok_or(ApiError::NotFound("there is no such file"))?;
    let kind = HeaderValue::from_static(asset.media_type);
    Ok(([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, ASSETS_KEPT)], asset.text).into_response())
}

async fn nothing_here() -> UiError {
    ApiError::NotFound("there is no page at this address").into()
}

/// A page for the person who asked.
fn page(app: &App, staff: &Staff, section: Section, title: impl Into<String>, blocks: Vec<Block>) -> Response {
    let page = Page { title: title.into(), section, at: app.0.clock.now(), blocks };
    Html(page.render(staff.viewer())).into_response()
}

/// An error as a page.
#[derive(Debug)]
struct UiError(ApiError);

impl<E: Into<ApiError>> From<E> for UiError {
    fn from(error: E) -> Self {
        UiError(error.into())
    }
}

impl IntoResponse for UiError {
    fn into_response(self) -> Response {
        let status = self.0.status();
        let title = match status {
            StatusCode::NOT_FOUND => "There is nothing here",
            StatusCode::FORBIDDEN => "This is not yours to see or do",
            StatusCode::INTERNAL_SERVER_ERROR | StatusCode::SERVICE_UNAVAILABLE => "It did not work",
            _ => "This cannot be done as asked",
        };
        (status, Html(error(title, &self.0.to_string()))).into_response()
    }
}

//! The dashboard under `/ui`: pages for people, from the same functions that answer the API.
//!
//! | page | who | |
//! |---|---|---|
//! | `/ui/sign-in`, `/ui/sign-out` | anybody | [`sign_in`] |
//! | `/ui/openid`, `/ui/link` | anybody for whom a provider or a link vouches | [`openid`], [`links`] |
//! | `/ui/overview`, `/ui/live` | viewer | [`overview`], [`live`] |
//! | `/ui/tenants`, `/ui/tenants/{id}` and below | viewer; acts: operator | [`tenants`], [`tenant`], [`keys`] |
//! | `/ui/budgets` and below | viewer; acts: admin | [`budgets`], [`budget`] |
//! | `/ui/limits`, `/ui/limits/live` | viewer | [`limits`], [`live`] |
//! | `/ui/money` and below | viewer | [`money`] |
//! | `/ui/billing` and below | viewer; acts: admin | [`billing`], [`settled`], [`rows`] |
//! | `/ui/alerts` | viewer; acts: operator, tests: admin | [`alerts`] |
//! | `/ui/models` | viewer | [`models`] |
//! | `/ui/tokens` | admin | [`tokens`] |
//! | `/ui/requests` | viewer | [`requests`] |
//! | `/ui/gateways` | viewer | [`gateways`] |
//! | `/ui/own` and below | a tenant, about itself | [`own`], [`addresses`] |
//! | `/ui/alert-address/stop` | whoever has a message's link | [`addresses`] |
//!
//! A person signs in with a token of the API, by OpenID Connect or by a signed link; the browser gets a session's name in a cookie
//! ([`sessions`]). Each request looks the session's token up again, so that a revoked token ends its sessions at once. A form is acted on only if it carries the session's
//! own token and comes from a page of this server ([`guard`]). An act calls the function that the API calls, which asks for the scope
//! and names the person in the audit. What goes wrong is shown in the frame of the other pages, with the form again ([`failed`]); an address
//! that asks what a page does not know is refused ([`asked`]).
mod addresses;
mod alerts;
pub(super) mod answers;
mod asked;
mod attempts;
mod billing;
mod budget;
mod budgets;
mod cookies;
mod crossover;
mod drift;
mod failed;
mod gateways;
mod guard;
mod kept;
mod keys;
mod levels;
mod limits;
mod links;
pub(super) mod live;
mod models;
mod money;
mod openid;
mod overview;
mod own;
mod part;
mod provider_keys;
mod requests;
mod rows;
mod sent;
mod sessions;
mod settled;
mod sign_in;
mod span;
mod standing;
mod tenant;
mod tenants;
mod theme;
mod tokens;
mod words;

use std::path::Path as FilePath;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::{from_fn, from_fn_with_state, map_response};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use weir_dashboard::{Block, Brand, Page, Section, Viewer, asset, error};
use weir_steer::message::Pages;

use super::App;
use super::error::{ApiError, not_found};
use crate::config::ConfigError;
use crate::config::ui::Ui;
use crate::metrics::Metrics;
use guard::{Anyone, Staff};

/// The largest form, in bytes.
const FORM_MAX_BYTES: usize = 64 * 1024;
/// How long a browser keeps stylesheet and script, in seconds: short, so that a new version is seen soon.
const ASSETS_KEPT: HeaderValue = HeaderValue::from_static("private, max-age=600");
/// How soon a browser loads a page again whose figures are still being read, in seconds.
const LOOK_AGAIN: HeaderValue = HeaderValue::from_static("2");

/// The Content-Security-Policy of pages that these sites may show in a frame.
macro_rules! policy {
    ($sites:literal) => {
        concat!(
            "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; ",
            "base-uri 'none'; frame-ancestors ",
            $sites
        )
    };
}

/// What every page is sent with. No page runs or loads anything but the files below `/ui/assets`, stands in a frame, or is kept.
const HEADERS: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, policy!("'none'")),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    // A browser that is told to name no referrer at all hides the origin of forms as well.
    (header::REFERRER_POLICY, "same-origin"),
    (header::CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
];

/// The dashboard's state.
#[derive(Debug)]
pub(crate) struct Dashboard {
    settings: Ui,
    sessions: sessions::Sessions,
    attempts: attempts::Attempts,
    live: live::Live,
    kept: answers::Everything,
    openid: Option<openid::Provider>,
    links: Option<links::Signer>,
    theme: theme::Theme,
    /// The Content-Security-Policy of tenants' own pages, where other sites may show these in a frame.
    framed: Option<HeaderValue>,
}

impl Dashboard {
    /// Reads the secrets and the logo of the settings; relative files lie in `base`.
    pub(crate) fn new(settings: Ui, base: &FilePath) -> Result<Self, ConfigError> {
        let openid = settings.openid.clone().map(|openid| openid::Provider::new(openid, base)).transpose()?;
        let links = settings.links.clone().map(|links| links::Signer::new(links, base)).transpose()?;
        let theme = settings.theme.clone().map(|file| theme::Theme::new(file, base)).transpose()?.unwrap_or_default();
        let sites = links.as_ref().map(links::Signer::frames).filter(|sites| !sites.is_empty());
        // Each site was checked to be one.
        let framed = sites.and_then(|sites| HeaderValue::from_str(&format!(policy!("{}"), sites.join(" "))).ok());
        Ok(Dashboard {
            settings,
            sessions: sessions::Sessions::default(),
            attempts: attempts::Attempts::default(),
            live: live::Live::default(),
            kept: answers::Everything::default(),
            openid,
            links,
            theme,
            framed,
        })
    }

    /// Shows how many people use it.
    pub(super) fn show(&self, metrics: &Metrics) {
        metrics.ui.show(self.sessions.count(), self.live.viewers(), self.kept.count());
    }

    /// The pages that messages link to; None where browsers' way to them is not known.
    pub(super) fn pages(&self) -> Option<Pages> {
        let site = self.settings.url.clone().filter(|_| self.settings.is_enabled)?;
        let alerts = format!("{site}{}", Section::Alerts.href().as_str());
        Some(Pages { alerts, budget: |site, of, budget| format!("{site}{}", budgets::one(of, budget).as_str()), site })
    }

    /// What tenants see instead of weir's name.
    fn brand(&self) -> Brand {
        self.theme.brand().clone()
    }

    /// Its routes; none if there is to be no dashboard.
    pub(super) fn router(&self, app: &App) -> Router<App> {
        if !self.settings.is_enabled {
            return Router::new();
        }
        let to_first_page = || get(|| std::future::ready(Redirect::to("/ui")));
        Router::new().nest("/ui", routes(app, self.framed.clone())).route("/ui/", to_first_page()).route("/", get(root))
    }
}

/// The address of the server alone: people mean the pages.
async fn root(headers: HeaderMap) -> Response {
    let accepts = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if accepts.contains("text/html") { Redirect::to("/ui").into_response() } else { not_found().await.into_response() }
}

fn routes(app: &App, framed: Option<HeaderValue>) -> Router<App> {
    Router::new()
        .route("/", get(first_page))
        .route("/assets/{name}", get(get_asset))
        .route("/sign-in", get(sign_in::get_page).post(sign_in::post_sign_in))
        .route("/live", get(live::get_live))
        .route("/overview", get(overview::get_page))
        .route("/limits", get(limits::get_page))
        .route("/limits/live", get(limits::get_live))
        .route("/billing", get(billing::get_page))
        .route("/billing/row", get(billing::get_row))
        .route("/billing/settled", get(settled::get_page))
        .route("/billing/settle", post(billing::post_settle))
        .route("/models", get(models::get_page))
        .route("/requests", get(requests::get_page))
        .route("/gateways", get(gateways::get_page))
        .merge(tenants::routes())
        .route("/budgets", get(budgets::get_page))
        .merge(budget::routes())
        .merge(money::routes())
        .route("/money/crossover", get(crossover::get_page))
        .route("/money/crossover.svg", get(crossover::get_drawing))
        .merge(alerts::routes())
        .merge(tokens::routes())
        .route("/alert-address/stop", get(addresses::get_stop).post(addresses::post_stop))
        .route("/openid", get(openid::get_start))
        .route("/openid/callback", get(openid::get_callback))
        .merge(of_tenants(app, framed))
        .fallback(nothing_here)
        .method_not_allowed_fallback(nothing_here)
        .layer(from_fn_with_state(app.clone(), failed::in_its_frame))
        .layer(from_fn(asked::without_others_notice))
        .layer(DefaultBodyLimit::max(FORM_MAX_BYTES))
        .layer(map_response(guarded))
}

/// What tenants see; other sites may show it in a frame if the configuration names them.
fn of_tenants(app: &App, framed: Option<HeaderValue>) -> Router<App> {
    let routes = own::routes().route("/link", get(links::get_link)).route("/sign-out", post(sign_in::post_sign_out));
    let Some(policy) = framed else { return routes };
    let with_policy = map_response(move |mut response: Response| {
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy.clone());
        std::future::ready(response)
    });
    routes.layer(from_fn_with_state(app.clone(), sign_in::without_sign_in)).layer(with_policy)
}

/// Adds what every page is sent with, but for what a handler says itself.
async fn guarded(mut response: Response) -> Response {
    let headers = response.headers_mut();
    let is_framed = headers.contains_key(header::CONTENT_SECURITY_POLICY);
    // The older header knows no sites: the policy is enough for every browser that runs the pages.
    for (name, value) in HEADERS.into_iter().filter(|(name, _)| !is_framed || *name != header::X_FRAME_OPTIONS) {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// Sends people to the page that is theirs.
async fn first_page(person: Anyone) -> Redirect {
    let section = if person.is_staff() { Section::Overview } else { Section::Own };
    Redirect::to(section.href().as_str())
}

async fn get_asset(State(app): State<App>, Path(name): Path<String>) -> Result<Response, UiError> {
    let own = || {
        let asset = asset(&name)?;
        Some(([(header::CONTENT_TYPE, HeaderValue::from_static(asset.media_type))], asset.text).into_response())
    };
    let file = app.0.ui.theme.asset(&name).or_else(own).ok_or(ApiError::NotFound("there is no such file"))?;
    Ok(([(header::CACHE_CONTROL, ASSETS_KEPT)], file).into_response())
}

async fn nothing_here() -> UiError {
    ApiError::NotFound("there is no page at this address").into()
}

/// A page for the person who asked.
fn page(app: &App, staff: &Staff, section: Section, title: impl Into<String>, blocks: Vec<Block>) -> Response {
    answer(&Page { title: title.into(), section, at: app.0.clock.now(), blocks }, staff.viewer())
}

/// A page as an answer. One that lacks figures is loaded again by the browser.
fn answer(page: &Page, viewer: &Viewer) -> Response {
    let mut response = Html(page.render(viewer)).into_response();
    if page.is_unfinished() {
        response.headers_mut().insert(HeaderName::from_static("refresh"), LOOK_AGAIN);
    }
    response
}

/// An error as a page; for those who are signed in [`failed`] puts it in its frame.
#[derive(Debug)]
struct UiError(ApiError);

impl<E: Into<ApiError>> From<E> for UiError {
    fn from(error: E) -> Self {
        UiError(error.into())
    }
}

impl IntoResponse for UiError {
    fn into_response(self) -> Response {
        let (status, told) = (self.0.status(), failed::Told::of(&self.0));
        let mut response = (status, Html(error(told.title, &told.words))).into_response();
        self.0.tell_when(response.headers_mut());
        response.extensions_mut().insert(told);
        response
    }
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use weir_contract::Timestamp;

    use super::*;

    #[test]
    fn a_page_whose_figures_are_being_read_is_there_at_once_and_loaded_again() {
        let answer = |blocks| {
            let page = Page { title: "Money".to_owned(), section: Section::Money, at: Timestamp::default(), blocks };
            answer(&page, &Viewer::default())
        };
        let read = Block::Paragraph("read".to_owned());
        let unfinished = answer(vec![read.clone(), kept::being_read("The figures of all tenants")]);
        assert_eq!((unfinished.status(), &unfinished.headers()["refresh"]), (StatusCode::OK, &LOOK_AGAIN));
        assert!(!answer(vec![read]).headers().contains_key("refresh"));
    }
}

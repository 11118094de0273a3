//! Who asks for a page, and whether a form may be acted on.
//!
//! A handler names whom it is for by its argument: [`Staff`] for people who see every page, [`Operator`] and [`Admin`] for those of them who
//! act, [`Member`] for a tenant's own. A form
//! arrives as [`Acted`], which has checked four things: the request comes from a page of this server (`Origin`), the session is
//! good, the form carries the session's own token, and it has not been sent before: who clicks twice acts once. Browsers send the cookie
//! with no form of another site besides (`SameSite=Lax`), but with a link that somebody clicks on elsewhere: no page changes anything.
use std::collections::BTreeMap;

use axum::Form;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use axum::response::{IntoResponse, Redirect, Response};
use subtle::ConstantTimeEq;
use weir_contract::directory::KeyHash;
use weir_contract::{TenantId, Timestamp};
use weir_dashboard::{Brand, Href, Role, TO_FIELD, Viewer};

use super::sent::{ENDED, Sent, page_of};
use super::sessions::Holder;
use super::{UiError, asked, cookies};
use crate::config::tokens::{COMMANDS, Scope, Token, random_token};
use crate::server::App;
use crate::server::auth::{allow, check_present};
use crate::server::error::ApiError;

/// Somebody who is signed in.
#[derive(Clone, Debug)]
pub(super) struct Anyone {
    token: Token,
    viewer: Viewer,
}

/// Somebody who sees every page.
#[derive(Clone, Debug)]
pub(super) struct Staff(Anyone);

/// Somebody who may change what operators do. Nobody else's form is read.
#[derive(Clone, Debug)]
pub(super) struct Operator(pub(super) Staff);

/// Somebody who may change what administrators do. Nobody else's form is read.
#[derive(Clone, Debug)]
pub(super) struct Admin(pub(super) Staff);

/// Somebody who sees the page of one tenant.
#[derive(Clone, Debug)]
pub(super) struct Member {
    person: Anyone,
    tenant: TenantId,
}

/// A form that may be acted on, and who sent it.
#[derive(Debug)]
pub(super) struct Acted<P>(pub(super) P, pub(super) Fields);

impl Anyone {
    /// The person, as the audit names them.
    pub(super) fn name(&self) -> &str {
        &self.token.name
    }

    /// Whether an address is a page of theirs: one that is read, and does nothing else.
    pub(super) fn may_open(token: &Token, page: &Href) -> bool {
        let path = page.as_str().split('?').next().unwrap_or_default();
        let first = path.split('/').nth(2).unwrap_or_default();
        let acts = matches!(first, "link" | "sign-in" | "sign-out" | "live" | "openid" | "alert-address" | "assets");
        let is_own = first == "own";
        !acts && !path.ends_with("/live") && !path.ends_with(".csv") && is_own != token.opens(&Scope::Viewer)
    }

    pub(super) fn is_staff(&self) -> bool {
        self.token.opens(&Scope::Viewer)
    }

    /// Whether it is a tenant's own person, and of this tenant.
    pub(super) fn is_of(&self, tenant: &TenantId) -> bool {
        self.token.tenant() == Some(tenant)
    }
}

impl Staff {
    /// The token, which names the person.
    pub(super) fn token(&self) -> &Token {
        &self.0.token
    }

    pub(super) fn viewer(&self) -> &Viewer {
        &self.0.viewer
    }

    /// Whether the person may do what the scope allows: pages leave out what would be refused.
    pub(super) fn may(&self, scope: &Scope) -> bool {
        self.0.token.opens(scope)
    }
}

impl Member {
    pub(super) fn token(&self) -> &Token {
        &self.person.token
    }

    pub(super) fn viewer(&self) -> &Viewer {
        &self.person.viewer
    }

    /// The tenant: the session's, which no request chooses.
    pub(super) fn tenant(&self) -> &TenantId {
        &self.tenant
    }
}

/// What the holder of a session may do now; None if that opens no page. Commands of the machine have none: the audit would name
/// nobody.
pub(super) fn token_of(app: &App, holder: &Holder) -> Option<Token> {
    let mut token = match holder {
        Holder::Token(hash) => {
            let configured = app.tokens().find_hash(hash).cloned();
            let token = configured.or_else(|| app.kept_tokens().find_hash(hash, app.0.clock.now()).cloned())?;
            app.0.seen.used(&token.name, app.0.clock.now());
            token
        }
        Holder::Person(token, _) => token.as_ref().clone(),
    };
    let of_tenant = || token.tenant().is_some_and(|tenant| check_present(app, tenant.as_str()).is_ok());
    let opens = token.name != COMMANDS && (token.opens(&Scope::Viewer) || of_tenant());
    token.name = token.who();
    opens.then_some(token)
}

/// The session's name in a request.
pub(super) fn session_name<'a>(app: &App, headers: &'a HeaderMap) -> Option<&'a str> {
    cookies::session_name(headers, app.0.ui.settings.is_https)
}

/// Who is signed in.
pub(super) fn person(app: &App, headers: &HeaderMap) -> Option<Anyone> {
    let session = app.0.ui.sessions.using(session_name(app, headers)?, app.0.clock.elapsed())?;
    let token = token_of(app, &session.holder)?;
    let has = |scope| token.opens(&scope);
    let role = match () {
        () if has(Scope::Admin) => Role::Admin,
        () if has(Scope::Operator) => Role::Operator,
        () if has(Scope::Viewer) => Role::Viewer,
        () => Role::Tenant,
    };
    let brand = if role == Role::Tenant { app.0.ui.brand() } else { Brand::default() };
    let once = random_token().ok()?;
    let viewer = Viewer { name: token.name.clone(), role, csrf: session.csrf, once, brand };
    Some(Anyone { token, viewer })
}

impl FromRequestParts<App> for Anyone {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Response> {
        person(app, &parts.headers).ok_or_else(|| to_sign_in(parts))
    }
}

/// Asks a person to sign in, and keeps the page that they want, or that has the form that they sent: it is looked at before anybody is
/// led there.
fn to_sign_in(parts: &Parts) -> Response {
    let address = parts.uri.path_and_query().map_or("", |address| address.as_str());
    let is_form = parts.method == Method::POST;
    let wanted = if is_form {
        Some(page_of(parts.uri.path(), &parts.headers))
    } else {
        let address = address.strip_prefix("/ui").unwrap_or(address);
        Href::local(&format!("/ui{address}"))
            .filter(|_| address != "/")
            .filter(|_| !address.split('?').next().unwrap_or_default().ends_with("/live"))
    };
    let asked = wanted.iter().fold(Href::to(&["sign-in"]), |asked, to| asked.with(TO_FIELD, to.as_str()));
    let asked = if is_form { asked.with(ENDED, "1") } else { asked };
    Redirect::to(asked.as_str()).into_response()
}

impl FromRequestParts<App> for Staff {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Response> {
        let person = Anyone::from_request_parts(parts, app).await?;
        let refused = || UiError::from(ApiError::Forbidden(Scope::Viewer)).into_response();
        if person.is_staff() { Ok(Staff(person)) } else { Err(refused()) }
    }
}

/// The person, if the scope is theirs.
async fn staff_with(scope: Scope, parts: &mut Parts, app: &App) -> Result<Staff, Response> {
    let staff = Staff::from_request_parts(parts, app).await?;
    allow(staff.token(), scope).map_err(|error| UiError::from(error).into_response())?;
    Ok(staff)
}

impl FromRequestParts<App> for Operator {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Response> {
        staff_with(Scope::Operator, parts, app).await.map(Operator)
    }
}

impl FromRequestParts<App> for Admin {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Response> {
        staff_with(Scope::Admin, parts, app).await.map(Admin)
    }
}

impl FromRequestParts<App> for Member {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Response> {
        let person = Anyone::from_request_parts(parts, app).await?;
        let Some(tenant) = person.token.tenant().cloned() else {
            let told = "this page is for tenants, about themselves; yours are the other ones".to_owned();
            return Err(UiError::from(ApiError::Report(told)).into_response());
        };
        Ok(Member { person, tenant })
    }
}

impl AsRef<Viewer> for Anyone {
    fn as_ref(&self) -> &Viewer {
        &self.viewer
    }
}

impl AsRef<Viewer> for Staff {
    fn as_ref(&self) -> &Viewer {
        self.viewer()
    }
}

impl AsRef<Viewer> for Operator {
    fn as_ref(&self) -> &Viewer {
        self.0.viewer()
    }
}

impl AsRef<Viewer> for Admin {
    fn as_ref(&self) -> &Viewer {
        self.0.viewer()
    }
}

impl AsRef<Viewer> for Member {
    fn as_ref(&self) -> &Viewer {
        self.viewer()
    }
}

impl<P> FromRequest<App> for Acted<P>
where
    P: FromRequestParts<App, Rejection = Response> + AsRef<Viewer> + Send,
{
    type Rejection = Response;

    async fn from_request(request: Request, app: &App) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        check_origin(app, &parts.headers).map_err(IntoResponse::into_response)?;
        let person = P::from_request_parts(&mut parts, app).await?;
        let session = session_name(app, &parts.headers).map(str::to_owned);
        let path = parts.uri.path().to_owned();
        let sent = parts.extensions.get::<Sent<Fields>>().cloned().unwrap_or_default();
        let fields = Fields::from_request(Request::from_parts(parts, body), app).await?;
        let is_own = fields.get("csrf").as_bytes().ct_eq(person.as_ref().csrf.as_bytes());
        if !bool::from(is_own) {
            let told = "the form is not one of this session: go back, load the page again, and repeat it";
            return Err(UiError(ApiError::ForeignForm(told)).into_response());
        }
        if !app.0.ui.sessions.is_first(session.as_deref().unwrap_or_default(), fields.hash(&path)) {
            let told =
                "this form has been sent already: look whether it took effect, and load the page again to repeat it";
            return Err(UiError(ApiError::Contradiction(told.to_owned())).into_response());
        }
        sent.note(fields.clone());
        Ok(Acted(person, fields))
    }
}

/// Refuses a form that another site's page sends. Every browser names the origin of a POST.
pub(super) fn check_origin(app: &App, headers: &HeaderMap) -> Result<(), UiError> {
    if is_own_origin(headers, app.0.ui.settings.is_https) {
        return Ok(());
    }
    Err(UiError(ApiError::ForeignForm(
        "the form does not come from a page of this server; a proxy in front has to pass `Host` on as it is",
    )))
}

/// Whether a request comes from a page of the host that it is sent to; where browsers come by https, from none without.
fn is_own_origin(headers: &HeaderMap, is_https: bool) -> bool {
    let of = |name| headers.get(name).and_then(|value: &axum::http::HeaderValue| value.to_str().ok());
    let plain = |origin: &str| if is_https { None } else { origin.strip_prefix("http://").map(str::to_owned) };
    let host_of = |origin: &str| origin.strip_prefix("https://").map(str::to_owned).or_else(|| plain(origin));
    match (of(header::ORIGIN).and_then(host_of), of(header::HOST)) {
        (Some(origin), Some(host)) => origin.eq_ignore_ascii_case(host),
        _ => false,
    }
}

/// The fields of a form.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields(BTreeMap<String, String>);

impl FromRequest<App> for Fields {
    type Rejection = Response;

    async fn from_request(request: Request, app: &App) -> Result<Self, Response> {
        let Form(pairs) = Form::<Vec<(String, String)>>::from_request(request, app)
            .await
            .map_err(|error| UiError(ApiError::Request(error.body_text())).into_response())?;
        Ok(Fields(pairs.into_iter().collect()))
    }
}

impl Fields {
    /// What tells this form, sent to `path`, from every other one. A page's forms differ from those of the same page loaded again.
    fn hash(&self, path: &str) -> KeyHash {
        let lengths = |text: &str| format!("{}:{text}", text.len());
        let parts = self.0.iter().map(|(name, value)| lengths(name) + &lengths(value));
        KeyHash::of((lengths(path) + &parts.collect::<String>()).as_bytes())
    }

    /// A field's text, without blanks around it; empty if there is none.
    pub(super) fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", |value| value.trim())
    }

    /// A field's text.
    pub(super) fn text(&self, name: &str) -> String {
        self.get(name).to_owned()
    }

    /// A field's text; None if it is empty.
    pub(super) fn optional(&self, name: &str) -> Option<String> {
        Some(self.text(name)).filter(|text| !text.is_empty())
    }

    /// A whole number.
    pub(super) fn number(&self, name: &str) -> Result<i64, ApiError> {
        let wrong = |_| ApiError::Request(format!("`{name}` is a whole number"));
        self.get(name).parse().map_err(wrong)
    }

    /// A moment in UTC, as browsers send it, with or without seconds; None if the field is empty.
    pub(super) fn moment(&self, name: &str) -> Result<Option<Timestamp>, ApiError> {
        asked::moment(name, self.get(name))
    }

    /// A moment that must be there.
    pub(super) fn at(&self, name: &str) -> Result<Timestamp, ApiError> {
        self.moment(name)?.ok_or_else(|| ApiError::Request(format!("`{name}` is empty: give a date and a time in UTC")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value"))).collect()
    }

    #[test]
    fn forms_come_from_the_server_that_they_are_sent_to() {
        let good = |origin, host| is_own_origin(&headers(&[("origin", origin), ("host", host)]), false);
        assert!(good("https://weir.example.com", "weir.example.com"));
        assert!(good("http://127.0.0.1:8090", "127.0.0.1:8090"));
        assert!(!good("https://evil.example.com", "weir.example.com"));
        assert!(!good("null", "weir.example.com"));
        assert!(!good("https://weir.example.com.evil", "weir.example.com"));
        assert!(!good("https://weir.example.com:8443", "weir.example.com"), "another port is another origin");
        assert!(!is_own_origin(&headers(&[("host", "weir.example.com")]), false), "no origin");
        let private = |origin| is_own_origin(&headers(&[("origin", origin), ("host", "weir.example.com")]), true);
        assert!(private("https://weir.example.com") && !private("http://weir.example.com"), "a page without TLS");
    }

    #[test]
    fn fields_are_read_as_browsers_send_them() {
        let fields = |value: &str| Fields([("until".to_owned(), value.to_owned())].into());
        let written =
            |value: &str| fields(value).at("until").map(|at| at.to_string()).map_err(|error| error.to_string());
        assert_eq!(written("2026-12-01T09:30").as_deref(), Ok("2026-12-01T09:30:00.000Z"));
        assert_eq!(written("2026-12-01T09:30:15").as_deref(), Ok("2026-12-01T09:30:15.000Z"));
        assert_eq!(written("2026-12-01T09:30:15Z").as_deref(), Ok("2026-12-01T09:30:15.000Z"));
        assert!(written("soon").is_err() && written("").is_err());
        assert_eq!((fields("  ").optional("until"), fields(" x ").get("until")), (None, "x"));
        assert!(fields("1.5").number("until").is_err());
    }
}

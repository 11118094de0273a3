//! Signing in by OpenID Connect (Core 1.0, code flow; PKCE: RFC 7636; `iss`: RFC 9207).
//!
//! The browser goes to the provider and comes back with a code, which weir exchanges for an ID token. Its signature, issuer, audience,
//! time and nonce are checked, and its claims say what the person may do. What belongs together on the way there and back is in a
//! cookie of ten minutes: the server keeps nothing of a sign-in that nobody ends.
mod claims;

use std::path::Path;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Redirect, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openidconnect::core::{
    CoreAuthDisplay, CoreAuthPrompt, CoreAuthenticationFlow, CoreClientAuthMethod, CoreErrorResponseType,
    CoreGenderClaim, CoreJsonWebKey, CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm, CoreProviderMetadata,
    CoreRevocableToken, CoreRevocationErrorResponse, CoreTokenIntrospectionResponse, CoreTokenType,
};
use openidconnect::{
    AdditionalClaims, AuthType, AuthorizationCode, Client, ClientId, ClientSecret, CsrfToken, EmptyExtraTokenFields,
    EndpointMaybeSet, EndpointNotSet, EndpointSet, HttpRequest, HttpResponse, IdToken, IdTokenFields, IssuerUrl, Nonce,
    PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, RequestTokenError, Scope, StandardErrorResponse,
    StandardTokenResponse, TokenResponse,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use subtle::ConstantTimeEq;
use tokio::sync::Mutex;
use weir_dashboard::{Brand, Href};
use weir_settings::secret::Secret;

use super::UiError;
use super::cookies::{Shown, cookie};
use super::sessions::Holder;
use super::sign_in::{begin, landing, moves_on};
use crate::config::ConfigError;
use crate::config::ui::openid::OpenId;
use crate::metrics::ui::SignedIn;
use crate::server::App;
use crate::server::error::ApiError;

/// How long the provider may take for one answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// The longest answer of the provider, in bytes.
const ANSWER_MAX_BYTES: usize = 1024 * 1024;
/// How long the provider's description and keys are used; and the shortest time between two fetches for a key that is not known.
const KEPT: Duration = Duration::from_secs(3_600);
const KEPT_MIN: Duration = Duration::from_secs(60);
/// How long a person may take at the provider, in seconds.
const AWAY_MAX_SECS: u32 = 600;

/// All claims that are no standard ones.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
struct OtherClaims(Map<String, Value>);

impl AdditionalClaims for OtherClaims {}

type Answer = StandardTokenResponse<
    IdTokenFields<
        OtherClaims,
        EmptyExtraTokenFields,
        CoreGenderClaim,
        CoreJweContentEncryptionAlgorithm,
        CoreJwsSigningAlgorithm,
    >,
    CoreTokenType,
>;
type PersonToken = IdToken<OtherClaims, CoreGenderClaim, CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm>;
type OpenIdClient = Client<
    OtherClaims,
    CoreAuthDisplay,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJsonWebKey,
    CoreAuthPrompt,
    StandardErrorResponse<CoreErrorResponseType>,
    Answer,
    CoreTokenIntrospectionResponse,
    CoreRevocableToken,
    CoreRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointMaybeSet,
    EndpointMaybeSet,
>;

/// The identity provider.
#[derive(Debug)]
pub(super) struct Provider {
    settings: OpenId,
    secret: Option<Secret>,
    http: reqwest::Client,
    known: Mutex<Option<(Duration, OpenIdClient)>>,
}

/// Why nobody was signed in.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenIdError {
    /// The provider does not answer, or not as one does.
    #[error("the identity provider cannot be used at the moment: {0}; try again, or sign in with a token")]
    Provider(String),
    /// The sign-in did not begin in this browser, or too long ago.
    #[error("this sign-in did not begin in this browser, or took longer than ten minutes: begin again")]
    NotBegun,
    /// The provider says no.
    #[error("the identity provider refused to sign you in: {0}")]
    Refused(String),
    /// The ID token is not what it must be.
    #[error("the identity provider's answer is not valid: {0}")]
    Token(String),
    /// A claim that is needed is missing.
    #[error(
        "the identity provider does not say the claim {0:?} of you; `ui.openid.person` names it, and `ask` what is asked for"
    )]
    NoName(String),
    /// No rule fits.
    #[error("{0}: no rule of `ui.openid.roles` lets you in; ask your administrator")]
    NoRole(String),
}

impl From<OpenIdError> for ApiError {
    fn from(error: OpenIdError) -> Self {
        tracing::warn!(%error, "nobody was signed in by OpenID Connect");
        match error {
            OpenIdError::Provider(_) => ApiError::Unreachable(error.to_string()),
            error => ApiError::NotLetIn(error.to_string()),
        }
    }
}

/// What the provider adds to the address that the browser comes back to.
#[derive(Debug, Deserialize)]
pub(super) struct Returned {
    code: Option<String>,
    state: Option<String>,
    iss: Option<String>,
    error: Option<String>,
    error_description: Option<String>,
}

/// What belongs together on the way to the provider and back: three random texts, none of which has a dot, and the page that the person
/// wanted.
struct Begun {
    state: String,
    nonce: Nonce,
    verifier: PkceCodeVerifier,
    to: String,
}

impl Begun {
    fn write(&self) -> String {
        let to = URL_SAFE_NO_PAD.encode(&self.to);
        format!("{}.{}.{}.{to}", self.state, self.nonce.secret(), self.verifier.secret())
    }

    fn read(text: &str) -> Option<Self> {
        let mut parts = text.split('.').map(str::to_owned);
        let (state, nonce, verifier) = (parts.next()?, parts.next()?, parts.next()?);
        let to = String::from_utf8(URL_SAFE_NO_PAD.decode(parts.next()?).ok()?).ok()?;
        let begun = Begun { state, nonce: Nonce::new(nonce), verifier: PkceCodeVerifier::new(verifier), to };
        parts.next().is_none().then_some(begun)
    }
}

/// The cookie with what belongs together. It comes along when the provider sends the browser back, so it is not `Strict`.
fn cookie_name(is_https: bool) -> &'static str {
    if is_https { "__Host-weir_openid" } else { "weir_openid" }
}

fn begun_cookie(app: &App, value: &str, seconds: u32) -> Result<HeaderValue, ApiError> {
    let is_https = app.0.ui.settings.is_https;
    let sent = if is_https { "Path=/; HttpOnly; SameSite=Lax; Secure" } else { "Path=/ui; HttpOnly; SameSite=Lax" };
    let cookie = format!("{}={value}; {sent}; Max-Age={seconds}", cookie_name(is_https));
    HeaderValue::from_str(&cookie).map_err(|error| ApiError::internal(&error))
}

/// What the address says.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    to: String,
}

/// Sends the browser to the provider.
pub(super) async fn get_start(State(app): State<App>, Query(asked): Query<Asked>) -> Result<Response, UiError> {
    let client = provider(&app)?.client(app.0.clock.elapsed(), KEPT).await?;
    let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
    let flow = CoreAuthenticationFlow::AuthorizationCode;
    let mut request =
        client.authorize_url(flow, CsrfToken::new_random, Nonce::new_random).set_pkce_challenge(challenge);
    for scope in &provider(&app)?.settings.ask {
        request = request.add_scope(Scope::new(scope.clone()));
    }
    let (address, state, nonce) = request.url();
    let to = Href::local(&asked.to).map_or_else(String::new, |to| to.as_str().to_owned());
    let begun = Begun { state: state.secret().clone(), nonce, verifier, to };
    let cookie = begun_cookie(&app, &begun.write(), AWAY_MAX_SECS)?;
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to(address.as_str())).into_response())
}

/// Begins a session for whoever comes back from the provider.
pub(super) async fn get_callback(
    State(app): State<App>,
    headers: HeaderMap,
    Query(returned): Query<Returned>,
) -> Result<Response, UiError> {
    let refused = |error: OpenIdError| {
        app.0.metrics.ui.signed_in(SignedIn::Refused);
        UiError::from(error)
    };
    let (holder, to) = sign_in(&app, &headers, returned).await.map_err(refused)?;
    let to = landing(&app, &holder, &to);
    let mut cookies = begin(&app, &headers, holder, Shown::Here).await?;
    cookies.push(begun_cookie(&app, "", 0)?);
    Ok(moves_on(cookies, to.as_ref(), &Brand::default()))
}

fn provider(app: &App) -> Result<&Provider, ApiError> {
    let none = ApiError::NotConfigured("nobody signs in by OpenID Connect here: the configuration has no `ui.openid`");
    app.0.ui.openid.as_ref().ok_or(none)
}

/// Who comes back, and the page that they wanted.
async fn sign_in(app: &App, headers: &HeaderMap, returned: Returned) -> Result<(Holder, String), OpenIdError> {
    let provider = app.0.ui.openid.as_ref().ok_or(OpenIdError::NotBegun)?;
    let begun = cookie(headers, cookie_name(app.0.ui.settings.is_https)).and_then(Begun::read);
    let begun = begun.ok_or(OpenIdError::NotBegun)?;
    let state = returned.state.unwrap_or_default();
    if !bool::from(state.as_bytes().ct_eq(begun.state.as_bytes())) {
        return Err(OpenIdError::NotBegun);
    }
    if returned.iss.is_some_and(|issuer| issuer != provider.settings.issuer) {
        return Err(OpenIdError::Token("it comes from another issuer".to_owned()));
    }
    if let Some(error) = returned.error {
        let told = returned.error_description.map_or_else(String::new, |told| format!(" ({told})"));
        return Err(OpenIdError::Refused(shortened(&format!("{error}{told}"))));
    }
    let code = returned.code.ok_or_else(|| OpenIdError::Token("there is no code".to_owned()))?;
    let to = begun.to.clone();
    let claims = provider.exchange(code, begun, app.0.clock.elapsed()).await?;
    Ok((claims::person(&provider.settings, &claims)?, to))
}

impl Provider {
    /// Reads the client's secret; a relative file lies in `base`.
    pub(super) fn new(settings: OpenId, base: &Path) -> Result<Self, ConfigError> {
        let field = "ui.openid.client_secret";
        let secret = settings.client_secret.as_ref().map(|source| source.read(base)).transpose();
        let secret = secret.map_err(|source| ConfigError::Secret { field, source })?;
        // A provider that sends weir elsewhere would make it ask others on its behalf.
        let http = reqwest::Client::builder().timeout(ANSWER_MAX).redirect(reqwest::redirect::Policy::none()).build();
        let http = http.map_err(|error| ConfigError::Field {
            path: base.to_owned(),
            field: "ui.openid",
            problem: error.to_string(),
        })?;
        Ok(Provider { settings, secret, http, known: Mutex::new(None) })
    }

    /// The provider's description and keys, at most so old. Who asks while they are fetched waits for them.
    async fn client(&self, now: Duration, kept: Duration) -> Result<OpenIdClient, OpenIdError> {
        let mut known = self.known.lock().await;
        if let Some((at, client)) = &*known
            && now.saturating_sub(*at) < kept
        {
            return Ok(client.clone());
        }
        let client = self.discover().await?;
        *known = Some((now, client.clone()));
        Ok(client)
    }

    async fn discover(&self) -> Result<OpenIdClient, OpenIdError> {
        let failed = |error: &dyn std::error::Error| OpenIdError::Provider(causes(error));
        let issuer = IssuerUrl::new(self.settings.issuer.clone()).map_err(|error| failed(&error))?;
        let http = |request| answer(self.http.clone(), request);
        let metadata = CoreProviderMetadata::discover_async(issuer, &http).await.map_err(|error| failed(&error))?;
        let takes_basic = metadata
            .token_endpoint_auth_methods_supported()
            .is_none_or(|methods| methods.contains(&CoreClientAuthMethod::ClientSecretBasic));
        let secret = self.secret.as_ref().map(|secret| ClientSecret::new(secret.expose().to_owned()));
        let callback = RedirectUrl::new(self.settings.callback.clone()).map_err(|error| failed(&error))?;
        let client = Client::from_provider_metadata(metadata, ClientId::new(self.settings.client_id.clone()), secret)
            .set_redirect_uri(callback)
            .set_auth_type(if takes_basic { AuthType::BasicAuth } else { AuthType::RequestBody });
        Ok(client)
    }

    /// Exchanges a code for the claims of a checked ID token.
    async fn exchange(&self, code: String, begun: Begun, now: Duration) -> Result<Map<String, Value>, OpenIdError> {
        let failed = |error: &dyn std::error::Error| OpenIdError::Provider(causes(error));
        let client = self.client(now, KEPT).await?;
        let request = client.exchange_code(AuthorizationCode::new(code)).map_err(|error| failed(&error))?;
        let http = |request| answer(self.http.clone(), request);
        let answer = request.set_pkce_verifier(begun.verifier).request_async(&http).await;
        let answer = answer.map_err(|error| match error {
            RequestTokenError::ServerResponse(told) => OpenIdError::Refused(shortened(&told.to_string())),
            error => failed(&error),
        })?;
        let token = answer.id_token().ok_or_else(|| OpenIdError::Token("there is no ID token".to_owned()))?;
        match checked(&client, token, &begun.nonce) {
            // The provider may have changed its keys since they were fetched.
            Err(_) => checked(&self.client(now, KEPT_MIN).await?, token, &begun.nonce),
            claims => claims,
        }
    }
}

fn checked(client: &OpenIdClient, token: &PersonToken, nonce: &Nonce) -> Result<Map<String, Value>, OpenIdError> {
    let claims =
        token.claims(&client.id_token_verifier(), nonce).map_err(|error| OpenIdError::Token(causes(&error)))?;
    match serde_json::to_value(claims) {
        Ok(Value::Object(claims)) => Ok(claims),
        _ => Err(OpenIdError::Token("its claims are no object".to_owned())),
    }
}

/// Sends one request to the provider.
async fn answer(http: reqwest::Client, request: HttpRequest) -> Result<HttpResponse, CallError> {
    let mut answer = http.execute(request.try_into()?).await?;
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await? {
        if body.len() + piece.len() > ANSWER_MAX_BYTES {
            return Err(CallError::TooLong);
        }
        body.extend_from_slice(&piece);
    }
    let mut response = HttpResponse::new(body);
    *response.status_mut() = answer.status();
    *response.headers_mut() = answer.headers().clone();
    Ok(response)
}

/// Why the provider gave no answer.
#[derive(Debug, thiserror::Error)]
enum CallError {
    /// It cannot be reached, or breaks off.
    #[error("{0}")]
    Http(#[from] reqwest::Error),
    /// It does not end.
    #[error("its answer is longer than {ANSWER_MAX_BYTES} bytes")]
    TooLong,
}

/// An error with its causes.
fn causes(error: &dyn std::error::Error) -> String {
    let mut told = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        told = format!("{told}: {cause}");
        next = cause.source();
    }
    shortened(&told)
}

/// The beginning of others' words.
fn shortened(told: &str) -> String {
    told.chars().filter(|letter| !letter.is_control()).take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_together_is_written_and_read() {
        let begun = Begun {
            state: "s".to_owned(),
            nonce: Nonce::new("n".to_owned()),
            verifier: PkceCodeVerifier::new("v".to_owned()),
            to: "/ui/tenants/a.b?by=feature".to_owned(),
        };
        let read = Begun::read(&begun.write()).expect("four parts");
        assert_eq!(read.to, begun.to);
        assert_eq!(
            (read.state.as_str(), read.nonce.secret().as_str(), read.verifier.secret().as_str()),
            ("s", "n", "v")
        );
        assert!(Begun::read("a.b.c").is_none() && Begun::read("a.b.c.d.e").is_none() && Begun::read("").is_none());
    }
}

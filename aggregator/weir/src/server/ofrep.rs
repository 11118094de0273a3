//! Feature flags for applications: OpenFeature's remote evaluation protocol (OFREP 0.2), one flag or all of them.
//!
//! The context names whom flags are decided for. `tenant` is the tenant, and `targetingKey` its end user; without `tenant` the
//! `targetingKey` is the tenant. A tenant's own token decides for that tenant, and `targetingKey` is the user. `environment` is that
//! of a credential. The plan is the one that the tenant has: no context can name another.
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use weir_contract::directory::KeyHash;
use weir_contract::flags::{Flag, FlagValue, Subject};

use super::App;
use super::auth::{check_present, presented};
use super::error::ApiError;
use crate::config::tokens::{Scope, Token};

#[derive(Deserialize)]
struct Question {
    #[serde(default)]
    context: Map<String, Value>,
}

/// A decided flag.
#[derive(Debug, Serialize)]
struct Decided<'a> {
    key: &'a str,
    value: &'a FlagValue,
    reason: &'static str,
    variant: String,
}

/// Why nothing is decided.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Failed<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    error_code: &'static str,
    error_details: &'a str,
}

/// The codes of OpenFeature.
const PARSE_ERROR: &str = "PARSE_ERROR";
const INVALID_CONTEXT: &str = "INVALID_CONTEXT";
const TARGETING_KEY_MISSING: &str = "TARGETING_KEY_MISSING";
const FLAG_NOT_FOUND: &str = "FLAG_NOT_FOUND";

type Refused = (&'static str, &'static str);

/// Whom flags are decided for.
struct Asked {
    tenant: String,
    user: Option<String>,
    environment: Option<String>,
}

pub(super) async fn post_flag(
    State(app): State<App>,
    headers: HeaderMap,
    Path(key): Path<String>,
    body: Bytes,
) -> Result<Response, ApiError> {
    let token = presented(&app, &headers)?;
    let asked = match read(&app, &token, &body)? {
        Ok(asked) => asked,
        Err(refused) => return Ok(failed(StatusCode::BAD_REQUEST, Some(&key), refused)),
    };
    let snapshot = app.0.directory.current();
    let plan = snapshot.plans().get(&asked.tenant).map(String::as_str);
    match snapshot.state().flags().get(key.as_str()) {
        Some(flag) => Ok(Json(decide(&key, flag, &asked.subject(plan))).into_response()),
        None => Ok(failed(StatusCode::NOT_FOUND, Some(&key), (FLAG_NOT_FOUND, "no flag of this name is declared"))),
    }
}

pub(super) async fn post_flags(State(app): State<App>, headers: HeaderMap, body: Bytes) -> Result<Response, ApiError> {
    let token = presented(&app, &headers)?;
    let asked = match read(&app, &token, &body)? {
        Ok(asked) => asked,
        Err(refused) => return Ok(failed(StatusCode::BAD_REQUEST, None, refused)),
    };
    let snapshot = app.0.directory.current();
    let subject = asked.subject(snapshot.plans().get(&asked.tenant).map(String::as_str));
    let flags: Vec<_> = snapshot.state().flags().iter().map(|(name, flag)| decide(name, flag, &subject)).collect();
    let body = serde_json::to_vec(&serde_json::json!({"flags": flags})).map_err(|error| ApiError::internal(&error))?;
    let etag = format!("\"{}\"", hex::encode(&KeyHash::of(&body).0[..8]));
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_known = known.split(',').any(|one| one.trim().trim_start_matches("W/") == etag);
    let etag = (header::ETAG, HeaderValue::from_str(&etag).map_err(|error| ApiError::internal(&error))?);
    if is_known {
        return Ok((StatusCode::NOT_MODIFIED, [etag]).into_response());
    }
    let json = (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(([etag, json], body).into_response())
}

fn decide<'a>(key: &'a str, flag: &'a Flag, subject: &Subject<'_>) -> Decided<'a> {
    let (value, reason) = flag.decide(key, subject);
    Decided { key, value, reason: reason.as_str(), variant: value.to_string() }
}

fn failed(status: StatusCode, key: Option<&str>, (error_code, error_details): Refused) -> Response {
    (status, Json(Failed { key, error_code, error_details })).into_response()
}

/// Reads whom flags are decided for. A token that reads everything, or gateways' own, may name any tenant; a tenant's own may not.
fn read(app: &App, token: &Token, body: &[u8]) -> Result<Result<Asked, Refused>, ApiError> {
    let own = match token.opens(&Scope::Viewer) || token.opens(&Scope::Directory) {
        true => None,
        false => Some(token.tenant().ok_or(ApiError::Forbidden(Scope::Viewer))?.as_str()),
    };
    own.map_or(Ok(()), |tenant| check_present(app, tenant))?;
    let context = match parse(body) {
        Ok(context) => context,
        Err(refused) => return Ok(Err(refused)),
    };
    let names = ["tenant", "targetingKey", "environment"].map(|name| text(&context, name));
    let [Ok(tenant), Ok(target), Ok(environment)] = names else {
        return Ok(Err((INVALID_CONTEXT, "`targetingKey`, `tenant` and `environment` are texts, and not empty")));
    };
    let (tenant, user) = match (own, tenant) {
        (Some(own), Some(tenant)) if own != tenant => return Err(ApiError::Forbidden(Scope::Viewer)),
        (Some(own), _) => (Some(own.to_owned()), target),
        (None, Some(tenant)) => (Some(tenant), target),
        (None, None) => (target, None),
    };
    let missing = (TARGETING_KEY_MISSING, "the context names no `tenant` and no `targetingKey`");
    Ok(tenant.map(|tenant| Asked { tenant, user, environment }).ok_or(missing))
}

fn parse(body: &[u8]) -> Result<Map<String, Value>, Refused> {
    let wrong = (PARSE_ERROR, "the body is {\"context\": {…}}");
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(wrong);
    }
    serde_json::from_slice(body).map(|question: Question| question.context).map_err(|_| wrong)
}

fn text(context: &Map<String, Value>, name: &str) -> Result<Option<String>, ()> {
    match context.get(name) {
        None => Ok(None),
        Some(Value::String(text)) if !text.is_empty() => Ok(Some(text.clone())),
        Some(_) => Err(()),
    }
}

impl Asked {
    fn subject<'a>(&'a self, plan: Option<&'a str>) -> Subject<'a> {
        Subject {
            tenant: &self.tenant,
            plan: plan.unwrap_or_default(),
            environment: self.environment.as_deref(),
            user: self.user.as_deref(),
        }
    }
}

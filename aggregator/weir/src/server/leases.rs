//! `POST /v1/leases`, `POST /v1/leases/draw` and `GET /v1/limits`.
use std::io::Write;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Serialize;
use weir_contract::lease::{CALL_MAX_BYTES, Call, CallError, DrawAnswer, DrawCall};
use weir_leases_redis::RedisLeasesError;

use super::App;
use super::auth::require;
use super::error::{ApiError, object};
use super::ingest::{inflate, is_gzip};
use crate::config::tokens::Scope;
use crate::leases::LeasesError;
use crate::leases::view::{LimitRow, LimitsQuery};

/// Smaller answers are sent as they are: gzip would hardly make them smaller.
const GZIP_MIN_BYTES: usize = 1_024;

impl From<LeasesError> for ApiError {
    fn from(error: LeasesError) -> Self {
        match error {
            LeasesError::Busy => ApiError::Busy,
            LeasesError::Unsaved => ApiError::Unwritable("the leases cannot be stored"),
            LeasesError::Redis(RedisLeasesError::Away(_)) => ApiError::Unwritable("the leases' Redis does not answer"),
            LeasesError::Redis(_) => ApiError::Unwritable("the leases' Redis refuses; the log of weir serve says why"),
        }
    }
}

impl From<CallError> for ApiError {
    fn from(error: CallError) -> Self {
        let told = error.to_string();
        if error.is_contradiction() { ApiError::Contradiction(told) } else { ApiError::Request(told) }
    }
}

/// Takes a gateway's reports, and tops its leases up.
pub(super) async fn post_leases(State(app): State<App>, headers: HeaderMap, body: Body) -> Result<Response, ApiError> {
    require(&app, &headers, Scope::Directory)?;
    let call: Call = object(&receive(&headers, body).await?)?;
    call.check()?;
    let answer = app.0.leases.call(call).await?;
    answered(&headers, &answer)
}

/// Draws for one request.
pub(super) async fn post_draw(
    State(app): State<App>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<DrawAnswer>, ApiError> {
    require(&app, &headers, Scope::Directory)?;
    let call: DrawCall = object(&receive(&headers, body).await?)?;
    call.check()?;
    Ok(Json(app.0.leases.draw(call).await?))
}

/// Shows levels, and who holds what.
pub(super) async fn get_limits(
    State(app): State<App>,
    headers: HeaderMap,
    query: Result<Query<LimitsQuery>, QueryRejection>,
) -> Result<Json<Vec<LimitRow>>, ApiError> {
    require(&app, &headers, Scope::Viewer)?;
    let Query(query) = query.map_err(|error| ApiError::Request(error.body_text()))?;
    Ok(Json(app.0.leases.view(query).await?))
}

/// Reads a body of at most [`CALL_MAX_BYTES`], packed or not.
async fn receive(headers: &HeaderMap, body: Body) -> Result<axum::body::Bytes, ApiError> {
    let gzip = is_gzip(headers)?;
    let wire = axum::body::to_bytes(body, CALL_MAX_BYTES).await.map_err(|_| ApiError::TooLarge(CALL_MAX_BYTES))?;
    if gzip { inflate(&wire, CALL_MAX_BYTES) } else { Ok(wire) }
}

/// Packs an answer for a client that reads gzip.
fn answered(headers: &HeaderMap, answer: &impl Serialize) -> Result<Response, ApiError> {
    let body = serde_json::to_vec(answer).map_err(|error| ApiError::internal(&error))?;
    let accepted = headers.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let json = (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if body.len() < GZIP_MIN_BYTES || !accepted.split(',').any(|coding| coding.trim() == "gzip") {
        return Ok(([json], body).into_response());
    }
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    let packed = packed.write_all(&body).and_then(|()| packed.finish()).map_err(|error| ApiError::internal(&error))?;
    Ok(([json, (header::CONTENT_ENCODING, HeaderValue::from_static("gzip"))], packed).into_response())
}

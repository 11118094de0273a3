//! `POST /v1/events`: the only entry for events.
use std::io::Read;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use flate2::read::GzDecoder;
use tokio::sync::OwnedSemaphorePermit;
use weir_contract::batch::{BATCH_MAX_BYTES, BatchAnswer};

use super::App;
use super::auth::require;
use super::error::ApiError;
use crate::config::tokens::Scope;
use crate::metrics::BatchAnswered;
use weir_ledger::intake::Taken;
use weir_ledger::validate::Format;

/// The most bytes of a body on the wire, compressed or not.
pub(crate) const WIRE_MAX_BYTES: usize = BATCH_MAX_BYTES;
/// The longest time for a body to arrive. A slower one is dropped, because it holds room that others wait for.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// The most memory for bodies, over all connections, in bytes. It keeps the process small when the disk is slow.
pub(crate) const BODIES_MAX_BYTES: usize = 64 * 1024 * 1024;
/// The unit of room, in bytes.
pub(crate) const ROOM_UNIT_BYTES: usize = 16 * 1024;
/// The number of units.
pub(crate) const ROOM_UNITS: usize = BODIES_MAX_BYTES / ROOM_UNIT_BYTES;

/// The longest wait for a ledger that is behind: some ten of its transactions. After it the log accepts the body all
/// the same.
const LEDGER_PATIENCE: Duration = Duration::from_secs(1);

pub(super) async fn post_events(State(app): State<App>, headers: HeaderMap, body: Body) -> Response {
    let answer = accept(&app, &headers, body).await;
    if let Err(error) = &answer {
        app.0.conditions.answered(error, app.0.clock.elapsed());
    }
    app.0.metrics.batch(match &answer {
        Ok(_) => BatchAnswered::accepted,
        Err(ApiError::Unauthorized | ApiError::Forbidden(_) | ApiError::ForeignGateway(_)) => {
            BatchAnswered::unauthorized
        }
        Err(ApiError::Busy) => BatchAnswered::busy,
        Err(ApiError::Stopped | ApiError::Unwritable(_) | ApiError::Gone) => BatchAnswered::stopped,
        Err(_) => BatchAnswered::malformed,
    });
    match answer {
        Ok(answer) => (StatusCode::ACCEPTED, Json(answer)).into_response(),
        Err(error) => error.into_response(),
    }
}

async fn accept(app: &App, headers: &HeaderMap, body: Body) -> Result<BatchAnswer, ApiError> {
    let token = require(app, headers, Scope::Ingest)?;
    let Received { body, content_type, began, room: _room } = receive(app, headers, body).await?;
    let format = Format::of(&content_type, &body).ok_or(ApiError::MediaType)?;
    let gateway = token.gateway.as_deref();
    let taken = app.0.store.intake.take(app.0.clock.now(), gateway, format, body.into())?;
    let Taken { answer, reasons, configured, synced } = taken;
    // The acknowledgement depends on this line alone: it resolves once the log has synced.
    synced.await.map_err(|_| ApiError::Stopped)??;
    app.0.store.check_in_place().map_err(|error| ApiError::not_kept(&error))?;
    app.0.seen.configured(configured);
    if let Some(first) = answer.rejected.first() {
        app.0.conditions.refused(&token.name, &first.reason, app.0.clock.elapsed());
    }
    reasons.into_iter().for_each(|reason| app.0.metrics.rejected(reason));
    let took = app.0.clock.elapsed().saturating_sub(began);
    app.0.metrics.events(answer.accepted, took.as_secs_f64(), app.0.clock.now());
    let (token, accepted, rejected) = (&token.name, answer.accepted, answer.rejected.len());
    tracing::debug!(%token, accepted, rejected, ms = took.as_millis(), "a batch is in the event log");
    Ok(answer)
}

/// A body that has arrived.
pub(super) struct Received {
    /// The body, uncompressed.
    pub(super) body: Bytes,
    /// The content type; empty without the header.
    pub(super) content_type: String,
    /// When its last byte arrived, in elapsed time.
    pub(super) began: Duration,
    /// Its share of the room for bodies, held until it is in the log.
    pub(super) room: OwnedSemaphorePermit,
}

/// Reads a body once there is room for it, and waits for a ledger that is behind.
pub(super) async fn receive(app: &App, headers: &HeaderMap, body: Body) -> Result<Received, ApiError> {
    let gzip = is_gzip(headers)?;
    let room = take_room(app, headers, gzip)?;
    let reading = axum::body::to_bytes(body, WIRE_MAX_BYTES);
    let wire = tokio::time::timeout(BODY_TIMEOUT, reading).await.map_err(|_| ApiError::Slow)?;
    let wire = wire.map_err(|_| ApiError::TooLarge(WIRE_MAX_BYTES))?;
    let began = app.0.clock.elapsed();
    let body = if gzip { inflate(&wire, BATCH_MAX_BYTES)? } else { wire };
    app.0.store.ledger.room(LEDGER_PATIENCE).await;
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    Ok(Received { body, content_type: content_type.to_owned(), began, room })
}

pub(super) fn is_gzip(headers: &HeaderMap) -> Result<bool, ApiError> {
    match headers.get(header::CONTENT_ENCODING).map(|value| value.as_bytes().to_ascii_lowercase()).as_deref() {
        None | Some(b"identity") => Ok(false),
        Some(b"gzip") => Ok(true),
        Some(_) => Err(ApiError::MediaType),
    }
}

/// Reserves room before the first byte is read: the declared length, or the largest possible one.
fn take_room(app: &App, headers: &HeaderMap, gzip: bool) -> Result<OwnedSemaphorePermit, ApiError> {
    let declared = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|bytes| bytes > WIRE_MAX_BYTES) {
        return Err(ApiError::TooLarge(WIRE_MAX_BYTES));
    }
    let bytes = if gzip { BATCH_MAX_BYTES } else { declared.unwrap_or(WIRE_MAX_BYTES) };
    let units = u32::try_from(bytes.div_ceil(ROOM_UNIT_BYTES)).unwrap_or(u32::MAX);
    app.0.room.clone().try_acquire_many_owned(units).map_err(|_| ApiError::Busy)
}

/// Unpacks a body of at most `max` bytes.
pub(super) fn inflate(wire: &[u8], max: usize) -> Result<Bytes, ApiError> {
    let mut body = Vec::with_capacity(wire.len().saturating_mul(4).min(max));
    GzDecoder::new(wire)
        .take(max as u64 + 1)
        .read_to_end(&mut body)
        .map_err(|error| ApiError::Request(format!("the body is no gzip: {error}")))?;
    if body.len() > max { Err(ApiError::TooLarge(max)) } else { Ok(body.into()) }
}

//! `POST /v1/readings`, and single readings by id.
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};

use super::App;
use super::admin::audit;
use super::auth::require;
use super::error::ApiError;
use super::ingest::{Received, receive};
use crate::config::tokens::Scope;
use crate::lookup::{ReadingView, find_reading};
use weir_ledger::intake::readings::{self, ReadingsAnswer, Taken};
use weir_ledger::reading::is_id;
use weir_ledger::validate::Format;

/// Accepts readings, all or none.
pub(super) async fn post_readings(
    State(app): State<App>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<ReadingsAnswer>), ApiError> {
    let token = require(&app, &headers, Scope::Readings)?;
    let Received { body, content_type, room, .. } = receive(&app, &headers, body).await?;
    let format = Format::of_readings(&content_type).ok_or(ApiError::ReadingsMediaType)?;
    let store = &app.0.store;
    let now = app.0.clock.now();
    let taken = store.intake.take_readings(&store.meters, now, format, body.into())?;
    let Taken { mut answer, synced, asked } = taken;
    // The acknowledgement depends on this line alone: it resolves once the log has synced.
    let position = synced.await.map_err(|_| ApiError::Stopped)??;
    store.check_in_place().map_err(|error| ApiError::not_kept(&error))?;
    drop(room);
    answer.ledger = readings::counted(&store.ledger, store.home.ledger().clone(), position, asked).await?;
    app.0.metrics.readings(&answer);
    let detail = format!("{} accepted, {} rejected", answer.accepted, answer.rejected.len());
    audit(&app, token.name, "readings", detail).await?;
    Ok((StatusCode::ACCEPTED, Json(answer)))
}

pub(super) async fn get_reading(
    State(app): State<App>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Json<ReadingView>, ApiError> {
    require(&app, &headers, Scope::Viewer)?;
    if !is_id(&id) {
        return Err(ApiError::Request("a reading's id is 1 to 128 of A-Z a-z 0-9 . _ ~ : @ | / + = -".to_owned()));
    }
    app.0.store.catch_up().await?;
    let home = app.0.store.home.clone();
    let found = app.0.reads.ledger.run(move || find_reading(&home, &id)).await?;
    found?
        .map(Json)
        .ok_or(ApiError::NotFound("no reading with this id was taken, or it is older than the event log keeps"))
}

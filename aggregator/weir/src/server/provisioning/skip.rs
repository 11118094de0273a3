//! An operator lets go of a step that fails for ever, such as a collection in a store that is gone.
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use weir_provisioning::Saga;
use weir_tenants::store::provisioning::{Act, Kept};

use super::{App, read, view};
use crate::config::tokens::Scope;
use crate::provisioning::{ProvisioningView, SkipRequest};
use crate::server::admin::audit;
use crate::server::auth::require;
use crate::server::error::{ApiError, object};
use crate::server::tenants::kept;

/// The longest reason, in characters.
const WHY_MAX_CHARS: usize = 500;

pub(in crate::server) async fn post_skip(
    State(app): State<App>,
    headers: HeaderMap,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Json<ProvisioningView>, ApiError> {
    let who = require(&app, &headers, Scope::Operator)?.name;
    let SkipRequest { step, why } = object(&body)?;
    let why = why.trim();
    if why.is_empty() || why.chars().count() > WHY_MAX_CHARS {
        return Err(ApiError::Request(format!("`why` is 1 to {WHY_MAX_CHARS} characters")));
    }
    let number = read(&app, 0, Some(id.clone())).await?.0.number;
    // A call of the step that is under way ends first.
    let alone = app.0.in_progress.alone(number).await;
    let (saved, _) = read(&app, number, None).await?;
    let mut saga: Saga = serde_json::from_str(&saved.saga).map_err(|error| ApiError::internal(&error))?;
    let detail = format!("by {who}: {why}");
    saga.skip(step, detail.clone()).map_err(|error| ApiError::Report(error.to_string()))?;
    audit(&app, who, "skip", format!("tenant {id}, step {}: {why}", step.as_str())).await?;
    let text = serde_json::to_string(&saga).map_err(|error| ApiError::internal(&error))?;
    let (open, at) = (!saga.has_ended(), app.0.clock.now());
    kept(&app, move |store| {
        let act = Act { step: step.as_str(), act: "skip", detail: Some(&detail) };
        store.keep_provisioning(Kept { number, saga: &text, open, act, at })
    })
    .await?;
    app.0.metrics.provisioning.ended(&saga);
    drop(alone);
    app.0.in_progress.wake(number);
    let (saved, journal) = read(&app, 0, Some(id)).await?;
    view(saved, journal).map(Json)
}

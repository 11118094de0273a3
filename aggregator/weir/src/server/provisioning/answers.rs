//! The outside system's own answer: a signed call that an environment is ready, or never will be. Until it comes, the outside system
//! is asked again and again ([`super::messages`]); whichever answer is first counts.
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use subtle::ConstantTimeEq;
use weir_contract::Timestamp;
use weir_contract::placement::Placement;
use weir_provisioning::{Answer, Mark, Phase, Saga, Step};
use weir_steer::message::signature;
use weir_steer::receiver::WebhookFile;

use super::{App, Spec, read};
use crate::server::error::{ApiError, object};
use crate::server::tenants::kept;

/// The longest answer, in bytes.
const BODY_MAX_BYTES: usize = 16 * 1024;
/// How far the time of a signature may be from the server's, in seconds: as Standard Webhooks suggests.
const TOLERANCE_SECS: u64 = 300;
/// The most signatures of one call; more than one while a secret is replaced.
const SIGNATURES_MAX: usize = 8;
/// The longest reason, in characters.
const REASON_MAX_CHARS: usize = 1_000;

/// What an outside system says of an environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EnvironmentAnswer {
    /// The provisioning, as the request named it.
    provisioning: String,
    /// Where requests of the tenant go, if that is another deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    endpoint: Option<Box<str>>,
    /// Why there will be no environment. Absent: it is ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refused: Option<String>,
}

impl EnvironmentAnswer {
    /// The answer as it was kept.
    pub(super) fn of(text: &str) -> Answer {
        match serde_json::from_str(text) {
            Ok(EnvironmentAnswer { refused: Some(why), .. }) => {
                Answer::Refused(format!("the outside system refuses: {why}"))
            }
            Ok(EnvironmentAnswer { endpoint, .. }) => Answer::Done(endpoint.map(String::from)),
            Err(error) => Answer::Unsure(format!("the answer that was kept cannot be read: {error}")),
        }
    }

    fn check(&self) -> Result<(), ApiError> {
        let wrong = |problem: String| Err(ApiError::Request(problem));
        if self.endpoint.is_some() && self.refused.is_some() {
            return wrong("`endpoint` goes with an environment that is ready, and `refused` with none".to_owned());
        }
        if self.refused.as_ref().is_some_and(|why| why.chars().count() > REASON_MAX_CHARS) {
            return wrong(format!("`refused` has at most {REASON_MAX_CHARS} characters"));
        }
        let placement = Placement { endpoint: self.endpoint.clone(), ..Placement::default() };
        placement.check().map_err(|error| ApiError::Request(error.to_string()))
    }
}

/// Takes an answer. No token: the signature is the proof. A repeat changes nothing.
pub(in crate::server) async fn post_environment(
    State(app): State<App>,
    headers: HeaderMap,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    let Some(environment) = &app.0.provisioning.environment else {
        return Err(ApiError::NotConfigured("there is no `provisioning.environment` in the configuration"));
    };
    if body.len() > BODY_MAX_BYTES {
        return Err(ApiError::TooLarge(BODY_MAX_BYTES));
    }
    check_signature(&app, &environment.webhook, &headers, &body)?;
    let answer: EnvironmentAnswer = object(&body)?;
    answer.check()?;
    let missing = || ApiError::Unknown("no such provisioning is known".to_owned());
    let (saved, _) = read(&app, 0, Some(id)).await?;
    let internal = |error: serde_json::Error| ApiError::internal(&error);
    let spec: Spec = serde_json::from_value(saved.spec.clone()).map_err(internal)?;
    let saga: Saga = serde_json::from_str(&saved.saga).map_err(internal)?;
    if spec.id != answer.provisioning || saga.steps().iter().all(|progress| progress.step != Step::Environment) {
        return Err(missing());
    }
    let text = serde_json::to_string(&answer).map_err(internal)?;
    if saved.told.is_none() && !waits(&saga) {
        return Err(ApiError::Report("the tenant does not wait for its environment any more".to_owned()));
    }
    let (number, told) = (saved.number, text.clone());
    let first = kept(&app, move |store| store.tell_environment(number, &told)).await?;
    if first != text {
        return Err(ApiError::Report("another answer came before".to_owned()));
    }
    app.0.in_progress.wake(number);
    Ok(Json(json!({"repeated": saved.told.is_some()})))
}

/// Whether the saga still needs its environment.
fn waits(saga: &Saga) -> bool {
    let is_done = |mark| matches!(mark, Mark::Done | Mark::Adopted);
    let is_needed = saga.steps().iter().any(|progress| progress.step == Step::Environment && !is_done(progress.mark));
    is_needed && *saga.phase() == Phase::Forward
}

/// Checks the headers of Standard Webhooks against the secret that signs weir's own messages.
fn check_signature(app: &App, webhook: &WebhookFile, headers: &HeaderMap, body: &[u8]) -> Result<(), ApiError> {
    let wrong = || ApiError::BadSignature("the signature does not hold");
    let missing = |name: &str| ApiError::Request(format!("{name} is missing, or no text"));
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).ok_or_else(|| missing(name));
    let (id, at, signed) = (text("webhook-id")?, text("webhook-timestamp")?, text("webhook-signature")?);
    let at: u64 = at.parse().map_err(|_| missing("webhook-timestamp"))?;
    if at.abs_diff(app.0.clock.now().as_secs()) > TOLERANCE_SECS {
        return Err(ApiError::BadSignature("webhook-timestamp is too far from now"));
    }
    let secret = webhook.secret.read(app.0.alerts.base()).map_err(|error| {
        tracing::error!(%error, "the secret of `provisioning.environment` cannot be read");
        ApiError::Busy
    })?;
    let expected = signature(&secret, id, Timestamp::from_secs(at), body).map_err(|_| wrong())?;
    let holds = |given: &str| bool::from(given.as_bytes().ct_eq(expected.as_bytes()));
    if signed.split(' ').take(SIGNATURES_MAX).any(holds) { Ok(()) } else { Err(wrong()) }
}

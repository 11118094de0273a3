//! Drives every saga that goes on, for as long as the server runs: records a call, makes it, records the answer.
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use weir_provisioning::{Answer, Call, Next, Phase, Saga, Step};
use weir_tenants::store::TenantStore;
use weir_tenants::store::change::{By, ChangeError};
use weir_tenants::store::provisioning::{Act, Kept, Saved};

use super::turns::{Pause, Turns};
use super::{App, perform, refused, tenant_of};
use crate::config::home::TenantsHome;
use crate::provisioning::Spec;
use crate::server::admin::note_tenants;
use crate::server::error::ApiError;
use crate::server::tenants::kept;

/// How often sagas are looked at that wait.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Drives sagas for as long as the server runs.
pub(in crate::server) async fn drive(app: App) {
    if app.0.home != TenantsHome::Database {
        return;
    }
    let (mut running, mut turns) = (FuturesUnordered::new(), Turns::default());
    loop {
        match under_way(&app).await {
            Ok(numbers) => {
                app.0.metrics.provisioning.show_open(numbers.len() as u64);
                turns.wake(app.0.in_progress.take_woken());
                for number in turns.take(&numbers, app.0.clock.now()) {
                    running.push(go_on(&app, number));
                }
            }
            Err(error) => tracing::error!(%error, "tenants on their way are not looked at; trying again"),
        }
        tokio::select! {
            Some((number, pause)) = running.next(), if !running.is_empty() => turns.give_back(number, pause),
            () = app.0.in_progress.begun.notified() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

async fn under_way(app: &App) -> Result<Vec<i64>, ApiError> {
    kept(app, TenantStore::provisionings_under_way).await
}

/// Goes on with a saga until it waits or ends. Returns when it is due again.
async fn go_on(app: &App, number: i64) -> (i64, Option<Pause>) {
    let _alone = app.0.in_progress.alone(number).await;
    let pause = match rounds(app, number).await {
        Ok(pause) => pause,
        Err(error) => {
            tracing::error!(%error, number, "a tenant on its way does not go on; trying again");
            Some(Pause { until: app.0.clock.now().plus_millis(1_000), fails: true })
        }
    };
    (number, pause)
}

async fn rounds(app: &App, number: i64) -> Result<Option<Pause>, ApiError> {
    let Some(saved) = kept(app, move |store| store.provisioning(number)).await? else { return Ok(None) };
    let internal = |error: serde_json::Error| ApiError::internal(&error);
    let mut saga: Saga = serde_json::from_str(&saved.saga).map_err(internal)?;
    let spec: Spec = serde_json::from_value(saved.spec.clone()).map_err(internal)?;
    if saved.told.is_some() && *saga.phase() == Phase::Forward {
        // The outside system has answered: there is nothing to wait for.
        saga.wake(Step::Environment);
    }
    let saved = Arc::new(saved);
    loop {
        let now = app.0.clock.now();
        let call = match saga.next(now) {
            Next::Ended => return Ok(None),
            Next::Wait(until) => return Ok(Some(Pause { until, fails: saga.is_failing() })),
            Next::Call(call) => call,
        };
        round(app, &saved, &spec, &mut saga, &call).await?;
        app.0.in_progress.went_on.send_replace(());
    }
}

/// One call: recorded, made, and its answer recorded.
async fn round(app: &App, saved: &Arc<Saved>, spec: &Spec, saga: &mut Saga, call: &Call) -> Result<(), ApiError> {
    saga.begin(call, app.0.clock.now());
    keep(app, saved.number, saga, call, (call.act.as_str(), None)).await?;
    // These two end the saga in the transaction that does them.
    let answer = match call.step {
        Step::Publish => publish(app, saved, spec, saga, call).await?,
        Step::Archive => archive(app, saved, saga, call).await?,
        _ => Some(perform::perform(app, saved, spec, saga, call).await),
    };
    let Some(answer) = answer else { return Ok(()) };
    let detail = answer.as_text();
    let was = saga.phase().clone();
    saga.settle(call, answer, app.0.clock.now());
    tell(saved, &was, saga);
    app.0.metrics.provisioning.ended(saga);
    keep(app, saved.number, saga, call, ("answer", Some(detail))).await
}

fn tell(saved: &Saved, was: &Phase, saga: &Saga) {
    match saga.phase() {
        now if now == was => {}
        Phase::Backward { step, why } => {
            tracing::warn!(tenant = %saved.tenant, step = step.as_str(), %why, "a tenant does not come; what was done is taken back");
        }
        Phase::Undone { step, why } => {
            tracing::warn!(tenant = %saved.tenant, step = step.as_str(), %why, "a tenant did not come; everything is taken back");
        }
        Phase::Stopped { step, why } => {
            tracing::warn!(tenant = %saved.tenant, step = step.as_str(), %why, "a tenant does not go after all");
        }
        Phase::Forward | Phase::Done => {}
    }
}

async fn keep(
    app: &App,
    number: i64,
    saga: &Saga,
    call: &Call,
    (act, detail): (&'static str, Option<String>),
) -> Result<(), ApiError> {
    let text = serde_json::to_string(saga).map_err(|error| ApiError::internal(&error))?;
    let (open, at, step) = (!saga.has_ended(), app.0.clock.now(), call.step.as_str());
    kept(app, move |store| {
        let act = Act { step, act, detail: detail.as_deref() };
        store.keep_provisioning(Kept { number, saga: &text, open, act, at })
    })
    .await
}

/// Publishes the tenant with the end of its saga. None once that is done.
async fn publish(
    app: &App,
    saved: &Saved,
    spec: &Spec,
    saga: &mut Saga,
    call: &Call,
) -> Result<Option<Answer>, ApiError> {
    let Some(request) = spec.provision() else {
        return Ok(Some(Answer::Refused("what was asked for is gone".to_owned())));
    };
    perform::keys_again(app, saved).await?;
    let tenant = tenant_of(request, spec, saga);
    let is_billed = tenant.stripe_customer.is_some();
    let done = with_end(app, saved, saga, call, move |store, kept, by| store.publish(&tenant, kept, by)).await?;
    if done.is_none() {
        app.0.metrics.provisioning.ended(saga);
        tracing::info!(tenant = %saved.tenant, "a tenant is live");
        if is_billed && let Err(error) = note_tenants(app).await {
            tracing::warn!(%error, "the billing periods of a new tenant are not noted yet");
        }
    }
    Ok(done)
}

/// Archives the tenant with the end of its saga. None once that is done.
async fn archive(app: &App, saved: &Saved, saga: &mut Saga, call: &Call) -> Result<Option<Answer>, ApiError> {
    let tenant = saved.tenant.clone();
    let done =
        with_end(app, saved, saga, call, move |store, kept, by| store.archive_for_good(&tenant, kept, by)).await?;
    if done.is_none() {
        app.0.metrics.provisioning.ended(saga);
        tracing::info!(tenant = %saved.tenant, "a tenant is gone");
    }
    Ok(done)
}

/// Does the last step in one transaction with the end of the saga. None once that is done; else why not.
async fn with_end(
    app: &App,
    saved: &Saved,
    saga: &mut Saga,
    call: &Call,
    work: impl FnOnce(&TenantStore, Kept<'_>, &By) -> Result<(), ChangeError> + Send + 'static,
) -> Result<Option<Answer>, ApiError> {
    let at = app.0.clock.now();
    let mut ended = saga.clone();
    ended.settle(call, Answer::Done(None), at);
    let text = serde_json::to_string(&ended).map_err(|error| ApiError::internal(&error))?;
    let (number, open, step) = (saved.number, !ended.has_ended(), call.step.as_str());
    let by = By { who: saved.who.clone(), at, key: None };
    let done = kept(app, move |store| {
        let act = Act { step, act: "answer", detail: Some("done") };
        Ok(work(store, Kept { number, saga: &text, open, act, at }, &by))
    });
    match done.await? {
        Ok(()) => {
            *saga = ended;
            Ok(None)
        }
        Err(error) => Ok(Some(refused(&error))),
    }
}

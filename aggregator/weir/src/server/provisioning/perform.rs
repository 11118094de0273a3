//! Makes the calls of sagas: at Stripe, a vector store, an outside system, and in the database.
use serde_json::json;
use weir_contract::Timestamp;
use weir_contract::time::HOUR_MS;
use weir_provisioning::{Act, Answer, Call, Kind, Phase, Saga, Step};
use weir_settings::secret::masked;
use weir_stripe::provisioning::{NewCustomer, NewSubscription, Outcome, Owner};
use weir_tenants::store::change::{By, TenantPatch};
use weir_tenants::store::provisioning::Saved;
use weir_tenants::store::view::Standing;
use zeroize::Zeroizing;

use super::answers::EnvironmentAnswer;
use super::messages::{self, Message};
use super::{App, made, refused, vectors};
use crate::provisioning::{ProvisionRequest, Spec};
use crate::server::admin;
use crate::server::error::ApiError;
use crate::server::tenants::kept;
use weir_billing::outbox::rows;
use weir_billing::outbox::view::ReportRequest;

/// How long until a report is tried again that left something, in milliseconds.
const REPORT_AGAIN_MS: u64 = 60_000;

/// Makes a call. [`Step::Publish`] and [`Step::Archive`] end their saga and are not made here.
pub(super) async fn perform(app: &App, saved: &Saved, spec: &Spec, saga: &Saga, call: &Call) -> Answer {
    // What is dropped does not come back, so a tenant that was let in again keeps it.
    let drops = matches!(call.step, Step::DropCollection | Step::ReleaseEnvironment | Step::Goodbye);
    if drops && let Err(answer) = still_goes(app, saved).await {
        let Answer::Refused(why) = answer else { return answer };
        return Answer::Unsure(format!("{why}; suspend it to go on"));
    }
    match call.step {
        Step::Customer => customer(app, saved, spec, saga, call).await,
        Step::Subscription => subscription(app, saved, spec, saga, call).await,
        Step::EndSubscription => end_subscription(app, saved, spec, saga, call).await,
        Step::Keys => keys(app, saved, call).await,
        Step::Collection => collection(app, saved, spec, saga, (call, call.act)).await,
        Step::DropCollection => collection(app, saved, spec, saga, (call, Act::Drop)).await,
        Step::Environment | Step::ReleaseEnvironment => environment(app, saved, spec, saga, call).await,
        Step::Welcome | Step::Goodbye => message(app, saved, spec, saga, call).await,
        Step::Budgets => budgets(app, spec, call.act),
        Step::Suspend => suspend(app, saved).await,
        Step::Report => report(app, saved, call).await,
        Step::Retain => retain(app, saved, call).await,
        Step::Publish | Step::Archive => Answer::Done(None),
    }
}

/// What Stripe says, as a saga takes it.
fn of_stripe(outcome: Outcome) -> Answer {
    match outcome {
        Outcome::Done(id) => Answer::Done(Some(id)),
        Outcome::Missing => Answer::Missing,
        Outcome::Refused(why) => Answer::Refused(why),
        Outcome::Unsure(why) => Answer::Unsure(why),
        Outcome::Broken(why) => Answer::Broken(why),
    }
}

impl From<ApiError> for Answer {
    fn from(error: ApiError) -> Self {
        Answer::Unsure(error.to_string())
    }
}

/// The idempotency key of a call at Stripe.
fn key(spec: &Spec, call: &Call) -> String {
    format!("weir-{}-{}-{}", spec.id, call.step.as_str(), call.key)
}

/// What a call meets with whose part of the configuration was removed since its saga began. Without it a tenant does not come; what
/// it came with stays until an operator says so.
fn unconfigured(saga: &Saga, saved: &Saved, call: &Call, part: &str) -> Answer {
    let why = format!("there is no `{part}` in the configuration any more");
    if saga.kind() == Kind::Provision && *saga.phase() == Phase::Forward {
        return Answer::Unconfigured(why);
    }
    let (tenant, step) = (&saved.tenant, call.step.as_str());
    Answer::Unconfigured(format!(
        "{why}: put it back, or let go of what is there with `weir tenants skip {tenant} {step} --why ...`"
    ))
}

const STRIPE: &str = "stripe";

async fn customer(app: &App, saved: &Saved, spec: &Spec, saga: &Saga, call: &Call) -> Answer {
    let Some(provider) = &app.0.provider else { return unconfigured(saga, saved, call, STRIPE) };
    let (sink, owner) = (&provider.sink, Owner { tenant: saved.tenant.as_str(), provisioning: &spec.id });
    let outcome = match call.act {
        Act::Find => sink.find_customer(owner.tenant).await,
        Act::Make | Act::Do => {
            let request = spec.provision();
            let name = request.as_ref().and_then(|request| request.name.as_deref());
            let email = request.as_ref().and_then(|request| request.email.as_deref());
            sink.make_customer(owner, NewCustomer { name, email }, &key(spec, call)).await
        }
        Act::List => sink.list_customer(owner, call.begun_at).await,
        Act::Drop | Act::Undo => sink.delete_customer(call.made.as_deref().unwrap_or_default()).await,
    };
    of_stripe(outcome)
}

async fn subscription(app: &App, saved: &Saved, spec: &Spec, saga: &Saga, call: &Call) -> Answer {
    let Some(provider) = &app.0.provider else { return unconfigured(saga, saved, call, STRIPE) };
    let request = spec.provision();
    let given = request.as_ref().and_then(|request| request.tenant.stripe_customer.as_deref());
    let Some(customer) = saga.made(Step::Customer).or(given) else {
        return Answer::Refused("there is no customer to subscribe".to_owned());
    };
    let (sink, owner) = (&provider.sink, Owner { tenant: saved.tenant.as_str(), provisioning: &spec.id });
    let outcome = match call.act {
        Act::Find => sink.find_subscription(owner.tenant, customer).await,
        Act::Make | Act::Do => {
            let new = NewSubscription { customer, prices: &spec.prices, anchor: spec.anchor };
            sink.make_subscription(owner, new, &key(spec, call)).await
        }
        Act::List => sink.list_subscription(owner, customer).await,
        Act::Drop | Act::Undo => sink.cancel_subscription(call.made.as_deref().unwrap_or_default()).await,
    };
    of_stripe(outcome)
}

async fn end_subscription(app: &App, saved: &Saved, spec: &Spec, saga: &Saga, call: &Call) -> Answer {
    let Some(provider) = &app.0.provider else { return unconfigured(saga, saved, call, STRIPE) };
    let id = spec.subscription.as_deref().unwrap_or_default();
    match provider.sink.end_subscription(id).await {
        // It ended before.
        Outcome::Missing => Answer::Done(None),
        outcome => of_stripe(outcome),
    }
}

async fn keys(app: &App, saved: &Saved, call: &Call) -> Answer {
    let number = saved.number;
    if call.act == Act::Undo {
        drop(app.0.in_progress.take(number));
        let dropped = kept(app, move |store| store.drop_first_keys(number)).await;
        return dropped.map_or_else(Answer::from, |()| Answer::Done(None));
    }
    make_keys(app, saved).await.map_or_else(Answer::from, |()| Answer::Done(None))
}

/// Makes keys anew if a restart has lost them: nobody was told them, and no gateway knows them.
pub(super) async fn keys_again(app: &App, saved: &Saved) -> Result<(), ApiError> {
    if saved.keys.is_empty() || app.0.in_progress.remembers(saved.number) {
        return Ok(());
    }
    make_keys(app, saved).await
}

async fn make_keys(app: &App, saved: &Saved) -> Result<(), ApiError> {
    let (number, made) = (saved.number, made(saved.keys.len())?);
    let hashed = made.clone();
    kept(app, move |store| store.make_first_keys(number, &hashed)).await?;
    app.0.in_progress.remember(number, made.into_iter().map(|made| Zeroizing::new(made.key)).collect());
    Ok(())
}

async fn collection(app: &App, saved: &Saved, spec: &Spec, saga: &Saga, (call, act): (&Call, Act)) -> Answer {
    let Some(collection) = &app.0.provisioning.collection else {
        return unconfigured(saga, saved, call, "provisioning.collection");
    };
    let Some(name) = &spec.collection else { return Answer::Missing };
    let key = collection.key.as_ref().map(|key| key.read(app.0.alerts.base())).transpose();
    let key = match key {
        Ok(key) => key,
        Err(error) => return Answer::Unsure(masked(&error.to_string())),
    };
    let Some(http) = app.0.alerts.http() else {
        return Answer::Unsure("this machine trusts no certificates".to_owned());
    };
    let key = key.as_ref().map(|key| key.expose().trim());
    match (vectors::call(http, collection, key, name, act).await, act) {
        (Answer::Missing, Act::Drop) => Answer::Done(None),
        (answer, _) => answer,
    }
}

/// What messages say of a tenant.
fn facts(saved: &Saved, spec: &Spec, saga: &Saga) -> serde_json::Value {
    let mut data = json!({"tenant": saved.tenant, "provisioning": spec.id});
    if let Some(ProvisionRequest { tenant, email, .. }) = spec.provision() {
        data["plan"] = json!(tenant.plan);
        data["placement"] = json!(tenant.placement);
        data["owner"] = json!(tenant.owner);
        data["email"] = json!(email);
    }
    data["stripe_customer"] = json!(saga.made(Step::Customer));
    data["collection"] = json!(spec.collection);
    data["endpoint"] = json!(saga.made(Step::Environment));
    data
}

async fn environment(app: &App, saved: &Saved, spec: &Spec, saga: &Saga, call: &Call) -> Answer {
    let asks = call.step == Step::Environment && call.act == Act::Do;
    let Some(environment) = &app.0.provisioning.environment else {
        return if asks {
            unconfigured(saga, saved, call, "provisioning.environment")
        } else {
            untold("provisioning.environment")
        };
    };
    // Its own answer counts, whatever the outside system would say now.
    let number = saved.number;
    match kept(app, move |store| store.provisioning(number)).await {
        Ok(Some(Saved { told: Some(told), .. })) if asks => return EnvironmentAnswer::of(&told),
        Ok(_) => {}
        Err(error) => return error.into(),
    }
    let kind = if asks { "tenant.environment.requested" } else { "tenant.environment.released" };
    let message = Message { id: id_of(spec, kind), kind, data: &facts(saved, spec, saga) };
    messages::send(app, &environment.webhook, message, asks, app.0.clock.now()).await
}

async fn message(app: &App, saved: &Saved, spec: &Spec, saga: &Saga, call: &Call) -> Answer {
    let Some(webhook) = &app.0.provisioning.webhook else { return untold("provisioning.webhook") };
    let kind = match (call.step, call.act) {
        (Step::Welcome, Act::Undo) => "tenant.withdrawn",
        (Step::Welcome, _) => "tenant.welcome",
        _ => "tenant.goodbye",
    };
    let message = Message { id: id_of(spec, kind), kind, data: &facts(saved, spec, saga) };
    messages::send(app, webhook, message, false, app.0.clock.now()).await
}

/// A message to a receiver that was removed since: there is nobody any more who waits for it.
fn untold(part: &str) -> Answer {
    Answer::Skipped(format!("nobody is told: there is no `{part}` in the configuration any more"))
}

fn id_of(spec: &Spec, kind: &str) -> String {
    format!("msg_{}_{kind}", spec.id)
}

/// Amounts of budgets stand in the tenant's record; here it is made sure that each means something.
fn budgets(app: &App, spec: &Spec, act: Act) -> Answer {
    if act == Act::Undo {
        return Answer::Done(None);
    }
    let known = app.0.budgets.rules().budgets;
    let amounts = spec.provision().map(|request| request.tenant.budgets).unwrap_or_default();
    let unknown = amounts.keys().find(|name| !known.iter().any(|budget| *budget.name == ***name && !budget.shared));
    match unknown {
        Some(name) => {
            Answer::Refused(format!("no budget is named {name:?} of which tenants have amounts of their own"))
        }
        None => Answer::Done(None),
    }
}

async fn suspend(app: &App, saved: &Saved) -> Answer {
    let (tenant, by) = (saved.tenant.to_string(), By { who: saved.who.clone(), at: app.0.clock.now(), key: None });
    let suspend = TenantPatch { state: Some(Standing::Suspended), ..TenantPatch::default() };
    let suspended = kept(app, move |store| Ok(store.change(&tenant, &suspend, None, &by))).await;
    match suspended {
        Ok(Ok(_)) => Answer::Done(None),
        Ok(Err(error)) => refused(&error),
        Err(error) => error.into(),
    }
}

/// Why a tenant does not go after all, if it was let in again.
async fn still_goes(app: &App, saved: &Saved) -> Result<(), Answer> {
    let (tenant, now) = (saved.tenant.to_string(), app.0.clock.now());
    let view = kept(app, move |store| store.tenant(&tenant, now)).await.map_err(Answer::from)?;
    if view.state == Standing::Active {
        return Err(Answer::Refused("the tenant was let in again".to_owned()));
    }
    Ok(())
}

/// Reports the last usage once its hour is over and no late event can come.
async fn report(app: &App, saved: &Saved, call: &Call) -> Answer {
    if let Err(answer) = still_goes(app, saved).await {
        return answer;
    }
    let now = app.0.clock.now();
    let ends = call.begun_at.hour().plus_millis(HOUR_MS + app.0.grace_ms);
    if app.0.reporter.is_none() {
        return Answer::Done(None);
    }
    if now < ends {
        return Answer::Later(ends);
    }
    if let Err(error) = admin::run(app, ReportRequest::default()).await {
        return error.into();
    }
    // What others still have to report does not keep this tenant.
    let tenant = saved.tenant.clone();
    match app.0.store.ledger.call(move |ledger| rows::pending_of(ledger.db(), &tenant)).await {
        Ok(0) => Answer::Done(None),
        Ok(pending) => {
            tracing::info!(tenant = %saved.tenant, pending, "the last usage of a tenant is not reported yet");
            Answer::Later(now.plus_millis(REPORT_AGAIN_MS))
        }
        Err(error) => ApiError::internal(&error).into(),
    }
}

async fn retain(app: &App, saved: &Saved, call: &Call) -> Answer {
    if let Err(answer) = still_goes(app, saved).await {
        return answer;
    }
    let until: Timestamp = call.begun_at.plus_millis(app.0.provisioning.retention_ms);
    if app.0.clock.now() < until { Answer::Later(until) } else { Answer::Done(None) }
}

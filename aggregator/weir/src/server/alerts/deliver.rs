//! Hands messages to receivers, and repeats to Alertmanager what still holds.
//!
//! Receivers are served beside each other, each in order: one that hangs or is away delays no other. Repeats go the way of messages, so that none
//! overtakes the end of what it repeats.
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use weir_ledger::LedgerError;
use weir_steer::alert::state;
use weir_steer::message::alertmanager;
use weir_steer::notice::outbox::{self, Attempt};
use weir_steer::notice::{self, Notice, held};
use weir_steer::receiver::tenant_mail::of_receiver;
use weir_steer::receiver::{AlertmanagerFile, Receiver, Target, with_shared};

use super::send::{self, answer};
use super::{About, App, REASONS_MAX, SENT_MAX, base_context, reason_of_alert, reason_of_stage};
use crate::server::error::ApiError;
use crate::server::finance::with_own_finance;
use crate::server::read::with_own_reader;

/// How often Alertmanager is told what still holds. It believes that for five times as long.
const REPEAT_EVERY: Duration = Duration::from_secs(60);
/// When it is told again after it was not to be reached.
const REPEAT_AGAIN: Duration = Duration::from_secs(10);
/// The most alerts of one call.
const CALL_MAX: usize = 500;

/// When each receiver is told again what still holds, in elapsed time.
#[derive(Debug, Default)]
pub(super) struct Repeats(HashMap<String, Duration>);

impl Repeats {
    fn is_due(&self, receiver: &Receiver, now: Duration) -> bool {
        matches!(receiver.target, Target::Alertmanager(_)) && self.0.get(&receiver.name).is_none_or(|due| *due <= now)
    }
}

/// What one receiver gets.
#[derive(Debug, Default)]
struct Turn {
    notices: Vec<Notice>,
    repeats: Option<Receiver>,
}

/// Addresses that tenants have set share so many turns: however many there are, the mail server gets no more connections at a time.
const ADDRESS_TURNS: i64 = 4;

/// The turn of a receiver: one of its own, but for addresses of tenants.
fn turn_of(receiver: &str) -> String {
    of_receiver(receiver).map_or_else(|| receiver.to_owned(), |(id, _)| format!("address:{}", id % ADDRESS_TURNS))
}

/// Serves every receiver once.
pub(super) async fn all(app: &App, repeats: &mut Repeats) -> Result<(), ApiError> {
    let (now, elapsed, alerts) = (app.0.clock.now(), app.0.clock.elapsed(), app.0.alerts.current());
    let mut turns: BTreeMap<String, Turn> = BTreeMap::new();
    for notice in with_own_reader(app, move |reader| outbox::due(reader.db(), now, SENT_MAX)).await? {
        let turn = turns.entry(turn_of(&notice.receiver)).or_default();
        if turn.notices.len() < SENT_MAX as usize {
            turn.notices.push(notice);
        }
    }
    repeats.0.retain(|name, _| alerts.receivers.iter().any(|receiver| receiver.name == *name));
    for receiver in alerts.receivers.iter().filter(|receiver| repeats.is_due(receiver, elapsed)) {
        turns.entry(receiver.name.clone()).or_default().repeats = Some(receiver.clone());
    }
    let mut served = JoinSet::new();
    for turn in turns.into_values() {
        served.spawn(serve(app.clone(), turn));
    }
    let mut outcome = Ok(());
    while let Some(done) = served.join_next().await {
        match done {
            Ok(Ok(Some((receiver, attempt)))) => {
                let pause = if attempt == Attempt::Delivered { REPEAT_EVERY } else { REPEAT_AGAIN };
                repeats.0.insert(receiver, elapsed + pause);
            }
            Ok(Ok(None)) => {}
            Ok(Err(error)) => outcome = Err(error),
            Err(error) => outcome = Err(ApiError::internal(&error)),
        }
    }
    outcome
}

/// Serves a receiver, and says what came of a repeat.
async fn serve(app: App, turn: Turn) -> Result<Option<(String, Attempt)>, ApiError> {
    for notice in turn.notices {
        // One that is away now would let each message wait in vain.
        if !send::send(&app, notice).await? {
            break;
        }
    }
    let Some(receiver) = turn.repeats else { return Ok(None) };
    let Target::Alertmanager(target) = &receiver.target else { return Ok(None) };
    let attempt = repeat(&app, &receiver, target).await?;
    Ok(Some((receiver.name, attempt)))
}

/// Tells Alertmanager what still holds, if anything does.
async fn repeat(app: &App, receiver: &Receiver, target: &AlertmanagerFile) -> Result<Attempt, ApiError> {
    let alerts = app.0.alerts.current();
    let (base, rules, budgets) = (base_context(app, &alerts), Arc::clone(&alerts.rules), app.0.budgets.rules().budgets);
    let Some(of) = with_shared(std::slice::from_ref(receiver), &budgets).pop() else { return Ok(Attempt::Delivered) };
    let now = app.0.clock.now();
    let standing = with_own_finance(app, move |finance| {
        // A message that waits says more, in its turn.
        let waiting = outbox::topics(finance.reader.db(), &of.name)?;
        let mut alerts = state::list(finance.reader.db())?;
        alerts.retain(|alert| !waiting.contains(&notice::topic_of_alert(&alert.rule, &alert.subject, &alert.currency)));
        let mut stages = held::standing(finance.reader.db(), now)?;
        stages.retain(|change| !waiting.contains(&notice::topic_of_stage(change)));
        let mut context = base;
        for change in stages.iter().take(REASONS_MAX) {
            let reason = reason_of_stage(finance, change, &budgets, !of.is_limited_to(&change.subject));
            context.budget_drivers.extend(reason.map(|reason| (change.id, reason)));
        }
        for alert in alerts.iter().filter(|alert| alert.announced).take(REASONS_MAX) {
            let key = (alert.rule.clone(), alert.subject.clone(), alert.currency.clone());
            let about = About { subject: &key.1, currency: &key.2, tenant: alert.tenant.as_deref(), at: now };
            let reason = reason_of_alert(finance, &rules, &key.0, about);
            context.standing_drivers.extend(reason.map(|reason| (key, reason)));
        }
        Ok::<_, LedgerError>(alertmanager::standing(&of, &alerts, &stages, &context))
    })
    .await?;
    let mut attempt = Attempt::Delivered;
    if standing.is_empty() {
        return Ok(attempt);
    }
    for part in standing.chunks(CALL_MAX) {
        let body = alertmanager::believed(part.to_vec().into(), now).to_string();
        attempt = match app.0.alerts.alertmanager(target, body) {
            Ok(call) => answer(call).await,
            Err(why) => Attempt::Failed(why),
        };
        if let Attempt::Failed(why) | Attempt::Gone(why) = &attempt {
            tracing::warn!(receiver = %receiver.name, %why, "Alertmanager is not told what still holds");
            break;
        }
    }
    let (name, noted) = (receiver.name.clone(), attempt.clone());
    let note = move |db: &mut weir_database::Connection| outbox::note_receiver(db, &name, &noted, now);
    app.0.store.ledger.call(move |ledger| ledger.durably(note)).await?;
    Ok(attempt)
}

//! Alerts as [Alertmanager](https://prometheus.io/docs/alerting/latest/alerts_api/) takes them.
//!
//! It tells alerts apart by their labels, and forgets one that nobody repeats: an alert is over at its `endsAt`. So a message is kept without
//! the end of what still holds, and [`believed`] gives it one at each attempt: a message that waited through an outage would bring an end that is over.
//! The server repeats what [`standing`] says. A budget's alert has its stage as severity, so a change of severity ends one and begins another.
use serde_json::{Map, Value, json};
use weir_contract::Timestamp;
use weir_contract::stage::Stage;

use super::{Context, LIST, command, summary};
use crate::alert::file::Severity;
use crate::alert::rule::Rule;
use crate::alert::state::{Alert, AlertChange};
use crate::receiver::Receiver;
use crate::subject;
use crate::view::Transition;

/// How long Alertmanager believes an alert that nobody repeats, in milliseconds: five times as long as the server takes to repeat it.
const BELIEVED_MS: u64 = 5 * 60_000;
/// The name of the alerts of budgets.
const BUDGET: &str = "weir_budget";

/// The end of the alert of the former stage, and that of the new one. Stages below `from` are none for the receiver.
pub(super) fn of_transition(change: &Transition, from: Stage, context: &Context) -> Vec<Value> {
    let (was, is) = (severity(&change.was, from, change), severity(&change.stage, from, change));
    let ended = was.filter(|_| was != is).map(|severity| of_budget(change, severity, Some(change.at), context));
    ended.into_iter().chain(is.map(|severity| of_budget(change, severity, change.period_end, context))).collect()
}

/// The severity of a stage of a budget: of one that binds nobody, never critical.
fn severity(stage: &str, from: Stage, of: &Transition) -> Option<Severity> {
    match Stage::from_name(stage).filter(|stage| *stage >= from).unwrap_or_default() {
        Stage::Ok => None,
        Stage::Warn | Stage::Degrade => Some(Severity::Warning),
        Stage::Contain | Stage::Exceeded if of.mode == "observe" => Some(Severity::Warning),
        Stage::Contain | Stage::Exceeded => Some(Severity::Critical),
    }
}

fn of_budget(change: &Transition, severity: Severity, end: Option<Timestamp>, context: &Context) -> Value {
    let (tenant, responsible) = (subject::tenant(&change.subject), subject::responsible(&change.subject));
    let mut labels = labels(BUDGET, severity);
    for (name, text) in [("budget", &*change.budget), ("subject", &*change.subject), ("tenant", tenant)] {
        if !text.is_empty() {
            labels.insert(name.to_owned(), text.into());
        }
    }
    let stage = Stage::from_name(&change.stage).unwrap_or_default();
    let more = [
        ("owner", context.owners.get(responsible).map(String::as_str)),
        ("driver", context.budget_drivers.get(&change.id).map(String::as_str)),
        ("action", context.decided(responsible, stage)),
    ];
    let page = context.page_of_budget(change);
    alert(labels, annotations(&summary(change), &command(change), more), change.at, end, page)
}

/// The beginning or end of an alert of a rule.
pub(super) fn of_alert(change: &AlertChange, context: &Context) -> Value {
    let AlertChange { rule: name, subject, currency, tenant, severity, summary, .. } = change;
    let rule = context.rule(name);
    let labels = labels_of(name, *severity, [subject, currency], tenant.as_deref(), rule);
    let more = [
        ("owner", tenant.as_ref().and_then(|tenant| context.owners.get(tenant)).map(String::as_str)),
        ("driver", context.alert_drivers.get(&change.id).map(String::as_str)),
        ("action", rule.and_then(|rule| rule.action.as_deref())),
    ];
    let end = change.is_end().then_some(change.at);
    alert(labels, annotations(summary, LIST, more), change.since, end, context.page_of_alerts())
}

/// A test, which is over after a minute.
pub(super) fn of_test(text: &str, at: Timestamp) -> Value {
    let mut labels = labels("weir_test", Severity::Warning);
    labels.insert("subject".to_owned(), "test".into());
    alert(labels, annotations(text, LIST, []), at, Some(at.plus_millis(60_000)), None)
}

/// What holds and a receiver was told of: alerts of rules, and stages by the change that began them.
pub fn standing(receiver: &Receiver, alerts: &[Alert], stages: &[Transition], context: &Context) -> Vec<Value> {
    let is_told =
        |alert: &&Alert| alert.announced && receiver.wants_alert(&alert.rule, alert.tenant.as_deref(), alert.severity);
    let rules = alerts.iter().filter(is_told).map(|alert| of_standing(alert, context));
    let stages = stages.iter().filter(|change| receiver.wants(change)).filter_map(|change| {
        let severity = severity(&change.stage, receiver.from, change)?;
        Some(of_budget(change, severity, change.period_end, context))
    });
    rules.chain(stages).collect()
}

fn of_standing(of: &Alert, context: &Context) -> Value {
    let Alert { rule: name, subject, currency, tenant, severity, summary, since, .. } = of;
    let rule = context.rule(name);
    let key = (name.clone(), subject.clone(), currency.clone());
    let more = [
        ("owner", tenant.as_ref().and_then(|tenant| context.owners.get(tenant)).map(String::as_str)),
        ("driver", context.standing_drivers.get(&key).map(String::as_str)),
        ("action", rule.and_then(|rule| rule.action.as_deref())),
    ];
    let labels = labels_of(name, *severity, [subject, currency], tenant.as_deref(), rule);
    alert(labels, annotations(summary, LIST, more), *since, None, context.page_of_alerts())
}

/// The alerts of a message as they are sent now: what still holds is believed for some minutes, and no longer than its period.
pub fn believed(mut alerts: Value, now: Timestamp) -> Value {
    let until = now.plus_millis(BELIEVED_MS);
    for alert in alerts.as_array_mut().into_iter().flatten() {
        let end = alert.get("endsAt").and_then(Value::as_str).and_then(Timestamp::parse);
        if let Value::Object(alert) = alert {
            alert.insert("endsAt".to_owned(), json!(end.map_or(until, |end| end.min(until))));
        }
    }
    alerts
}

/// An alert. `page`: where its people look, which Alertmanager calls the source.
fn alert(
    labels: Map<String, Value>,
    annotations: Value,
    start: Timestamp,
    end: Option<Timestamp>,
    page: Option<String>,
) -> Value {
    let mut alert = Map::from_iter([
        ("labels".to_owned(), Value::Object(labels)),
        ("annotations".to_owned(), annotations),
        ("startsAt".to_owned(), json!(start)),
    ]);
    alert.extend(end.map(|end| ("endsAt".to_owned(), json!(end))));
    alert.extend(page.map(|page| ("generatorURL".to_owned(), json!(page))));
    Value::Object(alert)
}

fn labels(name: &str, severity: Severity) -> Map<String, Value> {
    let mut labels = Map::new();
    labels.insert("alertname".to_owned(), name.into());
    labels.insert("service".to_owned(), "weir".into());
    labels.insert("severity".to_owned(), severity.as_str().into());
    labels
}

fn labels_of(
    name: &str,
    severity: Severity,
    [subject, currency]: [&str; 2],
    tenant: Option<&str>,
    rule: Option<&Rule>,
) -> Map<String, Value> {
    let mut labels = labels(name, severity);
    let more = [("subject", subject), ("currency", currency), ("tenant", tenant.unwrap_or_default())];
    for (name, text) in more.into_iter().filter(|(_, text)| !text.is_empty()) {
        labels.insert(name.to_owned(), text.into());
    }
    for (name, text) in rule.iter().flat_map(|rule| &rule.labels) {
        labels.insert(name.clone(), text.as_str().into());
    }
    labels
}

fn annotations<'a>(
    summary: &str,
    command: &str,
    more: impl IntoIterator<Item = (&'static str, Option<&'a str>)>,
) -> Value {
    let mut annotations = json!({"summary": summary, "command": command});
    if let Value::Object(map) = &mut annotations {
        for (name, text) in more.into_iter().filter_map(|(name, text)| Some((name, text?))) {
            map.insert(name.to_owned(), text.into());
        }
    }
    annotations
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waited_through_an_outage_is_believed_from_now_on_and_what_ended_stays_over() {
        let at = |minutes: u64| Timestamp::from_secs(1_800_000_000 + minutes * 60);
        let alerts = json!([
            {"labels": {"a": "holds"}},
            {"labels": {"a": "until the period ends"}, "endsAt": at(62)},
            {"labels": {"a": "for a month"}, "endsAt": at(40_000)},
            {"labels": {"a": "over"}, "endsAt": at(10)},
        ]);
        let sent = believed(alerts, at(60));
        let ends: Vec<&Value> = sent.as_array().expect("alerts").iter().map(|alert| &alert["endsAt"]).collect();
        assert_eq!(ends, [&json!(at(65)), &json!(at(62)), &json!(at(65)), &json!(at(10))]);
    }
}

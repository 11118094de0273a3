//! `weir alerts`: what fires, who is told, and what was told.
use anyhow::bail;
use serde::Serialize;
use serde::de::DeserializeOwned;
use weir_steer::alert::silence::Silence;
use weir_steer::alert::state::{Alert, AlertChange, history as changes};
use weir_steer::notice::Notice;

use super::access::{self, Access, Client, clock};
use super::args::alerts::AlertsCommand;
use super::render::{json, say, table};
use super::show::caught_up;
use super::{EXIT_ATTENTION, EXIT_DONE};
use crate::alerts::{Acked, AlertHistoryQuery, AlertsView, ReceiverView, TestRequest, UnsilenceRequest, alerts};
use crate::config::Config;

/// Messages that a table shows.
const SHOWN: usize = 20;
/// Changes that are read where no server runs.
const CHANGES_SHOWN: u32 = 100;

pub(super) fn run(config: &Config, command: AlertsCommand, as_json: bool) -> anyhow::Result<u8> {
    match command {
        AlertsCommand::List => list(config, as_json),
        AlertsCommand::Test { receiver } => test(config, &TestRequest { receiver }, as_json),
        AlertsCommand::Silence(args) => {
            let silence: Silence = post(config, "/v1/alerts/silence", &args.request())?;
            told(
                &silence,
                &format!("silenced until {}: {}; its number is {}", silence.until, silence.words(), silence.id),
                as_json,
            )
        }
        AlertsCommand::Unsilence { id } => {
            let silence: Silence = post(config, "/v1/alerts/unsilence", &UnsilenceRequest { id })?;
            told(&silence, &format!("people are told of {} again", silence.words()), as_json)
        }
        AlertsCommand::Ack(args) => {
            let acked: Acked = post(config, "/v1/alerts/ack", &args.request())?;
            told(&acked, "acknowledged", as_json)
        }
        AlertsCommand::History(args) => history(config, &args.query(), as_json),
    }
}

/// The server, which alone compares rules.
pub(super) fn server(config: &Config) -> anyhow::Result<Client> {
    match access::open(config)? {
        Access::Server(server) => Ok(server),
        Access::Here(_) => bail!("no server runs that compares rules and tells people: start `weir serve`"),
    }
}

/// Asks the server.
pub(super) fn post<T: DeserializeOwned>(config: &Config, path: &str, request: &impl Serialize) -> anyhow::Result<T> {
    access::block_on(async { server(config)?.post(path, request).await })
}

/// Prints an answer, or the words in its place.
pub(super) fn told(answer: &impl Serialize, words: &str, as_json: bool) -> anyhow::Result<u8> {
    if as_json {
        json(answer)?;
    } else {
        say!("{words}");
    }
    Ok(EXIT_DONE)
}

fn list(config: &Config, as_json: bool) -> anyhow::Result<u8> {
    let view: AlertsView = access::block_on(async {
        Ok(match access::open(config)? {
            Access::Server(server) => server.get("/v1/alerts", &()).await?,
            Access::Here(store) => alerts(&mut caught_up(&store).await?, &config.alerts, clock().now())?,
        })
    })?;
    if as_json {
        json(&view)?;
    } else {
        print(&view);
    }
    let open = view.alerts.iter().any(|alert| alert.is_open(&view.silences));
    let given_up = view.notices.iter().any(|notice| notice.state == "failed");
    Ok(if open || given_up { EXIT_ATTENTION } else { EXIT_DONE })
}

fn print(view: &AlertsView) {
    let mut firing = table(&["state", "severity", "rule", "subject", "since", "what", "looked after by"]);
    for alert in &view.alerts {
        firing.add_row(alert_row(alert, &view.silences));
    }
    say!("{firing}");
    if !view.silences.is_empty() {
        let mut silences = table(&["#silence", "of", "until", "who", "why"]);
        for silence in &view.silences {
            let Silence { id, until, who, why, .. } = silence;
            silences.add_row([&id.to_string(), &silence.words(), &until.to_string(), who, why]);
        }
        say!("{silences}");
    }
    let mut receivers = table(&["receiver", "form", "#waiting", "fails since", "last failure"]);
    for ReceiverView { name, form, waiting, failing } in &view.receivers {
        let since = failing.as_ref().map_or_else(String::new, |failing| failing.since.to_string());
        let error = failing.as_ref().map_or("", |failing| failing.error.as_str());
        receivers.add_row([name, form, &waiting.to_string(), &since, error]);
    }
    say!("{receivers}\n{} rules are compared; {} messages wait", view.rules.len(), view.pending);
    let mut shown = table(&["at", "receiver", "state", "#attempts", "error", "id"]);
    for notice in view.notices.iter().take(SHOWN) {
        shown.add_row(row(notice));
    }
    say!("{shown}");
}

fn alert_row(alert: &Alert, silences: &[Silence]) -> [String; 7] {
    let by = alert.acknowledged.as_ref().map_or_else(String::new, |by| format!("{}: {}", by.who, by.why));
    [
        alert.words(silences).to_owned(),
        alert.severity.as_str().to_owned(),
        alert.rule.clone(),
        alert.subject.clone(),
        alert.since.to_string(),
        alert.summary.clone(),
        by,
    ]
}

fn row(notice: &Notice) -> [String; 6] {
    let error = notice.error.clone().unwrap_or_default();
    let Notice { id, receiver, at, state, attempts, .. } = notice;
    [at.to_string(), receiver.clone(), state.clone(), attempts.to_string(), error, id.clone()]
}

fn test(config: &Config, request: &TestRequest, as_json: bool) -> anyhow::Result<u8> {
    let notice: Notice = post(config, "/v1/alerts/test", request)?;
    if as_json {
        json(&notice)?;
    } else {
        match &notice.error {
            Some(error) => say!("{}: {}: {error}", notice.receiver, notice.state),
            None => say!("{}: {}", notice.receiver, notice.state),
        }
    }
    Ok(if notice.state == "delivered" { EXIT_DONE } else { EXIT_ATTENTION })
}

fn history(config: &Config, query: &AlertHistoryQuery, as_json: bool) -> anyhow::Result<u8> {
    let found: Vec<AlertChange> = access::block_on(async {
        Ok(match access::open(config)? {
            Access::Server(server) => server.get("/v1/alerts/history", query).await?,
            Access::Here(store) => {
                let mut reader = caught_up(&store).await?;
                changes(reader.db(), query.rule.as_deref(), query.before, query.limit.unwrap_or(CHANGES_SHOWN))?
            }
        })
    })?;
    if as_json {
        json(&found)?;
    } else {
        let mut shown = table(&["#", "at", "rule", "subject", "state", "severity", "what", "silenced"]);
        for change in &found {
            let AlertChange { id, at, rule, subject, state, severity, summary, silenced, .. } = change;
            let silenced = if *silenced { "yes" } else { "" };
            shown.add_row([
                &id.to_string(),
                &at.to_string(),
                rule,
                subject,
                state,
                severity.as_str(),
                summary,
                silenced,
            ]);
        }
        say!("{shown}");
    }
    Ok(EXIT_DONE)
}

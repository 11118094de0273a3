//! `weir alerts`: who is told of budgets' stages, and what was told.
use anyhow::bail;
use weir_steer::notice::Notice;

use super::access::{self, Access};
use super::args::alerts::AlertsCommand;
use super::render::{json, say, table};
use super::show::caught_up;
use super::{EXIT_ATTENTION, EXIT_DONE};
use crate::alerts::{AlertsView, TestRequest, alerts};
use crate::config::Config;

/// Messages that a table shows.
const SHOWN: usize = 20;

pub(super) fn run(config: &Config, command: AlertsCommand, as_json: bool) -> anyhow::Result<u8> {
    match command {
        AlertsCommand::List => list(config, as_json),
        AlertsCommand::Test { receiver } => test(config, &TestRequest { receiver }, as_json),
    }
}

fn list(config: &Config, as_json: bool) -> anyhow::Result<u8> {
    let view: AlertsView = access::block_on(async {
        Ok(match access::open(config)? {
            Access::Server(server) => server.get("/v1/alerts", &()).await?,
            Access::Here(store) => alerts(&mut caught_up(&store).await?, &config.alerts)?,
        })
    })?;
    if as_json {
        json(&view)?;
    } else {
        let mut receivers = table(&["receiver", "form"]);
        for receiver in &view.receivers {
            receivers.add_row([&receiver.name, &receiver.form]);
        }
        say!("{receivers}\n{} messages wait", view.pending);
        let mut shown = table(&["at", "receiver", "state", "#attempts", "error", "id"]);
        for notice in view.notices.iter().take(SHOWN) {
            shown.add_row(row(notice));
        }
        say!("{shown}");
    }
    let given_up = view.notices.iter().any(|notice| notice.state == "failed");
    Ok(if given_up { EXIT_ATTENTION } else { EXIT_DONE })
}

fn row(notice: &Notice) -> [String; 6] {
    let error = notice.error.clone().unwrap_or_default();
    let Notice { id, receiver, at, state, attempts, .. } = notice;
    [at.to_string(), receiver.clone(), state.clone(), attempts.to_string(), error, id.clone()]
}

fn test(config: &Config, request: &TestRequest, as_json: bool) -> anyhow::Result<u8> {
    let notice: Notice = access::block_on(async {
        match access::open(config)? {
            Access::Server(server) => server.post("/v1/alerts/test", request).await,
            Access::Here(_) => bail!("no server runs that could send a message: start `weir serve`"),
        }
    })?;
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

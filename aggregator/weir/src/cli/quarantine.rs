//! `weir quarantine`.
use anyhow::bail;

use super::access::audit_here;
use super::access::{self, Access};
use super::render::{json, say, table};
use super::{EXIT_ATTENTION, EXIT_DONE};
use crate::config::Config;
use crate::retry;
use crate::server::quarantine::WITHOUT_WHY;
use weir_ledger::SqliteLedger;
use weir_ledger::view::{DropRequest, DropView, QuarantineQuery, QuarantinedEvent, RetryView};

pub(super) fn list(config: &Config, query: &QuarantineQuery, as_json: bool) -> anyhow::Result<u8> {
    let events: Vec<QuarantinedEvent> = access::block_on(async {
        Ok(match access::open(config)? {
            Access::Server(server) => server.get("/v1/quarantine", query).await?,
            Access::Here(store) => {
                store.catch_up().await?;
                store.reader()?.quarantined(query)?
            }
        })
    })?;
    if as_json {
        json(&events)?;
    } else {
        print(&events);
    }
    Ok(if events.is_empty() { EXIT_DONE } else { EXIT_ATTENTION })
}

fn print(events: &[QuarantinedEvent]) {
    if events.is_empty() {
        say!("no refused events are kept");
        return;
    }
    let mut rows = table(&["first received", "reason", "source", "#number", "#times", "detail"]);
    for event in events {
        rows.add_row([
            event.received_at.to_string(),
            event.reason.clone(),
            event.source.clone().unwrap_or_default(),
            event.sequence.map(|number| number.to_string()).unwrap_or_default(),
            event.times.to_string(),
            event.detail.clone(),
        ]);
    }
    say!("{rows}");
}

pub(super) fn retry(config: &Config, query: &QuarantineQuery, as_json: bool) -> anyhow::Result<u8> {
    let view: RetryView = access::block_on(async {
        Ok(match access::open(config)? {
            Access::Server(server) => server.post("/v1/quarantine/retry", query).await?,
            Access::Here(store) => {
                let view = retry::retry(&store, query, access::clock().now()).await?;
                let detail = format!("{} accepted, {} still refused", view.accepted, view.refused);
                audit_here(&store, "quarantine retry", detail).await?;
                view
            }
        })
    })?;
    if as_json {
        json(&view)?;
    } else {
        say!("{} accepted and counted, {} still refused", view.accepted, view.refused);
    }
    Ok(if view.refused > 0 { EXIT_ATTENTION } else { EXIT_DONE })
}

pub(super) fn drop(config: &Config, which: QuarantineQuery, why: String, as_json: bool) -> anyhow::Result<u8> {
    if why.trim().is_empty() {
        bail!(WITHOUT_WHY);
    }
    let request = DropRequest { reason: which.reason, source: which.source, why };
    let view: DropView = access::block_on(async {
        Ok(match access::open(config)? {
            Access::Server(server) => server.post("/v1/quarantine/drop", &request).await?,
            Access::Here(store) => {
                store.catch_up().await?;
                let (who, now) = (access::somebody_here(), access::clock().now());
                let drop =
                    move |ledger: &mut SqliteLedger| ledger.drop_refused(&request.query(), &request.why, &who, now);
                DropView { dropped: store.ledger.call(drop).await? }
            }
        })
    })?;
    if as_json {
        json(&view)?;
    } else {
        say!("{} refused events let go", view.dropped);
    }
    Ok(EXIT_DONE)
}

//! The audit of the borders between tenants: findings, and searches of vector stores.
use weir_contract::Severity;
use weir_ledger::view::{FindingRow, SearchRow, SecurityQuery};

use super::access::{self, Access};
use super::render::{json, say, table};
use super::{EXIT_ATTENTION, EXIT_DONE};
use crate::config::Config;

pub(super) fn findings(config: &Config, query: &SecurityQuery, as_json: bool) -> anyhow::Result<u8> {
    let rows: Vec<FindingRow> = access::block_on(async {
        Ok(match access::open(config)? {
            Access::Server(server) => server.get("/v1/audit/security", query).await?,
            Access::Here(store) => {
                store.catch_up().await?;
                store.reader()?.findings(query)?
            }
        })
    })?;
    let is_critical = rows.iter().any(|row| row.severity == Severity::Critical.as_str());
    if as_json {
        json(&rows)?;
    } else {
        print_findings(rows);
    }
    Ok(if is_critical { EXIT_ATTENTION } else { EXIT_DONE })
}

fn print_findings(rows: Vec<FindingRow>) {
    let mut shown =
        table(&["minute", "severity", "tenant", "finding", "operation", "route", "#count", "whose", "request"]);
    for row in rows {
        let tenant = if row.tenant.is_empty() { "(unknown)".to_owned() } else { row.tenant };
        let others = row.samples.len().saturating_sub(1);
        let request = row.samples.into_iter().next().map(|sample| sample.request_id).unwrap_or_default();
        let request = if others > 0 { format!("{request} +{others}") } else { request };
        let texts = [row.minute.to_string(), row.severity, tenant, row.kind, row.operation, row.route];
        shown.add_row(texts.into_iter().chain([row.count.to_string(), row.owners.join(" "), request]));
    }
    say!("{shown}");
}

pub(super) fn searches(config: &Config, query: &SecurityQuery, as_json: bool) -> anyhow::Result<u8> {
    let rows: Vec<SearchRow> = access::block_on(async {
        Ok(match access::open(config)? {
            Access::Server(server) => server.get("/v1/audit/searches", query).await?,
            Access::Here(store) => {
                store.catch_up().await?;
                store.reader()?.searches(query)?
            }
        })
    })?;
    if as_json {
        json(&rows)?;
        return Ok(EXIT_DONE);
    }
    let mut shown =
        table(&["at", "tenant", "store", "collection", "operation", "#status", "#results", "taken out", "request"]);
    for row in rows {
        let removed: Vec<String> = row.removed.iter().map(|(owner, count)| format!("{owner}: {count}")).collect();
        let texts = [row.at.to_string(), row.tenant, row.store, row.collection, row.operation];
        let numbers = [row.status.to_string(), row.results.to_string()];
        shown.add_row(texts.into_iter().chain(numbers).chain([removed.join(" "), row.request_id]));
    }
    say!("{shown}");
    Ok(EXIT_DONE)
}

//! Fleet-wide limits and pools as they stand: what is left, who holds leases, what was refused.
use std::collections::BTreeMap;

use axum::Extension;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use weir_contract::Timestamp;
use weir_dashboard::{Block, Cell, Field, Form, Href, Kind, Section, Table};
use weir_filter::refusal::Refusal;
use weir_ledger::view::RefusedRow;
use weir_steer::engine::Rules;

use super::asked::Ask;
use super::guard::Staff;
use super::kept::being_read;
use super::levels::{Asked, tables};
use super::words::tenant_link;
use super::{UiError, live, page};
use crate::finance::{Finance, FinanceError};
use crate::server::App;
use crate::server::connections::Slot;
use crate::server::error::ApiError;
use crate::server::read::with_reader;

const DAY_MS: u64 = 24 * 3_600 * 1_000;
pub(super) async fn get_page(
    State(app): State<App>,
    staff: Staff,
    Ask(asked): Ask<Asked>,
) -> Result<Response, UiError> {
    let limits = app.0.leases.view(asked.query()).await?;
    let now = tables(&limits);
    let refused = match asked.query().tenant {
        None => match app.0.ui.kept.refusals.get(&app, "").await? {
            Some(figures) => figures.of.blocks().into_iter().chain([figures.as_of()]).collect(),
            None => vec![being_read("The refused requests of all tenants")],
        },
        Some(tenant) => {
            let since = day_before(app.0.clock.now());
            let rows = with_reader(&app, move |reader| reader.frequent_refusals(Some(&tenant), since)).await?;
            let tenants = app.directory().current();
            if rows.is_empty() && limits.is_empty() && !tenants.ids().is_empty() && !tenants.knows(&asked.tenant) {
                return Err(ApiError::Unknown(format!("there is no tenant {:?}", asked.tenant)).into());
            }
            Refused::of(rows).blocks()
        }
    };
    let followed = Block::Followed(asked.live(), now);
    let search = Form::ask(
        Href::to(&["limits"]),
        vec![
            Field::optional("tenant", "Tenant", Kind::Text(asked.tenant)),
            Field::optional("pool", "Pool", Kind::Text(asked.pool)),
        ],
        "Show",
    );
    let blocks = [Block::Form(search), followed].into_iter().chain(refused).collect();
    Ok(page(&app, &staff, Section::Limits, "Limits", blocks))
}

/// Sends levels and leases as they change.
pub(super) async fn get_live(
    State(app): State<App>,
    Extension(slot): Extension<Slot>,
    headers: HeaderMap,
    _staff: Staff,
    Ask(asked): Ask<Asked>,
) -> Result<Response, UiError> {
    let place = live::place(&app, &headers)?;
    let tables = app.0.ui.live.limits(asked);
    Ok(live::respond(app, &slot, place, tables))
}

/// Refused requests of the last day.
#[derive(Debug)]
pub(super) struct Refused {
    /// By reason.
    reasons: BTreeMap<String, u64>,
    /// By tenant and reason, the most frequent first.
    frequent: Vec<RefusedRow>,
}

/// Reads the refusals of all tenants.
pub(super) fn read(finance: &mut Finance, _: &Rules, _: &str) -> Result<Refused, FinanceError> {
    let since = day_before(finance.now);
    let frequent = finance.reader.frequent_refusals(None, since)?;
    Ok(Refused { reasons: finance.reader.refusals_by_reason(since)?, frequent })
}

/// The hour that was a day before.
fn day_before(now: Timestamp) -> Timestamp {
    Timestamp::from_millis(now.as_millis().saturating_sub(DAY_MS)).hour()
}

impl Refused {
    /// Those of one tenant, which has a row for each reason.
    fn of(frequent: Vec<RefusedRow>) -> Self {
        Refused { reasons: frequent.iter().map(|row| (row.reason.clone(), row.count)).collect(), frequent }
    }

    fn blocks(&self) -> Vec<Block> {
        let mut reasons: Vec<_> = self.reasons.iter().collect();
        reasons.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let rows = reasons.into_iter().map(|(reason, count)| {
            let (status, told) = meaning(reason);
            vec![Cell::Code(reason.clone()), Cell::maybe(status), Cell::maybe(told), (*count).into()]
        });
        let columns = ["Reason", "Status", "What clients are told", "Requests"];
        let empty = "No request was refused in the last day.";
        let by_reason = Table::new("Refused requests of the last day, by reason", &columns, empty).rows(rows);
        let rows = self.frequent.iter().map(|row| {
            let tenant = if row.tenant.is_empty() { Cell::text("(not identified)") } else { tenant_link(&row.tenant) };
            vec![tenant, Cell::Code(row.reason.clone()), row.count.into()]
        });
        let columns = ["Tenant", "Reason", "Requests"];
        let by_tenant = Table::new("The most frequent, by tenant", &columns, "").rows(rows);
        let shown = if self.frequent.is_empty() { vec![by_reason] } else { vec![by_reason, by_tenant] };
        shown.into_iter().map(Block::Table).collect()
    }
}

/// The status of a refusal, and what clients are told. Gateways of a later version may have others.
fn meaning(reason: &str) -> (Option<String>, Option<&'static str>) {
    let known = Refusal::one_of_each_code().into_iter().find(|refusal| refusal.code() == reason);
    let status = known.map(|refusal| match refusal {
        Refusal::Budget(_) => "402, or 429 where the plan says so".to_owned(),
        Refusal::UnknownTenant => "403, or 404 where the configuration says so".to_owned(),
        other => other.status().to_string(),
    });
    (status, known.map(Refusal::message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_status_and_its_words() {
        for refusal in Refusal::one_of_each_code() {
            let (status, told) = meaning(refusal.code());
            let status = status.expect("a status");
            assert!(status.starts_with(&refusal.status().to_string()), "{}: {status}", refusal.code());
            assert!(told.is_some_and(|told| !told.is_empty()), "{}", refusal.code());
        }
        assert_eq!(meaning("rate_limited").0.as_deref(), Some("429"));
        assert_eq!(meaning("of_a_later_version"), (None, None));
    }
}

//! What the end users of a tenant used lately. The ledger keeps no sums by user, whose number nobody bounds: these come from the end of
//! the event log, at most a day and a bounded part of it.
use std::collections::HashMap;

use weir_contract::Timestamp;
use weir_event_log::LogReader;
use weir_ledger::analysis::OTHER;
use weir_money::amount::{Currency, Pico};

use super::{EventCost, EventCostQuery, EventCostsError, PAGE_MAX_BYTES, PIECE_BYTES, Search};
use crate::lookup::LookupError;
use crate::store::DataDir;

/// How far back the log is read at most, in milliseconds.
const SPAN_MS: u64 = 24 * 3_600 * 1_000;
/// The most users that are told apart; further ones are summed as [`OTHER`].
const USERS_MAX: usize = 10_000;

/// What users used.
#[derive(Clone, Debug, Default)]
pub(crate) struct RecentUsers {
    /// When the first event that was looked at was received; None if there is none.
    pub(crate) since: Option<Timestamp>,
    /// The users, the greatest cost first.
    pub(crate) users: Vec<UserSums>,
}

/// What one user used, in one currency.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct UserSums {
    /// The user as events name it: `hmac:` and hex. None: requests of nobody that is known.
    pub(crate) user: Option<String>,
    /// Of the costs; None where nothing has a price.
    pub(crate) currency: Option<Currency>,
    /// Requests that were counted.
    pub(crate) requests: u64,
    /// Those that failed.
    pub(crate) failed: u64,
    /// Every input token.
    pub(crate) input_tokens: u64,
    /// Every output token.
    pub(crate) output_tokens: u64,
    /// What providers charge for what has a price.
    pub(crate) cost: Pico,
}

type Sums = HashMap<(Option<String>, Option<Currency>), UserSums>;

/// Reads what users of a tenant used lately. Reads at most twice [`PAGE_MAX_BYTES`] of the log, uncompressed.
pub(crate) fn recent_users(home: &DataDir, tenant: &str, now: Timestamp) -> Result<RecentUsers, EventCostsError> {
    let query = EventCostQuery { tenant: Some(tenant.to_owned()), ..EventCostQuery::default() };
    let mut log = home.log_place().reader().map_err(LookupError::from)?;
    let mut search = Search::open(home, &query, usize::MAX)?;
    let end = search.ledger.position()?;
    let mut after = beginning(log.as_mut(), end, now)?;
    let (mut recent, mut sums, mut read) = (RecentUsers::default(), Sums::new(), 0);
    while after < end && read < 2 * PAGE_MAX_BYTES {
        let records = log.read_after(after, PIECE_BYTES).map_err(LookupError::from)?;
        let Some(last) = records.last() else { break };
        after = last.position;
        for record in records.iter().filter(|record| record.position <= end) {
            read += record.body.len();
            recent.since.get_or_insert(record.received_at);
            search.record(record)?;
            search.page.events.drain(..).for_each(|event| add(&mut sums, event));
        }
    }
    recent.users = sums.into_values().collect();
    recent.users.sort_by(|one, other| {
        let key = |of: &UserSums| (of.currency, std::cmp::Reverse((of.cost, of.requests)));
        key(one).cmp(&key(other)).then_with(|| one.user.cmp(&other.user))
    });
    Ok(recent)
}

/// The last record before those that are read: a day back, or as many records as the bound has room for if they are as large as the last.
fn beginning(log: &mut dyn LogReader, end: u64, now: Timestamp) -> Result<u64, EventCostsError> {
    let day = Timestamp::from_millis(now.as_millis().saturating_sub(SPAN_MS));
    let day = log.before(day).map_err(LookupError::from)?;
    let last = log.get(end).map_err(LookupError::from)?;
    let bytes = last.map_or(1, |record| record.body.len().max(1));
    Ok(day.max(end.saturating_sub((PAGE_MAX_BYTES / bytes) as u64)))
}

fn add(sums: &mut Sums, event: EventCost) {
    let is_known = sums.contains_key(&(event.user.clone(), event.currency));
    let user = if is_known || sums.len() < USERS_MAX { event.user } else { Some(OTHER.to_owned()) };
    let of = sums.entry((user.clone(), event.currency)).or_default();
    (of.user, of.currency) = (user, event.currency);
    of.requests += 1;
    of.failed += u64::from(event.failed);
    of.input_tokens += event.input_tokens;
    of.output_tokens += event.output_tokens;
    of.cost += event.cost.unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_beyond_the_bound_are_summed_together() {
        let mut sums = Sums::new();
        for number in 0..USERS_MAX + 5 {
            add(&mut sums, EventCost { user: Some(format!("hmac:{number}")), input_tokens: 2, ..EventCost::default() });
        }
        add(&mut sums, EventCost { user: Some("hmac:0".to_owned()), failed: true, ..EventCost::default() });
        let of =
            |user: &str| sums.get(&(Some(user.to_owned()), None)).map(|of| (of.requests, of.failed, of.input_tokens));
        assert_eq!((of("hmac:0"), of(OTHER), sums.len()), (Some((2, 1, 2)), Some((5, 0, 10)), USERS_MAX + 1));
    }
}

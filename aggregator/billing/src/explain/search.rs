//! The state of a search through the event log: the windows it looks for, and the sums it has found.
use std::collections::{BTreeMap, HashMap, HashSet};

use serde::{Deserialize, Serialize};
use weir_contract::{EventId, Timestamp};

use super::ExplainError;
use super::books::Window;
use weir_event_log::Position;
use weir_ledger::meters::weight::NANO;
use weir_ledger::meters::{Measure, Meters};
use weir_ledger::validate;

/// One event, as a customer may see it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventLine {
    /// The window it is counted in.
    pub window: Timestamp,
    /// When the request ended.
    pub time: Timestamp,
    /// The event's id.
    pub id: String,
    /// The tenant.
    pub tenant: String,
    /// Our meter.
    pub meter: String,
    /// The name of what was read, if it is a reading and no event; then what only requests have is empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reading: Option<String>,
    /// The gateway's id of the request.
    pub request_id: String,
    /// The provider's id of the answer.
    pub response_id: Option<String>,
    /// The model that answered, else the one asked for.
    pub model: Option<String>,
    /// What kind of request it was.
    pub class: String,
    /// The route.
    pub route: Option<String>,
    /// The feature.
    pub feature: Option<String>,
    /// Which key or issuer identified the tenant.
    pub credential: Option<String>,
    /// How it ended.
    pub outcome: String,
    /// How well its usage is known.
    pub usage: String,
    /// What it counts for, as an exact decimal.
    pub amount: String,
}

/// What the events of a window add up to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sum {
    pub(super) events: u64,
    /// In billionths.
    pub(super) nano: i128,
    /// Events that count for a fraction.
    pub(super) fractions: u64,
}

/// What the log has.
#[derive(Debug)]
pub(super) struct Found {
    /// A sum for each window.
    pub(super) sums: Vec<Sum>,
    /// When the oldest record that is kept was received.
    pub(super) kept_since: Option<Timestamp>,
    /// Whether records were dropped before it.
    pub(super) pruned: bool,
}

impl Found {
    /// Whether a record that was dropped may have held events of a window that starts at `from`.
    pub(super) fn expired(&self, from: Timestamp) -> bool {
        let earliest = from.as_millis().saturating_sub(validate::AHEAD_MAX_MS);
        self.pruned && self.kept_since.is_none_or(|since| since.as_millis() > earliest)
    }
}

pub(super) type ByTenant<'a> = HashMap<&'a str, Vec<usize>>;

/// The numbers of each tenant's windows.
pub(super) fn by_tenant(windows: &[Window]) -> ByTenant<'_> {
    let mut by_tenant: ByTenant<'_> = HashMap::new();
    for (at, window) in windows.iter().enumerate() {
        by_tenant.entry(&window.tenant).or_default().push(at);
    }
    by_tenant
}

/// A search for the events and readings of some windows.
pub(super) struct Search<'a> {
    pub(super) windows: &'a [Window],
    pub(super) by_tenant: ByTenant<'a>,
    pub(super) meters: &'a Meters,
    pub(super) numbers: HashMap<&'a str, usize>,
    /// Events ahead of the clock: not counted yet.
    pub(super) waiting: HashSet<EventId>,
    /// The same of readings.
    pub(super) waiting_readings: HashSet<String>,
    /// Events and readings that are refused as conflicts.
    pub(super) quarantined: HashSet<(Position, usize)>,
    /// Ids whose day the ledger has forgotten, met in this search.
    pub(super) forgotten: HashSet<EventId>,
    pub(super) forgotten_readings: HashSet<String>,
    pub(super) sums: Vec<Sum>,
    pub(super) take: &'a mut dyn FnMut(EventLine) -> std::io::Result<()>,
}

impl Search<'_> {
    /// Which windows of `tenant` a moment lies in.
    pub(super) fn windows_at(&self, tenant: &str, time: Timestamp) -> Vec<usize> {
        let inside = |at: &usize| self.windows[*at].from <= time && time < self.windows[*at].to;
        self.by_tenant.get(tenant).map_or(Vec::new(), |windows| windows.iter().copied().filter(inside).collect())
    }

    /// Adds what the window's meter has of `measures`, and hands on what `line` makes of it.
    pub(super) fn count(
        &mut self,
        at: usize,
        measures: &BTreeMap<usize, Measure>,
        line: impl FnOnce(&Window, i128) -> EventLine,
    ) -> Result<(), ExplainError> {
        let window = &self.windows[at];
        let Some(number) = self.numbers.get(window.meter.as_str()) else { return Ok(()) };
        let Some(measure) = measures.get(number).filter(|measure| measure.excluded.is_none()) else { return Ok(()) };
        let nano = i128::from(measure.amount) * i128::from(NANO) + i128::from(measure.nano);
        if nano == 0 {
            return Ok(());
        }
        let sum = &mut self.sums[at];
        sum.events += 1;
        sum.nano += nano;
        sum.fractions += u64::from(measure.nano > 0);
        Ok((self.take)(line(window, nano))?)
    }
}

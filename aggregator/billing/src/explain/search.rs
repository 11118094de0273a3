//! The state of a search through the event log: the windows it looks for, and the sums it has found.
use std::collections::{BTreeMap, HashMap, HashSet};

use serde::{Deserialize, Serialize};
use weir_contract::Timestamp;

use super::ExplainError;
use super::books::Window;
use weir_ledger::counted::Counted;
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
    /// Weir's name of the meter.
    pub meter: String,
    /// The name of a reading; none for an event. A reading leaves the fields that only requests have empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reading: Option<String>,
    /// The gateway's id of the request.
    pub request_id: String,
    /// The provider's id of the answer.
    pub response_id: Option<String>,
    /// The trace that the request belongs to, by its `traceparent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// The model that answered, else the one asked for.
    pub model: Option<String>,
    /// The class of the request.
    pub class: String,
    /// The route.
    pub route: Option<String>,
    /// The feature.
    pub feature: Option<String>,
    /// The key or issuer that identified the tenant.
    pub credential: Option<String>,
    /// The outcome of the request.
    pub outcome: String,
    /// The status of its usage: `complete`, `estimated` and so on.
    pub usage: String,
    /// The amount that it counts for, as an exact decimal.
    pub amount: String,
}

/// The sum of a window's events.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sum {
    pub(super) events: u64,
    /// The sum in billionths.
    pub(super) nano: i128,
    /// The number of events with a fractional amount.
    pub(super) fractions: u64,
}

/// The events found in the log.
#[derive(Debug)]
pub(super) struct Found {
    /// A sum for each window.
    pub(super) sums: Vec<Sum>,
    /// When the oldest record still in the log was received.
    pub(super) kept_since: Option<Timestamp>,
    /// True if older records were pruned.
    pub(super) pruned: bool,
}

impl Found {
    /// Returns true if a pruned record may have held events of the window that starts at `from`.
    pub(super) fn expired(&self, from: Timestamp) -> bool {
        let earliest = from.as_millis().saturating_sub(validate::AHEAD_MAX_MS);
        self.pruned && self.kept_since.is_none_or(|since| since.as_millis() > earliest)
    }
}

pub(super) type ByTenant<'a> = HashMap<&'a str, Vec<usize>>;

/// Indexes into `windows`, by tenant.
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
    pub(super) counted: Counted,
    /// Readings that wait because they are ahead of the clock, and are not counted yet.
    pub(super) waiting_readings: HashSet<String>,
    /// Ids of readings that the ledger has forgotten, seen earlier in this search. Finds repeats that the ledger can no longer tell.
    pub(super) forgotten_readings: HashSet<String>,
    pub(super) sums: Vec<Sum>,
    pub(super) take: &'a mut dyn FnMut(EventLine) -> std::io::Result<()>,
}

impl Search<'_> {
    /// Indexes of the windows of `tenant` that contain `time`.
    pub(super) fn windows_at(&self, tenant: &str, time: Timestamp) -> Vec<usize> {
        let inside = |at: &usize| self.windows[*at].from <= time && time < self.windows[*at].to;
        self.by_tenant.get(tenant).map_or(Vec::new(), |windows| windows.iter().copied().filter(inside).collect())
    }

    /// Adds the amount for the window's meter out of `measures`, and passes on the line that `line` builds.
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

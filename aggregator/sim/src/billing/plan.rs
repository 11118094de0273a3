//! The choices of a seed: when billing periods begin, when customers change, and manual corrections.
use std::collections::BTreeMap;

use fastrand::Rng;

pub(super) const HOUR_MS: u64 = 3_600_000;
pub(super) const DAY_MS: u64 = 24 * HOUR_MS;
/// The tenants that the gateways serve.
pub(super) const TENANTS: [&str; 3] = ["acme", "globex", "initech"];
/// 2026-12-01T00:00:00Z and 2027-01-01T00:00:00Z: the boundaries of calendar months near the simulated week.
const MONTHS_MS: [u64; 2] = [1_796_083_200_000, 1_798_761_600_000];

/// A change of a tenant's customer.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) customer: Option<String>,
    /// Set if the time of recording lies between two moments: the outcome of a first attempt is unknown.
    pub(super) tried_ms: Option<u64>,
    pub(super) noted_ms: Option<u64>,
}

/// A correction by hand.
#[derive(Clone, Debug)]
pub(super) struct Adjustment {
    pub(super) tenant: String,
    pub(super) meter: String,
    pub(super) at_ms: u64,
    pub(super) value: i64,
    pub(super) why: String,
    pub(super) acknowledged: bool,
    /// True if it was made after the backup that was restored.
    pub(super) lost: bool,
}

/// The time between backup and restore, in which the provider received rows unknown to the ledger.
#[derive(Clone, Copy, Debug)]
pub(super) struct Restored {
    pub(super) from_ms: u64,
    pub(super) to_ms: u64,
}

pub(super) struct Plan {
    /// Seconds into the day at which a tenant's daily billing periods begin. Other tenants have calendar months.
    pub(super) anchors: BTreeMap<&'static str, u64>,
    pub(super) changes: BTreeMap<&'static str, Vec<Change>>,
    pub(super) adjustments: Vec<Adjustment>,
    pub(super) holds_late: bool,
    pub(super) invoice_delay_ms: u64,
    pub(super) restored: Option<Restored>,
    /// Acknowledged items that were lost for good with their machine.
    pub(super) lost_items: Vec<usize>,
}

impl Plan {
    pub(super) fn new(rng: &mut Rng) -> Self {
        let mut anchors = BTreeMap::new();
        anchors.insert("acme", rng.u64(..86_400));
        if rng.bool() {
            anchors.insert("globex", rng.u64(..24) * 3_600);
        }
        let mut plan = Plan {
            anchors,
            changes: BTreeMap::new(),
            adjustments: Vec::new(),
            holds_late: rng.bool(),
            invoice_delay_ms: rng.u64(1..4) * HOUR_MS,
            restored: None,
            lost_items: Vec::new(),
        };
        for tenant in TENANTS {
            // Initech starts without a customer.
            let customer = (tenant != "initech").then(|| format!("cus_{tenant}_0"));
            plan.changes.insert(tenant, vec![Change { customer, tried_ms: None, noted_ms: None }]);
        }
        plan
    }

    /// Meters and their names at Stripe.
    pub(super) fn event_names(&self) -> BTreeMap<String, String> {
        let names = [("requests", "weir_requests"), ("input_tokens", "weir_input_tokens")];
        names.map(|(meter, name)| (meter.to_owned(), name.to_owned())).into()
    }

    /// The split of the hour that contains `time_ms`, if any.
    fn cut(&self, tenant: &str, time_ms: u64) -> Option<u64> {
        let cut = time_ms / DAY_MS * DAY_MS + self.anchors.get(tenant)? * 1_000;
        (cut / HOUR_MS == time_ms / HOUR_MS && !cut.is_multiple_of(HOUR_MS)).then_some(cut)
    }

    /// The start of the window that contains `time_ms`.
    pub(super) fn window(&self, tenant: &str, time_ms: u64) -> u64 {
        let hour = time_ms / HOUR_MS * HOUR_MS;
        self.cut(tenant, time_ms).filter(|cut| time_ms >= *cut).unwrap_or(hour)
    }

    /// The end of the window that starts at `window_ms`.
    pub(super) fn window_end(&self, tenant: &str, window_ms: u64) -> u64 {
        let end = window_ms / HOUR_MS * HOUR_MS + HOUR_MS;
        self.cut(tenant, window_ms).filter(|cut| *cut > window_ms).unwrap_or(end)
    }

    /// The end of the billing period that contains `time_ms`.
    pub(super) fn period_end(&self, tenant: &str, time_ms: u64) -> u64 {
        match self.anchors.get(tenant) {
            Some(seconds) => (time_ms - seconds * 1_000) / DAY_MS * DAY_MS + DAY_MS + seconds * 1_000,
            None => MONTHS_MS.into_iter().find(|end| time_ms < *end).unwrap_or(u64::MAX / 2),
        }
    }

    /// The customers that a window may be billed to: more than one only around a change whose time is not known
    /// exactly.
    pub(super) fn customers_of(&self, tenant: &str, window_ms: u64) -> Vec<Option<String>> {
        let Some(changes) = self.changes.get(tenant) else { return vec![None] };
        let by = |moment: fn(&Change) -> Option<u64>| {
            let mut found: Option<String> = None;
            // A tenant without a customer is not recorded at all, so its first customer receives all windows.
            let first = changes.iter().position(|change| change.customer.is_some()).unwrap_or(0);
            for (at, change) in changes.iter().enumerate().skip(first) {
                let from_ms = if at == first { Some(0) } else { moment(change) };
                let Some(from_ms) = from_ms else { continue };
                if from_ms <= window_ms || found.is_none() {
                    found.clone_from(&change.customer);
                } else {
                    break;
                }
            }
            found
        };
        vec![by(|change| change.tried_ms), by(|change| change.noted_ms)]
    }
}

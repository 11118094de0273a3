//! One lease: what one gateway may spend of a limit.
use serde::{Deserialize, Serialize};
use weir_contract::lease::Report;
use weir_fault::{Point, hit};

/// What the center knows about a lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Lease {
    pub(super) gateway: String,
    pub(super) number: u64,
    pub(super) tier: usize,
    /// The total that it was ever granted.
    pub(super) granted: u64,
    /// The total that its gateway reported as drawn.
    pub(super) spent: u64,
    /// The total that its gateway gave back, as it said after it had applied an answer since `began_ms`. Reports that
    /// are older may be of a lease that was forgotten or lost, whose returns are credited already.
    pub(super) returned: Option<u64>,
    /// When this memory of the lease began.
    pub(super) began_ms: u64,
    /// When the center forgets it.
    pub(super) expires_ms: u64,
    /// The largest reservation that its gateway reported.
    pub(super) largest: u64,
    /// Whether its gateway wants units: only such leases divide the limit.
    pub(super) wants: bool,
    /// Whether the limit is divided among this lease and others; false: it asks for each request.
    pub(super) holds: bool,
}

impl Lease {
    /// A lease that its gateway reports for the first time.
    pub(super) fn new(gateway: &str, report: &Report, tier: usize, now: u64) -> Self {
        Lease {
            gateway: gateway.to_owned(),
            number: report.lease,
            tier,
            granted: 0,
            spent: report.spent,
            returned: None,
            began_ms: now,
            expires_ms: 0,
            largest: report.largest,
            wants: report.want > 0,
            holds: false,
        }
    }

    /// Its gateway may spend it until then: never less long than an earlier answer said, also where the length changed.
    pub(super) fn lasts_until(&mut self, expires_ms: u64) {
        self.expires_ms = self.expires_ms.max(expires_ms);
    }

    /// Units that the gateway may still spend.
    pub(super) fn belief(&self) -> u64 {
        self.granted.saturating_sub(self.spent)
    }

    /// Takes a report into account. Returns the units that it newly gives back.
    pub(super) fn hear(&mut self, report: &Report) -> u64 {
        self.spent = self.spent.max(report.spent);
        if hit(Point::StaleReportBelieved) {
            self.spent = report.spent;
        }
        if hit(Point::BeliefLoweredUnreported) && report.want > 0 {
            self.spent = self.spent.max(self.granted);
        }
        let given_back = self.given_back(report);
        self.largest = report.largest;
        self.wants = report.want > 0;
        given_back
    }

    /// The units that a report newly gives back. The first report after an answer only says where to count from.
    fn given_back(&mut self, report: &Report) -> u64 {
        if hit(Point::ReturnedTwice) {
            return report.returned;
        }
        if report.heard_ms < self.began_ms && !hit(Point::OldReturnCredited) {
            return 0;
        }
        let before = self.returned.unwrap_or(report.returned);
        self.returned = Some(before.max(report.returned));
        report.returned.saturating_sub(before)
    }

    /// The units missing until the gateway holds `units`, its debt included.
    pub(super) fn missing(&self, units: u64) -> u64 {
        self.spent.saturating_add(units).saturating_sub(self.granted)
    }
}

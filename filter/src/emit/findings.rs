//! Gathers findings about the borders between tenants by tenant and minute. One event per attempt would let a flood of attempts
//! flood the aggregator.
use std::collections::BTreeMap;

use weir_contract::event::security::{FINDINGS_MAX, NAME_MAX_BYTES, OTHER_OPERATIONS, OWNERS_MAX, SAMPLES_MAX};
use weir_contract::{SecurityData, SecurityFinding, SecurityKind, SecuritySample, TenantId, Timestamp};

use super::refusals::minute;

/// The most tenants whose findings one minute names; those of further ones are gathered together, without a name.
pub const TENANTS_MAX: usize = 1_000;

/// What was found about one request.
#[derive(Clone, Debug)]
pub struct Finding<'a> {
    /// What was found.
    pub kind: SecurityKind,
    /// The operation, by weir's name of it: no path, and nothing that a client chooses.
    pub operation: &'a str,
    /// The configured route.
    pub route: Option<&'a str>,
    /// How many records or ids; 1 for a request.
    pub count: u64,
    /// Whose they were, where that is known.
    pub owners: &'a [String],
    /// The gateway's id of the request.
    pub request_id: &'a str,
}

/// The current minute, and the counts since the start.
#[derive(Debug, Default)]
pub struct Findings {
    start: Timestamp,
    tenants: BTreeMap<Option<TenantId>, Vec<SecurityFinding>>,
    totals: [u64; SecurityKind::ALL.len()],
}

/// One tenant's findings of a minute that is over.
#[derive(Debug, PartialEq, Eq)]
pub struct FoundMinute {
    /// Its start.
    pub start: Timestamp,
    /// The tenant; None if no credential proved one.
    pub tenant: Option<TenantId>,
    /// What was found.
    pub data: SecurityData,
}

impl Findings {
    /// Counts a finding, whether or not anybody is told.
    pub fn count(&mut self, finding: &Finding<'_>) {
        if let Some(total) = self.totals.get_mut(finding.kind as usize) {
            *total = total.saturating_add(finding.count);
        }
    }

    /// Gathers a finding.
    pub fn add(&mut self, tenant: Option<&TenantId>, finding: &Finding<'_>, now: Timestamp) {
        if self.tenants.is_empty() {
            self.start = minute(now);
        }
        let mut tenant = tenant.cloned();
        if self.tenants.len() >= TENANTS_MAX && !self.tenants.contains_key(&tenant) {
            tenant = None;
        }
        note(self.tenants.entry(tenant).or_default(), finding, now);
    }

    /// How much of each kind was found since the start, in the order of [`SecurityKind::ALL`].
    pub fn totals(&self) -> [u64; SecurityKind::ALL.len()] {
        self.totals
    }

    /// The minute's findings once it is over.
    pub fn close(&mut self, now: Timestamp) -> Vec<FoundMinute> {
        if minute(now) == self.start { Vec::new() } else { self.take() }
    }

    /// The findings so far, even if the minute is not over.
    pub fn take(&mut self) -> Vec<FoundMinute> {
        let start = self.start;
        let tenants = std::mem::take(&mut self.tenants).into_iter();
        tenants.map(|(tenant, findings)| FoundMinute { start, tenant, data: SecurityData { findings } }).collect()
    }
}

/// Adds to the finding of the same kind and operation, or begins one.
fn note(findings: &mut Vec<SecurityFinding>, finding: &Finding<'_>, now: Timestamp) {
    let is_same = |known: &SecurityFinding, operation: &str| known.kind == finding.kind && known.operation == operation;
    let operation = cut(finding.operation);
    let is_full = findings.len() >= FINDINGS_MAX.saturating_sub(SecurityKind::ALL.len());
    let operation = match findings.iter().any(|known| is_same(known, &operation)) {
        false if is_full => OTHER_OPERATIONS.to_owned(),
        _ => operation,
    };
    if !findings.iter().any(|known| is_same(known, &operation)) {
        findings.push(SecurityFinding {
            kind: finding.kind,
            severity: finding.kind.severity(),
            operation: operation.clone(),
            route: finding.route.map(cut),
            count: 0,
            owners: Vec::new(),
            samples: Vec::new(),
        });
    }
    let Some(known) = findings.iter_mut().find(|known| is_same(known, &operation)) else { return };
    known.count = known.count.saturating_add(finding.count);
    for owner in finding.owners {
        let owner = cut(owner);
        if known.owners.len() < OWNERS_MAX && !known.owners.contains(&owner) {
            known.owners.push(owner);
        }
    }
    if known.samples.len() < SAMPLES_MAX {
        known.samples.push(SecuritySample { at: now, request_id: cut(finding.request_id) });
    }
}

/// A name within the bound, cut between characters.
pub(crate) fn cut(name: &str) -> String {
    let end = (0..=NAME_MAX_BYTES.min(name.len())).rev().find(|end| name.is_char_boundary(*end)).unwrap_or(0);
    name.get(..end).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_030);

    fn acme() -> TenantId {
        TenantId::new("acme").expect("an id")
    }

    fn finding<'a>(operation: &'a str, owners: &'a [String]) -> Finding<'a> {
        let kind = SecurityKind::ForeignRecord;
        Finding { kind, operation, route: Some("vectors"), count: 2, owners, request_id: "r-1" }
    }

    #[test]
    fn findings_of_a_minute_add_up_with_samples_and_owners() {
        let mut findings = Findings::default();
        for owner in ["globex", "initech", "globex"] {
            findings.add(Some(&acme()), &finding("points.search", &[owner.to_owned()]), NOW);
        }
        findings.add(Some(&acme()), &finding("points.search", &[]), NOW);
        assert_eq!(findings.close(NOW), []);
        let closed = findings.close(NOW.plus_millis(60_000));
        let [minute] = &closed[..] else { panic!("{closed:?}") };
        assert_eq!((minute.start, minute.tenant.as_ref()), (Timestamp::from_secs(1_800_000_000), Some(&acme())));
        let [found] = &minute.data.findings[..] else { panic!("{minute:?}") };
        assert_eq!((found.count, found.samples.len()), (8, SAMPLES_MAX));
        assert_eq!(found.owners, ["globex", "initech"]);
        findings.count(&finding("points.search", &[]));
        assert_eq!(findings.totals()[SecurityKind::ForeignRecord as usize], 2);
        assert_eq!(findings.close(NOW.plus_millis(120_000)), []);
    }

    #[test]
    fn a_flood_of_operations_and_tenants_stays_within_its_bounds() {
        let mut findings = Findings::default();
        for number in 0..200 {
            findings.add(Some(&acme()), &finding(&format!("op{number}"), &[]), NOW);
        }
        for number in 0..2 * TENANTS_MAX {
            let tenant = TenantId::new(&format!("t{number}")).expect("an id");
            findings.add(Some(&tenant), &finding("x", &[]), NOW);
        }
        let closed = findings.take();
        assert!(closed.len() <= TENANTS_MAX + 1, "{}", closed.len());
        assert!(closed.iter().all(|minute| minute.data.findings.len() <= FINDINGS_MAX));
        let total: u64 = closed.iter().flat_map(|minute| &minute.data.findings).map(|found| found.count).sum();
        assert_eq!(total, 2 * (200 + 2 * TENANTS_MAX as u64), "nothing is lost");
    }

    #[test]
    fn names_are_cut_between_characters() {
        assert_eq!(cut(&"ü".repeat(100)), "ü".repeat(64));
        assert_eq!(cut("points.search"), "points.search");
    }
}

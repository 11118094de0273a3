//! Checks events about the borders between tenants against the bounds that the filter keeps to.
use weir_contract::event::security::{FINDINGS_MAX, NAME_MAX_BYTES, OWNERS_MAX, SAMPLES_MAX};
use weir_contract::{SearchData, SecurityData, SecurityFinding};

use super::{Rejection, VALUE_MAX};

pub(super) fn check_findings(data: &SecurityData) -> Result<(), Rejection> {
    let fits = data.findings.len() <= FINDINGS_MAX && data.findings.iter().all(finding_fits);
    if fits { Ok(()) } else { Err(Rejection::Value { field: "findings" }) }
}

fn finding_fits(finding: &SecurityFinding) -> bool {
    let names = finding.owners.iter().chain(&finding.route).chain([&finding.operation]);
    let mut names = names.chain(finding.samples.iter().map(|sample| &sample.request_id));
    let lists_fit = finding.owners.len() <= OWNERS_MAX && finding.samples.len() <= SAMPLES_MAX;
    lists_fit && finding.count <= VALUE_MAX && names.all(|name| name.len() <= NAME_MAX_BYTES)
}

pub(super) fn check_search(data: &SearchData) -> Result<(), Rejection> {
    let names = [&data.request_id, &data.store, &data.collection, &data.operation];
    let mut counts = data.removed.values().chain([&data.results]);
    // One more than named owners: what is beyond them is counted together.
    let fits = data.removed.len() <= OWNERS_MAX + 1
        && names.into_iter().chain(data.removed.keys()).all(|name| name.len() <= NAME_MAX_BYTES)
        && counts.all(|count| *count <= VALUE_MAX);
    if fits { Ok(()) } else { Err(Rejection::Value { field: "results" }) }
}

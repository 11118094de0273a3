//! One configuration means the same on both gateways: what each decides, sends on, answers and reports, side by side.
//!
//! [`DIFFERENCES`] names every place where the gateways must differ. A difference that is not named fails, and so does a
//! name without a difference.
mod same {
    pub(crate) mod cases;
    pub(crate) mod record;
}

use std::collections::{BTreeMap, BTreeSet};

use same::{cases, record};
use weir_host_tests::scenario::Gateway;

/// Where gateways must differ: the end of the path in a record, and why.
const DIFFERENCES: &[(&str, &str)] = &[
    ("upstream.authorization", "Kong cannot remove a header: the tenant's credential arrives empty"),
    ("upstream.x-api-key", "as authorization"),
    ("upstream.x-tenant-user", "Kong cannot remove a header: what a client made up arrives empty"),
    ("client body", "Kong hangs on a chunk that is replaced by nothing: an empty comment takes its place"),
    ("event.outcome", "Kong does not say how a stream broke off"),
];

#[test]
fn both_gateways_decide_answer_and_report_alike() {
    let config = cases::config();
    let [envoy, kong] = [Gateway::envoy(), Gateway::kong()]
        .map(|builder| record::all(&builder.config_in_yaml(&config).workers(1).start(), cases::all()));
    assert_eq!(envoy.len(), kong.len());
    let (mut unnamed, mut met) = (Vec::new(), BTreeSet::new());
    for ((name, envoy), (_, kong)) in envoy.iter().zip(&kong) {
        for path in envoy.keys().chain(kong.keys()).collect::<BTreeSet<_>>() {
            if envoy.get(path) == kong.get(path) {
                continue;
            }
            match DIFFERENCES.iter().find(|(named, _)| path == named) {
                Some((named, _)) => _ = met.insert(*named),
                None => unnamed.push(format!(
                    "{name}: {path}: {:?} in Envoy, {:?} in Kong",
                    envoy.get(path),
                    kong.get(path)
                )),
            }
        }
    }
    assert!(unnamed.is_empty(), "{}", unnamed.join("\n"));
    let idle: Vec<_> = DIFFERENCES.iter().filter(|(named, _)| !met.contains(named)).collect();
    assert!(idle.is_empty(), "no case shows these differences any more: {idle:?}");
}

/// The cases are worth the name: all outcomes, several tenants and classes.
#[test]
fn the_cases_cover_admissions_refusals_and_streams() {
    let records = record::all(&Gateway::envoy().config_in_yaml(&cases::config()).start(), cases::all());
    let values = |path: &str| -> BTreeSet<String> {
        let found = records.iter().filter_map(|(_, record): &(&str, BTreeMap<String, String>)| record.get(path));
        found.cloned().collect()
    };
    let statuses = values("client.:status");
    for status in ["200", "400", "401", "403", "413", "429", "503"] {
        assert!(statuses.contains(status), "no case ends with {status}: {statuses:?}");
    }
    assert!(values("event.class").len() >= 5, "{:?}", values("event.class"));
    assert!(values("event subject").len() >= 3, "{:?}", values("event subject"));
    assert!(values("event.usage.status").len() == 3, "{:?}", values("event.usage.status"));
}

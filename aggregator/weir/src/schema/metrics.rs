//! The page of all metrics.
use std::collections::BTreeSet;
use std::fmt::Write as _;

use weir_contract::SecurityKind;
use weir_filter::refusal::{Refusal, Unread};

use crate::metrics::{Described, described};

const INTRODUCTION: &str = "\
# Metrics

Every metric of weir, with its labels and its meaning. This page is generated from the code: `make docs` writes it, and tests compare it with what
`weir serve` answers and with what `weir.wasm` defines.

Ready for use: [alert rules](../examples/prometheus/weir-alerts.yaml) for Prometheus, and [dashboards](../examples/grafana) for Grafana.
No metric names a tenant or anything else that a client chooses: their number is bounded. Sums by tenant are
answered by [`weir usage`](aggregator.md), [`weir margin`](money.md) and [`weir budgets`](budgets.md).
";

const SERVER: &str = "\
## The server

`GET /metrics` of `weir serve` answers in OpenMetrics where the client accepts it, else in Prometheus's plain text. A label whose values are not listed
is a name from your configuration.
";

const GATEWAY: &str = "\
## Gateways

The filter defines these in Envoy or Kong. Envoy calls them `wasmcustom.weir_…`; the `stats_tags` in each shipped file turn the last two parts of a name into a
label, so that Prometheus sees `weir_requests{result=\"admitted\"}`. Without them, and on Kong, the whole name is one metric:
`weir_requests.result.admitted`. Counters are of one gateway, and begin anew with it.
";

/// A metric of the gateway.
struct OfGateway {
    name: &'static str,
    kind: &'static str,
    /// The label and its values.
    label: Option<(&'static str, Vec<&'static str>)>,
    help: &'static str,
}

/// What a gateway counts, without a label.
const COUNTERS: [(&str, &str); 11] = [
    ("weir_answers_stopped", "Answers ended because the gateway did not show or change them as the filter needs"),
    ("weir_attempts", "Attempts at providers, where models are chosen"),
    ("weir_attempts_failed", "Attempts that failed, so that the next provider was tried or the client got the failure"),
    ("weir_attempts_own_limited", "Attempts that ran into the limit of a tenant's own account at a provider"),
    ("weir_breakers_closed", "Breakers of providers that closed"),
    ("weir_breakers_opened", "Breakers of providers that opened"),
    ("weir_events_unspooled", "Events that could not be left for the access log"),
    ("weir_internal_faults", "Requests refused because of a fault in the filter or the gateway"),
    ("weir_retries_refused", "Attempts beyond the first that were not made, since the budget of retries was used up"),
    ("weir_tokens_overshot", "Tokens used beyond what was reserved of a limit"),
    ("weir_usage_undeclared", "Answers of providers on routes without `usage`, so that nobody reads what they used"),
];

/// What a gateway shows.
const GAUGES: [(&str, &str); 5] = [
    ("weir_directory_age_seconds", "Time since the tenants were last confirmed"),
    ("weir_directory_tenants", "Tenants that the gateway knows"),
    ("weir_events_pending", "Events that wait to be sent"),
    ("weir_identifiers_left_out", "Identifiers of tenants that answers are not searched for, since there are too many"),
    ("weir_leases", "Leases that the gateway's workers see to"),
];

/// What a gateway counts by one label with fixed values.
const LABELLED: [(&str, &str, &[&str], &str); 15] = [
    (
        "weir_answers_held",
        "result",
        &["same", "changed", "replaced", "refused"],
        "Whole answers that were held, by what became of them",
    ),
    ("weir_catalogues", "result", &["taken", "refused"], "Catalogues of models that the directory brought"),
    ("weir_changes", "what", &["model", "output", "answers", "usage"], "Requests that a plan changed, by what of them"),
    (
        "weir_directory",
        "result",
        &["confirmed", "staged", "replaced", "changed", "unfit", "failed", "refused"],
        "Calls for tenants, by what they brought",
    ),
    (
        "weir_events",
        "state",
        &["numbered", "acknowledged", "refused", "spilled", "lost", "retried"],
        "Events of usage, by what became of them",
    ),
    ("weir_jwks", "result", &["same", "changed", "failed"], "Calls for an issuer's keys, by what they brought"),
    ("weir_lease_calls", "result", &["answered", "failed"], "Calls that renew leases"),
    (
        "weir_lease_draws",
        "result",
        &["passed", "short", "unanswered"],
        "Requests that asked `weir serve`, since the lease was short",
    ),
    (
        "weir_lease_troubles",
        "result",
        &["late", "refused", "unseen"],
        "Leases that ended in use, that `weir serve` had no place for, and that no worker sees to",
    ),
    ("weir_lease_units", "result", &["granted", "lapsed"], "Units of leases that were granted, and that ended unspent"),
    (
        "weir_lease_without_server",
        "result",
        &["share", "open"],
        "Requests admitted without `weir serve`: from the gateway's share, or from nothing",
    ),
    (
        "weir_limit_faults",
        "fault",
        &["store", "contended", "aliased"],
        "Requests that passed because a limit could not be asked",
    ),
    ("weir_limited", "unit", &["requests", "tokens", "cost"], "Requests refused for a limit, by its unit"),
    (
        "weir_sources",
        "state",
        &["dead_announced", "unlisted"],
        "Workers that died and were announced, and that found no slot in the registry",
    ),
    ("weir_source", "slot", &[], "The registry of workers, which outlives a reload; only while a slot is in use"),
];

fn of_gateway() -> Vec<OfGateway> {
    let mut all: Vec<OfGateway> = COUNTERS
        .iter()
        .map(|(name, help)| OfGateway { name, kind: "counter", label: None, help })
        .chain(GAUGES.iter().map(|(name, help)| OfGateway { name, kind: "gauge", label: None, help }))
        .chain(LABELLED.iter().map(|(name, label, values, help)| OfGateway {
            name,
            kind: if values.is_empty() { "gauge" } else { "counter" },
            label: Some((label, values.to_vec())),
            help,
        }))
        .collect();
    let results = ["admitted", "bypassed", "preflight", "observed"];
    let counter = |name, label, values, help| OfGateway { name, kind: "counter", label: Some((label, values)), help };
    all.push(counter(
        "weir_requests",
        "result",
        results.into_iter().chain(Refusal::one_of_each_code().map(Refusal::code)).collect(),
        "Requests by what was decided; every refusal by its [code](refusals.md)",
    ));
    all.push(counter(
        "weir_bodies_unseen",
        "why",
        Unread::ALL.map(Unread::code).to_vec(),
        "Requests admitted without a look at their body, by why",
    ));
    all.push(counter(
        "weir_security",
        "kind",
        SecurityKind::ALL.map(SecurityKind::as_str).to_vec(),
        "What concerned the borders between tenants: records taken out of answers, refused attempts",
    ));
    all.push(counter(
        "weir_observed",
        "would",
        observable(),
        "Requests of plans that only observe, by how they would have been refused",
    ));
    all.sort_unstable_by_key(|one| one.name);
    all
}

/// The codes of refusals that a plan which only observes can count.
fn observable() -> Vec<&'static str> {
    BTreeSet::from(Refusal::of_plans().map(Refusal::code)).into_iter().collect()
}

/// The page, in Markdown.
pub(super) fn page() -> Result<String, std::fmt::Error> {
    let mut out = String::from(INTRODUCTION);
    write!(out, "\n{SERVER}\n| metric | type | labels | meaning |\n|---|---|---|---|\n")?;
    let mut all = described()?;
    all.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    for Described { name, kind, help, labels } in all {
        let labels: Vec<String> = labels
            .iter()
            .map(|(label, values)| labelled(label, &values.iter().map(String::as_str).collect::<Vec<_>>()))
            .collect();
        writeln!(out, "| `{name}` | {kind} | {} | {help} |", labels.join("; "))?;
    }
    write!(out, "\n{GATEWAY}\n| metric | type | label | meaning |\n|---|---|---|---|\n")?;
    for OfGateway { name, kind, label, help } in of_gateway() {
        let label = label.map(|(label, values)| labelled(label, &values)).unwrap_or_default();
        writeln!(out, "| `{name}` | {kind} | {label} | {help} |")?;
    }
    Ok(out)
}

fn labelled(label: &str, values: &[&str]) -> String {
    let values: Vec<String> = values.iter().map(|value| format!("`{value}`")).collect();
    match values.is_empty() {
        true => label.to_owned(),
        false => format!("{label}: {}", values.join(", ")),
    }
}

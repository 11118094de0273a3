//! Checks what the gateway is told about the filter: what happens after a fault, whether it runs at all, and whether the gateway
//! can hold a request for it.
use std::collections::BTreeSet;

use serde_json::Value;

use super::Finding;
use super::embedded::{Embedded, Found, Host, join, walk};

const FAIL_OPEN: &str = "after a fault of the filter every request would pass: unidentified, unlimited and not billed";
const NO_HOLD: &str = "this gateway cannot hold a request while weir reads its body: requests with a body would hang. Set hold: false in \
                       weir's configuration (rules that need a body are refused then), or use";

/// All problems of the filters `found` in a document.
pub(super) fn findings(document: &Value, found: &[Found<'_>]) -> Vec<Finding> {
    let mut findings: Vec<Finding> = found.iter().flat_map(|filter| of_filter(document, filter)).collect();
    findings.extend(orders(document, found));
    findings.extend(nested_chains(document));
    findings.extend(without_weir(document, found));
    findings
}

fn of_filter(document: &Value, filter: &Found<'_>) -> Vec<Finding> {
    match filter.host {
        Host::Envoy => of_envoy(document, filter),
        Host::Istio => of_istio(filter),
        Host::EnvoyGateway => of_envoy_gateway(filter),
        Host::Kong => of_kong(document, filter),
    }
}

fn of_envoy(document: &Value, filter: &Found<'_>) -> Vec<Finding> {
    let (plugin, at) = (filter.holder, filter.holder_path.as_str());
    let mut findings = Vec::new();
    if at.contains("typed_per_filter_config") {
        let problem = "Envoy refuses a Wasm filter's configuration here; a route can only disable the filter, or name weir's route";
        findings.push(Finding::error(at, problem));
    }
    let policy = plugin.get("failure_policy");
    let is_open = policy.is_some_and(|policy| policy == "FAIL_OPEN" || policy == 3);
    if is_open {
        findings.push(Finding::error(join(at, "failure_policy"), format!("{FAIL_OPEN}; write FAIL_RELOAD")));
    }
    if plugin.get("fail_open") == Some(&Value::Bool(true)) {
        findings.push(Finding::error(
            join(at, "fail_open"),
            format!("{FAIL_OPEN}; write failure_policy: FAIL_RELOAD instead"),
        ));
    }
    if policy.is_none_or(|policy| policy == "UNSPECIFIED" || policy == 0) {
        let problem = "after a fault of the filter Envoy answers 503 until it is restarted; failure_policy: FAIL_RELOAD makes a new one \
                       within a second or so. FAIL_CLOSED says that you want the former";
        findings.push(Finding::warning(join(at, "failure_policy"), problem));
    }
    if holds(filter) && plugin.get("allow_on_headers_stop_iteration") != Some(&Value::Bool(true)) {
        let problem = "requests with a body would hang: set it to true, which lets weir read the body before the head goes upstream, or \
                       set hold: false in weir's configuration";
        findings.push(Finding::error(join(at, "allow_on_headers_stop_iteration"), problem));
    }
    let is_v8 = plugin["vm_config"]["runtime"].as_str().is_none_or(|runtime| runtime.ends_with(".v8"));
    if !is_v8 {
        findings
            .push(Finding::warning(join(at, "vm_config.runtime"), "weir is tested with envoy.wasm.runtime.v8 only"));
    }
    findings.extend(switched_off(document, at));
    findings
}

/// Finds an HTTP filter that is off, or that Envoy may leave out.
fn switched_off(document: &Value, plugin_path: &str) -> Vec<Finding> {
    let Some(filter_path) = plugin_path.strip_suffix(".typed_config.config") else { return Vec::new() };
    let Some(filter) = lookup(document, filter_path) else { return Vec::new() };
    let mut findings = Vec::new();
    if filter.get("disabled") == Some(&Value::Bool(true)) {
        let name = filter.get("name").and_then(Value::as_str).unwrap_or_default();
        let problem = "the filter is off";
        findings.push(if is_turned_on_somewhere(document, name) {
            let rest = "wherever no route turns it on: those requests pass unidentified, unlimited and not billed";
            Finding::warning(join(filter_path, "disabled"), format!("{problem} {rest}"))
        } else {
            let rest = "and no route turns it on: every request passes unidentified, unlimited and not billed";
            Finding::error(join(filter_path, "disabled"), format!("{problem}, {rest}"))
        });
    }
    if filter.get("is_optional") == Some(&Value::Bool(true)) {
        let problem =
            "an Envoy that has no Wasm leaves the filter out without a word, and every request passes; take it away";
        findings.push(Finding::error(join(filter_path, "is_optional"), problem));
    }
    findings
}

/// Whether a route's own settings turn on the filter of this name.
fn is_turned_on_somewhere(document: &Value, name: &str) -> bool {
    let mut on = false;
    walk(document, "", &mut |_, value| {
        let setting = value.get("typed_per_filter_config").and_then(|settings| settings.get(name));
        on |= setting.is_some_and(|setting| setting.get("disabled") != Some(&Value::Bool(true)));
    });
    on
}

fn of_istio(filter: &Found<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    if filter.holder.get("failStrategy").is_some_and(|strategy| strategy == "FAIL_OPEN") {
        let path = join(&filter.holder_path, "failStrategy");
        findings.push(Finding::error(path, format!("{FAIL_OPEN}; write FAIL_CLOSE")));
    }
    if holds(filter) {
        findings.push(Finding::error(filter.path.clone(), format!("{NO_HOLD} an EnvoyFilter")));
    }
    findings
}

fn of_envoy_gateway(filter: &Found<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    if filter.holder.get("failOpen") == Some(&Value::Bool(true)) {
        let path = join(&filter.holder_path, "failOpen");
        findings.push(Finding::error(path, format!("{FAIL_OPEN}; write false")));
    }
    if holds(filter) {
        findings.push(Finding::error(filter.path.clone(), format!("{NO_HOLD} an EnvoyPatchPolicy")));
    }
    findings
}

fn of_kong(document: &Value, filter: &Found<'_>) -> Vec<Finding> {
    let off = |path: &str| lookup(document, path)?.get("enabled").filter(|enabled| **enabled == Value::Bool(false));
    let chain = filter.holder_path.rsplit_once(".filters[").map(|(chain, _)| chain);
    let places = [Some(filter.holder_path.as_str()), chain].into_iter().flatten();
    let problem = "it is off: every request passes unidentified, unlimited and not billed";
    let off = places.filter(|path| off(path).is_some()).map(|path| Finding::error(join(path, "enabled"), problem));
    off.chain(sealing_routes(filter)).chain(fleet_limits(filter)).chain(routing_rules(filter)).collect()
}

/// What Kong cannot keep of a filter's configuration that stands alone.
pub(super) fn on_kong(config: &Value) -> Vec<Finding> {
    let filter = Found {
        host: Host::Kong,
        path: String::new(),
        config: Ok(Embedded::Structure(config)),
        holder: config,
        holder_path: String::new(),
    };
    of_kong(config, &filter)
}

/// Finds what of a catalogue Kong cannot keep: it picks no route by the choice, and retries at no other provider.
fn routing_rules(filter: &Found<'_>) -> Vec<Finding> {
    let config = filter.config.as_ref().map(Embedded::value).unwrap_or_default();
    let Ok(parsed) = weir_filter::config::parse(config.to_string().as_bytes()) else { return Vec::new() };
    let provider_of = |model: &str| parsed.models.iter().find(|known| known.name == model).map(|known| &known.provider);
    let rules = parsed.routing.iter().flat_map(|routing| &routing.rules).enumerate();
    let unkept = rules.filter_map(|(at, rule)| {
        let named = rule.candidates.iter().chain(rule.split.keys());
        let providers: BTreeSet<&String> = named.filter_map(|model| provider_of(model)).collect();
        (providers.len() > 1).then(|| {
            let names = providers.into_iter().map(String::as_str).collect::<Vec<_>>().join(", ");
            let problem = format!(
                "the rule for {} names models of {names}: Kong picks no route by the choice and retries at no other provider, so it \
                 cannot keep it; name models of one provider",
                rule.model
            );
            Finding::error(join(&filter.path, &format!("routing.rules[{at}]")), problem)
        })
    });
    let fault = weir_filter::routing::fault_on_kong(&parsed);
    let fault = fault.map(|fault| Finding::error(join(&filter.path, &fault.path), fault.problem));
    unkept.chain(fault).collect()
}

/// Finds limits of the fleet and pools: Kong cannot hold a request while weir serve is asked for it.
fn fleet_limits(filter: &Found<'_>) -> Vec<Finding> {
    let config = filter.config.as_ref().map(Embedded::value).unwrap_or_default();
    let is_of_fleet = |limit: &Value| limit["scope"] == "fleet";
    let reaches = |plan: &Value| {
        let further = plan["limits"].as_array().into_iter().flatten();
        further.chain([&plan["requests"], &plan["tokens"]]).any(is_of_fleet)
    };
    let plans = config["plans"].as_object().into_iter().flatten();
    let problem = "Kong cannot hold a request while weir serve is asked for it: a tenant's first request after ten idle minutes, and \
                   one larger than the lease, is answered 429";
    let plans = plans.filter(|(_, plan)| reaches(plan)).map(|(name, _)| format!("plans.{name}"));
    let pools = config["pools"].as_object().into_iter().flatten().map(|(name, _)| format!("pools.{name}"));
    plans.chain(pools).map(|place| Finding::warning(join(&filter.path, &place), problem)).collect()
}

/// Finds routes that seal ids: Kong sends a request's path on as it came, so weir refuses such a configuration there.
fn sealing_routes(filter: &Found<'_>) -> Vec<Finding> {
    let config = filter.config.as_ref().map(Embedded::value).unwrap_or_default();
    let routes = config["routes"].as_array().into_iter().flatten().enumerate();
    let seals = |route: &Value| {
        let permit = route["permit"].as_object();
        permit.is_some_and(|permit| permit.values().any(|access| access == "sealed"))
    };
    let problem =
        "Kong cannot seal ids, so weir answers every request of this chain 503: put Envoy in front for this route";
    let found = routes.filter(|(_, route)| seals(route));
    found.map(|(at, _)| Finding::error(join(&filter.path, &format!("routes[{at}].permit")), problem)).collect()
}

/// Whether the filter holds requests; of a configuration that cannot be read another check tells.
fn holds(filter: &Found<'_>) -> bool {
    let config = filter.config.as_ref().ok().map(Embedded::value);
    config.is_some_and(|config| config.get("hold") != Some(&Value::Bool(false)))
}

/// Finds lists of HTTP filters in which weir stands twice, or behind the router, where no request comes.
fn orders(document: &Value, found: &[Found<'_>]) -> Vec<Finding> {
    let mut findings = Vec::new();
    walk(document, "", &mut |path, value| {
        let Some(filters) = value.get("http_filters").and_then(Value::as_array) else { return };
        let is_router = |filter: &Value| {
            filter["typed_config"]["@type"].as_str().is_some_and(|kind| kind.ends_with("http.router.v3.Router"))
        };
        let router = filters.iter().position(is_router);
        let own = |at: usize| format!("{}[{at}].typed_config.config", join(path, "http_filters"));
        let weirs: Vec<usize> =
            (0..filters.len()).filter(|at| found.iter().any(|filter| filter.holder_path == own(*at))).collect();
        let list = join(path, "http_filters");
        for at in weirs.iter().filter(|at| router.is_some_and(|router| router < **at)) {
            findings.push(Finding::error(
                format!("{list}[{at}]"),
                "it stands behind the router, where no request comes; Envoy refuses this",
            ));
        }
        if let [_, second, ..] = weirs.as_slice() {
            findings.push(Finding::error(
                format!("{list}[{second}]"),
                "weir stands in this list twice: each request would count twice",
            ));
        }
    });
    findings
}

/// Finds Kong services with weir whose routes have weir, too: Kong runs both chains.
fn nested_chains(document: &Value) -> Vec<Finding> {
    let list = |value: &Value, name: &str| value.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let chains = |value: &Value| {
        list(value, "filter_chains")
            .iter()
            .any(|chain| list(chain, "filters").iter().any(|filter| filter["name"] == "weir"))
    };
    let mut findings = Vec::new();
    for (at, service) in list(document, "services").iter().enumerate().filter(|(_, service)| chains(service)) {
        for (of, _) in list(service, "routes").iter().enumerate().filter(|(_, route)| chains(route)) {
            let problem = "its service has a chain with weir, too, and Kong runs both: each request would count twice";
            findings.push(Finding::error(format!("services[{at}].routes[{of}].filter_chains"), problem));
        }
    }
    findings
}

/// Tells of a gateway's file that runs filters, and weir is none of them.
fn without_weir(document: &Value, found: &[Found<'_>]) -> Option<Finding> {
    let runs_filters = document.get("static_resources").is_some() || {
        let mut chains = false;
        walk(document, "", &mut |_, value| chains |= value.get("filter_chains").is_some());
        chains
    };
    let problem = "there is no weir filter in this file; one is known by the name weir, or by a configuration with identity and plans";
    (found.is_empty() && runs_filters).then(|| Finding::warning("", problem))
}

/// The value at a path of a document: names joined by dots, and indexes.
fn lookup<'a>(document: &'a Value, path: &str) -> Option<&'a Value> {
    let mut found = None;
    walk(document, "", &mut |at, value| {
        if at == path {
            found = Some(value);
        }
    });
    found
}

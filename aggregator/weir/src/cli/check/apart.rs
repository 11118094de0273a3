//! Finds what leads past a route that keeps tenants apart, and settings of such routes that do nothing.
use serde_json::{Value, json};
use weir_tenants::TenantEntry;

use super::Finding;

/// What a route of the filter keeps apart.
struct Route<'c> {
    path: Option<&'c str>,
    is_prefix: bool,
    provider: Option<&'c str>,
    guard: Option<&'c Value>,
    sealed: Vec<&'c str>,
    shared: Vec<&'c str>,
    /// It passes requests on without a look, by its exact path, or answers them itself.
    is_exempt: bool,
}

/// All problems of a filter's configuration, by their paths in it.
pub(super) fn findings(config: &Value) -> Vec<Finding> {
    let routes: Vec<Route<'_>> = config["routes"].as_array().into_iter().flatten().map(Route::of).collect();
    let mut findings: Vec<Finding> = same_secrets(config).into_iter().chain(common_words(config)).collect();
    for (at, route) in routes.iter().enumerate() {
        let before = routes.iter().take(at).enumerate();
        findings.extend(before.filter_map(|(earlier_at, earlier)| passed(earlier, earlier_at, route, at)));
        if let Some(guard) = route.guard {
            let field = format!("routes[{at}].guard");
            findings.extend(root_elsewhere(route, guard, &field));
            findings.extend(idle_field(guard, &field));
            findings.extend(unfit_tenants(config, guard, &field));
        }
    }
    findings
}

impl<'c> Route<'c> {
    fn of(route: &'c Value) -> Self {
        let text = |name: &str| route["match"][name].as_str();
        let listed = route["permit"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let by_kind = || route["permit"].as_object().into_iter().flatten();
        let with =
            |access: &'static str| by_kind().filter(move |(_, found)| **found == access).map(|(kind, _)| kind.as_str());
        Route {
            path: text("path").or_else(|| text("path_prefix")),
            is_prefix: text("path").is_none(),
            provider: route["provider"].as_str(),
            guard: route.get("guard").filter(|guard| guard.is_object()),
            sealed: with("sealed").collect(),
            shared: listed.chain(with("shared")).collect(),
            is_exempt: ["bypass", "readiness"].iter().any(|name| route[*name] == Value::Bool(true)),
        }
    }

    /// Whether it would take every request of `other`, if it stood first.
    fn covers(&self, other: &Route<'_>) -> bool {
        let (Some(own), Some(other_path)) = (self.path, other.path) else { return false };
        match self.is_prefix {
            true => is_below(other_path, own),
            false => !other.is_prefix && own == other_path,
        }
    }
}

/// Whether a path is `root` or below it.
fn is_below(path: &str, root: &str) -> bool {
    let rest = path.strip_prefix(root);
    rest.is_some_and(|rest| root.ends_with('/') || rest.is_empty() || rest.starts_with('/'))
}

/// Finds a route that takes requests from a later one that keeps tenants apart, and does not do so itself.
fn passed(earlier: &Route<'_>, earlier_at: usize, later: &Route<'_>, at: usize) -> Option<Finding> {
    if earlier.is_exempt || !later.covers(earlier) {
        return None;
    }
    let field = format!("routes[{earlier_at}]");
    // With a provider of its own it leads elsewhere.
    if later.guard.is_some() && earlier.guard.is_none() && earlier.provider.is_none() {
        let problem = format!(
            "takes requests from routes[{at}], which guards a vector store, and guards nothing: tenants reach the store of all through \
             it. Give it the same guard, or take it away"
        );
        return Some(Finding::warning(field, problem));
    }
    let is_same = earlier.provider.is_none_or(|provider| later.provider == Some(provider));
    let kind = earlier.shared.iter().find(|kind| later.sealed.contains(kind)).filter(|_| is_same)?;
    let problem = format!(
        "shares {kind} among all tenants, and takes requests from routes[{at}], which seals them: through it each tenant reaches \
         those of all others by their raw ids"
    );
    Some(Finding::warning(format!("{field}.permit"), problem))
}

/// Finds a root that no request of the route has.
fn root_elsewhere(route: &Route<'_>, guard: &Value, field: &str) -> Option<Finding> {
    let (root, path) = (guard["root"].as_str()?, route.path?);
    let fits = is_below(path, root) || (route.is_prefix && is_below(root, path));
    let problem = format!("no request that the route matches ({path}) has a path below {root}, so each is refused");
    (!root.is_empty() && !fits).then(|| Finding::error(format!("{field}.root"), problem))
}

/// Finds a field that marks nothing.
fn idle_field(guard: &Value, field: &str) -> Option<Finding> {
    let marks = guard["by"] == "filter" || guard["store"] == "chroma";
    let problem = "does nothing: only records that share a collection carry their tenant. Leave it out";
    (guard.get("field").is_some() && !marks).then(|| Finding::warning(format!("{field}.field"), problem))
}

/// Finds tenants whose ids Weaviate does not take.
fn unfit_tenants(config: &Value, guard: &Value, field: &str) -> Vec<Finding> {
    let is_fit = |id: &&str| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        id.len() <= 64 && id.bytes().all(is_plain)
    };
    let tenants = config["tenants"].as_array().into_iter().flatten().filter_map(|tenant| tenant["id"].as_str());
    let unfit = tenants.filter(|id| guard["store"] == "weaviate" && !is_fit(id));
    let problem = |id| {
        format!("Weaviate takes no tenant {id:?} (A-Z a-z 0-9 _ -, at most 64), so each of its requests is refused")
    };
    unfit.map(|id| Finding::warning(format!("{field}.store"), problem(id))).collect()
}

/// Finds two keys that are one: rotating to the second changes nothing.
fn same_secrets(config: &Value) -> Option<Finding> {
    let keys = config["sealed_ids"]["keys"].as_array()?;
    let [current, previous] = keys.as_slice() else { return None };
    let is_same = !current["secret"].is_null() && current["secret"] == previous["secret"];
    let problem =
        "is the secret of both keys: what the old one sealed, everybody who knows it still opens. Make a new one";
    is_same.then(|| Finding::error("sealed_ids.keys[0].secret", problem))
}

/// Finds identifiers that redaction would take out of ordinary sentences.
fn common_words(config: &Value) -> Vec<Finding> {
    if config["redact"]["identifiers"] != Value::Bool(true) {
        return Vec::new();
    }
    let tenants = config["tenants"].as_array().into_iter().flatten();
    let entry = |tenant: &Value| {
        let identifiers = tenant.get("identifiers").cloned().unwrap_or_else(|| json!([]));
        serde_json::from_value(json!({"id": tenant["id"], "plan": tenant["plan"], "identifiers": identifiers})).ok()
    };
    let tenants: Vec<TenantEntry> = tenants.filter_map(entry).collect();
    weir_tenants::common_words(&tenants).into_iter().map(|problem| Finding::warning("tenants", problem)).collect()
}

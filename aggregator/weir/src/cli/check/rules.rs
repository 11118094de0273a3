//! Finds rules of the filter's configuration that can never apply: it loads, and does not do what it says.
use serde_json::Value;

use super::Finding;

/// A path as a rule writes it.
struct Rule {
    field: String,
    path: String,
    is_prefix: bool,
}

/// All rules that never match, and routes behind one that takes all their requests.
pub(super) fn findings(config: &Value) -> Vec<Finding> {
    let routes = rules(config, "routes");
    let own = ["events", "directory"].into_iter().filter_map(|part| {
        let path = config[part]["path"].as_str()?;
        Some(Rule { field: format!("{part}.path"), path: path.to_owned(), is_prefix: false })
    });
    let mut findings: Vec<Finding> = own.filter_map(|rule| without_slash(&rule)).collect();
    findings.extend(routes.iter().chain(&rules(config, "classification")).filter_map(never_matches));
    findings.extend(shadowed(&routes));
    findings
}

fn rules(config: &Value, list: &str) -> Vec<Rule> {
    let rules = config[list].as_array().into_iter().flatten().enumerate();
    let rule = |(at, rule): (usize, &Value)| {
        let kinds = [("path", false), ("path_prefix", true)].into_iter();
        let (name, path, is_prefix) =
            kinds.filter_map(|(name, is_prefix)| Some((name, rule["match"][name].as_str()?, is_prefix))).next()?;
        Some(Rule { field: format!("{list}[{at}].match.{name}"), path: path.to_owned(), is_prefix })
    };
    rules.filter_map(rule).collect()
}

fn without_slash(rule: &Rule) -> Option<Finding> {
    (!rule.path.starts_with('/'))
        .then(|| Finding::error(rule.field.clone(), format!("a path begins with a slash: write /{}", rule.path)))
}

/// Says why no request's path can ever be this one.
fn never_matches(rule: &Rule) -> Option<Finding> {
    let Rule { field, path, is_prefix } = rule;
    let never = |why: String| Some(Finding::error(field.clone(), format!("no request ever matches: {why}")));
    if !path.starts_with('/') {
        return never(format!("a path begins with a slash; write /{path}"));
    }
    if let Some(end) = path.find(['?', '#']) {
        return never(format!("rules see the path without its query; write {}", &path[..end]));
    }
    if path.contains("//") || path.split('/').any(|part| matches!(part, "." | "..")) {
        return never("gateways resolve //, /./ and /../ before weir sees the path".to_owned());
    }
    if path.contains('*') {
        let remedy = if *is_prefix { "path_prefix needs none" } else { "use path_prefix" };
        return never(format!("* stands for itself in a path; {remedy}"));
    }
    if path.contains(char::is_whitespace) {
        return never("a path has no spaces; write %20".to_owned());
    }
    None
}

/// Finds routes whose requests an earlier route takes: the first that matches applies.
fn shadowed(routes: &[Rule]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (at, later) in routes.iter().enumerate() {
        if let Some(earlier) = routes.iter().take(at).find(|earlier| earlier.takes_all_of(later)) {
            let problem = format!(
                "never applies: {} ({}) takes all its requests, and the first route that matches applies",
                earlier.field, earlier.path
            );
            findings.push(Finding::error(later.field.clone(), problem));
        }
    }
    findings
}

impl Rule {
    fn takes_all_of(&self, later: &Rule) -> bool {
        if !self.is_prefix {
            return !later.is_prefix && self.path == later.path;
        }
        let rest = later.path.strip_prefix(&self.path);
        rest.is_some_and(|rest| self.path.ends_with('/') || rest.is_empty() || rest.starts_with('/'))
    }
}

//! `weir check`: checks a configuration of the server, of the filter, or of a gateway with the filter in it.
//!
//! Errors point into the file that the user edits, even if the filter's configuration is a text within it.
mod buffers;
mod envoy;
mod point;
mod yaml_1_1;

use std::path::{Path, PathBuf};

use serde_json::Value;
use weir_filter::config::{Config as FilterConfig, ConfigError, Environment, Policy};
use weir_filter::hash::Keyed;

use super::render::{complain, say};
use super::{EXIT_DONE, EXIT_FAILED};
use crate::config::Config;
use point::Problem;
use weir_settings::yaml;
use weir_settings::yaml::located::Node;

/// The types by which Envoy marks a filter's configuration as a structure or a text.
const STRUCT: &str = "type.googleapis.com/google.protobuf.Struct";
const TEXT: &str = "type.googleapis.com/google.protobuf.StringValue";
/// Fields of the filter's configuration that the server's does not have.
const OF_THE_FILTER: [&str; 4] = ["version", "identity", "plans", "routes"];

pub(super) fn run(files: &[PathBuf]) -> anyhow::Result<u8> {
    let mut code = EXIT_DONE;
    for file in files {
        match check(file) {
            Ok(what) => {
                yaml_1_1::warnings(file).iter().for_each(|warning| complain!("{warning}"));
                say!("{}: good ({what})", file.display());
            }
            Err(problems) => {
                problems.iter().for_each(|problem| complain!("{problem}"));
                code = EXIT_FAILED;
            }
        }
    }
    Ok(code)
}

/// Checks one file. Returns a description of it, or all its problems.
fn check(path: &Path) -> Result<String, Vec<String>> {
    let one = |error: &dyn std::fmt::Display| vec![error.to_string()];
    let text = yaml::read_text(path).map_err(|error| one(&error))?;
    if text.trim().is_empty() {
        return Err(one(&format!("{}: empty; there is nothing to check", path.display())));
    }
    let shown = |problems: Vec<Problem>| problems.iter().map(|problem| problem.show(path, &text)).collect::<Vec<_>>();
    let document = Node::parse(path, &text).map_err(|error| shown(vec![Problem::of_yaml(&error)]))?;
    let value = document.value();
    let embedded = embedded(&value);
    if !embedded.is_empty() {
        let mut wrong: Vec<Problem> =
            embedded.iter().filter_map(|(place, found)| found.check(&text, &document, place).err()).collect();
        let around = envoy::problems(&value).into_iter().chain(buffers::problems(&value));
        wrong.extend(around.map(|(path, problem)| {
            let message = format!("{path}: {problem}");
            Problem::at(&document, &path, message)
        }));
        let what = format!("a gateway's, with {} of the filter", embedded.len());
        return if wrong.is_empty() { Ok(what) } else { Err(shown(wrong)) };
    }
    if OF_THE_FILTER.iter().any(|field| value.get(field).is_some()) {
        let checked = Embedded::Structure(&value).check(&text, &document, "");
        return checked.map(|()| "the filter's configuration".to_owned()).map_err(|problem| shown(vec![problem]));
    }
    let checked = Config::parse(path, &text).map(|_| "the server's configuration".to_owned());
    checked.map_err(|error| shown(vec![Problem::of_server(&document, &error)]))
}

fn compile(config: FilterConfig) -> Result<(), ConfigError> {
    // The key only spreads hash maps; nobody can choose names to attack them here.
    Policy::compile(config, &Environment::Elsewhere, Keyed::new([0; 16])).map(|_| ())
}

/// A filter's configuration inside a gateway's.
enum Embedded<'a> {
    Structure(&'a Value),
    Text(&'a str),
}

impl Embedded<'_> {
    fn config(&self) -> Result<FilterConfig, ConfigError> {
        weir_filter::config::parse(self.json().as_bytes())
    }

    fn json(&self) -> String {
        match self {
            Embedded::Structure(value) => value.to_string(),
            Embedded::Text(text) => (*text).to_owned(),
        }
    }

    /// Checks the configuration at `path` of a document, whose text is `file`.
    fn check(&self, file: &str, document: &Node, path: &str) -> Result<(), Problem> {
        let Err(error) = self.config().and_then(compile) else { return Ok(()) };
        let (problem, place) = point::split_location(&error.problem);
        let dot = if path.is_empty() { "" } else { "." };
        let message = format!("{path}{dot}{}: {problem}", error.path);
        let Embedded::Text(text) = self else {
            return Err(Problem::at(document, &format!("{path}{dot}{}", error.path), message));
        };
        // The text is a document of its own; its error locations are translated into the file.
        let (scalar, _) = document.find(path);
        let place = match (Node::parse(Path::new("configuration"), text), place) {
            (Ok(inner), _) if serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok() => {
                Problem::at(&inner, &error.path, error.problem.clone()).location
            }
            (_, Some(place)) => place,
            _ => return Err(Problem { location: scalar.location, message }),
        };
        Err(Problem { location: point::in_file(file, scalar, place), message })
    }
}

/// All filter configurations in a gateway's document, with their paths.
fn embedded(document: &Value) -> Vec<(String, Embedded<'_>)> {
    let mut found = Vec::new();
    walk(document, String::new(), &mut found);
    found
}

fn walk<'a>(value: &'a Value, path: String, found: &mut Vec<(String, Embedded<'a>)>) {
    let dot = if path.is_empty() { "" } else { "." };
    if let Some(config) = of_envoy(value) {
        found.push((format!("{path}{dot}configuration.value"), config));
    } else if let Some(config) = of_kong(value) {
        found.push((format!("{path}{dot}config"), config));
    } else if let Some(config) = of_istio(value) {
        found.push((format!("{path}{dot}pluginConfig"), config));
    }
    match value {
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(at, item)| walk(item, format!("{path}[{at}]"), found));
        }
        Value::Object(fields) => {
            fields.iter().for_each(|(name, field)| walk(field, format!("{path}{dot}{name}"), found));
        }
        _ => {}
    }
}

/// Envoy's `PluginConfig`: a `vm_config` beside a `configuration`.
fn of_envoy(value: &Value) -> Option<Embedded<'_>> {
    value.get("vm_config")?;
    let configuration = value.get("configuration")?;
    let held = configuration.get("value")?;
    match configuration.get("@type")?.as_str()? {
        STRUCT => Some(Embedded::Structure(held)),
        TEXT => held.as_str().map(Embedded::Text),
        _ => None,
    }
}

/// Istio's `WasmPlugin`: a `pluginConfig` beside the `url` of the module.
fn of_istio(value: &Value) -> Option<Embedded<'_>> {
    value.get("url")?;
    value.get("pluginConfig").filter(|config| config.is_object()).map(Embedded::Structure)
}

/// Kong's filter chain and Envoy Gateway's extension policy: an entry named `weir`.
fn of_kong(value: &Value) -> Option<Embedded<'_>> {
    if value.get("name")?.as_str()? != "weir" {
        return None;
    }
    match value.get("config")? {
        Value::String(text) => Some(Embedded::Text(text)),
        config @ Value::Object(_) => Some(Embedded::Structure(config)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDENTITY: &str = "identity: {sources: [{api_key: {header: authorization, prefix: sk_weir_}}]}";

    fn of(text: &str) -> Result<String, Vec<String>> {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("a.yaml");
        std::fs::write(&path, text).expect("written");
        check(&path)
    }

    #[test]
    fn a_file_is_checked_as_what_it_is() {
        assert!(of(" \n").expect_err("empty")[0].contains("empty; there is nothing to check"));
        assert_eq!(of("grace: 5m").expect("good"), "the server's configuration");
        let filter = of(&format!("version: 1\n{IDENTITY}\nplans: {{}}\n"));
        assert!(filter.is_ok_and(|what| what == "the filter's configuration"));
    }

    #[test]
    fn a_filters_error_has_line_and_column() {
        let problems = of(&format!("version: 1\n{IDENTITY}\nplans: {{}}\nrouts: []\n")).expect_err("wrong");
        assert!(problems[0].contains("a.yaml:4:1: ") && problems[0].contains("routs"), "{problems:?}");
    }

    #[test]
    fn a_filter_within_a_gateways_file_is_found_by_its_path() {
        let envoy = format!(
            "filters:\n- config:\n    vm_config: {{}}\n    configuration:\n      '@type': {STRUCT}\n      \
             value: {{version: 2, identity: {{sources: []}}, plans: {{}}}}\n"
        );
        let problems = of(&envoy).expect_err("version 2");
        assert!(problems[0].contains("filters[0].config.configuration.value.version"), "{problems:?}");
        assert!(problems[0].contains("a.yaml:6:24: "), "{problems:?}");
        let config = format!("{{version: 1, {IDENTITY}, plans: {{}}}}");
        let kong = format!("filter_chains: [{{filters: [{{name: weir, config: {config}}}]}}]");
        let istio = format!("spec: {{url: 'oci://r/weir:1', pluginConfig: {config}}}");
        for good in [kong, istio] {
            assert_eq!(of(&good).expect("good"), "a gateway's, with 1 of the filter");
        }
    }

    /// Returns the problem of an Envoy file whose filter has this text as its configuration, in YAML.
    fn of_envoy_text(text: &str) -> String {
        let envoy = format!(
            "filters:\n- config:\n    vm_config: {{}}\n    configuration:\n      '@type': {TEXT}\n      value: {text}\n"
        );
        of(&envoy).expect_err("wrong").remove(0)
    }

    #[test]
    fn an_error_in_a_text_within_a_gateways_file_has_its_line_and_column_in_the_file() {
        let block = "|\n        {\n          \"version\": 1,\n          \"identity\": {\"sources\": [{\"api_key\": {}}]},\n          \
                     \"plans\": {\"p\": {\"requests\": {\"rate\": \"5/fortnight\"}}}\n        }";
        let problem = of_envoy_text(block);
        assert!(problem.contains("a.yaml:10:48: "), "the rate itself: {problem}");
        assert!(problem.contains("plans.p.requests.rate") && problem.contains("1000/min"), "{problem}");
        let broken = of_envoy_text("|\n        {\n          \"version\": 1,,\n        }");
        assert!(broken.contains("a.yaml:8:"), "no JSON: {broken}");
        let quoted =
            of_envoy_text(r#"'{"version": 1, "identity": {"sources": [{"api_key": {}}]}, "plans": {}, "rout": 1}'"#);
        assert!(quoted.contains("a.yaml:6:") && quoted.contains("`rout`") && quoted.contains("routes"), "{quoted}");
    }

    #[test]
    fn an_error_in_kongs_text_has_its_line_and_column_in_the_file() {
        let kong = "services:\n- filter_chains:\n  - filters:\n    - name: weir\n      config: |\n        {\"version\": 1,\n         \
                    \"identity\": {\"sources\": []}, \"plans\": {}}\n";
        let problem = of(kong).expect_err("no source").remove(0);
        assert!(problem.contains("a.yaml:7:") && problem.contains("name at least one source"), "{problem}");
    }

    #[test]
    fn the_files_to_start_from_are_good() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        for file in [
            "envoy/sidecar.yaml",
            "envoy/gateway.yaml",
            "envoy/per-route.yaml",
            "envoy/tls.yaml",
            "envoy/access-log-spool.yaml",
            "envoy/istio/envoyfilter.yaml",
            "envoy/istio/wasmplugin.yaml",
            "envoy/envoy-gateway/envoypatchpolicy.yaml",
            "envoy/envoy-gateway/extensionpolicy.yaml",
            "kong/kong.yml",
            "kong/sidecar/envoy-before-kong.yaml",
            "kong/sidecar/envoy-behind-kong.yaml",
        ] {
            let what = check(&root.join(file)).unwrap_or_else(|problems| panic!("{}", problems.join("\n")));
            assert!(what.starts_with("a gateway's, with "), "{file}: {what}");
        }
    }

    #[test]
    fn a_plain_filters_mistake_is_shown_with_its_line() {
        let text = format!("version: 1\n{IDENTITY}\nplans:\n  p: {{requests: {{rate: 0/s}}}}\n");
        let problem = of(&text).expect_err("no rate").remove(0);
        assert!(problem.contains("a.yaml:4:24: "), "{problem}");
        assert!(problem.lines().last().is_some_and(|line| line.trim_start().starts_with('|') && line.ends_with('^')));
    }

    #[test]
    fn a_servers_mistake_has_its_line() {
        let problem = of("listen: 127.0.0.1:1\nstripe:\n  secret_key: {env: K}\n  meters: {}\n  concurrency: 0\n");
        let problem = problem.expect_err("no concurrency").remove(0);
        assert!(problem.contains("a.yaml:5:16: ") && problem.contains("stripe.concurrency"), "{problem}");
    }
}

//! `weir check`: is a configuration good? Of the server, of the filter, or of a gateway that holds one of the filter.
mod buffers;
mod envoy;

use std::path::{Path, PathBuf};

use serde_json::Value;
use weir_filter::config::{Config as FilterConfig, Policy};
use weir_filter::hash::Keyed;

use super::{EXIT_DONE, EXIT_FAILED};
use crate::config::Config;
use crate::yaml;

/// How Envoy says that a filter's configuration is a structure, or a text.
const STRUCT: &str = "type.googleapis.com/google.protobuf.Struct";
const TEXT: &str = "type.googleapis.com/google.protobuf.StringValue";
/// Fields that a filter's configuration has and a server's has not.
const OF_THE_FILTER: [&str; 4] = ["version", "identity", "plans", "routes"];

pub(super) fn run(files: &[PathBuf]) -> anyhow::Result<u8> {
    let mut code = EXIT_DONE;
    for file in files {
        match check(file) {
            Ok(what) => println!("{}: good ({what})", file.display()),
            Err(problems) => {
                problems.iter().for_each(|problem| eprintln!("{problem}"));
                code = EXIT_FAILED;
            }
        }
    }
    Ok(code)
}

/// Checks one file; says what it is, or everything that is wrong with it.
fn check(path: &Path) -> Result<String, Vec<String>> {
    let one = |error: &dyn std::fmt::Display| vec![error.to_string()];
    let text = yaml::read_text(path).map_err(|error| one(&error))?;
    if text.trim().is_empty() {
        return Ok("the server's configuration, all of it default".to_owned());
    }
    let document: Value = yaml::parse(path, &text).map_err(|error| one(&error))?;
    let embedded = embedded(&document);
    if !embedded.is_empty() {
        let mut wrong: Vec<String> = embedded
            .iter()
            .filter_map(|(place, found)| found.check().err().map(|e| format!("{}: {place}.{e}", path.display())))
            .collect();
        wrong.extend(envoy::problems(&document).into_iter().map(|problem| format!("{}: {problem}", path.display())));
        wrong.extend(buffers::problems(&document).into_iter().map(|problem| format!("{}: {problem}", path.display())));
        return if wrong.is_empty() {
            Ok(format!("a gateway's, with {} of the filter", embedded.len()))
        } else {
            Err(wrong)
        };
    }
    if OF_THE_FILTER.iter().any(|field| document.get(field).is_some()) {
        // Read again from the text, for the line and the column.
        let config: FilterConfig = yaml::parse(path, &text).map_err(|error| one(&error))?;
        compile(config).map_err(|error| vec![format!("{}: {error}", path.display())])?;
        return Ok("the filter's configuration".to_owned());
    }
    Config::parse(path, &text).map(|_| "the server's configuration".to_owned()).map_err(|error| one(&error))
}

fn compile(config: FilterConfig) -> Result<(), String> {
    // The key only spreads hash maps; nothing here is open to anybody's choice of names.
    Policy::compile(config, Keyed::new([0; 16])).map(|_| ()).map_err(|error| error.to_string())
}

/// A filter's configuration within a gateway's.
enum Embedded<'a> {
    Structure(&'a Value),
    Text(&'a str),
}

impl Embedded<'_> {
    fn check(&self) -> Result<(), String> {
        compile(self.config()?)
    }

    fn config(&self) -> Result<FilterConfig, String> {
        let json = match self {
            Embedded::Structure(value) => value.to_string(),
            Embedded::Text(text) => (*text).to_owned(),
        };
        weir_filter::config::parse(json.as_bytes()).map_err(|error| error.to_string())
    }
}

/// Every filter configuration in a gateway's document, with its path.
fn embedded(document: &Value) -> Vec<(String, Embedded<'_>)> {
    let mut found = Vec::new();
    walk(document, String::new(), &mut found);
    found
}

fn walk<'a>(value: &'a Value, path: String, found: &mut Vec<(String, Embedded<'a>)>) {
    if let Some(config) = of_envoy(value) {
        found.push((format!("{path}.configuration.value"), config));
    } else if let Some(config) = of_kong(value) {
        found.push((format!("{path}.config"), config));
    }
    match value {
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(at, item)| walk(item, format!("{path}[{at}]"), found));
        }
        Value::Object(fields) => {
            let dot = if path.is_empty() { "" } else { "." };
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

/// Kong's filter chain: an entry of `filters` named weir.
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
        assert_eq!(of("").expect("good"), "the server's configuration, all of it default");
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
        let config = format!("{{version: 1, {IDENTITY}, plans: {{}}}}");
        let kong = format!("filter_chains: [{{filters: [{{name: weir, config: {config}}}]}}]");
        assert_eq!(of(&kong).expect("good"), "a gateway's, with 1 of the filter");
    }
}

//! Checks where routes of Envoy turn weir off: such requests pass unidentified, unlimited and not billed.
use serde_json::Value;

use super::Finding;
use super::embedded::{Found, join, walk};

/// All places that turn a weir filter off for more than one exact path.
pub(super) fn findings(document: &Value, found: &[Found<'_>]) -> Vec<Finding> {
    let names = names(document, found);
    let mut findings = Vec::new();
    walk(document, "", &mut |path, value| {
        let Some(settings) = value.get("typed_per_filter_config") else { return };
        let is_exact = value["match"].get("path").is_some();
        for name in names.iter().filter(|name| settings[name.as_str()].get("disabled") == Some(&Value::Bool(true))) {
            if !is_exact {
                let problem = "weir is off for everything that this matches: those requests pass unidentified, unlimited and not billed. \
                               Match exact paths only";
                findings
                    .push(Finding::warning(join(path, &format!("typed_per_filter_config.{name}.disabled")), problem));
            }
        }
    });
    findings
}

/// The names of the HTTP filters that are weir.
fn names(document: &Value, found: &[Found<'_>]) -> Vec<String> {
    let mut names = Vec::new();
    walk(document, "", &mut |path, value| {
        let config = join(path, "typed_config.config");
        if found.iter().any(|filter| filter.holder_path == config) {
            names.extend(value.get("name").and_then(Value::as_str).map(str::to_owned));
        }
    });
    names
}

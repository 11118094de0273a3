//! Finds the configurations of weir's filters inside a gateway's document, and tells them from those of other filters.
use std::path::Path;

use serde_json::Value;
use weir_filter::config::{Config as FilterConfig, ConfigError, ForRole, parse_for_role};
use weir_filter::upstream::Upstream;

use super::point::{self, Problem};
use super::{STRUCT, TEXT, compile};
use weir_settings::yaml::located::Node;

/// A filter's configuration inside a gateway's.
#[derive(Clone, Copy, Debug)]
pub(super) enum Embedded<'a> {
    Structure(&'a Value),
    Text(&'a str),
}

/// Which gateway runs the filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Host {
    /// Envoy itself, or a patch of Istio or Envoy Gateway that holds Envoy's own configuration.
    Envoy,
    /// Istio's `WasmPlugin`.
    Istio,
    /// Envoy Gateway's `EnvoyExtensionPolicy`.
    EnvoyGateway,
    /// Kong.
    Kong,
}

/// A weir filter in a gateway's document.
#[derive(Debug)]
pub(super) struct Found<'a> {
    pub(super) host: Host,
    /// The path of its configuration.
    pub(super) path: String,
    /// Its configuration, or why there is none.
    pub(super) config: Result<Embedded<'a>, String>,
    /// The object that holds the configuration: Envoy's `PluginConfig`, Istio's `spec`, Kong's filter.
    pub(super) holder: &'a Value,
    /// The path of the holder.
    pub(super) holder_path: String,
}

impl Embedded<'_> {
    /// Reads the configuration as the filter does.
    pub(super) fn config(&self) -> Result<FilterConfig, ConfigError> {
        weir_filter::config::parse(self.json().as_bytes())
    }

    /// Reads and compiles the configuration, of either role, as the filter does.
    fn compile(&self) -> Result<(), ConfigError> {
        match parse_for_role(self.json().as_bytes())? {
            ForRole::Downstream(config) => compile(*config),
            ForRole::Upstream(config) => Upstream::compile(&config).map(|_| ()),
        }
    }

    /// The configuration as a value; null if it is a text that is no JSON.
    pub(super) fn value(&self) -> Value {
        match self {
            Embedded::Structure(value) => (*value).clone(),
            Embedded::Text(text) => serde_json::from_str(text).unwrap_or_default(),
        }
    }

    fn json(&self) -> String {
        match self {
            Embedded::Structure(value) => value.to_string(),
            Embedded::Text(text) => (*text).to_owned(),
        }
    }

    /// Checks the configuration at `path` of a document, whose text is `file`.
    pub(super) fn check(&self, file: &str, document: &Node, path: &str) -> Result<(), Problem> {
        let Err(error) = self.compile() else { return Ok(()) };
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

/// All weir filters in a gateway's document.
pub(super) fn find(document: &Value) -> Vec<Found<'_>> {
    let mut found = Vec::new();
    walk(document, "", &mut |path, value| {
        found.extend(of_envoy(path, value).or_else(|| of_istio(path, value)).or_else(|| of_chain(path, value)));
    });
    found
}

/// Visits every value of a document with its path.
pub(super) fn walk<'a>(value: &'a Value, path: &str, see: &mut dyn FnMut(&str, &'a Value)) {
    see(path, value);
    match value {
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(at, item)| walk(item, &format!("{path}[{at}]"), see));
        }
        Value::Object(fields) => {
            fields.iter().for_each(|(name, field)| walk(field, &join(path, name), see));
        }
        _ => {}
    }
}

/// The path of a field.
pub(super) fn join(path: &str, field: &str) -> String {
    if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") }
}

/// Envoy's `PluginConfig`: a `vm_config`, and a `configuration` that tells its type.
fn of_envoy<'a>(path: &str, value: &'a Value) -> Option<Found<'a>> {
    value.get("vm_config")?;
    let configuration = value.get("configuration");
    let held = configuration.and_then(|configuration| configuration.get("value"));
    let kind = configuration.and_then(|configuration| configuration.get("@type")).and_then(Value::as_str);
    let config = match (kind, held) {
        (Some(STRUCT), Some(held)) => Ok(Embedded::Structure(held)),
        (Some(TEXT), Some(Value::String(text))) => Ok(Embedded::Text(text)),
        (None, None) => Err("there is none, and weir refuses to start without".to_owned()),
        _ => Err(format!("weir reads it only as {STRUCT} or as {TEXT}, each with a `value`")),
    };
    let (at, field) =
        if config.is_ok() { ("configuration.value", "configuration") } else { ("configuration", "vm_config") };
    let is_ours = config.as_ref().is_ok_and(is_weirs) || names_weir(value, field) || of_parts(value);
    is_ours.then(|| Found {
        host: Host::Envoy,
        path: join(path, at),
        config,
        holder: value,
        holder_path: path.to_owned(),
    })
}

/// Istio's `WasmPlugin`: a `pluginConfig` beside the `url` of the module.
fn of_istio<'a>(path: &str, value: &'a Value) -> Option<Found<'a>> {
    let url = value.get("url")?.as_str()?;
    let is_plugin =
        ["pluginConfig", "failStrategy", "phase", "pluginName"].iter().any(|field| value.get(field).is_some());
    let config = match value.get("pluginConfig").filter(|config| config.is_object()) {
        Some(config) => Ok(Embedded::Structure(config)),
        None => Err("there is none, and weir refuses to start without".to_owned()),
    };
    let is_ours = is_plugin && (says_weir(url) || config.as_ref().is_ok_and(is_weirs));
    let (path, holder_path) = (join(path, "pluginConfig"), path.to_owned());
    is_ours.then_some(Found { host: Host::Istio, path, config, holder: value, holder_path })
}

/// A filter of Kong's chain, or of Envoy Gateway's extension policy: the latter says where the module's `code` is.
fn of_chain<'a>(path: &str, value: &'a Value) -> Option<Found<'a>> {
    let name = value.get("name")?.as_str()?;
    let code = value.get("code").filter(|code| code.get("type").is_some());
    let host = if code.is_some() { Host::EnvoyGateway } else { Host::Kong };
    let config = match value.get("config") {
        Some(Value::String(text)) => Ok(Embedded::Text(text)),
        Some(config @ Value::Object(_)) => Ok(Embedded::Structure(config)),
        _ => Err("there is none, and weir refuses to start without".to_owned()),
    };
    // Kong names a filter as its module's file is named; its plugins have names and configurations, too.
    let is_ours = match host {
        Host::EnvoyGateway => {
            says_weir(name) || code.is_some_and(text_says_weir) || config.as_ref().is_ok_and(is_weirs)
        }
        _ => name == "weir" && (path.contains("filters[") || config.is_ok()),
    };
    // Envoy's own HTTP filter is called `weir` as well; its configuration is elsewhere.
    let is_envoys = value.get("typed_config").is_some() || value.get("vm_config").is_some();
    let (path, holder_path) = (join(path, "config"), path.to_owned());
    (is_ours && !is_envoys).then_some(Found { host, path, config, holder: value, holder_path })
}

/// Whether a configuration has fields that only weir's has.
fn is_weirs(config: &Embedded<'_>) -> bool {
    let value = config.value();
    let has = |name: &str| value.get(name).is_some();
    has("identity") || has("plans") && has("version")
}

/// Whether the parts of Envoy's configuration that name a module name weir.
fn of_parts(plugin: &Value) -> bool {
    let named = ["name", "root_id"].into_iter().filter_map(|field| plugin.get(field)?.as_str()).any(says_weir);
    named || plugin.get("vm_config").is_some_and(text_says_weir)
}

fn names_weir(plugin: &Value, field: &str) -> bool {
    plugin.get(field).and_then(|part| part.get("vm_id")).and_then(Value::as_str).is_some_and(says_weir)
}

/// Whether a text of the value, such as a file's name or an address, names weir.
fn text_says_weir(value: &Value) -> bool {
    let mut says = false;
    walk(value, "", &mut |_, part| says |= part.as_str().is_some_and(says_weir));
    says
}

/// Whether a name has the word weir in it.
fn says_weir(name: &str) -> bool {
    name.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word == "weir")
}

//! Describes configuration files from the types that read them: as JSON Schema for editors, and as a page for readers.
//!
//! `make docs` writes both into `docs/`; a test compares them with the types.
mod draft4;
mod metrics;

use std::fmt::Write as _;

use schemars::Schema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

use crate::config::ConfigFile;
use weir_tenants::TenantsFile;

/// A description that `weir schema` can print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Subject {
    /// The filter's configuration.
    Filter,
    /// The server's configuration, `weir.yaml`.
    Weir,
    /// The tenants file.
    Tenants,
    /// `weir.meta.json`, which describes the filter's configuration to Kong: JSON Schema draft-04.
    Kong,
    /// All of them, as the page `docs/configuration.md`.
    Reference,
    /// The metrics of gateways and server, as the page `docs/metrics.md`.
    Metrics,
}

/// The JSON Schema (draft 2020-12) of a file; None for what is no file of one's own.
pub fn json(subject: Subject) -> Option<Schema> {
    let generator = SchemaSettings::draft2020_12().into_generator();
    Some(match subject {
        Subject::Filter => generator.into_root_schema_for::<weir_filter::config::Config>(),
        Subject::Weir => generator.into_root_schema_for::<ConfigFile>(),
        Subject::Tenants => generator.into_root_schema_for::<TenantsFile>(),
        Subject::Kong | Subject::Reference | Subject::Metrics => return None,
    })
}

/// The output of `weir schema`.
pub fn print(subject: Subject) -> Result<String, serde_json::Error> {
    if subject == Subject::Kong {
        return Ok(serde_json::to_string_pretty(&of_kong())? + "\n");
    }
    if subject == Subject::Metrics {
        return metrics::page().map_err(serde::ser::Error::custom);
    }
    let Some(schema) = json(subject) else { return Ok(reference()) };
    Ok(serde_json::to_string_pretty(&schema)? + "\n")
}

/// The file that Kong reads beside `weir.wasm`.
fn of_kong() -> Value {
    let schema = json(Subject::Filter).map(|schema| draft4::of(schema.as_value()));
    serde_json::json!({ "config_schema": schema })
}

const INTRODUCTION: &str = "\
# Configuration

Every setting, with its default and its meaning. This page is generated from the types that read the configuration: `make docs`
writes it, and a test keeps it true. `weir schema filter`, `weir schema weir` and `weir schema tenants` print the same as JSON
Schema (also in [`docs/schema/`](schema/)), for editors: put `# yaml-language-server: $schema=…` at the top of a file.

Unknown fields are errors everywhere. `weir check FILE` says whether a file is good, and if not, where and what would be right.
`—` means that the field may be left out and has no default. Each type has one table, at its first use.
";

const CHAPTERS: [(Subject, &str, &str); 3] = [
    (
        Subject::Filter,
        "The filter",
        "The configuration that Envoy (as a Struct, or as JSON in a string) or Kong (with `weir.meta.json`, else as JSON in a string) \
         hands to `weir.wasm`.",
    ),
    (
        Subject::Weir,
        "The server: weir.yaml",
        "The file that `weir serve` and the other commands read (`--config`). Relative paths start at its folder.",
    ),
    (
        Subject::Tenants,
        "The tenants file",
        "The file that `tenants:` in `weir.yaml` names. The server watches it and loads it whole or not at all.",
    ),
];

/// The page for readers, in Markdown.
pub fn reference() -> String {
    let mut page = INTRODUCTION.to_owned();
    for (subject, title, about) in CHAPTERS {
        let Some(schema) = json(subject) else { continue };
        let _ = write!(page, "\n## {title}\n\n{about}\n");
        Chapter::new(schema.as_value()).write(&mut page);
    }
    page
}

/// The chapter of one schema. Each type appears once, at its first use.
struct Chapter<'a> {
    root: &'a Value,
    definitions: Option<&'a Map<String, Value>>,
    /// Types still to be written, each with the path of its first use.
    queue: Vec<(String, String)>,
    met: Vec<(String, String)>,
}

impl<'a> Chapter<'a> {
    fn new(root: &'a Value) -> Self {
        let definitions = root.get("$defs").and_then(Value::as_object);
        Chapter { root, definitions, queue: Vec::new(), met: Vec::new() }
    }

    fn write(mut self, page: &mut String) {
        self.fields(self.root, "", page);
        while !self.queue.is_empty() {
            let (name, path) = self.queue.remove(0);
            let Some(definition) = self.definitions.and_then(|all| all.get(&name)) else { continue };
            let _ = write!(page, "\n### `{path}`\n\n{}\n", text(definition));
            if let Some(forms) = forms(definition) {
                self.forms(forms, &path, page);
            } else {
                self.fields(definition, &path, page);
            }
        }
    }

    /// Writes a table of an object's fields.
    fn fields(&mut self, object: &Value, path: &str, page: &mut String) {
        let Some(fields) = object.get("properties").and_then(Value::as_object) else { return };
        let required: Vec<&str> =
            object.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
        page.push_str("\n| field | is | default | meaning |\n|---|---|---|---|\n");
        for (name, field) in fields {
            let below = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            let kind = self.kind(field, &below);
            let meaning = text(field);
            let default = match field.get("default") {
                _ if required.contains(&name.as_str()) => "required".to_owned(),
                None | Some(Value::Null) => told(&meaning).unwrap_or("—").to_owned(),
                Some(value) => format!("`{value}`"),
            };
            let _ = writeln!(page, "| `{name}` | {kind} | {default} | {meaning} |");
        }
    }

    /// Writes a list of a value's possible forms.
    fn forms(&mut self, forms: &[Value], path: &str, page: &mut String) {
        page.push('\n');
        for form in forms {
            for name in form.get("enum").and_then(Value::as_array).into_iter().flatten().chain(form.get("const")) {
                let _ = writeln!(page, "* `{}`: {}", name.as_str().unwrap_or_default(), text(form));
            }
            for (name, field) in form.get("properties").and_then(Value::as_object).into_iter().flatten() {
                let kind = self.kind(field, &format!("{path}.{name}"));
                let _ = writeln!(page, "* `{name}` ({kind}): {}", text(form));
            }
        }
    }

    /// A field's type in words; queues the types that it refers to.
    fn kind(&mut self, field: &Value, path: &str) -> String {
        if let Some(name) = reference_of(field) {
            return self.meet(name, path);
        }
        if let Some(items) = field.get("items").filter(|_| field["type"] != serde_json::json!(["string", "array"])) {
            let kind = self.kind(items, &format!("{path}[]"));
            return if kind.starts_with("see ") { format!("list, {kind}") } else { format!("list of {kind}") };
        }
        if let Some(values) = field.get("additionalProperties").filter(|value| value.is_object()) {
            let kind = self.kind(values, &format!("{path}.NAME"));
            return if kind.starts_with("see ") {
                format!("map by name, {kind}")
            } else {
                format!("map by name of {kind}")
            };
        }
        let example = field.get("examples").and_then(|all| all.get(0)?.as_str());
        let plain = match field.get("type") {
            Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null"),
            kind => kind.and_then(Value::as_str),
        };
        let plain = match plain.unwrap_or("value") {
            "string" => "text",
            "boolean" => "`true` or `false`",
            "integer" => "whole number",
            other => other,
        };
        example.map_or_else(|| plain.to_owned(), |example| format!("{plain}: `{example}`"))
    }

    /// Refers to a named type: a link, or its values if it is a short enumeration.
    fn meet(&mut self, name: &str, path: &str) -> String {
        if let Some((_, first)) = self.met.iter().find(|(met, _)| met == name) {
            return format!("see `{first}`");
        }
        self.met.push((name.to_owned(), path.to_owned()));
        self.queue.push((name.to_owned(), path.to_owned()));
        format!("see `{path}`")
    }
}

/// The name of the type that a field refers to, through an option or an annotation.
fn reference_of(field: &Value) -> Option<&str> {
    let direct = field.get("$ref").and_then(Value::as_str);
    let among = field.get("anyOf").and_then(Value::as_array).into_iter().flatten();
    direct.or_else(|| among.filter_map(|form| form.get("$ref")?.as_str()).next())?.strip_prefix("#/$defs/")
}

fn forms(definition: &Value) -> Option<&Vec<Value>> {
    definition.get("oneOf").or_else(|| definition.get("anyOf")).and_then(Value::as_array)
}

/// The default of a field that may be absent, where its description gives one: `` Absent: `10m` `` or `Absent: 25`.
fn told(meaning: &str) -> Option<&str> {
    let (_, after) = meaning.split_once("Absent: ")?;
    if let Some(code) = after.strip_prefix('`') {
        return after.get(..code.find('`')? + 2);
    }
    let digits = after.bytes().take_while(u8::is_ascii_digit).count();
    after.get(..digits).filter(|digits| !digits.is_empty())
}

/// A description on one line, escaped for a table cell.
fn text(value: &Value) -> String {
    let text = value.get("description").and_then(Value::as_str).unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|").replace("[`", "`").replace("`]", "`")
}

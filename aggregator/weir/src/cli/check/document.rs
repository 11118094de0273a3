//! Splits a file into its documents, recognises each, and checks it as what it is.
//!
//! Nothing is guessed: YAML that is none of the kinds below is an error that names them.
use std::path::Path;

use serde_json::Value;

use super::embedded::{self, Embedded};
use super::point::{self, Problem};
use super::{
    CheckedFor, Finding, Severity, apart, buffers, clusters, envoy, host, kubernetes, named, per_route, rules, yaml_1_1,
};
use crate::cli::gateway::{Runner, of_text};
use crate::config::{Config, ConfigFile};
use weir_filter::routing::unread_of_delivered;
use weir_settings::yaml::YamlError;
use weir_settings::yaml::located::Node;
use weir_tenants::{DirectoryError, Snapshot};

/// The most documents of one file: a cluster's whole manifest has some hundreds.
const DOCUMENTS_MAX: usize = 1_000;

/// Problems with their places in the file.
pub(super) type Problems = Vec<(Severity, Problem)>;

/// The kinds of documents.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    /// A gateway's, with so many weir filters; the name says whose.
    Gateway { name: String, filters: usize },
    /// The filter's alone.
    Filter,
    /// The server's.
    Server,
    /// A tenants file.
    Tenants,
    /// What `weir gateway generate` reads.
    Generator,
    /// A `ConfigMap` or `Secret` with weir's files in it.
    Files { name: String, kinds: Vec<Kind> },
    /// A Kubernetes object that weir does not read.
    Object,
}

impl Kind {
    fn describe(&self) -> String {
        match self {
            Kind::Gateway { name, filters: 0 } => format!("{name}, without weir"),
            Kind::Gateway { name, filters: 1 } => format!("{name}, with one weir filter"),
            Kind::Gateway { name, filters } => format!("{name}, with {filters} weir filters"),
            Kind::Filter => "the filter's configuration".to_owned(),
            Kind::Server => "the server's configuration".to_owned(),
            Kind::Tenants => "a tenants file".to_owned(),
            Kind::Generator => "what weir gateway generate reads".to_owned(),
            Kind::Files { name, kinds } => format!("{} in a {name}", list(kinds.iter().map(Kind::describe))),
            Kind::Object => "a Kubernetes object that weir does not read".to_owned(),
        }
    }
}

fn list(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(", ")
}

/// Describes a file's documents, those that weir does not read as one.
fn describe(kinds: &[Kind]) -> String {
    let unread = kinds.iter().filter(|kind| **kind == Kind::Object).count();
    let read = kinds.iter().filter(|kind| **kind != Kind::Object).map(Kind::describe);
    let rest = match unread {
        0 => None,
        1 => Some(Kind::Object.describe()),
        many => Some(format!("{many} Kubernetes objects that weir does not read")),
    };
    list(read.chain(rest))
}

/// Checks a file's text: what it is, if every document is known, and all problems.
pub(super) fn check(path: &Path, text: &str, gateway: CheckedFor) -> (Option<String>, Problems) {
    let error = |message: String| (None, vec![(Severity::Error, Problem::without_place(message))]);
    let documents = split(text);
    if documents.is_empty() {
        return error("empty; there is nothing to check".to_owned());
    }
    if documents.len() > DOCUMENTS_MAX {
        return error(format!("{} documents, at most {DOCUMENTS_MAX}", documents.len()));
    }
    let (mut kinds, mut problems) = (Vec::new(), Vec::new());
    for document in &documents {
        let (kind, found) = check_one(path, document, gateway);
        kinds.push(kind);
        problems.extend(found);
    }
    let Some(kinds) = kinds.into_iter().collect::<Option<Vec<_>>>() else { return (None, problems) };
    if kinds.iter().all(|kind| *kind == Kind::Object) {
        return error("nothing here is weir's: no weir filter, and none of its files in a ConfigMap".to_owned());
    }
    (Some(describe(&kinds)), problems)
}

/// The documents of a file, each with as many empty lines before it as lines precede it, so that places stay true. `---` at a
/// line's start always ends a document, even within a block of text.
fn split(text: &str) -> Vec<String> {
    let is_marker = |line: &str| {
        line.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r']))
    };
    let mut documents: Vec<String> = vec![String::new()];
    for (at, line) in text.lines().enumerate() {
        if is_marker(line) {
            documents.push("\n".repeat(at));
        }
        if let Some(document) = documents.last_mut() {
            document.push_str(line);
            document.push('\n');
        }
    }
    let says_something = |line: &str| {
        let line = line.trim();
        !(line.is_empty() || line.starts_with(['#', '%']) || line == "---" || line == "...")
    };
    documents.retain(|document| document.lines().any(says_something));
    documents
}

/// Checks one document.
fn check_one(path: &Path, text: &str, on: CheckedFor) -> (Option<Kind>, Problems) {
    let error = |problem| (None, vec![(Severity::Error, problem)]);
    let node = match Node::parse(path, text) {
        Ok(node) => node,
        Err(failed) => return error(Problem::of_yaml(&failed)),
    };
    let value = node.value();
    match recognise(&value) {
        Some(kind @ Kind::Gateway { .. }) => {
            let problems = gateway(&value, text, &node);
            (Some(kind), problems)
        }
        Some(Kind::Files { name, .. }) => carried((path, text, on), &node, &value, name),
        Some(Kind::Filter) => (Some(Kind::Filter), filter(&value, text, &node, on)),
        Some(Kind::Server) => {
            let problems = match Config::parse(path, text) {
                Ok(config) => unread(&config, &node),
                Err(failed) => vec![(Severity::Error, Problem::of_server(&node, &failed))],
            };
            (Some(Kind::Server), problems)
        }
        Some(Kind::Tenants) => (Some(Kind::Tenants), tenants(path, text, &node)),
        Some(Kind::Generator) => (Some(Kind::Generator), generator(path, text, &node)),
        Some(Kind::Object) => (Some(Kind::Object), Vec::new()),
        None => error(unknown(&node, &value)),
    }
}

/// Checks every file of the object `name` that weir reads. Others are left alone: a `ConfigMap` may hold anything.
fn carried(
    (path, text, on): (&Path, &str, CheckedFor),
    node: &Node,
    value: &Value,
    name: String,
) -> (Option<Kind>, Problems) {
    let (mut kinds, mut problems) = (Vec::new(), Vec::new());
    for file in kubernetes::files(value) {
        let (kind, found) = check_one(path, file.text, on);
        if kind.is_none() && !file.is_named {
            continue;
        }
        let (scalar, _) = node.find(&file.path);
        problems.extend(found.into_iter().map(|problem| within(text, scalar, &file.path, problem)));
        kinds.extend(kind);
    }
    if kinds.is_empty() && problems.is_empty() {
        return (Some(Kind::Object), Vec::new());
    }
    (Some(Kind::Files { name, kinds }), problems)
}

/// Fields of the catalogue that gateways read in their own configurations alone.
fn unread(config: &Config, node: &Node) -> Problems {
    let fields = config.catalogue.iter().flat_map(|catalogue| unread_of_delivered(&catalogue.says));
    let warn = |field: String| {
        let problem = "no gateway reads it here: each has its own, in `providers` of its configuration; leave it out";
        place(node, Finding::warning(field, problem))
    };
    fields.map(warn).collect()
}

/// What a document is, by the names that only this kind has.
fn recognise(value: &Value) -> Option<Kind> {
    let has = |name: &str| value.get(name).is_some();
    let filters = embedded::find(value).len();
    let gateway = |name: String| Some(Kind::Gateway { name, filters });
    if let Some(kind) = value.get("kind").and_then(Value::as_str).filter(|_| has("apiVersion")) {
        return match kind {
            _ if filters > 0 => gateway(format!("Kubernetes {kind}")),
            "ConfigMap" | "Secret" => Some(Kind::Files { name: kind.to_owned(), kinds: Vec::new() }),
            _ => Some(Kind::Object),
        };
    }
    if has("_format_version") {
        return gateway("Kong's configuration".to_owned());
    }
    if filters > 0 || has("static_resources") || has("dynamic_resources") {
        let name =
            if has("filter_chains") || has("services") { "Kong's configuration" } else { "Envoy's configuration" };
        return gateway(name.to_owned());
    }
    if value.get("tenants").is_some_and(Value::is_array) && !["identity", "plans", "routes"].into_iter().any(has) {
        return Some(Kind::Tenants);
    }
    if ["listen", "providers", "filter"].into_iter().all(has) {
        return Some(Kind::Generator);
    }
    // Compose files have a version, too.
    if has("identity") || has("plans") || has("version") && !has("services") {
        return Some(Kind::Filter);
    }
    let fields = value.as_object().into_iter().flatten().map(|(name, _)| name.as_str());
    ConfigFile::is_meant_by(fields).then_some(Kind::Server)
}

fn unknown(node: &Node, value: &Value) -> Problem {
    let fields: Vec<&str> = value.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).take(4).collect();
    let said = match fields.as_slice() {
        [] => "no fields".to_owned(),
        fields => format!("the fields {}", fields.join(", ")),
    };
    let message = format!(
        "weir does not know what this is: it has {said}. Known are: the server's configuration (weir.yaml), a tenants file, the \
         filter's configuration, what `weir gateway generate` reads, and files of Envoy, Kong, Istio, Envoy Gateway and Kubernetes with any of these in them"
    );
    Problem { location: node.location, message }
}

/// Checks a gateway's document and every weir filter in it.
fn gateway(value: &Value, text: &str, node: &Node) -> Problems {
    let found = embedded::find(value);
    let mut problems: Problems = Vec::new();
    for filter in &found {
        match &filter.config {
            Ok(config) => {
                let wrong = config.check(text, node, &filter.path).err();
                problems.extend(wrong.map(|problem| (Severity::Error, problem)));
            }
            Err(problem) => {
                problems
                    .push((Severity::Error, Problem::at(node, &filter.path, format!("{}: {problem}", filter.path))));
            }
        }
    }
    let of_envoy = envoy::problems(value).into_iter().chain(buffers::problems(value));
    let mut findings: Vec<Finding> = of_envoy.map(|(path, problem)| Finding::error(path, problem)).collect();
    findings.extend(host::findings(value, &found));
    findings.extend(per_route::findings(value, &found));
    findings.extend(clusters::findings(value, &found));
    findings.extend(named::findings(value, &found));
    findings.extend(
        found.iter().flat_map(|filter| {
            filter.config.as_ref().ok().into_iter().flat_map(|config| config.findings(&filter.path))
        }),
    );
    problems.extend(findings.into_iter().map(|finding| place(node, finding)));
    problems.extend(yaml_1_1::warnings(node, text).into_iter().map(|problem| (Severity::Warning, problem)));
    problems
}

fn place(node: &Node, Finding { severity, path, problem }: Finding) -> (Severity, Problem) {
    let message = if path.is_empty() { problem } else { format!("{path}: {problem}") };
    (severity, Problem::at(node, &path, message))
}

fn filter(value: &Value, text: &str, node: &Node, on: CheckedFor) -> Problems {
    let config = Embedded::Structure(value);
    let wrong = config.check(text, node, "").err().map(|problem| (Severity::Error, problem));
    let of_gateway = if on == CheckedFor::Kong { host::on_kong(value) } else { Vec::new() };
    let findings = rules::findings(value).into_iter().chain(apart::findings(value)).chain(of_gateway);
    let findings = findings.map(|finding| place(node, finding));
    wrong.into_iter().chain(findings).collect()
}

fn tenants(path: &Path, text: &str, node: &Node) -> Problems {
    let problem = match Snapshot::parse(path, text) {
        Ok(tenants) => {
            let warning = |text: &String| (Severity::Warning, Problem::at(node, "tenants", text.clone()));
            return tenants.warnings().iter().map(warning).collect();
        }
        Err(DirectoryError::Yaml(failed)) => Problem::of_yaml(&failed),
        Err(DirectoryError::Content { problem, .. }) => Problem::at(node, "tenants", format!("tenants: {problem}")),
        Err(error @ DirectoryError::Json(_)) => Problem::at(node, "tenants", error.to_string()),
    };
    vec![(Severity::Error, problem)]
}

fn generator(path: &Path, text: &str, node: &Node) -> Problems {
    let Err(failed) = of_text(path, text, Runner::Envoy) else { return Vec::new() };
    let problem = match failed.downcast_ref::<YamlError>() {
        Some(failed) => Problem::of_yaml(failed),
        None => {
            let message = failed.to_string();
            let field = message.split(": ").next().unwrap_or_default();
            Problem::at(node, field, message.clone())
        }
    };
    vec![(Severity::Error, problem)]
}

impl Embedded<'_> {
    /// What is odd in this configuration, with paths from the document's root.
    fn findings(&self, path: &str) -> Vec<Finding> {
        let under = |finding: Finding| match self {
            Embedded::Structure(_) => Finding { path: format!("{path}.{}", finding.path), ..finding },
            // The text's own fields have no path in the document.
            Embedded::Text(_) => {
                Finding { path: path.to_owned(), problem: format!("{}: {}", finding.path, finding.problem), ..finding }
            }
        };
        let value = self.value();
        rules::findings(&value).into_iter().chain(apart::findings(&value)).map(under).collect()
    }
}

/// Translates a problem within the text `inner` of the file to the file.
fn within(file: &str, scalar: &Node, name: &str, (severity, problem): (Severity, Problem)) -> (Severity, Problem) {
    let location = point::in_file(file, scalar, problem.location);
    (severity, Problem { location, message: format!("{name}: {}", problem.message) })
}

//! Finds the files that a `ConfigMap` or a `Secret` carries as texts.
use serde_json::Value;

/// The members of a `ConfigMap` and of a `Secret` that hold files as texts.
const MEMBERS: [&str; 2] = ["data", "stringData"];
/// The ends of the names of files that can be weir's.
const ENDS: [&str; 3] = [".yaml", ".yml", ".json"];

/// A file in an object.
pub(super) struct Carried<'a> {
    /// Its path in the document.
    pub(super) path: String,
    /// Its text.
    pub(super) text: &'a str,
    /// Whether it bears one of weir's own names, so that it is weir's whatever is in it.
    pub(super) is_named: bool,
}

/// The files of an object that can be weir's.
pub(super) fn files(object: &Value) -> Vec<Carried<'_>> {
    let mut found = Vec::new();
    for member in MEMBERS {
        let files = object.get(member).and_then(Value::as_object);
        for (name, content) in files.into_iter().flatten() {
            let Some(text) = content.as_str().filter(|_| ENDS.iter().any(|end| name.ends_with(end))) else { continue };
            let is_named = name.starts_with("weir.") || name.starts_with("tenants.");
            found.push(Carried { path: format!("{member}.{name}"), text, is_named });
        }
    }
    found
}

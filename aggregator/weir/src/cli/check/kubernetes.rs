//! Checks weir's files that a `ConfigMap` or a `Secret` carries as texts.
use std::path::Path;

use serde_json::Value;

use super::document::{Kind, Problems, check_one, within};
use weir_settings::yaml::located::Node;

/// The members of a `ConfigMap` and of a `Secret` that hold files as texts.
const MEMBERS: [&str; 2] = ["data", "stringData"];
/// The ends of the names of files that can be weir's.
const ENDS: [&str; 3] = [".yaml", ".yml", ".json"];

/// Checks every file of the object `kind` that weir reads. Others are left alone: a `ConfigMap` may hold anything.
pub(super) fn check_files(
    path: &Path,
    text: &str,
    node: &Node,
    value: &Value,
    name: String,
) -> (Option<Kind>, Problems) {
    let (mut kinds, mut problems) = (Vec::new(), Vec::new());
    for member in MEMBERS {
        let files = value.get(member).and_then(Value::as_object);
        for (file, content) in files.into_iter().flatten() {
            let Some(content) = content.as_str().filter(|_| ENDS.iter().any(|end| file.ends_with(end))) else {
                continue;
            };
            let (kind, found) = check_one(path, content);
            // A file that bears weir's own names is weir's, whatever is in it.
            if kind.is_none() && !file.starts_with("weir.") && !file.starts_with("tenants.") {
                continue;
            }
            let place = format!("{member}.{file}");
            let (scalar, _) = node.find(&place);
            problems.extend(found.into_iter().map(|problem| within(text, scalar, &place, problem)));
            kinds.extend(kind);
        }
    }
    if kinds.is_empty() && problems.is_empty() {
        return (Some(Kind::Object), Vec::new());
    }
    (Some(Kind::Files { name, kinds }), problems)
}

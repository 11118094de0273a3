//! The reference page of settings matches the types.
use std::path::PathBuf;

use weir::schema::{Subject, print};

fn docs(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(file)
}

#[test]
fn the_reference_and_the_schemas_are_those_of_the_types() {
    for (subject, file) in [
        (Subject::Filter, "schema/filter.json"),
        (Subject::Weir, "schema/weir.json"),
        (Subject::Tenants, "schema/tenants.json"),
        (Subject::Kong, "../kong/weir.meta.json"),
        (Subject::Reference, "configuration.md"),
        (Subject::Metrics, "metrics.md"),
    ] {
        let written = std::fs::read_to_string(docs(file)).unwrap_or_default();
        assert!(written == print(subject).expect("json"), "docs/{file} is out of date: run `make docs`");
    }
}

#[test]
fn every_setting_says_what_it_means() {
    fn silent(value: &serde_json::Value, path: &str, found: &mut Vec<String>) {
        if let Some(fields) = value.get("properties").and_then(serde_json::Value::as_object) {
            let mute = fields.iter().filter(|(_, field)| field.get("description").is_none());
            found.extend(mute.map(|(name, _)| format!("{path}.{name}")));
        }
        match value {
            serde_json::Value::Object(fields) => {
                fields.iter().for_each(|(name, field)| silent(field, &format!("{path}/{name}"), found));
            }
            serde_json::Value::Array(items) => items.iter().for_each(|item| silent(item, path, found)),
            _ => {}
        }
    }
    for subject in [Subject::Filter, Subject::Weir, Subject::Tenants] {
        let mut found = Vec::new();
        silent(weir::schema::json(subject).expect("a schema").as_value(), "", &mut found);
        // The variants of an enumeration carry their own descriptions.
        found.retain(|path| !path.contains("/oneOf"));
        assert_eq!(found, Vec::<String>::new(), "{subject:?}");
    }
}

//! Compares two sets of entries: what would change if one took the other's place.
use std::collections::BTreeMap;

use serde::Serialize;
use weir_contract::Timestamp;

use super::entry::Entry;

/// A difference between two sets of entries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The provider; absent for any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// The model or pattern.
    pub model: String,
    /// From when on the entry applies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effective_from: Option<Timestamp>,
    /// The price's field: `per_million.input`, or empty if the whole entry is new or gone.
    pub field: String,
    /// Before; absent if it is new.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old: Option<String>,
    /// After; absent if it is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new: Option<String>,
}

type Key<'e> = (Option<&'e str>, &'e str, Option<Timestamp>);

/// The differences from `old` to `new`, by provider, model and field.
pub fn diff(old: &[Entry], new: &[Entry]) -> Vec<Difference> {
    let (old, new) = (keyed(old), keyed(new));
    let mut differences = Vec::new();
    for (key, before) in &old {
        match new.get(key) {
            Some(after) => changed(*key, before, after, &mut differences),
            None => differences.push(difference(*key, "", Some(&shown(before)), None)),
        }
    }
    for (key, after) in new.iter().filter(|(key, _)| !old.contains_key(*key)) {
        differences.push(difference(*key, "", None, Some(&shown(after))));
    }
    differences.sort_by(|a, b| {
        (&a.provider, &a.model, a.effective_from, &a.field).cmp(&(&b.provider, &b.model, b.effective_from, &b.field))
    });
    differences
}

/// The fields of each entry, by provider, model and start.
fn keyed(entries: &[Entry]) -> BTreeMap<Key<'_>, BTreeMap<String, String>> {
    entries
        .iter()
        .map(|entry| ((entry.provider.as_deref(), &*entry.model, entry.effective_from), fields(entry)))
        .collect()
}

fn changed(key: Key<'_>, old: &BTreeMap<String, String>, new: &BTreeMap<String, String>, into: &mut Vec<Difference>) {
    for (field, before) in old {
        let after = new.get(field);
        if after != Some(before) {
            into.push(difference(key, field, Some(before), after.map(String::as_str)));
        }
    }
    for (field, after) in new.iter().filter(|(field, _)| !old.contains_key(*field)) {
        into.push(difference(key, field, None, Some(after)));
    }
}

fn difference((provider, model, from): Key<'_>, field: &str, old: Option<&str>, new: Option<&str>) -> Difference {
    Difference {
        provider: provider.map(str::to_owned),
        model: model.to_owned(),
        effective_from: from,
        field: field.to_owned(),
        old: old.map(str::to_owned),
        new: new.map(str::to_owned),
    }
}

fn shown(fields: &BTreeMap<String, String>) -> String {
    fields.iter().map(|(field, value)| format!("{field} {value}")).collect::<Vec<_>>().join(", ")
}

/// Every price of an entry by its path.
fn fields(entry: &Entry) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    // An entry is made of texts, numbers and objects, and always serializes.
    let mut value = serde_json::to_value(entry).unwrap_or_default();
    if let Some(object) = value.as_object_mut() {
        for name in ["provider", "model", "effective_from"] {
            object.remove(name);
        }
    }
    flatten("", &value, &mut all);
    all
}

fn flatten(path: &str, value: &serde_json::Value, into: &mut BTreeMap<String, String>) {
    let within = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match value {
        serde_json::Value::Object(fields) => {
            fields.iter().for_each(|(name, value)| flatten(&within(name), value, into));
        }
        serde_json::Value::Array(items) => {
            items.iter().enumerate().for_each(|(number, item)| flatten(&format!("{path}[{number}]"), item, into));
        }
        serde_json::Value::String(text) => _ = into.insert(path.to_owned(), text.clone()),
        other => _ = into.insert(path.to_owned(), other.to_string()),
    }
}

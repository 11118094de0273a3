//! Translates JSON Schema draft 2020-12, which the types produce, to draft-04, which Kong reads.
//!
//! Source: "JSON Schema: core definitions and terminology" and "interactive and non interactive validation", draft-04,
//! and the migration notes of the drafts between.
use serde_json::{Map, Value, json};

const DIALECT: &str = "http://json-schema.org/draft-04/schema#";

/// Translates a schema.
pub(super) fn of(schema: &Value) -> Value {
    let mut schema = translate(schema);
    schema["$schema"] = json!(DIALECT);
    schema
}

fn translate(schema: &Value) -> Value {
    let Value::Object(words) = schema else {
        // `true` accepts everything, `false` nothing.
        return if *schema == Value::Bool(false) { json!({"not": {}}) } else { json!({}) };
    };
    let mut words: Map<String, Value> = words.iter().filter_map(|(name, value)| word(name, value)).collect();
    // Draft-04 marks a bound as exclusive with a flag beside it.
    for (exclusive, bound) in [("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")] {
        if let Some(value) = words.get_mut(exclusive) {
            let value = std::mem::replace(value, Value::Bool(true));
            words.insert(bound.to_owned(), value);
        }
    }
    Value::Object(words)
}

/// Translates a keyword and its value; None if draft-04 does not have it.
fn word(name: &str, value: &Value) -> Option<(String, Value)> {
    let translated = match name {
        "$defs" => return Some(("definitions".to_owned(), each(value))),
        "$ref" => json!(value.as_str()?.replacen("#/$defs/", "#/definitions/", 1)),
        "const" => return Some(("enum".to_owned(), json!([value]))),
        "examples" | "$schema" => return None,
        "properties" | "patternProperties" => each(value),
        "oneOf" | "anyOf" | "allOf" => value.as_array()?.iter().map(translate).collect(),
        "items" | "not" => translate(value),
        "additionalProperties" if value.is_object() => translate(value),
        _ => value.clone(),
    };
    Some((name.to_owned(), translated))
}

/// Translates each schema of a map.
fn each(schemas: &Value) -> Value {
    let schemas = schemas.as_object().into_iter().flatten();
    Value::Object(schemas.map(|(name, schema)| (name.clone(), translate(schema))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_draft_04_says_otherwise_is_translated() {
        let new = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object",
            "properties": {"const": {"const": "a", "examples": ["a"]}, "n": {"exclusiveMinimum": 0},
                           "any": true, "more": {"$ref": "#/$defs/More"}},
            "additionalProperties": false,
            "$defs": {"More": {"oneOf": [{"const": 1}, {"items": {"$ref": "#/$defs/More"}}]}},
        });
        let old = json!({
            "$schema": DIALECT, "type": "object",
            "properties": {"const": {"enum": ["a"]}, "n": {"minimum": 0, "exclusiveMinimum": true},
                           "any": {}, "more": {"$ref": "#/definitions/More"}},
            "additionalProperties": false,
            "definitions": {"More": {"oneOf": [{"enum": [1]}, {"items": {"$ref": "#/definitions/More"}}]}},
        });
        assert_eq!(of(&new), old);
    }
}

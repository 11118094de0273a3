//! Texts that an attacker would send: names spelt otherwise, members twice, other types, and tricks with filters.
use serde_json::{Value, json};
use weir_seeded::SplitMix64;

use super::{FIELD, OTHER, OWN};

/// One of these.
pub(crate) fn pick<'a, T>(random: &mut SplitMix64, from: &'a [T]) -> &'a T {
    &from[random.index(from.len())]
}

/// A value that a payload or filter may hold.
pub(crate) fn value(random: &mut SplitMix64) -> Value {
    let values = [json!(1), json!(2), json!("red"), json!("blue"), json!(OTHER), json!(OWN), json!(null), json!(true)];
    pick(random, &values).clone()
}

/// The name of a member of a record.
pub(crate) fn key(random: &mut SplitMix64) -> &'static str {
    const KEYS: [&str; 8] = ["n", "color", "n", "color", FIELD, "Tenant_Id", "tenant_id ", "größe"];
    KEYS[random.index(KEYS.len())]
}

/// A JSON text of a value, spelt in a way of its own: white space, escapes, now and then a name twice or in other letters.
pub(crate) fn spell(random: &mut SplitMix64, value: &Value, tricks: bool) -> String {
    match value {
        Value::Object(members) => {
            let mut parts = Vec::new();
            for (name, value) in members {
                let text = spell(random, value, tricks);
                parts.push(format!("{}:{}{text}", name_of(random, name, tricks), space(random)));
                if tricks && random.percent(2) {
                    parts.push(format!(
                        "{}:{}",
                        name_of(random, name, false),
                        pick(random, &["null", "{}", "[]", "1"])
                    ));
                }
            }
            format!("{{{}{}}}", space(random), parts.join(","))
        }
        Value::Array(elements) => {
            let parts: Vec<String> = elements.iter().map(|element| spell(random, element, tricks)).collect();
            format!("[{}]", parts.join(", "))
        }
        Value::String(text) if tricks && random.percent(10) => escaped(text),
        other => other.to_string(),
    }
}

fn name_of(random: &mut SplitMix64, name: &str, tricks: bool) -> String {
    match random.below(100) {
        0 if tricks => Value::from(name.to_uppercase()).to_string(),
        1 if tricks => Value::from(format!("{name} ")).to_string(),
        2..8 => escaped(name),
        _ => Value::from(name).to_string(),
    }
}

/// A string with every letter escaped.
fn escaped(text: &str) -> String {
    let letters: String = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
    format!("\"{letters}\"")
}

fn space(random: &mut SplitMix64) -> &'static str {
    ["", "", " ", "\n\t"][random.index(4)]
}

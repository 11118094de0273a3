//! Rows by their primary key, as Milvus keeps them: an inserted row takes the place of the one that had its key, and an expression to
//! delete by finds keys first, whose rows then go.
use std::collections::BTreeMap;

use serde_json::{Value, json};
use weir_seeded::SplitMix64;
use weir_vector_guard::{By, Guard, Store};

use super::super::generate::{pick, spell, value};
use super::super::{FIELD, Fate, OWN, guard, pass};
use super::{Parser, expression};

type Rows = BTreeMap<String, Value>;

/// Rows of three owners. `is_text`: their keys are texts; else the store gives numbers.
fn rows(is_text: bool) -> Rows {
    let key = |row: &Value| match row[FIELD].as_str() {
        _ if !is_text => row["id"].clone(),
        Some("") => json!(format!("r{}", row["id"])),
        owner => json!(format!("tenant_{}_r{}", owner.expect("an owner"), row["id"])),
    };
    let keyed = super::rows().into_iter().map(|mut row| {
        row["id"] = key(&row);
        (row["id"].to_string(), row)
    });
    keyed.collect()
}

pub(super) fn one(random: &mut SplitMix64) -> Fate {
    let is_text = random.percent(50);
    let guard = Guard { primary_field: Some("id".into()), ..guard(Store::Milvus, By::Filter) };
    let before = rows(is_text);
    let data: Vec<Value> = (0..=random.below(2)).map(|_| row(random, is_text)).collect();
    let tricks = random.percent(30);
    let text = spell(random, &json!({"collectionName": "docs", "data": data}), tricks);
    let Ok((_, sent)) = pass(&guard, "POST", "/v2/vectordb/entities/insert", &text) else { return Fate::Refused };
    let Some(after) = inserted(before.clone(), &sent, is_text) else { return Fate::Judged };
    check(&before, &after, &text);
    let text = json!({"collectionName": "docs", "filter": expression(random, 2)}).to_string();
    let Ok((_, sent)) = pass(&guard, "POST", "/v2/vectordb/entities/delete", &text) else { return Fate::Judged };
    let filter = sent["filter"].as_str().expect("an expression");
    let left = after.into_iter().filter(|(_, row)| Parser::whole(filter, row) != Some(true)).collect();
    check(&before, &left, &text);
    Fate::Judged
}

fn row(random: &mut SplitMix64, is_text: bool) -> Value {
    let number = random.below(30);
    let mut row = json!({"n": 9, "color": "red", FIELD: value(random)});
    let keys = [json!(number), json!(format!("r{number}")), json!(format!("tenant_globex_r{number}")), Value::Null];
    if random.percent(if is_text { 90 } else { 30 }) {
        row["id"] = pick(random, &keys).clone();
    }
    if random.percent(5) {
        row["$meta"] = json!({FIELD: "globex"});
    }
    row
}

/// The rows behind an insertion; None for one that the store refuses.
fn inserted(mut rows: Rows, sent: &Value, is_text: bool) -> Option<Rows> {
    for (at, row) in sent["data"].as_array()?.iter().enumerate() {
        let mut row = row.clone();
        match row.get("id") {
            None if !is_text => row["id"] = json!(1000 + at),
            Some(Value::String(_)) if is_text => {}
            Some(Value::Number(_)) if !is_text => {}
            _ => return None,
        }
        rows.insert(row["id"].to_string(), row);
    }
    Some(rows)
}

fn check(before: &Rows, after: &Rows, text: &str) {
    for (key, row) in before.iter().filter(|(_, row)| row[FIELD] != OWN) {
        assert_eq!(after.get(key), Some(row), "{key} is another's: {text}");
    }
    for (key, row) in after.iter().filter(|(key, row)| before.get(*key) != Some(row)) {
        assert_eq!(row[FIELD], OWN, "{key} lacks its mark: {text}");
    }
}

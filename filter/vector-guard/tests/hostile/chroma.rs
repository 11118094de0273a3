//! A Chroma that evaluates `where` as its documentation says, over records of three owners.
use serde_json::{Map, Value, json};
use weir_seeded::SplitMix64;
use weir_vector_guard::{By, Store, Verdict};

use super::generate::{key, pick, spell, value};
use super::{FIELD, Fate, OTHER, OWN, guard, pass};

type Records = Vec<(String, Map<String, Value>)>;

const COLLECTION: &str = "/api/v2/tenants/t/databases/d/collections/9b2c4a1e-0000-4000-8000-000000000000";

fn records() -> Records {
    let record = |number: usize| {
        let (owner, prefix) = match number % 3 {
            0 => (json!(OWN), "tenant_acme_"),
            1 => (json!(OTHER), "tenant_globex_"),
            // Written past the gateway, under somebody's name.
            _ => (Value::Null, if number.is_multiple_of(2) { "tenant_acme_" } else { "" }),
        };
        let mut metadata = json!({"n": number % 3, "color": if number.is_multiple_of(2) { "red" } else { "blue" }});
        if !owner.is_null() {
            metadata[FIELD] = owner;
        }
        (format!("{prefix}r{number}"), metadata.as_object().expect("an object").clone())
    };
    (0..30).map(record).collect()
}

fn meets(filter: &Value, metadata: &Map<String, Value>) -> Option<bool> {
    let members = filter.as_object()?;
    if members.is_empty() {
        return Some(true);
    }
    let mut holds = true;
    for (name, of) in members {
        let all = || of.as_array()?.iter().map(|filter| meets(filter, metadata)).collect::<Option<Vec<bool>>>();
        holds &= match name.as_str() {
            "$and" => all()?.into_iter().all(|met| met),
            "$or" => all()?.into_iter().any(|met| met),
            name if name.starts_with('$') => return None,
            name => compares(metadata.get(name), of)?,
        };
    }
    Some(holds)
}

fn compares(found: Option<&Value>, of: &Value) -> Option<bool> {
    let Some(operators) = of.as_object() else { return Some(found == Some(of)) };
    let mut holds = true;
    for (operator, value) in operators {
        holds &= match operator.as_str() {
            "$eq" => found == Some(value),
            "$ne" => found != Some(value),
            "$in" => value.as_array()?.iter().any(|value| found == Some(value)),
            "$nin" => value.as_array()?.iter().all(|value| found != Some(value)),
            _ => return None,
        };
    }
    Some(holds)
}

fn filter(random: &mut SplitMix64, depth: u64) -> Value {
    match random.below(6) {
        0 if depth > 0 => json!({"$or": [filter(random, depth - 1), filter(random, depth - 1)]}),
        1 if depth > 0 => json!({"$and": [filter(random, depth - 1), filter(random, depth - 1)]}),
        2 => json!({key(random): {"$ne": value(random)}}),
        3 => json!({key(random): {"$in": [value(random), value(random)]}}),
        4 => json!({key(random): {"$nin": [value(random)]}}),
        _ => json!({key(random): value(random)}),
    }
}

/// Ids as the client writes them, some of them guessed.
fn ids(random: &mut SplitMix64) -> Vec<String> {
    let guess = |random: &mut SplitMix64, number: usize| match random.below(6) {
        0 => format!("tenant_globex_r{number}"),
        1 => format!("../tenant_globex_r{number}"),
        _ => format!("r{number}"),
    };
    (0..30).filter(|_| random.percent(40)).collect::<Vec<_>>().into_iter().map(|number| guess(random, number)).collect()
}

pub(crate) fn one(random: &mut SplitMix64) -> Fate {
    if random.percent(40) { write(random) } else { read(random) }
}

/// The records that a request names, by its ids and its filter.
fn chosen<'r>(body: &Value, records: &'r Records) -> Option<Vec<&'r (String, Map<String, Value>)>> {
    let everything = json!({});
    let filter = body.get("where").filter(|filter| !filter.is_null()).unwrap_or(&everything);
    let ids = body.get("ids").and_then(Value::as_array);
    let mut found = Vec::new();
    for record in records {
        let is_named = ids.is_none_or(|ids| ids.contains(&json!(record.0)));
        if is_named && meets(filter, &record.1)? {
            found.push(record);
        }
    }
    Some(found)
}

fn read(random: &mut SplitMix64) -> Fate {
    let records = records();
    let is_query = random.percent(50);
    let mut body = if is_query { json!({"query_embeddings": [[0, 1], [1, 0]], "n_results": 9}) } else { json!({}) };
    if random.percent(70) {
        body["where"] = if random.percent(5) { value(random) } else { filter(random, 2) };
    }
    if random.percent(40) {
        body["ids"] = json!(ids(random));
    }
    if random.percent(3) {
        body["unknown"] = value(random);
    }
    let tricks = random.percent(30);
    let text = spell(random, &body, tricks);
    // What the client asked for is what it wrote: a trick may have changed a name.
    let body: Value = serde_json::from_str(&text).expect("JSON");
    let path = format!("{COLLECTION}/{}", if is_query { "query" } else { "get" });
    let Ok((call, sent)) = pass(&guard(Store::Chroma, By::Filter), "POST", &path, &text) else { return Fate::Refused };
    let (forgets, shows) = (random.percent(50), random.percent(70));
    let Some(found) = (if forgets { Some(records.iter().collect()) } else { chosen(&sent, &records) }) else {
        return Fate::Judged;
    };
    let told = told(&found, is_query, shows);
    let seen = match super::seen(&call, told.as_bytes()) {
        Verdict::Same => told,
        Verdict::Changed(body) => String::from_utf8(body).expect("text"),
        other => panic!("{other:?}: {text}"),
    };
    let seen: Value = serde_json::from_str(&seen).unwrap_or_else(|error| panic!("{error}: {seen}"));
    let lists = if is_query { seen["ids"].as_array().expect("lists").clone() } else { vec![seen["ids"].clone()] };
    let filter = body.get("where").filter(|filter| !filter.is_null()).cloned().unwrap_or(json!({}));
    let named = body.get("ids").and_then(Value::as_array);
    let prefix = "tenant_acme_";
    for list in lists {
        let seen: Vec<&str> = list.as_array().expect("ids").iter().map(|id| id.as_str().expect("text")).collect();
        let is_own = |record: &(String, Map<String, Value>)| record.1.get(FIELD) == Some(&json!(OWN));
        let of = |id: &str| records.iter().find(|record| record.0 == format!("{prefix}{id}"));
        // Where no metadata is shown and the store forgets to filter, the name alone tells.
        assert!(seen.iter().all(|id| of(id).is_some_and(|record| is_own(record) || (forgets && !shows))), "{text}");
        if !forgets {
            let own = records.iter().filter(|record| is_own(record));
            let expected: Vec<&str> = own
                .filter(|record| meets(&filter, &record.1) == Some(true))
                .map(|record| record.0.strip_prefix(prefix).expect("a name"))
                .filter(|id| named.is_none_or(|named| named.contains(&json!(id))))
                .collect();
            assert_eq!(seen, expected, "{text}");
        }
    }
    for column in ["distances", "documents", "metadatas"] {
        let same =
            |ids: &Value, of: &Value| of.is_null() || ids.as_array().map(Vec::len) == of.as_array().map(Vec::len);
        let (ids, of) = (&seen["ids"], &seen[column]);
        let all = !is_query || of.is_null() || (0..2).all(|at| same(&ids[at], &of[at]));
        assert!(all && same(ids, of), "{column}: {seen}");
    }
    Fate::Judged
}

fn told(found: &[&(String, Map<String, Value>)], is_query: bool, shows: bool) -> String {
    let ids: Vec<&str> = found.iter().map(|record| &*record.0).collect();
    let documents: Vec<Value> = found.iter().map(|record| json!({"x": record.0}).to_string().into()).collect();
    let metadatas: Vec<Value> = found.iter().map(|record| Value::Object(record.1.clone())).collect();
    let numbers: Vec<usize> = (0..found.len()).collect();
    let of = |list: Value| if is_query { json!([list, list]) } else { list };
    let mut told = json!({"ids": of(json!(ids)), "documents": of(json!(documents)), "embeddings": null, "uris": null,
                          "include": ["documents"]});
    if is_query {
        told["distances"] = of(json!(numbers));
    }
    told["metadatas"] = if shows { of(json!(metadatas)) } else { Value::Null };
    told.to_string()
}

fn write(random: &mut SplitMix64) -> Fate {
    let ids = ids(random);
    let metadata = |random: &mut SplitMix64| match random.below(3) {
        0 => Value::Null,
        1 => json!({FIELD: value(random), "n": 9}),
        _ => json!({"n": 9}),
    };
    let operation = *pick(random, &["add", "upsert", "update", "delete"]);
    let mut body = json!({"ids": ids});
    if operation == "delete" {
        if random.percent(60) {
            body["where"] = filter(random, 2);
        }
        if random.percent(30) {
            body.as_object_mut().expect("an object").remove("ids");
        }
    } else {
        body["embeddings"] = json!(vec![[1]; ids.len()]);
        match random.below(3) {
            0 => {}
            1 => body["metadatas"] = Value::Null,
            _ => body["metadatas"] = ids.iter().map(|_| metadata(random)).collect(),
        }
    }
    let tricks = random.percent(30);
    let text = spell(random, &body, tricks);
    let path = format!("{COLLECTION}/{operation}");
    let Ok((_, sent)) = pass(&guard(Store::Chroma, By::Filter), "POST", &path, &text) else { return Fate::Refused };
    let before = records();
    let mut after = before.clone();
    if operation == "delete" {
        let Some(gone) = chosen(&sent, &before) else { return Fate::Judged };
        after.retain(|record| !gone.iter().any(|gone| gone.0 == record.0));
    } else {
        let metadatas = sent["metadatas"].as_array().expect("metadatas");
        for (id, metadata) in sent["ids"].as_array().expect("ids").iter().zip(metadatas) {
            let (id, metadata) = (id.as_str().expect("text"), metadata.as_object().expect("marked").clone());
            match after.iter_mut().find(|record| record.0 == id) {
                Some(_) if operation == "add" => {}
                Some(known) => known.1.extend(metadata),
                None if operation == "update" => {}
                None => after.push((id.to_owned(), metadata)),
            }
        }
    }
    let is_others = |record: &&(String, Map<String, Value>)| !record.0.starts_with("tenant_acme_");
    for record in before.iter().filter(is_others) {
        assert!(after.contains(record), "{} is another's: {text}", record.0);
    }
    for record in after.iter().filter(|record| !before.contains(record)) {
        let is_own = record.1.get(FIELD) == Some(&json!(OWN)) && record.0.starts_with("tenant_acme_");
        assert!(is_own, "{} lacks its mark: {text}", record.0);
    }
    Fate::Judged
}

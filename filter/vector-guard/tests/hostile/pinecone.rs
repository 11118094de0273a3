//! A Pinecone of several namespaces, which evaluates metadata filters as its documentation says. A request without a namespace, or with
//! `__default__`, is one for the namespace without a name.
use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use weir_seeded::SplitMix64;
use weir_vector_guard::{By, Store, Verdict};

use super::generate::{key, pick, spell, value};
use super::{Fate, Sent, guard, send};

type Records = BTreeMap<String, Map<String, Value>>;
type Index = BTreeMap<String, Records>;

/// The tenant's own namespaces, another's, and those that somebody made past the gateway.
const NAMESPACES: [&str; 8] =
    ["tenant_acme_", "tenant_acme_x", "tenant_globex_", "tenant_globex_x", "", "x", "tenant_acmeco_x", "TENANT_ACME_X"];

fn index() -> Index {
    let records = |number: usize| -> Records {
        let record = |at: usize| {
            let metadata =
                json!({"n": at % 3, "color": if at.is_multiple_of(2) { "red" } else { "blue" }, "of": number});
            (format!("r{at}"), metadata.as_object().expect("an object").clone())
        };
        (0..8).map(record).collect()
    };
    NAMESPACES.iter().enumerate().map(|(number, name)| ((*name).to_owned(), records(number))).collect()
}

/// The namespace that a request is for.
fn namespace(named: Option<&Value>) -> Option<String> {
    match named {
        None | Some(Value::Null) => Some(String::new()),
        Some(Value::String(name)) if name == "__default__" => Some(String::new()),
        Some(Value::String(name)) => Some(name.clone()),
        Some(_) => None,
    }
}

/// Whether metadata meets a filter; None where the server would answer 400.
fn meets(filter: &Value, metadata: &Map<String, Value>) -> Option<bool> {
    let mut holds = true;
    for (name, of) in filter.as_object()? {
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
    for (operator, of) in operators {
        holds &= match operator.as_str() {
            "$eq" => found == Some(of),
            "$ne" => found != Some(of),
            "$in" => found.is_some_and(|found| of.as_array().is_some_and(|of| of.contains(found))),
            "$nin" => !found.is_some_and(|found| of.as_array().is_some_and(|of| of.contains(found))),
            "$exists" => found.is_some() == of.as_bool()?,
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
        3 => json!({key(random): {"$nin": [value(random)]}}),
        4 => json!({"namespace": {"$exists": false}}),
        _ => json!({key(random): {"$eq": value(random)}}),
    }
}

/// A namespace as the client names it, one of its own or one that it is after.
fn named(random: &mut SplitMix64) -> Value {
    let guesses = [
        json!("tenant_globex_x"),
        json!("../tenant_globex_x"),
        json!("__default__"),
        json!("X"),
        json!("ｘ"),
        json!(null),
        json!(7),
        json!(["tenant_globex_x"]),
        json!({"$ne": "x"}),
        json!("x\u{0}"),
        json!("tenant_acme_x"),
        json!("*"),
    ];
    match random.below(4) {
        0 => pick(random, &guesses).clone(),
        1 => json!(""),
        _ => json!("x"),
    }
}

fn ids(random: &mut SplitMix64) -> Vec<String> {
    (0..9).filter(|_| random.percent(30)).map(|at| format!("r{at}")).collect()
}

pub(crate) fn one(random: &mut SplitMix64) -> Fate {
    if random.percent(45) { write(random) } else { read(random) }
}

fn read(random: &mut SplitMix64) -> Fate {
    let (method, target, body) = match random.below(4) {
        0 => ("GET", format!("/vectors/fetch?{}", query(random)), None),
        1 => ("POST", "/vectors/fetch_by_metadata".to_owned(), Some(json!({"filter": filter(random, 2)}))),
        2 => ("POST", "/query".to_owned(), Some(json!({"topK": 100, "id": "r3", "includeMetadata": true}))),
        _ => ("POST", "/query".to_owned(), Some(json!({"topK": 100, "vector": [0, 1], "filter": filter(random, 2)}))),
    };
    let text = body.map(|body| spelt(random, body)).unwrap_or_default();
    let Ok((call, sent)) = send(&guard(Store::Pinecone, By::Namespace), method, &target, &text) else {
        return Fate::Refused;
    };
    let index = index();
    let Some(asked) = read_by(&sent, &index) else { return Fate::Judged };
    // A store that goes astray answers from somewhere else, or does not say from where.
    let answered = if random.percent(40) { *pick(random, &NAMESPACES) } else { &*asked.0 };
    let list: Vec<Value> =
        asked.1.iter().map(|id| json!({"id": id, "metadata": index.get(answered).map(|of| &of[id])})).collect();
    let told = match random.below(12) {
        0 => json!({"matches": list}),
        _ => json!({"matches": list, "namespace": answered, "usage": {"readUnits": 1}}),
    };
    let told = told.to_string();
    let seen = match super::seen(&call, told.as_bytes()) {
        Verdict::Same => told,
        Verdict::Changed(body) => String::from_utf8(body).expect("text"),
        // Nothing of it goes on.
        Verdict::Unreadable => return assert_was_due(&asked.0, answered, &told, &text),
        Verdict::NotFound(_) => panic!("no single record was asked for: {text}"),
    };
    let seen: Value = serde_json::from_str(&seen).expect("JSON");
    let of = format!("tenant_acme_{}", seen["namespace"].as_str().expect("a name"));
    assert_eq!(of, answered, "{text} {target}");
    let own = NAMESPACES.iter().position(|name| *name == of).filter(|_| of.starts_with("tenant_acme_"));
    for record in seen["matches"].as_array().expect("a list") {
        assert_eq!(record["metadata"]["of"].as_u64(), own.map(|own| own as u64), "{text} {target}");
    }
    assert_eq!(seen["matches"].as_array().map(Vec::len), Some(asked.1.len()), "none of its own is lost: {text}");
    Fate::Judged
}

/// Only an answer that is not from one of the tenant's own namespaces is withheld.
fn assert_was_due(asked: &str, answered: &str, told: &str, text: &str) -> Fate {
    assert!(asked.starts_with("tenant_acme_"), "{asked}: {text}");
    let says = told.contains("\"namespace\"");
    assert!(!says || !answered.starts_with("tenant_acme_"), "{told}: {text}");
    Fate::Judged
}

fn spelt(random: &mut SplitMix64, mut body: Value) -> String {
    if random.percent(80) {
        body["namespace"] = named(random);
    }
    if random.percent(3) {
        body["unknown"] = value(random);
    }
    let tricks = random.percent(30);
    spell(random, &body, tricks)
}

fn query(random: &mut SplitMix64) -> String {
    let namespaces = [
        "namespace=x",
        "namespace=",
        "",
        "namespace=tenant_globex_x",
        "namespace=x&namespace=tenant_globex_x",
        "Namespace=x",
        "namespace=%78",
        "namespace=..%2ftenant_globex_x",
        "%6eamespace=tenant_globex_x",
        "namespace=x;namespace=tenant_globex_x",
    ];
    format!("ids=r1&{}&ids=r2", pick(random, &namespaces))
}

/// What a read finds, and in which namespace; None for 400.
fn read_by(sent: &Sent, index: &Index) -> Option<(String, Vec<String>)> {
    let (asked, filter, ids) = match &sent.body {
        Some(body) => {
            let id = body.get("id").and_then(Value::as_str).map(|id| vec![id.to_owned()]);
            (namespace(body.get("namespace"))?, body.get("filter").cloned(), id)
        }
        None => {
            let name = sent.parameters.iter().rfind(|(name, _)| name == "namespace").map(|(_, value)| json!(value));
            let ids = sent.parameters.iter().filter(|(name, _)| name == "ids").map(|(_, id)| id.clone());
            (namespace(name.as_ref())?, None, Some(ids.collect()))
        }
    };
    let filter = filter.unwrap_or_else(|| json!({}));
    let nothing = Records::new();
    let mut found = Vec::new();
    for (id, metadata) in index.get(&asked).unwrap_or(&nothing) {
        if meets(&filter, metadata)? && ids.as_ref().is_none_or(|ids| ids.contains(id)) {
            found.push(id.clone());
        }
    }
    Some((asked, found))
}

fn write(random: &mut SplitMix64) -> Fate {
    let vectors: Vec<Value> =
        ids(random).iter().map(|id| json!({"id": id, "values": [1], "metadata": {"n": 9}})).collect();
    let (target, body) = match random.below(5) {
        0 => ("/vectors/upsert", json!({"vectors": vectors})),
        1 => ("/vectors/delete", json!({"ids": ids(random)})),
        2 => ("/vectors/delete", json!({"deleteAll": true})),
        3 => ("/vectors/delete", json!({"filter": filter(random, 2)})),
        _ => ("/vectors/update", json!({"id": "r3", "setMetadata": {"n": value(random)}})),
    };
    let text = spelt(random, body);
    let Ok((_, sent)) = send(&guard(Store::Pinecone, By::Namespace), "POST", target, &text) else {
        return Fate::Refused;
    };
    let before = index();
    let Some(after) = written(target, &sent, before.clone()) else { return Fate::Judged };
    for (name, records) in before.iter().filter(|(name, _)| !name.starts_with("tenant_acme_")) {
        assert_eq!(after.get(name), Some(records), "{name} is another's: {text}");
    }
    let made = after.keys().find(|name| !before.contains_key(*name) && !name.starts_with("tenant_acme_"));
    assert_eq!(made, None, "{text}");
    Fate::Judged
}

/// Does what the store would; None for 400.
fn written(target: &str, sent: &Sent, mut index: Index) -> Option<Index> {
    let body = sent.body.as_ref()?;
    let records = index.entry(namespace(body.get("namespace"))?).or_default();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    match target {
        "/vectors/upsert" => {
            for vector in body.get("vectors")?.as_array()? {
                records.insert(text(vector.get("id")?)?, vector.get("metadata")?.as_object()?.clone());
            }
        }
        "/vectors/update" => {
            let new = body.get("setMetadata")?.as_object()?.clone();
            if let Some(known) = records.get_mut(body.get("id")?.as_str()?) {
                known.extend(new);
            }
        }
        _ if body.get("deleteAll") == Some(&json!(true)) => records.clear(),
        _ => {
            let ids = body.get("ids").and_then(Value::as_array);
            let everything = json!({});
            let filter = body.get("filter").unwrap_or(&everything);
            let mut kept = Records::new();
            for (id, metadata) in std::mem::take(records) {
                if !(ids.is_none_or(|ids| ids.contains(&json!(id))) && meets(filter, &metadata)?) {
                    kept.insert(id, metadata);
                }
            }
            *records = kept;
        }
    }
    Some(index)
}

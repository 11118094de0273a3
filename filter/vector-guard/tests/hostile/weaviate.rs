//! A Weaviate of one class with multi-tenancy: each tenant has objects of its own, and a request that names none is refused. As the
//! real one, it reads the names of members in any case, and of two the last.
use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use weir_seeded::SplitMix64;
use weir_vector_guard::{By, Store, Verdict};

use super::generate::{pick, spell, value};
use super::{Fate, OTHER, OWN, Sent, guard, send};

type Objects = BTreeMap<String, Map<String, Value>>;
type Class = BTreeMap<String, Objects>;

fn class() -> Class {
    let objects = |tenant: &str| -> Objects {
        (0..6).map(|at| (id(at), json!({"n": at % 3, "of": tenant}).as_object().expect("an object").clone())).collect()
    };
    [OWN, OTHER, "ACME", "acmeco"].iter().map(|tenant| ((*tenant).to_owned(), objects(tenant))).collect()
}

/// Tenants may use the same ids.
fn id(at: u64) -> String {
    format!("00000000-0000-4000-8000-{at:012}")
}

/// The last member of that name in any case.
fn member<'v>(of: &'v Value, name: &str) -> Option<&'v Value> {
    of.as_object()?.iter().rfind(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

fn text_of(of: &Value, name: &str) -> Option<String> {
    member(of, name)?.as_str().map(str::to_owned)
}

/// Whether an object meets a `where`; None where the server would answer 422.
fn meets(filter: &Value, properties: &Map<String, Value>) -> Option<bool> {
    let operands =
        || member(filter, "operands")?.as_array()?.iter().map(|of| meets(of, properties)).collect::<Option<Vec<_>>>();
    match &*text_of(filter, "operator")? {
        "And" => Some(operands()?.into_iter().all(|met| met)),
        "Or" => Some(operands()?.into_iter().any(|met| met)),
        operator => {
            let found = properties.get(member(filter, "path")?.get(0)?.as_str()?);
            let of = member(filter, "valueInt").or_else(|| member(filter, "valueText"))?;
            match operator {
                "Equal" => Some(found == Some(of)),
                "NotEqual" => Some(found != Some(of)),
                _ => None,
            }
        }
    }
}

fn filter(random: &mut SplitMix64, depth: u64) -> Value {
    match random.below(4) {
        0 if depth > 0 => json!({"operator": "Or", "operands": [filter(random, depth - 1), filter(random, depth - 1)]}),
        1 if depth > 0 => {
            json!({"operator": "And", "operands": [filter(random, depth - 1), filter(random, depth - 1)]})
        }
        2 => json!({"operator": "NotEqual", "path": ["of"], "valueText": OWN}),
        _ => json!({"operator": "Equal", "path": ["n"], "valueInt": random.below(3)}),
    }
}

/// A tenant as the client names it.
fn tenant(random: &mut SplitMix64) -> Value {
    let guesses = [
        json!(OTHER),
        json!("ACME"),
        json!("acmeco"),
        json!(null),
        json!(["globex"]),
        json!({"x": 1}),
        json!(""),
        json!(OWN),
    ];
    pick(random, &guesses).clone()
}

fn query(random: &mut SplitMix64) -> &'static str {
    const QUERIES: [&str; 10] = [
        "",
        "?tenant=acme",
        "?tenant=globex",
        "?tenant=acme&tenant=globex",
        "?Tenant=globex",
        "?%74enant=globex",
        "?tenant=",
        "?tenants=globex",
        "?tenant=acme;tenant=globex",
        "?include=vector",
    ];
    QUERIES[random.index(QUERIES.len())]
}

fn object(random: &mut SplitMix64) -> Value {
    let mut object = json!({"class": "Doc", "id": id(random.below(7)), "properties": {"n": 9, "of": value(random)}});
    if random.percent(60) {
        object["tenant"] = tenant(random);
    }
    if random.percent(2) {
        object["unknown"] = value(random);
    }
    object
}

pub(crate) fn one(random: &mut SplitMix64) -> Fate {
    if random.percent(55) { write(random) } else { read(random) }
}

/// The tenant that a request is for: its parameter's, the last of them.
fn asked(sent: &Sent) -> Option<String> {
    sent.parameters
        .iter()
        .rfind(|(name, _)| name == "tenant")
        .map(|(_, value)| value.clone())
        .filter(|name| !name.is_empty())
}

fn told(tenant: Option<&str>, id: &str, properties: &Map<String, Value>) -> Value {
    let mut told = json!({"class": "Doc", "id": id, "properties": properties});
    if let Some(tenant) = tenant {
        told["tenant"] = json!(tenant);
    }
    told
}

fn read(random: &mut SplitMix64) -> Fate {
    let one = random.percent(40).then(|| id(random.below(7)));
    let target = match &one {
        Some(id) => format!("/v1/objects/Doc/{id}{}", query(random)),
        None => format!("/v1/objects{}", query(random)),
    };
    let Ok((call, sent)) = send(&guard(Store::Weaviate, By::Namespace), "GET", &target, "") else {
        return Fate::Refused;
    };
    let class = class();
    let asked = asked(&sent).unwrap_or_else(|| panic!("no tenant is named: {target}"));
    // A store that goes astray shows somebody else's, or does not say whose.
    let answered = if random.percent(40) { *pick(random, &[OTHER, "ACME", "acmeco"]) } else { &*asked };
    let says = random.percent(90).then_some(answered);
    let shown: Vec<Value> = class
        .get(answered)
        .into_iter()
        .flatten()
        .filter(|(id, _)| one.as_ref().is_none_or(|one| one == *id))
        .map(|(id, properties)| told(says, id, properties))
        .collect();
    let body = match &one {
        Some(_) => match shown.first() {
            Some(object) => object.clone(),
            None => return Fate::Judged,
        },
        None => json!({"objects": shown, "totalResults": shown.len()}),
    };
    let body = body.to_string();
    let seen = match super::seen(&call, body.as_bytes()) {
        Verdict::Same => body,
        Verdict::Changed(body) => String::from_utf8(body).expect("text"),
        Verdict::NotFound(_) => {
            assert!(one.is_some() && says != Some(OWN), "one of its own is lost: {target}");
            return Fate::Judged;
        }
        Verdict::Unreadable => panic!("{target}"),
    };
    assert_eq!(asked, OWN, "{target}");
    let seen: Value = serde_json::from_str(&seen).expect("JSON");
    let seen = if one.is_some() { vec![seen] } else { seen["objects"].as_array().expect("a list").clone() };
    assert!(seen.iter().all(|object| object["properties"]["of"] == OWN), "{target}");
    assert_eq!(seen.len(), if says == Some(OWN) { shown.len() } else { 0 }, "{target}");
    Fate::Judged
}

fn write(random: &mut SplitMix64) -> Fate {
    let matching = |random: &mut SplitMix64| json!({"match": {"class": "Doc", "where": filter(random, 2)}});
    let path = format!("/v1/objects/Doc/{}", id(random.below(7)));
    let (method, target, body) = match random.below(6) {
        0 => ("POST", "/v1/objects".to_owned(), Some(object(random))),
        1 => ("PUT", path, Some(object(random))),
        2 => ("PATCH", path, Some(object(random))),
        3 => ("DELETE", format!("{path}{}", query(random)), None),
        4 => ("POST", "/v1/batch/objects".to_owned(), Some(json!({"objects": [object(random), object(random)]}))),
        _ => ("DELETE", format!("/v1/batch/objects{}", query(random)), Some(matching(random))),
    };
    let tricks = random.percent(30);
    let text = body.map(|body| spell(random, &body, tricks)).unwrap_or_default();
    let Ok((_, sent)) = send(&guard(Store::Weaviate, By::Namespace), method, &target, &text) else {
        return Fate::Refused;
    };
    let before = class();
    let Some(after) = written(method, &target, &sent, before.clone()) else { return Fate::Judged };
    for (tenant, objects) in before.iter().filter(|(tenant, _)| *tenant != OWN) {
        assert_eq!(after.get(tenant), Some(objects), "{tenant}: {method} {target} {text}");
    }
    assert_eq!(after.len(), before.len(), "a tenant was made: {method} {target} {text}");
    Fate::Judged
}

/// Does what the store would; None for 422.
fn written(method: &str, target: &str, sent: &Sent, mut class: Class) -> Option<Class> {
    let path = target.split('?').next()?;
    if method == "DELETE" {
        let objects = class.entry(asked(sent)?).or_default();
        match &sent.body {
            Some(body) => {
                let filter = member(member(body, "match")?, "where")?.clone();
                for (id, properties) in std::mem::take(objects) {
                    if !meets(&filter, &properties)? {
                        objects.insert(id, properties);
                    }
                }
            }
            None => drop(objects.remove(path.rsplit('/').next()?)),
        }
        return Some(class);
    }
    let body = sent.body.as_ref()?;
    let written = match member(body, "objects") {
        Some(objects) => objects.as_array()?.clone(),
        None => vec![body.clone()],
    };
    for object in written {
        let objects = class.entry(text_of(&object, "tenant").filter(|name| !name.is_empty())?).or_default();
        let new = member(&object, "properties")?.as_object()?.clone();
        let id = if path.starts_with("/v1/objects/Doc/") {
            path.rsplit('/').next()?.to_owned()
        } else {
            text_of(&object, "id")?
        };
        if method == "PATCH" {
            objects.entry(id).or_default().extend(new);
        } else {
            objects.insert(id, new);
        }
    }
    Some(class)
}

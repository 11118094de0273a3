//! A Qdrant that evaluates filters as its documentation says, over thirty points of three owners.
use serde_json::{Map, Value, json};
use weir_seeded::SplitMix64;
use weir_vector_guard::{By, Store, Verdict};

use super::generate::{key, pick, spell, value};
use super::{FIELD, Fate, OTHER, OWN, guard, pass};

type Points = Vec<(u64, Map<String, Value>)>;

/// Points of acme, of globex, and of nobody.
fn points() -> Points {
    let point = |id: u64| {
        let mut payload = json!({"n": id % 3, "color": if id.is_multiple_of(2) { "red" } else { "blue" }});
        match id % 3 {
            0 => payload[FIELD] = json!(OWN),
            1 => payload[FIELD] = json!(OTHER),
            _ if id.is_multiple_of(2) => payload[FIELD] = json!([OWN, OTHER]),
            _ => {}
        }
        (id, payload.as_object().expect("an object").clone())
    };
    (0..30).map(point).collect()
}

/// Whether a point meets a filter; None where the server would answer 400.
fn meets(filter: &Value, id: u64, payload: &Map<String, Value>) -> Option<bool> {
    let members = filter.as_object()?;
    let conditions = |clause: &Value| match clause {
        Value::Array(all) => all.clone(),
        Value::Null => Vec::new(),
        one => vec![one.clone()],
    };
    let mut holds = true;
    for (name, clause) in members {
        let met = |clause: &Value| -> Option<Vec<bool>> {
            conditions(clause).iter().map(|condition| meets_condition(condition, id, payload)).collect()
        };
        holds &= match name.as_str() {
            "must" => met(clause)?.into_iter().all(|met| met),
            "must_not" => !met(clause)?.into_iter().any(|met| met),
            "should" => {
                let met = met(clause)?;
                met.is_empty() || met.contains(&true)
            }
            "min_should" => {
                let least = clause.get("min_count")?.as_u64()?;
                met(clause.get("conditions")?)?.into_iter().filter(|met| *met).count() as u64 >= least
            }
            _ => return None,
        };
    }
    Some(holds)
}

fn meets_condition(condition: &Value, id: u64, payload: &Map<String, Value>) -> Option<bool> {
    let members = condition.as_object()?;
    if let Some(ids) = members.get("has_id") {
        return Some(ids.as_array()?.contains(&json!(id)));
    }
    if let Some(of) = members.get("is_empty") {
        let found = payload.get(of.get("key")?.as_str()?);
        return Some(found.is_none_or(|found| found.is_null() || found == &json!([])));
    }
    let Some(key) = members.get("key") else { return meets(condition, id, payload) };
    let found = match payload.get(key.as_str()?) {
        Some(Value::Array(values)) => values.clone(),
        Some(value) => vec![value.clone()],
        None => Vec::new(),
    };
    let of = members.get("match")?;
    if let Some(value) = of.get("value") {
        return Some(found.contains(value));
    }
    if let Some(any) = of.get("any") {
        return Some(found.iter().any(|found| any.as_array().is_some_and(|any| any.contains(found))));
    }
    let except = of.get("except")?.as_array()?;
    Some(found.iter().any(|found| !except.contains(found)))
}

/// A filter that tries to see more than its own.
fn filter(random: &mut SplitMix64, depth: u64) -> Value {
    let mut made = Map::new();
    for clause in ["must", "should", "must_not"] {
        if random.percent(40) {
            let count = random.below(3);
            let conditions: Vec<Value> = (0..count).map(|_| condition(random, depth)).collect();
            made.insert(
                clause.to_owned(),
                if random.percent(10) { condition(random, depth) } else { json!(conditions) },
            );
        }
    }
    if random.percent(10) {
        made.insert(
            "min_should".to_owned(),
            json!({"conditions": [condition(random, depth)], "min_count": random.below(2)}),
        );
    }
    Value::Object(made)
}

fn condition(random: &mut SplitMix64, depth: u64) -> Value {
    match random.below(6) {
        0 if depth > 0 => filter(random, depth - 1),
        1 => json!({"has_id": (0..30).filter(|_| random.percent(30)).collect::<Vec<u64>>()}),
        2 => json!({"is_empty": {"key": key(random)}}),
        3 => json!({"key": key(random), "match": {"any": [value(random), value(random)]}}),
        4 => json!({"key": key(random), "match": {"except": [value(random)]}}),
        _ => json!({"key": key(random), "match": {"value": value(random)}}),
    }
}

fn selector(random: &mut SplitMix64) -> Option<Value> {
    let shown = [
        json!(true),
        json!(false),
        json!(["n"]),
        json!({"include": ["color"]}),
        json!({"exclude": ["n"]}),
        json!({"exclude": [FIELD]}),
        json!([FIELD, "n"]),
        json!([]),
        json!(null),
    ];
    random.percent(70).then(|| pick(random, &shown).clone())
}

/// What is shown of a payload.
fn shown(selector: Option<&Value>, payload: &Map<String, Value>) -> Value {
    let keep = |names: &Value, keeps: bool| -> Value {
        let listed = |name: &String| names.as_array().expect("a list").contains(&json!(name));
        Value::Object(
            payload.iter().filter(|(name, _)| listed(name) == keeps).map(|(n, v)| (n.clone(), v.clone())).collect(),
        )
    };
    match selector {
        Some(Value::Bool(true)) => Value::Object(payload.clone()),
        Some(names @ Value::Array(_)) => keep(names, true),
        Some(Value::Object(parts)) => match (parts.get("include"), parts.get("exclude")) {
            (Some(names), _) => keep(names, true),
            (_, Some(names)) => keep(names, false),
            _ => Value::Null,
        },
        _ => Value::Null,
    }
}

fn search(random: &mut SplitMix64) -> Value {
    let mut search = json!({"query": [0, 1], "limit": 100});
    if random.percent(80) {
        search["filter"] = if random.percent(5) { value(random) } else { filter(random, 2) };
    }
    if let Some(selector) = selector(random) {
        search["with_payload"] = selector;
    }
    match random.below(40) {
        0 => search["lookup_from"] = json!({"collection": "other"}),
        1 => search["query"] = json!(4),
        2 => search["query"] = json!({"recommend": {"positive": [4]}}),
        3 => search["params"] = json!({"idf": {"corpus": {}}}),
        4 => search["prefetch"] = json!([{"query": [1], "limit": 5, "filter": filter(random, 1)}]),
        5 => search["unknown"] = value(random),
        _ => {}
    }
    search
}

/// Answers one search; None for 400. A store that forgets to filter shows everything.
fn answer(search: &Value, points: &Points, forgets: bool) -> Option<Vec<Value>> {
    let everything = json!({});
    let filter = if forgets { &everything } else { search.get("filter").unwrap_or(&everything) };
    let mut found = Vec::new();
    for (id, payload) in points {
        if meets(filter, *id, payload)? {
            found.push(json!({"id": id, "score": 0, "payload": shown(search.get("with_payload"), payload)}));
        }
    }
    Some(found)
}

pub(crate) fn one(random: &mut SplitMix64) -> Fate {
    if random.percent(40) { write(random) } else { read(random) }
}

fn read(random: &mut SplitMix64) -> Fate {
    let points = points();
    let searches: Vec<Value> = (0..=random.below(3)).map(|_| search(random)).collect();
    let is_batch = searches.len() > 1;
    let (path, body) = match is_batch {
        true => ("/collections/docs/points/query/batch", json!({"searches": searches})),
        false => ("/collections/docs/points/query", searches[0].clone()),
    };
    let tricks = random.percent(30);
    let text = spell(random, &body, tricks);
    // What the client asked for is what it wrote: a trick may have changed a name.
    let body: Value = serde_json::from_str(&text).expect("JSON");
    let Ok((call, sent)) = pass(&guard(Store::Qdrant, By::Filter), "POST", path, &text) else { return Fate::Refused };
    let searches = if is_batch { body["searches"].as_array().expect("searches").clone() } else { vec![body] };
    let forgets = random.percent(50);
    let asked = if is_batch { sent["searches"].as_array().expect("searches").clone() } else { vec![sent] };
    let Some(found) = asked.iter().map(|search| answer(search, &points, forgets)).collect::<Option<Vec<_>>>() else {
        return Fate::Judged;
    };
    let lists: Vec<Value> = found.into_iter().map(|points| json!({"points": points})).collect();
    let result = if is_batch { json!(lists) } else { lists[0].clone() };
    let told = json!({"result": result, "status": "ok"}).to_string();
    // What a store that filters finds is one's own: the check of the answer has nothing to do.
    let removed = call.answer(200, told.as_bytes()).removed;
    assert!(forgets || removed.keys().all(|owner| owner == "(unmarked)"), "{removed:?}: {text}");
    let seen: Value = match super::seen(&call, told.as_bytes()) {
        Verdict::Same => serde_json::from_str(&told).expect("JSON"),
        Verdict::Changed(body) => serde_json::from_slice(&body).unwrap_or_else(|error| panic!("{error}: {text}")),
        other => panic!("{other:?}: {text}"),
    };
    let seen = if is_batch { seen["result"].as_array().expect("lists").clone() } else { vec![seen["result"].clone()] };
    for (seen, search) in seen.iter().zip(&searches) {
        check(seen, search, &points, forgets, &text);
    }
    Fate::Judged
}

/// What the client sees is what its own search finds among its own points, shown as it asked.
fn check(seen: &Value, search: &Value, points: &Points, forgets: bool, text: &str) {
    let is_own = |payload: &Map<String, Value>| payload.get(FIELD) == Some(&json!(OWN));
    let seen: Vec<(u64, Value)> = seen["points"]
        .as_array()
        .expect("points")
        .iter()
        .map(|point| (point["id"].as_u64().expect("an id"), point["payload"].clone()))
        .collect();
    for (id, _) in &seen {
        assert!(is_own(&points[*id as usize].1), "point {id} is another's: {text}");
    }
    if forgets {
        return;
    }
    let filter = search.get("filter").filter(|filter| !filter.is_null()).cloned().unwrap_or(json!({}));
    let own = points.iter().filter(|(_, payload)| is_own(payload));
    let expected: Vec<(u64, Value)> = own
        .filter(|(id, payload)| meets(&filter, *id, payload) == Some(true))
        .map(|(id, payload)| (*id, shown(search.get("with_payload"), payload)))
        .collect();
    let empty_is_null = |shown: &[(u64, Value)]| -> Vec<(u64, Value)> {
        shown.iter().map(|(id, value)| (*id, if value == &json!({}) { Value::Null } else { value.clone() })).collect()
    };
    assert_eq!(empty_is_null(&seen), empty_is_null(&expected), "{text}");
}

/// A change that is after the points of others.
fn write(random: &mut SplitMix64) -> Fate {
    let guard = guard(Store::Qdrant, By::Filter);
    let ids: Vec<u64> = (0..32).filter(|_| random.percent(20)).collect();
    let chosen = |random: &mut SplitMix64| {
        if random.percent(50) { json!({"points": ids}) } else { json!({"filter": filter(random, 2)}) }
    };
    let payload = json!({"n": 9, FIELD: value(random)});
    let upserted: Vec<Value> = ids
        .iter()
        .map(|id| match id % 3 {
            0 => json!({"id": id, "vector": [1], "payload": payload}),
            1 => json!({"id": id, "vector": [1], "payload": null}),
            _ => json!({"id": id, "vector": [1]}),
        })
        .collect();
    let (operation, method, path, mut body) = match random.below(5) {
        0 => ("upsert", "PUT", "/collections/docs/points", json!({"points": upserted})),
        1 => ("upsert", "PUT", "/collections/docs/points", json!({"batch": {"ids": ids, "vectors": [[1]]}})),
        2 => ("delete", "POST", "/collections/docs/points/delete", chosen(random)),
        3 => ("set", "POST", "/collections/docs/points/payload", chosen(random)),
        _ => ("overwrite", "PUT", "/collections/docs/points/payload", chosen(random)),
    };
    if matches!(operation, "set" | "overwrite") {
        body["payload"] = payload;
    }
    if operation == "upsert" && random.percent(20) {
        body["update_filter"] = filter(random, 1);
    }
    let tricks = random.percent(30);
    let text = spell(random, &body, tricks);
    let Ok((_, sent)) = pass(&guard, method, path, &text) else { return Fate::Refused };
    let before = points();
    let Some(after) = apply(operation, &sent, before.clone()) else { return Fate::Judged };
    for (id, payload) in before.iter().filter(|(_, payload)| payload.get(FIELD) != Some(&json!(OWN))) {
        // A point that two tenants share is both's.
        let is_shared = payload.get(FIELD).is_some_and(Value::is_array);
        let found = after.iter().find(|(other, _)| other == id).map(|(_, payload)| payload);
        assert!(is_shared || found == Some(payload), "point {id} is another's: {text}");
    }
    for (id, payload) in &after {
        let is_new = before.get(*id as usize).is_none_or(|(_, before)| before != payload);
        assert!(!is_new || payload.get(FIELD) == Some(&json!(OWN)), "point {id} lacks its mark: {text}");
    }
    Fate::Judged
}

/// Does what the store would; None for 400.
fn apply(operation: &str, body: &Value, mut points: Points) -> Option<Points> {
    let everything = json!({});
    if operation == "upsert" {
        let update = body.get("update_filter").unwrap_or(&everything);
        for (id, payload) in upserted(body) {
            match points.iter_mut().find(|(known, _)| *known == id) {
                Some((known, old)) if meets(update, *known, old)? => *old = payload,
                Some(_) => {}
                None => points.push((id, payload)),
            }
        }
        return Some(points);
    }
    assert!(body.get("points").is_none(), "ids are no filter");
    let filter = body.get("filter").expect("a filter");
    let mut kept = Vec::new();
    for (id, mut payload) in points {
        if meets(filter, id, &payload)? {
            let new = body.get("payload").and_then(Value::as_object).cloned().unwrap_or_default();
            match operation {
                "delete" => continue,
                "set" => payload.extend(new),
                _ => payload = new,
            }
        }
        kept.push((id, payload));
    }
    Some(kept)
}

fn upserted(body: &Value) -> Vec<(u64, Map<String, Value>)> {
    let map = |payload: &Value| payload.as_object().cloned().unwrap_or_default();
    if let Some(points) = body.get("points").and_then(Value::as_array) {
        return points.iter().map(|p| (p["id"].as_u64().expect("an id"), map(&p["payload"]))).collect();
    }
    let ids = body["batch"]["ids"].as_array().expect("ids");
    let payloads = body["batch"]["payloads"].as_array().expect("payloads");
    assert_eq!(ids.len(), payloads.len());
    ids.iter().zip(payloads).map(|(id, payload)| (id.as_u64().expect("an id"), map(payload))).collect()
}

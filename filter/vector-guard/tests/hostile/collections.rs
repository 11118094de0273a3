//! A Chroma that finds a collection by its UUID, whosever it is, as the real one does: by namespace, no request reaches another
//! tenant's, and no answer shows another tenant anything that does.
use std::rc::Rc;

use serde_json::{Value, json};
use weir_sealed_ids::Keys;
use weir_seeded::SplitMix64;
use weir_vector_guard::{By, CollectionIds, Guard, Refused, RequestHead, Store, Verdict};

use super::generate::pick;
use super::{Bug, FIELD, Fate, OTHER, OWN, bugs};

const ROOT: &str = "/api/v2/tenants/t/databases/d/collections";
const EACH: usize = 4;

/// What tenants do with a collection, by its UUID.
const OPERATIONS: [(&str, &str, &str); 8] = [
    ("POST", "/add", r#"{"ids":["x"],"embeddings":[[1,2,3,4,5]]}"#),
    ("POST", "/upsert", r#"{"ids":["x"],"embeddings":[[1,2,3]]}"#),
    ("POST", "/update", r#"{"ids":["x"],"documents":["stolen"]}"#),
    ("POST", "/delete", r#"{"ids":["x"]}"#),
    ("POST", "/get", "{}"),
    ("POST", "/query", r#"{"query_embeddings":[[1]]}"#),
    ("GET", "/count", ""),
    ("PUT", "", r#"{"new_name":"mine"}"#),
];

fn guard(keys: &Rc<Keys>) -> Guard {
    let collection_ids = CollectionIds::new(Rc::clone(keys));
    Guard { collection_ids, ..super::guard(Store::Chroma, By::Namespace) }
}

fn keys(random: &mut SplitMix64) -> Rc<Keys> {
    let (old, new) = (b"a secret of more than thirty-two bytes", b"another secret that is as long as the first");
    let keys = if random.percent(50) { Keys::new((1, old), None) } else { Keys::new((2, new), Some((1, old))) };
    Rc::new(keys.expect("keys"))
}

fn uuid(random: &mut SplitMix64) -> String {
    let (high, low) = (random.next_u64() & !0xf000 | 0x4000, random.next_u64() >> 2 | 1 << 63);
    let text = format!("{high:016x}{low:016x}");
    format!("{}-{}-{}-{}-{}", &text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..])
}

fn call(guard: &Guard, tenant: &str, method: &str, path: &str) -> Result<weir_vector_guard::Call, Refused> {
    let head = RequestHead { method: method.as_bytes(), path: path.as_bytes(), query: None, content_type: None };
    guard.call(tenant, &head)
}

/// The ids of a tenant's collections as its clients see them.
fn listed(guard: &Guard, tenant: &str, ids: &[String]) -> Vec<String> {
    let call = call(guard, tenant, "GET", ROOT).expect("offered");
    let told: Vec<Value> = ids.iter().map(|id| json!({"id": id, "name": "docs", FIELD: null})).collect();
    let told = json!(told).to_string();
    let Verdict::Changed(seen) = super::seen(&call, told.as_bytes()) else { panic!("ids are sealed") };
    let seen: Value = serde_json::from_slice(&seen).expect("JSON");
    let ids = seen.as_array().expect("a list").iter().map(|entry| entry["id"].as_str().expect("an id").to_owned());
    ids.collect()
}

/// Another spelling of an id, or another id.
fn tampered(random: &mut SplitMix64, id: &str) -> String {
    let at = random.index(id.len());
    let digit = *pick(random, &['0', '7', 'a', 'F', '-']);
    match random.below(5) {
        0 => id.to_uppercase(),
        1 => id.replace('-', ""),
        2 => id[..at].to_owned(),
        3 => format!("{}{digit}{}", &id[..at], &id[at + 1..]),
        _ => format!("%{:02x}{}", id.as_bytes()[0], &id[1..]),
    }
}

pub(crate) fn one(random: &mut SplitMix64) -> Fate {
    let keys = keys(random);
    let guard = guard(&keys);
    let own: Vec<String> = (0..EACH).map(|_| uuid(random)).collect();
    let others: Vec<String> = (0..EACH).map(|_| uuid(random)).collect();
    let (seen, theirs) = (listed(&guard, OWN, &own), listed(&guard, OTHER, &others));
    assert!(seen.iter().all(|id| !own.contains(id)), "raw ids are shown");
    let number = random.index(EACH);
    let (id, is_own) = match random.below(6) {
        // Guessed, learnt from a log, or sealed for the other tenant.
        0 => (others[number].clone(), false),
        1 => (theirs[number].clone(), false),
        2 => (tampered(random, &others[number]), false),
        3 => (tampered(random, &theirs[number]), false),
        _ => (seen[number].clone(), true),
    };
    let (method, last, body) = *pick(random, &OPERATIONS);
    let path = format!("{ROOT}/{id}{last}");
    let mut call = match call(&guard, OWN, method, &path) {
        Err(_) if bugs::is_planted(Bug::RefusedPasses) => return reach(&path, last, is_own, &own[number], &others),
        Err(_) => {
            assert!(!is_own, "one's own is refused: {path}");
            return Fate::Refused;
        }
        Ok(call) => call,
    };
    if !body.is_empty() {
        call.body(body.as_bytes()).expect("a plain body");
    }
    let is_kept = bugs::is_planted(Bug::CollectionIdsKept);
    let target = call.target().filter(|_| !is_kept).unwrap_or(&path);
    reach(target, last, is_own, &own[number], &others)
}

/// What a path reaches in the store.
fn reach(path: &str, last: &str, is_own: bool, own: &str, others: &[String]) -> Fate {
    let id = path.strip_suffix(last).and_then(|path| path.rsplit('/').next()).expect("an id");
    let id = id.replace("%38", "8").to_lowercase();
    assert!(!others.contains(&id), "another tenant's collection: {path}");
    assert!(!is_own || id == own, "one's own is lost: {path}");
    Fate::Judged
}

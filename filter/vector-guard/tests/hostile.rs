//! Hostile requests against stores that evaluate filters for real: not one record of another tenant is seen or changed, and none
//! of one's own is lost.
//!
//! The stores are written from the vendors' documentation and share no code with the guard. Half of the time a store forgets to
//! filter, so that only the check of its answer is left. `make vector-guard` runs 100,000 requests; one alone runs with its seed.
#[path = "hostile/bugs.rs"]
mod bugs;
#[path = "hostile/chroma.rs"]
mod chroma;
#[path = "hostile/collections.rs"]
mod collections;
#[path = "hostile/generate.rs"]
mod generate;
#[path = "hostile/milvus.rs"]
mod milvus;
#[path = "hostile/pinecone.rs"]
mod pinecone;
#[path = "hostile/qdrant.rs"]
mod qdrant;
#[path = "hostile/weaviate.rs"]
mod weaviate;

use bugs::Bug;
use serde_json::Value;
use weir_seeded::SplitMix64;
use weir_vector_guard::{By, Call, Guard, Refused, RequestHead, Store, Verdict};

/// The tenant that asks.
const OWN: &str = "acme";
/// The tenant whose records it is after.
const OTHER: &str = "globex";
/// The member that marks a record.
const FIELD: &str = "tenant_id";

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Refused,
    Judged,
}

fn guard(store: Store, by: By) -> Guard {
    Guard { store, by, field: FIELD.into(), root: "".into(), primary_field: None, collection_ids: None }
}

/// What the guard makes of a request: the call, and the body that goes on.
fn pass(guard: &Guard, method: &str, path: &str, body: &str) -> Result<(Call, Value), Refused> {
    let head = RequestHead { method: method.as_bytes(), path: path.as_bytes(), query: None, content_type: None };
    let mut call = guard.call(OWN, &head)?;
    let sent = edited(&mut call, body)?;
    Ok((call, sent))
}

/// The body that goes on.
fn edited(call: &mut Call, body: &str) -> Result<Value, Refused> {
    let edited = match call.body(body.as_bytes()) {
        Err(_) if bugs::is_planted(Bug::RefusedPasses) => None,
        edited => edited?,
    };
    let sent = edited.unwrap_or_else(|| body.as_bytes().to_vec());
    let value = serde_json::from_slice(&sent).unwrap_or_else(|error| panic!("no JSON goes on: {error}: {body}"));
    Ok(bugs::in_request(&serde_json::from_str(body).expect("JSON"), value))
}

/// What the client sees of an answer.
fn seen(call: &Call, told: &[u8]) -> Verdict {
    bugs::in_answer(told, call.answer(200, told).verdict)
}

/// What reaches a store.
struct Sent {
    /// The parameters of the query, in order, without escapes.
    parameters: Vec<(String, String)>,
    body: Option<Value>,
}

/// What the guard makes of a request with a query. `body`: empty where it has none.
fn send(guard: &Guard, method: &str, target: &str, body: &str) -> Result<(Call, Sent), Refused> {
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query.as_bytes())));
    let head = RequestHead { method: method.as_bytes(), path: path.as_bytes(), query, content_type: None };
    let mut call = guard.call(OWN, &head)?;
    let body = match body {
        "" => None,
        body => Some(edited(&mut call, body)?),
    };
    let is_kept = bugs::is_planted(Bug::ParametersKept);
    let sent = call.target().filter(|_| !is_kept).unwrap_or(target).to_owned();
    let (sent_path, query) = sent.split_once('?').unwrap_or((&sent, ""));
    assert_eq!(sent_path, path, "no path names a part of the collection here");
    let plain = |text: &str| text.replace("%74", "t").replace("%6e", "n").replace("%78", "x").replace("%2f", "/");
    let pairs = query.split(['&', ';']).filter_map(|pair| pair.split_once('='));
    let parameters = pairs.map(|(name, value)| (plain(name), plain(value))).collect();
    Ok((call, Sent { parameters, body }))
}

#[allow(clippy::disallowed_methods, reason = "a test's size is set from outside")]
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Runs requests; most of a store's own kind must get through.
fn run(store: &str, one: impl Fn(&mut SplitMix64) -> Fate) {
    if let Some(seed) = number("WEIR_GUARD_SEED") {
        println!("{store}: {:?}", one(&mut SplitMix64::new(seed)));
        return;
    }
    let seeds = number("WEIR_GUARD_SEEDS").unwrap_or(3_000);
    let judged = (0..seeds).filter(|seed| one(&mut SplitMix64::new(*seed)) == Fate::Judged).count();
    println!("{store}: {judged} of {seeds} requests reached the store");
    assert!(judged as u64 * 3 > seeds, "{store}: a guard that refuses everything proves nothing: {judged} of {seeds}");
}

#[test]
fn qdrant_shows_and_changes_ones_own_points_and_no_others() {
    run("qdrant", qdrant::one);
}

#[test]
fn chroma_shows_and_changes_ones_own_records_and_no_others() {
    run("chroma", chroma::one);
}

#[test]
fn chroma_shows_and_changes_ones_own_collections_and_no_others() {
    run("chroma's collections", collections::one);
}

#[test]
fn milvus_shows_and_changes_ones_own_rows_and_no_others() {
    run("milvus", milvus::one);
}

#[test]
fn pinecone_shows_and_changes_ones_own_namespaces_and_no_others() {
    run("pinecone", pinecone::one);
}

#[test]
fn weaviate_shows_and_changes_ones_own_objects_and_no_others() {
    run("weaviate", weaviate::one);
}

#[test]
fn each_planted_bug_is_found() {
    assert_eq!(bugs::unseen(), []);
}

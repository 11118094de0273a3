//! Bugs that a guard might have, planted between the guard and the stores. Each must be found: a suite that lets one pass proves nothing.
use std::cell::Cell;

use serde_json::{Value, json};
use weir_seeded::SplitMix64;
use weir_vector_guard::Verdict;

use super::{FIELD, Fate, chroma, collections, milvus, pinecone, qdrant, weaviate};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// A client's filter goes on as it is.
    FilterKept,
    /// Where there is no filter, none is put in.
    FilterNotPutIn,
    /// The tenant is an alternative to the client's filter.
    FilterWidened,
    /// An expression loses its brackets.
    BracketsForgotten,
    /// Of a batch, only the first search is changed.
    FirstOfBatchOnly,
    /// A client's own value of the mark stays.
    MarkKept,
    /// A record without a mark gets none.
    MarkNotPutIn,
    /// An upsert may replace the points of others.
    OverwritesAll,
    /// Ids go on without the tenant's prefix.
    IdsKept,
    /// The sealed id of a collection, or a raw one, goes on as it is.
    CollectionIdsKept,
    /// A client's namespace goes on as it is.
    NamespaceKept,
    /// Where there is no namespace, none is put in.
    NamespaceNotPutIn,
    /// A client's tenant stays in an object.
    TenantKept,
    /// The query goes on as it is.
    ParametersKept,
    /// What must be refused goes on as it is.
    RefusedPasses,
    /// Answers are not checked.
    AnswerUnchecked,
    /// Answers lose their records.
    AnswerEmptied,
}

type Store = fn(&mut SplitMix64) -> Fate;

/// Each bug, and the stores at which it must show.
const PLANTED: [(Bug, &[Store]); 17] = [
    (Bug::FilterKept, &[qdrant::one, chroma::one, milvus::one]),
    (Bug::FilterNotPutIn, &[qdrant::one, chroma::one, milvus::one]),
    (Bug::FilterWidened, &[qdrant::one, chroma::one, milvus::one]),
    (Bug::BracketsForgotten, &[milvus::one]),
    (Bug::FirstOfBatchOnly, &[qdrant::one]),
    (Bug::MarkKept, &[qdrant::one, chroma::one]),
    (Bug::MarkNotPutIn, &[qdrant::one, chroma::one]),
    (Bug::OverwritesAll, &[qdrant::one]),
    (Bug::IdsKept, &[chroma::one]),
    (Bug::CollectionIdsKept, &[collections::one]),
    (Bug::NamespaceKept, &[pinecone::one]),
    (Bug::NamespaceNotPutIn, &[pinecone::one]),
    (Bug::TenantKept, &[weaviate::one]),
    (Bug::ParametersKept, &[pinecone::one, weaviate::one]),
    (Bug::RefusedPasses, &[qdrant::one, chroma::one, collections::one, milvus::one, pinecone::one, weaviate::one]),
    (Bug::AnswerUnchecked, &[qdrant::one, chroma::one, collections::one, milvus::one, pinecone::one, weaviate::one]),
    (Bug::AnswerEmptied, &[qdrant::one, chroma::one, milvus::one, pinecone::one, weaviate::one]),
];

/// Requests within which each bug must show.
const REQUESTS_MAX: u64 = 3_000;

thread_local! {
    static BUG: Cell<Option<Bug>> = const { Cell::new(None) };
}

pub(crate) fn is_planted(bug: Bug) -> bool {
    BUG.get() == Some(bug)
}

/// The planted bugs that no request has shown.
pub(crate) fn unseen() -> Vec<(Bug, usize)> {
    let mut unseen = Vec::new();
    for (bug, stores) in PLANTED {
        for (store, one) in stores.iter().enumerate() {
            BUG.set(Some(bug));
            let shows = |seed| std::panic::catch_unwind(|| one(&mut SplitMix64::new(seed))).is_err();
            if !(0..REQUESTS_MAX).any(shows) {
                unseen.push((bug, store));
            }
            BUG.set(None);
        }
    }
    unseen
}

/// What goes on instead of `edited`. `asked`: what the client sent.
pub(crate) fn in_request(asked: &Value, mut edited: Value) -> Value {
    let Some(bug) = BUG.get() else { return edited };
    if bug == Bug::FirstOfBatchOnly {
        let asked = asked.get("searches").and_then(Value::as_array).into_iter().flatten().skip(1);
        let edited = edited.get_mut("searches").and_then(Value::as_array_mut).into_iter().flatten().skip(1);
        edited.zip(asked).for_each(|(edited, asked)| edited.clone_from(asked));
    }
    in_object(bug, asked, &mut edited);
    for list in ["searches", "points", "objects", "metadatas"] {
        let asked = asked.get(list).and_then(Value::as_array).cloned().unwrap_or_default();
        let edited = edited.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten();
        for (at, edited) in edited.enumerate() {
            in_object(bug, asked.get(at).unwrap_or(&Value::Null), edited);
        }
    }
    edited
}

fn in_object(bug: Bug, asked: &Value, edited: &mut Value) {
    match bug {
        Bug::FilterKept => ["filter", "where"].iter().for_each(|name| keep(name, asked, edited)),
        Bug::FilterNotPutIn => ["filter", "where"].iter().for_each(|name| leave_out(name, asked, edited)),
        Bug::FilterWidened => ["filter", "where"].iter().for_each(|name| widen(name, asked, edited)),
        Bug::BracketsForgotten => replace(edited, "filter", |text| {
            text.replacen('(', "", 1).replacen(") and tenant_id ==", " and tenant_id ==", 1)
        }),
        Bug::MarkKept => {
            keep(FIELD, asked, edited);
            in_payload(asked, edited, |asked, edited| keep(FIELD, asked, edited));
        }
        Bug::MarkNotPutIn => {
            leave_out(FIELD, asked, edited);
            in_payload(asked, edited, |asked, edited| leave_out(FIELD, asked, edited));
        }
        Bug::OverwritesAll => keep_or_leave_out("update_filter", asked, edited),
        Bug::IdsKept => keep("ids", asked, edited),
        Bug::NamespaceKept => keep("namespace", asked, edited),
        Bug::NamespaceNotPutIn => leave_out("namespace", asked, edited),
        Bug::TenantKept => keep("tenant", asked, edited),
        _ => {}
    }
}

fn in_payload(asked: &Value, edited: &mut Value, change: impl Fn(&Value, &mut Value)) {
    if let Some(payload) = edited.get_mut("payload") {
        change(asked.get("payload").unwrap_or(&Value::Null), payload);
    }
}

fn keep(name: &str, asked: &Value, edited: &mut Value) {
    if let (Some(asked), Some(edited)) = (asked.get(name), edited.get_mut(name)) {
        edited.clone_from(asked);
    }
}

fn leave_out(name: &str, asked: &Value, edited: &mut Value) {
    if asked.get(name).is_none()
        && let Some(members) = edited.as_object_mut()
    {
        members.remove(name);
    }
}

fn keep_or_leave_out(name: &str, asked: &Value, edited: &mut Value) {
    keep(name, asked, edited);
    leave_out(name, asked, edited);
}

/// Makes of `theirs and tenant` `theirs or tenant`.
fn widen(name: &str, asked: &Value, edited: &mut Value) {
    if asked.get(name).is_none_or(|asked| asked.is_null() || asked == &json!({})) {
        return;
    }
    replace(edited, name, |text| text.replace(") and tenant_id ==", ") or tenant_id =="));
    if let Some(filter) = edited.get_mut(name).and_then(Value::as_object_mut) {
        for (all, any) in [("must", "should"), ("$and", "$or")] {
            if let Some(conditions) = filter.remove(all) {
                filter.insert(any.to_owned(), conditions);
            }
        }
    }
}

fn replace(edited: &mut Value, name: &str, change: impl Fn(&str) -> String) {
    if let Some(Value::String(text)) = edited.get_mut(name) {
        *text = change(text);
    }
}

/// What the client sees instead of what the guard says about an answer.
pub(crate) fn in_answer(told: &[u8], verdict: Verdict) -> Verdict {
    match BUG.get() {
        Some(Bug::AnswerUnchecked) => Verdict::Same,
        Some(Bug::AnswerEmptied) => match verdict {
            Verdict::Same => Verdict::Changed(emptied(told)),
            Verdict::Changed(body) => Verdict::Changed(emptied(&body)),
            other => other,
        },
        _ => verdict,
    }
}

fn emptied(body: &[u8]) -> Vec<u8> {
    let mut value: Value = serde_json::from_slice(body).expect("JSON");
    empty(&mut value);
    value.to_string().into_bytes()
}

fn empty(value: &mut Value) {
    match value {
        // A list of lists is one for each search.
        Value::Array(elements)
            if elements.iter().any(|element| element.is_array() || element.get("points").is_some()) =>
        {
            elements.iter_mut().for_each(empty);
        }
        Value::Array(elements) => elements.clear(),
        Value::Object(members) => members.values_mut().for_each(empty),
        _ => {}
    }
}

//! What the fuzz target of guarded vector stores asserts of any input. `filter/vector-guard/tests/fuzz.rs` runs the same function on
//! requests and answers put together from hostile pieces.
#![allow(dead_code, reason = "each fuzz target is a program that uses one of these")]
use std::rc::Rc;

use weir_sealed_ids::Keys;
use weir_vector_guard::{By, CollectionIds, Guard, RequestHead, Store, Verdict};

const WAYS: [(Store, By); 9] = [
    (Store::Qdrant, By::Filter),
    (Store::Qdrant, By::Collection),
    (Store::Pinecone, By::Namespace),
    (Store::Chroma, By::Filter),
    (Store::Chroma, By::Namespace),
    (Store::Milvus, By::Filter),
    (Store::Milvus, By::Namespace),
    (Store::Milvus, By::Collection),
    (Store::Weaviate, By::Namespace),
];

/// A request (`METHOD path?query`, a line), its body (a line), and an answer. Whatever they are, what goes on is JSON where the
/// client's was, and an answer that is let through names no other owner in a record.
pub(crate) fn vector_guard(input: &[u8]) {
    let mut lines = input.splitn(3, |byte| *byte == b'\n');
    let (head, body) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let answer = lines.next().unwrap_or_default();
    let mut words = head.split(|byte| *byte == b' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut parts = target.splitn(2, |byte| *byte == b'?');
    let (path, query) = (parts.next().unwrap_or_default(), parts.next());
    let keys = Keys::new((1, b"a secret of more than thirty-two bytes"), None).expect("a key");
    let ids = CollectionIds::new(Rc::new(keys));
    for (store, by) in WAYS {
        let (field, collection_ids) = ("tenant_id".into(), ids.clone());
        let guard = Guard { store, by, field, root: "".into(), primary_field: None, collection_ids };
        let head = RequestHead { method, path, query, content_type: None };
        let Ok(mut call) = guard.call("acme", &head) else { continue };
        if let Ok(Some(edited)) = call.body(body) {
            serde_json::from_slice::<serde_json::Value>(&edited).expect("JSON goes on");
        }
        match call.answer(200, answer).verdict {
            Verdict::Changed(changed) => {
                serde_json::from_slice::<serde_json::Value>(&changed).expect("JSON goes on");
                check_records(store, by, &changed);
            }
            Verdict::Same => check_records(store, by, answer),
            Verdict::NotFound(_) | Verdict::Unreadable => {}
        }
    }
}

/// No point of a Qdrant answer by filter names another owner.
fn check_records(store: Store, by: By, answer: &[u8]) {
    if (store, by) != (Store::Qdrant, By::Filter) {
        return;
    }
    let Ok(answer) = serde_json::from_slice::<serde_json::Value>(answer) else { return };
    let points = answer["result"]["points"].as_array();
    for owner in points.into_iter().flatten().filter_map(|point| point["payload"].get("tenant_id")) {
        assert_eq!(owner, "acme");
    }
}

/// Inputs to begin with: a request and an answer of each store.
pub(crate) const SEEDS: [&str; 10] = [
    "POST /collections/docs/points/query?timeout=1\n{\"query\":[1,2],\"filter\":{\"must\":[]},\"with_payload\":[\"a\"]}\n{\"result\":{\"points\":[{\"id\":1,\"payload\":{\"tenant_id\":\"acme\",\"a\":1}},{\"id\":2,\"payload\":{\"tenant_id\":\"globex\"}}]}}",
    "POST /collections/docs/points/delete\n{\"points\":[1,2,\"x\"]}\n{\"result\":{}}",
    "PUT /collections/docs/points\n{\"batch\":{\"ids\":[1,2],\"vectors\":[[1]],\"payloads\":[null,{}]}}\n",
    "GET /collections\n\n{\"result\":{\"collections\":[{\"name\":\"tenant_acme_a\"},{\"name\":\"b\"}]}}",
    "POST /query\n{\"topK\":1,\"vector\":[1],\"namespace\":\"n\"}\n{\"matches\":[],\"namespace\":\"tenant_acme_n\"}",
    "POST /api/v2/tenants/t/databases/d/collections/c/query\n{\"query_embeddings\":[[1]],\"ids\":[\"a\"],\"where\":{}}\n{\"ids\":[[\"tenant_acme_a\",\"b\"]],\"distances\":[[1, 2]],\"metadatas\":[[{\"tenant_id\":\"acme\"},null]],\"include\":[]}",
    "GET /api/v2/tenants/t/databases/d/collections\n\n[{\"id\":\"870f7e48-32fb-4f96-9826-5e0685a1b170\",\"name\":\"docs\",\"tenant\":\"tenant_acme_\"}]",
    "POST /api/v2/tenants/t/databases/d/collections/870f7e48-32fb-4f96-9826-5e0685a1b171/get\n{\"ids\":[\"a\"]}\n{\"ids\":[\"tenant_acme_a\"],\"metadatas\":[{\"tenant_id\":\"acme\"}]}",
    "POST /v2/vectordb/entities/search\n{\"collectionName\":\"c\",\"data\":[[1]],\"filter\":\"a == \\\"x\\\"\"}\n{\"code\":0,\"data\":[{\"id\":1,\"tenant_id\":\"acme\"},{\"tenant_id\":\"b\"}]}",
    "GET /v1/objects?class=Doc&limit=3\n\n{\"objects\":[{\"tenant\":\"acme\"},{\"tenant\":\"b\"}]}",
];

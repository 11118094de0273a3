//! What a client sees of answers that hold more than its operation's table knows.
use serde_json::{Value, json};
use weir_vector_guard::{By, Call, Checked, Guard, RequestHead, Store, Verdict};

fn call(store: Store, by: By, request: &str, body: &Value) -> Call {
    let guard =
        Guard { store, by, field: "tenant_id".into(), root: "".into(), primary_field: None, collection_ids: None };
    let (method, target) = request.split_once(' ').expect("METHOD path");
    let head = RequestHead { method: method.as_bytes(), path: target.as_bytes(), query: None, content_type: None };
    let mut call = guard.call("acme", &head).expect("offered");
    if !body.is_null() {
        call.body(body.to_string().as_bytes()).expect("taken");
    }
    call
}

/// What the client sees of an answer; None where it is withheld.
fn seen(call: &Call, told: &Value) -> Option<Value> {
    let Checked { verdict, .. } = call.answer(200, told.to_string().as_bytes());
    match verdict {
        Verdict::Same => Some(told.clone()),
        Verdict::Changed(body) | Verdict::NotFound(body) => Some(serde_json::from_slice(&body).expect("JSON")),
        Verdict::Unreadable => None,
    }
}

fn point(id: u64, owner: &str) -> Value {
    json!({"id": id, "payload": {"tenant_id": owner}})
}

fn qdrant(operation: &str, body: &Value) -> Call {
    call(Store::Qdrant, By::Filter, &format!("POST /collections/c/points{operation}"), body)
}

#[test]
fn members_that_no_table_knows_go_with_the_records_in_them() {
    let search = qdrant("/query", &json!({"query": [1], "with_payload": true}));
    let own = json!({"result": {"points": [point(1, "acme")]}, "status": "ok", "time": 0.1,
                     "usage": {"hardware": {"cpu": 3}}});
    assert_eq!(seen(&search, &own), Some(own.clone()));
    let mut told = own.clone();
    told["other"] = json!([point(2, "globex")]);
    told["result"]["points2"] = json!([{"id": 2, "vector": [1, 2]}]);
    told["note"] = json!("SECRET");
    told["usage"]["hardware"]["note"] = json!("SECRET");
    let mut left = own.clone();
    left.as_object_mut().expect("an object").remove("usage");
    assert_eq!(seen(&search, &told), Some(left));
    let mut newer = own;
    (newer["version"], newer["more"], newer["warnings"]) = (json!(3), json!(true), json!([]));
    assert_eq!(seen(&search, &newer), Some(newer.clone()), "what can hold no record stays");
}

#[test]
fn a_group_without_a_record_of_ones_own_goes_with_its_id() {
    let body = json!({"query": [1], "with_payload": true, "group_by": "doc"});
    let groups = qdrant("/query/groups", &body);
    let own = json!({"id": "a", "hits": [point(1, "acme")]});
    let mixed =
        json!({"id": "b", "hits": [point(2, "globex"), point(3, "acme")], "lookup": {"id": 9, "payload": {"x": "S"}}});
    let foreign = json!({"id": "SECRETGROUP", "hits": [point(4, "globex"), point(5, "globex")]});
    let told = json!({"result": {"groups": [foreign, own, mixed, foreign]}, "status": "ok"});
    let left = json!({"result": {"groups": [own, {"id": "b", "hits": [point(3, "acme")]}]}, "status": "ok"});
    assert_eq!(seen(&groups, &told), Some(left));
    let checked = groups.answer(200, told.to_string().as_bytes());
    assert_eq!((checked.results, checked.removed.get("globex")), (2, Some(&5)));
}

const CHROMA: &str = "POST /api/v2/tenants/t/databases/d/collections/9b2c4a1e-0000-4000-8000-000000000000";

#[test]
fn what_chroma_says_of_no_id_is_withheld() {
    let get = call(Store::Chroma, By::Filter, &format!("{CHROMA}/get"), &json!({}));
    let own =
        json!({"ids": ["tenant_acme_a"], "metadatas": [{"tenant_id": "acme"}], "documents": ["own"], "uris": null});
    assert!(seen(&get, &own).is_some());
    for column in ["documents", "uris", "embeddings"] {
        let mut longer = own.clone();
        longer[column] = json!(["own", "SECRET"]);
        assert_eq!(seen(&get, &longer), None, "{column}");
    }
    let mut more = own.clone();
    more["extra"] = json!(["SECRET"]);
    assert!(!seen(&get, &more).expect("readable").to_string().contains("SECRET"));
    let query = call(Store::Chroma, By::Filter, &format!("{CHROMA}/query"), &json!({"query_embeddings": [[1]]}));
    let of = |documents: Value| json!({"ids": [["tenant_acme_a"]], "metadatas": [[{"tenant_id": "acme"}]], "documents": documents});
    assert!(seen(&query, &of(json!([["own"]]))).is_some() && seen(&query, &of(json!([null]))).is_some());
    for documents in [json!([["own", "SECRET"]]), json!([["own"], ["SECRET"]]), json!("SECRET")] {
        assert_eq!(seen(&query, &of(documents.clone())), None, "{documents}");
    }
}

#[test]
fn an_answer_that_is_neither_success_nor_error_holds_no_records() {
    let search = qdrant("/query", &json!({"query": [1]}));
    let body = json!({"result": {"points": [point(2, "globex")]}}).to_string();
    for status in [300, 302, 307, 399] {
        assert!(search.holds_answer_of(status));
        assert_eq!(search.answer(status, body.as_bytes()).verdict, Verdict::Unreadable, "{status}");
        assert_eq!(search.answer(status, b" ").verdict, Verdict::Same, "{status}");
    }
    assert!(!search.holds_answer_of(404) && !search.holds_answer_of(500));
}

#[test]
fn a_point_that_is_anothers_and_one_that_is_missing_look_the_same() {
    let get = call(Store::Qdrant, By::Filter, "GET /collections/c/points/2", &Value::Null);
    let foreign = json!({"result": point(2, "globex"), "status": "ok"});
    let Verdict::NotFound(foreign) = get.answer(200, foreign.to_string().as_bytes()).verdict else { panic!("found") };
    let missing = r#"{"status":{"error":"Not found: Point with id 2 does not exists!"},"time":0.0001}"#;
    assert!(get.holds_answer_of(404) && get.hides_absence());
    assert_eq!(get.answer(404, missing.as_bytes()).verdict, Verdict::Changed(foreign));
    assert_eq!(get.answer(0, missing.as_bytes()).verdict, Verdict::Unreadable, "the gateway does not tell the status");
    let own = call(Store::Qdrant, By::Collection, "GET /collections/c/points/2", &Value::Null);
    assert_eq!(own.answer(404, missing.as_bytes()).verdict, Verdict::Same, "the collection is one's own");
}

#[test]
fn records_that_a_client_named_by_their_ids_are_its_guess() {
    let names = |call: Call| call.names_records();
    assert!(names(call(Store::Qdrant, By::Filter, "GET /collections/c/points/2", &Value::Null)));
    assert!(names(qdrant("", &json!({"ids": [2]}))));
    let get = json!({"collectionName": "docs", "id": [2]});
    assert!(names(call(Store::Milvus, By::Filter, "POST /v2/vectordb/entities/get", &get)));
    let query = json!({"collectionName": "docs", "filter": "id == 2"});
    assert!(!names(call(Store::Milvus, By::Filter, "POST /v2/vectordb/entities/query", &query)));
    assert!(!names(qdrant("/scroll", &json!({}))));
    assert!(!names(call(Store::Weaviate, By::Namespace, "GET /v1/objects/Doc/1", &Value::Null)));
}

#[test]
fn pinecones_list_of_namespaces_tells_nothing_of_others() {
    let list = call(Store::Pinecone, By::Namespace, "GET /namespaces", &Value::Null);
    assert_eq!(list.target(), Some("/namespaces?prefix=tenant_acme_"));
    let beside =
        |names: Value| json!({"namespaces": names, "pagination": {"next": "dGVuYW50X2dsb2JleA=="}, "total_count": 7});
    let own = json!({"name": "tenant_acme_x", "record_count": 2});
    let shown = json!({"name": "x", "record_count": 2});
    assert_eq!(seen(&list, &beside(json!([own]))), Some(beside(json!([shown]))));
    let foreign = json!({"name": "tenant_globex_x", "record_count": 5});
    assert_eq!(
        seen(&list, &beside(json!([own, foreign]))),
        Some(json!({"namespaces": [shown]})),
        "the prefix was not asked for"
    );
    assert_eq!(seen(&list, &beside(json!([]))), Some(json!({"namespaces": []})));
}

#[test]
fn milvus_counts_what_the_filter_finds() {
    let body = json!({"collectionName": "docs", "filter": "n > 1", "outputFields": ["count(*)"]});
    let query = call(Store::Milvus, By::Filter, "POST /v2/vectordb/entities/query", &body);
    let told = json!({"code": 0, "data": [{"count(*)": 5}], "cost": 0});
    assert_eq!(seen(&query, &told), Some(told.clone()));
    let more =
        json!({"code": 0, "data": [{"count(*)": 5, "text": "SECRET"}, {"text": "SECRET"}, {"count(*)": "SECRET"}]});
    assert_eq!(seen(&query, &more), Some(json!({"code": 0, "data": []})));
}

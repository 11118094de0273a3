//! Rows and points that are written: no key of another tenant's, and none without a mark.
use serde_json::{Value, json};
use weir_vector_guard::{By, Guard, HeaderFate, Refused, RequestHead, Store, Unfit};

fn guard(store: Store, by: By, primary_field: Option<&str>) -> Guard {
    Guard {
        store,
        by,
        field: "tenant_id".into(),
        root: "".into(),
        primary_field: primary_field.map(Into::into),
        collection_ids: None,
    }
}

fn sent(guard: &Guard, request: &str, body: &Value) -> Result<Value, Refused> {
    let (method, target) = request.split_once(' ').expect("METHOD path");
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query.as_bytes())));
    let head = RequestHead { method: method.as_bytes(), path: path.as_bytes(), query, content_type: None };
    let text = body.to_string();
    let changed = guard.call("acme", &head)?.body(text.as_bytes())?;
    Ok(changed.map_or_else(|| body.clone(), |changed| serde_json::from_slice(&changed).expect("JSON")))
}

fn milvus(operation: &str, members: Value) -> Result<Value, Refused> {
    let mut body = json!({"collectionName": "docs"});
    body.as_object_mut().expect("an object").extend(members.as_object().expect("an object").clone());
    sent(&guard(Store::Milvus, By::Filter, Some("id")), &format!("POST /v2/vectordb/entities/{operation}"), &body)
}

#[test]
fn a_row_takes_no_key_that_may_be_another_tenants() {
    for key in [json!(1), json!(1.5), json!(true), Value::Null, json!(["a"]), json!({"a": 1})] {
        assert_eq!(milvus("insert", json!({"data": [{"id": key}]})), Err(Refused::Key), "{key}");
        assert_eq!(milvus("insert", json!({"data": {"id": key}})), Err(Refused::Key), "{key}");
    }
    let rows = milvus(
        "insert",
        json!({"data": [{"text": "x"}, {"id": "a"}, {"id": "tenant_acme_a"}, {"id": "tenant_globex_a"}]}),
    );
    let keys: Vec<Value> =
        rows.expect("taken")["data"].as_array().expect("rows").iter().map(|row| row["id"].clone()).collect();
    assert_eq!(
        keys,
        [Value::Null, json!("tenant_acme_a"), json!("tenant_acme_a"), json!("tenant_acme_tenant_globex_a")]
    );
    assert_eq!(milvus("upsert", json!({"data": [{"id": "a"}]})), Err(Refused::Operation));
}

#[test]
fn a_guard_that_knows_no_primary_key_inserts_nothing() {
    let insert = "POST /v2/vectordb/entities/insert";
    let body = json!({"collectionName": "docs", "data": [{"text": "x"}]});
    assert_eq!(sent(&guard(Store::Milvus, By::Filter, None), insert, &body), Err(Refused::Operation));
    for by in [By::Namespace, By::Collection] {
        let body = json!({"collectionName": "docs", "data": [{"id": 1}]});
        assert!(sent(&guard(Store::Milvus, by, None), insert, &body).is_ok(), "{by:?}: keys are the tenant's own");
    }
}

#[test]
fn a_key_is_read_as_it_was_written() {
    assert_eq!(
        milvus("get", json!({"id": ["a", "tenant_acme_b"]})).expect("taken")["id"],
        json!(["tenant_acme_a", "tenant_acme_b"])
    );
    assert_eq!(milvus("get", json!({"id": "a"})).expect("taken")["id"], "tenant_acme_a");
    assert_eq!(milvus("get", json!({"id": 445})).expect("taken")["id"], 445, "the answer tells whose it is");
    assert_eq!(milvus("get", json!({"id": [1, 2]})).expect("taken")["id"], json!([1, 2]));
    assert_eq!(milvus("get", json!({"id": ["a", {}]})), Err(Refused::Id));
}

#[test]
fn a_mark_in_milvuss_dynamic_field_is_refused() {
    assert_eq!(milvus("insert", json!({"data": [{"$meta": {"tenant_id": "globex"}}]})), Err(Refused::Mark));
}

#[test]
fn milvus_counts_by_filter_alone() {
    let counted = milvus("query", json!({"filter": "n > 1", "outputFields": ["count(*)"]})).expect("taken");
    assert_eq!(counted["outputFields"], json!(["count(*)"]));
    assert_eq!(counted["filter"], "(n > 1) and tenant_id == \"acme\"");
    for (operation, of) in [("get", json!({"id": 1})), ("query", json!({"filter": "n > 1"}))] {
        let mut body = of;
        body["outputFields"] = json!(["n", "count(*)"]);
        assert_eq!(milvus(operation, body), Err(Refused::Member), "{operation}");
    }
    let body = json!({"id": 1, "outputFields": ["count(*)"]});
    assert_eq!(milvus("get", body), Err(Refused::Member), "an id is counted whosever it is");
}

#[test]
fn every_point_of_a_batch_gets_a_mark() {
    let guard = guard(Store::Qdrant, By::Filter, None);
    let upsert = |payloads: Value| {
        sent(
            &guard,
            "PUT /collections/c/points",
            &json!({"batch": {"ids": [1, 2], "vectors": [], "payloads": payloads}}),
        )
    };
    for payloads in [json!([]), json!([{}]), json!([{}, {}, {}])] {
        assert_eq!(upsert(payloads.clone()), Err(Refused::Member), "{payloads}");
    }
    let marked = json!([{"tenant_id": "acme"}, {"tenant_id": "acme"}]);
    for payloads in [Value::Null, json!([null, {}])] {
        assert_eq!(upsert(payloads.clone()).expect("taken")["batch"]["payloads"], marked, "{payloads}");
    }
}

#[test]
fn a_query_is_parted_at_ampersands_alone() {
    let fetch = |query: &str| {
        let head =
            RequestHead { method: b"GET", path: b"/vectors/fetch", query: Some(query.as_bytes()), content_type: None };
        guard(Store::Pinecone, By::Namespace, None).call("acme", &head).map(|call| call.target().map(str::to_owned))
    };
    assert!(fetch("ids=a&ids=b").is_ok());
    assert!(matches!(fetch("ids=a;namespace=tenant_globex_x"), Err(Refused::Query)));
}

#[test]
fn headers_lead_no_store_elsewhere() {
    let milvus = guard(Store::Milvus, By::Collection, None);
    assert_eq!((milvus.header(b"DB-Name"), milvus.header(b"x-other")), (HeaderFate::Refused, HeaderFate::Passes));
    let weaviate = guard(Store::Weaviate, By::Namespace, None);
    for name in ["X-OpenAI-Baseurl", "x-azure-resource-name", "X-Databricks-Endpoint", "x-new-module"] {
        assert_eq!(weaviate.header(name.as_bytes()), HeaderFate::Removed, "{name}");
    }
    for name in ["X-OpenAI-Api-Key", "x-request-id", "x-forwarded-for", "X-Tenant-Id", "accept", "x-b3-traceid"] {
        assert_eq!(weaviate.header(name.as_bytes()), HeaderFate::Passes, "{name}");
    }
}

#[test]
fn a_primary_key_is_named_only_where_one_is_needed() {
    assert_eq!(guard(Store::Milvus, By::Filter, Some("id")).check(), Ok(()));
    for (store, by) in [(Store::Qdrant, By::Filter), (Store::Milvus, By::Namespace), (Store::Milvus, By::Collection)] {
        assert_eq!(guard(store, by, Some("id")).check(), Err(Unfit::PrimaryField));
    }
    for key in ["tenant_id", "", "a.b", "1a"] {
        assert_eq!(guard(Store::Milvus, By::Filter, Some(key)).check(), Err(Unfit::PrimaryField), "{key}");
    }
    for field in ["true", "NOT", "count", "in"] {
        let guard = Guard { field: field.into(), ..guard(Store::Milvus, By::Filter, None) };
        assert_eq!(guard.check(), Err(Unfit::Field), "{field}");
    }
}

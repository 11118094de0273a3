//! Every operation of each store's published API, and whether tenants may use it.
use std::rc::Rc;

use serde_json::json;
use weir_sealed_ids::Keys;
use weir_vector_guard::{By, CollectionIds, Guard, HeaderFate, Refused, RequestHead, Store, Unfit, Verdict};

#[path = "fixtures/page.rs"]
mod page;

fn guard(store: Store, by: By) -> Guard {
    Guard { store, by, field: "tenant_id".into(), root: "".into(), primary_field: None, collection_ids: None }
}

/// What becomes of `METHOD path?query`: the operation's name and what goes on, or why it is refused.
fn asked(guard: &Guard, request: &str) -> Result<(&'static str, String), Refused> {
    let (method, target) = request.split_once(' ').expect("METHOD path");
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query.as_bytes())));
    let head = RequestHead { method: method.as_bytes(), path: path.as_bytes(), query, content_type: None };
    let call = guard.call("acme", &head)?;
    Ok((call.operation(), call.target().unwrap_or(target).to_owned()))
}

fn offered(guard: &Guard, requests: &[(&str, &str)]) {
    for (request, name) in requests {
        assert_eq!(asked(guard, request).map(|(name, _)| name), Ok(*name), "{request}");
    }
}

fn refused(guard: &Guard, requests: &[&str]) {
    for request in requests {
        assert_eq!(asked(guard, request), Err(Refused::Operation), "{request}");
    }
}

/// What a tenant may do with points, in whichever way it is kept apart.
const POINTS: [(&str, &str); 28] = [
    ("POST /collections/c/points/query", "points.query"),
    ("POST /collections/c/points/query/batch", "points.query.batch"),
    ("POST /collections/c/points/query/groups", "points.query.groups"),
    ("POST /collections/c/points/search", "points.search"),
    ("POST /collections/c/points/search/batch", "points.search.batch"),
    ("POST /collections/c/points/search/groups", "points.search.groups"),
    ("POST /collections/c/points/recommend", "points.recommend"),
    ("POST /collections/c/points/recommend/batch", "points.recommend.batch"),
    ("POST /collections/c/points/discover", "points.discover"),
    ("POST /collections/c/points/discover/batch", "points.discover.batch"),
    ("POST /collections/c/points/search/matrix/pairs", "points.matrix.pairs"),
    ("POST /collections/c/points/search/matrix/offsets", "points.matrix.offsets"),
    ("POST /collections/c/points/scroll", "points.scroll"),
    ("POST /collections/c/points/count", "points.count"),
    ("POST /collections/c/facet", "points.facet"),
    ("POST /collections/c/points", "points.retrieve"),
    ("GET /collections/c/points/5", "points.get"),
    ("PUT /collections/c/points?wait=true&ordering=strong", "points.upsert"),
    ("POST /collections/c/points/delete", "points.delete"),
    ("POST /collections/c/points/batch", "points.batch"),
    ("PUT /collections/c/points/vectors", "points.vectors.update"),
    ("POST /collections/c/points/vectors/delete", "points.vectors.delete"),
    ("POST /collections/c/points/payload", "points.payload.set"),
    ("PUT /collections/c/points/payload", "points.payload.overwrite"),
    ("POST /collections/c/points/payload/delete", "points.payload.delete"),
    ("GET /collections/c/exists", "collections.exists"),
    ("GET /", "version"),
    ("GET /healthz", "healthz"),
];

#[test]
fn qdrants_operations_on_points_are_offered_and_those_on_everybodys_are_not() {
    let (filter, collection) = (guard(Store::Qdrant, By::Filter), guard(Store::Qdrant, By::Collection));
    offered(&filter, &POINTS);
    offered(&collection, &POINTS);
    let of_collections = [
        ("GET /collections", "collections.list"),
        ("GET /collections/c", "collections.get"),
        ("PUT /collections/c", "collections.create"),
        ("PATCH /collections/c", "collections.update"),
        ("DELETE /collections/c", "collections.delete"),
        ("PUT /collections/c/index", "collections.index.create"),
        ("DELETE /collections/c/index/f", "collections.index.delete"),
    ];
    offered(&collection, &of_collections);
    refused(&filter, &of_collections.map(|(request, _)| request));
    let of_everybody = [
        "POST /collections/c/points/payload/clear",
        "GET /aliases",
        "GET /collections/c/aliases",
        "POST /collections/aliases",
        "GET /collections/c/cluster",
        "POST /collections/c/cluster",
        "PUT /collections/c/shards",
        "POST /collections/c/shards/delete",
        "GET /collections/c/snapshots",
        "POST /collections/c/snapshots",
        "PUT /collections/c/snapshots/recover",
        "POST /collections/c/snapshots/upload",
        "GET /collections/c/shards/0/snapshot",
        "GET /snapshots",
        "POST /snapshots",
        "GET /cluster",
        "DELETE /cluster/peer/1",
        "POST /cluster/recover",
        "GET /telemetry",
        "GET /metrics",
        "GET /locks",
        "POST /locks",
        "GET /issues",
        "GET /quotas",
        "GET /collections/c/optimizations",
        "PUT /collections/c/vectors/v",
        "POST /qdrant.Points/Search",
    ];
    refused(&filter, &of_everybody);
    refused(&collection, &of_everybody);
}

#[test]
fn another_spelling_of_a_path_is_another_operation() {
    let guard = guard(Store::Qdrant, By::Collection);
    refused(
        &guard,
        &[
            "POST /Collections/c/points/query",
            "POST /collections/c/points/query/",
            "POST //collections/c/points/query",
            "POST /collections/c/points//query",
            "POST /collections//points/query",
            "post /collections/c/points/query",
            "POST /collections/c/points/query;x",
            "POST /collections/a%2Fb/points/query",
            "POST /collections/../points/query",
            "POST /collections/%2e%2e/points/query",
            "POST /collections/c%00/points/query",
            "POST /collections/c/points/%",
        ],
    );
    let escaped = asked(&guard, "POST /collections/%63/points/query").map(|(_, target)| target);
    assert_eq!(escaped.as_deref(), Ok("/collections/tenant_acme_c/points/query"));
    for query in ["x=1", "timeout=1&timeout=2", "Timeout=1", "timeout=1;x=2&wait=1"] {
        assert_eq!(asked(&guard, &format!("POST /collections/c/points/query?{query}")), Err(Refused::Query), "{query}");
    }
}

#[test]
fn pinecones_namespaces_are_ones_own_in_path_query_and_body() {
    let guard = guard(Store::Pinecone, By::Namespace);
    let target = |request: &str| asked(&guard, request).map(|(_, target)| target);
    assert_eq!(
        target("GET /vectors/fetch?ids=a&ids=b&namespace=n").as_deref(),
        Ok("/vectors/fetch?ids=a&ids=b&namespace=tenant_acme_n")
    );
    assert_eq!(target("GET /vectors/list").as_deref(), Ok("/vectors/list?namespace=tenant_acme_"));
    assert_eq!(target("DELETE /namespaces/n").as_deref(), Ok("/namespaces/tenant_acme_n"));
    assert_eq!(target("POST /records/namespaces/n/upsert").as_deref(), Ok("/records/namespaces/tenant_acme_n/upsert"));
    refused(
        &guard,
        &[
            "POST /describe_index_stats",
            "GET /describe_index_stats",
            "GET /indexes",
            "POST /indexes",
            "POST /bulk/imports",
            "POST /vectors/upsert/x",
            "POST /VectorService/Query",
        ],
    );
    let head = RequestHead { method: b"POST", path: b"/query", query: None, content_type: None };
    let mut call = guard.call("acme", &head).expect("offered");
    let sent = call.body(br#"{"topK":1,"vector":[1],"namespace":"n"}"#).expect("taken").expect("changed");
    assert_eq!(sent, br#"{"topK":1,"vector":[1],"namespace":"tenant_acme_n"}"#);
    assert_eq!(call.body(br#"{"topK":1,"queries":[{"values":[1]}]}"#), Err(Refused::Member));
}

#[test]
fn chromas_collections_are_counted_and_changed_by_their_sealed_ids() {
    const UUID: &str = "870f7e48-32fb-4f96-9826-5e0685a1b170";
    const ROOT: &str = "/api/v2/tenants/t/databases/d/collections";
    let keys = Rc::new(Keys::new((1, b"a secret of more than thirty-two bytes"), None).expect("a key"));
    let sealed = keys.seal_uuid("acme", UUID).expect("sealed");
    let ids = CollectionIds::new(keys);
    let own = Guard { collection_ids: ids, ..guard(Store::Chroma, By::Namespace) };
    assert_eq!((own.check(), guard(Store::Chroma, By::Namespace).check()), (Ok(()), Err(Unfit::CollectionIds)));
    let below = "/api/v2/tenants/tenant_acme_/databases/d/collections";
    for (request, name, target) in [
        (
            format!("GET {ROOT}/{sealed}/count?read_level=index_and_wal"),
            "collections.count",
            format!("{below}/{UUID}/count?read_level=index_and_wal"),
        ),
        (format!("PUT {ROOT}/{sealed}"), "collections.change", format!("{below}/{UUID}")),
        (format!("POST {ROOT}/{sealed}/get"), "collections.get", format!("{below}/{UUID}/get")),
        (format!("GET {ROOT}/docs"), "collections.describe", format!("{below}/docs")),
        (format!("GET {ROOT}/by-id/{sealed}"), "collections.by_id", format!("{below}/by-id/{UUID}")),
    ] {
        assert_eq!(asked(&own, &request), Ok((name, target)), "{request}");
    }
    assert_eq!(asked(&own, &format!("GET {ROOT}/docs/count")), Err(Refused::Collection));
    let shared = guard(Store::Chroma, By::Filter);
    refused(&shared, &[&format!("GET {ROOT}/{UUID}/count"), &format!("PUT {ROOT}/{UUID}")]);
    assert_eq!(asked(&shared, &format!("POST {ROOT}/{UUID}/get")).map(|(name, _)| name), Ok("collections.get"));
    let head = |path| RequestHead { method: b"GET", path, query: None, content_type: None };
    let described = own.call("acme", &head(format!("{ROOT}/docs").as_bytes())).expect("offered");
    let answer = |id: &str| described.answer(200, json!({"id": id, "name": "docs"}).to_string().as_bytes()).verdict;
    assert_eq!(answer(UUID), Verdict::Changed(json!({"id": sealed, "name": "docs"}).to_string().into_bytes()));
    assert_eq!(answer("docs"), Verdict::Unreadable, "an id that nobody can seal");
}

#[test]
fn weaviates_requests_name_the_tenant_and_graphql_is_refused() {
    let guard = guard(Store::Weaviate, By::Namespace);
    let target = |request: &str| asked(&guard, request).map(|(_, target)| target);
    assert_eq!(target("GET /v1/objects?class=Doc&tenant=globex").as_deref(), Ok("/v1/objects?class=Doc&tenant=acme"));
    assert_eq!(target("DELETE /v1/objects/Doc/1").as_deref(), Ok("/v1/objects/Doc/1?tenant=acme"));
    refused(
        &guard,
        &[
            "POST /v1/graphql",
            "POST /v1/graphql/batch",
            "GET /v1/schema",
            "POST /v1/schema",
            "GET /v1/schema/Doc/tenants",
            "GET /v1/objects/1",
            "POST /v1/objects/Doc/1/references/p",
            "POST /v1/batch/references",
            "POST /v1/backups/s3",
            "GET /v1/nodes",
            "GET /v1/users/db",
        ],
    );
    let head = RequestHead { method: b"GET", path: b"/v1/meta", query: None, content_type: None };
    assert!(matches!(guard.call("acme|eu", &head), Err(Refused::Name)), "Weaviate takes no such name");
}

#[test]
fn a_batch_counts_each_of_its_searches_and_a_write_each_record() {
    let units = |by: By, method: &'static str, path: &str, body: &str| {
        let head = RequestHead { method: method.as_bytes(), path: path.as_bytes(), query: None, content_type: None };
        let mut call = guard(Store::Qdrant, by).call("acme", &head).expect("offered");
        call.body(body.as_bytes()).expect("taken");
        let units = call.units();
        (units.reads, units.writes, units.vectors)
    };
    let batch = r#"{"searches":[{"query":[1],"prefetch":{"query":[1]}},{"query":[2]}]}"#;
    for by in [By::Filter, By::Collection] {
        assert_eq!(units(by, "POST", "/collections/c/points/query/batch", batch), (2, 0, 0));
        let points = r#"{"points":[{"id":1},{"id":2,"payload":{}}]}"#;
        assert_eq!(units(by, "PUT", "/collections/c/points", points), (0, 1, 2));
        assert_eq!(units(by, "PUT", "/collections/c/points", r#"{"batch":{"ids":[1,2,3]}}"#), (0, 1, 3));
        let payloads = r#"{"batch":{"ids":[1,2],"payloads":[null,{}]}}"#;
        assert_eq!(units(by, "PUT", "/collections/c/points", payloads), (0, 1, 2));
    }
    assert_eq!(units(By::Filter, "POST", "/collections/c/points/count", "{}"), (1, 0, 0));
}

#[test]
fn grpc_is_refused_on_every_path() {
    for (store, by) in [(Store::Qdrant, By::Filter), (Store::Milvus, By::Filter), (Store::Weaviate, By::Namespace)] {
        for kind in ["application/grpc", "Application/GRPC+proto", "application/grpc-web"] {
            let content_type = Some(kind.as_bytes());
            let head = RequestHead { method: b"GET", path: b"/healthz", query: None, content_type };
            assert!(matches!(guard(store, by).call("acme", &head), Err(Refused::Operation)), "{kind}");
        }
    }
}

#[test]
fn a_guard_that_a_store_does_not_know_is_unfit() {
    assert_eq!(guard(Store::Pinecone, By::Filter).check(), Err(Unfit::By("namespace")));
    assert_eq!(guard(Store::Qdrant, By::Namespace).check(), Err(Unfit::By("filter or collection")));
    assert_eq!(Guard { field: "a.b".into(), ..guard(Store::Qdrant, By::Filter) }.check(), Err(Unfit::Field));
    for root in ["/", "x", "/a/", "/a b", "/%2e"] {
        let guard = Guard { root: root.into(), ..guard(Store::Qdrant, By::Filter) };
        assert_eq!(guard.check(), Err(Unfit::Root), "{root}");
    }
    assert_eq!(Guard { root: "/qdrant/v1".into(), ..guard(Store::Qdrant, By::Filter) }.check(), Ok(()));
}

#[test]
fn a_record_is_named_by_its_id_where_the_collection_is_ones_own() {
    let queries = [
        r#"{"query":4}"#,
        r#"{"query":"9b2c4a1e-0000-4000-8000-000000000000"}"#,
        r#"{"query":{"nearest":4}}"#,
        r#"{"query":{"recommend":{"positive":[4,"9b2c4a1e-0000-4000-8000-000000000000",[0.5]],"negative":[7]}}}"#,
        r#"{"query":{"discover":{"target":4,"context":[{"positive":1,"negative":[0.5]}]}}}"#,
        r#"{"prefetch":{"query":4},"query":[0.5]}"#,
    ];
    for query in queries {
        let sent = |by| {
            let head =
                RequestHead { method: b"POST", path: b"/collections/c/points/query", query: None, content_type: None };
            guard(Store::Qdrant, by).call("acme", &head).expect("offered").body(query.as_bytes())
        };
        assert_eq!(sent(By::Collection), Ok(None), "{query}");
        assert!(matches!(sent(By::Filter), Err(Refused::Id | Refused::Member)), "{query}");
    }
    let elsewhere = r#"{"query":4,"lookup_from":{"collection":"tenant_globex_c"}}"#;
    let head = RequestHead { method: b"POST", path: b"/collections/c/points/query", query: None, content_type: None };
    let mut call = guard(Store::Qdrant, By::Collection).call("acme", &head).expect("offered");
    assert_eq!(call.body(elsewhere.as_bytes()), Err(Refused::Member), "another collection is named");
}

#[test]
fn milvuss_clients_name_the_usual_database_and_no_other() {
    let guard = guard(Store::Milvus, By::Namespace);
    let body_of = |path: &str, database: &str| {
        let head = RequestHead { method: b"POST", path: path.as_bytes(), query: None, content_type: None };
        let mut call = guard.call("acme", &head).expect("offered");
        let body = format!(r#"{{"collectionName":"docs","dbName":{database},"filter":""}}"#);
        call.body(body.as_bytes()).map(|changed| String::from_utf8(changed.expect("changed")).expect("text"))
    };
    let query = "/v2/vectordb/entities/query";
    for database in ["\"default\"", "null"] {
        let sent = body_of(query, database).expect("taken");
        assert!(sent.contains(&format!("\"dbName\":{database}")) && sent.contains("tenant_acme_"), "{sent}");
    }
    for database in ["\"other\"", "\"Default\"", "\"\"", "1", "[\"default\"]", "{}"] {
        assert_eq!(body_of(query, database), Err(Refused::Member), "{database}");
    }
}

#[test]
fn milvuss_list_of_partitions_shows_ones_own() {
    let guard = guard(Store::Milvus, By::Namespace);
    let head = RequestHead { method: b"POST", path: b"/v2/vectordb/partitions/list", query: None, content_type: None };
    let mut call = guard.call("acme", &head).expect("offered");
    call.body(br#"{"collectionName":"docs"}"#).expect("taken");
    let answer = br#"{"code":0,"data":["_default","tenant_acme_x","tenant_globex_x","tenant_acme_"]}"#;
    let shown = Verdict::Changed(br#"{"code":0,"data":["x",""]}"#.to_vec());
    assert_eq!(call.answer(200, answer).verdict, shown);
    // A gateway that does not tell the status does not let it pass unread.
    assert_eq!(call.answer(0, answer).verdict, shown);
}

#[test]
fn headers_and_queries_lead_to_no_other_tenant() {
    let (milvus, weaviate) = (guard(Store::Milvus, By::Filter), guard(Store::Weaviate, By::Namespace));
    let (qdrant, pinecone) = (guard(Store::Qdrant, By::Filter), guard(Store::Pinecone, By::Namespace));
    assert_eq!(milvus.header(b"DB-Name"), HeaderFate::Refused);
    assert_eq!(weaviate.header(b"X-OpenAI-BaseURL"), HeaderFate::Removed);
    for (guard, header) in [(&qdrant, "db-name"), (&milvus, "x-db-name"), (&weaviate, "x-openai-api-key")] {
        assert_eq!(guard.header(header.as_bytes()), HeaderFate::Passes, "{header}");
    }
    let parted = "GET /vectors/fetch?ids=a;namespace=tenant_globex_x";
    assert_eq!(asked(&pinecone, parted), Err(Refused::Query));
}

#[test]
fn pinecone_is_asked_in_the_version_that_its_table_knows() {
    let head = RequestHead { method: b"GET", path: b"/namespaces", query: None, content_type: None };
    let call = guard(Store::Pinecone, By::Namespace).call("acme", &head).expect("offered");
    assert_eq!(call.version_header(), Some(("x-pinecone-api-version", "2025-10")));
}

#[test]
fn the_page_lists_every_operation() {
    let written = std::fs::read_to_string("../../docs/vector-store-operations.md").expect("the page is there");
    assert!(written == page::page(), "docs/vector-store-operations.md is old; `make docs` writes it anew");
}

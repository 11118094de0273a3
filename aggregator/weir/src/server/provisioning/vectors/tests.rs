use super::*;

const STORES: [VectorStore; 5] =
    [VectorStore::Qdrant, VectorStore::Chroma, VectorStore::Weaviate, VectorStore::Milvus, VectorStore::Pinecone];

fn collection(store: VectorStore) -> CollectionFile {
    let cloud = (store == VectorStore::Pinecone).then(|| "aws/us-east-1".to_owned());
    let metric = VectorMetric::Dot;
    let (url, name) = ("http://x".to_owned(), "docs".to_owned());
    CollectionFile { store, url, key: None, name, dimension: 4, metric, cloud, isolation: Vec::new() }
}

#[test]
fn each_store_is_asked_in_its_own_words() {
    let calls = STORES.map(|store| {
        let name = name(store, "tenant_acme_docs").expect("a name");
        [Act::Find, Act::Make, Act::Drop].map(|act| {
            let call = template(&collection(store), &name, act);
            format!("{} {}", call.method, call.path)
        })
    });
    let expected = [
        [
            "GET /collections/tenant_acme_docs",
            "PUT /collections/tenant_acme_docs",
            "DELETE /collections/tenant_acme_docs",
        ],
        [
            "GET /api/v2/tenants/default_tenant/databases/default_database/collections/tenant_acme_docs",
            "POST /api/v2/tenants/default_tenant/databases/default_database/collections",
            "DELETE /api/v2/tenants/default_tenant/databases/default_database/collections/tenant_acme_docs",
        ],
        ["GET /v1/schema/Tenant_acme_docs", "POST /v1/schema", "DELETE /v1/schema/Tenant_acme_docs"],
        [
            "POST /v2/vectordb/collections/has",
            "POST /v2/vectordb/collections/create",
            "POST /v2/vectordb/collections/drop",
        ],
        ["GET /indexes/tenant-acme-docs", "POST /indexes", "DELETE /indexes/tenant-acme-docs"],
    ];
    assert_eq!(calls, expected);
}

fn of(store: VectorStore, act: Act, status: u16, text: &str) -> Answer {
    meaning(store, act, "n", status, text)
}

#[test]
fn a_collection_is_made_where_the_store_itself_says_so() {
    let own =
        [r#"{"result":true,"status":"ok"}"#, r#"{"name":"n"}"#, r#"{"class":"n"}"#, r#"{"code":0}"#, r#"{"name":"n"}"#];
    for (store, own) in STORES.into_iter().zip(own) {
        assert_eq!(of(store, Act::Make, 200, own), Answer::Done(Some("n".to_owned())), "{store:?}");
        for foreign in ["", "<html>", "{}", r#"{"name":"another"}"#] {
            assert!(matches!(of(store, Act::Make, 200, foreign), Answer::Unsure(_)), "{store:?} {foreign}");
            assert!(matches!(of(store, Act::Find, 200, foreign), Answer::Unsure(_)), "{store:?} {foreign}");
        }
    }
}

#[test]
fn an_answer_that_may_hide_a_collection_is_looked_into_and_no_other() {
    for store in STORES {
        assert!(matches!(of(store, Act::Make, 409, ""), Answer::Taken(_)), "{store:?}");
        for status in [408, 500, 502, 503] {
            assert!(matches!(of(store, Act::Make, status, ""), Answer::Unsure(_)), "{store:?} {status}");
        }
        for status in [401, 403, 429] {
            assert!(matches!(of(store, Act::Make, status, "{}"), Answer::TurnedAway(_)), "{store:?} {status}");
        }
        assert!(matches!(of(store, Act::Make, 400, "wrong size"), Answer::Refused(_)), "{store:?}");
        assert_eq!(of(store, Act::Find, 404, ""), Answer::Missing);
    }
    assert!(matches!(of(VectorStore::Weaviate, Act::Make, 422, "class already exists"), Answer::Taken(_)));
    let has = r#"{"code":0,"data":{"has":true}}"#;
    assert_eq!(of(VectorStore::Milvus, Act::Find, 200, has), Answer::Done(Some("n".to_owned())));
    assert_eq!(of(VectorStore::Milvus, Act::Find, 200, r#"{"code":0,"data":{"has":false}}"#), Answer::Missing);
    let milvus = |text| of(VectorStore::Milvus, Act::Make, 200, text);
    assert!(matches!(milvus(r#"{"code":1100}"#), Answer::Refused(_)));
    assert!(matches!(milvus(r#"{"code":1800}"#), Answer::TurnedAway(_)));
    assert!(matches!(milvus(r#"{"code":65535}"#), Answer::Broken(_)));
    let taken = r#"{"code":65535,"message":"create duplicate collection with different parameters"}"#;
    assert!(matches!(milvus(taken), Answer::Taken(_)));
    assert_eq!(name(VectorStore::Pinecone, &"x".repeat(46)), None);
}

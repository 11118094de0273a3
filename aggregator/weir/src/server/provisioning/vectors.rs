//! Collections in vector stores: a call is a template of method, path and body, and an answer has one meaning for all stores.
use reqwest::{Client, Method};
use serde_json::{Value, json};
use weir_provisioning::{Act, Answer};

use crate::config::provisioning::{CollectionFile, VectorMetric, VectorStore};

/// The longest name of Pinecone's indexes, in characters.
const PINECONE_NAME_MAX: usize = 45;
/// Pinecone's API, as this module speaks it.
const PINECONE_VERSION: &str = "2025-01";
/// Chroma's own tenant and database, where collections are made.
const CHROMA_COLLECTIONS: &str = "/api/v2/tenants/default_tenant/databases/default_database/collections";

/// A call.
struct Template {
    method: Method,
    path: String,
    body: Option<Value>,
}

/// The store's form of a name; None if it takes no such name.
pub(super) fn name(store: VectorStore, name: &str) -> Option<String> {
    match store {
        VectorStore::Qdrant | VectorStore::Chroma | VectorStore::Milvus => Some(name.to_owned()),
        // Classes begin with a capital letter.
        VectorStore::Weaviate => {
            let mut letters = name.chars();
            letters.next().map(|first| first.to_ascii_uppercase().to_string() + letters.as_str())
        }
        VectorStore::Pinecone => Some(name.replace('_', "-")).filter(|name| name.len() <= PINECONE_NAME_MAX),
    }
}

/// Makes a call about the collection of this name.
pub(super) async fn call(http: &Client, to: &CollectionFile, key: Option<&str>, name: &str, act: Act) -> Answer {
    let Template { method, path, body } = template(to, name, act);
    let mut request = http.request(method, format!("{}{path}", to.url.trim_end_matches('/')));
    if let Some(key) = key {
        let (header, value) = match to.store {
            VectorStore::Qdrant | VectorStore::Pinecone => ("api-key", key.to_owned()),
            VectorStore::Chroma => ("x-chroma-token", key.to_owned()),
            VectorStore::Weaviate | VectorStore::Milvus => ("authorization", format!("Bearer {key}")),
        };
        request = request.header(header, value);
    }
    if to.store == VectorStore::Pinecone {
        request = request.header("x-pinecone-api-version", PINECONE_VERSION);
    }
    if let Some(body) = body {
        request = request.json(&body);
    }
    let answered = async {
        let response = request.send().await?;
        let status = response.status().as_u16();
        Ok::<_, reqwest::Error>((status, response.text().await?))
    };
    match answered.await {
        Ok((status, text)) => meaning(to.store, act, name, status, &text),
        Err(error) => Answer::Unsure(error.without_url().to_string()),
    }
}

fn template(to: &CollectionFile, name: &str, act: Act) -> Template {
    let call = |method, path: String, body| Template { method, path, body };
    let get = |path| call(Method::GET, path, None);
    let delete = |path| call(Method::DELETE, path, None);
    let is_made = act == Act::Make;
    match to.store {
        VectorStore::Qdrant => {
            let path = format!("/collections/{name}");
            let distance = words(to.metric, ["Cosine", "Dot", "Euclid"]);
            let body = json!({"vectors": {"size": to.dimension, "distance": distance}});
            if is_made { call(Method::PUT, path, Some(body)) } else { of(act, path, get, delete) }
        }
        VectorStore::Chroma => {
            let space = words(to.metric, ["cosine", "ip", "l2"]);
            let body = json!({"name": name, "configuration": {"hnsw": {"space": space}}});
            let path = format!("{CHROMA_COLLECTIONS}/{name}");
            if is_made {
                call(Method::POST, CHROMA_COLLECTIONS.to_owned(), Some(body))
            } else {
                of(act, path, get, delete)
            }
        }
        VectorStore::Weaviate => {
            let distance = words(to.metric, ["cosine", "dot", "l2-squared"]);
            let body = json!({"class": name, "vectorizer": "none", "vectorIndexConfig": {"distance": distance}});
            let path = format!("/v1/schema/{name}");
            if is_made { call(Method::POST, "/v1/schema".to_owned(), Some(body)) } else { of(act, path, get, delete) }
        }
        VectorStore::Milvus => {
            let metric = words(to.metric, ["COSINE", "IP", "L2"]);
            let make = json!({"collectionName": name, "dimension": to.dimension, "metricType": metric});
            let named = json!({"collectionName": name});
            let path = |verb: &str| format!("/v2/vectordb/collections/{verb}");
            match act {
                Act::Make => call(Method::POST, path("create"), Some(make)),
                Act::Drop | Act::Undo | Act::Do => call(Method::POST, path("drop"), Some(named)),
                Act::Find | Act::List => call(Method::POST, path("has"), Some(named)),
            }
        }
        VectorStore::Pinecone => {
            let (cloud, region) = to.cloud.as_deref().and_then(|cloud| cloud.split_once('/')).unwrap_or_default();
            let metric = words(to.metric, ["cosine", "dotproduct", "euclidean"]);
            let spec = json!({"serverless": {"cloud": cloud, "region": region}});
            let body = json!({"name": name, "dimension": to.dimension, "metric": metric, "spec": spec});
            let path = format!("/indexes/{name}");
            if is_made { call(Method::POST, "/indexes".to_owned(), Some(body)) } else { of(act, path, get, delete) }
        }
    }
}

fn of(
    act: Act,
    path: String,
    get: impl FnOnce(String) -> Template,
    delete: impl FnOnce(String) -> Template,
) -> Template {
    match act {
        Act::Find | Act::List | Act::Make => get(path),
        Act::Drop | Act::Do | Act::Undo => delete(path),
    }
}

const fn words(metric: VectorMetric, [cosine, dot, euclid]: [&'static str; 3]) -> &'static str {
    match metric {
        VectorMetric::Cosine => cosine,
        VectorMetric::Dot => dot,
        VectorMetric::Euclid => euclid,
    }
}

fn meaning(store: VectorStore, act: Act, name: &str, status: u16, text: &str) -> Answer {
    let found = || Answer::Done(Some(name.to_owned()));
    let why = || format!("{} answered {status}", words_of(store));
    if store == VectorStore::Milvus && status == 200 {
        return milvus(act, name, text);
    }
    match status {
        200..=299 if matches!(act, Act::Find | Act::List | Act::Make) => found(),
        200..=299 => Answer::Done(None),
        404 if act != Act::Make => Answer::Missing,
        409 if act == Act::Make => Answer::Taken(why()),
        409 => Answer::Unsure(why()),
        400 | 422 if act == Act::Make && text.contains("exist") => Answer::Taken(why()),
        401 | 403 | 408 | 425 | 429 | 500.. => Answer::Unsure(why()),
        _ => Answer::Refused(why()),
    }
}

/// Milvus answers 200 whatever happens, with a code.
fn milvus(act: Act, name: &str, text: &str) -> Answer {
    let body: Value = serde_json::from_str(text).unwrap_or_default();
    let is_good = body["code"] == 0;
    match (act, is_good) {
        (Act::Find | Act::List, true) if body["data"]["has"] == true => Answer::Done(Some(name.to_owned())),
        (Act::Find | Act::List, true) => Answer::Missing,
        (Act::Make, true) => Answer::Done(Some(name.to_owned())),
        (_, true) => Answer::Done(None),
        (Act::Make, false) if says_taken(&body) => Answer::Taken(format!("Milvus answered code {}", body["code"])),
        (Act::Make, false) => Answer::Broken(format!("Milvus answered code {}", body["code"])),
        // 100: there is no such collection.
        (_, false) if body["code"] == 100 => Answer::Missing,
        (_, false) => Answer::Unsure(format!("Milvus answered code {}", body["code"])),
    }
}

/// Milvus has one code for many mistakes, and says in words which.
fn says_taken(body: &Value) -> bool {
    body["message"].as_str().is_some_and(|said| said.contains("duplicate collection") || said.contains("already exist"))
}

const fn words_of(store: VectorStore) -> &'static str {
    match store {
        VectorStore::Qdrant => "Qdrant",
        VectorStore::Chroma => "Chroma",
        VectorStore::Weaviate => "Weaviate",
        VectorStore::Milvus => "Milvus",
        VectorStore::Pinecone => "Pinecone",
    }
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn an_answer_that_may_hide_a_collection_is_looked_into() {
        let of = |store, act, status, text| meaning(store, act, "n", status, text);
        for store in STORES {
            assert!(matches!(of(store, Act::Make, 409, ""), Answer::Taken(_)), "{store:?}");
            assert!(matches!(of(store, Act::Make, 503, ""), Answer::Unsure(_)), "{store:?}");
            assert_eq!(of(store, Act::Find, 404, ""), Answer::Missing);
        }
        assert!(matches!(of(VectorStore::Weaviate, Act::Make, 422, "class already exists"), Answer::Taken(_)));
        assert!(matches!(of(VectorStore::Qdrant, Act::Make, 400, "wrong size"), Answer::Refused(_)));
        let has = r#"{"code":0,"data":{"has":true}}"#;
        assert_eq!(of(VectorStore::Milvus, Act::Find, 200, has), Answer::Done(Some("n".to_owned())));
        assert_eq!(of(VectorStore::Milvus, Act::Find, 200, r#"{"code":0,"data":{"has":false}}"#), Answer::Missing);
        assert!(matches!(of(VectorStore::Milvus, Act::Make, 200, r#"{"code":1100}"#), Answer::Broken(_)));
        let taken = r#"{"code":65535,"message":"create duplicate collection with different parameters"}"#;
        assert!(matches!(of(VectorStore::Milvus, Act::Make, 200, taken), Answer::Taken(_)));
        assert_eq!(name(VectorStore::Pinecone, &"x".repeat(46)), None);
    }
}

//! Collections in vector stores: a call is a template of method, path and body, and an answer has one meaning for all stores.
use reqwest::{Client, Method};
use serde_json::{Value, json};
use weir_provisioning::{Act, Answer};

use crate::config::provisioning::{CollectionFile, VectorMetric, VectorStore};

/// The longest name of Pinecone's indexes, in characters.
const PINECONE_NAME_MAX: usize = 45;
/// Pinecone's API, as this module speaks it.
const PINECONE_VERSION: &str = "2025-01";
/// Milvus's codes of a call that it did not begin: too many calls, a quota that is used up, a user without the right, or none.
const MILVUS_TURNS_AWAY: [i64; 7] = [4, 8, 9, 1_400, 1_401, 1_800, 1_807];
/// Milvus's codes of a call that cannot be carried out: too many collections, no such database, wrong or missing parameters.
const MILVUS_REFUSES: [i64; 7] = [102, 800, 1_100, 1_101, 1_801, 1_802, 1_803];
/// Milvus's code where there is no such collection.
const MILVUS_NO_COLLECTION: i64 = 100;
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
    // Milvus makes a collection that is there once more without a word, if it is alike.
    if to.store == VectorStore::Milvus && act == Act::Make {
        match ask(http, to, key, name, Act::Find).await {
            Answer::Missing => {}
            Answer::Done(_) => return Answer::Taken("Milvus has one of this name".to_owned()),
            other => return Answer::TurnedAway(other.as_text()),
        }
    }
    ask(http, to, key, name, act).await
}

async fn ask(http: &Client, to: &CollectionFile, key: Option<&str>, name: &str, act: Act) -> Answer {
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

/// What a store's answer says. A call that makes something may have made it only if nobody answers, or the store fails within it.
fn meaning(store: VectorStore, act: Act, name: &str, status: u16, text: &str) -> Answer {
    let body: Value = serde_json::from_str(text).unwrap_or_default();
    let why = || format!("{} answered {status}", words_of(store));
    match status {
        401 | 403 | 425 | 429 => Answer::TurnedAway(why()),
        400.. if act == Act::Make && says_taken(text) => Answer::Taken(why()),
        _ if store == VectorStore::Milvus && body["code"].is_i64() => milvus(act, name, &body),
        200..=299 if !is_about_one(act) => Answer::Done(None),
        200..=299 if is_own(store, name, &body) => Answer::Done(Some(name.to_owned())),
        // A proxy's, perhaps.
        200..=299 => Answer::Unsure(format!("{}, in words that are not the store's", why())),
        404 if act != Act::Make => Answer::Missing,
        409 if act == Act::Make => Answer::Taken(why()),
        408 | 409 | 500.. => Answer::Unsure(why()),
        _ => Answer::Refused(why()),
    }
}

/// Whether the answer to a call is about a collection that is there.
const fn is_about_one(act: Act) -> bool {
    matches!(act, Act::Find | Act::List | Act::Make)
}

/// Whether an answer says, in the store's own words, that a collection of this name is there.
fn is_own(store: VectorStore, name: &str, body: &Value) -> bool {
    match store {
        VectorStore::Qdrant => body["status"] == "ok",
        VectorStore::Chroma | VectorStore::Pinecone => body["name"] == name,
        VectorStore::Weaviate => body["class"] == name,
        VectorStore::Milvus => false,
    }
}

fn says_taken(text: &str) -> bool {
    text.contains("already exist") || text.contains("duplicate collection")
}

/// Milvus answers 200 whatever happens, with a code.
fn milvus(act: Act, name: &str, body: &Value) -> Answer {
    let (code, said) = (body["code"].as_i64().unwrap_or_default(), body["message"].as_str().unwrap_or_default());
    let why = format!("Milvus answered code {code}");
    match (act, code) {
        (Act::Find | Act::List, 0) if body["data"]["has"] == true => Answer::Done(Some(name.to_owned())),
        (Act::Find | Act::List, 0) => Answer::Missing,
        (Act::Make, 0) => Answer::Done(Some(name.to_owned())),
        (_, 0) => Answer::Done(None),
        (_, code) if MILVUS_TURNS_AWAY.contains(&code) => Answer::TurnedAway(why),
        // It has one code for many mistakes, and says in words which.
        (Act::Make, _) if says_taken(said) => Answer::Taken(why),
        (Act::Make, code) if MILVUS_REFUSES.contains(&code) => Answer::Refused(why),
        (Act::Make, _) => Answer::Broken(why),
        (_, MILVUS_NO_COLLECTION) => Answer::Missing,
        (_, _) => Answer::Unsure(why),
    }
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
mod tests;

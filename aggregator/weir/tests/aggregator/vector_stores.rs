//! Collections in vector stores that tenants come with: in a real Chroma, and in stand-ins that behave as the stores' documented HTTP
//! APIs do: paths, bodies, statuses and error texts. What a store would refuse for its form is noted as a mistake.
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use serde_json::{Value, json};
use weir_clock::SystemClock;
use weir_rig::process::{Process, Recipe};
use weir_rig::workspace;

use super::notifying::SECRET;
use super::provisioning::{provision, settings, stripe};
use super::server::Running;

/// A real store imports its modules in seconds, and on a machine with much else to do in a minute.
const STARTS_WITHIN: Duration = Duration::from_secs(180);

/// Which store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Store {
    Qdrant,
    Chroma,
    Weaviate,
    Milvus,
    Pinecone,
}

impl Store {
    pub(super) const ALL: [Store; 5] = [Store::Qdrant, Store::Chroma, Store::Weaviate, Store::Milvus, Store::Pinecone];

    /// Its name in the configuration.
    pub(super) fn name(self) -> &'static str {
        match self {
            Store::Qdrant => "qdrant",
            Store::Chroma => "chroma",
            Store::Weaviate => "weaviate",
            Store::Milvus => "milvus",
            Store::Pinecone => "pinecone",
        }
    }

    /// The name of a tenant's collection in it.
    pub(super) fn collection(self, tenant: &str) -> String {
        match self {
            Store::Weaviate => format!("Tenant_{tenant}_docs"),
            Store::Pinecone => format!("tenant-{tenant}-docs"),
            _ => format!("tenant_{tenant}_docs"),
        }
    }

    /// The header with the key, and its value.
    fn key(self) -> (&'static str, String) {
        match self {
            Store::Qdrant | Store::Pinecone => ("api-key", SECRET.to_owned()),
            Store::Chroma => ("x-chroma-token", SECRET.to_owned()),
            Store::Weaviate | Store::Milvus => ("authorization", format!("Bearer {SECRET}")),
        }
    }

    /// What it says of a collection.
    fn described(self, name: &str) -> Value {
        match self {
            Store::Qdrant => json!({"result": true, "status": "ok", "time": 0.1}),
            Store::Weaviate => json!({"class": name, "vectorizer": "none"}),
            _ => json!({"name": name}),
        }
    }

    /// Whether it takes a collection of that name.
    fn takes(self, name: &str) -> bool {
        let all = |is: fn(char) -> bool| name.chars().all(is);
        match self {
            Store::Qdrant => !name.is_empty() && name.len() <= 255 && !name.contains('/'),
            Store::Chroma => (3..=512).contains(&name.len()) && all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)),
            Store::Weaviate => {
                name.starts_with(|c: char| c.is_ascii_uppercase()) && all(|c| c.is_ascii_alphanumeric() || c == '_')
            }
            Store::Milvus => {
                name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                    && all(|c| c.is_ascii_alphanumeric() || c == '_')
            }
            Store::Pinecone => {
                (1..=45).contains(&name.len())
                    && all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
                    && name.starts_with(|c: char| c.is_ascii_alphanumeric())
                    && name.ends_with(|c: char| c.is_ascii_alphanumeric())
            }
        }
    }
}

/// A call, taken apart.
enum Asked {
    Has(String),
    Make(String),
    Drop(String),
}

/// A store.
#[derive(Clone, Debug)]
pub(super) struct StandIn {
    store: Store,
    names: Arc<Mutex<Vec<String>>>,
    mistakes: Arc<Mutex<Vec<String>>>,
    /// The status that the next call which makes a collection is turned away with; meanwhile somebody else makes it.
    turns_away: Arc<Mutex<Option<StatusCode>>>,
}

impl StandIn {
    pub(super) async fn listen(store: Store) -> (Self, String) {
        let stand_in = StandIn { store, names: Arc::default(), mistakes: Arc::default(), turns_away: Arc::default() };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let router = Router::new().fallback(answer).with_state(stand_in.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (stand_in, url)
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.names.lock().expect("a list").clone()
    }

    pub(super) fn mistakes(&self) -> Vec<String> {
        self.mistakes.lock().expect("a list").clone()
    }

    /// Somebody else makes a collection.
    pub(super) fn add(&self, name: &str) {
        self.names.lock().expect("a list").push(name.to_owned());
    }

    /// Turns the next creation away, and has somebody else make the collection before it is tried again.
    pub(super) fn turn_away(&self, status: StatusCode) {
        *self.turns_away.lock().expect("a status") = Some(status);
    }

    fn has(&self, name: &str) -> bool {
        self.names().iter().any(|known| known == name)
    }

    fn remove(&self, name: &str) {
        self.names.lock().expect("a list").retain(|known| known != name);
    }

    /// What a call asks for; None for one that the store does not know.
    fn asked(&self, method: &Method, path: &str, body: &Value) -> Option<Asked> {
        let chroma = "/api/v2/tenants/default_tenant/databases/default_database/collections";
        let (root, named) = match self.store {
            Store::Qdrant => ("/collections", &body["unnamed"]),
            Store::Chroma => (chroma, &body["name"]),
            Store::Weaviate => ("/v1/schema", &body["class"]),
            Store::Pinecone => ("/indexes", &body["name"]),
            Store::Milvus => {
                let name = body["collectionName"].as_str()?.to_owned();
                return match (method, path) {
                    (&Method::POST, "/v2/vectordb/collections/has") => Some(Asked::Has(name)),
                    (&Method::POST, "/v2/vectordb/collections/create") => Some(Asked::Make(name)),
                    (&Method::POST, "/v2/vectordb/collections/drop") => Some(Asked::Drop(name)),
                    _ => None,
                };
            }
        };
        let rest = path.strip_prefix(root)?.strip_prefix('/').map(str::to_owned);
        match (method, rest) {
            (&Method::GET, Some(name)) => Some(Asked::Has(name)),
            (&Method::DELETE, Some(name)) => Some(Asked::Drop(name)),
            (&Method::PUT, Some(name)) if self.store == Store::Qdrant => Some(Asked::Make(name)),
            (&Method::POST, None) if self.store != Store::Qdrant => Some(Asked::Make(named.as_str()?.to_owned())),
            _ => None,
        }
    }

    /// What is wrong with the body that makes a collection.
    fn mistake(&self, body: &Value) -> Option<&'static str> {
        let is_one_of = |value: &Value, known: &[&str]| value.as_str().is_some_and(|text| known.contains(&text));
        let good = match self.store {
            Store::Qdrant => {
                let of = &body["vectors"];
                of["size"] == 4 && is_one_of(&of["distance"], &["Cosine", "Dot", "Euclid", "Manhattan"])
            }
            Store::Chroma => is_one_of(&body["configuration"]["hnsw"]["space"], &["cosine", "ip", "l2"]),
            Store::Weaviate => {
                let distances = ["cosine", "dot", "l2-squared", "hamming", "manhattan"];
                body["vectorizer"] == "none" && is_one_of(&body["vectorIndexConfig"]["distance"], &distances)
            }
            Store::Milvus => body["dimension"] == 4 && is_one_of(&body["metricType"], &["COSINE", "IP", "L2"]),
            Store::Pinecone => {
                let spec = &body["spec"]["serverless"];
                body["dimension"] == 4
                    && is_one_of(&body["metric"], &["cosine", "dotproduct", "euclidean"])
                    && is_one_of(&spec["cloud"], &["aws", "gcp", "azure"])
                    && spec["region"].is_string()
            }
        };
        (!good).then_some("the body")
    }

    fn answer(&self, asked: Asked) -> (StatusCode, Value) {
        let milvus = |code: u32, data: Value| (StatusCode::OK, json!({"code": code, "data": data}));
        match (asked, self.store) {
            (Asked::Has(name), Store::Milvus) => milvus(0, json!({"has": self.has(&name)})),
            (Asked::Has(name), store) if self.has(&name) => (StatusCode::OK, store.described(&name)),
            (Asked::Has(_), _) => (StatusCode::NOT_FOUND, json!({"error": "not found"})),
            (Asked::Make(name), store) if self.has(&name) => match store {
                Store::Weaviate => {
                    let message = format!("class name {name} already exists");
                    (StatusCode::UNPROCESSABLE_ENTITY, json!({"error": [{"message": message}]}))
                }
                Store::Milvus => {
                    let message = "create duplicate collection with different parameters, collection: already there";
                    (StatusCode::OK, json!({"code": 65_535, "message": message}))
                }
                Store::Pinecone => (StatusCode::CONFLICT, json!({"error": {"code": "ALREADY_EXISTS"}, "status": 409})),
                Store::Chroma => (StatusCode::CONFLICT, json!({"error": "UniqueConstraintError"})),
                Store::Qdrant => (StatusCode::CONFLICT, json!({"status": {"error": "Collection already exists!"}})),
            },
            (Asked::Make(name), store) => {
                self.add(&name);
                match store {
                    Store::Milvus => milvus(0, json!({})),
                    Store::Pinecone => (StatusCode::CREATED, json!({"name": name, "status": {"ready": false}})),
                    store => (StatusCode::OK, store.described(&name)),
                }
            }
            (Asked::Drop(name), store) => {
                let was = self.has(&name);
                self.remove(&name);
                match (store, was) {
                    // Weaviate and Milvus say nothing about one that is not there.
                    (Store::Milvus, _) => milvus(0, json!({})),
                    (Store::Weaviate, _) => (StatusCode::OK, Value::Null),
                    (Store::Pinecone, true) => (StatusCode::ACCEPTED, Value::Null),
                    (_, true) => (StatusCode::OK, json!({})),
                    (_, false) => (StatusCode::NOT_FOUND, json!({"error": "not found"})),
                }
            }
        }
    }
}

async fn answer(
    State(stand_in): State<StandIn>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, String) {
    let parsed: Value = serde_json::from_slice(&body).unwrap_or_default();
    let store = stand_in.store;
    let note = |wrong: &str| stand_in.mistakes.lock().expect("a list").push(format!("{method} {uri}: {wrong}"));
    let (header, value) = store.key();
    if headers.get(header).and_then(|given| given.to_str().ok()) != Some(&value) {
        note("no key");
        return (StatusCode::UNAUTHORIZED, String::new());
    }
    if store == Store::Pinecone && !headers.contains_key("x-pinecone-api-version") {
        note("no version");
    }
    let Some(asked) = stand_in.asked(&method, uri.path(), &parsed) else {
        note("no such call");
        return (StatusCode::NOT_FOUND, String::new());
    };
    if let Asked::Make(name) = &asked
        && let Some(wrong) = (!store.takes(name)).then_some("the name").or_else(|| stand_in.mistake(&parsed))
    {
        note(wrong);
        return (StatusCode::BAD_REQUEST, String::new());
    }
    if let Asked::Make(name) = &asked
        && let Some(status) = stand_in.turns_away.lock().expect("a status").take()
    {
        stand_in.add(name);
        return (status, "{}".to_owned());
    }
    let (status, told) = stand_in.answer(asked);
    (status, told.to_string())
}

/// Stands before a store and hands calls on; loses the store's answer to the first call that makes something.
async fn losing_the_first_answer(to: String) -> String {
    let (http, lost) = (reqwest::Client::new(), Arc::new(Mutex::new(false)));
    let hand_on = move |method: Method, uri: Uri, body: Bytes| {
        let (http, lost, url) = (http.clone(), Arc::clone(&lost), format!("{to}{uri}"));
        async move {
            let request = http.request(method.clone(), url).header("content-type", "application/json").body(body);
            let answer = request.send().await.expect("the store's answer");
            let (status, text) = (answer.status(), answer.text().await.expect("a text"));
            if method == Method::POST && !std::mem::replace(&mut *lost.lock().expect("a flag"), true) {
                return (StatusCode::BAD_GATEWAY, String::new());
            }
            (status, text)
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(hand_on)).await });
    url
}

/// A real Chroma, and its address.
fn chroma() -> (Process, tempfile::TempDir, String) {
    let folder = workspace::root().join(".tools/chroma");
    assert!(folder.is_dir(), "chroma is missing: run `make setup`");
    let address = std::net::TcpListener::bind("127.0.0.1:0").and_then(|one| one.local_addr()).expect("a free port");
    let dir = tempfile::tempdir().expect("a directory");
    let text = |path: &std::path::Path| path.to_string_lossy().into_owned();
    let port = address.port().to_string();
    let recipe = Recipe {
        name: "chroma".to_owned(),
        program: "python3".into(),
        args: [&text(&folder.join("bin/chroma")), "run", "--port", &port, "--path", &text(dir.path())]
            .map(Into::into)
            .to_vec(),
        env: vec![("PYTHONPATH".to_owned(), text(&folder))],
        log: dir.path().join("log"),
    };
    let mut process = Process::start(recipe).expect("python3");
    let ready = process.wait_until(STARTS_WITHIN, || std::net::TcpStream::connect(address).ok());
    ready.unwrap_or_else(|error| panic!("{error}: {}", process.log()));
    (process, dir, format!("http://{address}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_chroma_makes_a_collection_once_refuses_a_strangers_and_drops_it_again() {
    let (_process, _data, store) = tokio::task::spawn_blocking(chroma).await.expect("started");
    let (stripe, _) = stripe();
    let more = format!(
        ", collection: {{store: chroma, url: '{}', name: docs, dimension: 4}}",
        losing_the_first_answer(store.clone()).await
    );
    let dir = tempfile::tempdir().expect("a directory");
    let settings = settings(dir.path(), &stripe, "price_unheard_of", &more).replace("starter: [", "other: [");
    let server = Running::start_by(dir, SystemClock::start(), &settings).await;
    let collections = format!("{store}/api/v2/tenants/default_tenant/databases/default_database/collections");
    let has = async |tenant: &str| {
        let found = server.http.get(format!("{collections}/tenant_{tenant}_docs")).send().await.expect("an answer");
        found.status().is_success()
    };
    let (status, view) = provision(&server, "k", &json!({"tenant": {"id": "acme", "plan": "starter"}})).await;
    assert_eq!((status, has("acme").await), (201, true), "{view}");
    let shown = server.json("/v1/tenants/acme/provisioning").await;
    let is_lost = |act: &Value| act["step"] == "collection" && act["detail"].to_string().contains("502");
    assert!(shown["journal"].as_array().expect("acts").iter().any(is_lost), "{shown}");
    let stranger = server.http.post(&collections).json(&json!({"name": "tenant_globex_docs"})).send().await;
    assert!(stranger.expect("an answer").status().is_success());
    let (status, said) = provision(&server, "k2", &json!({"tenant": {"id": "globex", "plan": "starter"}})).await;
    assert_eq!((status, has("globex").await), (409, true), "{said}");
    let unheard_of = json!({"tenant": {"id": "hooli", "plan": "starter", "budgets": {"unheard-of": "5"}}});
    let (status, said) = provision(&server, "k3", &unheard_of).await;
    assert_eq!((status, has("hooli").await), (409, false), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_vector_store_makes_a_collection_refuses_a_strangers_and_drops_it_again() {
    for store in Store::ALL {
        let (stripe, _) = stripe();
        let (stand_in, url) = StandIn::listen(store).await;
        let cloud = if store == Store::Pinecone { ", cloud: aws/us-east-1" } else { "" };
        let more = format!(
            ", collection: {{store: {}, url: '{url}', key: {{file: secret}}, name: docs, dimension: 4{cloud}}}, retention: 1h",
            store.name()
        );
        let dir = tempfile::tempdir().expect("a directory");
        let settings = settings(dir.path(), &stripe, "price_unheard_of", &more);
        // Nobody subscribes: the plan has no prices.
        let settings = settings.replace("starter: [", "other: [");
        let server = Running::start_by(dir, SystemClock::start(), &settings).await;
        let new = |plan: &str| json!({"tenant": {"id": "acme", "plan": plan}});
        let (status, view) = provision(&server, "k", &new("starter")).await;
        assert_eq!(status, 201, "{store:?}: {view}");
        assert_eq!(stand_in.names(), [store.collection("acme")], "{store:?}");
        stand_in.add(&store.collection("globex"));
        let (status, said) = provision(&server, "k2", &json!({"tenant": {"id": "globex", "plan": "starter"}})).await;
        assert_eq!(status, 409, "{store:?}: {said}");
        // Somebody else makes it after a call that surely did nothing.
        for (tenant, status) in [("initech", StatusCode::TOO_MANY_REQUESTS), ("umbrella", StatusCode::BAD_REQUEST)] {
            stand_in.turn_away(status);
            let (status, said) =
                provision(&server, tenant, &json!({"tenant": {"id": tenant, "plan": "starter"}})).await;
            assert_eq!(status, 409, "{store:?}: {said}");
            assert!(stand_in.names().contains(&store.collection(tenant)), "{store:?}: it is a stranger's");
            stand_in.remove(&store.collection(tenant));
        }
        // A budget that nobody knows is found after the collection was made.
        let (status, said) = provision(
            &server,
            "k3",
            &json!({"tenant": {"id": "hooli", "plan": "starter", "budgets": {"unheard-of": "5"}}}),
        )
        .await;
        assert_eq!(status, 409, "{store:?}: {said}");
        assert_eq!(stand_in.names(), [store.collection("acme"), store.collection("globex")], "{store:?}");
        assert_eq!(stand_in.mistakes(), Vec::<String>::new(), "{store:?}");
    }
}

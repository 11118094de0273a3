//! What is kept beside a ledger in a PostgreSQL: another machine with an empty data directory has all of it, and one that was paused
//! changes nothing more.
use std::path::Path;
use std::time::Duration;

use reqwest::{Client, Method};
use serde_json::{Value, json};
use tempfile::TempDir;
use weir_clock::SystemClock;
use weir_contract::directory::KeyHash;
use weir_rig::postgres::Postgres;
use weir_rig::redis::Redis;

use super::commands::{json as answer, weir};
use super::events::{Worker, batch, noon};
use super::killing::Process;
use super::server::{Running, TOKEN, config};
use super::shared_log::{fails, succeeds};

const USER: &str = "hmac:0123456789abcdef0123456789abcdef";
const KEPT: &str = "tenants_database: true\nleases: {ttl: 60s}\nflags: {use-claude: {type: bool, default: false}}\n";

fn started() -> Postgres {
    Postgres::start().expect("a PostgreSQL")
}

fn ledger(postgres: &Postgres) -> String {
    format!("{KEPT}ledger: {}\n", postgres.url())
}

/// A machine: a directory of its own with the settings that all have.
fn machine(settings: &str) -> TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("weir.yaml"), config(dir.path(), settings)).expect("written");
    dir
}

/// Asks a server of its own, and returns status and answer.
async fn ask(process: &Process, token: &str, method: Method, path: &str, body: &Value) -> (u16, Value) {
    let url = format!("http://{}{path}", process.note().address);
    let response = Client::new().request(method, url).bearer_auth(token).json(body).send().await.expect("an answer");
    (response.status().as_u16(), response.json().await.unwrap_or_default())
}

async fn get(process: &Process, path: &str) -> Value {
    let (status, answer) = ask(process, TOKEN, Method::GET, path, &json!({})).await;
    assert_eq!(status, 200, "{path}: {answer}");
    answer
}

async fn post(process: &Process, path: &str, body: Value) -> Value {
    let (status, answer) = ask(process, TOKEN, Method::POST, path, &body).await;
    assert!(matches!(status, 200 | 201), "{path}: {answer}");
    answer
}

fn lease() -> Value {
    let key = json!({"owner": {"tenant": "acme"}, "limit": "requests"});
    let definition = json!({"capacity": 100, "refill": 100, "period_ms": 60_000});
    json!({"gateway": "a", "sent_ms": 1, "draws": true,
           "leases": [{"key": key, "definition": definition, "lease": 1, "want": 100, "largest": 1}]})
}

fn tenants(dir: &Path) -> Vec<String> {
    let listed = answer(&weir(dir, &["tenants", "list", "--json"]));
    let ids = listed.as_array().expect("a list").iter().map(|tenant| tenant["id"].as_str().expect("an id").to_owned());
    ids.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_machine_with_an_empty_directory_has_all_that_the_killed_one_kept() {
    let (postgres, redis) = (started(), Redis::start().expect("a Redis"));
    let settings = format!("{}log: {}\n", ledger(&postgres), redis.url());
    let (one, other) = (machine(&settings), machine(&settings));
    let process = Process::start(one.path());
    post(&process, "/v1/tenants", json!({"id": "acme", "plan": "starter"})).await;
    let key = post(&process, "/v1/tenants/acme/keys", json!({"environment": "test"})).await;
    let token = post(&process, "/v1/tokens", json!({"name": "ann", "scopes": ["viewer"]})).await;
    let rules = json!({"rules": [{"percent": "25%", "value": true}]});
    assert_eq!(ask(&process, TOKEN, Method::PUT, "/v1/flags/use-claude", &rules).await.0, 200);
    post(&process, "/v1/users/forget", json!({"user": USER})).await;
    let leased = post(&process, "/v1/leases", lease()).await;
    drop(process);
    let directory = one.path().join("weir-data");
    assert!(!directory.join("tenants.sqlite").exists() && !directory.join("leases.sqlite").exists());

    let process = Process::start(other.path());
    assert_eq!(get(&process, "/v1/tenants/acme").await["plan"], "starter");
    let hash = KeyHash::of(key["key"].as_str().expect("told once").as_bytes()).to_string();
    let page = get(&process, "/v1/directory").await;
    assert_eq!(page["tenants"][0]["keys"][0]["sha256"], hash.as_str());
    let token = token["token"].as_str().expect("told once");
    assert_eq!(ask(&process, token, Method::GET, "/v1/tenants", &json!({})).await.0, 200);
    assert_eq!(get(&process, "/v1/flags/use-claude").await["rules"], rules["rules"]);
    let again = post(&process, "/v1/leases", lease()).await;
    assert_eq!((&again["epoch"], &again["leases"][0]["granted"]), (&leased["epoch"], &json!(50)));
    post(&process, "/v1/tenants", json!({"id": "globex", "plan": "starter"})).await;
    drop(process);
    assert_eq!(tenants(one.path()), ["acme", "globex"], "a command on the first machine, which no server runs on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_was_paused_and_taken_over_changes_no_tenant() {
    let (postgres, redis) = (started(), Redis::start().expect("a Redis"));
    let settings = format!("{}log: {}\n", ledger(&postgres), redis.url());
    let (one, other) = (machine(&settings), machine(&settings));
    let paused = Process::start(one.path());
    post(&paused, "/v1/tenants", json!({"id": "acme", "plan": "starter"})).await;
    let error = fails(other.path(), &["tenants", "set", "acme", "--plan", "pro"]);
    assert!(error.contains("another weir writes this ledger"), "{error}");

    paused.signal("-STOP");
    let process = Process::start(other.path());
    process.note();
    paused.signal("-CONT");
    let patch = json!({"plan": "stolen"});
    let (status, answer) = ask(&paused, TOKEN, Method::PATCH, "/v1/tenants/acme", &patch).await;
    assert_eq!(status, 503, "{answer}");
    assert!(answer["error"].as_str().is_some_and(|error| error.contains("taken over")), "{answer}");
    let (status, _) =
        ask(&paused, TOKEN, Method::POST, "/v1/tokens", &json!({"name": "eve", "scopes": ["admin"]})).await;
    assert_eq!(status, 503);
    assert_eq!(ask(&paused, TOKEN, Method::POST, "/v1/leases", &lease()).await.0, 503, "it lends nothing");
    assert_eq!(ask(&process, TOKEN, Method::PATCH, "/v1/tenants/acme", &json!({"plan": "pro"})).await.0, 200);
    assert_eq!(get(&process, "/v1/tenants/acme").await["plan"], "pro");
}

#[tokio::test]
async fn what_a_version_before_kept_in_files_moves_at_the_next_start() {
    let postgres = started();
    let settings = ledger(&postgres);
    let dir = tempfile::tempdir().expect("a directory");
    let server = Running::start_by(dir, SystemClock::start(), KEPT).await;
    assert_eq!(server.ask("/v1/leases", &lease()).await["leases"][0]["granted"], 50);
    let dir = server.stop().await;
    succeeds(dir.path(), &["tenants", "create", "acme", "--plan", "starter"]);
    let data = dir.path().join("weir-data");
    // As if the ledger had been elsewhere from the beginning.
    for file in ["ledger.sqlite", "log.sqlite"] {
        std::fs::remove_file(data.join(file)).expect("removed");
    }
    std::fs::write(dir.path().join("weir.yaml"), config(dir.path(), &settings)).expect("written");
    succeeds(dir.path(), &["serve", "--check"]);
    let error = fails(dir.path(), &["tenants", "list"]);
    assert!(error.contains("tenants.sqlite: tenants are in this file, and there is no ledger yet"), "{error}");
    let server = Running::start_by(dir, SystemClock::start(), &settings).await;
    assert_eq!(server.json("/v1/tenants/acme").await["plan"], "starter");
    assert_eq!(server.json("/v1/limits?tenant=acme").await[0]["holders"][0]["holds"], 50);
    assert!(data.join("tenants.moved.sqlite").exists() && !data.join("tenants.sqlite").exists());
    assert!(data.join("leases.moved.sqlite").exists() && !data.join("leases.sqlite").exists());

    let dir = server.stop().await;
    std::fs::rename(data.join("tenants.moved.sqlite"), data.join("tenants.sqlite")).expect("put back");
    let server = Running::start_in(dir, noon(), &settings).await;
    assert!(!data.join("tenants.sqlite").exists(), "the same tenants are put aside again");
    let dir = server.stop().await;
    succeeds(dir.path(), &["tenants", "set", "acme", "--plan", "pro"]);
    std::fs::rename(data.join("tenants.moved.sqlite"), data.join("tenants.sqlite")).expect("put back");
    let error = Running::refused(dir, &settings).await;
    assert!(error.contains("keeps other tenants, keys or tokens") && error.contains("tenants.sqlite"), "{error}");
}

#[tokio::test]
async fn tenants_outlive_a_rebuilt_ledger_and_come_back_with_a_dump() {
    let postgres = started();
    let settings = ledger(&postgres);
    let (server, worker) = (Running::start(noon(), &settings).await, Worker::new(1, noon()));
    server.post(batch(&[worker.usage(1)])).await;
    assert_eq!(server.billable("requests").await, 1);
    assert_eq!(server.ask("/v1/leases", &lease()).await["leases"][0]["granted"], 50);
    let dir = server.stop().await;
    succeeds(dir.path(), &["tenants", "create", "acme", "--plan", "starter"]);
    succeeds(dir.path(), &["ledger", "rebuild", "--replace"]);
    assert_eq!(tenants(dir.path()), ["acme"]);

    let dumps = ["weir", "weir_tenants", "weir_leases"].map(|schema| (schema, dir.path().join(schema)));
    dumps.iter().for_each(|(schema, dump)| postgres.dump(schema, dump).expect("dumped"));
    postgres.run("DROP SCHEMA weir, weir_tenants, weir_leases CASCADE").expect("lost");
    dumps.iter().for_each(|(_, dump)| postgres.restore(dump).expect("restored"));
    assert_eq!(tenants(dir.path()), ["acme"]);
    let server = Running::start_in(dir, noon(), &settings).await;
    assert_eq!(
        server.ask("/v1/leases", &lease()).await["leases"][0]["granted"],
        0,
        "leases of a dump are not believed"
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_server_tenants_are_served_and_not_changed() {
    let mut postgres = started();
    let server = Running::start(noon(), &ledger(&postgres)).await;
    let create = async |id: &str| {
        let request = server.http.post(format!("{}/v1/tenants", server.url)).bearer_auth(TOKEN);
        request.json(&json!({"id": id, "plan": "starter"})).send().await.expect("an answer").status().as_u16()
    };
    assert_eq!(create("acme").await, 201);
    postgres.kill().expect("killed");
    assert_eq!(create("globex").await, 503);
    assert_eq!(server.json("/v1/directory").await["tenants"].as_array().map(Vec::len), Some(1));
    postgres.restart().expect("started");
    let mut status = 503;
    for _ in 0..100 {
        status = create("globex").await;
        if status != 503 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(status, 201);
    server.stop().await;
}

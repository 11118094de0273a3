//! Tenants and keys that are kept in the database and changed by calls and commands.
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use weir_clock::SystemClock;
use weir_contract::Timestamp;
use weir_contract::directory::{KeyHash, Page};
use weir_contract::scopes::Scopes;
use weir_contract::stage::KNOWS_HEADER;

use super::events::noon;
use super::server::{Running, TOKEN};

const KEPT: &str = "tenants_database: true\n";

async fn start() -> Running {
    Running::start(noon(), KEPT).await
}

async fn send(server: &Running, method: Method, path: &str, headers: &[(&str, &str)], body: &Value) -> Response {
    let request = server.http.request(method, format!("{}{path}", server.url)).bearer_auth(TOKEN).json(body);
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    request.send().await.expect("an answer")
}

/// Sends a request that is to be answered with `status`, and returns the answer.
async fn expect(server: &Running, method: Method, path: &str, body: &Value, status: u16) -> Value {
    let response = send(server, method, path, &[], body).await;
    let (found, text) = (response.status().as_u16(), response.text().await.expect("text"));
    assert_eq!(found, status, "{path}: {text}");
    serde_json::from_str(&text).expect("JSON")
}

async fn page(server: &Running) -> Page {
    server.get("/v1/directory").await.json().await.expect("a page")
}

fn weir(dir: &Path, args: &[&str]) -> Output {
    let config = dir.join("weir.yaml");
    Command::new(env!("CARGO_BIN_EXE_weir")).arg("--config").arg(config).args(args).output().expect("run")
}

fn said(output: &Output) -> Value {
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[tokio::test]
async fn a_tenant_is_created_changed_and_suspended_and_gateways_see_each_step() {
    let server = start().await;
    let acme = json!({"id": "acme", "plan": "starter"});
    let created = send(&server, Method::POST, "/v1/tenants", &[], &acme).await;
    assert_eq!((created.status(), created.headers()["etag"].to_str().expect("text")), (StatusCode::CREATED, "\"1\""));
    expect(&server, Method::POST, "/v1/tenants", &acme, 409).await;
    let key = expect(&server, Method::POST, "/v1/tenants/acme/keys", &json!({"environment": "test"}), 201).await;
    let hash = KeyHash::of(key["key"].as_str().expect("told once").as_bytes());
    assert_eq!(page(&server).await.tenants[0].keys[0].sha256, hash);
    expect(&server, Method::PATCH, "/v1/tenants/acme", &json!({"plan": "pro", "state": "suspended"}), 200).await;
    let tenant = page(&server).await.tenants.remove(0);
    assert_eq!((tenant.plan.as_str(), tenant.state), ("pro", weir_contract::directory::TenantState::Suspended));
    let history = server.json("/v1/tenants/acme/history").await;
    let acts: Vec<_> = history["changes"].as_array().expect("changes").iter().map(|change| &change["act"]).collect();
    assert_eq!(acts, ["change", "key create", "create"]);
    assert_eq!(history["changes"][0]["who"], "all", "the token's name");
    let keys = server.json("/v1/tenants/acme/keys").await;
    assert!(keys[0].get("key").is_none() && !keys.to_string().contains(&hash.to_string()), "{keys}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_confined_to_scopes_and_what_is_no_scope_is_refused() {
    let server = start().await;
    expect(&server, Method::POST, "/v1/tenants", &json!({"id": "acme", "plan": "starter"}), 201).await;
    let keys = "/v1/tenants/acme/keys";
    let key = expect(&server, Method::POST, keys, &json!({"scopes": ["route:docs", "chat"]}), 201).await;
    assert_eq!(key["scopes"], json!(["chat", "route:docs"]));
    for (scopes, needle) in
        [(json!(["chats"]), "is no scope"), (json!([]), "1 to 32 scopes"), (json!("chat"), "sequence")]
    {
        let told = expect(&server, Method::POST, keys, &json!({"scopes": scopes}), 400).await;
        assert!(told.to_string().contains(needle), "{told}");
    }
    let reads =
        server.http.get(format!("{}/v1/directory", server.url)).bearer_auth(TOKEN).header(KNOWS_HEADER, "scopes");
    let told: Page = reads.send().await.expect("an answer").json().await.expect("a page");
    let told = &told.tenants[0].keys[0];
    assert_eq!((told.scopes.as_ref().map(Scopes::as_str), told.expires), (Some("chat route:docs"), None));
    let before = page(&server).await.tenants.remove(0).keys.remove(0);
    assert!(
        before.scopes.is_none() && before.expires == Some(Timestamp::from_secs(1)),
        "an earlier gateway: {before:?}"
    );
    let made =
        said(&weir(server.dir.path(), &["keys", "create", "acme", "--scopes", "embedding,route:docs", "--json"]));
    assert_eq!(made["scopes"], json!(["embedding", "route:docs"]));
    let wrong = weir(server.dir.path(), &["keys", "create", "acme", "--scopes", "embeddings"]);
    assert!(!wrong.status.success() && String::from_utf8_lossy(&wrong.stderr).contains("is no scope"), "{wrong:?}");
    let listed = weir(server.dir.path(), &["keys", "list", "acme"]);
    assert!(String::from_utf8_lossy(&listed.stdout).contains("chat, route:docs"), "{listed:?}");
}

#[tokio::test]
async fn who_waits_for_a_change_has_it_within_a_second() {
    let server = start().await;
    expect(&server, Method::POST, "/v1/tenants", &json!({"id": "acme", "plan": "starter"}), 201).await;
    let known = page(&server).await.version;
    let url = format!("{}/v1/directory?since={known}&wait=30s", server.url);
    let waiting = tokio::spawn(server.http.get(url).bearer_auth(TOKEN).send());
    tokio::time::sleep(Duration::from_millis(200)).await;
    let begun = Instant::now();
    expect(&server, Method::PATCH, "/v1/tenants/acme", &json!({"state": "suspended"}), 200).await;
    let page: Page = waiting.await.expect("ends").expect("an answer").json().await.expect("a page");
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_eq!((page.since, page.tenants.len()), (Some(known), 1));
}

#[tokio::test]
async fn who_changes_an_earlier_version_is_told_and_changes_nothing() {
    let server = start().await;
    expect(&server, Method::POST, "/v1/tenants", &json!({"id": "acme", "plan": "starter"}), 201).await;
    let change = async |version: &str, plan: &str| {
        let plan = json!({"plan": plan});
        send(&server, Method::PATCH, "/v1/tenants/acme", &[("if-match", version)], &plan).await.status().as_u16()
    };
    assert_eq!((change("\"1\"", "a").await, change("\"1\"", "b").await, change("*", "c").await), (200, 412, 200));
    assert_eq!(change("soon", "d").await, 400);
    assert_eq!(server.json("/v1/tenants/acme").await["plan"], "c");
}

#[tokio::test]
async fn a_repeated_request_changes_nothing_more() {
    let server = start().await;
    expect(&server, Method::POST, "/v1/tenants", &json!({"id": "acme", "plan": "starter"}), 201).await;
    let make = async |body: Value| {
        send(&server, Method::POST, "/v1/tenants/acme/keys", &[("idempotency-key", "k-1")], &body).await
    };
    let first: Value = make(json!({"id": "one"})).await.json().await.expect("JSON");
    let again = make(json!({"id": "one"})).await;
    assert_eq!(again.headers()["idempotent-replayed"], "true");
    let again: Value = again.json().await.expect("JSON");
    assert_eq!((&again["id"], again.get("key"), first.get("key").is_some()), (&json!("one"), None, true));
    assert_eq!(make(json!({"id": "two"})).await.status().as_u16(), 422);
    assert_eq!(page(&server).await.tenants[0].keys.len(), 1);
}

#[tokio::test]
async fn a_plan_that_no_gateway_has_is_told_at_once() {
    let server = start().await;
    let create = async |id: &str, plan: &str| {
        let view = expect(&server, Method::POST, "/v1/tenants", &json!({"id": id, "plan": plan}), 201).await;
        view["warnings"].as_array().map_or(0, Vec::len)
    };
    assert_eq!(create("before", "nobody knows").await, 0, "no gateway has said anything yet");
    let url = format!("{}/v1/directory", server.url);
    server.http.get(url).bearer_auth(TOKEN).header("weir-plans", "pro,start%20er").send().await.expect("an answer");
    assert_eq!((create("one", "start er").await, create("two", "stater").await), (0, 1));
    let new = json!({"tenant": {"id": "three", "plan": "stater"}});
    let came = send(&server, Method::POST, "/v1/provisionings", &[("idempotency-key", "k")], &new).await;
    assert_eq!(came.json::<Value>().await.expect("JSON")["warnings"].as_array().map_or(0, Vec::len), 1);
}

#[tokio::test]
async fn a_hundred_edits_over_http_lose_none() {
    let server = start().await;
    expect(&server, Method::POST, "/v1/tenants", &json!({"id": "acme", "plan": "starter"}), 201).await;
    let edits = (0..100).map(|number| {
        let body = json!({"id": format!("key-of-{number}")});
        let url = format!("{}/v1/tenants/acme/keys", server.url);
        let request = server.http.post(url).bearer_auth(TOKEN).json(&body);
        tokio::spawn(request.send())
    });
    for edit in edits.collect::<Vec<_>>() {
        assert_eq!(edit.await.expect("ends").expect("an answer").status(), StatusCode::CREATED);
    }
    let tenant = server.json("/v1/tenants/acme").await;
    assert_eq!((&tenant["version"], &tenant["keys"]), (&json!(101), &json!(100)));
    assert_eq!(page(&server).await.tenants[0].keys.len(), 100);
}

#[tokio::test]
async fn tenants_of_a_file_are_not_changed_by_calls() {
    let server = Running::start(noon(), "").await;
    for (method, path) in [(Method::GET, "/v1/tenants"), (Method::POST, "/v1/tenants")] {
        expect(&server, method, path, &json!({"id": "acme", "plan": "starter"}), 409).await;
    }
}

#[tokio::test]
async fn commands_work_beside_a_server_and_without_one_and_a_backup_has_the_tenants() {
    let server = Running::start_by(tempfile::tempdir().expect("a directory"), SystemClock::start(), KEPT).await;
    let dir = server.dir.path().to_owned();
    let run = |args: &[&'static str]| {
        let (dir, args) = (dir.clone(), args.to_vec());
        async move { tokio::task::spawn_blocking(move || weir(&dir, &args)).await.expect("run") }
    };
    let created = said(&run(&["--json", "tenants", "create", "acme/eu", "--plan", "starter"]).await);
    assert_eq!((&created["id"], &created["state"]), (&json!("acme/eu"), &json!("active")));
    let key = said(&run(&["--json", "keys", "create", "acme/eu", "--id", "first"]).await);
    assert!(key["key"].as_str().is_some_and(|key| key.starts_with("sk_weir_")), "{key}");
    said(&run(&["--json", "keys", "rotate", "acme/eu", "first", "--overlap", "1h", "--id", "second"]).await);
    said(&run(&["--json", "tenants", "set", "acme/eu", "--plan", "pro", "--if-version", "3"]).await);
    let stale = run(&["tenants", "set", "acme/eu", "--plan", "x", "--if-version", "3"]).await;
    assert!(String::from_utf8_lossy(&stale.stderr).contains("version 4"), "{stale:?}");
    let backup = dir.join("backup").to_str().expect("text").to_owned();
    let into = backup.clone();
    let (at, written) = (dir.clone(), tokio::task::spawn_blocking(move || weir(&dir, &["backup", &into])));
    assert!(written.await.expect("run").status.success());
    let _dir = server.stop().await;
    said(&weir(&at, &["--json", "tenants", "archive", "acme/eu"]));
    said(&weir(&at, &["--json", "restore", &backup, "--replace"]));
    let restored = said(&weir(&at, &["--json", "tenants", "show", "acme/eu"]));
    assert_eq!(
        (&restored["state"], &restored["keys"], &restored["plan"]),
        (&json!("active"), &json!(2), &json!("pro"))
    );
}

#[test]
fn a_file_moves_into_the_database_and_back() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = |name: &str| dir.path().join(name);
    let file = "tenants: [{id: '007', plan: starter, keys: [{id: k, sha256: \
                411ceca50ab2c146c57c1fa4cb69e75822d84a3c5bf06beddbde329eb79e3b06}]}, {id: b, plan: p, state: suspended}]\n";
    std::fs::write(path("tenants.yaml"), file).expect("written");
    std::fs::write(path("weir.yaml"), "tenants: tenants.yaml\n").expect("written");
    let file = path("tenants.yaml");
    let import =
        |more: &[&str]| weir(dir.path(), &[&["tenants", "import", file.to_str().expect("text")], more].concat());
    assert_eq!(import(&["--check"]).status.code(), Some(3), "it differs");
    assert!(String::from_utf8_lossy(&import(&[]).stdout).contains("2 tenants created"));
    assert_eq!(import(&["--check"]).status.code(), Some(0), "and now it does not");
    let exported = weir(dir.path(), &["tenants", "export"]);
    std::fs::write(path("exported.yaml"), &exported.stdout).expect("written");
    let (one, other) = (
        weir_tenants::Snapshot::load(&path("tenants.yaml")).expect("good"),
        weir_tenants::Snapshot::load(&path("exported.yaml")).expect("good"),
    );
    assert_eq!(one.version(), other.version());
    let refused = weir(dir.path(), &["tenants", "list"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("tenants_database"), "{refused:?}");
    std::fs::write(path("weir.yaml"), KEPT).expect("written");
    let listed = said(&weir(dir.path(), &["--json", "tenants", "list"]));
    assert_eq!((listed.as_array().map(Vec::len), &listed[0]["id"]), (Some(2), &json!("007")));
    std::fs::write(path("weir.yaml"), format!("{KEPT}tenants: tenants.yaml\n")).expect("written");
    let both = weir(dir.path(), &["serve", "--check"]);
    assert!(String::from_utf8_lossy(&both.stderr).contains("not both"), "{both:?}");
}

#[tokio::test]
async fn the_day_of_a_keys_last_use_is_known() {
    let server = start().await;
    expect(&server, Method::POST, "/v1/tenants", &json!({"id": "acme", "plan": "starter"}), 201).await;
    for name in ["used", "idle"] {
        expect(&server, Method::POST, "/v1/tenants/acme/keys", &json!({"id": name}), 201).await;
    }
    let worker = super::events::Worker::new(1, noon());
    let mut event: Value = serde_json::from_slice(&worker.usage(1)).expect("JSON");
    event["data"]["credential_id"] = json!("used");
    let event = serde_json::to_vec(&event).expect("JSON");
    assert_eq!(server.post(super::events::batch(&[event])).await.status(), StatusCode::ACCEPTED);
    server.json("/v1/usage").await;
    let keys = server.json("/v1/tenants/acme/keys").await;
    let day = keys[1]["last_used"].as_str().expect("a day");
    assert_eq!((day, keys[0].get("last_used")), (&*format!("{}T00:00:00.000Z", &noon().to_string()[..10]), None));
}

//! What tokens open: every scope on every call, and tokens that are made and revoked.
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::events::noon;
use super::killing::Process;
use super::server::{Running, TOKEN};

const KEPT: &str = "tenants_database: true\n";
const SCOPES: [&str; 9] =
    ["ingest", "directory", "byok", "readings", "metrics", "viewer", "operator", "admin", "tenant"];

async fn call(server: &Running, token: &str, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
    let method: Method = method.to_uppercase().parse().expect("a method");
    let request = server.http.request(method, format!("{}{path}", server.url)).bearer_auth(token);
    let request = body.into_iter().fold(request, reqwest::RequestBuilder::json);
    let response = request.send().await.expect("an answer");
    (response.status().as_u16(), response.json().await.unwrap_or_default())
}

/// Makes a token of one scope and returns it.
async fn make(server: &Running, name: &str, scope: &Value) -> String {
    let new = json!({"name": name, "scopes": [scope], "person": "ann"});
    let (status, made) = call(server, TOKEN, "POST", "/v1/tokens", Some(&new)).await;
    assert_eq!(status, 201, "{made}");
    made["token"].as_str().expect("told once").to_owned()
}

/// Whether a token of the scope `has` opens a call that asks for `asked`.
fn opens(has: &str, asked: &str) -> bool {
    match asked {
        "viewer" | "metrics" | "tenant" => has == asked || matches!(has, "operator" | "admin"),
        "operator" => matches!(has, "operator" | "admin"),
        _ => has == asked,
    }
}

#[tokio::test]
async fn every_scope_opens_the_calls_that_the_description_says_and_no_other() {
    let server = Running::start_open(
        tempfile::tempdir().expect("a directory"),
        noon(),
        &format!("{KEPT}allow_plaintext: true\n"),
    )
    .await;
    let mut tokens = Vec::new();
    for scope in SCOPES {
        let value = if scope == "tenant" { json!({"tenant": "acme"}) } else { json!(scope) };
        tokens.push((scope, make(&server, scope, &value).await));
    }
    let description = server.json("/openapi.json").await;
    let mut calls = 0;
    for (path, methods) in description["paths"].as_object().expect("paths") {
        let own = ["{id}", "{key}", "{name}"].iter().fold(path.clone(), |path, part| path.replace(part, "acme"));
        let own = if path == "/v1/usage" { format!("{own}?tenant=acme") } else { own };
        for (method, operation) in methods.as_object().expect("methods") {
            let Some(security) = operation["security"].as_array() else { continue };
            let asked: Vec<&String> =
                security.iter().flat_map(|one| one.as_object().expect("an object").keys()).collect();
            if asked.iter().any(|asked| asked.as_str() == "stripe") || asked.is_empty() {
                continue;
            }
            for (scope, token) in &tokens {
                let (status, answer) = call(&server, token, method, &own, Some(&json!({}))).await;
                let should = asked.iter().any(|asked| opens(scope, asked));
                assert_eq!(status != 403, should, "{scope} on {method} {own}: {status} {answer}");
                calls += 1;
            }
        }
    }
    assert!(calls > 300, "{calls}");
}

#[tokio::test]
async fn a_tenants_token_opens_its_own_affairs_and_chooses_no_plan() {
    let server = Running::start(noon(), KEPT).await;
    for id in ["acme", "globex"] {
        call(&server, TOKEN, "POST", "/v1/tenants", Some(&json!({"id": id, "plan": "starter"}))).await;
    }
    let token = make(&server, "acme's own", &json!({"tenant": "acme"})).await;
    let status = async |method: &str, path: &str, body: Option<Value>| {
        call(&server, &token, method, path, body.as_ref()).await.0
    };
    assert_eq!(status("GET", "/v1/tenants/acme", None).await, 200);
    assert_eq!(status("GET", "/v1/usage?tenant=acme", None).await, 200);
    assert_eq!(status("POST", "/v1/tenants/acme/keys", Some(json!({"id": "one"}))).await, 201);
    assert_eq!(status("POST", "/v1/tenants/acme/keys/one/rotate", None).await, 201);
    assert_eq!(status("DELETE", "/v1/tenants/acme/keys/one", None).await, 200);
    for body in [json!({"plan": "enterprise"}), json!({"environment": "test"}), json!({"feature": "free"})] {
        assert_eq!(status("POST", "/v1/tenants/acme/keys", Some(body)).await, 403);
    }
    for path in ["/v1/tenants/globex", "/v1/tenants/globex/keys", "/v1/usage?tenant=globex", "/v1/usage", "/v1/tenants"]
    {
        assert_eq!(status("GET", path, None).await, 403, "{path}");
    }
    assert_eq!(status("PATCH", "/v1/tenants/acme", Some(json!({"plan": "enterprise"}))).await, 403);
    assert_eq!(status("GET", "/v1/tenants/acme/history", None).await, 403);
}

#[tokio::test]
async fn a_token_is_told_once_works_after_a_restart_and_ends_when_it_is_revoked() {
    let server = Running::start(noon(), KEPT).await;
    let token = make(&server, "laptop", &json!("operator")).await;
    call(&server, &token, "POST", "/v1/tenants", Some(&json!({"id": "acme", "plan": "starter"}))).await;
    let history = server.json("/v1/tenants/acme/history").await;
    assert_eq!(history["changes"][0]["who"], "ann, with laptop");
    let server = Running::start_in(server.stop().await, noon(), KEPT).await;
    assert_eq!(call(&server, &token, "GET", "/v1/tenants", None).await.0, 200);
    let (_, listed) = call(&server, TOKEN, "GET", "/v1/tokens", None).await;
    assert!(!listed.to_string().contains(&token), "{listed}");
    let names: Vec<_> =
        listed.as_array().expect("a list").iter().map(|token| (&token["name"], &token["from"])).collect();
    assert_eq!(names, [(&json!("all"), &json!("configuration")), (&json!("laptop"), &json!("made"))]);
    assert_eq!(call(&server, TOKEN, "DELETE", "/v1/tokens/laptop", None).await.0, 200);
    assert_eq!(call(&server, &token, "GET", "/v1/tenants", None).await.0, 401);
    assert_eq!(call(&server, TOKEN, "DELETE", "/v1/tokens/all", None).await.0, 409);
    assert_eq!(call(&server, TOKEN, "DELETE", "/v1/tokens/other", None).await.0, 404);
    let again = json!({"name": "laptop", "scopes": ["viewer"]});
    assert_eq!(call(&server, TOKEN, "POST", "/v1/tokens", Some(&again)).await.0, 409, "names are not used again");
}

#[tokio::test]
async fn a_token_that_expires_is_refused_from_that_moment() {
    let now = noon();
    let clock = weir_clock::ManualClock::at(now);
    let server = Running::start_by(tempfile::tempdir().expect("a directory"), clock.clone(), KEPT).await;
    let new = json!({"name": "guest", "scopes": ["viewer"], "expires": now.plus_millis(60_000).to_string()});
    let (_, made) = call(&server, TOKEN, "POST", "/v1/tokens", Some(&new)).await;
    let token = made["token"].as_str().expect("told once").to_owned();
    assert_eq!(call(&server, &token, "GET", "/v1/tenants", None).await.0, StatusCode::OK.as_u16());
    clock.set(now.plus_millis(60_000));
    assert_eq!(call(&server, &token, "GET", "/v1/tenants", None).await.0, 401);
}

#[test]
fn tokens_are_made_listed_and_revoked_by_commands_without_a_server() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("weir.yaml"), KEPT).expect("written");
    let run = |args: &[&str]| {
        let config = dir.path().join("weir.yaml");
        std::process::Command::new(env!("CARGO_BIN_EXE_weir"))
            .arg("--config")
            .arg(config)
            .arg("--json")
            .args(args)
            .output()
            .expect("run")
    };
    let said = |args: &[&str]| -> Value {
        let output = run(args);
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).expect("JSON")
    };
    let made = said(&["tokens", "create", "ci", "--scope", "viewer", "--scope", "tenant:acme", "--person", "ann"]);
    assert_eq!(made["scopes"], json!(["viewer", {"tenant": "acme"}]));
    assert!(made["token"].as_str().is_some_and(|token| token.starts_with("sk_weir_api_")), "{made}");
    assert!(!run(&["tokens", "create", "ci", "--scope", "viewer"]).status.success(), "the name is taken");
    assert!(!run(&["tokens", "create", "x", "--scope", "root"]).status.success(), "there is no such scope");
    assert!(said(&["tokens", "revoke", "ci"])["revoked_at"].is_string());
    let listed = said(&["tokens", "list"]);
    assert_eq!((listed[0]["name"].as_str(), listed[0].get("token")), (Some("ci"), None));
    // The first start comes after them.
    let server = Process::start(dir.path());
    server.note();
    assert_eq!(said(&["tokens", "list"]), listed);
}

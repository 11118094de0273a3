//! Secrets are shown nowhere, and texts of other people cannot control a terminal or a spreadsheet.
use std::path::Path;
use std::process::Output;

use super::answering::run;
use super::commands::weir;
use super::events::{Worker, batch, noon};
use super::holding::World;
use super::server::{Running, config};

/// A key written by mistake where the place of a key belongs.
const KEY: &str = "sk_live_51Hq8GpXnotakey";

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// What `weir` says under a configuration.
fn under(text: &str, args: &[&str]) -> Output {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("weir.yaml"), text).expect("written");
    let file = dir.path().join("weir.yaml");
    let args: Vec<&str> =
        args.iter().map(|arg| if *arg == "FILE" { file.to_str().expect("text") } else { arg }).collect();
    weir(dir.path(), &args)
}

#[test]
fn a_key_in_the_configuration_is_not_repeated_by_its_error() {
    let stripe = |fields: &str| format!("stripe: {{meters: {{}}, {fields}}}\n");
    for text in [
        stripe(&format!("secret_key: {KEY}")),
        stripe(&format!("secret_key: {{env: {KEY}}}")),
        stripe(&format!("secret_key: {{file: {KEY}}}")),
        stripe(&format!("secret_key: {{text: {KEY}}}")),
        stripe(&format!("secret_key: {{env: K}}, url: {KEY}")),
        stripe(&format!("secret_key: {{env: K}}, {KEY}: 1")),
        stripe("secret_key: {env: K}, webhook_secrets: [whsec_51Hq8GpXnotakey]"),
        format!("signing_key: {KEY}\n"),
        format!("tokens: [{{name: t, scopes: [ingest], sha256: {KEY}}}]\n"),
        format!("tokens: [{{name: t, scopes: [ingest], env: {KEY}}}]\n"),
        format!("tokens: [{{name: t, scopes: [{KEY}], env: X}}]\n"),
        format!("listen: {KEY}\n"),
    ] {
        for args in [&["serve", "--check"][..], &["check", "FILE"]] {
            let output = under(&text, args);
            let shown = said(&output);
            assert!(!shown.contains("51Hq8GpXnotakey"), "{text}\n{shown}");
            assert!(!output.status.success() || args[0] == "check", "{text}");
        }
    }
}

#[test]
fn a_number_in_the_place_of_a_secret_is_not_repeated_either() {
    let shown = said(&under("signing_key: 8213046657\n", &["check", "FILE"]));
    assert!(shown.contains("{env: NAME}") && !shown.contains("8213046657"), "{shown}");
}

#[test]
fn a_filters_secret_is_not_shown_with_the_line_it_stands_in() {
    let filter =
        |fields: &str| format!("version: 1\nplans: {{}}\nidentity:\n  sources: [{{api_key: {{}}}}]\n{fields}\n");
    for fields in
        ["events: {cluster: a, token: tell-nobody-1, clusters: b}", "events:\n  token: {a: tell-nobody-1}\n  x: 1"]
    {
        let shown = said(&under(&filter(fields), &["check", "FILE"]));
        assert!(shown.contains("unknown field") || shown.contains("a secret is written as {env: NAME}"), "{shown}");
        assert!(!shown.contains("tell-nobody-1"), "{shown}");
    }
}

#[tokio::test]
async fn a_key_that_a_peer_echoes_stands_nowhere() {
    let echo = axum::Router::new().fallback(|headers: axum::http::HeaderMap| async move {
        let sent = headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        let key = sent.trim_start_matches("Bearer ").to_owned();
        let message = format!("no {sent}; a key such as {key}?");
        let error = serde_json::json!({"error": {"type": sent, "code": key, "message": message, "param": key}});
        (axum::http::StatusCode::BAD_REQUEST, [("request-id", key)], axum::Json(error))
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let serving = tokio::spawn(axum::serve(listener, echo).into_future());
    let dir = Running::start(noon(), "").await.stop().await;
    std::fs::write(dir.path().join("stripe"), "sk_test_51Hq8GpXnotakey").expect("written");
    std::fs::write(dir.path().join("tenants.yaml"), "tenants: [{id: acme, plan: p, stripe_customer: cus_acme}]")
        .expect("written");
    let more = format!(
        "tenants: tenants.yaml\nstripe: {{secret_key: {{file: stripe}}, url: '{url}', meters: {{requests: r}}}}\n"
    );
    std::fs::write(dir.path().join("weir.yaml"), config(dir.path(), &more)).expect("written");
    let path = dir.path().to_owned();
    let commands = move || {
        let args = [
            &["report"][..],
            &["stripe", "status"],
            &["stripe", "status", "--json"],
            &["stripe", "setup"],
            &["reconcile"],
        ];
        args.map(|args| said(&weir(&path, args)))
    };
    let shown = tokio::task::spawn_blocking(commands).await.expect("run");
    serving.abort();
    for words in shown {
        assert!(!words.contains("51Hq8GpXnotakey"), "{words}");
    }
}

/// Names that a client may give its model.
const MODEL: &str = "=HYPERLINK(\"x\")\u{1b}]0;owned\u{7}\u{9b}2J\u{202e}\nforged line";

async fn with_a_hostile_model() -> tempfile::TempDir {
    let (server, worker) = (Running::start(noon(), "").await, Worker::new(1, noon()));
    let named = worker.usage_with(1, |data| {
        data.request_model = Some(MODEL.into());
        data.feature = Some(MODEL.into());
        data.route = Some(MODEL.into());
    });
    assert_eq!(server.post(batch(&[named])).await.status(), 202);
    server.stop().await
}

fn commands<'a>(dir: &Path, id: &'a str) -> Vec<(Vec<&'a str>, String)> {
    let all = [
        vec!["usage", "--by", "model,feature,route"],
        vec!["usage", "--by", "model", "--json"],
        vec!["export", "--by", "model,feature"],
        vec!["events", "get", id],
    ];
    all.into_iter().map(|args| (args.clone(), said(&weir(dir, &args)))).collect()
}

#[tokio::test]
async fn nothing_that_a_client_chose_commands_a_terminal_or_a_spreadsheet() {
    let (dir, id) = (with_a_hostile_model().await, Worker::new(1, noon()).id(1).to_string());
    for (args, shown) in commands(dir.path(), &id) {
        assert!(shown.contains("HYPERLINK"), "{args:?} shows it: {shown}");
        let obeyed = shown.chars().find(|c| c.is_control() && *c != '\n' || *c == '\u{202e}');
        assert_eq!(obeyed, None, "{args:?}: {shown}");
        assert!(!shown.lines().any(|line| line.starts_with("forged line")), "{args:?}: {shown}");
        if args.contains(&"export") {
            assert!(shown.contains("'=HYPERLINK") && !shown.contains(",=HYPERLINK"), "{shown}");
        }
    }
}

#[tokio::test]
async fn an_invoice_taken_apart_commands_neither_a_terminal_nor_a_spreadsheet() {
    let world = World::start("month").await;
    let named = Worker::new(1, world.now).usage_with(1, |data| {
        data.request_model = Some(MODEL.into());
        data.feature = Some(MODEL.into());
    });
    world.server.post(batch(&[named])).await;
    world.clock.advance(std::time::Duration::from_secs(7_200));
    world.report().await;
    let period = format!("{}/{}", world.now, world.now.plus_millis(3_600_000));
    for shown in ["--csv", "--events", "--json"] {
        let output = run(world.server.dir.path(), &["explain", "cus_acme", "weir_requests", &period, shown]).await;
        let shown = said(&output);
        assert!(shown.contains("HYPERLINK") && !shown.contains(",=HYPERLINK"), "{shown}");
        assert_eq!(shown.chars().find(|c| c.is_control() && *c != '\n' || *c == '\u{202e}'), None, "{shown}");
    }
}

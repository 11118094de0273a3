//! The server answers every request that the OpenAPI description allows as the description says.
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use weir_clock::SystemClock;
use weir_rig::stripe::StripeServer;

use super::provisioning::{Around, around, settings, stripe};
use super::server::{Running, TOKEN};

/// The seed of generated requests, so that a failure can be repeated.
const SEED: &str = "1";
const EXAMPLES: &str = "10";

fn tools() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.tools/schemathesis")
}

/// Everything that the API is about: meters, among them the reading of the description's example, a vault, flags, and tenants that come
/// with a customer, a collection and an environment.
fn configuration(dir: &Path, stripe: &StripeServer, price: &str, outside: &str) -> String {
    let more = "meters: [{name: requests, sum: requests}, {name: storage, sum: {reading: storage_gb_hours}}]\n\
                vault: {key: {file: kek}}\n\
                flags: {use-claude: {type: bool, default: false}, tone: {type: string, default: long}}\n";
    settings(dir, stripe, price, &around(outside)) + more
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_does_what_its_description_says() {
    assert!(tools().is_dir(), "schemathesis is missing: run `make setup`");
    let dir = super::vaulting::dir();
    let (stripe, price) = stripe();
    let settings = configuration(dir.path(), &stripe, &price, &Around::default().listen().await);
    let server = Running::start_by(dir, SystemClock::start(), &settings).await;
    let work = tempfile::tempdir().expect("a directory");
    // One worker: Python 3.11 parses its own syntax in one thread at a time only.
    // A caller may well know an earlier version of a tenant or a flag, whatever else is wrong with the request, or send another request under an earlier Idempotency-Key.
    let accepted = "[checks.positive_data_acceptance]\nexpected-statuses = [\"2xx\", \"3xx\", 401, 403, 404, 409, 412, 422, 429, \"5xx\"]\n\
                    [checks.negative_data_rejection]\nexpected-statuses = [400, 401, 403, 404, 405, 406, 409, 412, 415, 422, 428, 429, \"5xx\"]\n";
    std::fs::write(work.path().join("schemathesis.toml"), accepted).expect("written");
    let mut command = Command::new("python3");
    command
        .current_dir(work.path())
        .env("PYTHONPATH", tools())
        .args(["-c", "from schemathesis.cli import schemathesis; schemathesis()", "run"])
        .arg(format!("{}/openapi.json", server.url))
        .args(["--header", &format!("Authorization: Bearer {TOKEN}")])
        .args(["--checks", "all", "--exclude-checks", "ignored_auth,unsupported_method,missing_required_header"])
        .args(["--phases", "examples,coverage,fuzzing"])
        .args(["--seed", SEED, "--max-examples", EXAMPLES, "--workers", "1", "--suppress-health-check", "all"])
        .args(["--request-timeout", "60", "--warnings", "off", "--no-color"]);
    let output = tokio::task::spawn_blocking(move || command.output().expect("python3 runs")).await.expect("run");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(server.get("/readyz").await.status().is_success(), "and it is well afterwards");
}

const ID: &str = "01a1fc18-f2f6-7442-a707-e9cbbed65f34";

#[tokio::test]
async fn every_route_is_described_and_nothing_else() {
    let server = Running::start(super::events::noon(), "").await;
    let description = server.json("/openapi.json").await;
    let described: Vec<&String> = description["paths"].as_object().expect("paths").keys().collect();
    let source = concat!(
        include_str!("../../src/server.rs"),
        include_str!("../../src/server/alerts/routes.rs"),
        include_str!("../../src/server/alerts/deploys.rs")
    );
    let routed: Vec<&str> =
        source.lines().filter_map(|line| line.trim().strip_prefix(".route(\"")?.split('"').next()).collect();
    assert!(routed.len() > 10);
    for path in &routed {
        assert!(described.iter().any(|known| known == path), "{path} is not described");
    }
    assert_eq!(described.len(), routed.len());
    for (path, methods) in description["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            let open = operation["security"].as_array().is_none_or(|s| s.contains(&Value::Object(Default::default())));
            let path = ["{id}", "{key}", "{name}"].iter().fold(path.clone(), |path, part| path.replace(part, ID));
            let url = format!("{}{path}", server.url);
            let request = server.http.request(method.to_uppercase().parse().expect("a method"), url);
            let status = request.send().await.expect("an answer").status().as_u16();
            assert_eq!(status == 401, !open, "{method} {path} without a token: {status}");
        }
    }
}

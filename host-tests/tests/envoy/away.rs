//! The real Envoy while weir serve, or an issuer of tokens, is away: what it answers, what it keeps, and what its log says.
use std::time::Duration;

use serde_json::{Value, json};
use weir_rig::envoy::Options;
use weir_rig::load::{Call, Client};

use crate::directory::{Directory, TOKEN};
use crate::edge::{Edge, Setup, tenant};
use crate::issuer::{ISSUER, Issuer, token};

/// A filter that polls its tenants from the cluster `tenants` every second.
fn polling(token: &str) -> Value {
    json!({
        "version": 1,
        "identity": {"sources": [{"api_key": {"prefix": "sk_weir_"}}]},
        "directory": {"cluster": "tenants", "token": token, "refresh": "1s"},
        "plans": {"p": {}},
        "routes": [{"match": {"path": "/readyz"}, "readiness": true}],
    })
}

fn start(filter: &Value, clusters: Vec<(&'static str, std::net::SocketAddr)>) -> Edge {
    let options = Options { concurrency: 1, listeners_from_file: true, ..Options::default() };
    Setup { options, clusters, ..Setup::default() }.start(filter)
}

async fn readiness(edge: &Edge) -> (u16, String) {
    let reply = Client::new().send(Call::get(format!("{}/readyz", edge.envoy.url()))).await;
    (reply.status, reply.text())
}

/// Waits until a line of the log holds all of these.
async fn logged(edge: &Edge, parts: &[&str]) -> String {
    for _ in 0..200 {
        let log = edge.envoy.log();
        if let Some(line) = log.lines().find(|line| parts.iter().all(|part| line.contains(part))) {
            return line.to_owned();
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("no line with {parts:?}: {}", edge.envoy.log());
}

async fn until_status(edge: &Edge, status: u16) {
    for _ in 0..200 {
        if edge.statuses(1).await == [status] {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("never {status}: {}", edge.envoy.log());
}

/// How often the log has a line with this text.
fn lines(edge: &Edge, part: &str) -> usize {
    edge.envoy.log().lines().filter(|line| line.contains(part)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_starts_before_weir_is_not_ready_and_becomes_ready_by_itself() {
    let directory = Directory::start(&[tenant("acme", "p")]);
    directory.down(true);
    let edge = start(&polling(TOKEN), vec![("tenants", directory.address())]);
    assert_eq!(edge.statuses(2).await, [503, 503]);
    let (status, body) = readiness(&edge).await;
    assert_eq!((status, body.as_str()), (503, r#"{"missing":["directory"],"status":"not_ready"}"#));
    let line = logged(&edge, &["the directory of tenants is not fetched (cluster tenants)", "status 503"]).await;
    assert!(line.contains("the next try is in") && line.contains("answered 503 not_ready"), "{line}");
    directory.down(false);
    until_status(&edge, 200).await;
    assert_eq!(readiness(&edge).await.0, 200);
    logged(&edge, &["the directory of tenants is fetched again (cluster tenants)"]).await;
    assert_eq!(edge.llm.seen().iter().filter(|seen| seen.path == "/readyz").count(), 0, "weir answers by itself");
}

#[tokio::test(flavor = "multi_thread")]
async fn why_the_directory_does_not_come_is_told_once_for_each_change() {
    let directory = Directory::start(&[]);
    directory.down(true);
    let edge = start(&polling("not-the-token-that-it-knows"), vec![("tenants", directory.address())]);
    // One worker, and the main thread, where nothing else runs.
    let first = "is not fetched (cluster tenants): status 503";
    logged(&edge, &[first]).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    let told = lines(&edge, first);
    assert!(told <= 2, "{told} lines of two VMs: {}", edge.envoy.log());
    directory.down(false);
    logged(&edge, &["is not fetched (cluster tenants): status 401; is `directory.token`"]).await;
    assert_eq!(lines(&edge, first), told);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_does_not_exist_is_told() {
    let edge = start(&polling(TOKEN), Vec::new());
    logged(&edge, &["is not fetched (cluster tenants): the gateway does not send the call; has it a cluster"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_configuration_keeps_the_directory_and_the_keys_while_both_are_away() {
    let (directory, issuer) = (Directory::start(&[tenant("acme", "p")]), Issuer::start(&[1]));
    let mut filter = polling(TOKEN);
    let jwks = json!({"url": "http://issuer.example.com/keys", "cluster": "auth", "refresh": "1s", "refetch": "1s"});
    let source = json!({"jwt": {"issuer": ISSUER, "tenant_claim": "tenant", "jwks": jwks}});
    filter["identity"]["sources"].as_array_mut().expect("sources").push(source);
    let mut edge = start(&filter, vec![("tenants", directory.address()), ("auth", issuer.address())]);
    until_status(&edge, 200).await;
    let client = Client::new();
    let with_token = |edge: &Edge| {
        let authorization = format!("Bearer {}", token(1, "key-1", 0));
        Call::get(format!("{}/v1/models", edge.envoy.url())).header("authorization", &authorization)
    };
    assert_eq!(client.send(with_token(&edge)).await.status, 200);
    directory.down(true);
    issuer.down(true);
    filter["plans"]["p"] = json!({"requests": {"rate": "1000/s"}});
    edge.reload(&filter);
    assert_eq!(edge.statuses(5).await, [200; 5]);
    assert_eq!(client.send(with_token(&edge)).await.status, 200, "with the issuer's last keys");
    // Somebody new is known once the directory is there again.
    directory.publish(&[tenant("globex", "p")]);
    directory.down(false);
    until_status(&edge, 401).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_may_start_with_tenants_of_its_own_until_the_directory_answers() {
    let directory = Directory::start(&[tenant("globex", "p")]);
    directory.down(true);
    let mut filter = polling(TOKEN);
    filter["directory"]["at_start"] = json!("inline");
    filter["tenants"] = json!([tenant("acme", "p")]);
    let edge = start(&filter, vec![("tenants", directory.address())]);
    assert_eq!(edge.statuses(3).await, [200; 3]);
    assert_eq!(readiness(&edge).await.0, 200);
    directory.down(false);
    until_status(&edge, 401).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_set_that_does_not_come_is_told_with_its_cause() {
    let issuer = Issuer::start(&[]);
    let mut filter = polling(TOKEN);
    filter.as_object_mut().expect("fields").remove("directory");
    let jwks = json!({"url": "http://issuer.example.com/keys", "cluster": "auth", "refresh": "1s", "refetch": "1s"});
    filter["identity"]["sources"] = json!([{"jwt": {"issuer": ISSUER, "tenant_claim": "tenant", "jwks": jwks}}]);
    let edge = start(&filter, vec![("auth", issuer.address())]);
    let what = format!("the key set of issuer {ISSUER} is not fetched (cluster auth)");
    logged(&edge, &[&what, "no key of the set can be used", "the next try is in"]).await;
    assert_eq!(readiness(&edge).await, (503, r#"{"missing":["keys"],"status":"not_ready"}"#.to_owned()));
    issuer.down(true);
    logged(&edge, &[&what, "status 503"]).await;
    issuer.publish(&[1]);
    issuer.down(false);
    logged(&edge, &[&format!("the key set of issuer {ISSUER} is fetched again (cluster auth)")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_the_gateway_does_not_have_has_its_own_code_and_one_line_for_each_change() {
    let directory = Directory::start(&[tenant("acme", "gold")]);
    let edge = start(&polling(TOKEN), vec![("tenants", directory.address())]);
    until_status(&edge, 403).await;
    let reply = Client::new().send(edge.models()).await;
    assert!(reply.text().contains("unknown_plan"), "{reply:?}");
    let line = logged(&edge, &["tenant acme is on plan \"gold\""]).await;
    assert!(line.contains("Add the plan to `plans`"), "{line}");
    assert_eq!(edge.statuses(20).await, [403; 20]);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(lines(&edge, "tenant acme is on plan"), 1, "{}", edge.envoy.log());
    assert!(edge.metric("weir_requests.result.unknown_plan") >= 21);
    directory.publish(&[tenant("acme", "p")]);
    until_status(&edge, 200).await;
    directory.publish(&[tenant("acme", "gold")]);
    until_status(&edge, 403).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(lines(&edge, "tenant acme is on plan"), 2, "it was served in between: {}", edge.envoy.log());
}

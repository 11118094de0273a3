//! Gateways fetch tenants.
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use reqwest::header::{ETAG, IF_NONE_MATCH};
use weir_contract::directory::Page;

use super::events::noon;
use super::server::{Running, TOKEN};

async fn start(tenants: &str) -> Running {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("tenants.yaml"), tenants).expect("written");
    Running::start_in(dir, noon(), "tenants: tenants.yaml\n").await
}

#[tokio::test]
async fn a_directory_is_sent_once_and_then_confirmed() {
    let server = start("tenants: [{id: acme, plan: starter, stripe_customer: cus_1}]").await;
    let first = server.get("/v1/directory").await;
    let etag = first.headers()[ETAG].clone();
    let page: Page = first.json().await.expect("a page");
    assert_eq!((page.tenants[0].id.as_str(), page.next), ("acme", None));
    let again = server.http.get(format!("{}/v1/directory", server.url)).bearer_auth(TOKEN).header(IF_NONE_MATCH, etag);
    assert_eq!(again.send().await.expect("an answer").status(), StatusCode::NOT_MODIFIED);
}

#[tokio::test]
async fn a_changed_file_is_served_within_seconds_and_a_broken_one_never() {
    let server = start("tenants: [{id: acme, plan: starter}]").await;
    let path = server.dir.path().join("tenants.yaml");
    std::fs::write(&path, "tenants: [{id: acme").expect("written");
    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
    assert_eq!(plan(&server).await, "starter");
    std::fs::write(&path, "tenants: [{id: acme, plan: enterprise}]").expect("written");
    for _ in 0..100 {
        if plan(&server).await == "enterprise" {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("the new file is never served");
}

/// Asks for what changed since `version`, and waits for it.
async fn ask_since(server: &Running, version: &str, wait: &str) -> (reqwest::Response, Duration) {
    let url = format!("{}/v1/directory?since={version}&wait={wait}", server.url);
    let request = server.http.get(url).bearer_auth(TOKEN).header(IF_NONE_MATCH, format!("\"{version}\""));
    let begun = Instant::now();
    (request.send().await.expect("an answer"), begun.elapsed())
}

async fn version(server: &Running) -> String {
    let page: Page = server.get("/v1/directory").await.json().await.expect("a page");
    page.version
}

#[tokio::test]
async fn a_call_that_waits_is_answered_by_the_change_and_without_one_in_time() {
    let server = start("tenants: [{id: acme, plan: starter}]").await;
    let known = version(&server).await;
    let (unchanged, took) = ask_since(&server, &known, "1s").await;
    assert_eq!(unchanged.status(), StatusCode::NOT_MODIFIED);
    assert!(took >= Duration::from_secs(1), "{took:?}");
    let path = server.dir.path().join("tenants.yaml");
    let change = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        std::fs::write(&path, "tenants: [{id: acme, plan: enterprise}]").expect("written");
    };
    let ((changed, took), ()) = tokio::join!(ask_since(&server, &known, "30s"), change);
    let page: Page = changed.json().await.expect("a page");
    assert_eq!((page.since, page.tenants[0].plan.as_str()), (Some(known.clone()), "enterprise"));
    assert!(took < Duration::from_secs(10), "{took:?}");
    let (_, took) = ask_since(&server, &known, "30s").await;
    assert!(took < Duration::from_secs(10), "another version is known already");
}

#[tokio::test]
async fn calls_that_wait_keep_no_place_from_others_and_end_when_the_server_stops() {
    let server = start("tenants: [{id: acme, plan: starter}]").await;
    let known = version(&server).await;
    let waiting: Vec<_> = (0..300)
        .map(|_| {
            let (http, url) = (server.http.clone(), format!("{}/v1/directory?since={known}", server.url));
            tokio::spawn(http.get(url).bearer_auth(TOKEN).header("prefer", "wait=50").send())
        })
        .collect();
    let shown = async || server.get("/metrics").await.text().await.expect("metrics");
    while !shown().await.contains("weir_directory_waiting 300\n") {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(plan(&server).await, "starter", "one address has 256 places, and none of them is taken");
    let begun = Instant::now();
    server.stop().await;
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    for waiting in waiting {
        let answer = waiting.await.expect("it ends").expect("an answer");
        let page: Page = answer.json().await.expect("a page");
        assert_eq!((page.version == known, page.tenants.len()), (true, 0), "nothing differs");
    }
}

#[tokio::test]
async fn a_call_whose_gateway_goes_waits_no_longer() {
    let server = start("tenants: [{id: acme, plan: starter}]").await;
    let known = version(&server).await;
    let url = format!("{}/v1/directory?since={known}&wait=50s", server.url);
    let gateway = tokio::spawn(reqwest::Client::new().get(url).bearer_auth(TOKEN).send());
    let waiting = async |count: usize| {
        let line = format!("weir_directory_waiting {count}\n");
        while !server.get("/metrics").await.text().await.expect("metrics").contains(&line) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    waiting(1).await;
    gateway.abort();
    tokio::time::timeout(Duration::from_secs(5), waiting(0)).await.expect("the server notices");
}

#[tokio::test]
async fn a_token_that_is_withdrawn_while_its_call_waits_learns_nothing() {
    let server = start("tenants: [{id: acme, plan: starter}]").await;
    let known = version(&server).await;
    let withdraw = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let path = server.dir.path().join("weir.yaml");
        let text = std::fs::read_to_string(&path).expect("read").replace("ingest, directory, readings", "ingest");
        std::fs::write(&path, text).expect("written");
    };
    let ((answer, _), ()) = tokio::join!(ask_since(&server, &known, "3s"), withdraw);
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
}

async fn plan(server: &Running) -> String {
    let page: Page = server.get("/v1/directory").await.json().await.expect("a page");
    page.tenants[0].plan.clone()
}

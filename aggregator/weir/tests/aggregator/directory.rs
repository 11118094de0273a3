//! Gateways fetch tenants.
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

async fn plan(server: &Running) -> String {
    let page: Page = server.get("/v1/directory").await.json().await.expect("a page");
    page.tenants[0].plan.clone()
}

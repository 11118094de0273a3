//! Tenants on their way always end, with a reason: whatever an outside system answers, and whatever the configuration has lost since.
use std::time::Duration;

use serde_json::{Value, json};
use weir_clock::ManualClock;

use super::answering::run;
use super::events::noon;
use super::notifying::SECRET;
use super::provisioning::{Around, answer_as, around, asked, call, live, provision, settings, start, stripe};
use super::server::{Running, TOKEN};

const PATIENCE: Duration = Duration::from_secs(60);

fn silo() -> Value {
    json!({"tenant": {"id": "acme", "plan": "starter", "placement": {"isolation": "silo"}}})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_no_tenant_can_have_is_refused_before_anybody_is_welcomed() {
    let (stripe, price) = stripe();
    let outside = Around { endpoint: Some("not a place"), ..Around::default() };
    let server = start(&stripe, &price, &around(&outside.listen().await)).await;
    let (status, said) = provision(&server, "k", &silo()).await;
    assert!(status == 409 && said["error"].as_str().is_some_and(|why| why.contains("endpoint")), "{said}");
    assert!(!outside.kinds().contains(&"tenant.welcome".to_owned()), "{:?}", outside.kinds());
    assert_eq!(outside.kinds().last().map(String::as_str), Some("tenant.environment.released"));
    assert_eq!((live(&stripe), outside.collections.lock().expect("a list").len()), ((0, 0), 0));
}

/// The clock stands still, so that no pause ends by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_of_the_outside_system_ends_a_pause_at_once() {
    let (stripe, price) = stripe();
    let outside = Around { is_down: true, ..Around::default() };
    let dir = tempfile::tempdir().expect("a directory");
    let more = settings(dir.path(), &stripe, &price, &around(&outside.listen().await));
    let server = Running::start_by(dir, ManualClock::at(noon()), &more).await;
    let body = silo();
    let answering = async {
        let ready = json!({"provisioning": asked(&outside).await, "endpoint": "https://acme.example"});
        let pausing = async {
            while server.json("/v1/tenants/acme/provisioning").await["steps"].to_string().contains("503").eq(&false) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, pausing).await.expect("it waits to ask again");
        assert_eq!(answer_as(&server, SECRET, noon(), &ready).await.0, 200);
    };
    let ((status, view), ()) = tokio::join!(provision(&server, "k", &body), answering);
    assert_eq!((status, &view["state"]), (201, &json!("done")), "{view}");
}

/// Waits until a step has a problem that says this, while hours pass.
async fn fails(server: &Running, clock: &ManualClock, step: &str, why: &str) {
    let failing = async {
        loop {
            let view = server.json("/v1/tenants/acme/provisioning").await;
            let steps = view["steps"].as_array().expect("steps").clone();
            let found = steps.iter().find(|one| one["step"] == step).expect("the step");
            if found["why"].as_str().is_some_and(|problem| problem.contains(why)) {
                return;
            }
            clock.advance(Duration::from_secs(600));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, failing).await.expect("a problem");
}

async fn archived(server: &Running, clock: &ManualClock) {
    let waiting = async {
        while server.json("/v1/tenants/acme").await["state"] != "archived" {
            clock.advance(Duration::from_secs(60));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("it goes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_goes_though_the_configuration_has_lost_what_it_came_with() {
    let (stripe, price) = stripe();
    let (outside, clock) = (Around::default(), ManualClock::at(noon()));
    let dir = tempfile::tempdir().expect("a directory");
    let more = settings(dir.path(), &stripe, &price, &around(&outside.listen().await));
    let server = Running::start_by(dir, clock.clone(), &more).await;
    let came = async {
        while server.json("/v1/tenants").await["tenants"].as_array().is_none_or(Vec::is_empty) {
            clock.advance(Duration::from_secs(3));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let body = silo();
    let ((status, view), ()) = tokio::join!(provision(&server, "k", &body), came);
    assert_eq!(status, 201, "{view}");
    let gone = call(&server.url, "/v1/deprovisionings", "g", &json!({"tenant": "acme"})).await.expect("an answer");
    assert_eq!(gone.status().as_u16(), 202);
    let dir = server.stop().await;
    let without = settings(dir.path(), &stripe, &price, ", retention: 1h");
    let server = Running::start_by(dir, clock.clone(), &without).await;
    fails(&server, &clock, "drop_collection", "weir tenants skip acme drop_collection").await;
    let skip = async |step: &str, why: &str| {
        let url = format!("{}/v1/tenants/acme/provisioning/skip", server.url);
        let request = server.http.post(url).bearer_auth(TOKEN).json(&json!({"step": step, "why": why}));
        request.send().await.expect("an answer").status().as_u16()
    };
    assert_eq!([skip("archive", "no").await, skip("goodbye", "no").await], [409, 409], "needed, and not failing");
    assert_eq!([skip("drop_collection", " ").await, skip("unheard_of", "no").await], [400, 400]);
    let why = "the store was shut down";
    let skipped = run(server.dir.path(), &["tenants", "skip", "acme", "drop_collection", "--why", why]).await;
    let said = String::from_utf8_lossy(&skipped.stdout).into_owned();
    assert!(said.contains("skipped") && said.contains(why), "{skipped:?}");
    archived(&server, &clock).await;
    let view = server.json("/v1/tenants/acme/provisioning").await;
    let steps = view["steps"].as_array().expect("steps");
    let marks: Vec<&str> = steps.iter().rev().take(4).filter_map(|one| one["mark"].as_str()).collect();
    assert_eq!((&view["state"], marks), (&json!("done"), vec!["done", "skipped", "skipped", "skipped"]), "{view}");
    assert_eq!(*outside.collections.lock().expect("a list"), ["tenant_acme_docs"], "it stays where it is");
    assert!(outside.kinds().iter().all(|kind| kind != "tenant.goodbye"), "nobody is told any more");
    let all = run(server.dir.path(), &["tenants", "status", "acme", "--all", "--json"]).await;
    let all: Value = serde_json::from_slice(&all.stdout).expect("JSON");
    let acts = all["journal"].as_array().expect("acts");
    assert!(acts.iter().any(|act| act["act"] == "skip" && act["detail"].to_string().contains(why)), "{all}");
    let page = server.json("/v1/tenants/acme/provisioning/journal?limit=3").await;
    let next = page["next"].as_str().expect("more");
    let rest = server.json(&format!("/v1/tenants/acme/provisioning/journal?limit=1000&cursor={next}")).await;
    let count = |page: &Value| page["acts"].as_array().expect("acts").len();
    assert_eq!((count(&page), count(&page) + count(&rest), rest.get("next")), (3, acts.len(), None));
    let audit = server.json("/v1/audit").await.to_string();
    assert!(audit.contains("drop_collection") && audit.contains(why), "{audit}");
    assert_eq!(skip("drop_collection", "again").await, 409, "it has ended");
}

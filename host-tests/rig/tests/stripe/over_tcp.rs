use bytes::Bytes;
use std::time::Duration;
use weir_rig::load::{Call, Client};
use weir_rig::stripe::{Account, Fault, StripeServer};

fn start() -> StripeServer {
    let server = StripeServer::start(Account::live()).unwrap();
    server.stripe().add_customer("cus_acme");
    server
}

fn report(server: &StripeServer, identifier: &str) -> Call {
    let body =
        format!("event_name=tokens&payload[stripe_customer_id]=cus_acme&payload[value]=1&identifier={identifier}");
    let call = Call { method: http::Method::POST, ..Call::get(format!("{}/v1/billing/meter_events", server.url())) };
    Call { body: Bytes::from(body), ..call }
        .header("content-type", "application/x-www-form-urlencoded")
        .header("authorization", "Bearer sk_live_rig")
}

#[tokio::test]
async fn a_call_is_answered() {
    let server = start();
    let reply = Client::new().send(report(&server, "id-1")).await;
    assert_eq!((reply.status, reply.json()["identifier"].as_str()), (200, Some("id-1")));
}

#[tokio::test]
async fn calls_for_one_series_are_in_each_others_way() {
    let server = start();
    server.set_latency(Duration::from_millis(200));
    let calls = ["id-1", "id-2"].map(|identifier| report(&server, identifier));
    let mut statuses: Vec<u16> = Client::new().send_all(calls, 2).await.iter().map(|reply| reply.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 429]);
}

#[tokio::test]
async fn a_reset_after_the_work_loses_only_the_answer() {
    let server = start();
    server.fail_next(1, Fault::ResetAfter);
    let reply = Client::new().send(report(&server, "id-1")).await;
    assert_eq!(reply.status, 0);
    assert_eq!(server.stripe().meter_events().len(), 1);
}

#[tokio::test]
async fn a_call_that_hangs_is_given_up_by_the_client() {
    let server = start();
    server.fail_next(1, Fault::HangBefore);
    let client = Client::new();
    let hanging = client.send(report(&server, "id-1"));
    assert!(tokio::time::timeout(Duration::from_millis(200), hanging).await.is_err());
    assert_eq!(client.send(report(&server, "id-1")).await.status, 200);
}

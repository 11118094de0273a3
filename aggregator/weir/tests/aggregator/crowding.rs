//! More people and programs read than there is room for: some wait their turn, the rest hear when to come again, and events come in
//! meanwhile.
use futures::future::join_all;
use reqwest::StatusCode;
use reqwest::header::RETRY_AFTER;

use super::browser::Browser;
use super::events::{Worker, batch, noon};
use super::server::{Running, TOKEN};

/// Reads of either kind: more than run and wait together.
const READS: usize = 30;

/// A server whose log takes a while to search.
async fn with_a_long_log() -> Running {
    let (server, worker) = (Running::start(noon(), "").await, Worker::new(1, noon()));
    for body in 0..20 {
        let events: Vec<_> = (1..=500).map(|number| worker.usage(body * 500 + number)).collect();
        assert_eq!(server.post(batch(&events)).await.status(), StatusCode::ACCEPTED);
    }
    server
}

#[tokio::test]
async fn reads_beyond_the_bound_hear_when_to_come_again_and_events_come_in_meanwhile() {
    let server = with_a_long_log().await;
    let browser = Browser::sign_in(&server, TOKEN).await;
    // An id that JSON may write in several ways, so that every event is parsed.
    let calls = join_all((0..READS).map(|_| server.get("/v1/events?id=a%2Fb")));
    let pages = join_all((0..READS).map(|_| browser.open("/requests?id=a%2Fb&back=all")));
    let arriving = async {
        let mut accepted = 0;
        for number in 10_001..=10_010 {
            let answer = server.post(batch(&[Worker::new(1, noon()).usage(number)])).await;
            accepted += usize::from(answer.status() == StatusCode::ACCEPTED);
        }
        accepted
    };
    let (calls, pages, accepted) = tokio::join!(calls, pages, arriving);
    assert_eq!(accepted, 10, "events do not wait for reads");
    let mut refused = 0;
    for (answers, kind) in [(calls, "application/json"), (pages, "text/html; charset=utf-8")] {
        for answer in answers {
            assert_eq!(answer.headers()["content-type"], kind);
            if answer.status() == StatusCode::SERVICE_UNAVAILABLE {
                assert_eq!(answer.headers()[RETRY_AFTER], "1");
                assert!(answer.text().await.expect("text").contains("busy; come again"));
                refused += 1;
            } else {
                assert_eq!(answer.status(), StatusCode::OK);
            }
        }
    }
    assert!((1..2 * READS).contains(&refused), "some had their turn: {refused} refused");
    let metrics = server.get("/metrics").await.text().await.expect("text");
    for line in [
        format!("weir_reads_refused_total{{of=\"log\"}} {refused}\n"),
        "weir_reads_running{of=\"log\"} 0\n".to_owned(),
        "weir_reads_waiting{of=\"log\"} 0\n".to_owned(),
        "weir_reads_refused_total{of=\"ledger\"} 0\n".to_owned(),
    ] {
        assert!(metrics.contains(&line), "{line}{metrics}");
    }
    server.stop().await;
}

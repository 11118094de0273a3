//! One limit over two real Envoys of two workers each, and the center of the product between them.
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{Request, Response};
use serde_json::json;
use weir_contract::lease::CALL_MAX_BYTES;
use weir_leases::{Center, Timing};
use weir_rig::clock;
use weir_rig::server::{Handler, Reset, Server};
use weir_rig::workspace;

use crate::edge::{Setup, filter};
use crate::hammer::hammer;

const CAPACITY: usize = 80;
const REFILL_PER_SEC: usize = 10;

/// Answers `POST /v1/leases` and `/v1/leases/draw`, as `weir serve` does.
fn serve() -> Server {
    let started = clock::instant();
    let center = Arc::new(Mutex::new(Center::new(1, 1, Timing::default())));
    let handler: Handler = Arc::new(move |request: Request<Body>| {
        let center = Arc::clone(&center);
        Box::pin(async move {
            let path = request.uri().path().to_owned();
            let body = to_bytes(request.into_body(), CALL_MAX_BYTES).await.map_err(|_| Reset)?;
            let now = 1 + started.elapsed().as_millis() as u64;
            let mut center = center.lock().expect("lock");
            let answer = match path.as_str() {
                "/v1/leases" => serde_json::to_vec(&center.call(&serde_json::from_slice(&body).expect("a call"), now)),
                _ => serde_json::to_vec(&center.draw(&serde_json::from_slice(&body).expect("a draw"), now)),
            };
            Ok(Response::new(answer.expect("json").into()))
        })
    });
    Server::start("leases", handler).expect("a port")
}

#[tokio::test(flavor = "multi_thread")]
async fn two_gateways_admit_together_what_one_bucket_would() {
    let server = serve();
    let mut config = filter(&json!({"requests": {"rate": format!("{REFILL_PER_SEC}/s"), "capacity": CAPACITY,
                                                 "scope": "fleet"}}));
    config["leases"] = json!({"cluster": "leases", "token": "fleet-token-0123456789"});
    let start = || Setup { clusters: vec![("leases", server.address())], ..Setup::workers(2) }.start(&config);
    let (one, other) = (start(), start());
    let time = Duration::from_secs(workspace::limit_seconds().unwrap_or(12));
    let (first, second) = tokio::join!(hammer(|| one.models(), 4, time), hammer(|| other.models(), 4, time));
    let each = [first.admitted(), second.admitted()];
    println!("{each:?} admitted");
    first.and(second).assert_within(CAPACITY, REFILL_PER_SEC);
    assert!(each.iter().all(|admitted| *admitted > 0), "both have their part: {each:?}");
    for edge in [&one, &other] {
        assert!(edge.metric("weir_lease_calls.result.answered") > 0);
        assert_eq!(edge.metric("weir_lease_calls.result.failed"), 0);
        assert_eq!(edge.metric("weir_limit_faults"), 0);
    }
}

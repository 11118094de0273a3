//! What Prometheus sees of weir in the real Envoy: few metrics with labels, not many with long names.
use std::time::Duration;

use serde_json::json;

use crate::edge::{Setup, filter};

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_is_a_label_and_no_part_of_a_name() {
    let edge = Setup::default().start(&filter(&json!({"requests": {"rate": "2/min"}})));
    assert_eq!(edge.statuses(4).await, [200, 200, 429, 429]);
    let wanted = ["weir_requests{result=\"admitted\"} 2", "weir_requests{result=\"rate_limited\"} 2"];
    // Counters of the workers are merged every few seconds.
    let patience = Duration::from_secs(60);
    let page = weir_rig::clock::wait_for(patience, Duration::from_millis(200), || {
        let page = edge.envoy.ask("/stats/prometheus?filter=weir").ok()?.body;
        wanted.iter().all(|line| page.contains(line)).then_some(page)
    });
    let page = page.unwrap_or_else(|| edge.envoy.ask("/stats/prometheus?filter=weir").expect("a page").body);
    wanted.iter().for_each(|line| assert!(page.contains(line), "{line} is not in:\n{page}"));
    // No tag is left in a name: everything behind the first dot of weir's own names is a label.
    let names = page.lines().filter_map(|line| line.split(['{', ' ']).next()).filter(|name| name.contains("weir_"));
    for name in names {
        let left = ["_result_", "_state_", "_why_", "_fault_", "_would_", "_unit_", "_what_"];
        assert!(left.iter().all(|part| !name.contains(part)), "{name} still holds a label");
    }
}

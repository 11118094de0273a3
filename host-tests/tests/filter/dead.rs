//! Another VM of the process announces the numbers of a dead VM, so that the aggregator can name the missing ones.
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use weir_host_tests::on_both_gateways;
use weir_host_tests::scenario::{Gateway, GatewayBuilder, ok, secs, status};

use crate::common::{answer, chat, unlimited};

/// Every event that reached the aggregator.
#[derive(Clone, Default)]
struct Arrived(Arc<Mutex<Vec<Value>>>);

impl Arrived {
    /// From now on the aggregator takes everything.
    fn at(gateway: &Gateway) -> Self {
        let arrived = Arrived::default();
        let shared = arrived.clone();
        gateway.answer_all("weir", move |call| {
            shared.0.lock().expect("lock").extend(call.json().as_array().cloned().unwrap_or_default());
            status(202).json(&json!({"accepted": 1, "rejected": []}))
        });
        arrived
    }

    /// The last words of sources that others have found dead: source and last number.
    fn last_words(&self) -> Vec<(String, u64)> {
        let events = self.0.lock().expect("lock");
        let closed = events.iter().filter(|event| event["type"] == "weir.source.v1" && event["data"]["closed"] == true);
        closed
            .map(|event| {
                (event["source"].as_str().unwrap_or_default().to_owned(), event["data"]["last"].as_u64().unwrap_or(0))
            })
            .collect()
    }
}

fn chats(gateway: &Gateway, worker: usize, count: usize) {
    for _ in 0..count {
        gateway.worker(worker).send(chat()).upstream(ok().json(&answer())).assert_status(200);
    }
}

fn place(gateway: &Gateway, place: usize) -> String {
    String::from_utf8(gateway.shared_data(&format!("weir/source/2/{place}")).unwrap_or_default()).expect("text")
}

fn source_at(gateway: &Gateway, at: usize) -> String {
    place(gateway, at).rsplit(' ').next().unwrap_or_default().to_owned()
}

fn two_workers(gateway: GatewayBuilder) -> Gateway {
    gateway.config(unlimited()).workers(2).start()
}

on_both_gateways! {
    fn what_a_dead_vm_had_numbered_is_announced_once_and_its_place_is_free_again(gateway) {
        let gateway = two_workers(gateway);
        chats(&gateway, 1, 1);
        chats(&gateway, 0, 3);
        let dead = source_at(&gateway, 1);
        // The three events end with their VM, because no fetch has asked for them yet.
        gateway.worker(0).kill();
        let arrived = Arrived::at(&gateway);
        gateway.run_for(secs(60));
        assert_eq!(arrived.last_words(), [(dead, 3)]);
        assert_eq!(gateway.metric("weir_sources.state.dead_announced"), 1);
        assert!(place(&gateway, 1).ends_with(" 0 0 0 0 "), "{}", place(&gateway, 1));
        assert_ne!(source_at(&gateway, 0), "", "the living one keeps its place");
    }

    fn an_announcement_that_does_not_arrive_is_made_again(gateway) {
        let gateway = two_workers(gateway);
        chats(&gateway, 0, 2);
        let dead = source_at(&gateway, 0);
        gateway.worker(0).kill();
        for _ in 0..30 {
            gateway.run_for(secs(2));
            gateway.calls().into_iter().for_each(|call| call.answer(503, ""));
        }
        gateway.calls().into_iter().for_each(|call| call.answer(503, ""));
        let arrived = Arrived::at(&gateway);
        gateway.run_for(secs(60));
        assert!(arrived.last_words().contains(&(dead, 2)), "{:?}", arrived.last_words());
        assert!(place(&gateway, 0).ends_with(" 0 0 0 0 "));
    }

    fn vms_that_live_are_left_alone_however_quiet_they_are(gateway) {
        let gateway = two_workers(gateway);
        let arrived = Arrived::at(&gateway);
        chats(&gateway, 0, 1);
        chats(&gateway, 1, 1);
        gateway.run_for(secs(120));
        assert_eq!(arrived.last_words(), []);
        assert_eq!(gateway.metric("weir_sources.state.unlisted"), 0);
    }

    fn a_vm_that_gave_no_number_leaves_nothing_behind(gateway) {
        let gateway = two_workers(gateway);
        let arrived = Arrived::at(&gateway);
        gateway.run_for(secs(61));
        assert!(arrived.0.lock().expect("lock").is_empty(), "a source without events says nothing");
        assert_eq!(gateway.shared_data("weir/source/2/0"), None);
    }
}

#[test]
fn all_workers_of_an_envoy_may_die_and_its_main_thread_still_tells() {
    let gateway = two_workers(Gateway::envoy());
    chats(&gateway, 0, 2);
    chats(&gateway, 1, 5);
    [0, 1].into_iter().for_each(|worker| gateway.worker(worker).kill());
    let arrived = Arrived::at(&gateway);
    gateway.run_for(secs(60));
    let mut told: Vec<u64> = arrived.last_words().into_iter().map(|(_, last)| last).collect();
    told.sort_unstable();
    assert_eq!(told, [2, 5]);
}

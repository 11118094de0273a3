use crate::caller::{Caller, event};
use jiff::SignedDuration;
use weir_rig::stripe::Fault;

const PATH: &str = "/v1/billing/meter_events";

#[test]
fn the_same_key_gets_the_first_answer_again() {
    let mut caller = Caller::open();
    let first = caller.post_with_key(PATH, &event("25", "id-1"), "key-1");
    let again = caller.post_with_key(PATH, &event("25", "id-1"), "key-1");
    assert_eq!((first.status, again.status), (200, 200));
    assert_eq!(first.body, again.body);
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(caller.total(), 25);
}

#[test]
fn a_500_is_replayed_too_and_a_fresh_key_gets_through() {
    let mut caller = Caller::open();
    caller.stripe.fail_next(1, Fault::ErrorBefore(500));
    assert_eq!(caller.post_with_key(PATH, &event("25", "id-1"), "key-1").status, 500);
    assert_eq!(caller.post_with_key(PATH, &event("25", "id-1"), "key-1").status, 500);
    assert_eq!(caller.total(), 0);
    assert_eq!(caller.post_with_key(PATH, &event("25", "id-1"), "key-2").status, 200);
    assert_eq!(caller.total(), 25);
}

#[test]
fn the_same_key_with_other_parameters_is_an_error() {
    let mut caller = Caller::open();
    caller.post_with_key(PATH, &event("25", "id-1"), "key-1");
    let answer = caller.post_with_key(PATH, &event("26", "id-1"), "key-1");
    assert_eq!((answer.status, answer.error("type")), (400, "idempotency_error"));
}

#[test]
fn a_key_has_at_most_255_characters() {
    let mut caller = Caller::open();
    assert_eq!(caller.post_with_key(PATH, &event("1", "id-1"), &"k".repeat(255)).status, 200);
    assert_eq!(caller.post_with_key(PATH, &event("1", "id-2"), &"k".repeat(256)).status, 400);
}

#[test]
fn what_was_refused_before_it_was_executed_is_not_kept() {
    let mut caller = Caller::open();
    caller.stripe.fail_next(1, Fault::RateLimit(None));
    assert_eq!(caller.post_with_key(PATH, &event("25", "id-1"), "key-1").status, 429);
    assert_eq!(caller.post_with_key(PATH, &event("25", "id-1"), "key-1").status, 200);
    let incomplete = [("event_name", "tokens")];
    assert_eq!(caller.post_with_key(PATH, &incomplete, "key-2").status, 400);
    assert_eq!(caller.post_with_key(PATH, &event("1", "id-2"), "key-2").status, 200);
}

#[test]
fn a_key_in_use_is_a_409() {
    let mut caller = Caller::open();
    let request = caller.form(PATH, &event("25", "id-1"), Some("key-1"));
    let begun = caller.stripe.begin(caller.now, &request);
    let meanwhile = caller.send(&request);
    assert_eq!((meanwhile.status, meanwhile.error("code")), (409, "idempotency_key_in_use"));
    caller.stripe.finish(begun);
    assert_eq!(caller.send(&request).status, 200);
}

#[test]
fn a_key_is_forgotten_after_a_day() {
    let mut caller = Caller::open();
    caller.post_with_key(PATH, &event("25", "id-1"), "key-1");
    caller.pass(SignedDuration::from_hours(24));
    let again = caller.post_with_key(PATH, &event("25", "id-1"), "key-1");
    assert_eq!((again.status, again.header("idempotent-replayed")), (200, None));
    assert_eq!(caller.total(), 50);
}

use crate::caller::{Caller, event};
use jiff::SignedDuration;
use weir_rig::stripe::{Fault, Foreign, Outcome};

const PATH: &str = "/v1/billing/meter_events";

#[test]
fn a_fault_after_the_work_leaves_it_done_and_one_before_does_not() {
    for (fault, total) in [
        (Fault::ErrorBefore(503), 0),
        (Fault::ErrorAfter(503), 25),
        (Fault::ResetBefore, 0),
        (Fault::ResetAfter, 25),
        (Fault::HangBefore, 0),
        (Fault::HangAfter, 25),
        (Fault::RateLimit(Some(2)), 0),
        (Fault::LockTimeout, 0),
    ] {
        let mut caller = Caller::open();
        caller.stripe.fail_next(1, fault);
        let request = caller.form(PATH, &event("25", "id-1"), None);
        let outcome = caller.outcome(&request);
        let lost = matches!(outcome, Outcome::Reset | Outcome::Hang);
        let answered = matches!(&outcome, Outcome::Answer(answer) if !answer.status().is_success());
        assert!(lost || answered, "{fault:?}: {outcome:?}");
        assert_eq!(caller.total(), total, "{fault:?}");
    }
}

#[test]
fn a_lost_answer_is_found_again_under_its_key() {
    for fault in [Fault::ResetAfter, Fault::HangAfter] {
        let mut caller = Caller::open();
        caller.stripe.fail_next(1, fault);
        let request = caller.form(PATH, &event("25", "id-1"), Some("key-1"));
        assert!(!matches!(caller.outcome(&request), Outcome::Answer(_)));
        assert_eq!(caller.send(&request).header("idempotent-replayed"), Some("true"));
        assert_eq!(caller.total(), 25);
    }
}

#[test]
fn a_rate_limit_says_how_long_to_wait() {
    let mut caller = Caller::open();
    caller.stripe.fail_next(1, Fault::RateLimit(Some(7)));
    let answer = caller.report("25", "id-1");
    assert_eq!((answer.status, answer.header("retry-after")), (429, Some("7")));
    assert_eq!(answer.header("stripe-should-retry"), Some("true"));
}

#[test]
fn faults_strike_only_calls_that_send_meter_events() {
    let mut caller = Caller::open();
    caller.stripe.fail_next(1, Fault::ErrorBefore(500));
    assert_eq!(caller.get("/v1/account").status, 200);
    assert_eq!(caller.report("1", "id-1").status, 500);
    assert_eq!(caller.report("1", "id-1").status, 200);
}

#[test]
fn an_outage_resets_everything_until_it_ends() {
    let mut caller = Caller::open();
    caller.stripe.down_until(caller.now + SignedDuration::from_hours(48));
    let request = caller.form(PATH, &event("25", "id-1"), None);
    assert!(matches!(caller.outcome(&request), Outcome::Reset));
    caller.pass(SignedDuration::from_hours(48));
    assert_eq!(caller.send(&request).status, 200);
}

#[test]
fn an_answer_of_somebody_in_between_hides_whether_the_work_was_done() {
    for foreign in [Foreign::Empty, Foreign::EmptyObject, Foreign::OtherJson, Foreign::Page, Foreign::OtherEvent] {
        for (fault, total) in [(Fault::ForeignBefore(200, foreign), 0), (Fault::ForeignAfter(200, foreign), 25)] {
            let mut caller = Caller::open();
            caller.stripe.fail_next(1, fault);
            let request = caller.form(PATH, &event("25", "id-1"), Some("key-1"));
            let Outcome::Answer(answer) = caller.outcome(&request) else { panic!("{fault:?} is answered") };
            assert!(!answer.headers().contains_key("request-id"), "{fault:?}");
            assert_eq!(caller.total(), total, "{fault:?}");
            assert_eq!(
                caller.send(&request).body["identifier"],
                "id-1",
                "{fault:?}: a repeat gets Stripe's own answer"
            );
            assert_eq!(caller.total(), 25, "{fault:?}");
        }
    }
}

#[test]
fn an_answer_may_have_no_end_or_repeat_the_callers_key() {
    let mut caller = Caller::open();
    caller.stripe.fail_next(1, Fault::ForeignAfter(200, Foreign::Endless));
    let request = caller.form(PATH, &event("25", "id-1"), None);
    assert!(matches!(caller.outcome(&request), Outcome::Endless(200)));
    caller.stripe.fail_next(1, Fault::ForeignBefore(400, Foreign::KeyEcho));
    let answer = caller.send(&request);
    assert!(answer.error("message").contains("sk_test_rig"), "{}", answer.body);
    assert!(answer.header("request-id").is_some_and(|id| id.contains("sk_test_rig")));
}

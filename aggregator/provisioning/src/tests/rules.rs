//! Single rules of sagas, in words.
use super::driver::{Kill, Run, Trouble};
use super::world::{Fault, World};
use super::{NOW, planned};
use crate::{Act, Answer, Call, CannotSkip, Kind, Mark, Next, Phase, Planned, Saga, Step};
use weir_contract::Timestamp;

const HOUR_MS: u64 = 3_600_000;

/// Nothing goes wrong.
struct Nothing;

impl Trouble for Nothing {
    fn fault(&mut self, _: u32) -> Option<Fault> {
        None
    }

    fn kill(&mut self, _: u32, _: Kill) -> bool {
        false
    }
}

fn call(saga: &Saga, now: Timestamp) -> Call {
    match saga.next(now) {
        Next::Call(call) => call,
        other => panic!("{other:?}"),
    }
}

/// Makes the next call with this answer, as soon as it is due.
fn answer(saga: &mut Saga, answer: Answer, mut now: Timestamp) -> Timestamp {
    if let Next::Wait(until) = saga.next(now) {
        now = until;
    }
    let call = call(saga, now);
    saga.begin(&call, now);
    saga.settle(&call, answer, now);
    now
}

#[test]
fn a_step_that_never_gets_an_answer_is_given_up_and_cleared_up() {
    let mut saga = Saga::new(Kind::Provision, planned(&[Step::Customer, Step::Publish]));
    let mut now = answer(&mut saga, Answer::Missing, NOW);
    for _ in 0..12 {
        assert_eq!(*saga.phase(), Phase::Forward);
        now = answer(&mut saga, Answer::Unsure("time-out".to_owned()), now);
    }
    assert!(now.millis_since(NOW) < 300_000, "{now}");
    let next = call(&saga, now);
    assert_eq!((next.act, next.key), (Act::Make, 1), "the same key tells whether it was made");
    answer(&mut saga, Answer::Done(Some("cus_1".to_owned())), now);
    assert_eq!(call(&saga, now).made.as_deref(), Some("cus_1"));
    answer(&mut saga, Answer::Done(None), now);
    assert!(matches!(saga.phase(), Phase::Undone { step: Step::Customer, .. }), "{saga:?}");
}

#[test]
fn a_collection_that_was_there_before_is_nobodys_to_take() {
    let mut saga = Saga::new(Kind::Provision, planned(&[Step::Collection, Step::Publish]));
    answer(&mut saga, Answer::Done(Some("acme".to_owned())), NOW);
    assert!(matches!(saga.phase(), Phase::Undone { step: Step::Collection, .. }), "{saga:?}");
}

#[test]
fn a_collection_that_a_stranger_makes_in_between_is_left_to_them() {
    let mut run = Run::new(World::default().with_a_stranger(), None);
    run.refused = true;
    let ended = run.run_out(&mut Nothing).expect("a good end");
    assert!(matches!(ended, Phase::Undone { step: Step::Collection, .. }), "{ended:?}");
    let left: Vec<&str> = run.world.things.iter().filter(|thing| thing.is_there).map(|thing| &*thing.name).collect();
    assert_eq!(left, ["a_strangers"]);
}

#[test]
fn a_collection_that_is_there_after_a_call_without_an_answer_is_taken_for_its_work() {
    let mut saga = Saga::new(Kind::Provision, planned(&[Step::Collection, Step::Publish]));
    let mut now = answer(&mut saga, Answer::Missing, NOW);
    now = answer(&mut saga, Answer::Unsure("time-out".to_owned()), now);
    now = answer(&mut saga, Answer::Taken("409".to_owned()), now);
    if let Next::Wait(until) = saga.next(now) {
        now = until;
    }
    assert_eq!(call(&saga, now).act, Act::List);
    answer(&mut saga, Answer::Done(Some("acme".to_owned())), now);
    assert_eq!((saga.steps()[0].mark, saga.phase()), (Mark::Done, &Phase::Forward));
}

#[test]
fn a_collection_that_is_there_after_calls_that_did_nothing_is_a_strangers() {
    for nothing in [Answer::TurnedAway("429".to_owned()), Answer::TurnedAway("401".to_owned())] {
        let mut saga = Saga::new(Kind::Provision, planned(&[Step::Collection, Step::Publish]));
        let now = answer(&mut saga, Answer::Missing, NOW);
        let now = answer(&mut saga, nothing, now);
        answer(&mut saga, Answer::Taken("409".to_owned()), now);
        assert!(matches!(saga.phase(), Phase::Undone { step: Step::Collection, .. }), "{saga:?}");
    }
    for nothing in [Answer::Refused("400".to_owned()), Answer::Unconfigured("no store".to_owned())] {
        let mut saga = Saga::new(Kind::Provision, planned(&[Step::Collection, Step::Publish]));
        let now = answer(&mut saga, Answer::Missing, NOW);
        answer(&mut saga, nothing, now);
        assert!(matches!(saga.phase(), Phase::Undone { step: Step::Collection, .. }), "nothing to drop: {saga:?}");
    }
}

#[test]
fn a_call_without_an_answer_stays_in_doubt_whatever_a_later_one_is_told() {
    for later in [Answer::Refused("400".to_owned()), Answer::Unconfigured("no store".to_owned())] {
        let mut saga = Saga::new(Kind::Provision, planned(&[Step::Collection, Step::Publish]));
        let now = answer(&mut saga, Answer::Missing, NOW);
        let now = answer(&mut saga, Answer::Unsure("time-out".to_owned()), now);
        let now = answer(&mut saga, later, now);
        assert!(matches!(saga.phase(), Phase::Backward { .. }), "it may be there: {saga:?}");
        while call(&saga, now).act != Act::Drop {
            let next = call(&saga, now);
            saga.begin(&next, now);
            let found = Answer::Done(Some("acme".to_owned()));
            saga.settle(&next, if next.act == Act::List { found } else { Answer::Taken("409".to_owned()) }, now);
            if let Next::Wait(until) = saga.next(now) {
                saga.wake(Step::Collection);
                assert!(until > now);
            }
        }
    }
}

#[test]
fn what_nobody_can_do_any_more_ends_with_its_reason() {
    let mut saga = Saga::new(Kind::Provision, planned(&[Step::Customer, Step::Welcome, Step::Publish]));
    answer(&mut saga, Answer::Missing, NOW);
    answer(&mut saga, Answer::Done(Some("cus_1".to_owned())), NOW);
    answer(&mut saga, Answer::Skipped("nobody is told".to_owned()), NOW);
    assert_eq!((saga.steps()[1].mark, saga.steps()[1].why.as_deref()), (Mark::Skipped, Some("nobody is told")));
    assert_eq!(saga.skip(Step::Customer, "by ann".to_owned()), Err(CannotSkip::Needed));
    answer(&mut saga, Answer::Refused("no".to_owned()), NOW);
    answer(&mut saga, Answer::Done(None), NOW);
    assert_eq!(call(&saga, NOW).step, Step::Customer, "what was skipped is not taken back");
    assert_eq!(saga.skip(Step::Customer, "by ann".to_owned()), Err(CannotSkip::NotFailing));
    answer(&mut saga, Answer::Unconfigured("no Stripe".to_owned()), NOW);
    assert_eq!(saga.skip(Step::Customer, "by ann".to_owned()), Ok(()));
    assert!(matches!(saga.phase(), Phase::Undone { step: Step::Publish, .. }), "{saga:?}");
    assert_eq!(saga.skip(Step::Customer, "by ann".to_owned()), Err(CannotSkip::Ended));
}

#[test]
fn a_tenant_that_goes_leaves_behind_what_an_operator_lets_go_of() {
    let steps = [Step::Suspend, Step::DropCollection, Step::Archive];
    let mut saga = Saga::new(Kind::Deprovision, planned(&steps));
    assert_eq!(saga.skip(Step::Suspend, "by ann".to_owned()), Err(CannotSkip::Needed));
    answer(&mut saga, Answer::Done(None), NOW);
    assert_eq!(saga.skip(Step::DropCollection, "by ann".to_owned()), Err(CannotSkip::NotFailing));
    let now = answer(&mut saga, Answer::Unconfigured("no store".to_owned()), NOW);
    assert_eq!(saga.skip(Step::DropCollection, "by ann: the store is gone".to_owned()), Ok(()));
    answer(&mut saga, Answer::Done(None), now);
    assert_eq!(*saga.phase(), Phase::Done);
    assert_eq!(saga.steps()[1].why.as_deref(), Some("by ann: the store is gone"));
}

#[test]
fn an_outside_system_that_comes_forward_ends_a_pause() {
    let mut saga = Saga::new(Kind::Provision, planned(&[Step::Environment]));
    let now = answer(&mut saga, Answer::Unsure("time-out".to_owned()), NOW);
    assert!(matches!(saga.next(now), Next::Wait(_)));
    saga.wake(Step::Environment);
    assert_eq!(call(&saga, now).step, Step::Environment);
}

#[test]
fn what_cannot_be_taken_back_holds_up_only_what_it_rests_on() {
    let steps = [Step::Customer, Step::Subscription, Step::Collection, Step::Environment, Step::Welcome, Step::Publish];
    let mut saga = Saga::new(Kind::Provision, planned(&steps));
    for name in ["cus_1", "sub_1", "acme"] {
        answer(&mut saga, Answer::Missing, NOW);
        answer(&mut saga, Answer::Done(Some(name.to_owned())), NOW);
    }
    answer(&mut saga, Answer::Done(None), NOW);
    answer(&mut saga, Answer::Done(None), NOW);
    answer(&mut saga, Answer::Refused("no".to_owned()), NOW);
    let mut undone = Vec::new();
    let mut now = NOW;
    while !saga.has_ended() {
        if let Next::Wait(until) = saga.next(now) {
            now = until;
        }
        let next = call(&saga, now);
        let fails = matches!(next.step, Step::Welcome | Step::Environment) && !undone.contains(&Step::Customer);
        saga.begin(&next, now);
        saga.settle(&next, if fails { Answer::Unsure("away".to_owned()) } else { Answer::Done(None) }, now);
        if !fails {
            undone.push(next.step);
        }
    }
    let order = [Step::Publish, Step::Subscription, Step::Customer];
    assert_eq!(undone[..3], order, "Stripe's part does not wait for a receiver that is away");
    let place = |step| undone.iter().position(|known| *known == step);
    assert!(place(Step::Environment) < place(Step::Collection), "{undone:?}");
    assert!(matches!(saga.phase(), Phase::Undone { step: Step::Publish, .. }), "{saga:?}");
}

#[test]
fn what_does_not_fail_is_taken_back_from_the_last_step_to_the_first() {
    let mut saga = Saga::new(Kind::Provision, planned(&[Step::Keys, Step::Environment, Step::Budgets, Step::Publish]));
    for _ in 0..3 {
        answer(&mut saga, Answer::Done(None), NOW);
    }
    answer(&mut saga, Answer::Refused("no".to_owned()), NOW);
    let mut undone = Vec::new();
    while !saga.has_ended() {
        undone.push(call(&saga, NOW).step);
        answer(&mut saga, Answer::Done(None), NOW);
    }
    assert_eq!(undone, [Step::Publish, Step::Budgets, Step::Environment, Step::Keys]);
}

#[test]
fn an_outside_system_has_its_time_and_no_more() {
    let environment = Planned { step: Step::Environment, patience_ms: Some(300_000) };
    let mut saga = Saga::new(Kind::Provision, [environment]);
    let mut now = NOW;
    while *saga.phase() == Phase::Forward {
        let next = Answer::Later(now.plus_millis(5_000));
        now = answer(&mut saga, next, now);
    }
    assert!((300_000..310_000).contains(&now.millis_since(NOW)), "{now}");
    assert_eq!(call(&saga, now).act, Act::Undo);
}

#[test]
fn a_deprovisioning_waits_goes_on_after_failures_and_stops_if_the_tenant_stays() {
    let steps = [Step::Suspend, Step::Report, Step::EndSubscription, Step::Retain, Step::Archive];
    let mut saga = Saga::new(Kind::Deprovision, planned(&steps));
    let mut now = answer(&mut saga, Answer::Done(None), NOW);
    for _ in 0..50 {
        now = answer(&mut saga, Answer::Unsure("the ledger is busy".to_owned()), now);
    }
    now = answer(&mut saga, Answer::Done(None), now);
    now = answer(&mut saga, Answer::Refused("401".to_owned()), now);
    now = answer(&mut saga, Answer::Done(None), now);
    let end = now.plus_millis(24 * HOUR_MS);
    answer(&mut saga, Answer::Later(end), now);
    assert_eq!(saga.next(now), Next::Wait(end));
    let mut other = saga.clone();
    for saga in [&mut saga, &mut other] {
        answer(saga, Answer::Done(None), end);
    }
    answer(&mut saga, Answer::Done(None), end);
    assert_eq!(*saga.phase(), Phase::Done);
    answer(&mut other, Answer::Refused("it was let in again".to_owned()), end);
    assert!(matches!(other.phase(), Phase::Stopped { step: Step::Archive, .. }));
}

#[test]
fn a_saga_on_disk_is_the_saga() {
    let mut saga = Saga::new(Kind::Provision, planned(&[Step::Customer, Step::Welcome, Step::Publish]));
    answer(&mut saga, Answer::Missing, NOW);
    answer(&mut saga, Answer::Broken("500".to_owned()), NOW);
    assert_eq!(saga.steps()[0].mark, Mark::Doubtful);
    let text = serde_json::to_string(&saga).expect("JSON");
    assert_eq!(serde_json::from_str::<Saga>(&text).expect("a saga"), saga);
}

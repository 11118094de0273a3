//! States of alerts: pending, firing, over; across restarts, with silences; each change noted once.
use std::path::Path;

use weir_contract::Timestamp;
use weir_database::testing::place;
use weir_ledger::amount::Pico;
use weir_ledger::meters::{self, Meters};
use weir_ledger::{LedgerError, SqliteLedger};
use weir_steer::alert::deploy::{self, DeployError, Marks, NewDeploy};
use weir_steer::alert::evaluate::{Finding, Findings};
use weir_steer::alert::rule::{self, Rule};
use weir_steer::alert::silence::{self, NewSilence, SilenceError};
use weir_steer::alert::state::{self, Alert, AlertChange};
use weir_steer::message::Context;
use weir_steer::notice;
use weir_steer::receiver;

const RULE: &str = "{name: dear, by: tenant, for: 10m, when: [{measure: cost, above: 1}]}";

struct World {
    _dir: tempfile::TempDir,
    ledger: SqliteLedger,
    rule: Rule,
}

fn open(path: &Path) -> SqliteLedger {
    let meters = Meters::new(meters::defaults(), Vec::new()).expect("good meters");
    SqliteLedger::open(place(path), "a log", meters).expect("a ledger")
}

fn at(minute: u64) -> Timestamp {
    Timestamp::from_secs(1_794_830_400 + minute * 60)
}

fn found(subject: &str) -> Finding {
    Finding {
        subject: subject.to_owned(),
        tenant: Some(subject.to_owned()),
        currency: None,
        value: Pico::ZERO,
        summary: format!("{subject} is dear"),
    }
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let ledger = open(&dir.path().join("ledger.sqlite"));
        let file = serde_saphyr::from_str(RULE).expect("the shape");
        let rule = rule::compile(&[file], &[]).expect("valid").remove(0);
        World { _dir: dir, ledger, rule }
    }

    fn restart(&mut self) {
        self.ledger = open(&self._dir.path().join("ledger.sqlite"));
    }

    fn apply(&mut self, subjects: &[&str], minute: u64) -> bool {
        let found = subjects.iter().map(|subject| found(subject)).collect();
        let findings = Findings { found, ..Findings::default() };
        let rule = self.rule.clone();
        self.ledger.durably(|db| state::apply(db, &rule, &findings, at(minute))).expect("applied")
    }

    fn alerts(&mut self) -> Vec<Alert> {
        state::list(self.ledger.db()).expect("read")
    }

    fn history(&mut self) -> Vec<AlertChange> {
        state::history(self.ledger.db(), None, None, 100).expect("read")
    }

    /// The messages that a receiver of everything gets.
    fn messages(&mut self, minute: u64) -> Vec<String> {
        let receivers = "receivers: [{name: all, slack: {env: S}}]";
        let receivers = receiver::compile(&serde_saphyr::from_str(receivers).expect("the shape")).expect("valid");
        let take = |db: &mut weir_database::Connection| {
            notice::take(db, "ledger", &receivers, &Context::default(), at(minute))
        };
        assert!(!self.ledger.durably(take).expect("taken"));
        // A receiver that takes nothing: what has been made for it.
        let all = notice::history(self.ledger.db(), 100).expect("read");
        all.into_iter().map(|notice| notice.body).collect()
    }

    fn silence(&mut self, until: u64, now: u64) -> Result<i64, SilenceError> {
        let new = NewSilence {
            rule: Some("d*".to_owned()),
            subject: Some("acme".to_owned()),
            until: at(until),
            who: "ann".to_owned(),
            why: "known".to_owned(),
            ..NewSilence::default()
        };
        self.ledger.durably(|db| silence::add(db, &new, at(now))).expect("added").map(|silence| silence.id)
    }
}

#[test]
fn an_alert_fires_once_its_conditions_have_held_for_long_enough_also_over_a_restart() {
    let mut world = World::new();
    assert!(!world.apply(&["acme"], 0));
    assert_eq!((world.alerts()[0].state.as_str(), world.history().len()), ("pending", 0));
    world.restart();
    assert!(!world.apply(&["acme"], 9));
    assert!(world.apply(&["acme"], 10));
    assert!(!world.apply(&["acme"], 11), "it fires already");
    assert_eq!(world.history().len(), 1);
    assert_eq!(world.messages(12).len(), 1);
    assert_eq!(world.messages(13).len(), 1, "the same message still waits, and no other is made");
}

#[test]
fn conditions_that_hold_anew_begin_from_nothing() {
    let mut world = World::new();
    world.apply(&["acme"], 0);
    world.apply(&[], 9);
    assert!(world.alerts().is_empty());
    assert!(!world.apply(&["acme"], 10), "nobody was told, so nobody is told now");
    assert_eq!(world.alerts()[0].since, at(10));
}

#[test]
fn the_end_of_what_was_told_is_told() {
    let mut world = World::new();
    world.apply(&["acme", "globex"], 0);
    world.apply(&["acme", "globex"], 10);
    assert!(world.apply(&["globex"], 11));
    let states: Vec<_> = world.history().into_iter().map(|change| (change.subject, change.state)).collect();
    assert_eq!(states[0], ("acme".to_owned(), "resolved".to_owned()));
    assert_eq!(world.alerts().len(), 1);
    assert_eq!(world.messages(12).len(), 3);
}

#[test]
fn a_rule_that_is_gone_ends_its_alerts() {
    let mut world = World::new();
    world.apply(&["acme"], 0);
    world.apply(&["acme"], 10);
    assert!(world.ledger.durably(|db| state::tidy(db, &[], at(11))).expect("tidied"));
    assert!(world.alerts().is_empty());
    assert!(world.history()[0].summary.contains("no longer configured"));
}

#[test]
fn a_silence_holds_the_beginning_back_and_not_the_end_of_what_was_told() {
    let mut world = World::new();
    world.silence(30, 0).expect("silenced");
    world.apply(&["acme"], 0);
    assert!(!world.apply(&["acme"], 10));
    assert_eq!(world.messages(11), [""; 0]);
    assert!(world.history()[0].silenced);
    // The silence is over, and it still fires.
    assert!(world.apply(&["acme"], 31));
    assert_eq!(world.messages(32).len(), 1);
    world.silence(90, 33).expect("silenced");
    assert!(world.apply(&[], 34));
    assert_eq!(world.messages(35).len(), 2, "who was told of the beginning is told of the end");
}

#[test]
fn what_begins_and_ends_in_silence_is_told_to_nobody() {
    let mut world = World::new();
    world.silence(90, 0).expect("silenced");
    world.apply(&["acme"], 0);
    world.apply(&["acme"], 10);
    assert!(!world.apply(&[], 20));
    assert_eq!(world.messages(21), [""; 0]);
    assert_eq!(world.history().len(), 2, "the history has both");
}

#[test]
fn a_silence_needs_an_end_and_a_reason() {
    let mut world = World::new();
    assert_eq!(world.silence(0, 0), Err(SilenceError::Over(at(0))));
    let good = NewSilence {
        rule: Some("*".to_owned()),
        until: at(1),
        who: "ann".to_owned(),
        why: "known".to_owned(),
        ..NewSilence::default()
    };
    let of = |text: &str| Some(text.to_owned());
    let far = at(367 * 24 * 60);
    for (new, error) in [
        (NewSilence { why: " ".to_owned(), ..good.clone() }, SilenceError::Why),
        (NewSilence { why: "a\nb".to_owned(), ..good.clone() }, SilenceError::Why),
        (NewSilence { rule: of(""), ..good.clone() }, SilenceError::Pattern),
        (NewSilence { subject: of("a\nb"), ..good.clone() }, SilenceError::Pattern),
        (NewSilence { rule: None, ..good.clone() }, SilenceError::Nothing),
        (NewSilence { until: far, ..good.clone() }, SilenceError::Far(far)),
    ] {
        let added = world.ledger.durably(|db| silence::add(db, &new, at(0))).expect("asked");
        assert_eq!(added, Err(error));
    }
    let id = world.silence(5, 0).expect("silenced");
    let ended = world.ledger.durably(|db| silence::end(db, id, "bob", at(1))).expect("asked");
    assert!(ended.is_some_and(|silence| silence.ended_at == Some(at(1))));
    assert_eq!(world.ledger.durably(|db| silence::end(db, id, "bob", at(2))).expect("asked"), None);
}

#[test]
fn who_looks_after_an_alert_stands_beside_it_as_long_as_it_fires() {
    let mut world = World::new();
    world.apply(&["acme"], 0);
    let ack = |world: &mut World, minute| {
        world
            .ledger
            .durably(|db| state::acknowledge(db, ("dear", "acme"), ("ann", "I look"), at(minute)))
            .expect("asked")
    };
    assert_eq!(ack(&mut world, 1), 0, "it is pending");
    world.apply(&["acme"], 10);
    assert_eq!(ack(&mut world, 11), 1);
    world.apply(&["acme"], 12);
    assert_eq!(world.alerts()[0].acknowledged.as_ref().map(|by| by.who.as_str()), Some("ann"));
    world.apply(&[], 13);
    world.apply(&["acme"], 14);
    assert_eq!(world.alerts()[0].acknowledged, None, "another alert");
}

fn mark(
    world: &mut World,
    name: &str,
    feature: Option<&str>,
    at_minute: Option<u64>,
    minute: u64,
) -> Result<deploy::Deploy, DeployError> {
    let new = NewDeploy {
        name: name.to_owned(),
        feature: feature.map(str::to_owned),
        prompt_version: None,
        at: at_minute.map(at),
        who: "ci".to_owned(),
    };
    world.ledger.durably(|db| deploy::add(db, &new, at(minute))).expect("written")
}

fn kept(world: &mut World) -> u64 {
    world.ledger.durably(|db| deploy::kept(db)).expect("a number")
}

#[test]
fn a_mark_again_is_the_same_and_one_of_another_moment_corrects_it() {
    let mut world = World::new();
    let first = mark(&mut world, "v1", None, None, 0).expect("marked");
    assert_eq!(mark(&mut world, "v1", None, None, 10).expect("marked"), first, "the call was repeated");
    let moved = mark(&mut world, "v1", None, Some(2), 11).expect("marked");
    assert_eq!((moved.id, moved.at), (first.id, at(2)), "it is corrected, in words of the audit as well");
    assert!(mark(&mut world, "v1", None, None, 13).expect("marked").id > first.id);
    assert_eq!(kept(&mut world), 2);
}

#[test]
fn a_number_of_a_mark_is_never_used_again() {
    let mut world = World::new();
    let remove =
        |world: &mut World, id| world.ledger.durably(|db| deploy::remove(db, id, "ann", at(1))).expect("asked");
    let first = mark(&mut world, "v1", None, None, 0).expect("marked");
    assert!(remove(&mut world, first.id).is_some() && remove(&mut world, first.id).is_none());
    assert_eq!(kept(&mut world), 0);
    world.restart();
    let second = mark(&mut world, "v2", None, None, 1).expect("marked");
    assert!(second.id > first.id);
    assert_eq!(kept(&mut world), 1);
}

#[test]
fn marks_are_bounded_for_each_feature_and_those_of_others_stay() {
    let mut world = World::new();
    mark(&mut world, "quiet", Some("quiet"), None, 0).expect("marked");
    for hour in 0..5 {
        for number in 0..5 {
            mark(&mut world, &format!("busy {number}"), Some("busy"), None, hour * 60 + number).expect("marked");
        }
    }
    assert_eq!(kept(&mut world), 21, "the latest 20 of the busy one");
    let heeded = deploy::heeded(world.ledger.db(), at(6 * 60)).expect("read");
    let names: Vec<&str> = heeded.iter().map(|deploy| deploy.name.as_str()).collect();
    assert_eq!(names, ["busy 4", "quiet"], "the last one of each");
    mark(&mut world, "a year later", None, None, 401 * 24 * 60).expect("marked");
    assert_eq!(kept(&mut world), 1, "what is older than 400 days is gone");
}

#[test]
fn who_marks_without_end_is_refused_with_a_remedy() {
    let mut world = World::new();
    for number in 0..10 {
        mark(&mut world, &format!("v{number}"), Some("search"), None, number).expect("marked");
    }
    assert_eq!(mark(&mut world, "v10", Some("search"), None, 10), Err(DeployError::TooOften));
    assert!(mark(&mut world, "v1", Some("chat"), None, 10).is_ok(), "another feature is another matter");
    let many = "INSERT INTO deploy(at, name, feature, prompt_version, who, marked_at)
                WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 498)
                SELECT ?1, 'many', 'f' || i, '', 'ci', ?1 FROM n";
    world.ledger.durably(|db| db.execute(many, [at(20).as_millis()]).map_err(LedgerError::from)).expect("written");
    assert_eq!(mark(&mut world, "new", Some("new"), None, 30), Err(DeployError::TooMany));
    assert!(mark(&mut world, "v2", Some("chat"), None, 30).is_ok());
}

#[test]
fn an_alert_that_ends_for_a_marked_deploy_does_not_say_that_all_is_well() {
    let mut world = World::new();
    let file = "{name: dear, by: feature, when: [{measure: cost_per_request, rises_by: 50, against: 7d}]}";
    world.rule = rule::compile(&[serde_saphyr::from_str(file).expect("the shape")], &[]).expect("valid").remove(0);
    world.apply(&["search"], 0);
    let deploy = mark(&mut world, "search v2", Some("search"), Some(1), 2).expect("marked");
    let marks = Marks { deploys: vec![deploy.clone()], now: at(120) };
    let nothing = |marks: Marks| Findings { marks, ..Findings::default() };
    let end = |world: &mut World, findings: Findings, minute| {
        let rule = world.rule.clone();
        world.ledger.durably(|db| state::apply(db, &rule, &findings, at(minute))).expect("applied");
        world.history()[0].summary.clone()
    };
    let summary = end(&mut world, nothing(marks.clone()), 120);
    let said = format!(
        "the deploy search v2 at {} was marked by ci, and the comparison starts anew there; before, this held: search is dear",
        at(1)
    );
    assert_eq!(summary, said);
    let firing = Findings { found: vec![found("search")], ..nothing(marks.clone()) };
    end(&mut world, firing.clone(), 130);
    assert_eq!(end(&mut world, nothing(marks), 131), "it no longer holds: search is dear");
    end(&mut world, firing, 140);
    let unmarked = end(&mut world, Findings::default(), 141);
    assert_eq!(
        unmarked,
        "the mark of the deploy counts no longer, and the comparison is another; before, this held: search is dear"
    );
}

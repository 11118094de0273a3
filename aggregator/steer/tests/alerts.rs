//! States of alerts: pending, firing, over; across restarts, with silences; each change noted once.
use std::path::Path;

use weir_contract::Timestamp;
use weir_database::testing::place;
use weir_ledger::amount::Pico;
use weir_ledger::meters::{self, Meters};
use weir_ledger::{LedgerError, SqliteLedger};
use weir_steer::alert::deploy::{self, NewDeploy};
use weir_steer::alert::evaluate::Finding;
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
        let findings: Vec<Finding> = subjects.iter().map(|subject| found(subject)).collect();
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
        let due = notice::due(self.ledger.db(), at(minute + 1), 100).expect("read");
        due.into_iter().map(|notice| notice.body).collect()
    }

    fn silence(&mut self, until: u64, now: u64) -> Result<i64, SilenceError> {
        let new = NewSilence {
            rule: "d*".to_owned(),
            subject: "acme".to_owned(),
            until: at(until),
            who: "ann".to_owned(),
            why: "known".to_owned(),
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
    let mut new = NewSilence {
        rule: "*".to_owned(),
        subject: "*".to_owned(),
        until: at(1),
        who: "ann".to_owned(),
        why: " ".to_owned(),
    };
    let added = world.ledger.durably(|db| silence::add(db, &new, at(0))).expect("asked");
    assert_eq!(added, Err(SilenceError::Why));
    (new.why, new.rule) = ("known".to_owned(), String::new());
    let added = world.ledger.durably(|db| silence::add(db, &new, at(0))).expect("asked");
    assert_eq!(added, Err(SilenceError::Pattern));
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

#[test]
fn marks_of_deploys_are_kept_up_to_a_number_and_an_age_and_a_repeat_is_no_second_one() {
    let mut world = World::new();
    let mark = |world: &mut World, name: &str, minute: u64| {
        let new =
            NewDeploy { name: name.to_owned(), feature: None, prompt_version: None, at: None, who: "ci".to_owned() };
        world.ledger.durably(|db| deploy::add(db, &new, at(minute))).expect("written").expect("marked")
    };
    let first = mark(&mut world, "v1", 0);
    assert_eq!(mark(&mut world, "v1", 10), first, "the call was repeated");
    assert!(mark(&mut world, "v1", 11).id > first.id && mark(&mut world, "v2", 11).id > first.id);
    let many = "INSERT INTO deploy(at, name, feature, prompt_version, who, marked_at)
                WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)
                SELECT ?1 + i, 'many', '', '', 'ci', ?1 FROM n";
    world.ledger.durably(|db| db.execute(many, [at(20).as_millis()]).map_err(LedgerError::from)).expect("written");
    mark(&mut world, "last", 30);
    let kept = |world: &mut World| world.ledger.durably(|db| deploy::kept(db)).expect("a number");
    assert_eq!(kept(&mut world), 10_000);
    let latest = world.ledger.durably(|db| deploy::list(db, 2)).expect("marks");
    assert_eq!(latest.iter().map(|deploy| deploy.name.as_str()).collect::<Vec<_>>(), ["last", "many"]);
    mark(&mut world, "a year later", 401 * 24 * 60);
    assert_eq!(kept(&mut world), 1, "what is older than 400 days is gone");
}

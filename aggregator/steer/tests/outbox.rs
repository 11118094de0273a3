//! Messages of one topic reach a receiver in the order of what happened; silences hold stages of budgets back.
use weir_contract::Timestamp;
use weir_database::testing::place;
use weir_database::{Connection, params};
use weir_ledger::meters::{self, Meters};
use weir_ledger::{LedgerError, SqliteLedger};
use weir_steer::alert::silence::{self, NewSilence};
use weir_steer::message::Context;
use weir_steer::notice::held;
use weir_steer::notice::outbox::{self, Attempt};
use weir_steer::notice::{self, Notice};
use weir_steer::receiver;

const HOUR: u64 = 3_600;
const RECEIVERS: &str = "receivers: [{name: one, slack: {env: S}}, {name: two, slack: {env: S}}]";

struct World {
    _dir: tempfile::TempDir,
    ledger: SqliteLedger,
    receivers: String,
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_secs(1_794_830_400 + seconds)
}

impl World {
    fn new(receivers: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let meters = Meters::new(meters::defaults(), Vec::new()).expect("good meters");
        let ledger = SqliteLedger::open(place(&dir.path().join("ledger.sqlite")), "a log", meters).expect("a ledger");
        World { _dir: dir, ledger, receivers: receivers.to_owned() }
    }

    /// A budget of a subject goes from one stage to another.
    fn change(&mut self, budget: &str, subject: &str, [was, stage]: [&str; 2], seconds: u64) {
        let sql = "INSERT INTO budget_transition(at, position, subject, budget, period_start, period_end, was, stage, used,
                     amount, unit, mode, told, cause, why) VALUES (?1, 1, ?2, ?3, ?4, ?5, ?6, ?7, '9', '10', 'requests', 'enforce', 0, 'usage', '')";
        let (start, end) = (at(0).as_millis(), at(24 * HOUR).as_millis());
        let row = params![at(seconds).as_millis(), subject, budget, start, end, was, stage];
        self.ledger.durably(|db| db.execute(sql, row).map_err(LedgerError::from)).expect("written");
        let sql = "INSERT INTO budget_stage(subject, budget, period_start, period_end, scope, stage, used_permille, since, position)
                   VALUES (?1, ?2, ?3, ?4, '{}', ?5, 900, ?6, 1)
                   ON CONFLICT (subject, budget) DO UPDATE SET stage = excluded.stage";
        let row = params![subject, budget, start, end, stage, at(seconds).as_millis()];
        self.ledger.durably(|db| db.execute(sql, row).map_err(LedgerError::from)).expect("written");
    }

    fn take(&mut self, seconds: u64) {
        let file = serde_saphyr::from_str(&self.receivers).expect("the shape");
        let receivers = receiver::compile(&file).expect("valid");
        let take = |db: &mut Connection| notice::take(db, "ledger", &receivers, &Context::default(), at(seconds));
        assert!(!self.ledger.durably(take).expect("taken"));
    }

    fn due(&mut self, seconds: u64) -> Vec<Notice> {
        outbox::due(self.ledger.db(), at(seconds), 100).expect("read")
    }

    fn note(&mut self, notice: &Notice, attempt: &Attempt, seconds: u64) {
        self.ledger.durably(|db| outbox::note(db, &notice.id, attempt, at(seconds))).expect("noted");
    }

    /// Delivers all that is due, and what becomes due with that: who was told, and which change.
    fn deliver(&mut self, seconds: u64) -> Vec<(String, String)> {
        let mut told = Vec::new();
        loop {
            let due = self.due(seconds);
            if due.is_empty() {
                return told;
            }
            for notice in due {
                self.note(&notice, &Attempt::Delivered, seconds);
                let from = notice.body.find("went from").expect("a change");
                let words: Vec<&str> = notice.body[from..].split([' ', ':']).collect();
                told.push((notice.receiver.clone(), format!("{} to {}", words[2], words[4])));
            }
        }
    }

    fn told_to_one(&mut self, seconds: u64) -> Vec<String> {
        self.take(seconds);
        self.deliver(seconds).into_iter().filter(|(receiver, _)| receiver == "one").map(|(_, change)| change).collect()
    }

    fn silence(&mut self, budget: Option<&str>, tenant: Option<&str>, until: u64) -> i64 {
        let new = NewSilence {
            budget: budget.map(str::to_owned),
            tenant: tenant.map(str::to_owned),
            until: at(until),
            who: "ann".to_owned(),
            why: "known".to_owned(),
            ..NewSilence::default()
        };
        self.ledger.durably(|db| silence::add(db, &new, at(0))).expect("asked").expect("silenced").id
    }
}

fn failed() -> Attempt {
    Attempt::Failed("the receiver answered 503".to_owned())
}

#[test]
fn after_an_outage_the_messages_of_a_budget_come_in_their_order_and_wait_for_nobody_else() {
    let mut world = World::new(RECEIVERS);
    world.change("monthly", "acme", ["ok", "warn"], 0);
    world.take(0);
    for (notice, attempt) in world.due(0).into_iter().zip([failed(), Attempt::Delivered]) {
        world.note(&notice, &attempt, 0);
    }
    let down = world.due(5).remove(0);
    world.note(&down, &failed(), 5);
    // While the first message pauses for half a minute, the stage goes on, and another budget changes.
    world.change("monthly", "acme", ["warn", "degrade"], 6);
    world.change("monthly", "acme", ["degrade", "ok"], 7);
    world.change("monthly", "globex", ["ok", "exceeded"], 8);
    world.take(8);
    let late = down.receiver.clone();
    let of = |told: &[(String, String)], whom: &str| -> Vec<String> {
        told.iter()
            .filter(|(receiver, _)| (receiver == &late) == (whom == "late"))
            .map(|(_, change)| change.clone())
            .collect()
    };
    let told = world.deliver(9);
    assert_eq!(of(&told, "late"), ["ok to exceeded"], "only that of another budget");
    assert_eq!(of(&told, "well"), ["warn to degrade", "ok to exceeded", "degrade to ok"]);
    assert!(world.due(34).is_empty());
    assert_eq!(of(&world.deliver(35), "late"), ["ok to warn", "warn to degrade", "degrade to ok"]);
}

#[test]
fn a_message_that_is_given_up_holds_nothing_back() {
    let mut world = World::new(RECEIVERS);
    world.change("monthly", "acme", ["ok", "warn"], 0);
    world.change("monthly", "acme", ["warn", "ok"], 1);
    world.take(1);
    for notice in world.due(1) {
        world.note(&notice, &Attempt::Gone("410".to_owned()), 1);
    }
    let told = world.deliver(1);
    assert_eq!(told.iter().filter(|(_, change)| change == "warn to ok").count(), 2, "{told:?}");
}

#[test]
fn a_clock_that_was_ahead_puts_no_message_off() {
    let mut world = World::new("receivers: [{name: one, slack: {env: S}}]");
    world.change("monthly", "acme", ["ok", "warn"], 0);
    world.take(3 * 24 * HOUR);
    assert_eq!(world.due(10).len(), 1, "it is due in three days, longer than any pause");
}

#[test]
fn a_receiver_that_fails_is_known_with_its_error_until_it_takes_a_message() {
    let mut world = World::new("receivers: [{name: one, slack: {env: S}}]");
    world.change("monthly", "acme", ["ok", "warn"], 0);
    world.take(0);
    let notice = world.due(0).remove(0);
    world.note(&notice, &failed(), 1);
    world.note(&notice, &Attempt::Failed("the receiver answered 500".to_owned()), 9);
    let failing = outbox::failing(world.ledger.db()).expect("read");
    let one = &failing["one"];
    assert_eq!((one.since, one.at, one.error.as_str()), (at(1), at(9), "the receiver answered 500"));
    assert_eq!(outbox::waiting(world.ledger.db()).expect("read")["one"], 1);
    world.note(&notice, &Attempt::Delivered, 40);
    assert!(outbox::failing(world.ledger.db()).expect("read").is_empty());
    assert!(outbox::waiting(world.ledger.db()).expect("read").is_empty());
}

#[test]
fn a_silence_holds_stages_of_its_budgets_and_tenants_back_and_the_difference_is_told_once_it_ends() {
    let mut world = World::new(RECEIVERS);
    world.silence(Some("month*"), Some("acme"), 100);
    world.change("monthly", "acme", ["ok", "warn"], 1);
    world.change("monthly", "acme", ["warn", "degrade"], 2);
    world.change("monthly", "globex", ["ok", "contain"], 3);
    world.change("daily", "acme", ["ok", "exceeded"], 4);
    assert_eq!(world.told_to_one(5), ["ok to contain", "ok to exceeded"]);
    assert!(!notice::has_untold(world.ledger.db(), at(99)).expect("read"));
    assert!(notice::has_untold(world.ledger.db(), at(100)).expect("read"));
    assert_eq!(world.told_to_one(100), ["ok to degrade"]);
    assert!(!notice::has_untold(world.ledger.db(), at(101)).expect("read"));
    assert_eq!(world.told_to_one(101), [""; 0], "once");
}

#[test]
fn what_comes_and_goes_in_a_silence_is_told_to_nobody_and_the_end_of_what_was_told_is() {
    let mut world = World::new(RECEIVERS);
    world.change("monthly", "acme", ["ok", "warn"], 0);
    assert_eq!(world.told_to_one(0), ["ok to warn"]);
    world.silence(None, Some("acme"), 100);
    world.change("monthly", "acme", ["warn", "exceeded"], 1);
    world.change("daily", "acme", ["ok", "warn"], 1);
    assert_eq!(world.told_to_one(2), [""; 0]);
    world.change("daily", "acme", ["warn", "ok"], 3);
    world.change("monthly", "acme", ["exceeded", "ok"], 4);
    assert_eq!(world.told_to_one(5), ["warn to ok"]);
    assert_eq!(world.told_to_one(100), [""; 0]);
}

#[test]
fn a_silence_that_is_taken_back_or_outlives_the_period_is_followed_by_what_still_counts() {
    let mut world = World::new(RECEIVERS);
    let id = world.silence(Some("*"), None, 48 * HOUR);
    world.change("monthly", "acme", ["ok", "warn"], 1);
    assert_eq!(world.told_to_one(2), [""; 0]);
    world.ledger.durably(|db| silence::end(db, id, "ann", at(3))).expect("asked").expect("ended");
    assert_eq!(world.told_to_one(4), ["ok to warn"]);
    world.silence(Some("*"), None, 48 * HOUR);
    world.change("monthly", "acme", ["warn", "contain"], 5);
    assert_eq!(world.told_to_one(6), [""; 0]);
    assert_eq!(world.told_to_one(48 * HOUR), [""; 0], "its period is over");
}

#[test]
fn what_stands_is_what_people_were_told_last() {
    let mut world = World::new(RECEIVERS);
    let standing = |world: &mut World, seconds| -> Vec<String> {
        let stages = held::standing(world.ledger.db(), at(seconds)).expect("read");
        stages.into_iter().map(|change| format!("{} {}", change.subject, change.stage)).collect()
    };
    world.change("monthly", "acme", ["ok", "warn"], 0);
    assert!(standing(&mut world, 0).is_empty(), "nobody is told yet");
    world.take(0);
    assert_eq!(standing(&mut world, 0), ["acme warn"]);
    world.silence(None, Some("acme"), 100);
    world.change("monthly", "acme", ["warn", "exceeded"], 1);
    world.take(1);
    assert_eq!(standing(&mut world, 1), ["acme warn"]);
    world.take(100);
    assert_eq!(standing(&mut world, 100), ["acme exceeded"]);
    assert!(standing(&mut world, 24 * HOUR).is_empty(), "its period is over");
}

//! One seed of the simulator of steering.
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use fastrand::Rng;
use weir_contract::Timestamp;
use weir_disk::{Crash, Disk};
use weir_event_log::Record;
use weir_ledger::meters::{self, Meters};
use weir_ledger::{LedgerError, SqliteLedger};
use weir_steer::budget::{self, Budget};
use weir_steer::engine::{Engine, Rules, Signal};
use weir_steer::message::Context;
use weir_steer::notice::outbox::{self, Attempt};
use weir_steer::notice::{self, Notice};
use weir_steer::raise::{self, NewRaise};
use weir_steer::receiver::{self, Receiver};
use weir_steer::view;

use super::event::{self, Request, prices};
use crate::machine::LEDGER;
use crate::seeds::Outcome;

/// 2026-11-16T12:00:00Z, a Monday.
const START_MS: u64 = 1_794_830_400_000;
pub(super) const HOUR_MS: u64 = 3_600_000;
const STEPS: u64 = 220;
/// How late an event may come, in hours.
const LATE_MAX_HOURS: u64 = 40;
/// The most failed starts in a row: each is a planned fault.
const STARTS_MAX: u32 = 40;
/// The price of an input token, in millionths.
pub(super) const PRICE: u64 = 2;
pub(super) const TENANTS: [&str; 3] = ["acme", "globex", "initech"];
pub(super) const USERS: [&str; 2] = ["hmac:00000000000000000000000000000001", "hmac:00000000000000000000000000000002"];

const BUDGETS: &str = "
- {name: daily, of: requests, amount: 6, period: day, timezone: Asia/Kolkata}
- {name: weekly, of: tokens, amount: 12000, period: week, tenants: [acme, globex]}
- {name: money, of: cost, amount: 0.03, period: month}
- {name: family, of: input_tokens, amount: 15000, period: day, tenants: [acme, globex], shared: true}
- {name: team, of: requests, amount: 3, period: day, only: {keys: [k1, k2]}}
- {name: person, of: requests, amount: 3, period: day, per: user}
";

const RECEIVERS: &str = "receivers: [{name: hook, webhook: {url: 'https://example.com', secret: {env: S}}}]";

/// One request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Used {
    pub(super) tenant: &'static str,
    pub(super) user: &'static str,
    pub(super) key: &'static str,
    pub(super) at: Timestamp,
    pub(super) input: u64,
}

/// What came up in a seed or in many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) events: u64,
    pub(super) changes: u64,
    pub(super) messages: u64,
    pub(super) repeats: u64,
    crashes: u64,
    jumps: u64,
    raises: u64,
    pub(super) checks: u64,
}

impl Summary {
    pub(super) fn reached_everything(&self) -> bool {
        let Summary { events, changes, messages, repeats, crashes, jumps, raises, checks } = *self;
        [events, changes, messages, repeats, crashes, jumps, raises, checks].iter().all(|count| *count > 0)
    }
}

impl Outcome for Summary {
    fn add(&mut self, other: &Self) {
        self.events += other.events;
        self.changes += other.changes;
        self.messages += other.messages;
        self.repeats += other.repeats;
        self.crashes += other.crashes;
        self.jumps += other.jumps;
        self.raises += other.raises;
        self.checks += other.checks;
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary { events, changes, messages, repeats, crashes, jumps, raises, checks } = self;
        write!(f, "{events} events, {changes} changes, {messages} messages and {repeats} repeats, ")?;
        write!(f, "{crashes} crashes, {jumps} jumps of the clock, {raises} raises, {checks} checks")
    }
}

/// Judges a world: the stages that gateways are told, and the messages that people got.
#[derive(Clone, Copy)]
pub(super) struct Judge {
    pub(super) stages: fn(&mut World) -> Result<(), String>,
    pub(super) messages: fn(&mut World) -> Result<(), String>,
}

pub(super) struct World {
    judge: Judge,
    pub(super) rng: Rng,
    /// The true time.
    pub(super) now_ms: u64,
    /// The error of the machine's clock.
    off_ms: i64,
    pub(super) ledger: Option<SqliteLedger>,
    pub(super) budgets: Vec<Budget>,
    receivers: Vec<Receiver>,
    /// The log: it is durable, and the ledger follows it.
    log: Vec<Record>,
    pub(super) used: Vec<Used>,
    /// The raises that the last look of the server saw.
    raises_seen: Option<Vec<i64>>,
    /// What the receiver has taken: bodies by id.
    pub(super) inbox: BTreeMap<String, String>,
    /// The ids in the order in which they came, repeats among them.
    pub(super) arrivals: Vec<String>,
    pub(super) summary: Summary,
    trace: bool,
}

impl World {
    pub(super) fn new(seed: u64, judge: Judge, trace: bool) -> Self {
        weir_disk::seed_sqlite(seed);
        weir_disk::install(Disk::new(seed ^ 0x57ee));
        let compiled = serde_saphyr::from_str::<Vec<_>>(BUDGETS).expect("the shape");
        let receivers = receiver::compile(&serde_saphyr::from_str(RECEIVERS).expect("the shape"));
        World {
            rng: Rng::with_seed(seed ^ 0x5eed_0000),
            now_ms: START_MS,
            off_ms: 0,
            judge,
            ledger: None,
            budgets: budget::compile(&compiled).expect("good budgets"),
            receivers: receivers.expect("good receivers"),
            log: Vec::new(),
            used: Vec::new(),
            raises_seen: None,
            inbox: BTreeMap::new(),
            arrivals: Vec::new(),
            summary: Summary::default(),
            trace,
        }
    }

    fn say(&self, line: impl FnOnce() -> String) {
        if self.trace {
            println!("{} {}", Timestamp::from_millis(self.now_ms), line());
        }
    }

    pub(super) fn live(&mut self) -> Result<Summary, String> {
        for _ in 0..STEPS {
            self.pass_time();
            if self.ledger.is_none() {
                self.start()?;
            }
            self.step()?;
        }
        self.check()?;
        self.deliver_everything()?;
        (self.judge.messages)(self)?;
        Ok(self.summary)
    }

    /// The machine's clock.
    pub(super) fn clock(&self) -> Timestamp {
        Timestamp::from_millis(self.now_ms.saturating_add_signed(self.off_ms))
    }

    fn pass_time(&mut self) {
        let long = self.rng.u8(..5) == 0;
        self.now_ms += if long { self.rng.u64(..8 * HOUR_MS) } else { self.rng.u64(..10 * 60_000) };
        let off = match self.rng.u8(..30) {
            0 => self.rng.i64(-3 * 24..3 * 24) * HOUR_MS.cast_signed(),
            1..8 => 0,
            _ => return,
        };
        if off != self.off_ms {
            self.say(|| format!("the clock is off by {} hours", off / HOUR_MS.cast_signed()));
            self.summary.jumps += u64::from(off != 0);
            self.off_ms = off;
            // The server looks every second, so it sees each state of the clock.
            self.tick();
        }
    }

    pub(super) fn rules(&self) -> Rules {
        Rules { budgets: self.budgets.clone().into(), plans: Arc::new(HashMap::new()) }
    }

    /// A process that has just started, with all that the log has.
    fn start(&mut self) -> Result<(), String> {
        for _ in 0..STARTS_MAX {
            match self.open() {
                Ok(ledger) => {
                    self.ledger = Some(ledger);
                    self.raises_seen = None;
                    return Ok(());
                }
                Err(error) => {
                    let trouble = weir_disk::with(|disk| disk.is_dead() || disk.had_trouble());
                    if trouble != Some(true) {
                        return Err(format!("it does not start on a healthy disk: {error}"));
                    }
                    self.crash();
                    weir_disk::with(Disk::heal);
                }
            }
        }
        Err("it never starts".to_owned())
    }

    fn open(&self) -> Result<SqliteLedger, LedgerError> {
        let meters = Meters::new(meters::defaults(), Vec::new()).expect("good meters");
        let mut ledger = SqliteLedger::open(Path::new(LEDGER), "a log", meters)?;
        ledger.set_prices(prices(PRICE), self.clock())?;
        let engine = Engine::new(self.rules(), Arc::<Signal>::default());
        ledger.set_steering(Some(Box::new(engine)), self.clock())?;
        Ok(ledger)
    }

    fn crash(&mut self) {
        weir_disk::with(Disk::die);
        self.ledger = None;
        let failed = weir_disk::with(|disk| disk.sync_failed()) == Some(true);
        let crash = if failed || self.rng.bool() { Crash::PowerLoss } else { Crash::Kill };
        self.say(|| format!("{crash:?}"));
        self.summary.crashes += 1;
        weir_disk::with(|disk| disk.restart(crash));
    }

    /// Does something with the ledger; whatever fails ends the process.
    pub(super) fn with<T>(&mut self, work: impl FnOnce(&mut SqliteLedger) -> Result<T, LedgerError>) -> Option<T> {
        let outcome = work(self.ledger.as_mut()?);
        match outcome {
            Ok(value) if weir_disk::with(|disk| disk.is_dead()) != Some(true) => Some(value),
            _ => {
                self.crash();
                None
            }
        }
    }

    fn step(&mut self) -> Result<(), String> {
        match self.rng.u8(..100) {
            0..42 => self.use_some(),
            42..50 => drop(self.tell()),
            50..62 => self.send(),
            62..69 => self.change_an_amount(),
            69..80 => self.tick(),
            80..88 => {
                let after = self.rng.u64(..40);
                self.say(|| format!("dies in disk operation {after} from here"));
                weir_disk::with(|disk| disk.set_fuse(after));
            }
            88..91 => self.crash(),
            91..93 => {
                // A transaction that fails and is tried again.
                self.fail_to_count();
            }
            _ => self.check()?,
        }
        Ok(())
    }

    /// New events reach the log, and the ledger counts what it has.
    fn use_some(&mut self) {
        if self.off_ms < 0 {
            // Events of a time to come would wait; the other simulator has those.
            return self.count();
        }
        self.append();
        // Sometimes several records wait for one transaction.
        if self.rng.u8(..3) > 0 {
            self.count();
        }
    }

    fn append(&mut self) {
        let before = self.used.len() as u64;
        for _ in 0..self.rng.u64(1..4) {
            let late = if self.rng.u8(..6) == 0 { self.rng.u64(..LATE_MAX_HOURS) } else { 0 };
            self.used.push(Used {
                tenant: TENANTS[self.rng.usize(..3)],
                user: ["", USERS[0], USERS[1]][self.rng.usize(..3)],
                key: ["k1", "k2", "k3"][self.rng.usize(..3)],
                at: Timestamp::from_millis(self.now_ms - late * HOUR_MS),
                input: self.rng.u64(1..3_000),
            });
        }
        let new = self.used.iter().skip(usize::try_from(before).unwrap_or(usize::MAX));
        let requests: Vec<Request<'_>> = new.map(request).collect();
        self.log.push(event::record(self.log.len() as u64 + 1, self.clock(), before, &requests));
        self.summary.events += requests.len() as u64;
    }

    pub(super) fn count(&mut self) {
        let Some(ledger) = &self.ledger else { return };
        let from = usize::try_from(ledger.position()).unwrap_or(usize::MAX);
        let waiting = self.log.get(from..).unwrap_or_default().to_vec();
        self.with(|ledger| ledger.apply(&waiting).map(drop));
    }

    /// Counting fails as a whole, and works the next time: the process goes on.
    fn fail_to_count(&mut self) {
        const FAILS: &str =
            "CREATE TEMP TRIGGER fails BEFORE UPDATE ON budget_followed BEGIN SELECT RAISE(ABORT, 'no'); END";
        if self.off_ms < 0 {
            return;
        }
        self.append();
        let from = self.ledger.as_ref().map(SqliteLedger::position).and_then(|at| usize::try_from(at).ok());
        let waiting = self.log.get(from.unwrap_or(usize::MAX)..).unwrap_or_default().to_vec();
        self.with(|ledger| {
            ledger.db().execute_batch(FAILS)?;
            let _failed = ledger.apply(&waiting);
            Ok(ledger.db().execute_batch("DROP TRIGGER fails")?)
        });
    }

    /// Makes messages of changes; returns whether there may be more.
    fn tell(&mut self) -> Option<bool> {
        let (receivers, now) = (self.receivers.clone(), self.clock());
        let take = |db: &mut weir_database::Connection| notice::take(db, "sim", &receivers, &Context::default(), now);
        self.with(|ledger| ledger.durably(take))
    }

    /// Sends the messages that are due.
    fn send(&mut self) {
        let now = self.clock();
        let Some(due) = self.with(|ledger| outbox::due(ledger.db(), now, 5)) else { return };
        for notice in due {
            let fate = self.rng.u8(..4);
            if fate > 0 {
                self.arrive(&notice);
            }
            // The answer may be lost on its way.
            let attempt = if fate > 1 { Attempt::Delivered } else { Attempt::Failed("no answer".to_owned()) };
            let note = |db: &mut weir_database::Connection| outbox::note(db, &notice.id, &attempt, now);
            if self.with(|ledger| ledger.durably(note)).is_none() {
                return;
            }
        }
    }

    /// The receiver takes a message.
    fn arrive(&mut self, notice: &Notice) {
        let before = self.inbox.insert(notice.id.clone(), notice.body.clone());
        self.summary.repeats += u64::from(before.is_some());
        self.arrivals.push(notice.id.clone());
    }

    /// A person raises, pauses or resumes a budget.
    fn change_an_amount(&mut self) {
        if self.off_ms != 0 {
            return;
        }
        let (now, budget) = (self.clock(), ["daily", "money", "team", "person"][self.rng.usize(..4)].to_owned());
        let subject = TENANTS[self.rng.usize(..3)].to_owned();
        let amount = [Some("20"), Some("2"), None][self.rng.usize(..3)].and_then(weir_ledger::amount::Pico::parse);
        let until = now.plus_millis(self.rng.u64(1..30) * HOUR_MS);
        let is_end = self.rng.u8(..4) == 0;
        self.summary.raises += 1;
        self.say(|| format!("{budget} of {subject}: {amount:?} until {until}, or resumed: {is_end}"));
        self.with(|ledger| {
            if is_end {
                ledger.durably(|db| raise::end(db, &subject, &budget, "ann", now))?;
            } else {
                let (who, why) = ("ann".to_owned(), "sim".to_owned());
                let usual = weir_ledger::amount::Pico::ZERO;
                let new = NewRaise { subject, budget, amount, until, who, why, usual, is_whole: false, lowers: true };
                let _refused = ledger.durably(|db| raise::add(db, &new, now))?;
            }
            ledger.review_steering(now, false)
        });
    }

    /// What the server does every second: it sees which raises hold, and what has ended.
    pub(super) fn tick(&mut self) {
        let now = self.clock();
        let read = |db: &weir_database::Connection| Ok((raise::active(db, now)?, raise::has_over(db, now)?));
        let Some((raises, has_over)) = self.with(|ledger| read(ledger.db())) else { return };
        let holding: Vec<i64> = raises.iter().map(|raise| raise.id).collect();
        let differs = has_over || self.raises_seen.as_ref().is_none_or(|seen| *seen != holding);
        self.say(|| format!("the server looks: raises {holding:?} hold, others than before: {differs}"));
        if differs && self.with(|ledger| ledger.review_steering(now, false)).is_none() {
            return;
        }
        self.raises_seen = Some(holding);
        while self.with(|ledger| ledger.flush_steering(now)) == Some(true) {}
    }

    /// Compares everything in the middle of a run, with the right time and a healthy disk.
    fn check(&mut self) -> Result<(), String> {
        weir_disk::with(Disk::heal);
        if self.off_ms != 0 {
            self.off_ms = 0;
            self.tick();
        }
        for _ in 0..STARTS_MAX {
            if self.ledger.is_none() {
                self.start()?;
            }
            self.count();
            self.tick();
            if self.ledger.is_some() {
                self.summary.checks += 1;
                return (self.judge.stages)(self);
            }
        }
        Err("it fails again and again on a healthy disk".to_owned())
    }

    /// Lets the receiver take everything.
    fn deliver_everything(&mut self) -> Result<(), String> {
        while self.tell().ok_or("making messages fails on a healthy disk")? {}
        loop {
            self.now_ms += 48 * HOUR_MS;
            let now = self.clock();
            let due = self.with(|ledger| outbox::due(ledger.db(), now, 1_000)).ok_or("reading messages fails")?;
            if due.is_empty() {
                return Ok(());
            }
            for notice in due {
                self.arrive(&notice);
                self.with(|ledger| outbox::note(ledger.db(), &notice.id, &Attempt::Delivered, now))
                    .ok_or("noting fails")?;
            }
        }
    }

    /// The stages that gateways are told now, by tenant.
    pub(super) fn told(&mut self) -> Option<view::InForce> {
        let (rules, now) = (self.rules(), self.clock());
        self.with(|ledger| view::in_force(ledger.db(), &rules, now))
    }
}

fn request(used: &Used) -> Request<'_> {
    let Used { tenant, user, key, at, input } = *used;
    Request { tenant, model: "small", feature: "", user, key, time: at, input, output: 0 }
}

//! The world that nodes share: time, the network, servers, and whose code runs.
//!
//! Everything happens on one thread. Where a node's code waits for an answer, time passes and the others act ([`World::wait`]), so that
//! messages of one node and steps of another one come in any order. A node goes on once those that acted meanwhile have done their step.
mod clients;
mod network;
mod node;
mod outside;
mod peace;
mod postgres;
mod reporting;
mod trouble;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use fastrand::Rng;
use weir_billing::MeterEvent;
use weir_clock::ManualClock;
use weir_contract::Timestamp;
use weir_ledger::intake::Intake;
use weir_ledger::validate::Format;

use self::clients::Waiting;
use self::node::Node;
pub(super) use self::outside::NAME;
use self::outside::Outside;
use self::postgres::Postgres;
use self::reporting::Provider;
use super::redis::{Command, Redis};
use super::summary::Summary;
use super::topic::{Batch, Topic};
use crate::gateways::Gateways;
use crate::machine::Machine;
use crate::oracle;

/// 2026-11-21T03:14:15Z.
const START_MS: u64 = 1_795_230_855_000;
/// The nodes.
pub(super) const NODES: usize = 3;
/// Acts of a world before peace.
const ACTS: u64 = 450;
/// What others do in each slice of time while a node waits.
const ACTS_PER_SLICE: u32 = 3;
/// The longest step of time while somebody waits.
const SLICE_MS: u64 = 400;
/// The most time between the death of a process and its next start.
const DOWN_MAX_MS: u64 = 3_000;

/// A life of a node: a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Caller {
    pub(super) node: usize,
    pub(super) life: u64,
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {} in its life {}", ["a", "b", "c"][self.node], self.life)
    }
}

/// A server that nodes talk to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Server {
    Log,
    Ledger,
    /// The billing provider.
    Provider,
}

/// What becomes of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// There and back.
    There,
    /// The request is lost.
    LostBefore,
    /// The answer is lost.
    LostAfter,
    /// The request arrives so many milliseconds later, and nobody waits for the answer.
    Late(u64),
}

/// What is known of a node from outside.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    pub(super) life: u64,
    /// When its process starts again; none while it lives.
    pub(super) down_until: Option<u64>,
    /// From which servers it is cut off.
    cut: [bool; 3],
    /// Cut off from the other nodes.
    pub(super) is_apart: bool,
    /// Where bodies go in, while it owns.
    pub(super) intake: Option<Intake>,
}

/// A message that arrives later.
enum Flight {
    Redis(Caller, Vec<Command>, u64),
    Kafka(Caller, Batch),
    Report(MeterEvent),
    Body(Caller, Format, Vec<u8>),
}

pub(super) struct World {
    pub(super) rng: RefCell<Rng>,
    pub(super) clock: Arc<ManualClock>,
    now_ms: Cell<u64>,
    current: Cell<Option<Caller>>,
    /// Empty while a node acts.
    nodes: RefCell<[Option<Node>; NODES]>,
    pub(super) states: RefCell<[State; NODES]>,
    pub(super) is_kafka: bool,
    pub(super) redis: RefCell<Redis>,
    pub(super) topic: RefCell<Topic>,
    pub(super) postgres: RefCell<Postgres>,
    pub(super) provider: RefCell<Provider>,
    flights: RefCell<Vec<(u64, Flight)>>,
    /// Who took the log last.
    log_owner: Cell<Option<Caller>>,
    /// The node that owns, by the table of nodes, and how often that changed.
    pub(super) partition: Cell<Option<(Caller, u64)>>,
    /// The log that the ledger belongs to, once there is a ledger.
    pub(super) log_id: RefCell<Option<String>>,
    pub(super) gateways: RefCell<Gateways>,
    pub(super) waiting: RefCell<Vec<Waiting>>,
    /// Nothing fails any more.
    pub(super) is_calm: Cell<bool>,
    /// The log has lost its end, and was counted up to this position: no record may be there again.
    pub(super) lost_until: Cell<Option<u64>>,
    pub(super) keeps_all: bool,
    /// One exchange in so many fails.
    fails_every: u64,
    pub(super) summary: RefCell<Summary>,
    violation: RefCell<Option<String>>,
    trace: bool,
}

/// Leaves the world: this thread's logs and ledgers are nobody's any more.
pub(super) fn leave() {
    Outside::install(None);
}

impl World {
    pub(super) fn new(seed: u64, trace: bool) -> Rc<Self> {
        let mut rng = Rng::with_seed(seed ^ 0xf1ee_7000);
        let gateways = Gateways::new(&mut rng);
        let fails_every = [12, 40, 120][rng.usize(..3)];
        let world = Rc::new(World {
            clock: ManualClock::at(Timestamp::from_millis(START_MS)),
            now_ms: Cell::new(START_MS),
            current: Cell::new(None),
            nodes: RefCell::new([0, 1, 2].map(|node| Some(Node::new(node)))),
            states: RefCell::default(),
            is_kafka: !seed.is_multiple_of(2),
            redis: RefCell::default(),
            topic: RefCell::default(),
            postgres: RefCell::default(),
            provider: RefCell::default(),
            flights: RefCell::default(),
            log_owner: Cell::new(None),
            partition: Cell::new(None),
            log_id: RefCell::default(),
            gateways: RefCell::new(gateways),
            waiting: RefCell::default(),
            is_calm: Cell::new(false),
            lost_until: Cell::new(None),
            keeps_all: (seed / 2).is_multiple_of(2),
            fails_every,
            summary: RefCell::default(),
            violation: RefCell::default(),
            rng: RefCell::new(rng),
            trace,
        });
        Outside::install(Some(Rc::clone(&world)));
        world
    }

    pub(super) fn say(&self, line: impl FnOnce() -> String) {
        if self.trace {
            let who = self.current.get().map(|caller| format!("{caller}: ")).unwrap_or_default();
            println!("{} {who}{}", Timestamp::from_millis(self.now()), line());
        }
    }

    pub(super) fn now(&self) -> u64 {
        self.now_ms.get()
    }

    pub(super) fn draw(&self, below: u64) -> u64 {
        self.rng.borrow_mut().u64(..below)
    }

    /// True once in `times`, while something may fail.
    pub(super) fn strikes(&self, times: u64) -> bool {
        !self.is_calm.get() && self.draw(times) == 0
    }

    pub(super) fn met(&self, what: &'static str) {
        self.summary.borrow_mut().met(what);
    }

    /// Notes what must never happen.
    pub(super) fn breaks(&self, what: String) {
        self.say(|| format!("!!! {what}"));
        self.violation.borrow_mut().get_or_insert(what);
    }

    pub(super) fn current(&self) -> Option<Caller> {
        self.current.get()
    }

    /// Whether a process lives.
    pub(super) fn lives(&self, caller: Caller) -> bool {
        let state = &self.states.borrow()[caller.node];
        state.life == caller.life && state.down_until.is_none()
    }

    pub(super) fn caller(&self, node: usize) -> Caller {
        Caller { node, life: self.states.borrow()[node].life }
    }

    /// Lives until everything is acknowledged and counted.
    pub(super) fn live(&self) -> Result<(), String> {
        let loses = if self.draw(6) == 0 { ACTS / 2 + self.draw(ACTS / 2) } else { ACTS };
        for act in 0..ACTS {
            self.act();
            self.verdict()?;
            if act >= loses && self.lose_the_end() {
                return self.live_without_an_end();
            }
        }
        self.make_peace()
    }

    /// Fails if something happened that must never happen.
    pub(super) fn verdict(&self) -> Result<(), String> {
        let seen = self.postgres.borrow().violation.clone();
        seen.or_else(|| self.violation.borrow().clone()).map_or(Ok(()), Err)
    }

    /// Anybody does anything.
    pub(super) fn act(&self) {
        let time = match self.draw(40) {
            0 => self.draw(1_500),
            _ => self.draw(90),
        };
        self.pass(time);
        self.collect();
        match self.draw(100) {
            0..14 => self.gateways.borrow_mut().serve(&mut self.rng.borrow_mut(), self.now_ms.get()),
            14..34 => self.send(),
            34..88 => self.step(usize::try_from(self.draw(NODES as u64)).expect("few")),
            88 if self.draw(8) == 0 => self.check(),
            _ if self.strikes(3) => self.trouble(),
            _ => {}
        }
    }

    fn check(&self) {
        if self.log_id.borrow().is_none() {
            return;
        }
        // Bodies without an answer yet may be counted already.
        let waiting = self.waiting.borrow();
        let under_way: Vec<usize> = waiting.iter().flat_map(|waiting| waiting.batch.iter().copied()).collect();
        let mut gateways = self.gateways.borrow_mut();
        under_way.iter().for_each(|item| gateways.items[*item].unknown += 1);
        let checked = oracle::check_upper(&gateways);
        under_way.iter().for_each(|item| gateways.items[*item].unknown -= 1);
        drop((waiting, gateways));
        if let Err(wrong) = checked {
            self.breaks(wrong);
        }
    }

    /// Lets a node do a step, if it is not in the middle of one.
    pub(super) fn step(&self, node: usize) {
        self.start_again(node);
        let Some(mut acting) = self.nodes.borrow_mut()[node].take() else { return };
        let caller = self.caller(node);
        if self.lives(caller) {
            let before = self.current.replace(Some(caller));
            acting.step(self, caller);
            self.current.set(before);
        }
        if self.lives(caller) {
            self.nodes.borrow_mut()[node] = Some(acting);
        } else {
            self.bury(acting, caller);
        }
    }

    fn start_again(&self, node: usize) {
        let now = self.now();
        let state = &mut self.states.borrow_mut()[node];
        if state.down_until.is_some_and(|until| until <= now) {
            state.down_until = None;
        }
    }

    /// Ends a process. `is_seen`: the servers see its connections end.
    pub(super) fn kill(&self, caller: Caller, why: &str, is_seen: bool) {
        if !self.lives(caller) {
            return;
        }
        self.say(|| format!("{caller} ends: {why}"));
        let down = self.draw(DOWN_MAX_MS);
        let is_cut = self.is_cut(caller.node, Server::Ledger);
        let state = &mut self.states.borrow_mut()[caller.node];
        (state.life, state.down_until, state.intake) = (state.life + 1, Some(self.now() + down), None);
        if is_seen && !is_cut {
            self.postgres.borrow_mut().end_all(caller);
        }
    }

    /// Kills a process that may be between two steps.
    fn kill_now(&self, caller: Caller, why: &str, is_seen: bool) {
        self.kill(caller, why, is_seen);
        let between = self.nodes.borrow_mut()[caller.node].take();
        if let Some(between) = between {
            self.bury(between, caller);
        }
    }

    /// Drops what a dead process had; nothing of it reaches a server any more.
    fn bury(&self, node: Node, dead: Caller) {
        let before = self.current.replace(Some(dead));
        drop(node);
        self.current.set(before);
        self.nodes.borrow_mut()[dead.node] = Some(Node::new(dead.node));
    }

    /// Time passes, and messages arrive.
    pub(super) fn pass(&self, time_ms: u64) {
        let until = self.now() + time_ms;
        loop {
            let due = {
                let mut flights = self.flights.borrow_mut();
                let next = flights.iter().enumerate().filter(|(_, (at, _))| *at <= until);
                let next = next.min_by_key(|(index, (at, _))| (*at, *index)).map(|(index, _)| index);
                next.map(|index| flights.remove(index))
            };
            let Some((at, flight)) = due else { break };
            self.set_now(at.max(self.now()));
            self.arrive(flight);
        }
        self.set_now(until);
        self.postgres.borrow_mut().expire(until);
    }

    fn set_now(&self, now_ms: u64) {
        self.now_ms.set(now_ms);
        self.redis.borrow_mut().now_ms = now_ms;
        self.clock.set(Timestamp::from_millis(now_ms));
    }

    fn arrive(&self, flight: Flight) {
        self.met("late arrivals");
        match flight {
            Flight::Redis(caller, commands, life) if life == self.redis.borrow().lives => {
                self.say(|| format!("what {caller} sent to the log arrives late"));
                self.run_redis(caller, &commands);
            }
            // A connection that a restart ended brings nothing more.
            Flight::Redis(..) => {}
            Flight::Report(event) => drop(self.provide(&event)),
            Flight::Body(owner, format, body) => self.take_late(owner, format, body),
            Flight::Kafka(caller, batch) => {
                self.say(|| format!("a batch of {caller} arrives late"));
                self.run_kafka(caller, batch);
            }
        }
    }

    /// Time passes for a node that waits, and the others act.
    pub(super) fn wait(&self, time_ms: u64) {
        let until = self.now() + time_ms;
        while self.now() < until {
            self.pass(SLICE_MS.min(until - self.now()));
            let is_busy = |nodes: &[Option<Node>; NODES]| nodes.iter().all(Option::is_none);
            for _ in 0..ACTS_PER_SLICE {
                if self.now() < until && !is_busy(&self.nodes.borrow()) {
                    let before = self.current.take();
                    self.act();
                    self.current.set(before);
                }
            }
        }
    }

    /// The owner, as a node sees it; a node in the middle of a step sees none.
    pub(super) fn sees(&self, node: usize) -> Option<Caller> {
        self.nodes.borrow()[node].as_ref().and_then(Node::sees)
    }

    /// How many nodes own, and have counted the whole log.
    pub(super) fn owners_that_counted_all(&self) -> usize {
        let nodes = self.nodes.borrow();
        let living = nodes.iter().flatten().filter(|node| self.lives(self.caller(node.number)));
        living.filter(|node| node.machine().is_some_and(Machine::caught_up)).count()
    }

    /// The state of all nodes, for an error.
    pub(super) fn state(&self) -> String {
        let nodes = self.nodes.borrow();
        let told = nodes.iter().flatten().map(|node| match node.machine() {
            Some(machine) => {
                format!("{} owns, at record {}: {:?}", self.caller(node.number), machine.counted(), machine.failure())
            }
            None => format!("{} follows {:?}", self.caller(node.number), node.sees()),
        });
        told.collect::<Vec<_>>().join("; ")
    }

    /// Ends all processes.
    pub(super) fn end(&self) {
        let nodes = std::mem::take(&mut *self.nodes.borrow_mut());
        for state in self.states.borrow_mut().iter_mut() {
            (state.life, state.intake) = (state.life + 1, None);
        }
        drop(nodes);
    }

    /// All bytes that log and ledger keep.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let ledger = weir_disk::with(|disk| disk.copy("ledger.sqlite")).unwrap_or_default();
        let topic = self.topic.borrow().entries.concat();
        [ledger.into_values().flatten().collect(), topic, self.redis.borrow().bytes()].concat()
    }
}

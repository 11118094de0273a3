//! A node: it follows, owns, hands over.
//!
//! Log, ledger, intake and their threads' work are the real ones (`machine`). The rules of who may try to own, and of when an owner ends,
//! are those of `aggregator/weir/src/server/node.rs`, which speaks HTTP and cannot run here.
use weir_event_log::kafka::KafkaPlace;
use weir_event_log::place::{LogPlace, Opening};
use weir_event_log::redis::RedisPlace;
use weir_event_log::{Create, Taking};
use weir_ledger::query::LedgerReader;

use super::reporting::Reporting;
use super::{Caller, Server, Way, World};
use crate::machine::{LEDGER, Machine};

/// How long a node waits after it could not become the owner.
const TRY_AGAIN_MS: u64 = 2_000;
/// How long a follower waits after its connection to PostgreSQL broke.
const GRACE_MS: u64 = 2_000;
/// Work that an owner does before it hands over.
const LAST_TURNS: usize = 20;

pub(in crate::nodes) struct Node {
    pub(in crate::nodes) number: usize,
    role: Role,
}

enum Role {
    Follower { sees: Option<Caller>, not_before: u64 },
    Owner { machine: Box<Machine>, reporting: Reporting, epoch: u64 },
}

impl Node {
    pub(super) fn new(number: usize) -> Self {
        Node { number, role: Role::Follower { sees: None, not_before: 0 } }
    }

    /// The owner, as this node sees it.
    pub(super) fn sees(&self) -> Option<Caller> {
        match &self.role {
            Role::Follower { sees, .. } => *sees,
            Role::Owner { .. } => None,
        }
    }

    pub(super) fn machine(&self) -> Option<&Machine> {
        match &self.role {
            Role::Owner { machine, .. } => Some(machine),
            Role::Follower { .. } => None,
        }
    }

    /// The position up to which this node has counted the log.
    pub(super) fn counted(&self) -> u64 {
        self.machine().map_or(0, Machine::counted)
    }

    /// Whether it owns, and has counted some log to its end.
    pub(super) fn has_counted_all(&self) -> bool {
        self.machine().is_some_and(|machine| machine.caught_up() && machine.counted() > 5)
    }

    /// Does a step of its work.
    pub(super) fn step(&mut self, world: &World, me: Caller) {
        match &mut self.role {
            Role::Owner { machine, reporting, epoch } => {
                if world.draw(8) == 0 {
                    reporting.turn(world, machine, me);
                }
                if let Some(why) = own(world, machine, *epoch) {
                    world.kill(me, &why, true);
                }
            }
            Role::Follower { sees, not_before } => {
                if world.way(me, Server::Ledger) != Way::There {
                    *not_before = world.now() + GRACE_MS;
                    return;
                }
                *sees = world.partition.get().map(|(owner, _)| owner);
                let may_try = world.postgres.borrow().holder().is_none() && world.now() >= *not_before;
                if may_try && world.lives(me) {
                    match take_over(world, me) {
                        Some(owner) => self.role = owner,
                        None => *not_before = world.now() + TRY_AGAIN_MS,
                    }
                }
            }
        }
    }

    /// Ends as it does when it is told to.
    pub(super) fn stop(&mut self, world: &World, me: Caller) {
        world.states.borrow_mut()[me.node].intake = None;
        if let Role::Owner { machine, .. } = &mut self.role {
            for _ in 0..LAST_TURNS {
                machine.write();
                machine.count();
            }
            world.collect();
        }
    }
}

/// Works as the owner; returns why it owns no longer.
fn own(world: &World, machine: &mut Machine, epoch: u64) -> Option<String> {
    match world.draw(10) {
        0..4 => machine.write(),
        4..8 => machine.count(),
        8 => {
            machine.write();
            machine.count();
        }
        _ => {
            if !world.is_kafka && !world.keeps_all {
                // Bodies come in while it prunes.
                (0..3).for_each(|_| world.send());
                if machine.prune(weir_contract::Timestamp::from_millis(world.now())).is_some() {
                    world.met("prunings");
                }
            }
        }
    }
    if let Some((other, _)) = world.partition.get().filter(|(_, latest)| *latest > epoch) {
        return Some(format!("{other} has taken over"));
    }
    if machine.is_superseded() {
        return Some("another process writes the ledger".to_owned());
    }
    machine.over.then(|| "its log or ledger is broken".to_owned())
}

fn take_over(world: &World, me: Caller) -> Option<Role> {
    world.say(|| "tries to own".to_owned());
    let opened = try_own(world, me);
    match &opened {
        Ok(_) => world.say(|| "owns".to_owned()),
        Err(why) => world.say(|| format!("cannot own: {why}")),
    }
    let (machine, reporting, epoch) = opened.ok()?;
    world.met("take-overs");
    world.states.borrow_mut()[me.node].intake = Some(machine.intake());
    Some(Role::Owner { machine: Box::new(machine), reporting, epoch })
}

fn try_own(world: &World, me: Caller) -> Result<(Machine, Reporting, u64), String> {
    let create = world.log_id.borrow().clone().map_or(Create::IfMissing, Create::Never);
    let taking = Taking { owner: "nodes of the ledger".to_owned(), holder: me.to_string(), create };
    let opening = Opening { taking, ..Opening::embedded(world.clock.clone()) };
    let mut machine = Machine::own(&world.clock, &place(world), opening).map_err(|error| error.to_string())?;
    if world.log_id.borrow().is_none() {
        let read = LedgerReader::open(LEDGER).and_then(|reader| reader.log_id());
        *world.log_id.borrow_mut() = read.map_err(|error| error.to_string())?;
    }
    let epoch = claim(world, me, &mut machine)?;
    let reporting = Reporting::start(world, &mut machine).ok_or("it cannot report")?;
    Ok((machine, reporting, epoch))
}

/// Notes in a transaction of the ledger that a node owns.
fn claim(world: &World, me: Caller, machine: &mut Machine) -> Result<u64, String> {
    let sql = "UPDATE ledger SET settled = settled + 1";
    let noted =
        machine.ask(move |ledger| ledger.durably(|db| db.execute(sql, []).map_err(weir_ledger::LedgerError::from)));
    match noted {
        Some(Ok(_)) if world.lives(me) => {
            let epoch = world.partition.get().map_or(0, |(_, epoch)| epoch) + 1;
            world.partition.set(Some((me, epoch)));
            Ok(epoch)
        }
        _ => Err("it could not be noted".to_owned()),
    }
}

/// Where the log is.
pub(super) fn place(world: &World) -> LogPlace {
    match world.is_kafka {
        true => LogPlace::Kafka(KafkaPlace::new("kafka://simulated:9092/weir".into())),
        false => LogPlace::Redis(RedisPlace::new("redis://simulated:6379".into(), "weir")),
    }
}

//! The ends of the network in a node: what its Redis client, its Kafka client and its PostgreSQL sessions are connected to.
use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use redis::{ConnectionLike, RedisError, RedisResult, Value};
use weir_database::Error as DatabaseError;
use weir_database::simulated::{self as database, Fate};
use weir_event_log::KafkaProblem;
use weir_event_log::simulated::{
    self as log, Brokers, Found, Outcome, Producing, RedisLink, Scanning, Servers, Topic as Described,
};

use super::{Caller, Server, Way, World};
use crate::nodes::redis::commands;
use crate::nodes::topic::Batch;

/// The name of every log, so that worlds can begin with a ledger that is made already: see `template`.
pub(in crate::nodes) const NAME: [u8; 16] = [0x77; 16];

thread_local! {
    static WORLD: RefCell<Option<Rc<World>>> = const { RefCell::new(None) };
}

/// The world, as the code of the product reaches it.
pub(in crate::nodes) struct Outside;

impl Outside {
    /// Makes this thread's logs and ledgers live in `world`.
    pub(super) fn install(world: Option<Rc<World>>) {
        let is_there = world.is_some();
        let old = WORLD.replace(world);
        log::install(is_there.then(|| Rc::new(Outside) as Rc<dyn Servers>));
        database::install(is_there.then(|| Rc::new(Outside) as Rc<dyn database::Server>));
        // Dropped last: what it holds may reach for the world.
        drop(old);
    }
}

fn world() -> Option<Rc<World>> {
    WORLD.with_borrow(Clone::clone)
}

fn reset() -> RedisError {
    RedisError::from(io::Error::new(io::ErrorKind::ConnectionReset, "the connection is lost"))
}

fn failed() -> KafkaProblem {
    KafkaProblem::Failed("no answer from the brokers".to_owned())
}

impl Servers for Outside {
    fn redis(&self) -> RedisResult<RedisLink> {
        let world = world().ok_or_else(reset)?;
        let lives = world.redis.borrow().lives;
        let Some(caller) = world.current() else { return Ok(Box::new(Link { caller: None, lives, is_broken: false })) };
        match world.way(caller, Server::Log) {
            Way::There => Ok(Box::new(Link { caller: Some(caller), lives, is_broken: false })),
            _ => Err(reset()),
        }
    }

    fn kafka(&self) -> Result<Arc<dyn Brokers>, KafkaProblem> {
        let caller = world().and_then(|world| world.current());
        Ok(Arc::new(End { caller }))
    }

    fn pause(&self, time: Duration) {
        let Some(world) = world() else { return };
        // A dead process waits for nothing.
        if world.current().is_some_and(|caller| world.lives(caller)) {
            world.wait(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        }
    }

    fn draw(&self, bytes: &mut [u8]) {
        match world() {
            // A log's name.
            _ if bytes.len() == NAME.len() => bytes.copy_from_slice(&NAME),
            Some(world) => world.rng.borrow_mut().fill(bytes),
            None => {}
        }
    }
}

/// A connection to the Redis. Without a caller: one of the judge, on which nothing fails.
struct Link {
    caller: Option<Caller>,
    /// The life of the server that it was made in.
    lives: u64,
    is_broken: bool,
}

impl Link {
    fn exchange(&mut self, request: &[u8]) -> RedisResult<Vec<Value>> {
        let (world, commands) = (world().ok_or_else(reset)?, commands(request));
        let Some(caller) = self.caller else {
            return crate::nodes::redis::all(&mut world.redis.borrow_mut(), &commands);
        };
        let is_gone = |link: &Self| link.is_broken || link.lives != world.redis.borrow().lives;
        if is_gone(self) {
            return Err(reset());
        }
        let way = world.way(caller, Server::Log);
        // The server may have been started again meanwhile.
        self.is_broken = way != Way::There || is_gone(self);
        if let Way::Late(after) = way {
            world.later_redis(caller, commands, after);
            world.wait(world.draw(5_000));
            return Err(reset());
        }
        if way == Way::LostBefore || is_gone(self) && way == Way::There {
            return Err(reset());
        }
        let answers = world.run_redis(caller, &commands);
        if world.after(caller) && !self.is_broken { Ok(answers) } else { Err(reset()) }
    }
}

impl ConnectionLike for Link {
    fn req_packed_command(&mut self, request: &[u8]) -> RedisResult<Value> {
        self.exchange(request)?.pop().ok_or_else(reset)
    }

    fn req_packed_commands(&mut self, request: &[u8], offset: usize, count: usize) -> RedisResult<Vec<Value>> {
        Ok(self.exchange(request)?.into_iter().skip(offset).take(count).collect())
    }

    fn get_db(&self) -> i64 {
        0
    }

    fn check_connection(&mut self) -> bool {
        self.is_open()
    }

    fn is_open(&self) -> bool {
        !self.is_broken
    }
}

/// A connection to the brokers. Without a caller: one of the judge.
#[derive(Clone, Copy, Debug)]
struct End {
    caller: Option<Caller>,
}

impl End {
    /// One exchange; an error if there is no answer.
    fn ask<T>(self, ask: impl FnOnce(&World) -> T) -> Result<T, KafkaProblem> {
        let world = world().ok_or_else(failed)?;
        match self.caller.map_or(Way::There, |caller| world.way(caller, Server::Log)) {
            Way::There => Ok(ask(&world)),
            _ => Err(failed()),
        }
    }
}

impl Brokers for End {
    fn topic(&self) -> Result<Option<Described>, KafkaProblem> {
        self.ask(|world| world.topic.borrow().exists.then_some(Described { partitions: 1, replicas: 1 }))
    }

    fn settings(&self) -> Result<Option<HashMap<String, String>>, KafkaProblem> {
        self.ask(|_| Some(HashMap::from([("max.message.bytes".to_owned(), "8388608".to_owned())])))
    }

    fn create(&self, _: Duration) -> Result<(), KafkaProblem> {
        self.ask(|world| world.topic.borrow_mut().exists = true)
    }

    fn scan(&self) -> Result<Box<dyn Scanning>, KafkaProblem> {
        self.ask(|_| Box::new(*self) as Box<dyn Scanning>)
    }

    fn producer(&self) -> Result<Arc<dyn Producing>, KafkaProblem> {
        let number = |world: &World| world.rng.borrow_mut().u64(..);
        let caller = self.caller.ok_or_else(failed)?;
        self.ask(|world| {
            Arc::new(Producer { caller, id: number(world), batches: AtomicU64::new(0) }) as Arc<dyn Producing>
        })
    }
}

impl Scanning for End {
    fn ends(&self) -> Result<(i64, i64), KafkaProblem> {
        self.ask(|world| {
            let end = world.topic.borrow().end();
            // A broker may lag with its word for the end.
            let lag = if world.strikes(4) { world.draw(3).cast_signed() } else { 0 };
            (0, (end - lag).max(0))
        })
    }

    fn read(&mut self, offset: i64) -> Result<Found, KafkaProblem> {
        self.ask(|world| world.topic.borrow().read(offset))
    }
}

#[derive(Debug)]
struct Producer {
    caller: Caller,
    id: u64,
    batches: AtomicU64,
}

impl Producing for Producer {
    fn append(&self, entries: Vec<(i64, Vec<u8>)>) -> Result<i64, Outcome> {
        let unknown = || Outcome::Unknown("no answer from the brokers".to_owned());
        let (world, caller) = (world().ok_or_else(unknown)?, self.caller);
        let number = self.batches.fetch_add(1, Ordering::Relaxed) + 1;
        let batch = Batch { producer: self.id, number, entries };
        match world.way(caller, Server::Log) {
            Way::There => {}
            Way::LostBefore => return Err(unknown()),
            Way::Late(after) => {
                world.later_kafka(caller, batch, after);
                world.wait(world.draw(6_000));
                return Err(unknown());
            }
            Way::LostAfter => {
                world.run_kafka(caller, batch.clone());
                if world.lives(caller) && world.draw(3) == 0 {
                    // The client sends it again by itself, and the brokers may not know it any more.
                    world.met("repeated batches");
                    world.later_kafka(caller, batch, world.draw(2_000));
                }
                return Err(unknown());
            }
        }
        let first = world.run_kafka(caller, batch);
        if world.after(caller) { first.ok_or_else(unknown) } else { Err(unknown()) }
    }

    fn end(&self) {}
}

impl database::Server for Outside {
    fn connect(&self) -> Result<Option<u64>, DatabaseError> {
        let world = world().ok_or(DatabaseError::Lost)?;
        let Some(caller) = world.current() else { return Ok(None) };
        match world.way(caller, Server::Ledger) {
            Way::There => Ok(Some(world.postgres.borrow_mut().connect(caller, world.now()))),
            _ => Err(DatabaseError::Lost),
        }
    }

    fn reach(&self, session: u64) -> bool {
        let Some((world, caller)) = world().and_then(|world| world.current().map(|caller| (Rc::clone(&world), caller)))
        else {
            return false;
        };
        let way = world.way(caller, Server::Ledger);
        if way != Way::There {
            lose(&world, session);
        }
        way == Way::There && world.lives(caller) && world.postgres.borrow_mut().hear(session, world.now())
    }

    fn lock(&self, session: u64) -> bool {
        world().is_some_and(|world| world.postgres.borrow_mut().lock(session))
    }

    fn took_over(&self, session: u64) {
        if let Some(world) = world() {
            world.postgres.borrow_mut().take_over(session, world.now());
        }
    }

    fn commit(&self, session: u64, owns: bool) -> Fate {
        let Some(world) = world() else { return Fate::Undone };
        let is_alive =
            world.current().is_some_and(|caller| world.lives(caller) && !world.is_cut(caller.node, Server::Ledger));
        let fate = match is_alive {
            false => Fate::Undone,
            true if world.strikes(25) => [Fate::Untold, Fate::Undone][usize::from(world.draw(2) == 0)],
            true if !world.postgres.borrow_mut().hear(session, world.now()) => Fate::Undone,
            true => Fate::Done,
        };
        match fate {
            Fate::Undone => world.met("lost transactions"),
            Fate::Untold => world.met("commits without an answer"),
            Fate::Done => {}
        }
        if owns && fate != Fate::Undone {
            world.postgres.borrow_mut().judge_commit(session);
        }
        if fate != Fate::Done {
            world.say(|| format!("a commit is {fate:?}"));
            lose(&world, session);
        }
        fate
    }

    fn committed(&self, _session: u64) {
        if let Some(world) = world()
            && let Some(caller) = world.current()
        {
            world.after(caller);
        }
    }

    fn end(&self, session: u64) {
        if let Some(world) = world() {
            // The server does not hear of it from a node that is cut off.
            if world.current().is_none_or(|caller| !world.is_cut(caller.node, Server::Ledger)) {
                world.postgres.borrow_mut().end(session);
            }
        }
    }
}

/// A connection is lost: the server sees it at once, or once the session was silent for too long.
fn lose(world: &World, session: u64) {
    if world.draw(2) == 0 {
        world.postgres.borrow_mut().end(session);
    }
}

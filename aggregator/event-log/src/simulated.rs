//! Servers that the simulator plays, in place of a Redis and a Kafka.
//!
//! [`install`] sets them for its thread; other threads reach real servers. No delivered build has this module.
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use redis::{ConnectionLike, RedisResult};

use crate::KafkaProblem;
pub use crate::brokers::{Brokers, Found, Outcome, Producing, Raw, Scanning, Topic};

/// A connection to a Redis.
pub type RedisLink = Box<dyn ConnectionLike + Send>;

/// The world outside a process.
pub trait Servers {
    /// Connects to the Redis.
    fn redis(&self) -> RedisResult<RedisLink>;

    /// Connects to the brokers.
    fn kafka(&self) -> Result<Arc<dyn Brokers>, KafkaProblem>;

    /// Lets time pass.
    fn pause(&self, time: Duration);

    /// Fills `bytes` with numbers that look random.
    fn draw(&self, bytes: &mut [u8]);
}

thread_local! {
    static SERVERS: RefCell<Option<Rc<dyn Servers>>> = const { RefCell::new(None) };
}

/// Makes logs of this thread use `servers`; None: real ones.
pub fn install(servers: Option<Rc<dyn Servers>>) {
    SERVERS.set(servers);
}

pub(crate) fn installed() -> Option<Rc<dyn Servers>> {
    SERVERS.with_borrow(Clone::clone)
}

//! The center over a real Redis: the conformance suite, a comparison with the center in memory, and faults by name.
mod cluster;
mod conformance;
mod differential;
mod faults;
mod thousand;

use tokio::runtime::Runtime;
use weir_contract::lease::{Answer, Call, DrawAnswer, DrawCall};
use weir_leases::Timing;
use weir_rig::redis::Redis;

use crate::connection::Waits;
use crate::memory::ask;
use crate::script::Program;
use crate::store::{Clock, RedisLeases};
use crate::{LeasesPlace, RedisLeasesError};

/// The clock of tests: a key that only they write.
const CLOCK: &str = "local function clock_ms() return tonumber(redis.call('GET', 'test:clock')) end";
/// The same clock as `TIME` answers.
const TIME: &str = "local now = redis.call('GET', 'test:clock')
    return {string.sub(now, 1, -4), string.sub(now, -3) .. '000'}";

/// A Redis, and centers on it.
struct World {
    redis: Redis,
    runtime: Runtime,
}

impl World {
    /// A Redis that keeps nothing on disk: most tests do not restart it.
    fn start() -> Self {
        Self::start_with(&["--appendonly", "no"])
    }

    fn start_with(arguments: &[&str]) -> Self {
        let redis = Redis::start_with(arguments).expect("a Redis");
        World { redis, runtime: Runtime::new().expect("a runtime") }
    }

    fn place(&self, name: &str) -> LeasesPlace {
        let server = self.redis.url().as_str().into();
        LeasesPlace { server, base: std::path::PathBuf::new(), name: name.to_owned() }
    }

    /// Drops all that the server has.
    fn empty(&self) {
        self.redis.command("FLUSHALL").expect("emptied");
    }

    /// A center as a release has it.
    fn released(&self, is_known: bool) -> Fleet<'_> {
        let _guard = self.runtime.enter();
        let center = RedisLeases::open(&self.place("weir"), Timing::default(), is_known).expect("settings");
        Fleet { world: self, center }
    }

    /// A center whose time the test sets, under another script than a release's if `program` says so.
    fn clocked(&self, name: &str, timing: Timing, program: Program) -> Fleet<'_> {
        let _guard = self.runtime.enter();
        let mut time = redis::cmd("EVAL");
        time.arg(TIME).arg(0);
        let clock = Clock { program, time };
        let center = RedisLeases::with_clock(&self.place(name), timing, false, clock, Waits::LONG).expect("settings");
        Fleet { world: self, center }
    }
}

/// One center in one process.
struct Fleet<'a> {
    world: &'a World,
    center: RedisLeases,
}

impl Fleet<'_> {
    fn set_clock(&self, now: u64) {
        let set = redis::cmd("SET").arg("test:clock").arg(now).to_owned();
        let () = self.ask(&set);
    }

    fn ask<T: redis::FromRedisValue>(&self, command: &redis::Cmd) -> T {
        self.world.runtime.block_on(ask(self.center.connection(), command)).expect("an answer")
    }

    fn call(&self, call: &Call) -> Result<Answer, RedisLeasesError> {
        self.world.runtime.block_on(self.center.call(call))
    }

    fn draw(&self, call: &DrawCall) -> Result<DrawAnswer, RedisLeasesError> {
        self.world.runtime.block_on(self.center.draw(call))
    }
}

//! The center in a Redis.
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures::future::join_all;
use redis::{Cmd, RedisError, cmd};
use tokio::sync::Semaphore;
use weir_contract::lease::{Answer, Call, DrawAnswer, DrawCall, Grant, Key, Report, Short};
use weir_leases::Timing;
use weir_leases::center::{Counts, longer};

use crate::answer::{self, Drawn, Lost};
use crate::connection::{Connection, Waits, failed, is_unknown_script};
use crate::memory::{self, Earlier, Keys, Memory};
use crate::script::Program;
use crate::step::{Act, Caller, Step, numbers};
use crate::survey::Survey;
use crate::{LeasesPlace, RedisLeasesError};

/// The most calls under way. Further ones wait, no longer than for a call.
const CALLS_MAX: usize = 64;
/// How often steps are sent again to a server that lacks the script.
const SENDS_MAX: usize = 3;
/// The same to a cluster: at worst each partition is on a node of its own that lacks it.
const SENDS_TO_CLUSTER_MAX: usize = SENDS_MAX + memory::PARTITIONS as usize;

/// The center of a fleet's limits, for every handler of one process.
#[derive(Debug)]
pub struct RedisLeases {
    connection: Connection,
    keys: Keys,
    clock: Clock,
    waits: Waits,
    timing: Timing,
    joined: Mutex<Joined>,
    counts: Mutex<Counts>,
    under_way: Semaphore,
}

/// What this process knows of the memory.
#[derive(Clone, Copy, Debug)]
struct Joined {
    /// The memory, while it is known to be the server's.
    memory: Option<Memory>,
    /// What there was before: an empty server has lost it.
    earlier: Earlier,
}

/// Where the time comes from. Every release has the server's: [`Clock::of_the_server`].
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    /// The script, which reads it in each step.
    pub(crate) program: Program,
    /// The command that reads it for a call.
    pub(crate) time: Cmd,
}

impl Clock {
    fn of_the_server() -> Self {
        Clock { program: Program::released(), time: cmd("TIME") }
    }
}

/// Why steps have no answer.
enum Failed {
    /// Another memory began.
    OtherMemory,
    Other(RedisLeasesError),
}

impl RedisLeases {
    /// The center at a place, which it connects to with the first call. `is_known` says that there were leases before: an
    /// empty server has lost them then.
    pub fn open(place: &LeasesPlace, timing: Timing, is_known: bool) -> Result<Self, RedisLeasesError> {
        Self::with_clock(place, timing, is_known, Clock::of_the_server(), Waits::QUICK)
    }

    pub(crate) fn with_clock(
        place: &LeasesPlace,
        timing: Timing,
        is_known: bool,
        clock: Clock,
        waits: Waits,
    ) -> Result<Self, RedisLeasesError> {
        let (connection, keys) = (Connection::lazy(place, waits)?, Keys::of(&place.name));
        let time = if connection.is_cluster() { memory::time_of_one_node(&keys) } else { clock.time };
        Ok(RedisLeases {
            connection,
            keys,
            clock: Clock { time, ..clock },
            waits,
            timing,
            joined: Mutex::new(Joined {
                memory: None,
                earlier: if is_known { Earlier::Unknown } else { Earlier::Nothing },
            }),
            counts: Mutex::default(),
            under_way: Semaphore::new(CALLS_MAX),
        })
    }

    /// Checks that the server answers and keeps limits; changes nothing.
    pub async fn check(&self) -> Result<(), RedisLeasesError> {
        self.bounded(memory::check(&self.connection)).await
    }

    /// Joins the memory, or begins one.
    pub async fn join(&self) -> Result<(), RedisLeasesError> {
        self.bounded(async { self.memory().await.map(drop) }).await
    }

    /// Answers a checked `POST /v1/leases`.
    pub async fn call(&self, call: &Call) -> Result<Answer, RedisLeasesError> {
        self.bounded(async {
            match self.call_once(call).await {
                Err(Failed::OtherMemory) => self.call_once(call).await,
                answer => answer,
            }
            .map_err(Failed::error)
        })
        .await
    }

    /// Answers a checked `POST /v1/leases/draw`: draws everything or nothing. What was drawn in a call without an answer is
    /// spent.
    pub async fn draw(&self, call: &DrawCall) -> Result<DrawAnswer, RedisLeasesError> {
        self.bounded(async { self.draw_once(call).await.map_err(Failed::error) }).await
    }

    /// What this process answered.
    pub fn counts(&self) -> Counts {
        *self.lock_counts()
    }

    /// The limits in the server, at most `max` of those that `wanted` selects.
    pub async fn survey(&self, max: usize, wanted: impl Fn(&Key) -> bool) -> Result<Survey, RedisLeasesError> {
        let now = memory::time(&self.connection, &self.clock.time).await?;
        Survey::take(&self.connection, &self.keys, max, wanted, now).await
    }

    #[cfg(test)]
    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    #[cfg(test)]
    pub(crate) fn set_timing(&mut self, timing: Timing) {
        self.timing = timing;
    }

    async fn bounded<T>(&self, call: impl Future<Output = Result<T, RedisLeasesError>>) -> Result<T, RedisLeasesError> {
        let waits = async {
            let _permit = self.under_way.acquire().await;
            call.await
        };
        let late = RedisLeasesError::Away(format!("no answer within {} ms", self.waits.call.as_millis()));
        tokio::time::timeout(self.waits.call, waits).await.unwrap_or(Err(late))
    }

    async fn call_once(&self, call: &Call) -> Result<Answer, Failed> {
        let memory = self.memory().await?;
        let now = memory::time(&self.connection, &self.clock.time).await?;
        let (gateway, draws, timing) = (call.gateway.as_str(), call.draws, self.timing);
        let caller = Caller { gateway, draws, memory, reading: Some(now), timing };
        let step = |report: &Report| Step::new(&self.keys, caller, Act::Report, &report.key, report);
        let steps = call.leases.iter().map(step).collect::<Result<Vec<Step>, _>>()?;
        let answers = self.run(&steps).await?;
        let mut leases = Vec::with_capacity(answers.len());
        for (report, numbers) in call.leases.iter().zip(&answers) {
            let (grant, lost) = answer::grant(report.lease, numbers)?;
            self.count_grant(&grant, lost);
            leases.push(grant);
        }
        Ok(Answer { epoch: memory.epoch, sent_ms: call.sent_ms, at_ms: now, ttl_ms: timing.ttl_ms, leases })
    }

    async fn draw_once(&self, call: &DrawCall) -> Result<DrawAnswer, Failed> {
        let memory = self.memory().await?;
        let caller = Caller { gateway: &call.gateway, draws: true, memory, reading: None, timing: self.timing };
        let every: Vec<usize> = (0..call.draws.len()).collect();
        let mut drawn = self.act(call, caller, Act::Draw, &every).await?;
        let mut short: Option<Short> = None;
        for one in drawn.iter().filter_map(|one| one.short) {
            short = Some(longer(short, one));
        }
        if short.is_some() {
            let undone: Vec<usize> = every.into_iter().filter(|index| drawn[*index].short.is_none()).collect();
            let levels = self.act(call, caller, Act::Undo, &undone).await?;
            for (index, undone) in undone.into_iter().zip(levels) {
                drawn[index].level = undone.level;
            }
        }
        let mut counts = self.lock_counts();
        counts.count_draw(short.is_none());
        Ok(DrawAnswer { epoch: memory.epoch, short, levels: drawn.iter().map(|one| one.level).collect() })
    }

    /// Takes a step for some draws of a call.
    async fn act(
        &self,
        call: &DrawCall,
        caller: Caller<'_>,
        act: Act,
        indices: &[usize],
    ) -> Result<Vec<Drawn>, Failed> {
        let step = |index: &usize| {
            let draw = &call.draws[*index];
            Step::new(&self.keys, caller, act, &draw.key, draw)
        };
        let steps = indices.iter().map(step).collect::<Result<Vec<Step>, _>>()?;
        let answers = self.run(&steps).await?;
        let mut all = Vec::with_capacity(answers.len());
        for (index, numbers) in indices.iter().zip(&answers) {
            let (drawn, lost) = answer::drawn(*index, numbers)?;
            self.lock_counts().count_lost(lost.leases, lost.units);
            all.push(drawn);
        }
        Ok(all)
    }

    /// Takes all steps, and answers in their order. A server that lacks the script gets it with the first step that it has.
    async fn run(&self, steps: &[Step]) -> Result<Vec<Vec<i64>>, Failed> {
        let mut answers: Vec<Option<Vec<i64>>> = vec![None; steps.len()];
        let sends_max = if self.connection.is_cluster() { SENDS_TO_CLUSTER_MAX } else { SENDS_MAX };
        for _ in 0..sends_max {
            let open: Vec<usize> = (0..steps.len()).filter(|index| answers[*index].is_none()).collect();
            let Some(first) = open.first().copied() else { break };
            let sent = open.iter().map(|index| self.send(&steps[*index], "EVALSHA", &self.clock.program.hash));
            for (index, sent) in open.iter().zip(join_all(sent).await) {
                match sent {
                    Ok(numbers) => answers[*index] = Some(numbers),
                    Err(error) if is_unknown_script(&error) => {}
                    Err(error) => return Err(self.failed(&error)),
                }
            }
            if answers[first].is_none() {
                let sent = self.send(&steps[first], "EVAL", &self.clock.program.text).await;
                answers[first] = Some(sent.map_err(|error| self.failed(&error))?);
            }
        }
        let missing = || RedisLeasesError::Away("it forgets the script".to_owned());
        answers.into_iter().collect::<Option<_>>().ok_or_else(missing).map_err(Failed::Other)
    }

    async fn send(&self, step: &Step, verb: &str, script: &str) -> Result<Vec<i64>, RedisError> {
        numbers(self.connection.send(&step.command(verb, script)).await?)
    }

    fn failed(&self, error: &RedisError) -> Failed {
        match error.code() {
            Some("WEIRMEMORY") => {
                self.lock_joined().memory = None;
                Failed::OtherMemory
            }
            Some("WEIRLATE") => Failed::Other(RedisLeasesError::Away("the call waited too long for it".to_owned())),
            _ => Failed::Other(failed(error)),
        }
    }

    /// The memory, read again once another one began.
    async fn memory(&self) -> Result<Memory, RedisLeasesError> {
        let Joined { memory, earlier } = *self.lock_joined();
        if let Some(memory) = memory {
            return Ok(memory);
        }
        memory::check(&self.connection).await?;
        let memory = memory::join(&self.connection, &self.keys, earlier, &self.clock.time).await?;
        if memory.lost_ms != 0 {
            tracing::warn!(epoch = memory.epoch, "the Redis lost leases: fleet-wide limits start empty");
        }
        *self.lock_joined() = Joined { memory: Some(memory), earlier: Earlier::Epoch(memory.epoch) };
        Ok(memory)
    }

    fn count_grant(&self, grant: &Grant, lost: Lost) {
        let mut counts = self.lock_counts();
        counts.count_report(grant.state);
        counts.count_lost(lost.leases, lost.units);
    }

    fn lock_counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_joined(&self) -> MutexGuard<'_, Joined> {
        self.joined.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Failed {
    fn error(self) -> RedisLeasesError {
        match self {
            Failed::OtherMemory => RedisLeasesError::Away("another memory began".to_owned()),
            Failed::Other(error) => error,
        }
    }
}

impl From<RedisLeasesError> for Failed {
    fn from(error: RedisLeasesError) -> Self {
        Failed::Other(error)
    }
}

//! The writing end.
use std::sync::Arc;
use std::time::Duration;

use redis::{Pipeline, RedisError, Script, cmd};
use weir_clock::Clock;
use weir_contract::Timestamp;
use weir_fault::{Point, hit};

use super::entry;
use super::errors::{Outcome, failed, is_unknown_script, outcome};
use super::place::{Keys, RedisPlace};
use super::reader::RedisLogReader;
use super::scripts::{APPEND, PRUNE, REDACT, RELEASE, RENEW, call};
use super::session::Session;
use super::taking::{LEASE, Taken};
use crate::mentions::count_step;
use crate::outside::pause;
use crate::redact::{Redacted, Users};
use crate::{
    AppendError, Checkpoint, End, EventLog, LogError, NewRecord, PRUNE_STEP, Placement, Position, Redaction,
    RedisProblem, Retention, Taking, Unsupported,
};

/// How long an append tries to reach a server that does not answer, before its records are refused. Connections wait for it.
const PATIENCE: Duration = Duration::from_secs(5);
/// The most attempts: as many as the patience has pauses.
const ATTEMPTS_MAX: u32 = 100;
/// The pause between two attempts.
const PAUSE: Duration = Duration::from_millis(50);
/// How often the right to write is renewed, and the server's durability checked.
const RENEW_EVERY: Duration = Duration::from_secs(1);
const CHECK_EVERY: Duration = Duration::from_secs(60);
/// The longest wait for replicas in one exchange, in milliseconds.
const REPLICAS_WAIT_MS: u32 = 1_000;

/// The writing end of a log in Redis.
#[derive(Debug)]
pub struct RedisLog {
    place: RedisPlace,
    keys: Keys,
    session: Session,
    clock: Arc<dyn Clock>,
    taking: Taking,
    taken: Taken,
    end: End,
    /// Groups sent since the start; the number is part of a group's name.
    groups: u64,
    renewed_at: Duration,
    checked_at: Duration,
    /// Why the server must not be trusted at the moment.
    trouble: Option<String>,
}

impl RedisLog {
    /// Opens the log at `place` for writing.
    pub fn open(place: &RedisPlace, taking: Taking, clock: Arc<dyn Clock>) -> Result<Self, LogError> {
        let keys = place.keys();
        let mut session = place.connect()?;
        let taken = taking.take(&mut session, &keys).map_err(|problem| place.failed(problem))?;
        let forgotten_before = match taken.last {
            last if last < taken.first => 0,
            last => RedisLogReader::open(place)?.last_record(last)?.forgotten_before,
        };
        let end = End { position: taken.last, forgotten_before };
        let now = clock.elapsed();
        let place = place.clone();
        let (renewed_at, checked_at) = (now, now);
        Ok(RedisLog {
            place,
            keys,
            session,
            clock,
            taking,
            taken,
            end,
            groups: 0,
            renewed_at,
            checked_at,
            trouble: None,
        })
    }

    /// The log's name: 32 random hex digits.
    pub fn id(&self) -> &str {
        &self.taken.id
    }

    /// Sends a group, and waits for the replicas.
    fn attempt(&mut self, group: &str, records: &[NewRecord]) -> Result<Vec<Placement>, Outcome> {
        loop {
            let before = self.end.position;
            let (last, found) = self.send(group, records)?;
            let placed = last.checked_sub(records.len() as Position);
            match placed {
                Some(placed) if found == group => {
                    let forgotten_before = records.last().map_or(0, |record| record.forgotten_before);
                    self.end = End { position: last, forgotten_before };
                    let place = |position| Placement { position, follows: Some(position - 1) };
                    return Ok((placed + 1..=last).map(place).collect());
                }
                // An earlier group of ours arrived after it was given up: go on behind it.
                _ if last > before && self.is_ours(&found) => self.end.position = last,
                _ if hit(Point::OffsetReset) => self.end.position = last,
                _ => return Err(self.shortened(last)),
            }
        }
    }

    fn is_ours(&self, group: &str) -> bool {
        group.strip_prefix(&self.taken.epoch.to_string()).is_some_and(|rest| rest.starts_with(':'))
    }

    fn shortened(&self, last: Position) -> Outcome {
        let end = self.end.position;
        Outcome::Over(AppendError::Lost(format!("the log ends at record {last}, and record {end} was acknowledged")))
    }

    /// Returns where the log ends, and the name of the last group in it.
    fn send(&mut self, group: &str, records: &[NewRecord]) -> Result<(Position, String), Outcome> {
        let last = self.end.position;
        let mut append = call(&APPEND, &[&self.keys.stream, &self.keys.meta]);
        append.arg(&self.taken.id).arg(self.taken.epoch).arg(last).arg(group);
        for (position, record) in (last + 1..).zip(records) {
            append.arg(entry::header(position, record)).arg(&record.packed);
        }
        let replicas = self.place.replicas;
        let mut commands = Pipeline::new();
        commands.add_command(append);
        if replicas > 0 {
            commands.add_command(cmd("WAIT").arg(replicas).arg(REPLICAS_WAIT_MS).take());
        }
        let (ends, copies) = self.loaded(&APPEND, &commands, replicas > 0).map_err(|error| outcome(&error))?;
        if copies < replicas {
            return Err(Outcome::Unknown(format!("{copies} of {replicas} replicas have the events")));
        }
        Ok(ends)
    }

    /// Runs the commands; loads the script first if the server does not know it.
    fn loaded(
        &mut self,
        script: &Script,
        commands: &Pipeline,
        waits: bool,
    ) -> Result<((Position, String), u32), RedisError> {
        let run = |session: &mut Session| match waits {
            true => session.run_all(commands),
            false => session.run_all(commands).map(|(ends,)| (ends, 0)),
        };
        match run(&mut self.session) {
            Err(error) if is_unknown_script(&error) => {
                self.session.load(script)?;
                run(&mut self.session)
            }
            answered => answered,
        }
    }

    /// Why nothing may be appended now. Looks again if there was a reason before.
    fn trouble(&mut self) -> Option<AppendError> {
        self.trouble.as_ref()?;
        self.look();
        self.trouble.clone().map(AppendError::Locked)
    }

    /// Looks whether the server still keeps what it acknowledges. One that does not answer is left to the next attempt.
    fn look(&mut self) {
        self.trouble = match self.session.check() {
            Err(problem @ (RedisProblem::NotDurable(_) | RedisProblem::TooOld { .. })) => Some(problem.to_string()),
            _ => None,
        };
    }

    /// A call of a script that changes the log, as a chore: one attempt.
    fn chore<T: redis::FromRedisValue>(&mut self, script: &Script, call: &redis::Cmd) -> Result<T, AppendError> {
        let done = self.session.run_script(script, call);
        done.map_err(|error| match outcome(&error) {
            Outcome::Refused(error) | Outcome::Over(error) => error,
            Outcome::Unknown(why) => AppendError::Locked(self.reconnected(why)),
        })
    }

    /// Connects anew for the next attempt; returns why this one failed.
    fn reconnected(&mut self, why: String) -> String {
        match self.session.reconnect() {
            Ok(()) => why,
            Err(problem) => problem.to_string(),
        }
    }

    /// Renews the right to write.
    pub(super) fn renew_now(&mut self) -> Result<(), AppendError> {
        let mut renew = call(&RENEW, &[&self.keys.meta, &self.keys.lease]);
        renew.arg(&self.taken.id).arg(self.taken.epoch).arg(&self.taking.owner).arg(&self.taking.holder);
        renew.arg(u64::try_from(LEASE.as_millis()).unwrap_or(u64::MAX));
        self.chore::<()>(&RENEW, &renew)
    }
}

impl EventLog for RedisLog {
    fn end(&self) -> End {
        self.end
    }

    fn append(&mut self, records: &[NewRecord]) -> Result<Vec<Placement>, AppendError> {
        if let Some(trouble) = self.trouble() {
            return Err(trouble);
        }
        self.groups += 1;
        let mut group = format!("{}:{}", self.taken.epoch, self.groups);
        let (began, mut attempts) = (self.clock.elapsed(), 0);
        loop {
            attempts += 1;
            if attempts > 1 && hit(Point::AmbiguousIsAnew) {
                self.groups += 1;
                group = format!("{}:{}", self.taken.epoch, self.groups);
            }
            let why = match self.attempt(&group, records) {
                Ok(placements) => return Ok(placements),
                Err(Outcome::Refused(error) | Outcome::Over(error)) => return Err(error),
                Err(Outcome::Unknown(why)) => why,
            };
            // Whether the records are in the log is settled by the next answer: see `attempt`.
            let why = self.reconnected(why);
            if hit(Point::AmbiguousIsDone) {
                let place = |position| Placement { position, follows: Some(position - 1) };
                return Ok((self.end.position + 1..).take(records.len()).map(place).collect());
            }
            if attempts >= ATTEMPTS_MAX || self.clock.elapsed().saturating_sub(began) > PATIENCE {
                return Err(AppendError::Locked(why));
            }
            pause(PAUSE);
        }
    }

    fn retention(&mut self) -> Result<&mut dyn Retention, Unsupported> {
        Ok(self)
    }

    fn redaction(&mut self) -> Result<&mut dyn Redaction, Unsupported> {
        Ok(self)
    }

    fn checkpoint(&mut self) -> Result<&mut dyn Checkpoint, Unsupported> {
        Ok(self)
    }
}

impl Checkpoint for RedisLog {
    /// Renews the right to write, and looks at the server's settings now and then; records are in their final place already.
    fn checkpoint(&mut self) -> Result<(), AppendError> {
        let now = self.clock.elapsed();
        if now.saturating_sub(self.checked_at) >= CHECK_EVERY {
            self.checked_at = now;
            self.look();
        }
        if now.saturating_sub(self.renewed_at) < RENEW_EVERY {
            return Ok(());
        }
        self.renewed_at = now;
        self.renew_now()
    }
}

impl Retention for RedisLog {
    fn prune(&mut self, through: Position, before: Timestamp) -> Result<usize, AppendError> {
        let mut prune = call(&PRUNE, &[&self.keys.stream, &self.keys.meta]);
        prune.arg(&self.taken.id).arg(self.taken.epoch).arg(through.min(self.end.position));
        prune.arg(before.as_millis()).arg(PRUNE_STEP);
        self.chore(&PRUNE, &prune)
    }
}

impl Redaction for RedisLog {
    /// Entries cannot change. The steps count the records that name a user; the last one makes all readers overwrite the names.
    fn redact(&mut self, after: Position, until: Position, users: &Users) -> Result<Redacted, AppendError> {
        let locked = |error: LogError| AppendError::Locked(error.to_string());
        let mut reader = RedisLogReader::open(&self.place).map_err(locked)?;
        let done = count_step(&mut reader, after, until, users)?;
        if done.through.is_none() {
            let mut redact = call(&REDACT, &[&self.keys.meta, &self.keys.redacted]);
            redact.arg(&self.taken.id).arg(self.taken.epoch).arg(until);
            users.iter().for_each(|name| {
                redact.arg(name);
            });
            self.chore::<()>(&REDACT, &redact)?;
        }
        Ok(done)
    }
}

impl Drop for RedisLog {
    /// Gives the right to write back; without it another waits for the lease to end.
    fn drop(&mut self) {
        let mut release = call(&RELEASE, &[&self.keys.lease]);
        release.arg(self.taken.epoch);
        if let Err(error) = self.session.run_script::<()>(&RELEASE, &release) {
            tracing::debug!(error = %failed(&error), "the right to write to the event log ends by itself");
        }
    }
}

//! Takes the right to write: one weir at a time has it.
//!
//! Each taker gets a new epoch, which every script that writes compares: a weir that was paused or cut off can write nothing once
//! another has taken over. The lease keeps a second weir from taking over one that is alive; the owner itself, started again, need
//! not wait for it.
use std::time::Duration;

use super::errors::failed;
use super::place::Keys;
use super::scripts::{TAKE, call};
use super::session::Session;
use crate::outside::pause;
use crate::taking::random_name;
use crate::{Create, Position, RedisProblem, Taking};

/// How long the right to write lasts without a renewal.
pub(super) const LEASE: Duration = Duration::from_secs(4);
/// How long a taker waits for another's lease to end. A little longer than it can last.
const LEASE_WAIT: Duration = Duration::from_secs(6);
/// The pause between two looks.
const LEASE_PAUSE: Duration = Duration::from_millis(200);

/// The right to write.
#[derive(Clone, Debug)]
pub(super) struct Taken {
    pub(super) id: String,
    pub(super) epoch: u64,
    pub(super) first: Position,
    pub(super) last: Position,
}

/// An answer of `take.lua`.
enum Answer {
    Held(String),
    Taken(Taken, u64),
}

impl Taking {
    pub(super) fn take(&self, session: &mut Session, keys: &Keys) -> Result<Taken, RedisProblem> {
        let mut waited = Duration::ZERO;
        loop {
            match self.ask(session, keys)? {
                Answer::Taken(taken, entries) => return checked(taken, entries),
                Answer::Held(holder) if waited >= LEASE_WAIT => return Err(RedisProblem::InUse(holder)),
                Answer::Held(holder) if waited.is_zero() => {
                    tracing::warn!(%holder, "another weir had the event log; waiting whether it goes on writing");
                }
                Answer::Held(_) => {}
            }
            pause(LEASE_PAUSE);
            waited += LEASE_PAUSE;
        }
    }

    fn ask(&self, session: &mut Session, keys: &Keys) -> Result<Answer, RedisProblem> {
        let (new, first, expected) = match &self.create {
            Create::Never(expected) => (String::new(), 1, expected.clone()),
            Create::IfMissing => (drawn_name()?, 1, String::new()),
            Create::As(name, first) => (name.clone(), *first, name.clone()),
        };
        let mut take = call(&TAKE, &[&keys.stream, &keys.meta, &keys.lease]);
        take.arg(&self.owner).arg(&self.holder).arg(u64::try_from(LEASE.as_millis()).unwrap_or(u64::MAX));
        take.arg(new).arg(first).arg(expected);
        let answer: redis::Value = session.run_script(&TAKE, &take).map_err(|error| failed(&error))?;
        read(answer).map_err(|error| RedisProblem::Failed(error.to_string()))
    }
}

fn read(answer: redis::Value) -> Result<Answer, redis::RedisError> {
    use redis::from_redis_value;
    if let redis::Value::Array(parts) = &answer
        && parts.len() == 2
    {
        let (_, holder): (u8, Option<String>) = from_redis_value(answer)?;
        return Ok(Answer::Held(holder.unwrap_or_else(|| "another weir".to_owned())));
    }
    let (_, id, epoch, first, last, entries): (u8, String, u64, Position, Position, u64) = from_redis_value(answer)?;
    Ok(Answer::Taken(Taken { id, epoch, first, last }, entries))
}

/// Checks that every position has its entry.
fn checked(taken: Taken, entries: u64) -> Result<Taken, RedisProblem> {
    let expected = (taken.last + 1).saturating_sub(taken.first);
    if entries == expected {
        return Ok(taken);
    }
    Err(RedisProblem::Lost(format!("it has {entries} entries, and {expected} are expected")))
}

fn drawn_name() -> Result<String, RedisProblem> {
    random_name().map_err(|error| RedisProblem::Failed(format!("no random bytes: {error}")))
}

//! One step of one limit: a report, a draw, or its undoing.
use redis::{Cmd, FromRedisValue, RedisError, Value, cmd};
use serde::Serialize;
use weir_contract::lease::Key;
use weir_leases::Timing;

use crate::RedisLeasesError;
use crate::memory::{Keys, Memory};

/// What a step does.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Act {
    Report,
    Draw,
    Undo,
}

/// Who asks, and under which memory, time and settings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller<'a> {
    pub(crate) gateway: &'a str,
    pub(crate) draws: bool,
    pub(crate) memory: Memory,
    /// The server's time as the call read it; None leaves it to each step.
    pub(crate) reading: Option<u64>,
    pub(crate) timing: Timing,
}

/// One step, ready to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    keys: [String; 2],
    arguments: Vec<String>,
}

impl Step {
    pub(crate) fn new(
        keys: &Keys,
        caller: Caller<'_>,
        act: Act,
        key: &Key,
        body: &impl Serialize,
    ) -> Result<Self, RedisLeasesError> {
        let Caller { gateway, draws, memory, reading, timing } = caller;
        let body = serde_json::to_string(body).map_err(|error| RedisLeasesError::Refused(error.to_string()))?;
        let act = match act {
            Act::Report => "report",
            Act::Draw => "draw",
            Act::Undo => "undo",
        };
        let arguments = vec![
            memory.text(),
            memory.lost_ms.to_string(),
            memory.epoch.to_string(),
            timing.ttl_ms.to_string(),
            timing.clock_error_ms.to_string(),
            timing.lent_percent.to_string(),
            reading.map(|reading| reading.to_string()).unwrap_or_default(),
            act.to_owned(),
            gateway.to_owned(),
            u8::from(draws).to_string(),
            body,
        ];
        Ok(Step { keys: keys.limit(key)?, arguments })
    }

    /// The command that runs the script: `EVALSHA` and its hash, or `EVAL` and its text.
    pub(crate) fn command(&self, verb: &str, script: &str) -> Cmd {
        let mut command = cmd(verb);
        command.arg(script).arg(self.keys.len()).arg(&self.keys).arg(&self.arguments);
        command
    }
}

/// The numbers that a step answers.
pub(crate) fn numbers(value: Value) -> Result<Vec<i64>, RedisError> {
    Ok(Vec::<i64>::from_redis_value(value)?)
}

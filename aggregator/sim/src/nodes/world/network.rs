//! Exchanges of nodes with servers: what becomes of them, and what arrives.
use weir_billing::MeterEvent;
use weir_ledger::validate::Format;

use super::{Caller, Flight, Server, Way, World};
use crate::nodes::redis::{self, Command};
use crate::nodes::topic::{Batch, claims, counts};

impl World {
    /// What becomes of a node's exchange with a server; the node waits for as long as it takes.
    pub(super) fn way(&self, caller: Caller, server: Server) -> Way {
        if !self.lives(caller) {
            return Way::LostBefore;
        }
        if self.is_cut(caller.node, server) {
            self.wait(1_000 + self.draw(4_000));
            return if self.draw(4) == 0 { Way::Late(self.draw(6_000)) } else { Way::LostBefore };
        }
        self.pass(self.draw(4));
        if !self.strikes(self.fails_every) {
            return Way::There;
        }
        let way = match self.draw(10) {
            0 | 1 => Way::LostBefore,
            2..5 => Way::LostAfter,
            5 => Way::Late(self.draw(8_000)),
            6 | 7 => {
                self.met("slow exchanges");
                self.wait(self.draw(3_500));
                Way::There
            }
            8 => {
                self.met("pauses");
                self.say(|| "is paused".to_owned());
                self.wait(2_000 + self.draw(8_000));
                Way::There
            }
            _ => {
                let way = if self.draw(2) == 0 { Way::LostBefore } else { Way::LostAfter };
                self.met("kills");
                self.kill(caller, "killed in the middle", true);
                return way;
            }
        };
        match way {
            Way::LostBefore => self.met("lost requests"),
            Way::LostAfter => self.met("lost answers"),
            _ => {}
        }
        way
    }

    /// What a node may meet right after an answer. False: it is dead.
    pub(super) fn after(&self, caller: Caller) -> bool {
        if self.lives(caller) && self.strikes(self.fails_every * 3) {
            self.met("pauses");
            self.say(|| "is paused".to_owned());
            self.wait(2_000 + self.draw(8_000));
        }
        self.lives(caller)
    }

    pub(super) fn is_cut(&self, node: usize, server: Server) -> bool {
        self.states.borrow()[node].cut[server as usize]
    }

    /// Runs a node's commands in the Redis.
    pub(super) fn run_redis(&self, caller: Caller, commands: &[Command]) -> Vec<::redis::Value> {
        let mut redis = self.redis.borrow_mut();
        let (epoch, last) = (redis.epoch(), redis.last());
        let answers = redis::all(&mut redis, commands).unwrap_or_default();
        if redis.epoch() != epoch {
            self.log_owner.set(Some(caller));
        }
        if redis.last() > last {
            self.judge_append(caller);
        }
        answers
    }

    /// Appends a node's batch to the topic.
    pub(super) fn run_kafka(&self, caller: Caller, batch: Batch) -> Option<i64> {
        let entries: Vec<Vec<u8>> = batch.entries.iter().map(|(_, value)| value.clone()).collect();
        let first = self.topic.borrow_mut().append(batch)?;
        for (offset, value) in (first..).zip(entries) {
            if !counts(offset, &value) {
                self.met("dead entries");
            } else if claims(&value) {
                self.log_owner.set(Some(caller));
            } else {
                self.judge_append(caller);
            }
        }
        Some(first)
    }

    /// Only who took the log last may append to it.
    fn judge_append(&self, caller: Caller) {
        // A log that has lost its end may have lost who took it.
        let is_whole = self.lost_until.get().is_none();
        if let Some(owner) = self.log_owner.get().filter(|owner| is_whole && *owner != caller) {
            self.breaks(format!("{caller} appends to the log though {owner} has taken it over"));
        }
    }

    pub(super) fn later_redis(&self, caller: Caller, commands: Vec<Command>, after_ms: u64) {
        let lives = self.redis.borrow().lives;
        self.flights.borrow_mut().push((self.now() + after_ms, Flight::Redis(caller, commands, lives)));
    }

    pub(super) fn later_provided(&self, event: MeterEvent, after_ms: u64) {
        self.flights.borrow_mut().push((self.now() + after_ms, Flight::Report(event)));
    }

    pub(super) fn later_body(&self, owner: Caller, (format, body): (Format, Vec<u8>), after_ms: u64) {
        self.flights.borrow_mut().push((self.now() + after_ms, Flight::Body(owner, format, body)));
    }

    pub(super) fn later_kafka(&self, caller: Caller, batch: Batch, after_ms: u64) {
        self.flights.borrow_mut().push((self.now() + after_ms, Flight::Kafka(caller, batch)));
    }
}

//! The end of a world: faults stop, and everything must settle.
use weir_disk::Disk;

use super::{CONCURRENCY, DAY_MS, HOUR_MS, MINUTE_MS, Rows, World};
use crate::machine::Machine;
use weir_billing::outbox::policy::Late;

/// The most rounds until everything is settled after faults stop.
const PEACE_ROUNDS_MAX: u32 = 1_500;

impl World {
    /// Stops all faults and lets people release held rows, until everything is settled.
    pub(super) fn make_peace(&mut self) -> Result<(), String> {
        weir_disk::with(Disk::heal);
        self.calm = true;
        self.provider.gone.clear();
        self.provider.down_until_ms = 0;
        self.crash();
        self.start()?;
        if self.rng.bool() {
            self.plan.holds_late = false;
            self.policy.late = Late::NextPeriod;
        }
        for (days, rounds) in [(0, PEACE_ROUNDS_MAX), (3, PEACE_ROUNDS_MAX)] {
            self.pass_time(days * DAY_MS);
            self.gateways.hurry();
            self.settle(rounds)?;
        }
        Ok(())
    }

    pub(super) fn settle(&mut self, rounds: u32) -> Result<(), String> {
        while !(self.gateways.is_done() && self.waiting.is_empty()) {
            self.pass_time(5_000);
            self.send()?;
            self.with_machine(Machine::write);
            self.with_machine(Machine::count);
            self.collect();
        }
        // By then every window is over.
        self.pass_time(3 * HOUR_MS);
        for round in 0..rounds {
            self.pass_time(16 * MINUTE_MS);
            self.with_machine(Machine::write);
            self.with_machine(Machine::count);
            if round % 8 == 0 {
                self.report()?;
            }
            if round % 128 == 0 {
                self.retry_held()?;
            }
            if self.is_moving() {
                self.turn()?;
                for _ in 0..CONCURRENCY {
                    self.arrive()?;
                }
                self.hear();
            }
            self.look()?;
            if round > 8 && self.is_settled()? {
                return self.note_split_hours();
            }
        }
        let open: Rows =
            self.rows.iter().filter(|(_, row)| *row != "reported").map(|(id, row)| (*id, row.clone())).collect();
        Err(format!("not everything is settled though nothing fails: {open:?}"))
    }

    /// Returns true if some row waits for anything but a person.
    pub(super) fn is_moving(&self) -> bool {
        let moving = ["pending", "sent", "again", "unsure"];
        !self.heard.is_empty() || self.rows.values().any(|row| moving.contains(&row.as_str()))
    }

    /// Returns true if nothing waits for anything but people. Further reads cannot settle an hour that was read four
    /// times without faults.
    pub(super) fn is_settled(&mut self) -> Result<bool, String> {
        if self.is_moving() {
            return Ok(false);
        }
        let verifications = self.ask(|ledger| {
            Ok(ledger.db().query_row("SELECT count(*) FROM look WHERE reads < 4", [], |row| row.get::<_, i64>(0))?)
        })?;
        Ok(verifications == Some(0))
    }

    /// Records whether the seed split an hour at a customer's anchor.
    fn note_split_hours(&mut self) -> Result<(), String> {
        let split = self.ask(|ledger| {
            let sql = "SELECT count(*) FROM outbox WHERE window_start % 3600000 > 0";
            Ok(ledger.db().query_row(sql, [], |row| row.get::<_, i64>(0))?)
        })?;
        if split.unwrap_or(0) > 0 {
            self.summary.count("split hour");
        }
        Ok(())
    }
}

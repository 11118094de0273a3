//! The machine is lost, and another one continues from a backup.
//!
//! A backup has the ledger as it was, and the log as it was a little later. Only the provider and the gateways know
//! what came after. The gateways send again what they still have; in some worlds that is not all.
use weir_disk::Copies;

use super::follow::snapshot;
use super::{STEPS, World};
use crate::billing::plan::Restored;
use weir_billing::outbox::sender;

/// One in this many seeds loses its machine.
const LOSES_MACHINE_EVERY: u8 = 3;

/// The steps at which backup, loss and restore happen.
#[derive(Clone, Copy)]
pub(super) struct Schedule {
    ledger: u64,
    log: u64,
    restore: u64,
    /// True if the gateways have lost some of the items sent since the backup.
    forgets: bool,
    /// True if the operator declares the restore. Otherwise the ledger must detect that it is a copy.
    says: bool,
}

impl Schedule {
    pub(super) fn new(rng: &mut fastrand::Rng) -> Option<Self> {
        let loses = rng.u8(..LOSES_MACHINE_EVERY) == 0;
        let ledger = rng.u64(STEPS / 8..STEPS / 2);
        let log = ledger + rng.u64(..8);
        let restore = log + rng.u64(1..STEPS / 3);
        let (forgets, says) = (rng.u8(..3) == 0, rng.bool());
        loses.then_some(Schedule { ledger, log, restore, forgets, says })
    }
}

/// How much of an item a copy of the log has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Copied {
    Surely,
    Perhaps,
    Never,
}

pub(super) struct Backup {
    files: Copies,
    pub(super) taken_ms: u64,
    adjustments: usize,
    items: Vec<Copied>,
}

impl World {
    /// Performs the action that is due in this step. Returns false if none is.
    pub(super) fn back_up_or_restore(&mut self, step: u64) -> bool {
        let Some(schedule) = self.schedule else { return false };
        if step == schedule.ledger {
            let files = weir_disk::with(|disk| disk.copy("ledger.sqlite")).unwrap_or_default();
            let adjustments = self.plan.adjustments.len();
            self.backup = Some(Backup { files, taken_ms: self.now_ms, adjustments, items: Vec::new() });
        }
        if step == schedule.log {
            self.copy_log();
        }
        if step == schedule.restore
            && let Some(backup) = self.backup.take()
        {
            self.lose_machine(backup, schedule);
            return true;
        }
        false
    }

    fn copy_log(&mut self) {
        let Some(backup) = &mut self.backup else { return };
        backup.files.extend(weir_disk::with(|disk| disk.copy("log.sqlite")).unwrap_or_default());
        let copied = |(number, item): (usize, &crate::gateways::Item)| {
            if item.accepted > 0 {
                Copied::Surely
            } else if item.attempts() > 0 || self.waiting.iter().any(|(batch, ..)| batch.contains(&number)) {
                Copied::Perhaps
            } else {
                Copied::Never
            }
        };
        backup.items = self.gateways.items.iter().enumerate().map(copied).collect();
    }

    fn lose_machine(&mut self, backup: Backup, schedule: Schedule) {
        self.crash();
        let files = backup.files;
        weir_disk::with(|disk| disk.replace_all(files));
        self.summary.count("restored");
        self.say(|| format!("the machine is lost; a backup of {} ms takes its place", backup.taken_ms));
        self.plan.restored = Some(Restored { from_ms: backup.taken_ms, to_ms: self.now_ms });
        for number in 0..self.gateways.items.len() {
            let copied = backup.items.get(number).copied().unwrap_or(Copied::Never);
            if self.gateways.items[number].accepted == 0 || copied == Copied::Surely {
                continue;
            }
            let again = !(schedule.forgets && copied == Copied::Never && self.rng.bool());
            self.gateways.forget(number, again);
            if !again {
                self.plan.lost_items.push(number);
            }
        }
        for adjustment in self.plan.adjustments.iter_mut().skip(backup.adjustments) {
            (adjustment.acknowledged, adjustment.lost) = (false, true);
        }
        for change in self.plan.changes.values_mut().flatten() {
            change.noted_ms = change.noted_ms.filter(|noted_ms| *noted_ms < backup.taken_ms);
        }
        "the restored file".clone_into(&mut self.file);
        self.returning = true;
    }

    /// Does the work of `weir restore` before a server starts. Returns false if the process died in it.
    pub(super) fn come_back(&mut self) -> Result<bool, String> {
        if !self.returning {
            return Ok(true);
        }
        self.rows.clear();
        if let Some(restored) = &mut self.plan.restored {
            restored.to_ms = self.now_ms;
        }
        let Some(rows) = self.ask(|ledger| snapshot(ledger.db(), 0))? else { return Ok(false) };
        self.rows = rows;
        let now = self.now();
        let says = self.schedule.is_some_and(|schedule| schedule.says);
        Ok(!says || self.ask(move |ledger| ledger.durably(|db| sender::mark_restored(db, now)))?.is_some())
    }
}

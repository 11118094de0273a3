//! What goes wrong in a storm.
use weir_leases::{Center, Timing};

use super::super::plan::Focus;
use super::{Event, START_MS, World, machine};

impl World {
    /// One failure, of those that the plan has most of.
    pub(super) fn fault(&mut self) {
        let index = self.random.index(self.machines.len());
        let kinds: &[u64] = match self.plan.focus {
            Focus::Everything => &[0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
            Focus::Expiry => &[0, 0, 4, 4, 5, 9],
            Focus::Memory => &[0, 1, 6, 7, 7, 8, 9],
            Focus::Shares => &[0, 0, 0, 2, 6, 9],
        };
        let kind = kinds[self.random.index(kinds.len())];
        let longest = match self.plan.focus {
            Focus::Expiry => 20_000,
            _ => [500, 5_000, 30_000, 90_000][self.random.index(4)],
        };
        let for_ms = 1 + self.random.below(longest);
        self.tell(|now| format!("{now} fault {kind} at {index} for {for_ms}"));
        // Where definitions differ, the gateway with the strictest one lives, so that it is known which one holds.
        let spared = self.plan.smaller.is_some() && index == 0;
        let may_forget = self.plan.smaller.is_none() && (self.plan.focus == Focus::Memory || self.random.percent(40));
        match kind {
            0 if !spared => {
                self.machines[index].partitioned = true;
                self.at(self.now + for_ms, Event::Heals(index));
            }
            1 if !spared => {
                self.machines[index].paused = true;
                self.at(self.now + for_ms, Event::Heals(index));
            }
            2 if !spared => {
                let process = self.machines[index].process + 1;
                self.machines[index] = machine(&self.plan, index, process, self.bug, &mut self.random);
            }
            3 => self.machines[index].gateway.wipe(),
            4 => self.step_clock(index),
            5 => self.restart_center(),
            6 if may_forget => self.forget_center(),
            // Shares that a lost interval promised would have to be allowed for as well.
            7 if may_forget && !self.plan.share => self.fail_over(),
            8 | 9 => self.replica = (self.center.checkpoint(), self.now, 0),
            _ => {}
        }
    }

    /// A clock is set: forward by anything, back by little that nobody notices, or by much.
    fn step_clock(&mut self, index: usize) {
        let machine = &mut self.machines[index];
        let recently = self.now.saturating_sub(machine.stepped_back_ms) < 15_000;
        let kind = if self.plan.focus == Focus::Expiry && self.random.percent(80) { 1 } else { self.random.below(3) };
        match kind {
            0 if !self.plan.share => machine.offset_ms += i64::try_from(self.random.below(20_000)).expect("small"),
            1 if !recently => {
                machine.offset_ms -= i64::try_from(self.random.below(1_000)).expect("small");
                machine.stepped_back_ms = self.now;
            }
            2 => machine.offset_ms -= i64::try_from(4_000 + self.random.below(3_600_000)).expect("small"),
            _ => {}
        }
    }

    /// The center's process ends and starts again from its checkpoint.
    fn restart_center(&mut self) {
        self.center_down = true;
        let for_ms = self.random.below(3_000);
        self.at(self.now + for_ms, Event::Heals(usize::MAX));
        let checkpoint = if self.bad_restore { self.replica.0.clone() } else { self.center.checkpoint() };
        self.center = Center::restored(checkpoint);
    }

    /// The center goes on from its replica. What was granted since may be granted once more.
    pub(super) fn fail_over(&mut self) {
        let (checkpoint, _, granted) = self.replica.clone();
        self.oracle.allow(granted);
        self.outcome.lost += granted;
        self.center = Center::restored(checkpoint);
    }

    /// The center loses everything.
    fn forget_center(&mut self) {
        let epoch = self.center.epoch() + 1;
        self.center = Center::forgotten(epoch, START_MS + self.now, Timing::default());
        self.replica = (self.center.checkpoint(), self.now, 0);
    }
}

//! The life of a process: it starts, takes over, closes windows, dies.
use std::collections::HashMap;

use tokio::sync::oneshot::error::TryRecvError;
use weir_contract::Timestamp;
use weir_disk::{Crash, Disk};

use super::{CONCURRENCY, DAY_MS, START_MS, World};
use crate::billing::plan::Change;
use crate::machine::Machine;
use weir_billing::outbox::BillingError;
use weir_billing::outbox::view::RetryFilter;
use weir_billing::outbox::{close, held, rows, sender};
use weir_ledger::periods::{Anchor, Interval};
use weir_ledger::validate::Format;

/// The most failed starts: a fuse burns once.
const STARTS_MAX: u32 = 40;

impl World {
    pub(super) fn start(&mut self) -> Result<(), String> {
        for _ in 0..STARTS_MAX {
            match Machine::start(&self.clock) {
                Ok(machine) => {
                    self.machine = Some(machine);
                    self.life += 1;
                    self.fresh = true;
                    if self.come_back()? && self.take_over()? {
                        self.returning = false;
                        return Ok(());
                    }
                    self.crash();
                }
                Err(error) => {
                    let trouble = weir_disk::with(|disk| {
                        let trouble = disk.is_dead() || disk.had_trouble();
                        disk.heal();
                        trouble
                    });
                    if trouble != Some(true) {
                        return Err(format!("it does not start on a healthy disk: {error}"));
                    }
                    self.crash();
                }
            }
        }
        Err("it never starts".to_owned())
    }

    /// Takes over as a reporter does. Returns false if the process died in it.
    pub(super) fn take_over(&mut self) -> Result<bool, String> {
        let (now, file) = (self.now(), self.file.clone());
        let taken = self.ask(move |ledger| {
            let epoch = ledger.durably(|db| sender::take_over(db, &file, now))?;
            Ok((epoch, ledger.id().to_owned()))
        })?;
        let Some((epoch, id)) = taken else { return Ok(false) };
        (self.policy.epoch, self.policy.ledger) = (epoch, id);
        self.note()
    }

    /// Lets another process take over while this one continues: from now on its actions must change nothing.
    pub(super) fn replace_sender(&mut self) -> Result<(), String> {
        let (old, heard, now) = (self.policy.clone(), std::mem::take(&mut self.heard), self.now());
        self.life += 1;
        if self.machine.is_none() || !self.take_over()? {
            return Ok(());
        }
        self.summary.count("replaced");
        let what = self.rng.u8(..4);
        let went_on = self.ask(move |ledger| {
            let tried = ledger.durably(|db| match what {
                0 => close::step(db, &old, now, now).map(drop),
                1 => close::map_held(db, &old, now).map(drop),
                2 => held::retry(db, &old, &RetryFilter::default(), now).map(drop),
                _ => rows::settle_and_claim(db, &old, &heard, CONCURRENCY, now).map(drop),
            });
            match tried {
                Ok(()) => Ok(true),
                Err(BillingError::Fenced) => Ok(false),
                Err(error) => Err(error),
            }
        })?;
        if went_on == Some(true) { Err("a sender that was replaced goes on".to_owned()) } else { Ok(()) }
    }

    pub(super) fn is_over(&self) -> bool {
        let dead = weir_disk::with(|disk| disk.is_dead()) == Some(true);
        dead || self.machine.as_ref().is_some_and(|machine| machine.over)
    }

    pub(super) fn crash(&mut self) {
        weir_disk::with(Disk::die);
        self.collect();
        self.machine = None;
        for (batch, _, _) in std::mem::take(&mut self.waiting) {
            self.gateways.unanswered(&batch, true);
        }
        self.heard.clear();
        let crash = if self.rng.bool() { Crash::PowerLoss } else { Crash::Kill };
        self.summary.count(if crash == Crash::Kill { "kill" } else { "power loss" });
        self.say(|| format!("{crash:?}"));
        weir_disk::with(|disk| disk.restart(crash));
    }

    /// Collects the answers to appended bodies.
    pub(super) fn collect(&mut self) {
        for (batch, refused, mut synced) in std::mem::take(&mut self.waiting) {
            match synced.try_recv() {
                Ok(Ok(_)) => self.gateways.answered(&batch, &refused),
                Err(TryRecvError::Empty) => self.waiting.push((batch, refused, synced)),
                Ok(Err(_)) | Err(TryRecvError::Closed) => self.gateways.unanswered(&batch, true),
            }
        }
    }

    pub(super) fn send(&mut self) -> Result<(), String> {
        let Some(machine) = &self.machine else { return Ok(()) };
        let batch = self.gateways.next_batch(&mut self.rng, false);
        if batch.is_empty() {
            return Ok(());
        }
        let bodies: Vec<&[u8]> = batch.iter().map(|item| self.gateways.items[*item].body.as_slice()).collect();
        let body = [b"[".as_slice(), &bodies.join(&b','), b"]"].concat();
        match machine.take(Format::Batch, &body, None) {
            Ok(taken) => {
                let refused = taken.answer.rejected.iter().map(|rejected| rejected.index).collect();
                self.waiting.push((batch, refused, taken.synced));
            }
            Err(_) => self.gateways.unanswered(&batch, false),
        }
        Ok(())
    }

    /// Records the tenants file. Returns false if the process died in it.
    pub(super) fn note(&mut self) -> Result<bool, String> {
        let (customers, now) = (self.customers(), self.now());
        let anchor = |(tenant, seconds): (&&str, &u64)| {
            let at = Timestamp::from_secs(START_MS / DAY_MS * 86_400 + seconds);
            ((*tenant).to_owned(), Anchor { at, interval: Interval::Day })
        };
        let anchors: HashMap<String, Anchor> = self.plan.anchors.iter().map(anchor).collect();
        let now_ms = self.now_ms;
        let open = |change: &&mut Change| change.noted_ms.is_none();
        for change in self.plan.changes.values_mut().filter_map(|changes| changes.last_mut()).filter(open) {
            change.tried_ms.get_or_insert(now_ms);
        }
        let noted = self.ask(move |ledger| close::note_tenants(ledger, &customers, &anchors, now))?.is_some();
        if noted {
            for change in self.plan.changes.values_mut().filter_map(|changes| changes.last_mut()).filter(open) {
                change.noted_ms = Some(now_ms);
            }
        }
        Ok(noted)
    }

    pub(super) fn report(&mut self) -> Result<(), String> {
        if !self.note()? {
            return Ok(());
        }
        let (policy, now) = (self.policy.clone(), self.now());
        let closed = self.ask(move |ledger| ledger.durably(|db| close::step(db, &policy, now, now)))?;
        self.say(|| format!("closed {closed:?}"));
        let (policy, now) = (self.policy.clone(), self.now());
        self.ask(move |ledger| ledger.durably(|db| close::map_held(db, &policy, now)))?;
        Ok(())
    }
}

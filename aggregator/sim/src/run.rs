//! One seed: sixty days of faults, then a time without, then the checks.
mod summary;
mod traffic;

use std::sync::Arc;

use fastrand::Rng;
use weir_contract::Timestamp;
use weir_disk::{Crash, Disk, Fault};

use super::gateways::Gateways;
use super::machine::{self, Machine};
use super::{oracle, planted};
use weir_clock::{Clock, ManualClock};
use weir_ledger::rebuild::RebuildError;
use weir_ledger::reprice::Request;

pub(super) use summary::Summary;
use traffic::Waiting;

/// 2026-11-21T03:14:15Z.
const START_MS: u64 = 1_795_230_855_000;
const MINUTE_MS: u64 = 60_000;
const DAY_MS: u64 = 24 * 60 * MINUTE_MS;
/// How long bodies stay in the log; longer than ids are remembered.
const RETENTION_MS: u64 = 45 * DAY_MS;
/// How far back costs are computed again; the ledger allows ninety days.
const REPRICED_MS: u64 = 80 * DAY_MS;
/// The length of a world in days; the next constant is its number of steps.
const DAYS: u64 = 60;
const STEPS: u64 = 240;
/// One in this many seeds prunes nothing.
const KEEPS_ALL_EVERY: u64 = 4;
/// The most failed starts: each is a planned fault, and there are few.
const STARTS_MAX: u32 = 40;
/// The most rounds until everything is answered after faults stop.
const PEACE_ROUNDS_MAX: u32 = 2_000;

struct World {
    rng: Rng,
    clock: Arc<ManualClock>,
    /// The true time, which the gateways use.
    now_ms: u64,
    /// The error of the machine's clock, in milliseconds.
    off_ms: i64,
    machine: Option<Machine>,
    gateways: Gateways,
    waiting: Vec<Waiting>,
    summary: Summary,
    /// True if nothing is pruned, so that the log can be counted again at the end.
    keeps_all: bool,
    /// True if there are readings beside events. Worlds with a planted bug have none, because they would only dilute
    /// the events.
    measures: bool,
    trace: bool,
}

/// Runs a seed. The error names the check that fails. With `trace` it prints every step; after a failure also the last
/// operations of the disk.
pub(super) fn run(seed: u64, trace: bool) -> Result<Summary, String> {
    let outcome = World::new(seed, trace).live();
    if trace && outcome.is_err() {
        weir_disk::with(|disk| disk.trace().iter().for_each(|line| println!("{line}")));
    }
    outcome
}

impl World {
    fn new(seed: u64, trace: bool) -> Self {
        weir_disk::seed_sqlite(seed);
        weir_disk::install(Disk::new(seed ^ 0xd15c));
        let mut rng = Rng::with_seed(seed);
        let gateways = Gateways::new(&mut rng);
        World {
            rng,
            clock: ManualClock::at(Timestamp::from_millis(START_MS)),
            now_ms: START_MS,
            off_ms: 0,
            machine: None,
            gateways,
            waiting: Vec::new(),
            summary: Summary::default(),
            keeps_all: seed.is_multiple_of(KEEPS_ALL_EVERY),
            measures: !planted::COUNTING_BUGS.into_iter().any(weir_fault::hit),
            trace,
        }
    }

    fn say(&self, line: impl FnOnce() -> String) {
        if self.trace {
            println!("{} {}", Timestamp::from_millis(self.now_ms), line());
        }
    }

    fn live(mut self) -> Result<Summary, String> {
        for _ in 0..STEPS {
            self.pass_time();
            self.step()?;
            if self.is_over() {
                self.crash();
            }
        }
        self.make_peace()?;
        oracle::check_all(&self.gateways)?;
        self.count_again()?;
        self.summary.sent = self.gateways.count_by(|item| item.attempts() > 0);
        self.summary.acknowledged = self.gateways.count_by(|item| item.accepted > 0);
        self.summary.refused = self.gateways.count_by(|item| item.refused > 0);
        self.summary.unknown = self.gateways.count_by(|item| item.unknown > 0);
        self.summary.conflicts = self.gateways.count_by(|item| item.kind.is_conflict() && item.accepted > 0);
        let disk = weir_disk::with(|disk| (disk.operations(), disk.met().clone()));
        (self.summary.operations, self.summary.met) = disk.unwrap_or_default();
        Ok(self.summary)
    }

    fn pass_time(&mut self) {
        let mean = DAYS * DAY_MS / STEPS;
        // Mostly moments pass, sometimes a long time.
        self.now_ms += if self.rng.u8(..4) == 0 { self.rng.u64(..mean * 8) } else { self.rng.u64(..2 * MINUTE_MS) };
        match self.rng.u8(..50) {
            0 => {
                // Sometimes a machine returns without a clock: it shows a time around 1970.
                let days = if self.rng.u8(..10) == 0 { -30_000 } else { self.rng.i64(-70..70) };
                self.off_ms = days * DAY_MS.cast_signed() + self.rng.i64(0..DAY_MS.cast_signed());
                self.summary.clock_jumps += 1;
                self.say(|| format!("the clock is off by {days} days"));
            }
            1..=12 => self.off_ms = 0,
            _ => {}
        }
        self.set_clock();
    }

    fn set_clock(&self) {
        self.clock.set(Timestamp::from_millis(self.now_ms.saturating_add_signed(self.off_ms)));
    }

    /// Performs one step.
    fn step(&mut self) -> Result<(), String> {
        let Some(machine) = &mut self.machine else { return self.start() };
        match self.rng.u8(..100) {
            0..25 => self.serve(),
            25..52 => self.send(true)?,
            52..70 => machine.write(),
            70..82 => machine.count(),
            82..86 => self.prune(),
            86..92 => self.plan_trouble(),
            92..95 => self.crash(),
            95 => self.fill_the_disk(),
            96 => self.reprice(),
            _ => self.check()?,
        }
        self.collect();
        Ok(())
    }

    fn start(&mut self) -> Result<(), String> {
        for _ in 0..STARTS_MAX {
            match Machine::start(&self.clock) {
                Ok(machine) => {
                    self.machine = Some(machine);
                    return Ok(());
                }
                Err(error) => {
                    let trouble = weir_disk::with(|disk| {
                        let trouble = disk.is_dead() || disk.had_trouble();
                        disk.heal();
                        trouble
                    });
                    self.say(|| format!("does not start: {error}"));
                    if trouble != Some(true) {
                        return Err(format!("it does not start on a healthy disk: {error}"));
                    }
                    self.crash();
                }
            }
        }
        Err("it never starts".to_owned())
    }

    fn is_over(&self) -> bool {
        let dead = weir_disk::with(|disk| disk.is_dead()) == Some(true);
        dead || self.machine.as_ref().is_some_and(|machine| machine.over)
    }

    /// Ends the process in the middle of its work.
    fn crash(&mut self) {
        weir_disk::with(Disk::die);
        // Answers given before the end have been received.
        self.collect();
        self.machine = None;
        for waiting in std::mem::take(&mut self.waiting) {
            self.gateways.unanswered(&waiting.batch, true);
        }
        // After a failed sync readers may see content that is not durable; only a loss of power reveals it.
        let crash = match weir_disk::with(|disk| disk.sync_failed()) == Some(true) || self.rng.bool() {
            true => Crash::PowerLoss,
            false => Crash::Kill,
        };
        match crash {
            Crash::Kill => self.summary.kills += 1,
            Crash::PowerLoss => self.summary.power_losses += 1,
        }
        self.say(|| format!("{crash:?}"));
        weir_disk::with(|disk| disk.restart(crash));
    }

    fn plan_trouble(&mut self) {
        let after = self.rng.u64(..30);
        if self.rng.u8(..3) == 0 {
            self.say(|| format!("dies in disk operation {after} from here"));
            weir_disk::with(|disk| disk.set_fuse(after));
        } else {
            let fault = Fault::ALL[self.rng.usize(..Fault::ALL.len())];
            let after = if fault == Fault::SyncFails { after / 8 } else { after };
            self.say(|| format!("{fault:?} in disk operation {after} of its kind from here"));
            self.summary.faults += 1;
            weir_disk::with(|disk| disk.plan(fault, after));
        }
    }

    fn fill_the_disk(&mut self) {
        let full = self.rng.bool();
        self.summary.faults += u64::from(full);
        self.say(|| format!("disk full: {full}"));
        weir_disk::with(|disk| disk.set_full(full));
    }

    fn prune(&mut self) {
        let Some(machine) = &mut self.machine else { return };
        if self.keeps_all {
            return;
        }
        let before = self.now_ms.saturating_add_signed(self.off_ms).saturating_sub(RETENTION_MS);
        let pruned = machine.prune(Timestamp::from_millis(before));
        self.summary.pruned += pruned.unwrap_or(0) as u64;
        self.say(|| format!("pruned {pruned:?}"));
    }

    /// Computes costs again by the same prices: no sum changes, also where it ends midway.
    fn reprice(&mut self) {
        let Some(machine) = &mut self.machine else { return };
        let now = self.clock.now();
        let from = Timestamp::from_millis(now.as_millis().saturating_sub(REPRICED_MS));
        let request = Request { from, who: "sim".to_owned(), why: "a check".to_owned(), dry_run: false };
        let repriced = matches!(machine.ask(move |ledger| ledger.reprice(now, &request)), Some(Ok(Ok(_))));
        self.summary.repriced += u64::from(repriced);
        self.say(|| format!("priced again: {repriced}"));
    }

    /// Checks the tables in the middle of a run.
    fn check(&mut self) -> Result<(), String> {
        weir_disk::with(Disk::heal);
        oracle::check_upper(&self.gateways)
    }

    /// Stops all faults: the gateways send until everything is answered, and the ledger counts to the end.
    fn make_peace(&mut self) -> Result<(), String> {
        weir_disk::with(Disk::heal);
        self.off_ms = 0;
        self.crash();
        self.start()?;
        self.gateways.hurry();
        for _ in 0..PEACE_ROUNDS_MAX {
            // Time advances past every early event.
            self.now_ms += MINUTE_MS;
            self.set_clock();
            self.send(false)?;
            if self.measures {
                self.send_readings(false)?;
            }
            let Some(machine) = &mut self.machine else { return Err("no machine".to_owned()) };
            machine.write();
            machine.count();
            let (done, failure) = (machine.caught_up() && self.gateways.is_done(), machine.failure());
            self.collect();
            if let Some(failure) = failure {
                return Err(format!("the ledger does not follow though nothing fails: {failure}"));
            }
            if done && self.waiting.is_empty() {
                return self.finish();
            }
        }
        Err("not everything is answered though nothing fails".to_owned())
    }

    /// Counts the log again and compares, if the log is complete.
    fn count_again(&mut self) -> Result<(), String> {
        self.machine = None;
        match machine::differences(&self.clock) {
            Ok(differences) if differences.is_empty() => {
                self.summary.rebuilt += 1;
                Ok(())
            }
            Ok(differences) => Err(format!("the log and the ledger do not agree: {differences:?}")),
            Err(RebuildError::Pruned(_)) => Ok(()),
            Err(error) => Err(format!("the log cannot be counted again: {error}")),
        }
    }

    fn finish(&mut self) -> Result<(), String> {
        self.now_ms += 3 * DAY_MS;
        self.set_clock();
        let Some(machine) = &mut self.machine else { return Err("no machine".to_owned()) };
        machine.count();
        if machine.caught_up() { Ok(()) } else { Err("the ledger stops short of the log's end".to_owned()) }
    }
}

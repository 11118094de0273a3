//! One seed of the billing simulator.
mod calls;
mod follow;
mod peace;
mod people;
mod process;
mod restore;
mod summary;

use std::collections::BTreeMap;
use std::sync::Arc;

use fastrand::Rng;
use weir_contract::Timestamp;
use weir_disk::Disk;

use self::calls::Flight;
use self::restore::{Backup, Schedule};
pub(super) use self::summary::Summary;
use super::plan::{DAY_MS, HOUR_MS, Plan};
use super::provider::Provider;
use super::{UNDER_WAY_MAX_MS, reckoning};
use crate::gateways::Gateways;
use crate::machine::Machine;
use weir_billing::outbox::policy::{BillingPolicy, Late};
use weir_billing::outbox::rows::Claimed;
use weir_billing::{Account, Answer, ProviderMessage};
use weir_clock::ManualClock;

/// 2026-11-21T03:14:15Z.
const START_MS: u64 = 1_795_230_855_000;
const MINUTE_MS: u64 = 60_000;
const STEPS: u64 = 500;
/// The most calls under way at once.
const CONCURRENCY: usize = 3;

/// The state of rows, by number.
type Rows = BTreeMap<i64, String>;

/// A body that waits for its answer: its items, those of them that are refused, and the receiver.
type Waiting = (Vec<usize>, Vec<usize>, tokio::sync::oneshot::Receiver<weir_event_log::writer::Appended>);

pub(super) struct World {
    rng: Rng,
    clock: Arc<ManualClock>,
    now_ms: u64,
    machine: Option<Machine>,
    life: u64,
    /// True until the ledger of this process has answered once.
    fresh: bool,
    policy: BillingPolicy,
    gateways: Gateways,
    waiting: Vec<Waiting>,
    plan: Plan,
    provider: Provider,
    flights: Vec<Flight>,
    /// Answers that the machine has received and not settled.
    heard: Vec<(Claimed, Answer)>,
    rows: Rows,
    summary: Summary,
    /// The longest pause between steps, in milliseconds.
    pause_ms: u64,
    schedule: Option<Schedule>,
    backup: Option<Backup>,
    /// Identifies the ledger's file.
    file: String,
    /// True if the ledger was restored and no process has taken over since.
    returning: bool,
    calm: bool,
    trace: bool,
}

impl World {
    pub(super) fn new(seed: u64, trace: bool) -> Self {
        weir_disk::seed_sqlite(seed);
        weir_disk::install(Disk::new(seed ^ 0xb111));
        let mut rng = Rng::with_seed(seed ^ 0x5f3c_0000);
        let (gateways, plan) = (Gateways::new(&mut rng), Plan::new(&mut rng));
        let policy = BillingPolicy {
            ledger: String::new(),
            account: Account { id: "acct_sim".to_owned(), livemode: true },
            event_names: plan.event_names(),
            grace_ms: 10 * MINUTE_MS,
            invoice_delay_ms: plan.invoice_delay_ms,
            late: if plan.holds_late { Late::Hold } else { Late::NextPeriod },
            epoch: 0,
        };
        let schedule = Schedule::new(&mut rng);
        // In hasty worlds rows are sent again within minutes, while the provider still knows their identifiers.
        let pause_ms = if rng.u8(..4) == 0 { 20 * MINUTE_MS } else { 3 * HOUR_MS };
        let provider = Provider { lag_ms: rng.u64(..50) * MINUTE_MS, ..Provider::default() };
        World {
            rng,
            clock: ManualClock::at(Timestamp::from_millis(START_MS)),
            now_ms: START_MS,
            machine: None,
            life: 0,
            fresh: true,
            policy,
            gateways,
            waiting: Vec::new(),
            plan,
            provider,
            flights: Vec::new(),
            heard: Vec::new(),
            rows: Rows::new(),
            summary: Summary::default(),
            pause_ms,
            schedule,
            backup: None,
            file: "the file".to_owned(),
            returning: false,
            calm: false,
            trace,
        }
    }

    fn say(&self, line: impl FnOnce() -> String) {
        if self.trace {
            println!("{} {}", self.now(), line());
        }
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.now_ms)
    }

    pub(super) fn live(mut self) -> Result<Summary, String> {
        for step in 0..STEPS {
            let wait =
                if self.rng.u8(..5) == 0 { self.rng.u64(..self.pause_ms) } else { self.rng.u64(..3 * MINUTE_MS) };
            self.pass_time(wait);
            if !self.back_up_or_restore(step) {
                self.step()?;
            }
            if self.is_over() {
                self.crash();
            }
        }
        self.make_peace()?;
        reckoning::check(&self.gateways.items, &self.plan, &self.provider)?;
        let answers = std::mem::take(&mut self.provider.answers);
        answers.iter().for_each(|(what, n)| *self.summary.counts.entry(what).or_default() += n);
        Ok(self.summary)
    }

    fn pass_time(&mut self, by_ms: u64) {
        self.now_ms += by_ms;
        self.clock.set(self.now());
        // Calls that have been under way for too long are lost.
        for flight in self.flights.iter_mut().filter(|flight| flight.answer.is_none()) {
            if flight.began_ms + UNDER_WAY_MAX_MS < self.now_ms {
                let message = ProviderMessage { detail: "no answer".to_owned(), request_id: None };
                flight.answer = Some(Answer::Unsure { message, after: None, key_used_up: false });
            }
        }
        self.flights.retain(|flight| flight.life == self.life || flight.answer.is_none());
    }

    fn step(&mut self) -> Result<(), String> {
        if self.machine.is_none() {
            return self.start();
        }
        match self.rng.u8(..100) {
            0..14 => self.gateways.serve(&mut self.rng, self.now_ms),
            14..28 => self.send()?,
            28..36 => self.with_machine(Machine::write),
            36..44 => self.with_machine(Machine::count),
            44..54 => self.report()?,
            54..70 => self.turn()?,
            70..80 => self.arrive()?,
            80..88 => self.hear(),
            88..91 => self.look()?,
            91 => self.crash(),
            92 => self.replace_sender()?,
            93 => {
                let after = self.rng.u64(..60);
                weir_disk::with(|disk| disk.set_fuse(after));
            }
            94 => self.remap(),
            95 | 96 => self.adjust()?,
            97 => self.gateways.hurry(),
            98 => self.lose_customers(),
            _ if self.rng.u8(..3) == 0 => self.settle_held()?,
            _ => self.retry_held()?,
        }
        self.collect();
        Ok(())
    }

    fn with_machine(&mut self, what: impl FnOnce(&mut Machine)) {
        if let Some(machine) = &mut self.machine {
            what(machine);
        }
    }
}

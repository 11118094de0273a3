//! One seed of the reporting.
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use fastrand::Rng;
use rusqlite::Connection;
use tokio::sync::oneshot::error::TryRecvError;
use weir_contract::Timestamp;
use weir_disk::{Crash, Disk};

use super::plan::{Adjustment, Change, DAY_MS, HOUR_MS, Plan, TENANTS};
use super::provider::Provider;
use super::{UNDER_WAY_MAX_MS, reckoning};
use crate::accept::Format;
use crate::api::AdjustRequest;
use crate::billing::{Account, Answer, Said};
use crate::clock::ManualClock;
use crate::ledger::{LedgerError, SqliteLedger};
use crate::outbox::close::{self, Late, Terms};
use crate::outbox::periods::{Anchor, Interval};
use crate::outbox::rows::{self, Claimed};
use crate::outbox::{held, look, sender};
use crate::sim::gateways::Gateways;
use crate::sim::machine::Machine;

/// 2026-11-21T03:14:15Z.
const START_MS: u64 = 1_795_230_855_000;
const MINUTE_MS: u64 = 60_000;
const STEPS: u64 = 500;
/// Calls under way at once.
const CONCURRENCY: usize = 3;
/// In how many rounds everything must be settled once nothing fails any more.
const PEACE_ROUNDS_MAX: u32 = 1_500;
const STARTS_MAX: u32 = 40;

/// How rows stand, by number.
type Rows = BTreeMap<i64, String>;

/// What a seed went through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) transitions: BTreeMap<(String, String), u64>,
    counts: BTreeMap<&'static str, u64>,
}

impl Summary {
    pub(super) fn add(&mut self, other: &Summary) {
        other.transitions.iter().for_each(|(step, n)| *self.transitions.entry(step.clone()).or_default() += n);
        other.counts.iter().for_each(|(what, n)| *self.counts.entry(what).or_default() += n);
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    /// Whether a transition came up.
    pub(super) fn has(&self, step: &(&str, &str)) -> bool {
        self.transitions.contains_key(&(step.0.to_owned(), step.1.to_owned()))
    }

    pub(super) fn reached_everything(&self) -> bool {
        let kinds = [
            "kill",
            "power loss",
            "replaced",
            "remapped",
            "adjusted",
            "outage",
            "duplicate",
            "replay",
            "split hour",
            "looked",
        ];
        kinds.iter().all(|kind| self.counts.get(kind).is_some_and(|count| *count > 0))
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = |(what, count): (&&str, &u64)| format!("{count} {what}");
        write!(f, "{}", self.counts.iter().map(words).collect::<Vec<_>>().join(", "))
    }
}

/// A call under way.
struct Flight {
    claimed: Claimed,
    /// Of which process.
    life: u64,
    began_ms: u64,
    answer: Option<Answer>,
}

/// A body that waits for its answer: which items, which of them are refused.
type Waiting = (Vec<usize>, Vec<usize>, tokio::sync::oneshot::Receiver<crate::log::writer::Appended>);

pub(super) struct World {
    rng: Rng,
    clock: Arc<ManualClock>,
    now_ms: u64,
    machine: Option<Machine>,
    life: u64,
    /// Whether nothing was heard of this process yet.
    fresh: bool,
    terms: Terms,
    gateways: Gateways,
    waiting: Vec<Waiting>,
    plan: Plan,
    provider: Provider,
    flights: Vec<Flight>,
    /// Answers that the machine has heard.
    heard: Vec<(Claimed, Answer)>,
    rows: Rows,
    summary: Summary,
    calm: bool,
    trace: bool,
}

impl World {
    pub(super) fn new(seed: u64, trace: bool) -> Self {
        weir_disk::seed_sqlite(seed);
        weir_disk::install(Disk::new(seed ^ 0xb111));
        let mut rng = Rng::with_seed(seed ^ 0x5f3c_0000);
        let (gateways, plan) = (Gateways::new(&mut rng), Plan::new(&mut rng));
        let terms = Terms {
            ledger: String::new(),
            account: Account { id: "acct_sim".to_owned(), livemode: true },
            event_names: plan.event_names(),
            grace_ms: 10 * MINUTE_MS,
            invoice_delay_ms: plan.invoice_delay_ms,
            late: if plan.holds_late { Late::Hold } else { Late::NextPeriod },
            epoch: 0,
        };
        let provider = Provider { lag_ms: rng.u64(..50) * MINUTE_MS, ..Provider::default() };
        World {
            rng,
            clock: ManualClock::at(Timestamp::from_millis(START_MS)),
            now_ms: START_MS,
            machine: None,
            life: 0,
            fresh: true,
            terms,
            gateways,
            waiting: Vec::new(),
            plan,
            provider,
            flights: Vec::new(),
            heard: Vec::new(),
            rows: Rows::new(),
            summary: Summary::default(),
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
        for _ in 0..STEPS {
            let wait = if self.rng.u8(..5) == 0 { self.rng.u64(..3 * HOUR_MS) } else { self.rng.u64(..3 * MINUTE_MS) };
            self.pass_time(wait);
            self.step()?;
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
        // What has been on its way for too long is lost.
        for flight in self.flights.iter_mut().filter(|flight| flight.answer.is_none()) {
            if flight.began_ms + UNDER_WAY_MAX_MS < self.now_ms {
                let said = Said { detail: "no answer".to_owned(), request_id: None };
                flight.answer = Some(Answer::Unsure { said, after: None, key_used_up: false });
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

    fn start(&mut self) -> Result<(), String> {
        for _ in 0..STARTS_MAX {
            match Machine::start(&self.clock) {
                Ok(machine) => {
                    self.machine = Some(machine);
                    self.life += 1;
                    self.fresh = true;
                    if self.take_over()? {
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

    /// As a reporter begins. False if the process died in it.
    fn take_over(&mut self) -> Result<bool, String> {
        let now = self.now();
        let taken = self.ask(move |ledger| {
            let epoch = ledger.durably(|db| sender::take_over(db, "the file", now))?;
            Ok((epoch, ledger.id().to_owned()))
        })?;
        let Some((epoch, id)) = taken else { return Ok(false) };
        (self.terms.epoch, self.terms.ledger) = (epoch, id);
        self.note()
    }

    /// Another process takes over while this one goes on: what it hears and wants changes nothing any more.
    fn replace_sender(&mut self) -> Result<(), String> {
        let (old, heard, now) = (self.terms.clone(), std::mem::take(&mut self.heard), self.now());
        self.life += 1;
        if self.machine.is_none() || !self.take_over()? {
            return Ok(());
        }
        self.summary.count("replaced");
        let went_on =
            self.ask(move |ledger| match ledger.durably(|db| rows::turn(db, &old, &heard, CONCURRENCY, now)) {
                Ok(_) => Ok(true),
                Err(LedgerError::Fenced) => Ok(false),
                Err(error) => Err(error),
            })?;
        if went_on == Some(true) { Err("a sender that was replaced goes on".to_owned()) } else { Ok(()) }
    }

    /// Has the ledger do something and sees what became of the rows. None if the process ended in it.
    fn ask<T: Send + 'static>(
        &mut self,
        call: impl FnOnce(&mut SqliteLedger) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<Option<T>, String> {
        let Some(machine) = &mut self.machine else { return Ok(None) };
        // A process that has just started may find what the one before it did not live to tell.
        let since_ms = if self.fresh { 0 } else { self.now_ms.saturating_sub(1) };
        let both = machine.ask(move |ledger| {
            let before = written(ledger.db())?;
            let done = call(ledger)?;
            let rows = if written(ledger.db())? == before { Rows::new() } else { snapshot(ledger.db(), since_ms)? };
            Ok((done, rows))
        });
        self.fresh &= !matches!(both, Some(Ok(_)));
        match both {
            Some(Ok((done, rows))) => {
                self.follow(rows)?;
                Ok(Some(done))
            }
            Some(Err(error)) if weir_disk::with(|disk| disk.is_dead()) != Some(true) => {
                Err(format!("refused: {error}"))
            }
            _ => Ok(None),
        }
    }

    /// Counts transitions.
    fn follow(&mut self, rows: Rows) -> Result<(), String> {
        for (id, now) in &rows {
            let before = self.rows.get(id).cloned().unwrap_or_default();
            if before == *now {
                continue;
            }
            if before == "reported" {
                return Err(format!("row {id} was reported and is {now}"));
            }
            self.say(|| format!("row {id}: {before} -> {now}"));
            *self.summary.transitions.entry((before, now.clone())).or_default() += 1;
        }
        self.rows.extend(rows);
        Ok(())
    }

    fn is_over(&self) -> bool {
        let dead = weir_disk::with(|disk| disk.is_dead()) == Some(true);
        dead || self.machine.as_ref().is_some_and(|machine| machine.over)
    }

    fn crash(&mut self) {
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

    /// Hears of what was appended.
    fn collect(&mut self) {
        for (batch, refused, mut synced) in std::mem::take(&mut self.waiting) {
            match synced.try_recv() {
                Ok(Ok(_)) => self.gateways.answered(&batch, &refused),
                Err(TryRecvError::Empty) => self.waiting.push((batch, refused, synced)),
                Ok(Err(_)) | Err(TryRecvError::Closed) => self.gateways.unanswered(&batch, true),
            }
        }
    }

    fn send(&mut self) -> Result<(), String> {
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

    /// What the tenants file says now.
    fn customers(&self) -> HashMap<String, String> {
        let latest =
            |(tenant, changes): (&&str, &Vec<Change>)| Some(((*tenant).to_owned(), changes.last()?.customer.clone()?));
        self.plan.changes.iter().filter_map(latest).collect()
    }

    /// False if the process died in it.
    fn note(&mut self) -> Result<bool, String> {
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
        let noted = self.ask(move |ledger| ledger.note_tenants(&customers, &anchors, now))?.is_some();
        if noted {
            for change in self.plan.changes.values_mut().filter_map(|changes| changes.last_mut()).filter(open) {
                change.noted_ms = Some(now_ms);
            }
        }
        Ok(noted)
    }

    fn report(&mut self) -> Result<(), String> {
        if !self.note()? {
            return Ok(());
        }
        let (terms, now) = (self.terms.clone(), self.now());
        let closed = self.ask(move |ledger| ledger.durably(|db| close::step(db, &terms, now, now)))?;
        self.say(|| format!("closed {closed:?}"));
        let (terms, now) = (self.terms.clone(), self.now());
        self.ask(move |ledger| ledger.durably(|db| close::map_held(db, &terms, now)))?;
        Ok(())
    }

    fn turn(&mut self) -> Result<(), String> {
        let (terms, now, heard) = (self.terms.clone(), self.now(), std::mem::take(&mut self.heard));
        let flying = self.flights.iter().filter(|flight| flight.life == self.life).count();
        let want = CONCURRENCY.saturating_sub(flying);
        let claimed = self.ask(move |ledger| ledger.durably(|db| rows::turn(db, &terms, &heard, want, now)))?;
        for claimed in claimed.unwrap_or_default() {
            let same = |flight: &&Flight| flight.life == self.life && flight.claimed.lane() == claimed.lane();
            if let Some(other) = self.flights.iter().find(same) {
                return Err(format!("two calls at once for {:?}", other.claimed.lane()));
            }
            self.say(|| format!("sends {} as {}", claimed.id, claimed.event.idempotency_key));
            self.flights.push(Flight { claimed, life: self.life, began_ms: self.now_ms, answer: None });
        }
        Ok(())
    }

    /// Some calls arrive, in any order, also of processes that are gone.
    fn arrive(&mut self) -> Result<(), String> {
        for _ in 0..self.rng.usize(1..4) {
            let open: Vec<usize> = (0..self.flights.len()).filter(|at| self.flights[*at].answer.is_none()).collect();
            if open.is_empty() {
                break;
            }
            let flight = &mut self.flights[open[self.rng.usize(..open.len())]];
            let answer = self.provider.call(&mut self.rng, self.now_ms, &flight.claimed.event, self.calm)?;
            if self.trace {
                println!("{} row {} is answered {answer:?}", Timestamp::from_millis(self.now_ms), flight.claimed.id);
            }
            flight.answer = Some(answer);
        }
        if std::mem::take(&mut self.provider.struck) && self.rng.u8(..3) == 0 {
            self.summary.count("outage");
            self.provider.down_until_ms = self.now_ms + self.rng.u64(DAY_MS..2 * DAY_MS);
        }
        Ok(())
    }

    /// Some answers come back.
    fn hear(&mut self) {
        let life = self.life;
        let mut index = 0;
        while index < self.flights.len() {
            let flight = &self.flights[index];
            if flight.life == life && flight.answer.is_some() && (self.calm || self.rng.u8(..3) > 0) {
                let flight = self.flights.swap_remove(index);
                if let Some(answer) = flight.answer {
                    self.heard.push((flight.claimed, answer));
                }
            } else {
                index += 1;
            }
        }
    }

    fn look(&mut self) -> Result<(), String> {
        let now = self.now();
        let Some(looks) = self.ask(move |ledger| look::due(ledger.db(), now, 50))? else { return Ok(()) };
        for hour in looks {
            let sum = self.provider.summary(self.now_ms, &hour.customer, &hour.event_name, hour.hour.as_secs());
            self.say(|| format!("looks at {hour:?}: {sum:?}"));
            self.summary.count("looked");
            let (terms, now) = (self.terms.clone(), self.now());
            let looked = self.ask(move |ledger| ledger.durably(|db| look::looked(db, &terms, &hour, sum, now)))?;
            if looked.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn remap(&mut self) {
        let tenant = TENANTS[self.rng.usize(..TENANTS.len())];
        let Some(changes) = self.plan.changes.get_mut(tenant) else { return };
        if changes.last().is_some_and(|change| change.noted_ms.is_none()) {
            return;
        }
        let customer = (self.rng.u8(..4) > 0).then(|| format!("cus_{tenant}_{}", changes.len()));
        if customer.is_none() && changes.last().is_some_and(|change| change.customer.is_none()) {
            return;
        }
        changes.push(Change { customer, tried_ms: None, noted_ms: None });
        self.summary.count("remapped");
    }

    fn adjust(&mut self) -> Result<(), String> {
        let (tenant, at_ms) = (TENANTS[self.rng.usize(..3)], self.now_ms - self.rng.u64(..2 * DAY_MS));
        let meter = if self.rng.bool() { "requests" } else { "input_tokens" };
        let value = self.rng.i64(1..300) * if self.rng.u8(..3) == 0 { 1 } else { -1 };
        let why = format!("correction {}", self.plan.adjustments.len());
        let at_ms = at_ms / HOUR_MS * HOUR_MS + self.rng.u64(..HOUR_MS);
        let at_ms = at_ms.min(self.now_ms);
        let request = AdjustRequest {
            tenant: tenant.to_owned(),
            meter: meter.to_owned(),
            window: Timestamp::from_millis(at_ms),
            value,
            why: why.clone(),
        };
        let (terms, now) = (self.terms.clone(), self.now());
        let acknowledged = self.ask(move |ledger| ledger.adjust(&terms, &request, "the simulator", now))?.is_some();
        let (tenant, meter) = (tenant.to_owned(), meter.to_owned());
        self.plan.adjustments.push(Adjustment { tenant, meter, at_ms, value, why, acknowledged });
        self.summary.count("adjusted");
        Ok(())
    }

    fn lose_customers(&mut self) {
        let mut all: Vec<String> = self.customers().into_values().collect();
        all.sort();
        all.retain(|_| self.rng.u8(..3) == 0);
        self.provider.gone = all;
    }

    fn retry_held(&mut self) -> Result<(), String> {
        let (terms, now) = (self.terms.clone(), self.now());
        self.ask(move |ledger| ledger.durably(|db| held::retry(db, &terms, now)))?;
        Ok(())
    }

    /// Nothing fails any more, and people let go what is held: all is settled in the end.
    fn make_peace(&mut self) -> Result<(), String> {
        weir_disk::with(Disk::heal);
        self.calm = true;
        self.provider.gone.clear();
        self.provider.down_until_ms = 0;
        self.crash();
        self.start()?;
        if self.rng.bool() {
            self.plan.holds_late = false;
            self.terms.late = Late::NextPeriod;
        }
        for (days, rounds) in [(0, PEACE_ROUNDS_MAX), (3, PEACE_ROUNDS_MAX)] {
            self.pass_time(days * DAY_MS);
            self.gateways.hurry();
            self.settle(rounds)?;
        }
        Ok(())
    }

    fn settle(&mut self, rounds: u32) -> Result<(), String> {
        while !(self.gateways.is_done() && self.waiting.is_empty()) {
            self.pass_time(5_000);
            self.send()?;
            self.with_machine(Machine::write);
            self.with_machine(Machine::count);
            self.collect();
        }
        // Every window is over then.
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
                return self.retried_in_vain();
            }
        }
        let open: Rows =
            self.rows.iter().filter(|(_, row)| *row != "reported").map(|(id, row)| (*id, row.clone())).collect();
        Err(format!("not everything is settled though nothing fails: {open:?}"))
    }

    /// Whether some row waits for no person.
    fn is_moving(&self) -> bool {
        let moving = ["pending", "sent", "again", "unsure"];
        !self.heard.is_empty() || self.rows.values().any(|row| moving.contains(&row.as_str()))
    }

    /// Nothing waits but for people. An hour that was read four times in peace is beyond what reading can settle.
    fn is_settled(&mut self) -> Result<bool, String> {
        if self.is_moving() {
            return Ok(false);
        }
        let looks = self.ask(|ledger| {
            Ok(ledger.db().query_row("SELECT count(*) FROM look WHERE reads < 4", [], |row| row.get::<_, i64>(0))?)
        })?;
        Ok(looks == Some(0))
    }

    fn retried_in_vain(&mut self) -> Result<(), String> {
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

/// How many rows of any table this process has written.
fn written(db: &Connection) -> Result<i64, LedgerError> {
    Ok(db.prepare_cached("SELECT total_changes()")?.query_row([], |row| row.get(0))?)
}

/// How the rows stand that may have changed: those that are not taken, or were since then.
fn snapshot(db: &Connection, since_ms: u64) -> Result<Rows, LedgerError> {
    let mut select = db.prepare_cached(
        "SELECT id, CASE WHEN state = 'held' THEN 'held ' || reason WHEN state = 'reported' THEN state
           WHEN in_flight IS NOT NULL THEN 'sent' WHEN unsure_at IS NOT NULL THEN 'unsure' WHEN attempts > 0 THEN 'again'
           ELSE 'pending' END FROM outbox WHERE state <> 'reported' OR reported_at >= ?1",
    )?;
    let rows = select.query_map([since_ms.cast_signed()], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

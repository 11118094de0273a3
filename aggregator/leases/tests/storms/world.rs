//! Gateways, a network and a center, in one thread and one order of events.
mod faults;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use weir_contract::TenantId;
use weir_contract::lease::{Answer, Call, Draw, DrawCall, Key, LeaseState, Owner, Report};
use weir_leases::{Center, Checkpoint, Timing};
use weir_seeded::SplitMix64;

use super::gateway::{Gateway, GatewayBug, Verdict};
use super::oracle::Oracle;
use super::plan::{Demand, Focus, Plan, Weather};

/// How often a gateway ticks.
const TICK_MS: u64 = 1_000;
/// How long a gateway waits for the answer to a draw.
const DRAW_MAX_MS: u64 = 2_000;

/// How long a pulse of demand lasts.
const PULSE_MS: u64 = 1_200;

enum Event {
    Arrival,
    Tick(usize),
    /// The last is what the gateway gave back of reservations by then.
    CallArrives(usize, u64, Call, u64),
    AnswerArrives(usize, u64, Answer),
    DrawArrives(usize, u64, DrawCall, u64),
    /// The last says whether the oracle saw the draw.
    Settles(usize, u64, u64, u64, bool),
    Fault,
    Heals(usize),
    /// The replica has everything up to here.
    Replicates,
    FailsOver,
}

/// One gateway's machine: its process, clock and network.
struct Machine {
    gateway: Gateway,
    /// The process's number: answers to an earlier process are nobody's.
    process: u64,
    /// Added to the true time.
    offset_ms: i64,
    /// Milliseconds gained or lost in a thousand seconds.
    drift_ppm: i64,
    stepped_back_ms: u64,
    partitioned: bool,
    paused: bool,
}

/// What passed between the center and one lease.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// The first answer.
    began_ms: u64,
    /// What it was last granted.
    granted: u64,
    /// What came back of its gateway's reservations.
    unused: Option<u64>,
}

/// What a seed did.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) admitted: u64,
    pub(crate) ideal: u64,
    pub(crate) arrived: u64,
    pub(crate) slow: u64,
    pub(crate) refused: u64,
    /// Units granted in the interval that a fail-over lost, and the most that was admitted beyond the bucket.
    pub(crate) lost: u64,
    pub(crate) over: u64,
}

pub(crate) struct World {
    plan: Plan,
    random: SplitMix64,
    now: u64,
    events: BinaryHeap<Reverse<(u64, u64, usize)>>,
    queue: Vec<Option<Event>>,
    machines: Vec<Machine>,
    center: Center,
    /// The state a fail-over goes back to, when it was, and what was granted since.
    replica: (Checkpoint, u64, u64),
    seen: HashMap<(String, u64), Seen>,
    center_down: bool,
    oracle: Oracle,
    ideal: Oracle,
    judged: bool,
    bug: Option<GatewayBug>,
    /// Whether the center restarts from a checkpoint that lacks its last grants.
    bad_restore: bool,
    told: bool,
    pub(crate) outcome: Outcome,
}

/// The true time at which every seed starts.
const START_MS: u64 = 1_800_000_000_000;

impl World {
    pub(crate) fn new(plan: Plan, mut random: SplitMix64, bug: Option<GatewayBug>, bad_restore: bool) -> Self {
        let center = Center::new(1, START_MS, Timing::default());
        let strict = plan.smaller.as_ref().unwrap_or(&plan.definition).clone();
        let oracle = Oracle::new(strict.capacity, strict.refill, strict.period_ms);
        let machines = (0..plan.gateways).map(|index| machine(&plan, index, 0, bug, &mut random)).collect();
        let replica = (center.checkpoint(), 0, 0);
        let judged = plan.smaller.is_none();
        let ideal = oracle.clone();
        let mut world = World {
            plan,
            random,
            now: 0,
            events: BinaryHeap::new(),
            queue: Vec::new(),
            machines,
            center,
            replica,
            seen: HashMap::new(),
            center_down: false,
            oracle,
            ideal,
            judged,
            bug,
            bad_restore,
            told: std::env::var_os("WEIR_LEASES_SEED").is_some(),
            outcome: Outcome::default(),
        };
        world.at(0, Event::Arrival);
        for index in 0..world.machines.len() {
            let first = world.random.below(TICK_MS);
            world.at(first, Event::Tick(index));
        }
        if world.plan.weather == Weather::Storm {
            world.at(2_000, Event::Fault);
        }
        if let Some(lag_ms) = world.plan.lag_ms {
            let at = 20_000 + world.random.below(60_000);
            world.at(at - lag_ms, Event::Replicates);
            world.at(at, Event::FailsOver);
        }
        world
    }

    fn at(&mut self, time: u64, event: Event) {
        self.queue.push(Some(event));
        self.events.push(Reverse((time, self.queue.len() as u64, self.queue.len() - 1)));
    }

    /// Runs to the end. The error says what the oracle saw.
    pub(crate) fn run(mut self) -> Result<Outcome, String> {
        while let Some(Reverse((time, _, place))) = self.events.pop() {
            if time > self.plan.length_ms {
                break;
            }
            self.now = time;
            let Some(event) = self.queue[place].take() else { continue };
            self.happen(event)?;
        }
        self.outcome.admitted = self.oracle.admitted;
        self.outcome.ideal = self.ideal.admitted;
        self.outcome.over = self.oracle.over;
        Ok(self.outcome)
    }

    /// Prints a step of a single seed.
    fn tell(&self, step: impl FnOnce(u64) -> String) {
        if self.told {
            println!("{}", step(self.now));
        }
    }

    fn happen(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Arrival => self.arrival()?,
            Event::Tick(index) => {
                self.at(self.now + TICK_MS, Event::Tick(index));
                self.maybe_call(index, true);
            }
            Event::CallArrives(index, process, call, unused) => self.call_arrives(index, process, &call, unused),
            Event::AnswerArrives(index, process, answer) => {
                let now = self.local(index);
                let machine = &mut self.machines[index];
                if machine.process == process && !machine.paused {
                    machine.gateway.apply(&answer, answer.leases[0], now);
                }
            }
            Event::DrawArrives(index, process, call, sent) => self.draw_arrives(index, process, &call, sent)?,
            Event::Settles(index, process, drawn, used, judged) => {
                let machine = &mut self.machines[index];
                if machine.process == process {
                    let back = machine.gateway.settle(drawn, used);
                    self.oracle.settle(drawn, used, judged, self.now);
                    self.oracle.give_back(back, self.now);
                }
            }
            Event::Fault => {
                let next = self.now + 500 + self.random.below(6_000);
                self.at(next, Event::Fault);
                self.fault();
            }
            Event::Replicates => self.replica = (self.center.checkpoint(), self.now, 0),
            Event::FailsOver => self.fail_over(),
            Event::Heals(index) => {
                if let Some(machine) = self.machines.get_mut(index) {
                    (machine.partitioned, machine.paused) = (false, false);
                } else {
                    self.center_down = false;
                }
            }
        }
        Ok(())
    }

    /// A gateway's own time.
    fn local(&self, index: usize) -> u64 {
        let machine = &self.machines[index];
        let true_ms = i64::try_from(START_MS + self.now).expect("a time");
        let drift = i64::try_from(self.now).expect("a time") * machine.drift_ppm / 1_000_000;
        u64::try_from(true_ms + drift + machine.offset_ms).expect("a time")
    }

    fn arrival(&mut self) -> Result<(), String> {
        let mean = (1_000 / self.plan.rate).max(1);
        let mut next = self.now + 1 + self.random.below(2 * mean);
        if let Demand::Pulses(length) = self.plan.demand
            && next % length > PULSE_MS
        {
            next += length - next % length;
        }
        self.at(next, Event::Arrival);
        let index = self.chosen();
        let cost = match self.plan.settles {
            true => 1 + self.random.below(self.plan.cost),
            false => self.plan.cost,
        };
        self.outcome.arrived += 1;
        if self.ideal.has(cost, self.now) {
            self.ideal.draw(cost, self.now)?;
        }
        if self.machines[index].paused {
            return Ok(());
        }
        let now = self.local(index);
        match self.machines[index].gateway.request(cost, now) {
            Verdict::Admitted => self.admitted(index, cost)?,
            Verdict::Ask => {
                self.outcome.slow += 1;
                let machine = &self.machines[index];
                let gateway = &machine.gateway;
                let (key, definition, tier) = (gateway.key.clone(), gateway.definition.clone(), gateway.tier.clone());
                let draws = vec![Draw { key, definition, tier, cost }];
                let call = DrawCall { gateway: gateway.name.clone(), draws };
                let (process, sent) = (machine.process, self.now);
                if let Some(time) = self.delivery(index) {
                    self.at(time, Event::DrawArrives(index, process, call, sent));
                }
            }
            Verdict::Refused => self.outcome.refused += 1,
        }
        self.maybe_call(index, false);
        Ok(())
    }

    /// The gateway that the next request comes to.
    fn chosen(&mut self) -> usize {
        let count = self.machines.len();
        match self.plan.demand {
            Demand::Even => self.random.index(count),
            Demand::Skewed if self.random.percent(80) => 0,
            Demand::Skewed => self.random.index(count),
            Demand::Bursts if self.random.percent(90) => usize::try_from(self.now / 7_000).expect("small") % count,
            Demand::Bursts | Demand::Pulses(_) => self.random.index(count),
            Demand::Turns(length) => usize::try_from(self.now / length).expect("small") % count,
        }
    }

    /// A request of that cost is forwarded.
    fn admitted(&mut self, index: usize, cost: u64) -> Result<(), String> {
        let judged = self.judged;
        if judged {
            self.oracle.draw(cost, self.now)?;
        } else {
            self.judge_from();
        }
        if self.plan.settles {
            let later = self.now + 1 + self.random.below(8_000);
            let used = if self.random.percent(3) { cost + 1 } else { self.random.below(cost + 1) };
            let process = self.machines[index].process;
            self.at(later, Event::Settles(index, process, cost, used, judged));
        }
        Ok(())
    }

    /// Where definitions differ, the strictest holds once the center has heard it and the other leases have ended.
    fn judge_from(&mut self) {
        if self.now >= 20_000 {
            self.judged = true;
            self.oracle.restart(self.now);
        }
    }

    fn maybe_call(&mut self, index: usize, tick: bool) {
        let now = self.local(index);
        let machine = &mut self.machines[index];
        if machine.paused || !machine.gateway.should_call(tick, now) {
            return;
        }
        let report: Report = machine.gateway.report(now);
        let (name, draws, process) = (machine.gateway.name.clone(), machine.gateway.draws, machine.process);
        let unused = machine.gateway.unused;
        let call = Call { gateway: name, sent_ms: now, draws, leases: vec![report] };
        call.check().expect("a gateway sends what is in range");
        while let Some(time) = self.delivery(index) {
            self.at(time, Event::CallArrives(index, process, call.clone(), unused));
            if !self.is_repeated() {
                break;
            }
        }
    }

    fn is_repeated(&mut self) -> bool {
        self.plan.weather == Weather::Storm && self.random.percent(6)
    }

    /// When a message arrives, if it does.
    fn delivery(&mut self, index: usize) -> Option<u64> {
        let latency = 1 + self.random.below(2 * self.plan.latency_ms);
        if self.plan.weather == Weather::Calm {
            return Some(self.now + latency);
        }
        if self.machines[index].partitioned || self.random.percent(4) {
            return None;
        }
        let (often, rarely) = if self.plan.focus == Focus::Everything { (4, 1) } else { (14, 6) };
        let late = match self.random.below(100) {
            percent if percent < often => self.random.below(4_000),
            percent if percent < often + rarely => self.random.below(30_000),
            _ => 0,
        };
        Some(self.now + latency + late)
    }

    fn call_arrives(&mut self, index: usize, process: u64, call: &Call, unused: u64) {
        if self.center_down {
            return;
        }
        let answer = self.center.call(call, START_MS + self.now);
        self.tell(|now| format!("{now} call {call:?}\n    {answer:?}"));
        let granted = answer.leases[0].granted;
        let lease = (call.gateway.clone(), call.leases[0].lease);
        let first = Seen { began_ms: answer.at_ms, ..Seen::default() };
        let seen = self.seen.entry(lease).or_insert(first);
        if answer.leases[0].state != LeaseState::Lapsed && call.leases[0].heard_ms >= seen.began_ms {
            let before = seen.unused.unwrap_or(unused);
            seen.unused = Some(unused.max(before));
            self.oracle.give_back(unused.saturating_sub(before), self.now);
        }
        self.replica.2 += granted.saturating_sub(seen.granted);
        seen.granted = granted;
        while let Some(time) = self.delivery(index) {
            self.at(time, Event::AnswerArrives(index, process, answer.clone()));
            if !self.is_repeated() {
                break;
            }
        }
    }

    /// A draw counts when the center draws: the request is forwarded once the answer is back, or never.
    fn draw_arrives(&mut self, index: usize, process: u64, call: &DrawCall, sent: u64) -> Result<(), String> {
        if self.center_down {
            return Ok(());
        }
        let answer = self.center.draw(call, START_MS + self.now);
        self.tell(|now| format!("{now} draw {call:?}\n    {answer:?}"));
        let cost = call.draws[0].cost;
        if let Some(short) = answer.short {
            self.outcome.refused += 1;
            let now = self.local(index);
            self.machines[index].gateway.learn(short.wait_ms.unwrap_or(u64::MAX), now);
            return Ok(());
        }
        self.replica.2 += cost;
        let back = self.delivery(index).filter(|time| *time <= sent + DRAW_MAX_MS);
        if back.is_some() && self.machines[index].process == process {
            self.admitted(index, cost)?;
        }
        Ok(())
    }
}

fn machine(plan: &Plan, index: usize, process: u64, bug: Option<GatewayBug>, random: &mut SplitMix64) -> Machine {
    let owner = if plan.tiers.is_empty() {
        Owner::Tenant(TenantId::new("acme").expect("an id"))
    } else {
        Owner::Pool("provider".into())
    };
    let key = Key { owner, limit: "requests".into(), part: None };
    let tier = (!plan.tiers.is_empty()).then(|| plan.tiers[index % plan.tiers.len()].clone());
    let smaller = plan.smaller.as_ref().filter(|_| index.is_multiple_of(2));
    let definition = smaller.unwrap_or(&plan.definition).clone();
    let mut gateway = Gateway::new(format!("gateway-{index}-{process}"), key, definition, tier, bug);
    gateway.draws = plan.draws;
    gateway.wants_share = plan.share;
    gateway.idle_ms = plan.idle_ms;
    let offset_ms = i64::try_from(random.below(172_800_000)).expect("small") - 86_400_000;
    let drift_ppm = i64::try_from(random.below(400)).expect("small") - 200;
    let (offset_ms, drift_ppm) = if plan.weather == Weather::Calm { (0, 0) } else { (offset_ms, drift_ppm) };
    Machine { gateway, process, offset_ms, drift_ppm, stepped_back_ms: 0, partitioned: false, paused: false }
}

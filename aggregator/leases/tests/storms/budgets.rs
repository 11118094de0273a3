//! Hard budgets over the end of a period: gateways whose clocks differ, requests in flight, raises, kills, messages that are lost,
//! and a center that restarts or forgets. One count for each period says what was used.
use std::collections::BTreeMap;

use weir_contract::TenantId;
use weir_contract::lease::{Call, Definition, Draw, DrawCall, Key, Owner};
use weir_leases::{Center, Timing};
use weir_seeded::SplitMix64;

use super::gateway::{Gateway, Verdict};

/// A mistake of whoever draws on a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BudgetBug {
    /// A request reserves one unit, not the most that it may use.
    ReservesOne,
    /// What a request of the period before did not use goes into the new period's lease.
    PeriodsMixed,
    /// Each gateway has a budget of its own.
    NamedByGateway,
    /// A lease is kept over the end of its period.
    KeptOverPeriod,
}

const START_MS: u64 = 1_800_000_000_000;
const STEP_MS: u64 = 100;
/// When the second period begins.
const BORDER_MS: u64 = 25_000;
const LENGTH_MS: u64 = 60_000;

/// A request in flight.
struct Flight {
    ends_ms: u64,
    gateway: usize,
    process: u64,
    period: usize,
    drawn: u64,
    used: u64,
    most: u64,
}

/// One process, with a lease for each period.
struct Process {
    number: u64,
    leases: BTreeMap<usize, Gateway>,
    ahead_ms: i64,
    hears_raise_ms: u64,
}

struct Budgets {
    random: SplitMix64,
    bug: Option<BudgetBug>,
    center: Center,
    amount: u64,
    raised_ms: u64,
    processes: Vec<Process>,
    numbers: u64,
    flights: Vec<Flight>,
    /// Used in each period, and what of it was beyond the most that its request may use.
    used: [u64; 2],
    beyond: [u64; 2],
}

/// Plays one seed.
pub(crate) fn run(mut random: SplitMix64, bug: Option<BudgetBug>) -> Result<(), String> {
    let amount = 60 + random.below(600);
    let raised_ms = if random.percent(30) { 3_000 + random.below(15_000) } else { u64::MAX };
    let center = Center::new(1, START_MS, Timing::default());
    let mut budgets = Budgets {
        bug,
        center,
        amount,
        raised_ms,
        processes: Vec::new(),
        numbers: 0,
        flights: Vec::new(),
        used: [0; 2],
        beyond: [0; 2],
        random,
    };
    for _ in 0..1 + budgets.random.index(4) {
        let process = budgets.process();
        budgets.processes.push(process);
    }
    let busy_percent = 5 + budgets.random.below(40);
    for step in 1..LENGTH_MS / STEP_MS {
        budgets.step(step * STEP_MS, busy_percent)?;
    }
    Ok(())
}

impl Budgets {
    fn process(&mut self) -> Process {
        self.numbers += 1;
        let ahead_ms = i64::try_from(self.random.below(1_600)).expect("small") - 800;
        let hears_raise_ms = self.raised_ms.saturating_add(self.random.below(3_000));
        Process { number: self.numbers, leases: BTreeMap::new(), ahead_ms, hears_raise_ms }
    }

    fn step(&mut self, now: u64, busy_percent: u64) -> Result<(), String> {
        for index in 0..self.processes.len() {
            if self.random.below(2_000) == 0 {
                self.processes[index] = self.process();
            }
            if self.random.percent(busy_percent) {
                self.request(index, now);
            }
            if now % 1_000 == 100 * (index as u64) {
                self.report(index, now);
            }
        }
        if self.random.below(400) == 0 {
            self.center = match self.random.percent(20) {
                true => Center::forgotten(self.center.epoch() + 1, START_MS + now, Timing::default()),
                false => Center::restored(self.center.checkpoint()),
            };
        }
        self.land(now)
    }

    /// The lease of a period, at a process that knows the amount by now.
    fn lease(&mut self, index: usize, period: usize, now: u64) -> &mut Gateway {
        let raised = now >= self.processes[index].hears_raise_ms && period == 0;
        let capacity = if raised { self.amount * 3 / 2 } else { self.amount };
        let name = format!("gateway-{}", self.processes[index].number);
        let own = if self.bug == Some(BudgetBug::NamedByGateway) { name.as_str() } else { "" };
        let key = Key {
            owner: Owner::Tenant(TenantId::new("acme").expect("an id")),
            limit: format!("budget/{period}{own}"),
            part: None,
        };
        let definition = Definition { capacity, refill: 0, period_ms: 86_400_000, tiers: Vec::new() };
        let leases = &mut self.processes[index].leases;
        if self.bug == Some(BudgetBug::KeptOverPeriod)
            && !leases.contains_key(&period)
            && let Some((_, mut kept)) = leases.pop_first()
        {
            kept.key = key.clone();
            leases.insert(period, kept);
        }
        let lease = leases.entry(period).or_insert_with(|| {
            let mut lease = Gateway::new(name, key, definition.clone(), None, None);
            lease.idle_ms = 5_000;
            lease
        });
        lease.definition = definition;
        lease
    }

    /// The process's own time.
    fn local(&self, index: usize, now: u64) -> u64 {
        (START_MS + now).checked_add_signed(self.processes[index].ahead_ms).expect("a time")
    }

    fn request(&mut self, index: usize, now: u64) {
        let local = self.local(index, now);
        let period = usize::from(local >= START_MS + BORDER_MS);
        let most = 1 + self.random.below(8);
        let drawn = if self.bug == Some(BudgetBug::ReservesOne) { 1 } else { most };
        let used = if self.random.percent(3) { most + 2 } else { self.random.below(most + 1) };
        let lost = self.random.percent(10);
        let lease = self.lease(index, period, now);
        let is_admitted = match lease.request(drawn, local) {
            Verdict::Admitted => true,
            Verdict::Refused => false,
            Verdict::Ask => {
                let draw =
                    Draw { key: lease.key.clone(), definition: lease.definition.clone(), tier: None, cost: drawn };
                let call = DrawCall { gateway: lease.name.clone(), draws: vec![draw] };
                self.center.draw(&call, START_MS + now).short.is_none() && !lost
            }
        };
        if is_admitted {
            let ends_ms = now + self.random.below(6_000);
            let process = self.processes[index].number;
            self.flights.push(Flight { ends_ms, gateway: index, process, period, drawn, used, most });
        }
    }

    fn report(&mut self, index: usize, now: u64) {
        let local = self.local(index, now);
        let periods: Vec<usize> = self.processes[index].leases.keys().copied().collect();
        for period in periods {
            let (call_lost, answer_lost) = (self.random.percent(10), self.random.percent(10));
            let lease = self.lease(index, period, now);
            if !lease.should_call(true, local) {
                continue;
            }
            let call =
                Call { gateway: lease.name.clone(), sent_ms: local, draws: true, leases: vec![lease.report(local)] };
            if call_lost {
                continue;
            }
            let answer = self.center.call(&call, START_MS + now);
            if !answer_lost {
                self.lease(index, period, now).apply(&answer, answer.leases[0], local);
            }
        }
    }

    /// Ends the requests whose time has come, and counts what they used.
    fn land(&mut self, now: u64) -> Result<(), String> {
        for at in (0..self.flights.len()).rev() {
            if self.flights[at].ends_ms > now {
                continue;
            }
            let flight = self.flights.swap_remove(at);
            self.used[flight.period] += flight.used;
            self.beyond[flight.period] += flight.used.saturating_sub(flight.most);
            if self.processes[flight.gateway].number == flight.process {
                let mixed = self.bug == Some(BudgetBug::PeriodsMixed) && now > BORDER_MS + 1_000;
                let period = if mixed { 1 } else { flight.period };
                self.lease(flight.gateway, period, now).settle(flight.drawn, flight.used);
            }
            self.judge(flight.period, now)?;
        }
        Ok(())
    }

    fn judge(&self, period: usize, now: u64) -> Result<(), String> {
        let raised = period == 0 && now >= self.raised_ms;
        let amount = if raised { self.amount * 3 / 2 } else { self.amount };
        let over = self.used[period].saturating_sub(amount + self.beyond[period]);
        match over {
            0 => Ok(()),
            _ => Err(format!("at {now} ms period {period} has used {over} units more than the {amount} of its budget")),
        }
    }
}

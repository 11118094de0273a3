//! Many gateways, one center, and the network between them, at true time.
use serde_json::json;
use weir_filter::limit::Charge;
use weir_seeded::SplitMix64;

use crate::center::Serve;
use crate::gateway::{Answered, Gateway, bytes};
use crate::oracle::Oracle;

const WORKERS: usize = 2;
const TICK_MS: u64 = 100;

/// What goes wrong.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Trouble {
    /// Calls and answers are lost, repeated, late; gateways are cut off.
    pub(crate) network: bool,
    /// Workers die, stores are wiped.
    pub(crate) kills: bool,
    /// Gateways' clocks jump.
    pub(crate) clocks: bool,
    /// The center is away for a while.
    pub(crate) center: bool,
}

/// A message on its way.
struct Message {
    at_ms: u64,
    gateway: usize,
    worker: usize,
    id: u64,
    content: Content,
}

enum Content {
    Call(weir_contract::lease::Call),
    Answer(Vec<u8>),
    Lost,
}

/// A request under way.
struct Open {
    gateway: usize,
    charge: Charge,
    ends_ms: u64,
}

pub(crate) struct Fleet<C> {
    random: SplitMix64,
    trouble: Trouble,
    gateways: Vec<Gateway>,
    /// Until when each gateway is cut off.
    cut_ms: Vec<u64>,
    away_ms: u64,
    center: C,
    oracle: Oracle,
    messages: Vec<Message>,
    open: Vec<Open>,
    now_ms: u64,
    capacity: u64,
    refill: u64,
}

impl<C: Serve> Fleet<C> {
    /// A limit of `capacity` that refills by `refill` a second.
    pub(crate) fn new(seed: u64, gateways: usize, (capacity, refill): (u64, u64), center: C, trouble: Trouble) -> Self {
        let mut random = SplitMix64::new(seed);
        let plan = json!({"tokens": {"rate": format!("{refill}/s"), "capacity": capacity, "scope": "fleet",
                                     "unreachable": if seed.is_multiple_of(3) { "share" } else { "refuse" }}});
        let gateways: Vec<_> = (0..gateways).map(|_| Gateway::new(random.next_u64(), WORKERS, &plan)).collect();
        let oracle = Oracle::new(seed, capacity, refill);
        let cut_ms = vec![0; gateways.len()];
        let (messages, open) = (Vec::new(), Vec::new());
        Fleet {
            random,
            trouble,
            gateways,
            cut_ms,
            away_ms: 0,
            center,
            oracle,
            messages,
            open,
            now_ms: 0,
            capacity,
            refill,
        }
    }

    /// Runs for a time with requests of all sizes, which use what they draw unless they `settle`. The oracle panics when the
    /// fleet admits too much.
    pub(crate) fn run(&mut self, ms: u64, settle: bool) {
        let costs_max = (self.capacity / 8).max(1);
        while self.now_ms < ms {
            self.step();
            self.go_wrong();
            for _ in 0..self.random.below(4) {
                let cost = 1 + self.random.below(costs_max);
                self.request(cost, settle);
            }
            self.end_requests();
        }
    }

    /// Runs with requests of one unit at a steady demand; returns what was admitted, in thousandths of what one bucket
    /// would have.
    pub(crate) fn run_at_demand(&mut self, per_second: u64, ms: u64) -> u64 {
        let mut owed = 0;
        while self.now_ms < ms {
            let before = self.now_ms;
            self.step();
            owed += (self.now_ms - before) * per_second;
            while owed >= 1_000 {
                owed -= 1_000;
                self.request(1, false);
            }
        }
        self.oracle.admitted * 1_000 / (self.capacity + self.refill * self.now_ms / 1_000)
    }

    /// Time passes: gateways tick, and messages arrive.
    fn step(&mut self) {
        let by = 1 + self.random.below(40);
        let ticks = (self.now_ms + by) / TICK_MS > self.now_ms / TICK_MS;
        self.now_ms += by;
        self.center.advance(self.now_ms + 1);
        self.gateways.iter_mut().for_each(|gateway| gateway.pass(by));
        self.deliver();
        if ticks {
            for gateway in 0..self.gateways.len() {
                for worker in 0..WORKERS {
                    self.tick(gateway, worker);
                }
            }
        }
    }

    fn tick(&mut self, gateway: usize, worker: usize) {
        for (id, call) in self.gateways[gateway].calls_of(worker) {
            let at_ms = self.now_ms + self.random.below(20);
            if self.trouble.network && self.random.percent(10) {
                let at_ms = self.now_ms + self.random.below(3_000);
                self.messages.push(Message { at_ms, gateway, worker, id, content: Content::Call(call.clone()) });
            }
            self.messages.push(Message { at_ms, gateway, worker, id, content: Content::Call(call) });
        }
    }

    fn is_cut(&self, gateway: usize) -> bool {
        self.cut_ms[gateway] > self.now_ms || self.away_ms > self.now_ms
    }

    fn deliver(&mut self) {
        let now_ms = self.now_ms;
        let (due, later) = std::mem::take(&mut self.messages).into_iter().partition(|message| message.at_ms <= now_ms);
        self.messages = later;
        let due: Vec<Message> = due;
        for Message { gateway, worker, id, content, .. } in due {
            match content {
                Content::Call(_) if self.is_cut(gateway) || self.loses() => {
                    let content = Content::Lost;
                    self.messages.push(Message { at_ms: now_ms + 2_000, gateway, worker, id, content });
                }
                Content::Call(call) => {
                    let answer = bytes(&self.center.call(&call));
                    let is_lost = self.loses();
                    let delay = if self.trouble.network { self.random.below(2_500) / 4 } else { self.random.below(20) };
                    let content = if is_lost { Content::Lost } else { Content::Answer(answer) };
                    let at_ms = now_ms + if is_lost { 2_000 } else { delay };
                    self.messages.push(Message { at_ms, gateway, worker, id, content });
                }
                Content::Answer(answer) => self.gateways[gateway].answer(worker, id, &answer),
                Content::Lost => self.gateways[gateway].lose(worker, id),
            }
        }
    }

    fn loses(&mut self) -> bool {
        self.trouble.network && self.random.percent(5)
    }

    fn request(&mut self, cost: u64, settles: bool) {
        let gateway = self.random.index(self.gateways.len());
        let worker = self.random.index(WORKERS);
        let drawn = match self.gateways[gateway].draw(worker, cost) {
            Some(charge) => Some(charge),
            None => self.ask(gateway, cost),
        };
        let Some(charge) = drawn else { return };
        self.oracle.admit(cost, self.now_ms);
        if settles {
            let ends_ms = self.now_ms + self.random.below(5_000);
            self.open.push(Open { gateway, charge, ends_ms });
        }
    }

    /// Asks the center for one request. Every other request comes through a gateway that cannot.
    fn ask(&mut self, gateway: usize, cost: u64) -> Option<Charge> {
        if self.gateways[gateway].request(0, cost) != Answered::Short || self.random.percent(50) {
            return None;
        }
        let (charge, call) = self.gateways[gateway].draw_call(cost);
        let answer = (!self.is_cut(gateway)).then(|| self.center.draw(&call));
        let answer = answer.filter(|_| !self.loses());
        let body = answer.map(|answer| serde_json::to_vec(&answer).expect("json"));
        self.gateways[gateway].drew(&charge, body.as_deref())
    }

    fn end_requests(&mut self) {
        let now_ms = self.now_ms;
        let (ended, open): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.open).into_iter().partition(|open| open.ends_ms <= now_ms);
        self.open = open;
        for Open { gateway, charge, .. } in ended {
            let used = self.random.below(charge.cost * 3 / 2 + 1);
            self.oracle.settle(charge.cost, used, now_ms);
            self.gateways[gateway].settle(0, &charge, used);
        }
    }

    fn go_wrong(&mut self) {
        let gateway = self.random.index(self.gateways.len());
        if self.trouble.network && self.random.below(300) == 0 {
            self.cut_ms[gateway] = self.now_ms + self.random.below(20_000);
        }
        if self.trouble.center && self.random.below(600) == 0 {
            self.away_ms = self.now_ms + self.random.below(15_000);
        }
        if self.trouble.center && self.random.below(900) == 0 {
            self.center.forget();
        }
        if self.trouble.kills && self.random.below(150) == 0 {
            let worker = self.random.index(WORKERS);
            self.gateways[gateway].kill(worker);
            self.messages.retain(|message| (message.gateway, message.worker) != (gateway, worker));
        }
        if self.trouble.kills && self.random.below(400) == 0 {
            self.gateways[gateway].wipe();
        }
        if self.trouble.clocks && self.random.below(200) == 0 {
            let (by, ahead) = (self.random.below(30_000), self.random.percent(50));
            let clock = &mut self.gateways[gateway].clock;
            *clock = if ahead { *clock + by } else { clock.saturating_sub(by) };
            // Each worker ticks within a tenth of a second.
            (0..WORKERS).for_each(|worker| self.tick(gateway, worker));
        }
    }
}

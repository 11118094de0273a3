//! Random calls to the center in memory and to the script: from the same state, both answer alike and reach the same state.
use std::collections::BTreeMap;

use super::*;
use weir_contract::TenantId;
use weir_contract::lease::{COUNT_MAX, Definition, Draw, Key, Owner, Report, Tier};
use weir_leases::{Center, Checkpoint, Limit};
use weir_seeded::SplitMix64;

const T0: u64 = 1_800_000_000_000;
/// Random fleets; `WEIR_LEASES_REDIS_SEEDS` asks for more.
const SEEDS: u64 = 60;
const STEPS: usize = 40;

type State = BTreeMap<Key, Limit>;

/// One random fleet.
struct Pair<'a> {
    random: SplitMix64,
    fleet: Fleet<'a>,
    name: String,
    now: u64,
    timing: Timing,
    /// What each gateway remembers of each lease: counters, and the answer it applied.
    reports: BTreeMap<(usize, Key), Report>,
    definitions: Vec<Definition>,
}

impl<'a> Pair<'a> {
    fn new(world: &'a World, seed: u64, program: Program) -> Self {
        let mut random = SplitMix64::new(seed);
        let timing = Timing {
            ttl_ms: 5_000 + random.below(3) * 5_000,
            clock_error_ms: 2_000 + random.below(2) * 1_000,
            lent_percent: [50, 50, 10, 37, 90][random.index(5)],
        };
        let first = definition(&mut random);
        let mut definitions = vec![first.clone(), first.clone(), first.clone()];
        if random.percent(40) {
            let capacity = (1 + random.below(2 * first.capacity)).min(1_000_000_000_000_000);
            definitions.push(Definition { capacity, refill: random.below(capacity + 1), ..first.clone() });
            definitions.push(Definition { period_ms: 1 + random.below(100_000), ..first });
            definitions.push(definition(&mut random));
        }
        let name = format!("seed-{seed}");
        let fleet = world.clocked(&name, timing, program);
        Pair { random, fleet, name, now: T0, timing, reports: BTreeMap::new(), definitions }
    }

    fn run(mut self) -> Result<(), String> {
        for step in 0..STEPS {
            self.pass_time();
            let told = self.step().map_err(|told| format!("{}, step {step}: {told}", self.name));
            told?;
        }
        Ok(())
    }

    /// Time goes on by milliseconds, seconds, or minutes, and back at times.
    fn pass_time(&mut self) {
        let by = match self.random.below(10) {
            0..=2 => 0,
            3..=5 => self.random.below(50),
            6..=7 => self.random.below(4_000),
            8 => 9_000 + self.random.below(8_000),
            _ => self.random.below(200_000),
        };
        self.now = if self.random.percent(3) { self.now - 500 } else { self.now + by };
        self.fleet.set_clock(self.now);
        if self.random.percent(2) {
            self.lose();
        }
    }

    /// The server loses everything of this fleet.
    fn lose(&mut self) {
        let names: Vec<String> = self.fleet.ask(redis::cmd("KEYS").arg(format!("weir:leases:{{{}/*", self.name)));
        if !names.is_empty() {
            let _deleted: u64 = self.fleet.ask(redis::cmd("DEL").arg(&names));
        }
    }

    /// The state in the server.
    fn state(&self) -> State {
        let pattern = format!("weir:leases:{{{}/*}}:limit:*", self.name);
        let names: Vec<String> = self.fleet.ask(redis::cmd("KEYS").arg(pattern));
        let read = |name: String| {
            let text: String = self.fleet.ask(redis::cmd("GET").arg(&name));
            let (_, key) = name.split_once("}:limit:").expect("the name of a limit");
            let key: Key = serde_json::from_str(key).expect("a key");
            (key, serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")))
        };
        names.into_iter().map(read).collect()
    }

    /// A center in memory that is where the server is.
    fn twin(&self, before: &State, memory: (u64, u64)) -> Center {
        let lost_ms = (memory.1 != 0).then_some(memory.1);
        let head = serde_json::json!({
            "epoch": memory.0, "now": self.now, "lost_ms": lost_ms, "timing": self.timing, "limits": [],
        });
        let mut checkpoint: Checkpoint = serde_json::from_value(head).expect("a checkpoint");
        for (key, limit) in before {
            checkpoint.with(key.clone(), limit.clone());
        }
        Center::restored(checkpoint)
    }

    fn memory(&self) -> (u64, u64) {
        let name = format!("weir:leases:{{{}/0}}:memory", self.name);
        let text: String = self.fleet.ask(redis::cmd("GET").arg(name));
        let (epoch, lost_ms) = text.split_once(':').expect("a memory");
        (epoch.parse().expect("a number"), lost_ms.parse().expect("a number"))
    }

    fn step(&mut self) -> Result<(), String> {
        if self.random.percent(5) {
            self.timing.ttl_ms = 5_000 + self.random.below(10_000);
            self.fleet.center.set_timing(self.timing);
        }
        let before = self.state();
        let gateway = self.random.index(4);
        if self.random.percent(25) {
            let call = self.draw_call(gateway);
            call.check().map_err(|error| error.to_string())?;
            let answer =
                self.fleet.draw(&call).or_else(|_| self.fleet.draw(&call)).map_err(|error| error.to_string())?;
            let mut twin = self.twin(&before, self.memory());
            let wanted = twin.draw(&call, self.now);
            self.compare(&answer, &wanted, &twin, &call)
        } else {
            let call = self.lease_call(gateway);
            if call.check().is_err() {
                // The server's handler refuses such a call. Its gateway begins anew.
                self.reports.clear();
                return Ok(());
            }
            let answer = self.fleet.call(&call).map_err(|error| format!("{error}, to {call:?}"))?;
            let mut twin = self.twin(&before, self.memory());
            let wanted = twin.call(&call, self.now);
            self.compare(&answer, &wanted, &twin, &call)?;
            self.apply(gateway, &call, &answer);
            Ok(())
        }
    }

    fn compare<A: std::fmt::Debug + PartialEq>(
        &self,
        answer: &A,
        wanted: &A,
        twin: &Center,
        call: &impl std::fmt::Debug,
    ) -> Result<(), String> {
        if answer != wanted {
            return Err(format!("{answer:?} in the Redis, {wanted:?} in memory, to {call:?}"));
        }
        let after = self.state();
        for (key, limit) in twin.changes() {
            // As they are kept: what metrics are to count is not.
            let (is, wanted) = (serde_json::json!(after.get(key)), serde_json::json!(limit));
            if is != wanted {
                return Err(format!("{is} in the Redis, {wanted} in memory, after {call:?}"));
            }
        }
        Ok(())
    }

    fn key(&mut self) -> Key {
        let limit = ["requests", "tokens"][self.random.index(2)].to_owned();
        let pool = self.random.percent(30);
        let owner =
            if pool { Owner::Pool("openai".into()) } else { Owner::Tenant(TenantId::new("acme").expect("an id")) };
        let part = self.random.percent(10).then(|| "00000000000000ab".to_owned());
        Key { owner, limit, part }
    }

    fn definition(&mut self) -> Definition {
        let place = self.random.index(self.definitions.len());
        self.definitions[place].clone()
    }

    fn tier(&mut self, definition: &Definition) -> Option<String> {
        let place = self.random.index(definition.tiers.len().max(1));
        definition.tiers.get(place).map(|tier| tier.name.clone())
    }

    fn draw_call(&mut self, gateway: usize) -> DrawCall {
        let mut draws: Vec<Draw> = Vec::new();
        for _ in 0..=self.random.index(2) {
            let (key, definition) = (self.key(), self.definition());
            let cost = 1 + self.random.below(definition.capacity);
            let tier = self.tier(&definition);
            if draws.iter().all(|draw| draw.key != key) {
                draws.push(Draw { key, definition, tier, cost });
            }
        }
        DrawCall { gateway: format!("gateway-{gateway}"), draws }
    }

    fn lease_call(&mut self, gateway: usize) -> Call {
        let mut leases: Vec<Report> = Vec::new();
        for _ in 0..=self.random.index(3) {
            let key = self.key();
            if leases.iter().all(|report| report.key != key) {
                leases.push(self.report(gateway, key));
            }
        }
        let draws = self.random.percent(70);
        Call { gateway: format!("gateway-{gateway}"), sent_ms: self.now, draws, leases }
    }

    /// A report as a gateway makes it, or one that is wrong in any number.
    fn report(&mut self, gateway: usize, key: Key) -> Report {
        let definition = self.definition();
        let tier = self.tier(&definition);
        let new = Report {
            key: key.clone(),
            tier: tier.clone(),
            lease: 1 + self.random.below(3),
            epoch: 0,
            granted: 0,
            spent: 0,
            returned: 0,
            want: 0,
            largest: 1,
            share: false,
            heard_ms: 0,
            definition: definition.clone(),
        };
        let mut report = self.reports.get(&(gateway, key)).cloned().unwrap_or(new);
        report.tier = if definition.tiers == report.definition.tiers { report.tier } else { tier };
        report.definition = definition;
        let held = report.granted.saturating_sub(report.spent);
        report.spent += self.random.below(held + 1);
        if self.random.percent(20) {
            let back = self.random.below(report.granted.saturating_sub(report.spent) + 1);
            (report.spent, report.returned) = (report.spent + back, report.returned + back);
        }
        if self.random.percent(5) {
            // A call that others have overtaken.
            report.spent = self.random.below(report.spent.saturating_add(1));
        }
        let capacity = report.definition.capacity;
        report.want = if self.random.percent(20) { 0 } else { self.random.below(2 * capacity) };
        report.largest = 1 + self.random.below((capacity / 8).max(1));
        report.share = self.random.percent(50);
        if self.random.percent(6) {
            self.distort(&mut report);
        }
        report
    }

    fn distort(&mut self, report: &mut Report) {
        let value = if self.random.percent(30) {
            COUNT_MAX - self.random.below(3)
        } else {
            self.random.below(2 * report.definition.capacity)
        };
        match self.random.below(7) {
            0 => report.granted = value,
            1 => report.spent = value,
            2 => report.returned = value,
            3 => report.lease = value.max(1),
            4 => report.epoch = report.epoch.saturating_sub(1),
            5 => report.heard_ms = self.now.saturating_sub(self.random.below(20_000)),
            _ => report.want = value,
        }
    }

    fn apply(&mut self, gateway: usize, call: &Call, answer: &Answer) {
        for (report, grant) in call.leases.iter().zip(&answer.leases) {
            let mut report = report.clone();
            if self.random.percent(80) {
                let is_over = grant.state == weir_contract::lease::LeaseState::Lapsed;
                (report.epoch, report.heard_ms) = (answer.epoch, answer.at_ms);
                report.granted = report.granted.max(grant.granted);
                if is_over {
                    report = Report {
                        lease: 1 + report.lease % 1_000,
                        epoch: 0,
                        granted: 0,
                        spent: 0,
                        returned: 0,
                        ..report
                    };
                }
            }
            self.reports.insert((gateway, report.key.clone()), report);
        }
    }
}

fn definition(random: &mut SplitMix64) -> Definition {
    let capacity = [1, 7, 100, 3_000, 2_000_000, 40_000_000_000, 1_000_000_000_000_000][random.index(7)];
    let refill = [0, 1, capacity, capacity, capacity / 3, 1_000_000_000_000_000][random.index(6)];
    let period_ms = [1, 1_000, 60_000, 60_000, 86_400_000, 31 * 86_400_000][random.index(6)];
    let tier = |name: &str, percent| Tier { name: name.into(), percent };
    let tiers = match random.below(4) {
        0 => vec![tier("gold", 50), tier("silver", 30)],
        1 => vec![tier("gold", 33), tier("silver", 33), tier("bronze", 34)],
        _ => Vec::new(),
    };
    Definition { capacity, refill, period_ms, tiers }
}

#[allow(clippy::disallowed_methods, reason = "the number of seeds comes from the environment, as for all tests")]
fn seeds() -> u64 {
    std::env::var("WEIR_LEASES_REDIS_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SEEDS)
}

#[test]
fn the_script_and_the_center_in_memory_are_the_same_arithmetic() {
    let world = World::start();
    for seed in 1..=seeds() {
        Pair::new(&world, seed, Program::with(CLOCK)).run().expect("alike");
    }
}

/// Mistakes in the script, each by a text that stands there once and what a careless hand would have written.
const MISTAKES: [(&str, &str, &str); 14] = [
    (
        "a late report lowers what was spent",
        "lease.spent = math.max(lease.spent, report.spent)",
        "lease.spent = report.spent",
    ),
    (
        "a lease ends without the error of clocks",
        "math.max(lease.expires_ms, limit.at_ms + outlived_ms(limit))",
        "math.max(lease.expires_ms, limit.at_ms + limit.timing.ttl_ms)",
    ),
    ("units given back before count again", "lease.returned or report.returned", "lease.returned or 0"),
    (
        "what a silent lease held comes back",
        "lost.leases, lost.units = lost.leases + 1, add(lost.units, belief(lease))",
        "put_back(limit, lease.tier + 1, belief(lease))",
    ),
    ("a repeated call is granted again", "sub(add(lease.spent, units), lease.granted)", "units"),
    ("a center that went back pays nothing", "take(limit.tiers, tier, more, limit.size)", ""),
    ("leases of any epoch are adopted", "report.epoch < caller.epoch and held", "held"),
    ("a tier lends what it keeps", "kept = divide(full(tier, size), 2)", "kept = 0"),
    ("shares pause no refill", "used = used + divide_up(", "used = 0 * divide_up("),
    ("a draw makes debts", "if is_less(level, draw.cost) then", "if is_less(level, 0) then"),
    (
        "a share is promised without its units",
        "take(limit.tiers, tier, missing, limit.size)\n    return sharers",
        "return sharers",
    ),
    ("a raised budget forgets what was used", "shift(limit.tiers, size.definition.capacity - capacity, size)", ""),
    ("a share counts before it is confirmed", "if share.confirmed_ms < given_ms then", "if false then"),
    ("great products lose a carry", "product[i + #b] = product[i + #b] + carry", ""),
];

#[test]
fn every_mistake_in_the_script_is_found() {
    let world = World::start();
    for (what, right, wrong) in MISTAKES {
        let released = Program::with(CLOCK).text;
        assert_eq!(released.matches(right).count(), 1, "{what}: the script has {right:?}");
        let text = released.replace(right, wrong);
        let mistaken = || Program { hash: redis::Script::new(&text).get_hash().to_owned(), text: text.clone() };
        let is_found = (1..=seeds()).any(|seed| Pair::new(&world, seed, mistaken()).run().is_err());
        assert!(is_found, "{what}: not within {} seeds", seeds());
        world.empty();
    }
}

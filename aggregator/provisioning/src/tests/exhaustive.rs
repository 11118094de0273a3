//! Every kill with every fault at every call; random troubles by seed; and the bugs that both must find.
use weir_seeded::SplitMix64;

use super::driver::{BUGS, Bug, KILLS, Kill, Run, Trouble};
use super::world::{FAULTS, Fault, World};
use crate::{Phase, Step};

/// More calls than a provisioning has when one thing goes wrong.
const CALLS: u32 = 24;
const SEEDS: u64 = 5_000;
/// Fewer than make a step give up.
const FAULTS_MAX: u32 = 8;

/// One fault and one kill.
struct One {
    fault: Option<(u32, Fault)>,
    kill: Option<(u32, Kill)>,
}

impl Trouble for One {
    fn fault(&mut self, call: u32) -> Option<Fault> {
        self.fault.filter(|(at, _)| *at == call).map(|(_, fault)| fault)
    }

    fn kill(&mut self, call: u32, at: Kill) -> bool {
        self.kill == Some((call, at))
    }
}

/// Faults and kills as they come.
struct Random {
    numbers: SplitMix64,
    faults: u32,
    kills: u32,
    refuses: bool,
}

impl Random {
    fn new(seed: u64) -> Self {
        let mut numbers = SplitMix64::new(seed);
        let refuses = numbers.percent(50);
        Random { numbers, faults: 0, kills: 0, refuses }
    }
}

impl Trouble for Random {
    fn fault(&mut self, _: u32) -> Option<Fault> {
        if self.faults >= FAULTS_MAX || !self.numbers.percent(35) {
            return None;
        }
        self.faults += 1;
        let fault = FAULTS[self.numbers.index(FAULTS.len())];
        (fault != Fault::Refused || self.refuses).then_some(fault)
    }

    fn kill(&mut self, _: u32, _: Kill) -> bool {
        let kills = self.kills < 10 && self.numbers.percent(15);
        self.kills += u32::from(kills);
        kills
    }

    fn is_long(&mut self) -> bool {
        self.numbers.percent(10)
    }
}

fn worlds() -> [World; 4] {
    [
        World::default(),
        World::default().with(Step::Customer),
        World::default().with(Step::Customer).with(Step::Subscription),
        World::default().with_a_stranger(),
    ]
}

/// A run must end well, or be taken back because something was refused.
fn judge(mut run: Run, trouble: &mut impl Trouble) -> Result<(), String> {
    let meets_a_stranger = run.world.has_a_stranger();
    match run.run_out(trouble)? {
        Phase::Undone { why, .. } if !run.refused && !meets_a_stranger => {
            Err(format!("taken back for no reason: {why}"))
        }
        _ => Ok(()),
    }
}

fn one_of_each(bug: Option<Bug>) -> Result<u64, String> {
    let mut runs = 0;
    let kills: Vec<_> = (1..=CALLS).flat_map(|at| KILLS.map(|kill| Some((at, kill)))).chain([None]).collect();
    let faults: Vec<_> = (1..=CALLS).flat_map(|at| FAULTS.map(|fault| Some((at, fault)))).chain([None]).collect();
    for kill in &kills {
        for fault in &faults {
            for (number, world) in worlds().into_iter().enumerate() {
                let mut trouble = One { fault: *fault, kill: *kill };
                judge(Run::new(world, bug), &mut trouble)
                    .map_err(|wrong| format!("world {number}, {fault:?}, {kill:?}: {wrong}"))?;
                runs += 1;
            }
        }
    }
    Ok(runs)
}

fn at_random(bug: Option<Bug>, seeds: u64) -> Result<(), String> {
    for seed in 0..seeds {
        for world in worlds() {
            judge(Run::new(world, bug), &mut Random::new(seed)).map_err(|wrong| format!("seed {seed}: {wrong}"))?;
        }
    }
    Ok(())
}

#[test]
fn every_kill_with_every_failure_leaves_a_whole_tenant_or_nothing() {
    let runs = one_of_each(None).unwrap_or_else(|wrong| panic!("{wrong}"));
    assert!(runs > 30_000, "{runs}");
}

#[test]
fn random_troubles_leave_a_whole_tenant_or_nothing() {
    at_random(None, SEEDS).unwrap_or_else(|wrong| panic!("{wrong}"));
}

#[test]
fn every_planted_bug_is_found() {
    for bug in BUGS {
        let found = at_random(Some(bug), SEEDS).and_then(|()| one_of_each(Some(bug)).map(drop));
        assert!(found.is_err(), "{bug:?} is not found");
    }
}

//! CPU and latency in the real Envoy: one worker on one core, clients and upstreams on the other.
//!
//! Short bursts through every variant, in turn, round after round: what the machine does meanwhile happens to all of them.
//! Of each round the difference to the burst without a filter is taken, and of those the median and the quartiles.

use crate::cases::{self, CHUNKS, KEY};
use crate::chart::{self, Bar, micros};
use crate::fuel::in_repository;
use crate::gateway::{self, Setup, Variant};
use crate::load::{Clients, Pace, Shot};
use crate::stack::{Burst, CONNECTIONS, Stack, median, quartiles};
use crate::tokens::Signers;
use crate::upstream;
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;
use weir_rig::clock;
use weir_rig::envoy::{Envoy, Options};
use weir_rig::workspace;

use crate::cases::Step::{Identity, Limits, Plan, Unheld, Whole};

/// The variants to compare: all for a token, and fewer for a key, since Envoy itself has no filter that looks a key up this way.
const ALL: &[Variant] = &Variant::ALL;
const BY_KEY: &[Variant] = &[
    Variant::None,
    Variant::Empty,
    Variant::Weir(Identity),
    Variant::Weir(Limits),
    Variant::Weir(Plan),
    Variant::Weir(Whole),
    Variant::Weir(Unheld),
];
const FEW: &[Variant] = &[Variant::None, Variant::Empty, Variant::Native, Variant::Weir(Whole), Variant::Weir(Unheld)];

/// Streams of a burst.
const STREAMS: usize = 2 * CONNECTIONS;

/// Requests per variant whose latency is reported: enough for several in the slowest thousandth.
const LATENCIES: usize = 9_000;

/// How often each has its turn for that.
const TURNS: usize = 3;

/// Each turn begins with this much unmeasured load of the same kind. It flushes the effects of the turn before and fills
/// the queue of events as in continuous operation.
const SETTLED_AFTER: Duration = Duration::from_millis(2_500);

/// How long to measure.
#[derive(Clone, Debug)]
pub struct Effort {
    /// Rounds through all variants.
    pub rounds: usize,
    /// Only cases whose name contains this.
    pub only: Option<String>,
}

/// One kind of request.
struct Case {
    name: &'static str,
    variants: &'static [Variant],
    /// Requests in a burst.
    burst: usize,
    shots: Shots,
}

enum Shots {
    /// The same one over and over.
    Same(Shot),
    /// Each one time only for each listener.
    Fresh(Vec<Shot>),
    /// Chats with this token, each answered by a stream of `chunks` chunks.
    Streams(String, usize),
}

impl Shots {
    fn of_round(&self, round: usize, burst: usize) -> Vec<Shot> {
        match self {
            Shots::Same(shot) => vec![shot.clone(); burst],
            Shots::Fresh(all) => all.iter().skip(round * burst).take(burst).cloned().collect(),
            Shots::Streams(token, chunks) => {
                let body = cases::chat(true);
                (0..burst).map(|_| Shot::stream("/v1/chat/completions", token, &body, *chunks)).collect()
            }
        }
    }
}

/// Measures everything, prints it, and leaves the report and its charts in `build/bench`.
///
/// # Errors
/// When something is missing, or an answer is not 200.
pub fn run(effort: &Effort) -> anyhow::Result<String> {
    let signers = Signers::new()?;
    let mut stack = start(&signers, 1_000)?;
    let mut report = String::new();
    for case in cases(&signers, effort.rounds)? {
        if effort.only.as_deref().is_none_or(|only| case.name.contains(only)) {
            measure(&mut stack, &case, effort.rounds, &mut report)?;
            if let Shots::Streams(token, chunks) = &case.shots {
                measure_chunk(&mut stack, token, *chunks, effort.rounds, &mut report)?;
            }
        }
    }
    let folder = in_repository("build/bench");
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("envoy.md"), &report)?;
    Ok(report)
}

fn cases(signers: &Signers, rounds: usize) -> anyhow::Result<Vec<Case>> {
    let token = signers.token("RS256", 0)?;
    let same = |name, variants, burst, shot| Case { name, variants, burst, shots: Shots::Same(shot) };
    let chat = |credential: &str| Shot::post("/v1/chat/completions", credential, &cases::chat(false));
    let mut all = vec![
        same("get, JWT remembered", ALL, 1_000, Shot::get("/v1/models", &token)),
        same("get, API key", BY_KEY, 1_000, Shot::get("/v1/models", KEY)),
        same("chat 2 KB, JWT remembered", ALL, 600, chat(&token)),
        same("chat 2 KB, API key", BY_KEY, 600, chat(KEY)),
        same("rag 64 KB, JWT remembered", FEW, 200, Shot::post("/v1/rag/answer", &token, &cases::rag(64_000))),
        Case {
            name: "stream of 300 chunks, JWT remembered",
            variants: FEW,
            burst: STREAMS,
            shots: Shots::Streams(token.clone(), CHUNKS),
        },
    ];
    for (algorithm, name) in [("ES256", "get, ES256 never seen before"), ("RS256", "get, RS256 never seen before")] {
        const BURST: usize = 48;
        let fresh = (1..=BURST * rounds).map(|number| Ok(Shot::get("/v1/models", &signers.token(algorithm, number)?)));
        let shots = Shots::Fresh(fresh.collect::<anyhow::Result<_>>()?);
        all.push(Case { name, variants: FEW, burst: BURST, shots });
    }
    Ok(all)
}

/// Starts Envoy with every variant, weir with this many tenants.
fn start(signers: &Signers, tenants: usize) -> anyhow::Result<Stack> {
    let (weir, empty, keys) = (workspace::weir_wasm()?, in_repository("build/empty.wasm"), signers.keys());
    let setup = Setup { weir: &weir, empty: &empty, keys: &keys, tenants };
    Stack::start(&Variant::ALL.map(|variant| gateway::variant(variant, &setup)))
}

fn measure(stack: &mut Stack, case: &Case, rounds: usize, report: &mut String) -> anyhow::Result<()> {
    let mut bursts: Vec<(Variant, Vec<Burst>)> = case.variants.iter().map(|variant| (*variant, Vec::new())).collect();
    // Warms every variant up once. Tokens that must be new stay unused.
    if !matches!(case.shots, Shots::Fresh(_)) {
        for variant in case.variants {
            stack.burst(variant.name(), &case.shots.of_round(0, case.burst), Pace::AtOnce)?;
        }
    }
    for round in 0..rounds {
        for (variant, bursts) in &mut bursts {
            bursts.push(stack.burst(variant.name(), &case.shots.of_round(round, case.burst), Pace::AtOnce)?.0);
        }
    }
    let bars = write_cpu(case, &bursts, report);
    let file = case.name.replace([',', ' '], "-").replace("--", "-").to_lowercase();
    let folder = in_repository("build/bench");
    std::fs::create_dir_all(&folder)?;
    let title = format!("{}: Envoy's CPU beyond no filter, us a request", case.name);
    std::fs::write(folder.join(format!("{file}.svg")), chart::svg(&title, &bars))?;
    if matches!(case.shots, Shots::Same(_)) {
        let whole = bursts.iter().find(|(variant, _)| *variant == Variant::Weir(Whole));
        let saturation = whole.map_or(1, |(_, bursts)| median(bursts.iter().map(|burst| burst.rate)));
        latency(stack, case, saturation / 2, report)?;
    }
    Ok(())
}

/// What one chunk costs: the slope from a third of the chunks to all of them, so that nothing of the request is in it.
fn measure_chunk(
    stack: &mut Stack,
    token: &str,
    chunks: usize,
    rounds: usize,
    report: &mut String,
) -> anyhow::Result<()> {
    let few = chunks / 3;
    let slope = i64::try_from(chunks - few)?;
    let mut all: Vec<(Variant, Vec<i64>)> = FEW.iter().map(|variant| (*variant, Vec::new())).collect();
    for round in 0..rounds {
        for (variant, each) in &mut all {
            let mut cost = |chunks: usize| -> anyhow::Result<i64> {
                let shots = Shots::Streams(token.to_owned(), chunks).of_round(round, STREAMS);
                Ok(stack.burst(variant.name(), &shots, Pace::AtOnce)?.0.cpu)
            };
            let (many, less) = (cost(chunks)?, cost(few)?);
            each.push((many - less) / slope);
        }
    }
    let of = |wanted: Variant| all.iter().find(|(variant, _)| *variant == wanted).map_or(&[][..], |(_, each)| each);
    let (none, empty) = (of(Variant::None), of(Variant::Empty));
    writeln!(report, "What one chunk costs, ns: the slope from {few} to {chunks} chunks.\n")?;
    writeln!(report, "| through | CPU | beyond no filter | quartiles | beyond the empty filter | quartiles |")?;
    writeln!(report, "|---|---|---|---|---|---|")?;
    for (variant, each) in &all {
        let beyond = |floor: &[i64]| quartiles(each.iter().zip(floor).map(|(one, other)| one - other));
        let ([more, low, high], [over, least, most]) = (beyond(none), beyond(empty));
        let (name, cpu) = (variant.name(), median(each.iter().copied()));
        writeln!(report, "| {name} | {cpu} | {more} | {low} to {high} | {over} | {least} to {most} |")?;
    }
    writeln!(report)?;
    Ok(())
}

fn latency(stack: &mut Stack, case: &Case, rate: i64, report: &mut String) -> anyhow::Result<()> {
    let Shots::Same(shot) = &case.shots else { return Ok(()) };
    let rate = u64::try_from(rate.max(1))?;
    let gap = Duration::from_nanos(1_000_000_000 * CONNECTIONS as u64 / rate);
    let before = usize::try_from(SETTLED_AFTER.as_millis())? * usize::try_from(rate)? / 1_000;
    let (settling, shots) = (vec![shot.clone(); before], vec![shot.clone(); LATENCIES / TURNS]);
    let compared = [Variant::None, Variant::Empty, Variant::Native, Variant::Weir(Whole)];
    let compared = case.variants.iter().filter(|variant| compared.contains(variant));
    let mut times: Vec<_> = compared.map(|variant| (*variant, Vec::new())).collect();
    for _ in 0..TURNS {
        for (variant, times) in &mut times {
            stack.burst(variant.name(), &settling, Pace::Every(gap))?;
            times.extend(stack.burst(variant.name(), &shots, Pace::Every(gap))?.1);
        }
    }
    writeln!(report, "Latency at {rate} requests/s, half of what saturates weir, us:\n")?;
    writeln!(report, "| through | p50 | p99 | p99.9 | requests |\n|---|---|---|---|---|")?;
    for (variant, mut times) in times {
        times.sort_unstable();
        let at = |per_mille: usize| {
            let nanos = times.get(times.len() * per_mille / 1_000).or(times.last());
            micros(nanos.map_or(0, |nanos| i64::try_from(*nanos).unwrap_or(i64::MAX)))
        };
        writeln!(report, "| {} | {} | {} | {} | {} |", variant.name(), at(500), at(990), at(999), times.len())?;
    }
    writeln!(report)?;
    Ok(())
}
fn write_cpu(case: &Case, bursts: &[(Variant, Vec<Burst>)], report: &mut String) -> Vec<Bar> {
    let none: Vec<i64> =
        bursts.first().map(|(_, bursts)| bursts.iter().map(|burst| burst.cpu).collect()).unwrap_or_default();
    let mut bars = Vec::new();
    let mut native = None;
    let head =
        "| through | CPU us | added us | quartiles | of native | requests/s | pieces |\n|---|---|---|---|---|---|---|";
    let _infallible = writeln!(report, "## {}\n\n{head}", case.name);
    for (variant, bursts) in bursts {
        let mut added: Vec<i64> = bursts.iter().zip(&none).map(|(burst, none)| burst.cpu - none).collect();
        added.sort_unstable();
        let at = |quarter: usize| added.get(added.len() * quarter / 4).copied().unwrap_or(0);
        let (low, middle, high) = (at(1), at(2), at(3));
        if *variant == Variant::Native {
            native = Some(middle);
        }
        let share =
            native.filter(|native| *native > 0).map_or("".to_owned(), |native| format!("{} %", middle * 100 / native));
        let all = |field: fn(&Burst) -> i64| median(bursts.iter().map(field));
        let (cpu, rate, reads) = (all(|burst| burst.cpu), all(|burst| burst.rate), all(|burst| burst.reads));
        let (name, cpu, low_text, high_text) = (variant.name(), micros(cpu), micros(low), micros(high));
        let _infallible = writeln!(
            report,
            "| {name} | {cpu} | {} | {low_text} to {high_text} | {share} | {rate} | {reads} |",
            micros(middle)
        );
        bars.push(Bar { name: name.to_owned(), nanos: [middle, low, high] });
    }
    report.push('\n');
    bars
}

/// How long the first request through weir takes after Envoy has said that it is ready, in nanoseconds.
///
/// # Errors
/// When Envoy does not start, or does not answer it.
pub fn first_request() -> anyhow::Result<u64> {
    let (weir, keys) = (workspace::weir_wasm()?, Signers::new()?.keys());
    let setup = Setup { weir: &weir, empty: Path::new(""), keys: &keys, tenants: 1_000 };
    let listeners = [gateway::variant(Variant::Weir(Whole), &setup)];
    let bootstrap = gateway::bootstrap(&listeners, upstream::start()?);
    let envoy = Envoy::start(&bootstrap, &Options { concurrency: 1, ..Options::default() })?;
    let mut clients = Clients::connect(envoy.listener(Variant::Weir(Whole).name())?, 1)?;
    let started = clock::instant();
    clients.fire(&[Shot::get("/v1/models", KEY)], Pace::AtOnce)?;
    Ok(u64::try_from(started.elapsed().as_nanos())?)
}

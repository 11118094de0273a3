//! Where each microsecond goes: what one call into the gateway costs, and what entering a phase does.
//!
//! A filter makes one call 0, 20 or 40 times a request, all of them in one Envoy and in turn: the slope is the price of a call
//! whose code and data are in the processor's caches, and it stands out of the noise of a whole request. What a request
//! pays is more, since it makes most calls once. So the same filter also makes each of weir's calls once, and all of them,
//! and does nothing else: with what entering costs, and the instructions, that is what a request is made of. Those are small
//! differences between whole requests, so they are measured by themselves, for more rounds.

use crate::cases::{self, KEY, Step};
use crate::chart::micros;
use crate::fuel::{self, in_repository};
use crate::gateway::{self, Listener, Setup, Variant};
use crate::load::{Pace, Shot};
use crate::stack::{Stack, quartiles};
use anyhow::Context;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use weir_host_tests::host::FilterModule;
use weir_host_tests::scenario::{Gateway, get, ok};
use weir_rig::workspace;

/// How often a call is made.
const TIMES: [u32; 2] = [20, 40];

/// All calls of weir for a small request, each once.
const ALL_OF_WEIR: &str = "all-of-weir 1";

/// Requests of a burst.
const BURST: usize = 500;

/// A repeated call: its name in the filter and in reports, and the function of the ABI that it prices.
const CALLS: [(&str, &str, &str); 22] = [
    ("pairs", "all headers of the request, a key among them", "proxy_get_header_map_pairs"),
    ("answer-pairs", "all headers of the answer", ""),
    ("value", "one header, the key", "proxy_get_header_map_value"),
    ("value-short", "one header, short", ""),
    ("value-absent", "one header that is not there", ""),
    ("answer-value", "one header of the answer", ""),
    ("replace", "a header put in the place of another", "proxy_replace_header_map_value"),
    ("answer-replace", "the same in the answer", ""),
    ("add-remove", "a header put in and taken out: two calls", ""),
    ("remove-absent", "a header taken out that is not there", "proxy_remove_header_map_value"),
    ("answer-body", "a body of two bytes read", "proxy_get_buffer_bytes"),
    ("shared-get", "a shared value of 96 bytes read", "proxy_get_shared_data"),
    ("shared-set", "a shared value of 96 bytes written", "proxy_set_shared_data"),
    ("clock", "the clock", "proxy_get_current_time_nanoseconds"),
    ("increment", "a counter", "proxy_increment_metric"),
    ("record", "a gauge", "proxy_record_metric"),
    ("property", "a property: the route's name", "proxy_get_property"),
    ("property-absent", "a property that is not there: of the route's metadata", ""),
    ("set-property", "a property set, 96 bytes", "proxy_set_property"),
    ("allocate", "100 bytes allocated and freed in the filter", ""),
    ("work", "work in the filter: some 6,000 instructions that read text", ""),
    ("nothing", "nothing: the loop itself", ""),
];

/// The calls that weir makes for a small request, once each; a change of the head for the first of several.
const ONCE: [&str; 9] = [
    "pairs",
    "remove-absent",
    "replace",
    "shared-get",
    "shared-set",
    "answer-pairs",
    "answer-body",
    "clock",
    "increment",
];

/// Rounds for each of those of the prices.
const ONCE_ROUNDS: usize = 4;

/// Phases in the order in which a filter can come to have them: what is called so far, and the exports that go beyond it.
const PHASES: [(&str, &[&str]); 6] = [
    ("a context made for each request, and no phase", &[]),
    ("+ its name told: create, done, delete", &["context_create", "done", "delete"]),
    ("+ request headers", &["request_headers"]),
    ("+ answer headers", &["response_headers"]),
    ("+ answer body", &["response_body"]),
    ("+ log: all that a request without a body enters", &["log"]),
];

/// What all of it costs: the report, also left in `build/bench/hostcalls.md`.
///
/// # Errors
/// When something is missing, or an answer is not 200.
pub fn run(rounds: usize) -> anyhow::Result<String> {
    let folder = in_repository("build/bench");
    std::fs::create_dir_all(&folder)?;
    let work = instructions_of_work()?;
    let seen = measure(&listeners(&folder)?, rounds)?;
    let mut report = String::new();
    let prices = write_calls(&seen, &mut report)?;
    write_phases(&seen, &mut report)?;
    let seen = measure(&listeners_once()?, ONCE_ROUNDS * rounds)?;
    write_once(&seen, &mut report)?;
    write_sum(&seen, &prices, work, &mut report)?;
    std::fs::write(folder.join("hostcalls.md"), &report)?;
    Ok(report)
}

/// CPU of each burst by listener, in nanoseconds a request; the bursts of one round stand at the same place.
type Seen = BTreeMap<String, Vec<i64>>;

fn measure(listeners: &[Listener], rounds: usize) -> anyhow::Result<Seen> {
    let mut stack = Stack::start(listeners)?;
    let shots = vec![Shot::get("/v1/models", KEY); BURST];
    let mut seen = Seen::new();
    for round in 0..=rounds {
        for Listener { name, .. } in listeners {
            let (burst, _) = stack.burst(name, &shots, Pace::AtOnce)?;
            // The first round warms up.
            if round > 0 {
                seen.entry(name.clone()).or_default().push(burst.cpu);
            }
        }
    }
    Ok(seen)
}

fn listeners(folder: &Path) -> anyhow::Result<Vec<Listener>> {
    let (mut all, repeat) = compared(&[Variant::None, Variant::Empty])?;
    for (call, _, _) in CALLS {
        let of = |times: &u32| gateway::told(&format!("{call} {times}"), &repeat, &format!("{call} {times}"));
        all.extend(TIMES.iter().map(of));
    }
    let module = std::fs::read(&repeat).context("`make wasm` builds it")?;
    for (last, (name, _)) in PHASES.iter().enumerate() {
        let gone = PHASES.iter().skip(last + 1).flat_map(|(_, exports)| exports.iter());
        let path = folder.join(format!("repeat-{last}.wasm"));
        std::fs::write(&path, gone.fold(module.clone(), |module, export| without(&module, export)))?;
        all.push(gateway::told(name, &path, "nothing 0"));
    }
    Ok(all)
}

fn listeners_once() -> anyhow::Result<Vec<Listener>> {
    let (mut all, repeat) = compared(&[Variant::None, Variant::Weir(Step::Whole)])?;
    all.push(gateway::told(entered(), &repeat, "nothing 0"));
    all.extend(ONCE.iter().map(|call| gateway::told(&once(call), &repeat, &once(call))));
    all.push(gateway::told(ALL_OF_WEIR, &repeat, ALL_OF_WEIR));
    Ok(all)
}

fn once(call: &str) -> String {
    format!("{call} 1")
}

/// Makes a listener for each variant, and the file of the filter that repeats calls.
fn compared(variants: &[Variant]) -> anyhow::Result<(Vec<Listener>, PathBuf)> {
    let (weir, empty) = (workspace::weir_wasm()?, in_repository("build/empty.wasm"));
    let setup = Setup { weir: &weir, empty: &empty, keys: &cases::golden_keys(), tenants: 1_000 };
    let listeners = variants.iter().map(|variant| gateway::variant(*variant, &setup)).collect();
    Ok((listeners, in_repository("build/repeat.wasm")))
}

/// The module with an export under another name of the same length, which no gateway looks for.
fn without(module: &[u8], export: &str) -> Vec<u8> {
    let name = format!("proxy_on_{export}");
    let mut module = module.to_vec();
    // The byte before a name is its length: so that no longer name is found in its place.
    let written = [&[u8::try_from(name.len()).unwrap_or(0)], name.as_bytes()].concat();
    for at in 0..module.len().saturating_sub(written.len()) {
        if module[at..].starts_with(&written) {
            module[at + 1] = b'x';
        }
    }
    module
}

/// Of each round the difference between two listeners, in nanoseconds a request.
fn beyond<'a>(seen: &'a Seen, name: &str, floor: &str) -> anyhow::Result<impl Iterator<Item = i64> + use<'a>> {
    let of = |name: &str| seen.get(name).with_context(|| format!("{name} was measured"));
    Ok(of(name)?.iter().zip(of(floor)?).map(|(one, other)| one - other))
}

/// Prices by function of the ABI, and that of `work`, in nanoseconds.
fn write_calls(seen: &Seen, report: &mut String) -> anyhow::Result<BTreeMap<String, i64>> {
    let [some, many] = TIMES;
    let mut prices = BTreeMap::new();
    writeln!(report, "## What one call costs, among many of its kind\n")?;
    writeln!(report, "| call | ns each, of {many} | quartiles | from {some} to {many} |\n|---|---|---|---|")?;
    for (call, title, function) in CALLS {
        let each = |from: &str, more: u32| -> anyhow::Result<[i64; 3]> {
            Ok(quartiles(beyond(seen, &format!("{call} {many}"), from)?).map(|sum| sum / i64::from(more)))
        };
        let [price, low, high] = each(entered(), many)?;
        let [slope, _, _] = each(&format!("{call} {some}"), many - some)?;
        writeln!(report, "| {title} | {price} | {low} to {high} | {slope} |")?;
        prices.insert(if function.is_empty() { call } else { function }.to_owned(), price);
    }
    writeln!(report)?;
    Ok(prices)
}

/// The filter that has every phase and does nothing.
fn entered() -> &'static str {
    PHASES.last().map_or("", |(name, _)| *name)
}

/// Instructions of one `work`, counted by the test host.
fn instructions_of_work() -> anyhow::Result<i64> {
    let module = FilterModule::load(&in_repository("build/repeat.wasm"))?;
    let fuel = |times: u32| -> anyhow::Result<u64> {
        let gateway = Gateway::envoy().filter(module.clone()).config(format!("work {times}")).try_start()?;
        let reply = gateway.send(get("/")).upstream(ok());
        let fuel = reply.fuel();
        reply.forget();
        Ok(fuel)
    };
    let [some, many] = TIMES;
    Ok(i64::try_from((fuel(many)? - fuel(some)?) / u64::from(many - some))?)
}

fn write_phases(seen: &Seen, report: &mut String) -> anyhow::Result<()> {
    writeln!(
        report,
        "## What entering the filter costs\n\n| filter | beyond no filter, us | quartiles |\n|---|---|---|"
    )?;
    let names = PHASES.iter().map(|(name, _)| *name).chain([Variant::Empty.name()]);
    for name in names {
        let [median, low, high] = quartiles(beyond(seen, name, Variant::None.name())?).map(micros);
        writeln!(report, "| {name} | {median} | {low} to {high} |")?;
    }
    writeln!(report)?;
    Ok(())
}

fn write_once(seen: &Seen, report: &mut String) -> anyhow::Result<()> {
    writeln!(report, "## What one call costs that is made once a request\n\n| call | us | quartiles |\n|---|---|---|")?;
    for call in ONCE {
        let [median, low, high] = quartiles(beyond(seen, &once(call), entered())?).map(micros);
        let (_, title, _) = CALLS.iter().find(|(name, ..)| *name == call).context("a call with a price")?;
        writeln!(report, "| {title} | {median} | {low} to {high} |")?;
    }
    writeln!(report)?;
    Ok(())
}

/// The calls of a small request with a key, and its other costs.
fn write_sum(seen: &Seen, prices: &BTreeMap<String, i64>, work: i64, report: &mut String) -> anyhow::Result<()> {
    let price = |name: &str| prices.get(name).copied().unwrap_or(0);
    let calls = fuel::hostcalls_by_name("get");
    let mut warm = 0;
    for (call, times) in &calls {
        warm += price(call) * i64::try_from(*times)?;
    }
    let instructions = i64::try_from(fuel::instructions_of_get())?;
    let loops = price("work") * instructions / work.max(1);
    let entering = quartiles(beyond(seen, entered(), Variant::None.name())?);
    let once = quartiles(beyond(seen, ALL_OF_WEIR, entered())?);
    let weir = quartiles(beyond(seen, Variant::Weir(Step::Whole).name(), Variant::None.name())?);
    let count: u64 = calls.values().sum();
    writeln!(
        report,
        "## A small request with an API key\n\n| what | us | quartiles | at the prices above |\n|---|---|---|---|"
    )?;
    let mut row = |what: &str, [median, low, high]: [i64; 3], priced: &str| {
        let [median, low, high] = [median, low, high].map(micros);
        writeln!(report, "| {what} | {median} | {low} to {high} | {priced} |")
    };
    row("entering the filter", entering, "")?;
    row(&format!("its {count} calls, each made once by a filter that does nothing else"), once, &micros(warm))?;
    let rest = quartiles(beyond(seen, Variant::Weir(Step::Whole).name(), ALL_OF_WEIR)?);
    row(&format!("what is left: its {instructions} instructions, and events on their way"), rest, &micros(loops))?;
    row("weir, all of it, beyond no filter", weir, "")?;
    writeln!(report, "\nThe calls: {calls:?}.")?;
    Ok(())
}

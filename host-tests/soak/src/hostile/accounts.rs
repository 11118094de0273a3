//! Envoy's account of every request, the filter's, the provider's and the ledger's.
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

use crate::figures::Figures;
use crate::spool;
use crate::stack::Stack;

/// Results of the filter that are no refusal.
const PASSED: [&str; 4] = ["admitted", "bypassed", "preflight", "observed"];

/// Envoy's log lines.
struct Log {
    lines: Vec<Value>,
    /// The usage events that stand in them, by id.
    events: BTreeMap<String, Value>,
    words: usize,
}

/// Compares all of them.
pub(super) fn compare(
    stack: &Stack,
    provider: &BTreeMap<String, u32>,
    log: &Path,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(log)?;
    let lines: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    figures.agree("lines of Envoy's access log", lines.len() as u64, text.lines().count() as u64);
    let words = lines.iter().filter(|line| line["weir"].is_string()).count();
    let log = Log { lines, events: spool::events_in(&text), words };
    faults(stack, figures)?;
    requests(stack, &log, figures)?;
    served(provider, &log, figures);
    numbers(stack, &log, figures)
}

/// No VM has failed, and the filter had no fault of its own.
fn faults(stack: &Stack, figures: &mut Figures) -> anyhow::Result<()> {
    let sum = |name: &str| stack.envoy.stats(name).map(|found| found.values().sum::<u64>());
    figures.agree("VMs that Envoy made anew", sum("vm_reload")?, 0);
    figures.agree("calls that Envoy refused the filter", stack.metric("weir_internal_faults")?, 0);
    let log = stack.envoy.log();
    let failures = log
        .lines()
        .filter(|line| ["Uncaught", "panicked", "wasm failed", "WASM failed"].iter().any(|sign| line.contains(sign)));
    let failures: Vec<&str> = failures.collect();
    figures.check(failures.is_empty(), || format!("a VM has failed: {failures:?}"));
    Ok(())
}

/// Every request that Envoy counts is in its log; each is Envoy's own refusal, weir's, or has an event.
fn requests(stack: &Stack, log: &Log, figures: &mut Figures) -> anyhow::Result<()> {
    let total: u64 = stack.envoy.stats("http.edge.downstream_rq_total")?.values().sum();
    figures.agree("requests that Envoy counts, and those in its log", total, log.lines.len() as u64);
    let results = stack.envoy.stats("weir_requests.result.")?;
    let passed = |name: &str| PASSED.iter().any(|passed| name.ends_with(&format!(".{passed}")));
    let refused: u64 = results.iter().filter(|(name, _)| !passed(name)).map(|(_, count)| count).sum();
    let admitted: u64 = results.iter().filter(|(name, _)| name.ends_with(".admitted")).map(|(_, count)| count).sum();
    let by_weir = log.lines.iter().filter(|line| is_refused_by_weir(line)).count();
    figures.agree("requests that the filter counts as refused, and Envoy as answered by it", refused, by_weir as u64);
    figures.agree("requests that the filter counts as admitted, and those with an event", admitted, log.words as u64);
    let own = log.lines.iter().filter(|line| !line["weir"].is_string() && !is_refused_by_weir(line));
    let own: Vec<&Value> = own.collect();
    figures.say("requests that Envoy refused or dropped itself", own.len());
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    for line in &own {
        let status = &line["status"];
        *reasons.entry(format!("{} {status}", line["details"].as_str().unwrap_or("-"))).or_default() += 1;
    }
    reasons.iter().for_each(|(reason, count)| figures.say(&format!("... {reason}"), count));
    let unseen = own.iter().filter(|line| line["upstream"].is_string()).count();
    let preflights: u64 = results.iter().filter(|(name, _)| name.ends_with(".preflight")).map(|(_, count)| count).sum();
    figures.agree("... that went to the provider, and preflights, which have no event", unseen as u64, preflights);
    let codes: BTreeSet<&str> =
        results.iter().filter(|(_, count)| **count > 0).filter_map(|(name, _)| name.rsplit('.').next()).collect();
    figures.say("kinds of results of the filter", codes.len());
    Ok(())
}

/// Each of weir's refusals names the request, and none of Envoy's own does. Envoy's words for the end say something else where the
/// stream broke behind the refusal.
fn is_refused_by_weir(line: &Value) -> bool {
    line["answer_id"].is_string() && !line["upstream"].is_string()
}

/// Whatever the provider was sent has one event, and was sent once.
fn served(provider: &BTreeMap<String, u32>, log: &Log, figures: &mut Figures) {
    let mut events: BTreeMap<&str, u32> = BTreeMap::new();
    for event in log.events.values() {
        *events.entry(event["data"]["request_id"].as_str().unwrap_or_default()).or_default() += 1;
    }
    figures.say("requests that the provider got", provider.values().sum::<u32>());
    let wrong = provider.iter().filter(|(id, count)| events.get(id.as_str()).is_none_or(|events| events < *count));
    let wrong = wrong.map(|(id, _)| id);
    let without_event = log.lines.iter().filter(|line| !line["weir"].is_string() && line["upstream"].is_string());
    let preflights: BTreeSet<&str> = without_event.filter_map(|line| line["request_id"].as_str()).collect();
    let wrong = wrong.filter(|id| !preflights.contains(id.as_str())).count();
    figures.agree("... without an event of their own, preflights apart", wrong as u64, 0);
}

/// Every number is in one set: accepted by the ledger, refused by it, left in the log, lost, or known to be missing.
fn numbers(stack: &Stack, log: &Log, figures: &mut Figures) -> anyhow::Result<()> {
    let state = |name: &str| stack.metric(&format!("weir_events.state.{name}"));
    let numbered = state("numbered")?;
    let sent = stack.proxy.seen();
    let numbers = (log.events.len() + sent.reports.len()) as u64;
    figures.agree("events in Envoy's log, each once", log.events.len() as u64, log.words as u64);
    figures.agree(
        "numbers given by the filter: for those, and for reports of refusals and findings",
        numbered,
        numbers,
    );
    let arrived = (sent.usage.len() + sent.reports.len()) as u64;
    figures.agree("... sent, each once", arrived, state("acknowledged")?);
    let differing =
        log.events.iter().filter(|(id, event)| sent.usage.get(*id).is_some_and(|sent| sent != *event)).count();
    figures.agree("... that say another thing than the log", differing as u64, 0);
    figures.agree("... sent or left for a replay", state("acknowledged")? + state("spilled")?, numbered);
    for name in ["refused", "lost"] {
        figures.agree(&format!("... {name}"), state(name)?, 0);
    }
    let ledger = stack.weir(&["ledger", "--json"])?;
    let total = |field: &str| ledger["totals"][field].as_u64().unwrap_or(u64::MAX);
    figures.agree("accepted by the ledger", total("accepted"), numbered);
    for field in ["missing", "conflicts", "quarantined"] {
        figures.agree(&format!("... {field}"), total(field), 0);
    }
    figures.check(ledger["balanced"] == true, || format!("the books do not balance: {}", ledger["totals"]));
    Ok(())
}

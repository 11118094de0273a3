//! Compares what clients got, what providers saw and what the aggregator was told.
use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::clients::Got;
use super::provider::{Fate, Seen};
use super::{Sent, Stack};
use crate::figures::Figures;

/// What a provider's answer to one request tells of its attempt, in the words of `weir.attempts.v1`; None where it served.
fn failure(seen: &Seen) -> Option<&'static str> {
    Some(match (seen.fate, seen.streams) {
        (Fate::Serves, _) => return None,
        (Fate::Limits, _) => "rate_limited",
        (Fate::Fails, _) => "server_error",
        (Fate::Overloads, _) => "overloaded",
        (Fate::Silent | Fate::SilentBehindHead, _) => "silent",
        (Fate::Garbles, _) => "unreadable",
        (Fate::Cuts | Fate::BreaksOff, true) => "cut_off",
        // An answer that comes whole is held until its end.
        (Fate::Resets, _) | (Fate::Cuts | Fate::BreaksOff, false) => "reset",
    })
}

/// Whether the client has seen a byte of it, so that nobody else may be asked.
fn has_begun(seen: &Seen) -> bool {
    seen.fate == Fate::Serves || matches!(failure(seen), Some("cut_off"))
}

fn all_seen(stack: &Stack) -> Vec<Seen> {
    let mut all: Vec<Seen> = stack.providers.iter().flat_map(super::provider::Provider::seen).collect();
    all.sort_by_key(|seen| seen.at);
    all
}

/// Every client got an answer or an error; nobody was asked again behind the first byte.
pub(super) fn clients(stack: &Stack, sent: &[Sent], figures: &mut Figures) {
    let count = |wanted: &Got| sent.iter().filter(|(_, got, _)| got == wanted).count();
    figures.say("requests sent", sent.len());
    for (what, got) in [("answers", Got::Answer), ("errors", Got::Error), ("broken off in a stream", Got::BrokenOff)] {
        figures.say(&format!("... {what}"), count(&got));
    }
    let mut by_number: HashMap<u64, Vec<Seen>> = HashMap::new();
    for seen in all_seen(stack) {
        by_number.entry(seen.number).or_default().push(seen);
    }
    for (planned, got, _) in sent {
        let tried = by_number.get(&planned.number).map_or(&[][..], Vec::as_slice);
        let last = tried.last().map(|seen| seen.fate);
        if let Got::Invalid(problem) = got {
            figures.problems.push(format!("{planned:?} after {last:?}: {problem}"));
        }
        figures.check(*got != Got::BrokenOff || last == Some(Fate::BreaksOff), || {
            format!("{planned:?} broke off after {last:?}")
        });
        figures.check(*got != Got::Answer || last == Some(Fate::Serves), || {
            format!("{planned:?}: an answer after {last:?}")
        });
        let begun = tried.iter().position(has_begun).map(|at| tried.len() - at - 1);
        figures.check(begun.unwrap_or(0) == 0, || format!("{planned:?} was sent again behind a first byte: {tried:?}"));
    }
}

/// The sums by model that the aggregator was told.
pub(super) fn sums(stack: &Stack) -> Vec<Value> {
    let events = stack.proxy.seen().attempts.into_values();
    events.flat_map(|event| event["data"]["models"].as_array().cloned().unwrap_or_default()).collect()
}

/// Events, sums and the ledger agree with the providers.
pub(super) fn events(stack: &Stack, sent: &[Sent], figures: &mut Figures) -> anyhow::Result<()> {
    let events = stack.proxy.seen().usage;
    figures.agree("usage events", events.len() as u64, sent.len() as u64);
    let attempts = events.values().filter_map(|event| event["data"]["routed"]["attempts"].as_u64()).sum::<u64>();
    figures.agree("attempts in them, and in the gateway's metric", attempts, stack.metric("weir_attempts")?);
    let sums = sums(stack);
    figures.agree("... in the sums", sums.iter().filter_map(|model| model["made"].as_u64()).sum(), attempts);
    failures(stack, &sums, attempts, figures);
    tokens(stack, &events, figures)?;
    let ledger = stack.weir(&["ledger", "--json"])?;
    for field in ["missing", "conflicts", "quarantined"] {
        figures.agree(&format!("ledger: {field}"), ledger["totals"][field].as_u64().unwrap_or(u64::MAX), 0);
    }
    figures.agree(
        "breakers opened, and closed",
        stack.metric("weir_breakers_opened")?,
        stack.metric("weir_breakers_closed")?,
    );
    Ok(())
}

/// The sums by reason are what the providers did.
fn failures(stack: &Stack, sums: &[Value], attempts: u64, figures: &mut Figures) {
    let mut told: BTreeMap<&str, u64> = BTreeMap::new();
    for (reason, count) in sums.iter().flat_map(|model| model["failed"].as_object().into_iter().flatten()) {
        *told.entry(reason).or_default() += count.as_u64().unwrap_or(0);
    }
    let seen = all_seen(stack);
    let mut done: BTreeMap<&str, u64> = BTreeMap::new();
    seen.iter().filter_map(failure).for_each(|reason| *done.entry(reason).or_default() += 1);
    for reason in ["rate_limited", "overloaded", "server_error", "silent", "unreadable", "cut_off"] {
        let of = |counts: &BTreeMap<&str, u64>| counts.get(reason).copied().unwrap_or(0);
        figures.agree(&format!("... failed: {reason}"), of(&told), of(&done));
    }
    // A provider that is away sees nothing, and neither does one whose kept connection breaks as a request is put on it.
    let told = |reason: &str| told.get(reason).copied().unwrap_or(0);
    let unseen = told("unreachable") + told("reset").saturating_sub(done.get("reset").copied().unwrap_or(0));
    figures.say("... failed: unreachable", told("unreachable"));
    figures.say("... failed: reset", told("reset"));
    figures.agree("attempts that no provider saw", attempts.saturating_sub(seen.len() as u64), unseen);
    figures.agree("attempts without a reason", told("unanswered"), 0);
}

/// Complete events say what the provider that served says, and the ledger has their sums.
fn tokens(stack: &Stack, events: &BTreeMap<String, Value>, figures: &mut Figures) -> anyhow::Result<()> {
    let served: HashMap<String, (u64, u64)> = all_seen(stack)
        .into_iter()
        .filter(|seen| seen.fate == Fate::Serves)
        .map(|seen| (seen.request_id, seen.tokens))
        .collect();
    let mut sum = (0, 0);
    for event in events.values() {
        let data = &event["data"];
        let number = |field: &str| data["usage"][field].as_u64().unwrap_or(0);
        let said = served.get(data["request_id"].as_str().unwrap_or_default());
        if let Some(said) = said {
            let counted = (number("input_tokens"), number("output_tokens"));
            sum = (sum.0 + said.0, sum.1 + said.1);
            let is_same = data["usage"]["status"] == "complete" && counted == *said;
            figures.check(is_same, || format!("served {said:?}, counted {data}"));
        } else {
            figures.check(data["usage"]["status"] != "complete", || format!("nobody served {data}"));
        }
    }
    let usage = stack.weir(&["usage", "--json"])?;
    let of = |meter: &str| -> u64 {
        let rows = usage["usage"].as_array().into_iter().flatten().filter(|row| row["meter"] == meter);
        rows.filter_map(|row| row["billable"].as_u64()).sum()
    };
    figures.agree("input tokens of the providers, and in the ledger", sum.0, of("complete_input"));
    figures.agree("output tokens of the providers, and in the ledger", sum.1, of("complete_output"));
    Ok(())
}

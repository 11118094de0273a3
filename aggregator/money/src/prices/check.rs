//! Looks for slips in a book that is valid: patterns that compete, kinds without a price, prices that leap.
use std::collections::BTreeMap;

use serde::Serialize;
use weir_contract::glob;
use weir_ledger::amount::Pico;
use weir_ledger::cost::Kind;

use super::entry::{Entry, TokenKind};
use super::{Book, Layer};

/// A price that is this many times its predecessor, or this part of it, is taken for a slip of the hand.
const LEAP: i128 = 10;
/// The most findings told; the first ones matter most.
const FINDINGS_MAX: usize = 500;

/// Something in a price book that a person should look at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The layer.
    pub layer: String,
    /// The entry's number there, from 0.
    pub entry: usize,
    /// The model or pattern.
    pub model: String,
    /// What it is.
    pub what: Slip,
    /// It in words, with a remedy.
    pub problem: String,
}

/// Kinds of slips.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Slip {
    /// Two patterns of the same length fit the same model.
    Overlap,
    /// A model has no price before some moment.
    Gap,
    /// A model has input or output without a price.
    MissingKind,
    /// A price is ten times its predecessor, or a tenth.
    Leap,
}

/// Checks every entry but those of the shipped list, which is made by machine.
pub fn check(book: &Book) -> Vec<Finding> {
    let mut findings = Vec::new();
    for layer in book.layers().iter().filter(|layer| layer.name != super::shipped::NAME) {
        overlaps(layer, &mut findings);
        for (number, entry) in layer.entries.iter().enumerate() {
            kinds(layer, number, entry, &mut findings);
        }
        versions(layer, &mut findings);
    }
    findings.truncate(FINDINGS_MAX);
    findings
}

fn finding(layer: &Layer, number: usize, what: Slip, problem: String) -> Finding {
    let model = layer.entries.get(number).map_or(String::new(), |entry| entry.model.clone());
    Finding { layer: layer.name.clone(), entry: number, model, what, problem }
}

fn overlaps(layer: &Layer, findings: &mut Vec<Finding>) {
    let mut by_length: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (number, entry) in layer.entries.iter().enumerate().filter(|(_, entry)| entry.model.contains('*')) {
        by_length.entry(entry.model.len()).or_default().push(number);
    }
    for numbers in by_length.values() {
        for (at, first) in numbers.iter().enumerate() {
            for second in numbers.iter().skip(at + 1) {
                let (Some(a), Some(b)) = (layer.entries.get(*first), layer.entries.get(*second)) else { continue };
                if a.model != b.model && a.provider == b.provider && compete(&a.model, &b.model) {
                    let problem = format!(
                        "{:?} and {:?} (entries[{first}]) are equally long and fit the same models; make one of them longer",
                        b.model, a.model
                    );
                    findings.push(finding(layer, *second, Slip::Overlap, problem));
                }
            }
        }
    }
}

/// Returns true if a name exists that both patterns fit: each star stands for the other's text.
pub(crate) fn compete(a: &str, b: &str) -> bool {
    let filled = |pattern: &str, text: &str| pattern.replacen('*', text, 1).replace('*', "");
    let texts = |other: &str| other.split('*').map(str::to_owned).collect::<Vec<_>>();
    let try_all = |a: &str, b: &str| {
        let parts = texts(b);
        let joined = parts.iter().filter(|part| !part.is_empty()).cloned().collect::<Vec<_>>();
        joined.iter().chain([&String::new()]).any(|text| {
            let name = filled(a, text);
            glob::matches(a, &name) && glob::matches(b, &name)
        })
    };
    try_all(a, b) || try_all(b, a)
}

fn kinds(layer: &Layer, number: usize, entry: &Entry, findings: &mut Vec<Finding>) {
    let has = |kind| entry.per_million.contains_key(&TokenKind(kind));
    if entry.per_million.is_empty() {
        if entry.prices().is_empty() {
            let problem = "no price at all; leave the entry out, or give it per_million".to_owned();
            findings.push(finding(layer, number, Slip::MissingKind, problem));
        }
        return;
    }
    for (kind, root) in [(Kind::Input, "input"), (Kind::Output, "output")] {
        let of_root = |TokenKind(kind): &TokenKind| std::iter::successors(Some(*kind), |kind| kind.parent()).last();
        let partly = entry.per_million.keys().any(|given| of_root(given) == Some(kind));
        let embeds = kind == Kind::Output && !partly && has(Kind::Input);
        if !has(kind) && !embeds {
            let problem = format!("no price for {root}: such tokens are unpriced; give `{root}`, 0 if it is free");
            findings.push(finding(layer, number, Slip::MissingKind, problem));
        }
    }
}

/// Compares entries of one model with those before them.
fn versions(layer: &Layer, findings: &mut Vec<Finding>) {
    let mut models: BTreeMap<(&Option<String>, &str), Vec<usize>> = BTreeMap::new();
    for (number, entry) in layer.entries.iter().enumerate() {
        models.entry((&entry.provider, &entry.model)).or_default().push(number);
    }
    for mut numbers in models.into_values() {
        numbers.sort_by_key(|number| layer.entries.get(*number).and_then(|entry| entry.effective_from));
        let first = numbers.first().and_then(|number| Some((*number, layer.entries.get(*number)?.effective_from?)));
        if let Some((number, from)) = first {
            let problem =
                format!("no price of this file before {from}; an older one needs an entry without effective_from");
            findings.push(finding(layer, number, Slip::Gap, problem));
        }
        for pair in numbers.windows(2) {
            let (Some(before), Some(after)) = (layer.entries.get(pair[0]), layer.entries.get(pair[1])) else {
                continue;
            };
            for (kind, was, is) in leaps(before, after) {
                let problem = format!("{kind} goes from {was} to {is}; see that the unit is right");
                findings.push(finding(layer, pair[1], Slip::Leap, problem));
            }
        }
    }
}

fn leaps(before: &Entry, after: &Entry) -> Vec<(&'static str, Pico, Pico)> {
    let pairs = after
        .per_million
        .iter()
        .filter_map(|(kind, is)| Some((kind.0.as_str(), before.per_million.get(kind)?.value(), is.value())));
    let leaps = |was: Pico, is: Pico| was.0 > 0 && is.0 > 0 && (is.0 >= was.0 * LEAP || was.0 >= is.0 * LEAP);
    pairs.filter(|(_, was, is)| leaps(*was, *is)).collect()
}

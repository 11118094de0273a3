//! Finds the entry that answers for a model.
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use foldhash::{HashMap, HashMapExt};
use weir_contract::{Timestamp, glob};

use super::entry::Entry;
use super::rates::{Compiled, Found, Rates};
use super::{BookError, Layer};
use weir_ledger::amount::Currency;

/// The most names whose entries are remembered. Providers name a few hundred models; clients may send any name.
const REMEMBERED_MAX: usize = 4_096;
/// The provider that events name wherever an answer has OpenAI's shape and shows no sign of its own.
const SHAPE_OF_MANY: &str = "openai";

/// One entry, ready to answer.
#[derive(Debug)]
struct Candidate {
    found: Found,
    provider: Option<Box<str>>,
    /// None for a pattern.
    exact: bool,
    pattern: Box<str>,
    from: u64,
    compiled: Compiled,
}

/// Candidates for a name, the best first.
type Ranked = Arc<[usize]>;

#[derive(Debug)]
pub(super) struct Index {
    candidates: Vec<Candidate>,
    /// Numbers of candidates by exact model name.
    exact: HashMap<Box<str>, Vec<usize>>,
    patterns: Vec<usize>,
    remembered: Mutex<Remembered>,
}

/// What was looked up before.
#[derive(Debug, Default)]
struct Remembered {
    by_name: HashMap<Box<str>, Ranked>,
    /// Room for the name that is looked up: every event does so.
    name: String,
}

/// The rates that apply to a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Applied<'i> {
    pub(crate) found: Found,
    pub(crate) currency: Currency,
    /// The number of input tokens above which they begin, and the rates. None if the tier has no price.
    pub(crate) rates: Option<(u64, &'i Rates)>,
}

impl Index {
    pub(super) fn new(layers: &[Layer]) -> Result<Self, BookError> {
        let (mut candidates, mut exact, mut patterns) = (Vec::new(), HashMap::new(), Vec::new());
        for (layer_number, layer) in layers.iter().enumerate() {
            let mut known: HashMap<(Option<&str>, &str, u64), usize> = HashMap::new();
            for (number, entry) in layer.entries.iter().enumerate() {
                let candidate = candidate(layer_number, number, entry)
                    .map_err(|(field, problem)| error(layer, number, &field, problem))?;
                if let Some(other) = known.insert((entry.provider.as_deref(), &entry.model, candidate.from), number) {
                    let problem = format!(
                        "overlaps entries[{other}]: the same provider, model and effective_from; give the later one an \
                         effective_from of its own, or leave one out"
                    );
                    return Err(error(layer, number, "model", problem));
                }
                if candidate.exact {
                    exact.entry(candidate.pattern.clone()).or_insert_with(Vec::new).push(candidates.len());
                } else {
                    patterns.push(candidates.len());
                }
                candidates.push(candidate);
            }
        }
        Ok(Index { candidates, exact, patterns, remembered: Mutex::default() })
    }

    pub(super) fn find(&self, provider: Option<&str>, model: &str, time: Timestamp) -> Option<Found> {
        Some(self.in_force(provider, model, time)?.found)
    }

    /// The rates for a model under a tier and for an input of so many tokens. None if no entry is in force.
    pub(crate) fn apply(
        &self,
        provider: Option<&str>,
        model: &str,
        time: Timestamp,
        (tier, input_tokens): (&str, u64),
    ) -> Option<Applied<'_>> {
        let Candidate { found, compiled, .. } = self.in_force(provider, model, time)?;
        Some(Applied { found: *found, currency: compiled.currency, rates: compiled.rates(tier, input_tokens) })
    }

    /// Layer and entry of every candidate, the best first.
    pub(super) fn history(&self, provider: Option<&str>, model: &str) -> Vec<(usize, usize)> {
        let ranked = self.ranked(provider, model);
        let numbers = ranked.iter().filter_map(|number| self.candidates.get(*number));
        numbers.map(|candidate| (candidate.found.layer, candidate.found.entry)).collect()
    }

    /// The providers whose entries fit a model by name.
    pub(super) fn providers(&self, model: &str) -> BTreeSet<&str> {
        let fits = |candidate: &&Candidate| glob::matches(&candidate.pattern, model);
        self.candidates.iter().filter(fits).filter_map(|candidate| candidate.provider.as_deref()).collect()
    }

    fn in_force(&self, provider: Option<&str>, model: &str, time: Timestamp) -> Option<&Candidate> {
        let ranked = self.ranked(provider, model);
        let mut numbers = ranked.iter().filter_map(|number| self.candidates.get(*number));
        numbers.find(|candidate| candidate.from <= time.as_millis())
    }

    fn ranked(&self, provider: Option<&str>, model: &str) -> Ranked {
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        let Remembered { by_name, name } = &mut *remembered;
        name.clear();
        name.push_str(provider.unwrap_or_default());
        name.push('\0');
        name.push_str(model);
        if let Some(known) = by_name.get(name.as_str()) {
            return Arc::clone(known);
        }
        if by_name.len() >= REMEMBERED_MAX {
            by_name.clear();
        }
        let ranked: Ranked = self.rank(provider, model).into();
        by_name.insert(name.as_str().into(), Arc::clone(&ranked));
        ranked
    }

    fn rank(&self, provider: Option<&str>, model: &str) -> Vec<usize> {
        let named = |number: &usize| self.candidates.get(*number).is_some_and(|c| glob::matches(&c.pattern, model));
        let exact = self.exact.get(model).into_iter().flatten().copied();
        let all: Vec<usize> = exact.chain(self.patterns.iter().copied().filter(named)).collect();
        let provider_of = |number: &usize| self.candidates.get(*number).and_then(|c| c.provider.as_deref());
        let mut fitting: Vec<usize> =
            all.iter().copied().filter(|n| provider_of(n).is_none_or(|named| Some(named) == provider)).collect();
        if fitting.is_empty() && provider.is_none_or(|provider| provider == SHAPE_OF_MANY) {
            // The shape tells nothing of the provider: the model's name does where only one provider has it.
            let providers: BTreeSet<_> = all.iter().filter_map(provider_of).collect();
            fitting = if providers.len() == 1 { all } else { Vec::new() };
        }
        fitting.sort_by_key(|number| self.candidates.get(*number).map(Candidate::rank));
        fitting
    }
}

impl Candidate {
    /// The better of two has the smaller rank.
    fn rank(&self) -> impl Ord {
        use std::cmp::Reverse;
        let length = if self.exact { usize::MAX } else { self.pattern.len() };
        (self.found.layer, Reverse(length), self.provider.is_none(), Reverse(self.from), self.pattern.clone())
    }
}

fn candidate(layer: usize, number: usize, entry: &Entry) -> Result<Candidate, (String, String)> {
    if entry.model.is_empty() {
        return Err(("model".to_owned(), "empty; write a model's name or a pattern such as gpt-4o*".to_owned()));
    }
    if let Some(from) = entry.effective_from
        && from.hour() != from
    {
        return Err(("effective_from".to_owned(), "not a full hour: sums are kept by the hour (UTC)".to_owned()));
    }
    let compiled = Compiled::new(entry)?;
    Ok(Candidate {
        found: Found { layer, entry: number },
        provider: entry.provider.as_deref().map(Into::into),
        exact: !entry.model.contains('*'),
        pattern: entry.model.as_str().into(),
        from: entry.effective_from.map_or(0, Timestamp::as_millis),
        compiled,
    })
}

fn error(layer: &Layer, number: usize, field: &str, problem: String) -> BookError {
    BookError { layer: layer.name.clone(), field: format!("entries[{number}].{field}"), problem }
}

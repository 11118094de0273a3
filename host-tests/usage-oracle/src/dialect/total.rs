//! Where the rest of a total belongs.
//!
//! `total_tokens` is documented as prompt and completion together (OpenAI API reference, "The usage object"). Providers
//! that count more say so in their details: reasoning beside the completion (xAI), caches beside the prompt, audio
//! beside the prompt's text (Mistral's Voxtral). The project's decision: what prompt details or caches explain is input;
//! what reasoning explains is output; what nothing explains is output.

use super::TokenCounts;

/// Counts as the provider names them, before the total is compared.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parts {
    pub(crate) input: u64,
    pub(crate) output: u64,
    pub(crate) total: Option<u64>,
    pub(crate) cache_read: u64,
    pub(crate) cache_write: u64,
    pub(crate) reasoning: u64,
    /// Details of the prompt that may stand beside it: audio, images, video.
    pub(crate) prompt_details: Vec<u64>,
    /// The prompt had audio, of which the provider reports seconds only.
    pub(crate) audio_seconds: bool,
    /// Further counts of which no documentation says whether they are input or output.
    pub(crate) strangers: Vec<u64>,
}

/// The outcome of comparing a total with its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Settled {
    /// The provider's numbers explain the total.
    Sure(TokenCounts),
    /// The total holds more than its parts; the rest is output by the project's rule.
    Guessed(TokenCounts),
    /// A count of unknown side explains the total: it is input, or it is neither.
    Either([TokenCounts; 2]),
    /// The numbers contradict each other.
    Open(&'static str),
}

/// Compares a total with its parts.
pub(crate) fn settle(parts: &Parts) -> Settled {
    let Some(sum) = parts.input.checked_add(parts.output) else {
        return Settled::Open("counts beyond 64 bits");
    };
    let Some(rest) = parts.total.unwrap_or(sum).checked_sub(sum) else {
        return Settled::Open("a total below its parts");
    };
    if rest == 0 {
        return inside(parts);
    }
    match explanations(parts, rest).as_slice() {
        [(input, output)] => Settled::Sure(tally(parts, *input, *output)),
        [] if parts.strangers.contains(&rest) => Settled::Either([tally(parts, rest, 0), tally(parts, 0, 0)]),
        [] => Settled::Guessed(tally(parts, 0, rest)),
        _ => Settled::Open("a rest of the total that two parts explain"),
    }
}

/// Nothing is beside the prompt, so the caches have to fit into it.
fn inside(parts: &Parts) -> Settled {
    match parts.cache_read.checked_add(parts.cache_write) {
        Some(cached) if cached <= parts.input => Settled::Sure(tally(parts, 0, 0)),
        _ => Settled::Open("caches greater than the prompt that holds them"),
    }
}

/// Every way in which the details explain the rest, as additions to input and output.
fn explanations(parts: &Parts, rest: u64) -> Vec<(u64, u64)> {
    let caches = [0, parts.cache_read, parts.cache_write, parts.cache_read.saturating_add(parts.cache_write)];
    let details = parts.prompt_details.iter().copied().chain([parts.prompt_details.iter().sum()]);
    let beside_prompt: Vec<u64> = caches.into_iter().chain(details).collect();
    let mut found = Vec::new();
    for input in beside_prompt {
        for output in [0, parts.reasoning] {
            if input.checked_add(output) == Some(rest) && !found.contains(&(input, output)) {
                found.push((input, output));
            }
        }
    }
    if parts.audio_seconds && !found.contains(&(rest, 0)) {
        found.push((rest, 0));
    }
    found
}

fn tally(parts: &Parts, more_input: u64, more_output: u64) -> TokenCounts {
    TokenCounts {
        input: Some(parts.input.saturating_add(more_input)),
        output: Some(parts.output.saturating_add(more_output)),
        cache_read: parts.cache_read,
        cache_write: parts.cache_write,
        reasoning: parts.reasoning,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(parts: Parts) -> (u64, u64, bool) {
        match settle(&parts) {
            Settled::Sure(tally) => (tally.input.unwrap(), tally.output.unwrap(), true),
            Settled::Guessed(tally) => (tally.input.unwrap(), tally.output.unwrap(), false),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn caches_beside_the_prompt_are_input() {
        let parts = Parts {
            input: 3,
            output: 550,
            total: Some(12857),
            cache_read: 300,
            cache_write: 12004,
            ..Parts::default()
        };
        assert_eq!(counts(parts), (12307, 550, true));
    }

    #[test]
    fn reasoning_beside_the_completion_is_output() {
        let parts =
            Parts { input: 12, output: 1, total: Some(303), reasoning: 290, cache_read: 11, ..Parts::default() };
        assert_eq!(counts(parts), (12, 291, true));
    }

    #[test]
    fn audio_beside_the_prompt_is_input_also_where_only_its_seconds_are_told() {
        let parts = Parts { input: 9, output: 248, total: Some(632), prompt_details: vec![375], ..Parts::default() };
        assert_eq!(counts(parts), (384, 248, true));
        let parts = Parts { input: 4, output: 635, total: Some(3264), audio_seconds: true, ..Parts::default() };
        assert_eq!(counts(parts), (2629, 635, true));
    }

    #[test]
    fn a_rest_that_nothing_explains_is_output_by_rule() {
        let parts = Parts { input: 758, output: 102, total: Some(1725), ..Parts::default() };
        assert_eq!(counts(parts), (758, 967, false));
    }

    #[test]
    fn contradictions_stay_open() {
        let parts = Parts { input: 10, output: 20, total: Some(25), ..Parts::default() };
        assert!(matches!(settle(&parts), Settled::Open(_)));
        let parts = Parts { input: 5, output: 5, total: Some(17), reasoning: 7, cache_read: 7, ..Parts::default() };
        assert!(matches!(settle(&parts), Settled::Open(_)));
    }
}

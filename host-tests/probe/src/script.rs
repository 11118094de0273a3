//! The script: which actions belong to which callback, and what they decide.

use std::collections::BTreeMap;

use crate::{abi, actions};

/// A callback's result for the host.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Continue,
    Pause,
    False,
}

/// Actions by callback.
#[derive(Clone, Default)]
pub(crate) struct Script(BTreeMap<String, Vec<String>>);

impl Script {
    pub(crate) fn parse(text: &str) -> Self {
        let lines = text.lines().filter_map(|line| line.split_once(": "));
        let actions = |list: &str| list.split(';').map(|action| action.trim().to_owned()).collect();
        Self(lines.map(|(phase, list)| (phase.trim().to_owned(), actions(list))).collect())
    }

    pub(crate) fn actions(&self, phase: &str) -> &[String] {
        self.0.get(phase).map_or(&[], Vec::as_slice)
    }
}

/// One callback under way.
pub(crate) struct Run {
    pub(crate) phase: &'static str,
    pub(crate) root: u32,
    pub(crate) end_of_stream: bool,
    pub(crate) streams: Vec<u32>,
}

impl Run {
    pub(crate) fn all(&self, actions: &[String]) -> Verdict {
        let mut verdict = Verdict::Continue;
        for action in actions {
            let words: Vec<&str> = action.split_whitespace().collect();
            match words.as_slice() {
                ["pause"] => verdict = Verdict::Pause,
                ["pause_until_end"] if !self.end_of_stream => verdict = Verdict::Pause,
                ["pause_until_end"] => {}
                ["refuse"] => verdict = Verdict::False,
                _ => {
                    let answer = actions::act(self.root, &self.streams, &words);
                    abi::log(abi::INFO, &format!("{}: {action} -> {answer}", self.phase));
                }
            }
        }
        verdict
    }
}

//! The measurements of a run, and its discrepancies.

/// The result of a run.
#[derive(Debug, Default)]
pub struct Figures {
    /// Lines for people: what was measured.
    pub lines: Vec<(String, String)>,
    /// What does not agree; empty when all is well.
    pub problems: Vec<String>,
}

impl Figures {
    pub(crate) fn say(&mut self, what: &str, value: impl std::fmt::Display) {
        self.lines.push((what.to_owned(), value.to_string()));
    }

    pub(crate) fn check(&mut self, holds: bool, problem: impl FnOnce() -> String) {
        if !holds {
            self.problems.push(problem());
        }
    }

    pub(crate) fn agree(&mut self, what: &str, one: u64, other: u64) {
        self.say(what, one);
        self.check(one == other, || format!("{what}: {one}, and {other} on the other side"));
    }

    /// Prints lines and problems; true when there are no problems.
    #[must_use]
    pub fn print(&self) -> bool {
        self.lines.iter().for_each(|(what, value)| println!("{what:<58} {value:>12}"));
        self.problems.iter().for_each(|problem| println!("PROBLEM: {problem}"));
        self.problems.is_empty()
    }
}

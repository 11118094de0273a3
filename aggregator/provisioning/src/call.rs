//! Calls of a saga, and their answers.
use weir_contract::Timestamp;

use crate::step::Step;

/// What a call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Looks for something that was there before.
    Find,
    /// Makes it, under an idempotency key.
    Make,
    /// Looks for something that this saga may have made. Sees everything that was made before the call.
    List,
    /// Removes what this saga made.
    Drop,
    /// Does what the step is about; a repeat has no second effect.
    Do,
    /// Takes that back; a repeat has no second effect.
    Undo,
}

impl Act {
    /// As the journal writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Act::Find => "find",
            Act::Make => "make",
            Act::List => "list",
            Act::Drop => "drop",
            Act::Do => "do",
            Act::Undo => "undo",
        }
    }
}

/// A call that is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The step.
    pub step: Step,
    /// What to do.
    pub act: Act,
    /// The number of the idempotency key, for [`Act::Make`].
    pub key: u32,
    /// The name of what was made, for [`Act::Drop`] and [`Act::Undo`].
    pub made: Option<String>,
    /// When the step began; what it made is not older.
    pub begun_at: Timestamp,
}

/// What came of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is done, or there: with its name, if it has one.
    Done(Option<String>),
    /// There is none.
    Missing,
    /// It is under way, and worth another call at that time.
    Later(Timestamp),
    /// It was refused for good, and this call did nothing.
    Refused(String),
    /// It was turned away for now, and this call did nothing: too many calls, or a key that is wrong.
    TurnedAway(String),
    /// What it needs is not configured any more: nobody was asked.
    Unconfigured(String),
    /// It is not done and counts as done: there is nobody any more to do it for, or an operator said so.
    Skipped(String),
    /// It is there already, and this call did nothing. Of a step that repeats no answers: the call itself, or one before it without a
    /// clear answer, may have made it.
    Taken(String),
    /// Nobody knows whether it was done; a repeat under the same key tells.
    Unsure(String),
    /// It failed after it may have been done, and the key would repeat that answer.
    Broken(String),
}

impl Answer {
    /// As the journal writes it.
    pub fn as_text(&self) -> String {
        match self {
            Answer::Done(None) => "done".to_owned(),
            Answer::Done(Some(name)) => format!("done: {name}"),
            Answer::Missing => "there is none".to_owned(),
            Answer::Later(at) => format!("again at {at}"),
            Answer::Refused(why) => format!("refused: {why}"),
            Answer::TurnedAway(why) => format!("turned away: {why}"),
            Answer::Unconfigured(why) => format!("not configured: {why}"),
            Answer::Skipped(why) => format!("skipped: {why}"),
            Answer::Taken(why) => format!("there already: {why}"),
            Answer::Unsure(why) => format!("no clear answer: {why}"),
            Answer::Broken(why) => format!("failed: {why}"),
        }
    }
}

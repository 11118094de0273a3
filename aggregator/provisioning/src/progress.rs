//! A step of a saga on its way: which call is next, and what follows its answer.
use serde::{Deserialize, Serialize};
use weir_contract::Timestamp;

use crate::call::{Act, Answer, Call};
use crate::step::{Kind, Planned, Step};

/// How long an idempotency key protects, in milliseconds: Stripe keeps them for 24 hours at least.
pub(crate) const KEY_PROTECTS_MS: u64 = 23 * 3_600_000;
/// The calls without a clear answer after which a provisioning gives up: some four minutes of pauses.
const ATTEMPTS_MAX: u32 = 12;
/// The first pause after a call without a clear answer, in milliseconds. Each one doubles it.
const PAUSE_FIRST_MS: u64 = 500;
/// The longest pause, in milliseconds.
const PAUSE_MAX_MS: u64 = 30_000;

/// How far a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// Nothing was done.
    Open,
    /// There is none yet, and nothing was done.
    Absent,
    /// A call was made, or was about to be.
    Begun,
    /// A call failed that may have done its work.
    Doubtful,
    /// It is done.
    Done,
    /// It was there before.
    Adopted,
    /// It is taken back.
    Undone,
    /// It was not done, or not taken back, and nobody will: `why` says why not.
    Skipped,
}

/// A step on its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The step.
    pub step: Step,
    /// How far it is.
    pub mark: Mark,
    /// The number of its idempotency key.
    #[serde(default)]
    pub key: u32,
    /// The name of what was made or found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made: Option<String>,
    /// When its first call was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begun_at: Option<Timestamp>,
    /// When its key was first used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_at: Option<Timestamp>,
    /// A call that makes it had no clear answer: what is found may be its work.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unclear: bool,
    /// How many calls in succession had no clear answer.
    #[serde(default)]
    pub attempts: u32,
    /// When the next call is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<Timestamp>,
    /// How long it may be under way elsewhere, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patience_ms: Option<u64>,
    /// What the last call met with, if that was no success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// Why a saga does not go on.
pub(crate) enum Failure {
    GaveUp(String),
    CalledOff(String),
}

impl Progress {
    pub(crate) fn new(planned: Planned) -> Self {
        Progress {
            step: planned.step,
            mark: Mark::Open,
            key: 0,
            made: None,
            begun_at: None,
            key_at: None,
            unclear: false,
            attempts: 0,
            due: None,
            patience_ms: planned.patience_ms,
            why: None,
        }
    }

    /// Records that a call is about to be made.
    pub(crate) fn begin(&mut self, call: &Call, now: Timestamp) {
        self.begun_at.get_or_insert(now);
        if call.act == Act::Make && self.mark != Mark::Begun {
            (self.key, self.key_at) = (call.key, Some(now));
        } else if matches!(call.act, Act::Make | Act::List) && self.mark == Mark::Begun {
            // The call before this one has left no answer.
            self.unclear = true;
        }
        if matches!(call.act, Act::Make | Act::Do) {
            self.mark = Mark::Begun;
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        matches!(self.mark, Mark::Done | Mark::Adopted | Mark::Skipped)
    }

    pub(crate) fn is_to_undo(&self) -> bool {
        matches!(self.mark, Mark::Begun | Mark::Doubtful | Mark::Done)
    }

    /// Whether it was tried and will be tried again.
    pub(crate) fn is_failing(&self, is_back: bool) -> bool {
        self.attempts > 0 && if is_back { self.is_to_undo() } else { !self.is_done() }
    }

    pub(crate) fn call(&self, act: Act, now: Timestamp) -> Call {
        let key = if act == Act::Make && self.mark != Mark::Begun { self.key + 1 } else { self.key };
        Call { step: self.step, act, key, made: self.made.clone(), begun_at: self.begun_at.unwrap_or(now) }
    }

    pub(crate) fn forward(&self, now: Timestamp) -> Act {
        match (self.step.makes(), self.mark) {
            (false, _) => Act::Do,
            (true, Mark::Open) => Act::Find,
            (true, Mark::Absent) => Act::Make,
            (true, _) => self.clear_up(now),
        }
    }

    pub(crate) fn backward(&self, now: Timestamp) -> Act {
        match (self.step.makes(), self.mark) {
            (false, _) => Act::Undo,
            (true, Mark::Done) => Act::Drop,
            (true, _) => self.clear_up(now),
        }
    }

    /// The call that tells whether something was made.
    fn clear_up(&self, now: Timestamp) -> Act {
        let is_protected = self.key_at.is_some_and(|at| now.millis_since(at) < KEY_PROTECTS_MS);
        if self.mark == Mark::Begun && is_protected { Act::Make } else { Act::List }
    }

    pub(crate) fn settle_forward(&mut self, kind: Kind, act: Act, answer: Answer, now: Timestamp) -> Option<Failure> {
        match answer {
            Answer::Done(made) => {
                if act == Act::Find && !self.step.adopts() {
                    let why = format!("{} is there already, and nobody knows whose it is", made.unwrap_or_default());
                    return Some(Failure::GaveUp(why));
                }
                self.reach(if act == Act::Find { Mark::Adopted } else { Mark::Done });
                self.made = made.or(self.made.take());
                None
            }
            Answer::Missing => {
                // A step that fails each time gives up, however often a list shows that nothing was made.
                let attempts = if act == Act::List { self.attempts } else { 0 };
                self.reach(Mark::Absent);
                self.attempts = attempts;
                None
            }
            Answer::Later(at) => {
                let waited_ms = self.begun_at.map_or(0, |begun| now.millis_since(begun));
                (self.attempts, self.due, self.why) = (0, Some(at), None);
                let is_over = self.patience_ms.is_some_and(|patience| waited_ms >= patience);
                is_over.then(|| self.give_up(format!("it is not ready after {} s", waited_ms / 1_000)))
            }
            Answer::Skipped(why) => {
                self.skip(why);
                None
            }
            Answer::Refused(why) if kind == Kind::Deprovision => {
                self.again(&why, now);
                self.step.stops().then_some(Failure::CalledOff(why))
            }
            Answer::Refused(why) => {
                self.did_nothing(act, Mark::Doubtful);
                if act == Act::Make && self.step.repeats() {
                    self.mark = Mark::Absent;
                }
                Some(self.give_up(why))
            }
            Answer::Unconfigured(why) if kind == Kind::Provision => {
                self.did_nothing(act, Mark::Begun);
                Some(self.give_up(why))
            }
            Answer::TurnedAway(why) | Answer::Unconfigured(why) => {
                self.did_nothing(act, Mark::Begun);
                self.without_answer(kind, why, now)
            }
            Answer::Taken(why) if act == Act::Make && !self.unclear => {
                self.mark = Mark::Absent;
                Some(self.give_up(format!("{why}, and nobody knows whose it is")))
            }
            Answer::Unsure(why) => self.without_answer(kind, why, now),
            Answer::Broken(why) | Answer::Taken(why) => {
                if act == Act::Make {
                    self.mark = Mark::Doubtful;
                }
                self.without_answer(kind, why, now)
            }
        }
    }

    pub(crate) fn settle_backward(&mut self, act: Act, answer: Answer, now: Timestamp) {
        match (act, answer) {
            (Act::Make | Act::List, Answer::Done(made)) => {
                self.reach(Mark::Done);
                self.made = made;
            }
            (Act::Make, Answer::Refused(why)) if !self.step.repeats() => {
                self.mark = Mark::Doubtful;
                self.again(&why, now);
            }
            (_, Answer::Done(_) | Answer::Missing) | (Act::Make, Answer::Refused(_)) => self.reach(Mark::Undone),
            (_, Answer::Later(at)) => self.due = Some(at),
            (_, Answer::Skipped(why)) => self.skip(why),
            (Act::Make, Answer::Broken(why) | Answer::Taken(why)) => {
                self.mark = Mark::Doubtful;
                self.again(&why, now);
            }
            (
                _,
                Answer::Refused(why)
                | Answer::TurnedAway(why)
                | Answer::Unconfigured(why)
                | Answer::Unsure(why)
                | Answer::Broken(why)
                | Answer::Taken(why),
            ) => self.again(&why, now),
        }
    }

    /// After a call that did nothing: there is none, unless a call before it may have made it. What stands there then is a stranger's.
    fn did_nothing(&mut self, act: Act, in_doubt: Mark) {
        if act == Act::Make {
            self.mark = if self.unclear { in_doubt } else { Mark::Absent };
        }
    }

    pub(crate) fn skip(&mut self, why: String) {
        self.reach(Mark::Skipped);
        self.why = Some(why);
    }

    fn reach(&mut self, mark: Mark) {
        (self.mark, self.attempts, self.due, self.why) = (mark, 0, None, None);
    }

    /// What is taken back begins at once, and counts its own attempts.
    fn give_up(&mut self, why: String) -> Failure {
        (self.attempts, self.due, self.why) = (0, None, Some(why.clone()));
        Failure::GaveUp(why)
    }

    fn without_answer(&mut self, kind: Kind, why: String, now: Timestamp) -> Option<Failure> {
        self.again(&why, now);
        (kind == Kind::Provision && self.attempts >= ATTEMPTS_MAX).then(|| self.give_up(why))
    }

    fn again(&mut self, why: &str, now: Timestamp) {
        let pause_ms = (PAUSE_FIRST_MS << self.attempts.min(10)).min(PAUSE_MAX_MS);
        self.attempts = self.attempts.saturating_add(1);
        (self.due, self.why) = (Some(now.plus_millis(pause_ms)), Some(why.to_owned()));
    }
}

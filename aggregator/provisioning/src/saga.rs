//! The state of a saga: what is next, and what follows an answer.
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

/// Where a saga stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "phase")]
pub enum Phase {
    /// On its way.
    Forward,
    /// A step failed, and the steps before it are being taken back.
    Backward {
        /// The step.
        step: Step,
        /// Why it failed.
        why: String,
    },
    /// Every step is done.
    Done,
    /// A step failed, and everything is taken back.
    Undone {
        /// The step.
        step: Step,
        /// Why it failed.
        why: String,
    },
    /// The tenant does not go after all.
    Stopped {
        /// The step that was next.
        step: Step,
        /// Why.
        why: String,
    },
}

/// A saga.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saga {
    kind: Kind,
    #[serde(flatten)]
    pub(crate) phase: Phase,
    pub(crate) steps: Vec<Progress>,
}

/// What a saga needs next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// A call.
    Call(Call),
    /// Nothing before that time.
    Wait(Timestamp),
    /// It has ended.
    Ended,
}

impl Saga {
    /// A saga of these steps, of which none is done.
    pub fn new(kind: Kind, steps: impl IntoIterator<Item = Planned>) -> Self {
        let progress = |planned: Planned| Progress {
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
        };
        Saga { kind, phase: Phase::Forward, steps: steps.into_iter().map(progress).collect() }
    }

    /// Whether the tenant comes or goes.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Where it stands.
    pub fn phase(&self) -> &Phase {
        &self.phase
    }

    /// Its steps, in order.
    pub fn steps(&self) -> &[Progress] {
        &self.steps
    }

    /// The name of what a step made or found.
    pub fn made(&self, step: Step) -> Option<&str> {
        self.steps.iter().find(|progress| progress.step == step)?.made.as_deref()
    }

    /// Whether a step made something, and did not find it.
    pub fn has_made(&self, step: Step) -> bool {
        self.steps.iter().any(|progress| progress.step == step && progress.mark == Mark::Done)
    }

    /// The name of what a step made, and did not find, if every step of the saga is done.
    pub fn came_with(&self, step: Step) -> Option<&str> {
        let is_meant = |progress: &&Progress| progress.step == step && progress.mark == Mark::Done;
        self.steps.iter().find(is_meant).filter(|_| self.phase == Phase::Done)?.made.as_deref()
    }

    /// Whether nothing more will happen.
    pub fn has_ended(&self) -> bool {
        matches!(self.phase, Phase::Done | Phase::Undone { .. } | Phase::Stopped { .. })
    }

    /// What is next.
    pub fn next(&self, now: Timestamp) -> Next {
        let (found, act) = match &self.phase {
            Phase::Done | Phase::Undone { .. } | Phase::Stopped { .. } => return Next::Ended,
            Phase::Forward => {
                (self.steps.iter().find(|progress| !progress.is_done()), Progress::forward as fn(_, _) -> _)
            }
            Phase::Backward { .. } => (self.next_to_undo(now), Progress::backward as fn(_, _) -> _),
        };
        let Some(progress) = found else { return Next::Ended };
        match progress.due.filter(|due| *due > now) {
            Some(due) => Next::Wait(due),
            None => Next::Call(progress.call(act(progress, now), now)),
        }
    }

    /// The step to take back: the last one that is due, once those that rest on it are taken back. One that fails is tried again and
    /// does not hold up the others.
    fn next_to_undo(&self, now: Timestamp) -> Option<&Progress> {
        let is_carrying = |progress: &Progress| {
            self.steps.iter().any(|other| other.is_to_undo() && progress.step.carries().contains(&other.step))
        };
        let free = || self.steps.iter().rev().filter(|progress| progress.is_to_undo() && !is_carrying(progress));
        let is_due = |progress: &&Progress| progress.due.is_none_or(|due| due <= now);
        free().find(is_due).or_else(|| free().min_by_key(|progress| progress.due))
    }

    /// Records that a call is about to be made.
    pub fn begin(&mut self, call: &Call, now: Timestamp) {
        let Some(progress) = self.progress(call.step) else { return };
        progress.begun_at.get_or_insert(now);
        if call.act == Act::Make && progress.mark != Mark::Begun {
            (progress.key, progress.key_at) = (call.key, Some(now));
        } else if call.act == Act::Make {
            progress.unclear = true;
        }
        if matches!(call.act, Act::Make | Act::Do) {
            progress.mark = Mark::Begun;
        }
    }

    /// Takes in the answer to a call.
    pub fn settle(&mut self, call: &Call, answer: Answer, now: Timestamp) {
        let is_backward = matches!(self.phase, Phase::Backward { .. });
        let kind = self.kind;
        let Some(progress) = self.progress(call.step) else { return };
        progress.unclear |= call.act == Act::Make && matches!(answer, Answer::Unsure(_) | Answer::Broken(_));
        let failure = if is_backward {
            progress.settle_backward(call.act, answer, now);
            None
        } else {
            progress.settle_forward(kind, call.act, answer, now)
        };
        match failure {
            None => {}
            Some(Failure::GaveUp(why)) => self.phase = Phase::Backward { step: call.step, why },
            Some(Failure::CalledOff(why)) => self.phase = Phase::Stopped { step: call.step, why },
        }
        self.finish();
    }

    /// Ends the saga once nothing is left to do.
    fn finish(&mut self) {
        match &self.phase {
            Phase::Forward if self.steps.iter().all(Progress::is_done) => self.phase = Phase::Done,
            Phase::Backward { step, why } if !self.steps.iter().any(Progress::is_to_undo) => {
                self.phase = Phase::Undone { step: *step, why: why.clone() };
            }
            _ => {}
        }
    }

    fn progress(&mut self, step: Step) -> Option<&mut Progress> {
        self.steps.iter_mut().find(|progress| progress.step == step)
    }
}

/// Why a saga does not go on.
enum Failure {
    GaveUp(String),
    CalledOff(String),
}

impl Progress {
    fn is_done(&self) -> bool {
        matches!(self.mark, Mark::Done | Mark::Adopted)
    }

    fn is_to_undo(&self) -> bool {
        matches!(self.mark, Mark::Begun | Mark::Doubtful | Mark::Done)
    }

    fn call(&self, act: Act, now: Timestamp) -> Call {
        let key = if act == Act::Make && self.mark != Mark::Begun { self.key + 1 } else { self.key };
        Call { step: self.step, act, key, made: self.made.clone(), begun_at: self.begun_at.unwrap_or(now) }
    }

    fn forward(&self, now: Timestamp) -> Act {
        match (self.step.makes(), self.mark) {
            (false, _) => Act::Do,
            (true, Mark::Open) => Act::Find,
            (true, Mark::Absent) => Act::Make,
            (true, _) => self.clear_up(now),
        }
    }

    fn backward(&self, now: Timestamp) -> Act {
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

    fn settle_forward(&mut self, kind: Kind, act: Act, answer: Answer, now: Timestamp) -> Option<Failure> {
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
            Answer::Refused(why) if kind == Kind::Deprovision => {
                self.again(&why, now);
                self.step.stops().then_some(Failure::CalledOff(why))
            }
            Answer::Refused(why) => {
                if act == Act::Make {
                    self.mark = self.mark_of_refusal();
                }
                Some(self.give_up(why))
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

    fn settle_backward(&mut self, act: Act, answer: Answer, now: Timestamp) {
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
            (Act::Make, Answer::Broken(why) | Answer::Taken(why)) => {
                self.mark = Mark::Doubtful;
                self.again(&why, now);
            }
            (_, Answer::Refused(why) | Answer::Unsure(why) | Answer::Broken(why) | Answer::Taken(why)) => {
                self.again(&why, now);
            }
        }
    }

    /// What a call that is refused leaves. Where a call is not repeated under its key, an earlier one may have made something.
    fn mark_of_refusal(&self) -> Mark {
        if self.step.repeats() { Mark::Absent } else { Mark::Doubtful }
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

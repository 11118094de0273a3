//! The state of a saga: what is next, and what follows an answer.
use serde::{Deserialize, Serialize};
use weir_contract::Timestamp;

use crate::call::{Act, Answer, Call};
use crate::progress::{Failure, Mark, Progress};
use crate::step::{Kind, Planned, Step};

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

/// Why a step is not skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CannotSkip {
    /// Nothing more will happen.
    #[error("it has ended")]
    Ended,
    /// The saga means nothing without it.
    #[error("this step is needed: a tenant comes with all of its steps, or is taken back")]
    Needed,
    /// It was not tried yet, or is done.
    #[error("this step is not failing: look at the tenant's status")]
    NotFailing,
}

impl Saga {
    /// A saga of these steps, of which none is done.
    pub fn new(kind: Kind, steps: impl IntoIterator<Item = Planned>) -> Self {
        Saga { kind, phase: Phase::Forward, steps: steps.into_iter().map(Progress::new).collect() }
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

    /// Whether it waits because a call failed.
    pub fn is_failing(&self) -> bool {
        let is_back = matches!(self.phase, Phase::Backward { .. });
        self.steps.iter().any(|progress| progress.is_failing(is_back))
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
        if let Some(progress) = self.progress(call.step) {
            progress.begin(call, now);
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

    /// Makes the next call of a step due at once: the other side has come forward.
    pub fn wake(&mut self, step: Step) {
        if let Some(progress) = self.progress(step) {
            progress.due = None;
        }
    }

    /// Lets go of a step that fails and would be tried for ever: it counts as done, or as taken back.
    ///
    /// A tenant that comes is complete or is taken back, so none of the steps by which it comes is left out.
    pub fn skip(&mut self, step: Step, why: String) -> Result<(), CannotSkip> {
        let is_going = self.kind == Kind::Deprovision;
        let next = self.steps.iter().find(|progress| !progress.is_done()).map(|progress| progress.step);
        let is_meant = match &self.phase {
            Phase::Done | Phase::Undone { .. } | Phase::Stopped { .. } => return Err(CannotSkip::Ended),
            Phase::Forward if !is_going || !step.may_be_left() => return Err(CannotSkip::Needed),
            Phase::Forward => next == Some(step),
            Phase::Backward { .. } => true,
        };
        let is_back = matches!(self.phase, Phase::Backward { .. });
        let progress = self.progress(step).filter(|progress| is_meant && progress.is_failing(is_back));
        progress.ok_or(CannotSkip::NotFailing)?.skip(why);
        self.finish();
        Ok(())
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

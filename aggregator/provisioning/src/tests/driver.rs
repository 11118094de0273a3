//! Drives a saga as its owner does, with a disk that survives kills, and judges every moment.
use weir_contract::Timestamp;

use super::world::{Fault, World, makes_a_collection};
use super::{NOW, STEPS, planned};
use crate::{Act, Answer, Call, Kind, Mark, Next, Phase, Saga, Step};

/// Calls after which a saga that has not ended never will.
const CALLS_MAX: u32 = 400;
const DAY_MS: u64 = 24 * 3_600_000;

/// A bug of the owner or of the saga.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bug {
    /// Calls are made before they are recorded.
    NotRecorded,
    /// Each call has a key of its own.
    FreshKeys,
    /// What may have been made is looked for by a search.
    SearchInsteadOfList,
    /// A 500 counts as a refusal.
    FailureIsRefusal,
    /// A time-out counts as a refusal.
    SilenceIsRefusal,
    /// A conflict counts as success.
    ConflictIsSuccess,
    /// What is taken back is recorded and not done.
    DropForgotten,
    /// What was found is taken back, too.
    AdoptedDropped,
    /// Publishing is recorded after its own transaction.
    PublishedApart,
    /// Gateways learn of the tenant before it is complete.
    PublishedEarly,
    /// The step that failed is not taken back.
    FailedStepForgotten,
    /// After a 500 the key is used again.
    KeyUsedUpAgain,
    /// A key is trusted for ever.
    OldKeyTrusted,
    /// What is gone already cannot be taken back.
    GoneIsFailure,
    /// What is taken back is not recorded.
    UndoNotRecorded,
    /// What failed counts as done.
    FailureSkipped,
    /// A call that was turned away counts as one that may have done its work.
    TurnedAwayIsDoubt,
    /// A call that was refused counts as one that may have done its work.
    RefusalIsDoubt,
}

pub(super) const BUGS: [Bug; 18] = [
    Bug::NotRecorded,
    Bug::FreshKeys,
    Bug::SearchInsteadOfList,
    Bug::FailureIsRefusal,
    Bug::SilenceIsRefusal,
    Bug::ConflictIsSuccess,
    Bug::DropForgotten,
    Bug::AdoptedDropped,
    Bug::PublishedApart,
    Bug::PublishedEarly,
    Bug::FailedStepForgotten,
    Bug::KeyUsedUpAgain,
    Bug::OldKeyTrusted,
    Bug::GoneIsFailure,
    Bug::UndoNotRecorded,
    Bug::FailureSkipped,
    Bug::TurnedAwayIsDoubt,
    Bug::RefusalIsDoubt,
];

/// The places of a kill within one round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kill {
    BeforeRecord,
    BeforeCall,
    AfterCall,
}

pub(super) const KILLS: [Kill; 3] = [Kill::BeforeRecord, Kill::BeforeCall, Kill::AfterCall];

/// What goes wrong in a run: faults and kills of each call, by its number.
pub(super) trait Trouble {
    fn fault(&mut self, call: u32) -> Option<Fault>;
    fn kill(&mut self, call: u32, at: Kill) -> bool;
    /// Whether the owner is away for more than a day after a kill.
    fn is_long(&mut self) -> bool {
        false
    }
}

/// A run of a saga.
pub(super) struct Run {
    pub(super) world: World,
    disk: String,
    saga: Saga,
    now: Timestamp,
    bug: Option<Bug>,
    calls: u32,
    journal: Vec<(Step, Act)>,
    pub(super) refused: bool,
}

impl Run {
    pub(super) fn new(world: World, bug: Option<Bug>) -> Self {
        let mut steps = STEPS.to_vec();
        if bug == Some(Bug::PublishedEarly) {
            steps.swap(6, 7);
        }
        let saga = Saga::new(Kind::Provision, planned(&steps));
        let disk = serde_json::to_string(&saga).expect("JSON");
        Run { world, disk, saga, now: NOW, bug, calls: 0, journal: Vec::new(), refused: false }
    }

    fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    fn write(&mut self) {
        self.disk = serde_json::to_string(&self.saga).expect("JSON");
    }

    fn die(&mut self, trouble: &mut impl Trouble) {
        self.saga = serde_json::from_str(&self.disk).expect("a saga");
        if trouble.is_long() {
            self.now = self.now.plus_millis(2 * DAY_MS);
        }
    }

    /// Runs to the end, and says what is wrong.
    pub(super) fn run_out(&mut self, trouble: &mut impl Trouble) -> Result<Phase, String> {
        while self.calls < CALLS_MAX {
            let call = match self.saga.next(self.now) {
                Next::Ended => return self.judge_end(),
                Next::Wait(until) => {
                    self.now = until;
                    continue;
                }
                Next::Call(call) => call,
            };
            self.calls += 1;
            self.round(&call, trouble);
            self.judge_moment()?;
        }
        Err("it never ends".to_owned())
    }

    fn round(&mut self, call: &Call, trouble: &mut impl Trouble) {
        let number = self.calls;
        if trouble.kill(number, Kill::BeforeRecord) {
            return self.die(trouble);
        }
        self.saga.begin(call, self.now);
        if !self.has(Bug::NotRecorded) {
            self.write();
        }
        if !(self.has(Bug::UndoNotRecorded) && matches!(call.act, Act::Undo | Act::Drop)) {
            self.journal.push((call.step, call.act));
        }
        if trouble.kill(number, Kill::BeforeCall) {
            self.world.may_have_made |= makes_a_collection(call);
            return self.die(trouble);
        }
        let fault = trouble.fault(number).filter(|_| call.step != Step::Publish);
        self.refused |= fault == Some(Fault::Refused);
        if call.step == Step::Publish && !self.has(Bug::PublishedApart) {
            // One transaction has both.
            let answer = self.world.call(call, None, self.now);
            self.saga.settle(call, answer, self.now);
            self.write();
            return;
        }
        let answer = self.make(call, fault);
        if trouble.kill(number, Kill::AfterCall) {
            self.world.may_have_made |= makes_a_collection(call);
            return self.die(trouble);
        }
        let was_forward = *self.saga.phase() == Phase::Forward;
        let answer = self.misread(call, answer);
        self.saga.settle(call, answer, self.now);
        self.spoil(call, was_forward);
        self.write();
    }

    /// Makes a call, as a wrong owner would.
    fn make(&mut self, call: &Call, fault: Option<Fault>) -> Answer {
        let mut call = call.clone();
        match self.bug {
            Some(Bug::FreshKeys) => call.key = self.calls,
            Some(Bug::KeyUsedUpAgain) => call.key = 1,
            Some(Bug::SearchInsteadOfList) if call.act == Act::List => call.act = Act::Find,
            Some(Bug::DropForgotten) if call.act == Act::Drop => return Answer::Done(None),
            _ => {}
        }
        self.world.call(&call, fault, self.now)
    }

    fn misread(&self, call: &Call, answer: Answer) -> Answer {
        match (self.bug, answer) {
            (Some(Bug::FailureIsRefusal), Answer::Broken(why)) if call.act == Act::Make => Answer::Refused(why),
            (Some(Bug::SilenceIsRefusal), Answer::Unsure(why)) if call.act == Act::Make => Answer::Refused(why),
            (Some(Bug::TurnedAwayIsDoubt), Answer::TurnedAway(why)) if call.act == Act::Make => Answer::Unsure(why),
            (Some(Bug::ConflictIsSuccess), Answer::Unsure(why)) if why == "409" => Answer::Done(None),
            (Some(Bug::GoneIsFailure), Answer::Missing) if call.act == Act::Drop => Answer::Refused("404".to_owned()),
            (Some(Bug::FailureSkipped), Answer::Broken(_)) if call.act == Act::Do => Answer::Done(None),
            (_, answer) => answer,
        }
    }

    /// Damages the saga as a bug of its own would.
    fn spoil(&mut self, call: &Call, was_forward: bool) {
        let (bug, now) = (self.bug, self.now);
        let failed = was_forward && matches!(self.saga.phase, Phase::Backward { .. } | Phase::Undone { .. });
        for progress in &mut self.saga.steps {
            match bug {
                Some(Bug::AdoptedDropped) if progress.mark == Mark::Adopted => progress.mark = Mark::Done,
                Some(Bug::FailedStepForgotten) if failed && progress.step == call.step => progress.mark = Mark::Undone,
                Some(Bug::RefusalIsDoubt) if failed && makes_a_collection(call) && progress.step == call.step => {
                    progress.mark = Mark::Doubtful;
                    self.saga.phase = Phase::Backward { step: call.step, why: "refused".to_owned() };
                }
                Some(Bug::OldKeyTrusted) => progress.key_at = progress.key_at.map(|_| now.plus_millis(9 * DAY_MS)),
                _ => {}
            }
        }
    }

    /// What must hold at every moment.
    fn judge_moment(&self) -> Result<(), String> {
        for step in STEPS {
            let made = self.world.things.iter().filter(|thing| thing.step == step && thing.is_ours).count();
            if made > 1 {
                return Err(format!("{made} times {}", step.as_str()));
            }
            if self.world.published > 0 && !self.is_complete(step) {
                return Err(format!("gateways know a tenant without {}", step.as_str()));
            }
        }
        match self.world.published {
            0 | 1 => Ok(()),
            times => Err(format!("published {times} times")),
        }
    }

    fn is_complete(&self, step: Step) -> bool {
        let things = self.world.things.iter().filter(|thing| thing.step == step && thing.is_there);
        // Nobody lives in a stranger's collection.
        let is_taken = |ours: bool| ours || step != Step::Collection || self.world.may_have_made;
        let is_there = things.filter(|thing| is_taken(thing.is_ours)).count() == 1;
        if step.makes() { is_there } else { self.world.done.contains(&step) }
    }

    fn judge_end(&self) -> Result<Phase, String> {
        let is_excused = |step: Step| step == Step::Collection && self.world.may_have_made;
        let mut strangers = self.world.things.iter().filter(|thing| !thing.is_ours);
        if strangers.any(|thing| !thing.is_there && !is_excused(thing.step)) {
            return Err("something that was there before is gone".to_owned());
        }
        match self.saga.phase() {
            Phase::Done if self.world.published == 1 => {}
            Phase::Done => return Err("done, and gateways do not know it".to_owned()),
            Phase::Undone { .. } => self.judge_undone()?,
            other => return Err(format!("ended as {other:?}")),
        }
        Ok(self.saga.phase().clone())
    }

    fn judge_undone(&self) -> Result<(), String> {
        if let Some(left) = self.world.things.iter().find(|thing| thing.is_ours && thing.is_there) {
            return Err(format!("{} is left", left.name));
        }
        if self.world.published > 0 || !self.world.done.is_empty() {
            return Err(format!("left: {:?}", self.world.done));
        }
        for thing in self.world.things.iter().filter(|thing| thing.is_ours) {
            if !self.journal.contains(&(thing.step, Act::Drop)) {
                return Err(format!("nobody recorded that {} was taken back", thing.name));
            }
        }
        // What rests on something is taken back before it.
        let undone = |step: Step| move |(of, act): &(Step, Act)| *of == step && matches!(act, Act::Undo | Act::Drop);
        for step in STEPS {
            let first = self.journal.iter().position(undone(step)).unwrap_or(usize::MAX);
            for upper in step.carries() {
                if self.journal.iter().rposition(undone(*upper)).is_some_and(|last| last > first) {
                    return Err(format!("{} was taken back before {}", step.as_str(), upper.as_str()));
                }
            }
        }
        Ok(())
    }
}

//! A stand-in for Stripe, a vector store, an outside system and the database: what is there, and how calls fail.
use std::collections::HashMap;

use weir_contract::Timestamp;

use crate::{Act, Answer, Call, Step};

/// How long Stripe keeps idempotency keys, in milliseconds.
const KEYS_KEPT_MS: u64 = 24 * 3_600_000;
/// No request is under way for longer, in milliseconds.
const LATE_MAX_MS: u64 = 3_600_000;

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The request is lost, and the caller hears nothing.
    LostBefore,
    /// The work is done, and the caller hears nothing.
    LostAfter,
    /// The caller hears nothing, and the work is done during a later call.
    Late,
    /// 429, before anything.
    Limited,
    /// 500, and nothing was done.
    Failed,
    /// 500, and the work was done.
    FailedAfter,
    /// A 4xx for good.
    Refused,
}

pub(super) const FAULTS: [Fault; 7] = [
    Fault::LostBefore,
    Fault::LostAfter,
    Fault::Late,
    Fault::Limited,
    Fault::Failed,
    Fault::FailedAfter,
    Fault::Refused,
];

/// Something that was made.
#[derive(Clone, Debug)]
pub(super) struct Thing {
    pub(super) step: Step,
    pub(super) name: String,
    pub(super) is_ours: bool,
    pub(super) is_there: bool,
}

/// What Stripe remembers of an idempotency key.
#[derive(Clone, Debug)]
enum Kept {
    Made(String),
    Failed,
    UnderWay,
}

/// Whether a call is to make a collection.
pub(super) fn makes_a_collection(call: &Call) -> bool {
    call.step == Step::Collection && call.act == Act::Make
}

/// Everything around a saga.
#[derive(Debug, Default)]
pub(super) struct World {
    pub(super) things: Vec<Thing>,
    kept: HashMap<(Step, u32), (Kept, Timestamp)>,
    late: Vec<Call>,
    /// Steps that make nothing elsewhere, and are done.
    pub(super) done: Vec<Step>,
    /// Somebody else makes a collection of that name just before the saga does.
    stranger: bool,
    /// A call that makes a collection had no clear answer: what is there afterwards counts as its work.
    pub(super) may_have_made: bool,
    /// How often gateways were told of the tenant.
    pub(super) published: u32,
}

impl World {
    /// Something of the tenant's that was there before.
    pub(super) fn with(mut self, step: Step) -> Self {
        self.things.push(Thing { step, name: format!("before_{}", step.as_str()), is_ours: false, is_there: true });
        self
    }

    /// Somebody else makes a collection of the tenant's name at the worst moment.
    pub(super) fn with_a_stranger(self) -> Self {
        World { stranger: true, ..self }
    }

    /// Whether somebody else is about to make a collection of the tenant's name.
    pub(super) fn has_a_stranger(&self) -> bool {
        self.stranger
    }

    /// Answers a call.
    pub(super) fn call(&mut self, call: &Call, fault: Option<Fault>, now: Timestamp) -> Answer {
        if self.late.iter().any(|late| now.millis_since(late.begun_at) > LATE_MAX_MS) {
            self.land(now);
        }
        if makes_a_collection(call) {
            self.let_the_stranger_in();
            self.may_have_made |= fault.is_some_and(|fault| !matches!(fault, Fault::Limited | Fault::Refused));
        }
        let answer = match fault {
            Some(Fault::LostBefore) => Answer::Unsure("time-out".to_owned()),
            Some(Fault::Limited) if call.step.repeats() => Answer::Unsure("429".to_owned()),
            Some(Fault::Limited) => Answer::TurnedAway("429".to_owned()),
            Some(Fault::Refused) => self.refuse(call),
            Some(Fault::Late) if call.act == Act::Make => self.later(call, now),
            Some(Fault::LostAfter | Fault::Late) => {
                self.work(call, now);
                Answer::Unsure("time-out".to_owned())
            }
            Some(Fault::Failed) if call.act == Act::Make => self.fail(call, now),
            Some(Fault::Failed) => Answer::Broken("500".to_owned()),
            Some(Fault::FailedAfter) => {
                self.work(call, now);
                self.fail(call, now)
            }
            None => self.work(call, now),
        };
        if fault != Some(Fault::Late) {
            self.land(now);
        }
        answer
    }

    fn land(&mut self, now: Timestamp) {
        for call in std::mem::take(&mut self.late) {
            self.kept.remove(&(call.step, call.key));
            self.work(&call, now);
        }
    }

    /// A key that was used answers as it did, also to what would now be refused.
    fn refuse(&mut self, call: &Call) -> Answer {
        match self.kept.get(&(call.step, call.key)) {
            Some(_) if call.act == Act::Make => self.work(call, Timestamp::default()),
            _ => Answer::Refused("400".to_owned()),
        }
    }

    fn later(&mut self, call: &Call, now: Timestamp) -> Answer {
        self.kept.entry((call.step, call.key)).or_insert_with(|| {
            self.late.push(call.clone());
            (Kept::UnderWay, now)
        });
        Answer::Unsure("time-out".to_owned())
    }

    fn fail(&mut self, call: &Call, now: Timestamp) -> Answer {
        if let Some((Kept::UnderWay, _)) = self.kept.get(&(call.step, call.key)) {
            return Answer::Unsure("409".to_owned());
        }
        self.kept.insert((call.step, call.key), (Kept::Failed, now));
        Answer::Broken("500".to_owned())
    }

    fn work(&mut self, call: &Call, now: Timestamp) -> Answer {
        match call.act {
            Act::Find => self.found(call, false),
            Act::List => self.found(call, true),
            Act::Make => self.make(call, now),
            Act::Drop => {
                let name = call.made.as_deref();
                let is_meant = |thing: &&mut Thing| thing.is_there && Some(&*thing.name) == name;
                match self.things.iter_mut().find(is_meant) {
                    Some(thing) => {
                        thing.is_there = false;
                        Answer::Done(None)
                    }
                    None => Answer::Missing,
                }
            }
            Act::Do => {
                self.published += u32::from(call.step == Step::Publish);
                if !self.done.contains(&call.step) {
                    self.done.push(call.step);
                }
                Answer::Done(None)
            }
            Act::Undo => {
                self.done.retain(|done| *done != call.step);
                Answer::Done(None)
            }
        }
    }

    /// A search does not see what was made a moment ago; a list does. A vector store cannot say whose a collection is.
    fn found(&self, call: &Call, ours: bool) -> Answer {
        let is_known = |thing: &Thing| thing.is_ours == ours || (ours && !call.step.repeats());
        let is_meant = |thing: &&Thing| thing.step == call.step && thing.is_there && is_known(thing);
        self.things.iter().find(is_meant).map_or(Answer::Missing, |thing| Answer::Done(Some(thing.name.clone())))
    }

    fn let_the_stranger_in(&mut self) {
        if std::mem::take(&mut self.stranger) {
            let name = "a_strangers".to_owned();
            self.things.push(Thing { step: Step::Collection, name, is_ours: false, is_there: true });
        }
    }

    /// A vector store knows no idempotency keys: it makes what is not there, and refuses what is.
    fn make_collection(&mut self, call: &Call) -> Answer {
        if self.things.iter().any(|thing| thing.step == call.step && thing.is_there) {
            return Answer::Taken("409".to_owned());
        }
        let name = format!("{}_{}", call.step.as_str(), self.things.len());
        self.things.push(Thing { step: call.step, name: name.clone(), is_ours: true, is_there: true });
        Answer::Done(Some(name))
    }

    fn make(&mut self, call: &Call, now: Timestamp) -> Answer {
        if !call.step.repeats() {
            return self.make_collection(call);
        }
        self.kept.retain(|_, (_, at)| *at > now || now.millis_since(*at) < KEYS_KEPT_MS);
        match self.kept.get(&(call.step, call.key)) {
            Some((Kept::Made(name), _)) => Answer::Done(Some(name.clone())),
            Some((Kept::Failed, _)) => Answer::Broken("500".to_owned()),
            Some((Kept::UnderWay, _)) => Answer::Unsure("409".to_owned()),
            None => {
                let name = format!("{}_{}", call.step.as_str(), self.things.len());
                self.things.push(Thing { step: call.step, name: name.clone(), is_ours: true, is_there: true });
                self.kept.insert((call.step, call.key), (Kept::Made(name.clone()), now));
                Answer::Done(Some(name))
            }
        }
    }
}

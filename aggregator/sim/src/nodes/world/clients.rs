//! Gateways that send to any node, and send again whatever is not acknowledged.
use tokio::sync::oneshot::Receiver;
use tokio::sync::oneshot::error::TryRecvError;
use weir_event_log::writer::Appended;
use weir_fault::{Point, hit};
use weir_ledger::validate::Format;

use super::{Caller, NODES, World};

/// A body that waits for its answer.
pub(in crate::nodes) struct Waiting {
    pub(in crate::nodes) batch: Vec<usize>,
    refused: Vec<usize>,
    synced: Receiver<Appended>,
    /// The node that was asked: the owner, or one that passed the body on to it.
    asked: Caller,
}

impl World {
    /// A gateway sends a body to a node.
    pub(super) fn send(&self) {
        let node = usize::try_from(self.draw(NODES as u64)).expect("few");
        let batch = self.next_batch();
        if batch.is_empty() {
            return;
        }
        let asked = self.caller(node);
        let Some(owner) = self.owner_for(asked) else {
            self.met("refused for now");
            return self.gateways.borrow_mut().unanswered(&batch, false);
        };
        if owner != asked && hit(Point::FollowerAcknowledges) {
            return self.gateways.borrow_mut().answered(&batch, &[]);
        }
        let (format, body) = self.body(&batch);
        if self.strikes(25) {
            // The gateway gives up before the body arrives.
            self.met("late bodies");
            self.later_body(owner, (format, body), self.draw(6_000));
            return self.gateways.borrow_mut().unanswered(&batch, true);
        }
        if self.strikes(25) {
            // A proxy sends the body twice.
            self.met("repeated bodies");
            self.gateways.borrow_mut().unanswered(&batch, true);
            self.take_late(owner, format, body.clone());
        }
        let taken = match &self.states.borrow()[owner.node].intake {
            // What a node passes on may be lost on its way.
            Some(intake) if self.lives(owner) && (owner == asked || !self.strikes(20)) => {
                intake.take(weir_contract::Timestamp::from_millis(self.now()), None, format, body)
            }
            _ => {
                self.met("refused for now");
                return self.gateways.borrow_mut().unanswered(&batch, false);
            }
        };
        if owner != asked {
            self.met("passed on");
        }
        match taken {
            Ok(taken) => {
                let refused: Vec<usize> = taken.answer.rejected.iter().map(|rejected| rejected.index).collect();
                self.say(|| format!("a gateway sends {batch:?} by {asked} to {owner}"));
                self.waiting.borrow_mut().push(Waiting { batch, refused, synced: taken.synced, asked });
            }
            Err(error) => {
                self.say(|| format!("{owner} does not take {batch:?}: {error}"));
                self.gateways.borrow_mut().unanswered(&batch, false);
            }
        }
    }

    /// A body arrives for whose answer nobody waits.
    pub(super) fn take_late(&self, owner: Caller, format: Format, body: Vec<u8>) {
        if self.lives(owner)
            && let Some(intake) = &self.states.borrow()[owner.node].intake
        {
            let _nobody_waits = intake.take(weir_contract::Timestamp::from_millis(self.now()), None, format, body);
        }
    }

    fn next_batch(&self) -> Vec<usize> {
        let (mut rng, mut gateways) = (self.rng.borrow_mut(), self.gateways.borrow_mut());
        let mut batch = gateways.next_batch(&mut rng, false);
        let sent = gateways.items.len();
        if !self.is_calm.get() && sent > 0 && rng.u8(..8) == 0 {
            // A repeat of what was acknowledged before.
            let old = rng.usize(..sent);
            if gateways.items[old].accepted > 0 && !batch.contains(&old) {
                batch.push(old);
            }
        }
        batch
    }

    fn body(&self, batch: &[usize]) -> (Format, Vec<u8>) {
        let gateways = self.gateways.borrow();
        let bodies: Vec<&[u8]> = batch.iter().map(|item| gateways.items[*item].body.as_slice()).collect();
        match self.draw(2) {
            0 => (Format::Lines, bodies.join(&b'\n')),
            _ => (Format::Batch, [b"[".as_slice(), &bodies.join(&b','), b"]"].concat()),
        }
    }

    /// The process to which a node brings what it is sent; none: it answers 503.
    fn owner_for(&self, asked: Caller) -> Option<Caller> {
        let states = self.states.borrow();
        if !self.lives(asked) || self.is_lost_way() {
            return None;
        }
        if states[asked.node].intake.is_some() {
            return Some(asked);
        }
        let owner = self.sees(asked.node)?;
        (!states[asked.node].is_apart && !states[owner.node].is_apart).then_some(owner)
    }

    fn is_lost_way(&self) -> bool {
        self.strikes(30)
    }

    /// Answers arrive.
    pub(super) fn collect(&self) {
        let waiting = std::mem::take(&mut *self.waiting.borrow_mut());
        for mut waiting in waiting {
            let answer = match waiting.synced.try_recv() {
                Ok(Ok(position)) => Some(position),
                Err(TryRecvError::Empty) => {
                    self.waiting.borrow_mut().push(waiting);
                    continue;
                }
                Ok(Err(_)) | Err(TryRecvError::Closed) => None,
            };
            self.say(|| format!("{:?} is record {answer:?}", waiting.batch));
            if let (Some(position), Some(until)) = (answer, self.lost_until.get())
                && position <= until
            {
                self.breaks(format!("a body is acknowledged as record {position} of a log that has lost its end"));
            }
            // The node that was asked may be dead by now, or its answer be lost.
            let is_heard = answer.is_some() && self.lives(waiting.asked) && !self.strikes(20);
            let mut gateways = self.gateways.borrow_mut();
            if is_heard {
                self.summary.borrow_mut().met("acknowledged");
                gateways.answered(&waiting.batch, &waiting.refused);
            } else {
                gateways.unanswered(&waiting.batch, true);
            }
        }
    }
}

//! Traffic between the gateways and the machine.
use tokio::sync::oneshot::Receiver;
use tokio::sync::oneshot::error::TryRecvError;
use weir_contract::batch::RejectedEvent;
use weir_event_log::writer::Appended;
use weir_ledger::intake::IntakeError;
use weir_ledger::validate::Format;

use super::{DAY_MS, World};
use crate::gateways::Kind;

/// An event younger than this is never too old, whatever clocks did: ids are remembered for 40 days, and clocks that
/// run ahead by less than a day are believed.
const RECENT_MS: u64 = 37 * DAY_MS;

/// A body that waits for its answer.
pub(super) struct Waiting {
    pub(super) batch: Vec<usize>,
    refused: Vec<usize>,
    synced: Receiver<Appended>,
}

impl World {
    pub(super) fn serve(&mut self) {
        self.gateways.serve(&mut self.rng, self.now_ms);
        if self.measures && self.rng.u8(..4) == 0 {
            self.gateways.measure(&mut self.rng, self.now_ms);
        }
    }

    pub(super) fn send_readings(&mut self, with_noise: bool) -> Result<(), String> {
        let Some(machine) = &self.machine else { return Ok(()) };
        let batch = self.gateways.next_readings(&mut self.rng, with_noise);
        if batch.is_empty() {
            return Ok(());
        }
        let bodies: Vec<&[u8]> = batch.iter().map(|item| self.gateways.items[*item].body.as_slice()).collect();
        let (format, body) = match self.rng.bool() {
            true => (Format::ReadingLines, bodies.join(&b'\n')),
            false => (Format::Readings, [b"[".as_slice(), &bodies.join(&b','), b"]"].concat()),
        };
        let taken = machine.take_readings(format, &body).map(|taken| (taken.answer.rejected, taken.synced));
        self.hear(batch, taken)
    }

    pub(super) fn send(&mut self, with_noise: bool) -> Result<(), String> {
        if self.measures && self.rng.u8(..5) == 0 {
            self.send_readings(with_noise)?;
        }
        let Some(machine) = &self.machine else { return Ok(()) };
        let batch = self.gateways.next_batch(&mut self.rng, with_noise);
        if batch.is_empty() {
            return Ok(());
        }
        let bodies: Vec<&[u8]> = batch.iter().map(|item| self.gateways.items[*item].body.as_slice()).collect();
        let (format, body) = match self.rng.u8(..3) {
            0 if bodies.len() == 1 => (Format::Event, bodies[0].to_vec()),
            1 => (Format::Lines, bodies.join(&b'\n')),
            _ => (Format::Batch, [b"[".as_slice(), &bodies.join(&b','), b"]"].concat()),
        };
        let taken = machine.take(format, &body, None).map(|taken| (taken.answer.rejected, taken.synced));
        self.hear(batch, taken)
    }

    /// Receives the answer to a body: whether it is accepted, and which items are refused.
    fn hear(
        &mut self,
        batch: Vec<usize>,
        taken: Result<(Vec<RejectedEvent>, Receiver<Appended>), IntakeError>,
    ) -> Result<(), String> {
        match taken {
            Ok((rejected, synced)) => {
                let good = rejected.iter().find(|rejected| self.must_be_taken(batch[rejected.index]));
                if let Some(RejectedEvent { index, reason }) = good {
                    return Err(format!("item {} is good, recent, and refused: {reason}", batch[*index]));
                }
                let refused: Vec<usize> = rejected.iter().map(|rejected| rejected.index).collect();
                self.say(|| format!("sends {batch:?}, refused will be {refused:?}"));
                self.waiting.push(Waiting { batch, refused, synced });
            }
            Err(error) => {
                self.say(|| format!("is not taken: {error}"));
                self.gateways.unanswered(&batch, false);
            }
        }
        Ok(())
    }

    /// Returns true if nothing excuses a refusal: the machine's clock is right, and the event is recent.
    fn must_be_taken(&self, item: usize) -> bool {
        let item = &self.gateways.items[item];
        let recent = self.now_ms - RECENT_MS..self.now_ms + DAY_MS / 2;
        self.off_ms == 0 && !matches!(item.kind, Kind::Absurd | Kind::Garbage) && recent.contains(&item.time_ms)
    }

    /// Collects the answers that have arrived.
    pub(super) fn collect(&mut self) {
        for mut waiting in std::mem::take(&mut self.waiting) {
            match waiting.synced.try_recv() {
                Ok(Ok(position)) => {
                    self.say(|| format!("acknowledged as record {position}: {:?}", waiting.batch));
                    self.gateways.answered(&waiting.batch, &waiting.refused);
                }
                Err(TryRecvError::Empty) => self.waiting.push(waiting),
                // A failed append may still be on disk.
                Ok(Err(_)) | Err(TryRecvError::Closed) => self.gateways.unanswered(&waiting.batch, true),
            }
        }
    }
}

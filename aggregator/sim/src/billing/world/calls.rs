//! Calls on their way to the provider and back.
use weir_contract::Timestamp;

use super::{CONCURRENCY, DAY_MS, World};
use weir_billing::Answer;
use weir_billing::outbox::rows::Claimed;
use weir_billing::outbox::{rows, verify};

/// A call under way.
pub(super) struct Flight {
    pub(super) claimed: Claimed,
    /// The process that made it.
    pub(super) life: u64,
    pub(super) began_ms: u64,
    pub(super) answer: Option<Answer>,
}

impl World {
    pub(super) fn turn(&mut self) -> Result<(), String> {
        let (policy, now, heard) = (self.policy.clone(), self.now(), std::mem::take(&mut self.heard));
        let flying = self.flights.iter().filter(|flight| flight.life == self.life).count();
        let want = CONCURRENCY.saturating_sub(flying);
        let claimed =
            self.ask(move |ledger| ledger.durably(|db| rows::settle_and_claim(db, &policy, &heard, want, now)))?;
        for claimed in claimed.unwrap_or_default() {
            let same = |flight: &&Flight| flight.life == self.life && flight.claimed.lane() == claimed.lane();
            if let Some(other) = self.flights.iter().find(same) {
                return Err(format!("two calls at once for {:?}", other.claimed.lane()));
            }
            self.say(|| format!("sends {} as {}", claimed.id, claimed.event.idempotency_key));
            self.flights.push(Flight { claimed, life: self.life, began_ms: self.now_ms, answer: None });
        }
        Ok(())
    }

    /// Delivers some calls in any order, including those of dead processes.
    pub(super) fn arrive(&mut self) -> Result<(), String> {
        for _ in 0..self.rng.usize(1..4) {
            let open: Vec<usize> = (0..self.flights.len()).filter(|at| self.flights[*at].answer.is_none()).collect();
            if open.is_empty() {
                break;
            }
            let flight = &mut self.flights[open[self.rng.usize(..open.len())]];
            let answer = self.provider.call(&mut self.rng, self.now_ms, &flight.claimed.event, self.calm)?;
            if self.trace {
                println!("{} row {} is answered {answer:?}", Timestamp::from_millis(self.now_ms), flight.claimed.id);
            }
            flight.answer = Some(answer);
        }
        if std::mem::take(&mut self.provider.struck) && self.rng.u8(..3) == 0 {
            self.summary.count("outage");
            self.provider.down_until_ms = self.now_ms + self.rng.u64(DAY_MS..2 * DAY_MS);
        }
        Ok(())
    }

    /// Delivers some answers.
    pub(super) fn hear(&mut self) {
        let life = self.life;
        let mut index = 0;
        while index < self.flights.len() {
            let flight = &self.flights[index];
            if flight.life == life && flight.answer.is_some() && (self.calm || self.rng.u8(..3) > 0) {
                let flight = self.flights.swap_remove(index);
                if let Some(answer) = flight.answer {
                    self.heard.push((flight.claimed, answer));
                }
            } else {
                index += 1;
            }
        }
    }

    pub(super) fn look(&mut self) -> Result<(), String> {
        let now = self.now();
        let Some(verifications) = self.ask(move |ledger| verify::due(ledger.db(), now, 50))? else { return Ok(()) };
        for hour in verifications {
            let sum = self.provider.summary(self.now_ms, &hour.customer, &hour.event_name, hour.hour.as_secs());
            self.say(|| format!("looks at {hour:?}: {sum:?}"));
            self.summary.count("looked");
            let (policy, now) = (self.policy.clone(), self.now());
            let recorded =
                self.ask(move |ledger| ledger.durably(|db| verify::record_summary(db, &policy, &hour, sum, now)))?;
            if recorded.is_none() {
                break;
            }
        }
        Ok(())
    }
}

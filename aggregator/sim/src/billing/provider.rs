//! Stripe as a reporter sees it, with every failure that its contract allows. Shares no code with the sink or the
//! stand-in.
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use fastrand::Rng;

use weir_billing::{Answer, MeterEvent, ProviderMessage};

const MINUTE_MS: u64 = 60_000;
const DAY_MS: u64 = 24 * 60 * MINUTE_MS;

/// An accepted amount.
#[derive(Clone, Debug)]
pub(super) struct Taken {
    pub(super) event: MeterEvent,
    pub(super) at_ms: u64,
}

/// The first answer under an idempotency key.
pub(super) struct Kept {
    event: MeterEvent,
    at_ms: u64,
    answer: Answer,
}

#[derive(Default)]
pub(super) struct Provider {
    pub(super) taken: Vec<Taken>,
    pub(super) keys: HashMap<String, Kept>,
    pub(super) down_until_ms: u64,
    /// How long after its acceptance an amount shows in summaries, in milliseconds.
    pub(super) lag_ms: u64,
    /// Customers that do not exist at the moment.
    pub(super) gone: Vec<String>,
    /// The number of answers of each kind.
    pub(super) answers: BTreeMap<&'static str, u64>,
    /// Set by a call that was processed without an answer: the provider will soon be away.
    pub(super) struck: bool,
}

fn message(words: &str) -> ProviderMessage {
    ProviderMessage { detail: words.to_owned(), request_id: None }
}

impl Provider {
    /// Receives a call. An error names a rule that no client may break.
    pub(super) fn call(
        &mut self,
        rng: &mut Rng,
        now_ms: u64,
        event: &MeterEvent,
        calm: bool,
    ) -> Result<Answer, String> {
        if now_ms < self.down_until_ms {
            return Ok(self.count(match rng.u8(..4) {
                0 => (
                    "down, no answer",
                    Answer::Unsure { message: message("no answer"), after: None, key_used_up: false },
                ),
                _ => ("down", Answer::NotTaken { message: message("connection refused"), after: None }),
            }));
        }
        if let Some(kept) = self.keys.get(&event.idempotency_key).filter(|kept| now_ms < kept.at_ms + DAY_MS) {
            if kept.event != *event {
                return Err(format!("the key {} comes again with another body", event.idempotency_key));
            }
            let answer = kept.answer.clone();
            return Ok(self.count(("replay", answer)));
        }
        let trouble = if calm { 99 } else { rng.u8(..40) };
        match trouble {
            0 => Ok(self.count(("rate limit", not_taken("rate limit", Some(Duration::from_secs(rng.u64(1..90))))))),
            1 => Ok(self.count(("lock timeout", not_taken("lock timeout", None)))),
            2 => {
                let answer = Answer::Unsure { message: message("500"), after: None, key_used_up: true };
                self.keep(now_ms, event, &answer);
                Ok(self.count(("500 before the work", answer)))
            }
            3 | 8 => {
                self.work(now_ms, event);
                let answer = Answer::Unsure { message: message("500"), after: None, key_used_up: true };
                self.keep(now_ms, event, &answer);
                Ok(self.count(("500 after the work", answer)))
            }
            4 => Ok(self.count(("time-out before the work", timeout()))),
            5..=7 => {
                let answer = self.work(now_ms, event);
                self.keep(now_ms, event, &answer);
                self.struck = true;
                Ok(self.count(("time-out after the work", timeout())))
            }
            // A proxy's page, `{}`, 204: it hides whether the work was done. Under the same key the provider's own comes next.
            9 => Ok(self.count(("stranger before the work", Answer::Unproven(message("a page"))))),
            10 => {
                let answer = self.work(now_ms, event);
                self.keep(now_ms, event, &answer);
                Ok(self.count(("stranger after the work", Answer::Unproven(message("a page")))))
            }
            // 408 and 409: the provider's own words, after the work.
            11 => {
                self.work(now_ms, event);
                let answer = Answer::Unsure { message: message("409"), after: None, key_used_up: true };
                self.keep(now_ms, event, &answer);
                Ok(self.count(("409 after the work", answer)))
            }
            _ => {
                let answer = self.work(now_ms, event);
                self.keep(now_ms, event, &answer);
                let name = match &answer {
                    Answer::Taken { .. } => "taken",
                    Answer::Duplicate(_) => "duplicate",
                    _ => "refused",
                };
                Ok(self.count((name, answer)))
            }
        }
    }

    fn count(&mut self, (name, answer): (&'static str, Answer)) -> Answer {
        *self.answers.entry(name).or_default() += 1;
        answer
    }

    fn keep(&mut self, now_ms: u64, event: &MeterEvent, answer: &Answer) {
        let kept = Kept { event: event.clone(), at_ms: now_ms, answer: answer.clone() };
        self.keys.insert(event.idempotency_key.clone(), kept);
    }

    fn work(&mut self, now_ms: u64, event: &MeterEvent) -> Answer {
        let time_ms = event.timestamp * 1_000;
        if self.gone.contains(&event.customer) {
            return Answer::Refused(message("no such customer"));
        }
        if time_ms > now_ms + 5 * MINUTE_MS || time_ms + 35 * DAY_MS < now_ms {
            return Answer::Refused(message("timestamp out of range"));
        }
        let known = |taken: &&Taken| taken.event.identifier == event.identifier && now_ms < taken.at_ms + DAY_MS;
        if self.taken.iter().rev().any(|taken| known(&taken)) {
            return Answer::Duplicate(message("An event already exists"));
        }
        self.taken.push(Taken { event: event.clone(), at_ms: now_ms });
        Answer::Taken { request_id: None }
    }

    /// The summary of an hour; none if the provider does not answer.
    pub(super) fn summary(&self, now_ms: u64, customer: &str, event_name: &str, hour_s: u64) -> Option<i64> {
        if now_ms < self.down_until_ms {
            return None;
        }
        let shown = self.taken.iter().filter(|taken| {
            let event = &taken.event;
            taken.at_ms + self.lag_ms <= now_ms
                && (event.customer.as_str(), event.event_name.as_str()) == (customer, event_name)
                && (hour_s..hour_s + 3_600).contains(&event.timestamp)
        });
        Some(shown.map(|taken| taken.event.value).sum())
    }
}

fn timeout() -> Answer {
    Answer::Unsure { message: message("no answer"), after: None, key_used_up: false }
}

fn not_taken(words: &str, after: Option<Duration>) -> Answer {
    Answer::NotTaken { message: message(words), after }
}

//! A body's events with their verdicts, resting on nothing but the body: what the intake hands to the ledger, so that no
//! event is parsed twice, and what the ledger makes of a record that it reads from the log. Both are the same.
//! A body of readings is judged by [`readings`].
use std::fmt;
use std::hash::Hasher;

use siphasher::sip::SipHasher13;
use weir_contract::{
    Class, Event, EventId, Outcome, Payload, RefusedData, Sequence, SourceData, SourceId, TenantId, Timestamp, Usage,
    UsageData,
};

use super::{Admission, BatchError, Format, Rejection, batch, readings};
use crate::reading::Reading;

/// The verdicts on the events, or the readings, of one body, in order.
#[derive(Clone, Debug)]
pub struct ValidatedBatch {
    events: Vec<Verdict>,
    readings: Vec<Verdict<Reading>>,
}

/// One event, or reading.
#[derive(Clone, Debug)]
pub struct Verdict<T = Fact> {
    /// Where its bytes start in the body, and how many they are.
    at: usize,
    length: usize,
    /// Of its bytes, or of a reading as it is written in one way, by the ledger's [`EventHasher`].
    pub hash: i64,
    /// What it says, or why it is refused for good.
    pub outcome: Result<T, Rejection>,
}

impl<T> Verdict<T> {
    /// On `raw`, a part of `body`.
    pub(super) fn new(body: &[u8], raw: &[u8], hash: i64, outcome: Result<T, Rejection>) -> Self {
        Verdict { at: raw.as_ptr().addr() - body.as_ptr().addr(), length: raw.len(), hash, outcome }
    }

    fn raw<'b>(&self, body: &'b [u8]) -> &'b [u8] {
        body.get(self.at..self.at + self.length).unwrap_or_default()
    }
}

/// Makes 64 bits of an event's bytes, under the ledger's secret key: nobody can make other bytes look the same.
#[derive(Clone, Copy)]
pub struct EventHasher(SipHasher13);

impl EventHasher {
    /// With the ledger's key.
    pub fn new(key: &[u8; 16]) -> Self {
        EventHasher(SipHasher13::new_with_key(key))
    }

    /// The hash of `raw`.
    pub fn hash(&self, raw: &[u8]) -> i64 {
        let mut hasher = self.0;
        hasher.write(raw);
        i64::from_ne_bytes(hasher.finish().to_ne_bytes())
    }
}

impl fmt::Debug for EventHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EventHasher")
    }
}

/// What the ledger has to know of an accepted event.
#[derive(Clone, Debug)]
pub struct Fact {
    /// See [`Event::id`].
    pub id: EventId,
    /// See [`Event::source`].
    pub source: SourceId,
    /// See [`Event::sequence`].
    pub sequence: Option<Sequence>,
    /// See [`Event::subject`].
    pub subject: Option<TenantId>,
    /// See [`Event::time`].
    pub time: Timestamp,
    /// See [`Event::payload`].
    pub payload: FactPayload,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum FactPayload {
    /// Something was used.
    Usage(Box<UsageFact>),
    /// Requests were refused.
    Refused(RefusedData),
    /// A source speaks of itself.
    Source(SourceData),
}

/// A text of an event.
#[derive(Clone, Debug)]
enum Span {
    /// Bytes of the event: from where, and how many.
    Within(u32, u32),
    /// It was written with escapes.
    Own(Box<str>),
}

/// What is summed of an event, and by what: the fields of [`UsageData`] that meters and analysis look at.
#[derive(Clone, Debug)]
pub struct UsageFact {
    class: Class,
    outcome: Outcome,
    usage: Usage,
    plan: Span,
    credential_id: Option<Span>,
    route: Option<Span>,
    feature: Option<Span>,
    prompt_version: Option<Span>,
    environment: Option<Span>,
    request_model: Option<Span>,
    response_model: Option<Span>,
}

impl ValidatedBatch {
    /// Judges the events of `body`, and hashes them.
    pub fn new(
        format: Format,
        body: &[u8],
        admission: Admission<'_>,
        hasher: &EventHasher,
    ) -> Result<Self, BatchError> {
        if format.is_of_readings() {
            return Ok(ValidatedBatch {
                events: Vec::new(),
                readings: readings::validate(format, body, admission, hasher)?,
            });
        }
        let verdict = |item: super::Item<'_>| {
            let raw = item.raw;
            let outcome = item.validate(admission).map(|event| Fact::of(event, raw));
            Verdict::new(body, raw, hasher.hash(raw), outcome)
        };
        Ok(ValidatedBatch {
            events: batch::items(format, body)?.into_iter().map(verdict).collect(),
            readings: Vec::new(),
        })
    }

    /// The verdicts, each with its event's bytes out of `body`, the body they were made of.
    pub fn of<'j>(&'j self, body: &'j [u8]) -> impl Iterator<Item = (&'j [u8], &'j Verdict)> {
        self.events.iter().map(|verdict| (verdict.raw(body), verdict))
    }

    /// As [`ValidatedBatch::of`], of a body of readings.
    pub fn readings<'j>(&'j self, body: &'j [u8]) -> impl Iterator<Item = (&'j [u8], &'j Verdict<Reading>)> {
        self.readings.iter().map(|verdict| (verdict.raw(body), verdict))
    }

    /// How many events there are.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// About how many bytes of memory this takes.
    pub fn memory_bytes(&self) -> usize {
        // The names of source and tenant, each with its allocation.
        const NAMES_BYTES: usize = 128;
        self.events.len() * (size_of::<Verdict>() + size_of::<UsageFact>() + NAMES_BYTES)
            + self.readings.len() * (size_of::<Verdict<Reading>>() + NAMES_BYTES)
    }
}

impl Fact {
    /// What `event`, read from `raw`, says.
    pub fn of(event: Event<'_>, raw: &[u8]) -> Self {
        let payload = match event.payload {
            Payload::Usage(data) => FactPayload::Usage(Box::new(UsageFact::of(*data, raw))),
            Payload::Refused(data) => FactPayload::Refused(data),
            Payload::Source(data) => FactPayload::Source(data),
        };
        let Event { id, source, sequence, subject, time, .. } = event;
        Fact { id, source, sequence, subject, time, payload }
    }
}

impl Span {
    fn of(text: &str, raw: &[u8]) -> Self {
        let start = text.as_ptr().addr().wrapping_sub(raw.as_ptr().addr());
        match (u32::try_from(start), u32::try_from(text.len())) {
            (Ok(at), Ok(length)) if start.checked_add(text.len()).is_some_and(|end| end <= raw.len()) => {
                Span::Within(at, length)
            }
            _ => Span::Own(text.into()),
        }
    }

    fn text<'r>(&'r self, raw: &'r str) -> &'r str {
        match self {
            Span::Within(at, length) => raw.get(*at as usize..(at + length) as usize).unwrap_or_default(),
            Span::Own(text) => text,
        }
    }
}

impl UsageFact {
    fn of(data: UsageData<'_>, raw: &[u8]) -> Self {
        let span = |text: Option<weir_contract::Text<'_>>| text.map(|text| Span::of(&text, raw));
        UsageFact {
            class: data.class,
            outcome: data.outcome,
            usage: data.usage,
            plan: Span::of(&data.plan, raw),
            credential_id: span(data.credential_id),
            route: span(data.route),
            feature: span(data.feature),
            prompt_version: span(data.prompt_version),
            environment: span(data.environment),
            request_model: span(data.request_model),
            response_model: span(data.response_model),
        }
    }

    /// The data of the event whose bytes are `raw`: what is not summed, nor summed by, is left out.
    pub fn data<'r>(&'r self, raw: &'r [u8]) -> UsageData<'r> {
        // Texts were taken from these very bytes, which were found to be text then.
        let raw = std::str::from_utf8(raw).unwrap_or_default();
        let text = |span: &'r Option<Span>| span.as_ref().map(|span| span.text(raw).into());
        UsageData {
            class: self.class,
            outcome: self.outcome,
            usage: self.usage.clone(),
            plan: self.plan.text(raw).into(),
            credential_id: text(&self.credential_id),
            route: text(&self.route),
            feature: text(&self.feature),
            prompt_version: text(&self.prompt_version),
            environment: text(&self.environment),
            request_model: text(&self.request_model),
            response_model: text(&self.response_model),
            ..UsageData::default()
        }
    }
}

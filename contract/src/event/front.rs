//! Reads events from the text around them in one pass.
//!
//! [`Event::parse`] reads the envelope first and then, by its type, the data: two passes, and a third one to find the
//! event within a batch. If the type precedes the data, as in events that weir writes, one pass is enough.
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, Visitor};

use super::{
    ATTEMPTS_TYPE, Event, Payload, REFUSED_TYPE, SEARCH_TYPE, SECURITY_TYPE, SOURCE_TYPE, SPEC_VERSION, USAGE_TYPE,
};
use crate::id::{EventId, Sequence, SourceId};
use crate::tenant::TenantId;
use crate::text::Text;
use crate::time::Timestamp;

impl<'a> Event<'a> {
    /// Reads the event that `text` starts with; returns it and how many bytes it takes.
    ///
    /// None if there is no event, or one that [`Event::parse`] must judge. Both read the same from the same bytes.
    pub fn parse_front(text: &'a str) -> Option<(Self, usize)> {
        let mut events = serde_json::Deserializer::from_str(text).into_iter::<Front<'a>>();
        let Front(event) = events.next()?.ok()?;
        Some((event, events.byte_offset()))
    }
}

struct Front<'a>(Event<'a>);

impl<'de> Deserialize<'de> for Front<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EnvelopeVisitor).map(Front)
    }
}

#[derive(serde::Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum Field {
    Specversion,
    Type,
    Id,
    Source,
    Sequence,
    Subject,
    Time,
    Datacontenttype,
    Data,
    #[serde(other)]
    Other,
}

/// The fields read so far. An optional field may be present and null.
#[derive(Default)]
struct Parts<'a> {
    specversion: Option<Text<'a>>,
    kind: Option<Text<'a>>,
    id: Option<EventId>,
    source: Option<SourceId>,
    sequence: Option<Option<Sequence>>,
    subject: Option<Option<TenantId>>,
    time: Option<Timestamp>,
    datacontenttype: Option<Option<Text<'a>>>,
    payload: Option<Payload<'a>>,
}

struct EnvelopeVisitor;

impl<'de> Visitor<'de> for EnvelopeVisitor {
    type Value = Event<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event whose type stands before its data")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut parts = Parts::default();
        while let Some(field) = map.next_key::<Field>()? {
            match field {
                Field::Specversion => read(&mut map, &mut parts.specversion)?,
                Field::Type => read(&mut map, &mut parts.kind)?,
                Field::Id => read(&mut map, &mut parts.id)?,
                Field::Source => read(&mut map, &mut parts.source)?,
                Field::Sequence => read(&mut map, &mut parts.sequence)?,
                Field::Subject => read(&mut map, &mut parts.subject)?,
                Field::Time => read(&mut map, &mut parts.time)?,
                Field::Datacontenttype => read(&mut map, &mut parts.datacontenttype)?,
                Field::Data => {
                    let payload = read_payload(&mut map, parts.kind.as_deref())?;
                    put(&mut parts.payload, payload)?;
                }
                Field::Other => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        parts.into_event().ok_or_else(|| A::Error::custom("not an event"))
    }
}

fn read<'de, T: Deserialize<'de>, A: MapAccess<'de>>(map: &mut A, slot: &mut Option<T>) -> Result<(), A::Error> {
    put(slot, map.next_value()?)
}

fn put<T, E: Error>(slot: &mut Option<T>, value: T) -> Result<(), E> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(E::custom("a field is there twice")),
    }
}

fn read_payload<'de, A: MapAccess<'de>>(map: &mut A, kind: Option<&str>) -> Result<Payload<'de>, A::Error> {
    match kind {
        Some(USAGE_TYPE) => Ok(Payload::Usage(map.next_value()?)),
        Some(REFUSED_TYPE) => Ok(Payload::Refused(map.next_value()?)),
        Some(SOURCE_TYPE) => Ok(Payload::Source(map.next_value()?)),
        Some(SECURITY_TYPE) => Ok(Payload::Security(map.next_value()?)),
        Some(SEARCH_TYPE) => Ok(Payload::Search(map.next_value()?)),
        Some(ATTEMPTS_TYPE) => Ok(Payload::Attempts(map.next_value()?)),
        _ => Err(A::Error::custom("no known type stands before the data")),
    }
}

impl<'a> Parts<'a> {
    /// The event; None if a field is missing or wrong, which [`Event::parse`] explains.
    fn into_event(self) -> Option<Event<'a>> {
        let payload = self.payload?;
        let (sequence, subject) = (self.sequence.flatten(), self.subject.flatten());
        let complete = match &payload {
            Payload::Usage(_) | Payload::Search(_) => subject.is_some() && sequence.is_some(),
            Payload::Refused(_) | Payload::Security(_) | Payload::Attempts(_) => sequence.is_some(),
            Payload::Source(_) => true,
        };
        let known = self.specversion.as_deref() == Some(SPEC_VERSION) && self.kind.is_some();
        if !complete || !known {
            return None;
        }
        Some(Event { id: self.id?, source: self.source?, sequence, subject, time: self.time?, payload })
    }
}

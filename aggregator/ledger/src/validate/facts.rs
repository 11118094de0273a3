//! The facts of an accepted event that the ledger needs. They own or point into the event's bytes.
use weir_contract::{
    AttemptsData, Class, Event, EventId, Outcome, PaidBy, Payload, RefusedData, SearchData, SecurityData, Sequence,
    SourceData, SourceId, TenantId, Timestamp, Usage, UsageData, UsageStatus,
};

/// The facts of an accepted event.
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

/// The content of an event.
#[derive(Clone, Debug)]
pub enum FactPayload {
    /// Usage.
    Usage(Box<UsageFact>),
    /// Refused requests of a minute.
    Refused(RefusedData),
    /// A source's announcement about itself.
    Source(SourceData),
    /// Findings of a minute about the borders between tenants.
    Security(SecurityData),
    /// A search of a vector store.
    Search(Box<SearchData>),
    /// Attempts of a minute at providers.
    Attempts(AttemptsData),
}

/// A text of an event.
#[derive(Clone, Debug)]
enum Span {
    /// Offset and length in the event's bytes.
    Within(u32, u32),
    /// A text with escapes, stored unescaped.
    Own(Box<str>),
}

/// The fields of [`UsageData`] that meters, costs and analysis use.
#[derive(Clone, Debug)]
pub struct UsageFact {
    class: Class,
    outcome: Outcome,
    paid_by: PaidBy,
    usage: Usage,
    duration_ms: u64,
    first_token_ms: Option<u64>,
    /// The model of a catalogue that served, or was to serve.
    routed: Option<Span>,
    plan: Span,
    credential_id: Option<Span>,
    route: Option<Span>,
    feature: Option<Span>,
    prompt_version: Option<Span>,
    user: Option<Span>,
    environment: Option<Span>,
    provider: Option<Span>,
    service_tier: Option<Span>,
    idempotency_key_hash: Option<Span>,
    request_model: Option<Span>,
    response_model: Option<Span>,
    flags: Option<Span>,
    /// The provider's id of an answer that it keeps, and that tells usage.
    kept_answer: Option<Span>,
}

/// The answer whose usage an event tells, if the provider keeps it.
pub(crate) fn told<'d>(data: &'d UsageData<'_>) -> Option<&'d str> {
    let tells = data.kept && data.usage.status != UsageStatus::None;
    data.response_id.as_deref().filter(|_| tells)
}

impl Fact {
    /// The facts of `event`, which was parsed from `raw`.
    pub fn of(event: Event<'_>, raw: &[u8]) -> Self {
        let payload = match event.payload {
            Payload::Usage(data) => FactPayload::Usage(Box::new(UsageFact::of(*data, raw))),
            Payload::Refused(data) => FactPayload::Refused(data),
            Payload::Source(data) => FactPayload::Source(data),
            Payload::Security(data) => FactPayload::Security(data),
            Payload::Search(data) => FactPayload::Search(data),
            Payload::Attempts(data) => FactPayload::Attempts(data),
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
            kept_answer: told(&data).map(|answer| Span::of(answer, raw)),
            class: data.class,
            outcome: data.outcome,
            paid_by: data.paid_by,
            usage: data.usage,
            duration_ms: data.duration_ms,
            first_token_ms: data.time_to_first_token_ms,
            routed: data.routed.map(|routed| Span::of(routed.served.as_ref().unwrap_or(&routed.chosen), raw)),
            plan: Span::of(&data.plan, raw),
            credential_id: span(data.credential_id),
            route: span(data.route),
            feature: span(data.feature),
            prompt_version: span(data.prompt_version),
            user: span(data.user),
            environment: span(data.environment),
            provider: span(data.provider),
            service_tier: span(data.service_tier),
            idempotency_key_hash: span(data.idempotency_key_hash),
            request_model: span(data.request_model),
            response_model: span(data.response_model),
            flags: span(data.flags),
        }
    }

    /// The class of the request.
    pub(crate) fn class(&self) -> Class {
        self.class
    }

    /// How the request ended, and after how many milliseconds its answer did and began.
    pub(crate) fn timing(&self) -> (Outcome, u64, Option<u64>) {
        (self.outcome, self.duration_ms, self.first_token_ms)
    }

    /// The model that served or should have: by its name in the catalogue, else as the answer or the request names it.
    pub(crate) fn model_tried<'r>(&'r self, raw: &'r [u8]) -> Option<&'r str> {
        let raw = std::str::from_utf8(raw).unwrap_or_default();
        let span = self.routed.as_ref().or(self.response_model.as_ref()).or(self.request_model.as_ref())?;
        Some(span.text(raw))
    }

    /// The provider's id of the answer, if the provider keeps it and its usage counts only once.
    pub(crate) fn kept_answer<'r>(&'r self, raw: &'r [u8]) -> Option<&'r str> {
        let raw = std::str::from_utf8(raw).unwrap_or_default();
        self.kept_answer.as_ref().map(|span| span.text(raw))
    }

    /// The data of the event whose bytes are `raw`: what is not summed, nor summed by, is left out.
    pub fn data<'r>(&'r self, raw: &'r [u8]) -> UsageData<'r> {
        // The texts were taken from these same bytes, which were valid UTF-8 then.
        let raw = std::str::from_utf8(raw).unwrap_or_default();
        let text = |span: &'r Option<Span>| span.as_ref().map(|span| span.text(raw).into());
        UsageData {
            class: self.class,
            outcome: self.outcome,
            paid_by: self.paid_by,
            usage: self.usage.clone(),
            plan: self.plan.text(raw).into(),
            credential_id: text(&self.credential_id),
            route: text(&self.route),
            feature: text(&self.feature),
            prompt_version: text(&self.prompt_version),
            user: text(&self.user),
            environment: text(&self.environment),
            provider: text(&self.provider),
            service_tier: text(&self.service_tier),
            idempotency_key_hash: text(&self.idempotency_key_hash),
            request_model: text(&self.request_model),
            response_model: text(&self.response_model),
            flags: text(&self.flags),
            ..UsageData::default()
        }
    }
}

//! Builds events.
use weir_contract::batch::join;
use weir_contract::{
    AttemptsData, Event, EventId, Outcome, Payload, RefusedData, SearchData, SecurityData, SecurityFinding,
    SecurityKind, SecuritySample, Sequence, SourceData, SourceId, TenantId, Timestamp, Usage, UsageData, UsageStatus,
};

/// A moment in the middle of an hour, for tests with a clock of their own.
pub(crate) fn noon() -> Timestamp {
    Timestamp::parse("2026-11-21T12:30:00Z").expect("a time")
}

/// A worker that makes events.
#[derive(Clone, Debug)]
pub(crate) struct Worker {
    pub(crate) source: SourceId,
    pub(crate) tenant: &'static str,
    pub(crate) time: Timestamp,
}

impl Worker {
    /// Worker number `life`, whose events are of tenant `acme` at `time`.
    pub(crate) fn new(life: u8, time: Timestamp) -> Self {
        Worker { source: SourceId::new("gw-1", [life; 16]).expect("a source"), tenant: "acme", time }
    }

    /// Usage number `sequence`: ten tokens in, five out.
    pub(crate) fn usage(&self, sequence: u64) -> Vec<u8> {
        self.usage_with(sequence, |_| ())
    }

    /// Usage number `sequence`, modified by `change`.
    pub(crate) fn usage_with(&self, sequence: u64, change: impl FnOnce(&mut UsageData<'_>)) -> Vec<u8> {
        let mut data = UsageData {
            request_id: "r".into(),
            plan: "starter".into(),
            status: 200,
            outcome: Outcome::Ok,
            config_version: "c".into(),
            usage: Usage {
                status: UsageStatus::Complete,
                input_tokens: Some(10),
                output_tokens: Some(5),
                ..Usage::default()
            },
            ..UsageData::default()
        };
        change(&mut data);
        self.event(Some(sequence), Payload::Usage(Box::new(data)))
    }

    /// A minute's refusals.
    pub(crate) fn refused(&self, sequence: u64, reason: &str, count: u64) -> Vec<u8> {
        let counts = [(reason.to_owned(), count)].into();
        self.event(Some(sequence), Payload::Refused(RefusedData { counts }))
    }

    /// A record of globex that was taken out of an answer to acme.
    pub(crate) fn foreign_record(&self, sequence: u64) -> Vec<u8> {
        let kind = SecurityKind::ForeignRecord;
        let samples = vec![SecuritySample { at: self.time, request_id: "req-7".to_owned() }];
        let finding = SecurityFinding {
            kind,
            severity: kind.severity(),
            operation: "points.search".to_owned(),
            route: None,
            count: 1,
            owners: vec!["globex".to_owned()],
            samples,
        };
        self.event(Some(sequence), Payload::Security(SecurityData { findings: vec![finding] }))
    }

    /// A search of acme's with three results.
    pub(crate) fn search(&self, sequence: u64) -> Vec<u8> {
        let data = SearchData {
            request_id: "req-8".to_owned(),
            store: "qdrant".to_owned(),
            collection: "docs".to_owned(),
            operation: "points.search".to_owned(),
            status: 200,
            results: 3,
            ..SearchData::default()
        };
        self.event(Some(sequence), Payload::Search(Box::new(data)))
    }

    /// Attempts of a minute at providers.
    pub(crate) fn attempts(&self, sequence: u64, data: AttemptsData) -> Vec<u8> {
        self.event(Some(sequence), Payload::Attempts(data))
    }

    /// The announcement that `last` is the last number.
    pub(crate) fn announce(&self, last: u64) -> Vec<u8> {
        self.event(None, Payload::Source(SourceData { first: 1, last, ..SourceData::default() }))
    }

    /// The id of usage number `sequence`.
    pub(crate) fn id(&self, sequence: u64) -> EventId {
        EventId::derive(self.time, &self.source, Sequence(sequence))
    }

    fn event(&self, sequence: Option<u64>, payload: Payload<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        let event = Event {
            id: self.id(sequence.unwrap_or(0)),
            source: self.source.clone(),
            sequence: sequence.map(Sequence),
            subject: TenantId::new(self.tenant).ok(),
            time: self.time,
            payload,
        };
        event.write(&mut out).expect("written");
        out
    }
}

/// Events as the body of a batch.
pub(crate) fn batch(events: &[Vec<u8>]) -> Vec<u8> {
    join(events.iter().map(Vec::as_slice))
}

//! Batches encoded beforehand.
use weir_contract::batch::join;
use weir_contract::{
    Class, Event, EventId, Payload, Sequence, SourceId, TenantId, Timestamp, Usage, UsageData, UsageStatus,
};

/// The number of tenants that share the traffic.
const TENANTS: u64 = 1_000;

/// The time around which all events lie.
pub(crate) fn start() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock");
    Timestamp::from_millis(u64::try_from(since.as_millis()).expect("a time"))
}

/// Batch `number` of worker `life`: `size` events with every dimension set, four per millisecond.
#[allow(dead_code, reason = "one benchmark says how many tenants there are")]
pub(crate) fn batch(life: u8, number: u64, size: u64, start: Timestamp) -> Vec<u8> {
    batch_of(TENANTS, life, number, size, start)
}

/// As [`batch`], of so many tenants in turn.
pub(crate) fn batch_of(tenants: u64, life: u8, number: u64, size: u64, start: Timestamp) -> Vec<u8> {
    let source = SourceId::new("gw-1", [life; 16]).expect("a source");
    let first = number * size + 1;
    let events: Vec<Vec<u8>> = (first..first + size).map(|n| event(tenants, &source, n, start)).collect();
    join(events.iter().map(Vec::as_slice))
}

fn event(tenants: u64, source: &SourceId, sequence: u64, start: Timestamp) -> Vec<u8> {
    let time = start.plus_millis(sequence / 4);
    let request_id = format!("5f0c6c1e-{sequence:012}");
    let data = UsageData {
        request_id: request_id.into(),
        response_id: Some(format!("chatcmpl-{sequence:024}").into()),
        credential_id: Some("key_7".into()),
        plan: "enterprise".into(),
        class: Class::Chat,
        route: Some("chat".into()),
        feature: Some("support-bot".into()),
        prompt_version: Some("v12".into()),
        environment: Some("production".into()),
        provider: Some("openai".into()),
        request_model: Some("gpt-4o".into()),
        response_model: Some("gpt-4o-2024-08-06".into()),
        stream: true,
        status: 200,
        config_version: "c0ffee".into(),
        usage: Usage {
            status: UsageStatus::Complete,
            input_tokens: Some(800 + sequence % 97),
            output_tokens: Some(140 + sequence % 13),
            cache_read_tokens: Some(512),
            reasoning_tokens: Some(64),
            ..Usage::default()
        },
        duration_ms: 2_310 + sequence % 1_000,
        time_to_first_token_ms: Some(412),
        request_bytes: 4_096,
        response_bytes: 9_120,
        ..UsageData::default()
    };
    let event = Event {
        id: EventId::derive(time, source, Sequence(sequence)),
        source: source.clone(),
        sequence: Some(Sequence(sequence)),
        subject: TenantId::new(&format!("tenant-{:04}", sequence * 7_919 % tenants)).ok(),
        time,
        payload: Payload::Usage(Box::new(data)),
    };
    let mut out = Vec::new();
    event.write(&mut out).expect("written");
    out
}

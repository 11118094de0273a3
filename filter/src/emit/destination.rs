//! Where events go, as the configuration says.
use weir_config::{ConfigError, shape};
use weir_contract::signed::SigningKey;

/// Where events go. An event keeps the destination it was made under: a reload does not redirect it.
pub struct Destination {
    /// The gateway's name for the aggregator.
    pub cluster: Box<str>,
    /// The path of the calls.
    pub path: Box<str>,
    /// Their `:authority`.
    pub authority: Box<str>,
    /// Their `authorization`, whole.
    pub authorization: Box<str>,
    /// How long an event waits for others before its batch is sent, in milliseconds.
    pub flush_ms: u64,
    /// How long a call may take, in milliseconds.
    pub timeout_ms: u64,
    /// The most events a worker holds.
    pub queue_max_events: usize,
    /// The most bytes of events a worker holds.
    pub queue_max_bytes: usize,
    /// How long an event waits at most before it leaves as a log line, in milliseconds.
    pub queue_max_age_ms: u64,
    /// Signs events that leave as log lines.
    pub signing_key: Option<SigningKey>,
    /// Whether each usage event is also left for the gateway's access log.
    pub access_log: bool,
}

impl std::fmt::Debug for Destination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Destination").field("cluster", &self.cluster).field("path", &self.path).finish_non_exhaustive()
    }
}

impl Destination {
    /// Checks what the shape cannot say.
    pub fn compile(events: shape::Events) -> Result<Self, ConfigError> {
        if events.access_log && events.signing_key.is_none() {
            let problem = "an event in the access log is signed: give events.signing_key, too";
            return Err(ConfigError::new("events.access_log", problem));
        }
        let signing_key = events.signing_key.map(|key| SigningKey::new(key.expose().as_bytes())).transpose();
        if events.queue_max_events == 0 {
            return Err(ConfigError::new("events.queue_max_events", "a queue holds at least 1 event"));
        }
        Ok(Destination {
            cluster: events.cluster.into(),
            path: events.path.into(),
            authority: events.authority.into(),
            authorization: format!("Bearer {}", events.token.expose()).into(),
            flush_ms: events.flush.as_millis(),
            timeout_ms: events.timeout.as_millis(),
            queue_max_events: events.queue_max_events,
            queue_max_bytes: events.queue_max_bytes,
            queue_max_age_ms: events.queue_max_age.as_millis(),
            signing_key: signing_key.map_err(|error| ConfigError::new("events.signing_key", error))?,
            access_log: events.access_log,
        })
    }
}

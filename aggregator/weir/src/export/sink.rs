//! The receivers of an export.
use std::time::Duration;

use redis::AsyncConnectionConfig;
use redis::aio::MultiplexedConnection;
use weir_contract::batch::{BATCH_CONTENT_TYPE, join};
use weir_settings::secret::{Secret, masked};

use super::ExportError;
use super::batch::Outgoing;
use super::kafka::KafkaSink;
use super::otlp::Metrics;
use crate::config::export::Target;

/// The longest wait for a receiver's answer.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// The longest wait for a connection.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// The most of a refusal's text that is told, in characters.
const TOLD_MAX_CHARS: usize = 200;

/// An open receiver.
pub(super) enum Sink {
    /// Batches by `POST`.
    Http { client: reqwest::Client, url: String, token: Option<Secret> },
    /// A record per event.
    Kafka(Box<KafkaSink>),
    /// Metrics of requests.
    Otlp(Box<Metrics>),
    /// An entry per event.
    Redis { connection: Box<MultiplexedConnection>, stream: String, max_entries: u64 },
}

impl Sink {
    pub(super) async fn open(target: &Target) -> Result<Self, ExportError> {
        let receiver = |error: String| ExportError::Receiver(error);
        match target {
            Target::Http { url, token, base } => {
                let builder = reqwest::Client::builder().timeout(ANSWER_MAX).connect_timeout(CONNECT_MAX);
                // A redirect would turn the POST into a GET that takes nothing.
                let builder = builder.redirect(reqwest::redirect::Policy::none());
                let client = builder.build().map_err(|error| receiver(error.to_string()))?;
                let token = token.as_ref().map(|token| token.read(base)).transpose()?;
                Ok(Sink::Http { client, url: url.clone(), token })
            }
            Target::Otlp { to, base } => Ok(Sink::Otlp(Box::new(Metrics::open(to, base)?))),
            Target::Kafka { server, base } => Ok(Sink::Kafka(Box::new(KafkaSink::open(server, base).await?))),
            Target::Redis { server, base, stream, max_entries } => {
                let client = server.client(base)?;
                let config = AsyncConnectionConfig::new()
                    .set_connection_timeout(Some(CONNECT_MAX))
                    .set_response_timeout(Some(ANSWER_MAX));
                let connection = client.get_multiplexed_async_connection_with_config(&config).await;
                let connection = Box::new(connection.map_err(|error| receiver(error.to_string()))?);
                Ok(Sink::Redis { connection, stream: stream.clone(), max_entries: *max_entries })
            }
        }
    }

    /// Why its receiver does not take what was sent before, if it is told so later.
    pub(super) fn problem(&self) -> Option<String> {
        match self {
            Sink::Otlp(metrics) => metrics.problem(),
            Sink::Http { .. } | Sink::Kafka(_) | Sink::Redis { .. } => None,
        }
    }

    /// Sends events; returns once the receiver has them.
    pub(super) async fn send(&mut self, events: &[Outgoing]) -> Result<(), ExportError> {
        match self {
            Sink::Http { client, url, token } => post(client, url, token.as_ref(), events).await,
            Sink::Kafka(sink) => sink.send(events).await,
            Sink::Otlp(metrics) => {
                metrics.add(events);
                Ok(())
            }
            Sink::Redis { connection, stream, max_entries } => add(connection, stream, *max_entries, events).await,
        }
    }
}

/// `POST`s the events in CloudEvents' batched mode.
async fn post(
    client: &reqwest::Client,
    url: &str,
    token: Option<&Secret>,
    events: &[Outgoing],
) -> Result<(), ExportError> {
    let body = join(events.iter().map(|event| event.json.as_slice()));
    let mut request = client.post(url).header("content-type", BATCH_CONTENT_TYPE).body(body);
    if let Some(token) = token {
        request = request.bearer_auth(token.expose());
    }
    let answer = request.send().await.map_err(|error| ExportError::Receiver(masked(&error.to_string())))?;
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    let said: String = answer.text().await.unwrap_or_default().chars().take(TOLD_MAX_CHARS).collect();
    Err(ExportError::Receiver(masked(&format!("{url} answers {status}: {said}"))))
}

/// Adds an entry per event to a stream.
async fn add(
    connection: &mut MultiplexedConnection,
    stream: &str,
    max_entries: u64,
    events: &[Outgoing],
) -> Result<(), ExportError> {
    let mut commands = redis::pipe();
    for event in events {
        commands.cmd("XADD").arg(stream).arg("MAXLEN").arg("~").arg(max_entries).arg("*");
        commands.arg("id").arg(&event.id).arg("type").arg(&event.kind).arg("subject").arg(&event.tenant);
        commands.arg("event").arg(&event.json).ignore();
    }
    let added: Result<(), redis::RedisError> = commands.query_async(connection).await;
    added.map_err(|error| ExportError::Receiver(error.to_string()))
}

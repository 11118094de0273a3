//! Hands every accepted event on, as a plain CloudEvent, to receivers of others.
//!
//! An export follows the event log behind the ledger: an event is sent once it is counted, or waits for its time, and never if it was
//! refused, repeated or in conflict. Events go out in the order of the log, one batch after the other, so in order for each tenant.
//! The ledger keeps the position of each export, after the receiver has answered: a crash sends some events again, under the same
//! ids. A receiver that fails is asked again after a growing pause, and delays nothing else; what the log drops meanwhile, by
//! `log_retention`, is lost to it and told.
mod batch;
mod kafka;
mod otlp;
mod sink;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use weir_event_log::{LogError, LogReader, Position};
use weir_ledger::LedgerError;
use weir_settings::kafka::KafkaSettingsError;
use weir_settings::redis::RedisSettingsError;
use weir_settings::secret::SecretError;

use crate::config::export::Export;
use crate::lookup::LookupError;
use crate::store::Store;
use batch::Batch;
use sink::Sink;

/// How often a caught-up export looks for new records.
const IDLE: Duration = Duration::from_millis(500);
/// The pause after the first failure; it doubles with each further one, up to the last.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_LAST: Duration = Duration::from_secs(60);

/// Why events were not handed on.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The receiver.
    #[error("{0}")]
    Receiver(String),
    /// Its token cannot be read.
    #[error("token: {0}")]
    Token(#[from] SecretError),
    /// Its Redis cannot be used as it is written.
    #[error("redis: {0}")]
    Settings(#[from] RedisSettingsError),
    /// Its Kafka cannot be used as it is written.
    #[error("kafka: {0}")]
    Kafka(#[from] KafkaSettingsError),
    /// The event log cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A record cannot be read.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// The work was broken off.
    #[error("the server is stopping")]
    Stopped,
}

/// How an export stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportStatus {
    /// Its name.
    pub name: String,
    /// The last record whose events its receiver has.
    pub position: Position,
    /// Records that it has not handed on yet.
    pub behind_records: u64,
    /// Events handed on since the start.
    pub events: u64,
    /// Attempts that failed since the start.
    pub failures: u64,
    /// Records that the log dropped before they were handed on, since the start.
    pub lost_records: u64,
    /// Why the last attempt failed; absent if it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

impl ExportStatus {
    /// What needs a person, if something does.
    pub(crate) fn trouble(&self) -> Option<String> {
        let why = self.problem.as_ref()?;
        Some(format!("export {}: events are not handed on, {} records wait: {why}", self.name, self.behind_records))
    }
}

/// What an export has done, for metrics and status.
#[derive(Debug, Default)]
pub struct Progress {
    name: String,
    position: AtomicU64,
    events: AtomicU64,
    failures: AtomicU64,
    lost: AtomicU64,
    problem: Mutex<Option<String>>,
}

impl Progress {
    /// Of the export `name`.
    pub(crate) fn of(name: &str) -> Arc<Self> {
        Arc::new(Progress { name: name.to_owned(), ..Progress::default() })
    }

    /// How it stands while the log ends at `end`.
    pub(crate) fn status(&self, end: Position) -> ExportStatus {
        let position = self.position.load(Ordering::Relaxed);
        ExportStatus {
            name: self.name.clone(),
            position,
            behind_records: end.saturating_sub(position),
            events: self.events.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
            lost_records: self.lost.load(Ordering::Relaxed),
            problem: self.problem.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    fn set_problem(&self, problem: Option<String>) {
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = problem;
    }
}

/// An export under way.
struct Running<'a> {
    export: &'a Export,
    store: &'a Store,
    progress: &'a Progress,
    sink: Sink,
    /// Open while reads succeed.
    reader: Option<Box<dyn LogReader>>,
    position: Position,
}

/// Runs an export until its task is ended.
pub(crate) async fn run(store: &Store, export: Export, progress: Arc<Progress>) {
    let mut pause = PAUSE_FIRST;
    loop {
        let Err(error) = follow(store, &export, &progress, &mut pause).await;
        progress.failures.fetch_add(1, Ordering::Relaxed);
        progress.set_problem(Some(error.to_string()));
        tracing::warn!(export = export.name, %error, pause_seconds = pause.as_secs(), "events are not handed on; trying again");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_LAST);
    }
}

/// Hands events on until something fails; each success resets the pause.
async fn follow(
    store: &Store,
    export: &Export,
    progress: &Progress,
    pause: &mut Duration,
) -> Result<std::convert::Infallible, ExportError> {
    let (name, beginning) = (export.name.clone(), export.beginning);
    let position = store.ledger.call(move |ledger| ledger.export_position(&name, beginning)).await?;
    progress.position.store(position, Ordering::Relaxed);
    let sink = Sink::open(&export.target).await?;
    let mut running = Running { export, store, progress, sink, reader: None, position };
    loop {
        let sent = running.step().await?;
        progress.set_problem(running.sink.problem());
        *pause = PAUSE_FIRST;
        if !sent {
            tokio::time::sleep(IDLE).await;
        }
    }
}

impl Running<'_> {
    /// Hands the next records on. False if there are none.
    async fn step(&mut self) -> Result<bool, ExportError> {
        let counted = self.store.ledger.progress().position();
        if counted <= self.position {
            return Ok(false);
        }
        let Some(batch) = self.read(counted).await? else { return Ok(false) };
        if batch.lost > 0 {
            self.progress.lost.fetch_add(batch.lost, Ordering::Relaxed);
            tracing::error!(
                export = self.export.name,
                records = batch.lost,
                "the event log dropped records before they were handed on"
            );
        }
        for events in batch.parts() {
            self.sink.send(events).await?;
            self.progress.events.fetch_add(events.len() as u64, Ordering::Relaxed);
        }
        let (name, end) = (self.export.name.clone(), batch.end);
        self.store.ledger.call(move |ledger| ledger.note_exported(&name, end)).await?;
        self.position = end;
        self.progress.position.store(end, Ordering::Relaxed);
        Ok(true)
    }

    /// Reads some records after the position, none after `counted`.
    async fn read(&mut self, counted: Position) -> Result<Option<Batch>, ExportError> {
        let (home, types, after) = (self.store.home.clone(), self.export.types.clone(), self.position);
        let reader = self.reader.take();
        let work = move || -> Result<_, ExportError> {
            let mut reader = reader.map_or_else(|| home.log_place().reader(), Ok)?;
            let batch = batch::read(&home, reader.as_mut(), after, counted, &types)?;
            Ok((reader, batch))
        };
        let (reader, batch) = tokio::task::spawn_blocking(work).await.map_err(|_| ExportError::Stopped)??;
        self.reader = Some(reader);
        Ok(batch)
    }
}

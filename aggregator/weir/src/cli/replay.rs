//! `weir replay`: delivers events that gateways wrote to their logs, because their queues were full or as a copy in
//! case one is killed.
mod words;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use serde::Serialize;
use weir_contract::batch::{BATCH_CONTENT_TYPE, BATCH_MAX_BYTES, BATCH_MAX_EVENTS, BatchAnswer, join};
use weir_contract::signed::SigningKey;

use super::access::{self, Access, AnsweredError, Client, audit_here};
use super::render::{chain, complain, json, say};
use super::{EXIT_ATTENTION, EXIT_DONE};
use crate::config::Config;
use crate::forget;
use crate::store::Store;
use weir_clock::Clock;
use weir_ledger::validate::Format;
use words::{Word, Words};

/// The interval between progress messages.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);
/// The most attempts to deliver a batch to a busy server. The pause before the second attempt doubles each time: two
/// minutes in total.
const ATTEMPTS: u32 = 8;
const PAUSE: Duration = Duration::from_secs(1);

/// The result of a replay.
#[derive(Debug, Default, Serialize)]
struct Replayed {
    /// Files read to the end.
    files: u64,
    /// Lines read.
    lines: u64,
    /// Events delivered. Those already counted are not counted again.
    events: u64,
    /// Events refused for good.
    rejected: u64,
    /// Words that look signed, but have an invalid signature or one of another key.
    forged: u64,
    /// Words cut off by the end of their file.
    cut: u64,
}

pub(super) fn run(config: &Config, files: &[PathBuf], as_json: bool) -> anyhow::Result<u8> {
    let source = config.signing_key.as_ref().context("there is no `signing_key` in the configuration")?;
    let secret = source.read(&config.base).context("signing_key")?;
    let key = SigningKey::new(secret.expose().as_bytes()).context("signing_key")?;
    let (replayed, unreadable) = access::block_on(async {
        let access = access::open(config)?;
        let clock = access::clock();
        let progress = Progress { clock: &*clock, said: Duration::ZERO };
        let mut replay = Replay { access, key, events: Vec::new(), bytes: 0, done: Replayed::default(), progress };
        let mut unreadable = 0;
        for file in files {
            if let Err(error) = replay.file(file).await {
                // One file that cannot be read must not keep the events of the others back.
                complain!("weir replay: {}: {}", file.display(), chain(&error));
                unreadable += 1;
            }
        }
        replay.flush().await?;
        replay.note().await?;
        Ok((replay.done, unreadable))
    })?;
    if as_json {
        json(&replayed)?;
    } else {
        let Replayed { files, lines, events, rejected, forged, cut } = &replayed;
        say!(
            "{files} files, {lines} lines: {events} events handed over, {rejected} refused, {forged} words with a wrong \
             signature, {cut} cut off"
        );
    }
    if unreadable > 0 {
        bail!("{unreadable} of {} files were not read to their end", files.len());
    }
    let attention = replayed.rejected + replayed.forged > 0;
    Ok(if attention { EXIT_ATTENTION } else { EXIT_DONE })
}

struct Replay<'c> {
    access: Access,
    key: SigningKey,
    events: Vec<Vec<u8>>,
    bytes: usize,
    done: Replayed,
    progress: Progress<'c>,
}

impl Replay<'_> {
    async fn file(&mut self, path: &Path) -> anyhow::Result<()> {
        let mut words = Words::open(path)?;
        loop {
            let read = words.next();
            if let Ok(Some(found)) = &read {
                for word in found {
                    self.word(word).await?;
                }
            }
            self.progress.say(path, &words, self.done.events);
            if !matches!(read, Ok(Some(_))) {
                self.done.lines += words.lines;
                self.done.files += u64::from(read.is_ok());
                return Ok(read.map(drop)?);
            }
        }
    }

    async fn word(&mut self, word: &Word) -> anyhow::Result<()> {
        match self.key.open(&word.text) {
            Ok(event) => self.add(event).await?,
            Err(_) if word.ends_file => self.done.cut += 1,
            Err(_) => self.done.forged += 1,
        }
        Ok(())
    }

    async fn add(&mut self, event: Vec<u8>) -> anyhow::Result<()> {
        // A batch is a JSON array, so one invalid word would make the server refuse the whole batch.
        if serde_json::from_slice::<&serde_json::value::RawValue>(&event).is_err() {
            self.done.rejected += 1;
            return Ok(());
        }
        if self.events.len() == BATCH_MAX_EVENTS || self.bytes + event.len() > BATCH_MAX_BYTES / 2 {
            self.flush().await?;
        }
        self.bytes += event.len() + 1;
        self.events.push(event);
        Ok(())
    }

    /// Audits the replay.
    async fn note(&self) -> anyhow::Result<()> {
        let Replayed { files, events, rejected, .. } = &self.done;
        let detail = format!("{files} files, {events} events handed over, {rejected} refused");
        match &self.access {
            Access::Server(server) => server.note("replay", detail).await,
            Access::Here(store) => {
                audit_here(store, "replay", detail).await?;
                // A running server does this by itself.
                forget::apply(store, access::clock().now()).await?;
                Ok(())
            }
        }
    }

    async fn flush(&mut self) -> anyhow::Result<()> {
        let body = join(self.events.iter().map(Vec::as_slice));
        let count = std::mem::take(&mut self.events).len();
        self.bytes = 0;
        if count == 0 {
            return Ok(());
        }
        let answer = match &self.access {
            Access::Server(server) => hand_over(server, body).await?,
            Access::Here(store) => append(store, body).await?,
        };
        self.done.events += answer.accepted;
        self.done.rejected += answer.rejected.len() as u64;
        Ok(())
    }
}

/// Delivers a batch to the server. Retries while the server is busy, out of room or restarting.
async fn hand_over(server: &Client, body: Vec<u8>) -> anyhow::Result<BatchAnswer> {
    let mut pause = PAUSE;
    for _ in 1..ATTEMPTS {
        match server.post_bytes("/v1/events", BATCH_CONTENT_TYPE, body.clone()).await {
            Ok(answer) => return Ok(answer),
            Err(error) if error.downcast_ref().is_some_and(|answered: &AnsweredError| !answered.may_pass()) => {
                return Err(error);
            }
            Err(error) => complain!("weir replay: {error:#}; trying again in {} s", pause.as_secs()),
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
    server.post_bytes("/v1/events", BATCH_CONTENT_TYPE, body).await
}

/// Reports progress on standard error.
struct Progress<'c> {
    clock: &'c dyn Clock,
    said: Duration,
}

impl Progress<'_> {
    fn say(&mut self, path: &Path, words: &Words, events: u64) {
        let now = self.clock.elapsed();
        if now.saturating_sub(self.said) < PROGRESS_EVERY {
            return;
        }
        self.said = now;
        let read = words.position();
        let part = words.size.map_or_else(String::new, |size| format!(" ({} %)", read.saturating_mul(100) / size));
        complain!("weir replay: {}: {} MB read{part}, {events} events", path.display(), read / 1_000_000);
    }
}

/// Appends a batch without a server, with the same validation and the same log.
async fn append(store: &Store, body: Vec<u8>) -> anyhow::Result<BatchAnswer> {
    let taken = store.intake.take(access::clock().now(), None, Format::Batch, body)?;
    taken.synced.await??;
    store.catch_up().await?;
    Ok(taken.answer)
}

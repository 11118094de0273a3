//! `weir replay`: events that gateways wrote to their logs because their queues were full.
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Serialize;
use weir_contract::batch::{BATCH_CONTENT_TYPE, BATCH_MAX_BYTES, BATCH_MAX_EVENTS, BatchAnswer, join};
use weir_contract::signed::{PREFIX, SigningKey};

use super::access::{self, Access};
use super::render::json;
use super::{EXIT_ATTENTION, EXIT_DONE};
use crate::accept::Format;
use crate::config::Config;
use crate::intake;
use crate::store::Store;

/// The longest line that is looked at, in bytes: an event of the largest size, in base64, and what a log puts around it.
const LINE_MAX_BYTES: u64 = 256 * 1024;

/// What a replay did.
#[derive(Debug, Default, Serialize)]
struct Replayed {
    /// Lines read.
    lines: u64,
    /// Events handed over; those that are counted already stay counted once.
    events: u64,
    /// Events that were refused for good.
    rejected: u64,
    /// Words that look signed and are not, or under another key.
    forged: u64,
}

pub(super) fn run(config: &Config, files: &[PathBuf], as_json: bool) -> anyhow::Result<u8> {
    let source = config.signing_key.as_ref().context("there is no `signing_key` in the configuration")?;
    let secret = source.read(&config.base).context("signing_key")?;
    let key = SigningKey::new(secret.expose().as_bytes()).context("signing_key")?;
    let replayed = access::block_on(async {
        let access = access::open(config)?;
        let mut replay = Replay { access, key, events: Vec::new(), bytes: 0, done: Replayed::default() };
        for file in files {
            replay.file(file).await.with_context(|| file.display().to_string())?;
        }
        replay.flush().await?;
        Ok(replay.done)
    })?;
    if as_json {
        json(&replayed)?;
    } else {
        let Replayed { lines, events, rejected, forged } = replayed;
        println!(
            "{lines} lines, {events} events handed over, {rejected} refused, {forged} words with a wrong signature"
        );
    }
    let attention = replayed.rejected + replayed.forged > 0;
    Ok(if attention { EXIT_ATTENTION } else { EXIT_DONE })
}

struct Replay {
    access: Access,
    key: SigningKey,
    events: Vec<Vec<u8>>,
    bytes: usize,
    done: Replayed,
}

impl Replay {
    async fn file(&mut self, path: &Path) -> anyhow::Result<()> {
        let mut reader: Box<dyn BufRead> = match path.to_str() {
            Some("-") => Box::new(BufReader::new(std::io::stdin())),
            _ => Box::new(BufReader::new(File::open(path)?)),
        };
        let mut line = Vec::new();
        // A longer line comes in pieces; no event spans two.
        while reader.by_ref().take(LINE_MAX_BYTES).read_until(b'\n', &mut line)? > 0 {
            self.done.lines += 1;
            self.line(&String::from_utf8_lossy(&line)).await?;
            line.clear();
        }
        Ok(())
    }

    async fn line(&mut self, line: &str) -> anyhow::Result<()> {
        for (at, _) in line.match_indices(PREFIX) {
            let rest = &line[at..];
            let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')));
            match self.key.open(&rest[..end.unwrap_or(rest.len())]) {
                Ok(event) => self.add(event).await?,
                Err(_) => self.done.forged += 1,
            }
        }
        Ok(())
    }

    async fn add(&mut self, event: Vec<u8>) -> anyhow::Result<()> {
        if self.events.len() == BATCH_MAX_EVENTS || self.bytes + event.len() > BATCH_MAX_BYTES / 2 {
            self.flush().await?;
        }
        self.bytes += event.len() + 1;
        self.events.push(event);
        Ok(())
    }

    async fn flush(&mut self) -> anyhow::Result<()> {
        let body = join(self.events.iter().map(Vec::as_slice));
        let count = std::mem::take(&mut self.events).len();
        self.bytes = 0;
        if count == 0 {
            return Ok(());
        }
        let answer = match &self.access {
            Access::Server(server) => server.post_bytes("/v1/events", BATCH_CONTENT_TYPE, body).await?,
            Access::Here(store) => append(store, &body).await?,
        };
        self.done.events += answer.accepted;
        self.done.rejected += answer.rejected.len() as u64;
        Ok(())
    }
}

/// Appends a batch without a server: the same judgement, the same log.
async fn append(store: &Store, body: &[u8]) -> anyhow::Result<BatchAnswer> {
    let taken = intake::take(&store.log, access::clock().now(), None, Format::Batch, body)?;
    taken.synced.await??;
    store.catch_up().await?;
    Ok(taken.answer)
}

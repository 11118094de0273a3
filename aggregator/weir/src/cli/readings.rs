//! `weir readings`.
mod file;

use std::io::Read;
use std::path::Path;

use anyhow::{Context, anyhow, bail};
use serde::Serialize;
use weir_contract::batch::{BATCH_MAX_EVENTS, join};

use super::access::audit_here;
use super::access::{self, Access};
use super::render::{json, say};
use super::{EXIT_ATTENTION, EXIT_DONE};
use crate::config::Config;
use crate::lookup::{ReadingView, find_reading};
use crate::store::Store;
use file::{FILE_MAX_BYTES, FileError, Kind, NAME, ReadingLine};
use weir_ledger::intake::readings::{self, ReadingsAnswer, Taken};
use weir_ledger::reading::is_id;
use weir_ledger::validate::Format;

/// The result of an import.
#[derive(Debug, Default, Serialize)]
struct Imported {
    /// Readings in the file.
    readings: u64,
    /// Readings counted now.
    new: u64,
    /// Readings counted before.
    duplicates: u64,
    /// Readings stored that the ledger has not counted yet, because it is behind.
    uncounted: u64,
    /// Lines refused for good, and why.
    refused: Vec<RefusedLine>,
}

#[derive(Debug, Serialize)]
struct RefusedLine {
    line: u64,
    reason: String,
}

pub(super) fn import(config: &Config, path: &Path, check: bool, as_json: bool) -> anyhow::Result<u8> {
    let readings = read(config, path)?;
    let mut imported = Imported { readings: readings.len() as u64, ..Imported::default() };
    if check {
        if as_json {
            json(&imported)?;
        } else {
            say!("{}: {} readings, all good", path.display(), readings.len());
        }
        return Ok(EXIT_DONE);
    }
    access::block_on(async {
        let access = access::open(config)?;
        let mut through = 0;
        for part in readings.chunks(BATCH_MAX_EVENTS) {
            let answer = hand_over(&access, part).await.with_context(|| {
                format!(
                    "{}: what stands up to line {through} is taken; import the file again: what is counted stays counted once",
                    path.display()
                )
            })?;
            imported.add(part, answer);
            through = part.last().map_or(through, |placed| placed.line);
        }
        note(&access, path, &imported).await
    })?;
    if as_json {
        json(&imported)?;
    } else {
        print(path, &imported);
    }
    Ok(if imported.refused.is_empty() { EXIT_DONE } else { EXIT_ATTENTION })
}

/// Reads the whole file; nothing is sent unless all of it is valid.
fn read(config: &Config, path: &Path) -> anyhow::Result<Vec<ReadingLine>> {
    let shown = path.display();
    let kind =
        Kind::of(path).with_context(|| format!("{shown}: a file of readings ends in .csv, .ndjson or .jsonl"))?;
    let mut text = String::new();
    let file = std::fs::File::open(path).with_context(|| shown.to_string())?;
    file.take(FILE_MAX_BYTES + 1).read_to_string(&mut text).with_context(|| shown.to_string())?;
    if text.len() as u64 > FILE_MAX_BYTES {
        bail!("{shown}: larger than {} MB; split it", FILE_MAX_BYTES / 1024 / 1024);
    }
    let wrong = |error: FileError| anyhow!("{shown}:{error}");
    let readings = file::read(kind, &text).map_err(wrong)?;
    for ReadingLine { line, columns, reading } in &readings {
        let unsummed = |problem| FileError { line: *line, column: columns[NAME], problem };
        config.meters.check_reading(reading).map_err(unsummed).map_err(wrong)?;
    }
    Ok(readings)
}

async fn hand_over(access: &Access, part: &[ReadingLine]) -> anyhow::Result<ReadingsAnswer> {
    let bodies: Vec<Vec<u8>> = part.iter().map(|placed| placed.reading.canonical()).collect();
    let body = join(bodies.iter().map(Vec::as_slice));
    match access {
        Access::Server(server) => server.post_bytes("/v1/readings", "application/json", body).await,
        Access::Here(store) => append(store, body).await,
    }
}

/// Appends readings without a server, with the same validation and the same log.
async fn append(store: &Store, body: Vec<u8>) -> anyhow::Result<ReadingsAnswer> {
    let now = access::clock().now();
    let taken = store.intake.take_readings(&store.meters, now, Format::Readings, body)?;
    let Taken { answer, synced, asked } = taken;
    let position = synced.await??;
    Ok(ReadingsAnswer {
        ledger: readings::counted(&store.ledger, store.home.ledger().clone(), position, asked).await?,
        ..answer
    })
}

/// Audits the import.
async fn note(access: &Access, path: &Path, imported: &Imported) -> anyhow::Result<()> {
    let Imported { readings, new, refused, .. } = imported;
    let file: String = path.file_name().unwrap_or_default().to_string_lossy().escape_default().take(200).collect();
    let detail = format!("{file}: {readings} readings, {new} new, {} refused", refused.len());
    match access {
        Access::Server(server) => server.note("readings import", detail).await,
        Access::Here(store) => audit_here(store, "readings import", detail).await,
    }
}

impl Imported {
    fn add(&mut self, part: &[ReadingLine], answer: ReadingsAnswer) {
        let ReadingsAnswer { accepted, mut rejected, ledger } = answer;
        match ledger {
            Some(made) => {
                self.new += made.new;
                self.duplicates += made.duplicates;
                rejected.extend(made.conflicts);
            }
            None => self.uncounted += accepted,
        }
        rejected.sort_by_key(|refused| refused.index);
        let line = |index: usize| part.get(index).map_or(0, |placed| placed.line);
        let lines = rejected.into_iter().map(|r| RefusedLine { line: line(r.index), reason: r.reason });
        self.refused.extend(lines);
    }
}

fn print(path: &Path, imported: &Imported) {
    let Imported { readings, new, duplicates, uncounted, refused } = imported;
    for RefusedLine { line, reason } in refused {
        say!("{}:{line}: {reason}", path.display());
    }
    say!("{readings} readings: {new} new, {duplicates} counted before, {} refused", refused.len());
    if *uncounted > 0 {
        say!("{uncounted} are taken and not counted yet: the ledger is behind; `weir ledger` shows how far it is");
    }
}

pub(super) fn get(config: &Config, id: &str) -> anyhow::Result<u8> {
    if !is_id(id) {
        bail!("{id:?} is not the id of a reading");
    }
    let view: ReadingView = access::block_on(async {
        Ok(match access::open(config)? {
            Access::Server(server) => server.get(&path_of(id)?, &()).await?,
            Access::Here(store) => {
                store.catch_up().await?;
                find_reading(&store.home, id)?.context("no reading with this id was taken, or it is pruned")?
            }
        })
    })?;
    json(&view)?;
    Ok(EXIT_DONE)
}

/// The URL path of a reading; its id may contain slashes.
fn path_of(id: &str) -> anyhow::Result<String> {
    let mut url = reqwest::Url::parse("http://localhost/v1/readings")?;
    if let Ok(mut path) = url.path_segments_mut() {
        path.push(id);
    }
    Ok(url.path().to_owned())
}

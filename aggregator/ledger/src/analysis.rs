//! Sums by model, class, route, feature and other dimensions. Nothing is billed from them, and they expire.
use foldhash::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hasher;

use rusqlite::{Transaction, params};
use siphasher::sip128::{Hasher128, SipHasher13};
use weir_contract::{TenantId, Timestamp, UsageData};

use super::LedgerError;

/// How long analysis sums are kept, in days.
pub(crate) const ANALYSIS_DAYS: u64 = 90;
/// The most combinations of dimensions of one tenant in one hour. Clients choose the values of some dimensions, so
/// further combinations are summed under [`OTHER`].
pub const COMBINATIONS_MAX: u32 = 500;
/// The value of all dimensions beyond [`COMBINATIONS_MAX`].
pub const OTHER: &str = "(other)";
/// The longest value of a dimension, in bytes; the rest is cut.
const VALUE_MAX_BYTES: usize = 128;

/// The dimensions, by the names of their columns.
pub const DIMENSIONS: [&str; 7] = ["model", "class", "route", "feature", "prompt_version", "environment", "credential"];

/// The sums of one combination.
#[derive(Debug, Default, Clone, Copy)]
struct Amounts {
    requests: u64,
    input_tokens: u64,
    output_tokens: u64,
    cache_read_tokens: u64,
    reasoning_tokens: u64,
}

#[derive(Debug)]
struct Line {
    window: Timestamp,
    tenant: TenantId,
    dimensions: [Box<str>; DIMENSIONS.len()],
    amounts: Amounts,
}

/// The analysis sums of one transaction, by a hash of tenant, window and values: a lookup builds no key.
#[derive(Debug, Default)]
pub(super) struct Analysis(HashMap<u128, Line>);

impl Analysis {
    /// Adds an event.
    pub(super) fn add(&mut self, tenant: &TenantId, window: Timestamp, data: &UsageData<'_>) {
        let dimensions = dimensions(data);
        let line = match self.0.entry(key(tenant, window, &dimensions)) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(Line {
                window,
                tenant: tenant.clone(),
                dimensions: dimensions.map(Into::into),
                amounts: Amounts::default(),
            }),
        };
        let (amounts, usage) = (&mut line.amounts, &data.usage);
        amounts.requests += 1;
        amounts.input_tokens += usage.input_tokens.unwrap_or(0);
        amounts.output_tokens += usage.output_tokens.unwrap_or(0);
        amounts.cache_read_tokens += usage.cache_read_tokens.unwrap_or(0);
        amounts.reasoning_tokens += usage.reasoning_tokens.unwrap_or(0);
    }

    /// Writes everything.
    pub(super) fn write(&self, tx: &Transaction<'_>) -> Result<(), LedgerError> {
        // Sorted by the table's key: neighbours share a page, and the same events cause the same writes.
        let mut lines: Vec<&Line> = self.0.values().collect();
        lines.sort_unstable_by_key(|line| (line.window, &line.tenant, &line.dimensions));
        for line in lines {
            if update(tx, line)? {
                continue;
            }
            if combinations(tx, line)? < COMBINATIONS_MAX {
                insert(tx, line, &line.dimensions.each_ref().map(AsRef::as_ref))?;
            } else {
                insert(tx, line, &[OTHER; DIMENSIONS.len()])?;
            }
        }
        Ok(())
    }
}

/// Drops the sums of windows before `before`.
pub(super) fn expire(tx: &Transaction<'_>, before: Timestamp) -> Result<(), LedgerError> {
    tx.prepare_cached("DELETE FROM analysis WHERE window_start < ?1")?.execute([before.as_millis()])?;
    Ok(())
}

fn dimensions<'a>(data: &'a UsageData<'_>) -> [&'a str; DIMENSIONS.len()] {
    let model = data.response_model.as_deref().or(data.request_model.as_deref());
    let rest = [&data.route, &data.feature, &data.prompt_version, &data.environment, &data.credential_id];
    let [route, feature, prompt_version, environment, credential] = rest.map(|text| truncated(text.as_deref()));
    [truncated(model), data.class.as_str(), route, feature, prompt_version, environment, credential]
}

fn truncated(text: Option<&str>) -> &str {
    let text = text.unwrap_or_default();
    if text.len() <= VALUE_MAX_BYTES {
        return text;
    }
    let end = (0..=VALUE_MAX_BYTES).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    &text[..end]
}

fn key(tenant: &TenantId, window: Timestamp, dimensions: &[&str]) -> u128 {
    let mut hasher = SipHasher13::new();
    hasher.write_u64(window.as_millis());
    for text in std::iter::once(&tenant.as_str()).chain(dimensions) {
        hasher.write(text.as_bytes());
        // No text contains this byte, so it keeps neighbouring texts apart.
        hasher.write_u8(0xff);
    }
    hasher.finish128().as_u128()
}

fn update(tx: &Transaction<'_>, line: &Line) -> Result<bool, LedgerError> {
    let sql = "UPDATE analysis SET requests = requests + ?10, input_tokens = input_tokens + ?11,
                 output_tokens = output_tokens + ?12, cache_read_tokens = cache_read_tokens + ?13,
                 reasoning_tokens = reasoning_tokens + ?14
               WHERE window_start = ?1 AND tenant = ?2 AND model = ?3 AND class = ?4 AND route = ?5 AND feature = ?6
                 AND prompt_version = ?7 AND environment = ?8 AND credential = ?9";
    let dimensions = line.dimensions.each_ref().map(AsRef::as_ref);
    Ok(execute(tx, sql, line, &dimensions)? > 0)
}

fn insert(tx: &Transaction<'_>, line: &Line, dimensions: &[&str; DIMENSIONS.len()]) -> Result<(), LedgerError> {
    let sql = "INSERT INTO analysis VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14)
               ON CONFLICT DO UPDATE SET requests = requests + ?10, input_tokens = input_tokens + ?11,
                 output_tokens = output_tokens + ?12, cache_read_tokens = cache_read_tokens + ?13,
                 reasoning_tokens = reasoning_tokens + ?14";
    execute(tx, sql, line, dimensions)?;
    Ok(())
}

fn execute(
    tx: &Transaction<'_>,
    sql: &str,
    line: &Line,
    dimensions: &[&str; DIMENSIONS.len()],
) -> Result<usize, rusqlite::Error> {
    let [model, class, route, feature, prompt_version, environment, credential] = dimensions;
    let a = line.amounts;
    tx.prepare_cached(sql)?.execute(params![
        line.window.as_millis(),
        line.tenant.as_str(),
        model,
        class,
        route,
        feature,
        prompt_version,
        environment,
        credential,
        a.requests,
        a.input_tokens,
        a.output_tokens,
        a.cache_read_tokens,
        a.reasoning_tokens,
    ])
}

fn combinations(tx: &Transaction<'_>, line: &Line) -> Result<u32, LedgerError> {
    let sql = "SELECT count(*) FROM analysis WHERE window_start = ?1 AND tenant = ?2";
    let key = params![line.window.as_millis(), line.tenant.as_str()];
    Ok(tx.prepare_cached(sql)?.query_row(key, |row| row.get(0))?)
}

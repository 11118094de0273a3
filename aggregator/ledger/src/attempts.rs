//! Attempts of gateways at providers: how many there were, how they failed, and which breakers are open. Nothing is billed from
//! them, and they expire with the analysis.
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use weir_contract::event::attempts::OTHER;
use weir_contract::{AttemptsData, BreakerChange, ModelAttempts, SourceId, Timestamp};
use weir_database::{Connection, OptionalExtension, Transaction, params};

use super::query::LedgerReader;
use super::{LedgerError, signed, totals};

/// The most providers and models of one hour; attempts at further ones are summed under [`OTHER`].
const MODELS_MAX: u64 = 1_024;
/// The most providers whose last failure is kept: the one that failed longest ago goes.
const PROVIDERS_MAX: u64 = 256;
/// The most breakers that are kept, over all gateways: the one that changed longest ago goes.
const BREAKERS_MAX: u64 = 4_096;

/// The reason under which attempts are counted that the budget of retries has refused, beside those that failed.
pub const RETRY_REFUSED: &str = "retry_refused";

/// How attempts at one provider went.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderHealth {
    /// The provider, by its name in the catalogue.
    pub provider: String,
    /// Attempts, failed ones included.
    pub attempts: u64,
    /// Those that failed, by reason.
    pub failed: BTreeMap<String, u64>,
    /// Attempts at further providers after failures here that the gateways' budgets of retries refused.
    #[serde(default)]
    pub retries_refused: u64,
    /// The models that were tried.
    pub models: Vec<ModelHealth>,
    /// The last failure, however long ago.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<ProviderFailure>,
    /// Gateways whose breaker is open.
    pub open: Vec<OpenBreaker>,
}

/// How attempts at one model went.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelHealth {
    /// The model, by its name in the catalogue.
    pub model: String,
    /// Attempts, failed ones included.
    pub attempts: u64,
    /// Those that failed.
    pub failed: u64,
    /// Tokens, by estimate, of prompts that the provider took and never answered: it may charge them.
    pub unanswered_input_tokens: u64,
}

/// An attempt that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderFailure {
    /// When its request ended.
    pub at: Timestamp,
    /// The gateway.
    pub gateway: String,
    /// The model.
    pub model: String,
    /// Why.
    pub reason: String,
    /// The provider's status; absent where no answer came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
}

/// A breaker that keeps a gateway's requests away from a provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenBreaker {
    /// The gateway.
    pub gateway: String,
    /// Until when.
    pub until: Timestamp,
}

/// Adds the attempts of one event.
pub(super) fn count(
    tx: &Transaction<'_>,
    source: &SourceId,
    minute: Timestamp,
    data: &AttemptsData,
) -> Result<(), LedgerError> {
    let (window, gateway) = (minute.hour(), source.gateway());
    for model in &data.models {
        add(tx, window, model)?;
        note_failure(tx, gateway, model)?;
    }
    data.breakers.iter().try_for_each(|breaker| note_breaker(tx, gateway, breaker))
}

fn add(tx: &Transaction<'_>, window: Timestamp, attempts: &ModelAttempts) -> Result<(), LedgerError> {
    let start = signed(window.as_millis())?;
    let (provider, model) = place(tx, start, attempts)?;
    let (made, tokens) = (signed(attempts.made)?, signed(attempts.unanswered_input_tokens)?);
    let sql = "INSERT INTO attempt VALUES (?1,?2,?3,?4,?5)
               ON CONFLICT (window_start, provider, model) DO UPDATE SET made = attempt.made + ?4,
                 unanswered_input_tokens = attempt.unanswered_input_tokens + ?5";
    tx.prepare_cached(sql)?.execute(params![start, provider, model, made, tokens])?;
    totals::add(tx, "attempts", "made", made)?;
    let sql = "INSERT INTO attempt_failure VALUES (?1,?2,?3,?4,?5)
               ON CONFLICT (window_start, provider, model, reason) DO UPDATE SET count = attempt_failure.count + ?5";
    let failed = attempts.failed.iter().map(|(reason, failed)| (reason.as_str(), *failed));
    let refused = (attempts.retries_refused > 0).then_some((RETRY_REFUSED, attempts.retries_refused));
    for (reason, count) in failed.chain(refused) {
        let count = signed(count)?;
        tx.prepare_cached(sql)?.execute(params![start, provider, model, reason, count])?;
        totals::add(tx, "attempts", reason, count)?;
    }
    Ok(())
}

/// The names under which attempts are summed: their own, unless the hour has too many.
fn place<'a>(
    tx: &Transaction<'_>,
    window: i64,
    attempts: &'a ModelAttempts,
) -> Result<(&'a str, &'a str), LedgerError> {
    let (provider, model) = (attempts.provider.as_str(), attempts.model.as_str());
    let sql = "SELECT EXISTS (SELECT 1 FROM attempt WHERE window_start = ?1 AND provider = ?2 AND model = ?3),
                      (SELECT count(*) FROM attempt WHERE window_start = ?1)";
    let (is_known, rows): (bool, u64) =
        tx.prepare_cached(sql)?.query_row(params![window, provider, model], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(if is_known || rows < MODELS_MAX { (provider, model) } else { (OTHER, OTHER) })
}

fn note_failure(tx: &Transaction<'_>, gateway: &str, attempts: &ModelAttempts) -> Result<(), LedgerError> {
    let Some(last) = &attempts.last_failure else { return Ok(()) };
    let sql = "INSERT INTO provider_failure VALUES (?1,?2,?3,?4,?5,?6) ON CONFLICT (provider) DO UPDATE SET
                 at = ?2, gateway = ?3, model = ?4, reason = ?5, status = ?6 WHERE provider_failure.at <= ?2";
    let ModelAttempts { provider, model, .. } = attempts;
    let row = params![provider, signed(last.at.as_millis())?, gateway, model, last.reason.as_str(), last.status];
    tx.prepare_cached(sql)?.execute(row)?;
    bound(tx, "provider_failure", PROVIDERS_MAX)
}

fn note_breaker(tx: &Transaction<'_>, gateway: &str, breaker: &BreakerChange) -> Result<(), LedgerError> {
    let sql = "INSERT INTO breaker VALUES (?1,?2,?3,?4) ON CONFLICT (gateway, provider)
         DO UPDATE SET at = ?3, open_until = ?4 WHERE breaker.at <= ?3";
    let until = breaker.open_until.map(|until| signed(until.as_millis())).transpose()?;
    let row = params![gateway, breaker.provider, signed(breaker.at.as_millis())?, until];
    tx.prepare_cached(sql)?.execute(row)?;
    bound(tx, "breaker", BREAKERS_MAX)
}

/// Drops the oldest row of a table that has more than `max`.
fn bound(tx: &Transaction<'_>, table: &str, max: u64) -> Result<(), LedgerError> {
    let rows: u64 = tx.prepare_cached(&format!("SELECT count(*) FROM {table}"))?.query_row([], |row| row.get(0))?;
    if rows > max {
        tx.execute(&format!("DELETE FROM {table} WHERE at = (SELECT min(at) FROM {table})"), [])?;
    }
    Ok(())
}

/// Drops the attempts of the hours before `before`.
pub(super) fn expire(tx: &Transaction<'_>, before: Timestamp) -> Result<(), LedgerError> {
    for table in ["attempt", "attempt_failure"] {
        tx.prepare_cached(&format!("DELETE FROM {table} WHERE window_start < ?1"))?.execute([before.as_millis()])?;
    }
    Ok(())
}

impl LedgerReader {
    /// How attempts of the hours since `from` went, by provider; with the breakers that are open at `now`.
    pub fn provider_health(&mut self, from: Timestamp, now: Timestamp) -> Result<Vec<ProviderHealth>, LedgerError> {
        let db = self.db();
        let mut found: BTreeMap<String, ProviderHealth> = BTreeMap::new();
        read_attempts(db, from.hour(), &mut found)?;
        read_failures(db, from.hour(), &mut found)?;
        read_open(db, now, &mut found)?;
        for (provider, health) in &mut found {
            health.provider.clone_from(provider);
            health.last_failure = last_failure(db, provider)?;
        }
        Ok(found.into_values().collect())
    }

    /// How many breakers keep a gateway's requests away from a provider at `now`.
    pub fn open_breakers(&mut self, now: Timestamp) -> Result<u64, LedgerError> {
        let sql = "SELECT count(*) FROM breaker WHERE open_until > ?1";
        Ok(self.db().prepare_cached(sql)?.query_row([now.as_millis()], |row| row.get(0))?)
    }
}

fn read_attempts(
    db: &Connection,
    from: Timestamp,
    found: &mut BTreeMap<String, ProviderHealth>,
) -> Result<(), LedgerError> {
    let sql = "SELECT provider, model, sum(made), sum(unanswered_input_tokens),
                 (SELECT coalesce(sum(count), 0) FROM attempt_failure f
                  WHERE f.window_start >= ?1 AND f.provider = a.provider AND f.model = a.model AND f.reason <> ?2)
               FROM attempt a WHERE window_start >= ?1 GROUP BY provider, model";
    let mut select = db.prepare_cached(sql)?;
    let mut rows = select.query(params![from.as_millis(), RETRY_REFUSED])?;
    while let Some(row) = rows.next()? {
        let health = found.entry(row.get(0)?).or_default();
        let model = ModelHealth {
            model: row.get(1)?,
            attempts: row.get(2)?,
            unanswered_input_tokens: row.get(3)?,
            failed: row.get(4)?,
        };
        health.attempts += model.attempts;
        health.models.push(model);
    }
    Ok(())
}

fn read_failures(
    db: &Connection,
    from: Timestamp,
    found: &mut BTreeMap<String, ProviderHealth>,
) -> Result<(), LedgerError> {
    let sql =
        "SELECT provider, reason, sum(count) FROM attempt_failure WHERE window_start >= ?1 GROUP BY provider, reason";
    let mut select = db.prepare_cached(sql)?;
    let mut rows = select.query([from.as_millis()])?;
    while let Some(row) = rows.next()? {
        let health = found.entry(row.get(0)?).or_default();
        let (reason, count): (String, u64) = (row.get(1)?, row.get(2)?);
        if reason == RETRY_REFUSED {
            health.retries_refused = count;
        } else {
            health.failed.insert(reason, count);
        }
    }
    Ok(())
}

fn read_open(db: &Connection, now: Timestamp, found: &mut BTreeMap<String, ProviderHealth>) -> Result<(), LedgerError> {
    let sql = "SELECT provider, gateway, open_until FROM breaker WHERE open_until > ?1 ORDER BY gateway";
    let mut select = db.prepare_cached(sql)?;
    let mut rows = select.query([now.as_millis()])?;
    while let Some(row) = rows.next()? {
        let open = OpenBreaker { gateway: row.get(1)?, until: Timestamp::from_millis(row.get(2)?) };
        found.entry(row.get(0)?).or_default().open.push(open);
    }
    Ok(())
}

fn last_failure(db: &Connection, provider: &str) -> Result<Option<ProviderFailure>, LedgerError> {
    let sql = "SELECT at, gateway, model, reason, status FROM provider_failure WHERE provider = ?1";
    let found = db.prepare_cached(sql)?.query_row([provider], |row| {
        Ok(ProviderFailure {
            at: Timestamp::from_millis(row.get(0)?),
            gateway: row.get(1)?,
            model: row.get(2)?,
            reason: row.get(3)?,
            status: row.get(4)?,
        })
    });
    Ok(found.optional()?)
}

//! The tables of the ledger, and how a file becomes one.
use std::path::Path;

use rusqlite::{Connection, params};

use super::upgrade::{OPEN_SUMS, VERSION_2};
use super::{LedgerError, signed};
use crate::meters::Meters;

/// `user_version` of the file: how many of [`STEPS`] it has been through.
const VERSION: i64 = STEPS.len() as i64;
/// How a file becomes one of the latest version, from whichever it is of. What was released is never changed, only followed.
const STEPS: [&str; 8] = [
    VERSION_1,
    VERSION_2,
    crate::outbox::schema::TABLES,
    crate::reconcile::schema::TABLES,
    OPEN_SUMS,
    super::readings::TABLES,
    crate::outbox::schema::SETTLEMENTS,
    crate::reconcile::schema::UNSEEN,
];
/// The most memory SQLite takes for pages of the ledger, in KiB: the keys of the last minutes and every open sum.
const CACHE_KIB: i64 = 32 * 1024;

/// Times are milliseconds since 1970, UTC; windows are named by the moment they start.
const VERSION_1: &str = "
CREATE TABLE ledger(            -- one row
  id       TEXT NOT NULL,       -- drawn once; part of every Stripe identifier
  log_id   TEXT NOT NULL,       -- the event log it follows
  hash_key BLOB NOT NULL,       -- under which events' bytes are hashed
  position INTEGER NOT NULL     -- the last record of the log that is counted
);
CREATE TABLE meter(             -- every meter that was ever counted
  name           TEXT NOT NULL,
  effective_from INTEGER NOT NULL,
  definition     TEXT NOT NULL, -- JSON
  PRIMARY KEY (name, effective_from)
) WITHOUT ROWID;
CREATE TABLE usage(             -- what is billed: tenant x meter x window
  window_start INTEGER NOT NULL,
  tenant       TEXT NOT NULL,
  meter        TEXT NOT NULL,
  billable     INTEGER NOT NULL,
  outboxed     INTEGER NOT NULL DEFAULT 0, -- how much of it stands in outbox rows
  PRIMARY KEY (window_start, tenant, meter)
) WITHOUT ROWID;
CREATE INDEX usage_open ON usage(window_start) WHERE billable <> outboxed;
CREATE TABLE excluded(          -- what was measured and is not billed
  window_start INTEGER NOT NULL,
  tenant       TEXT NOT NULL,
  meter        TEXT NOT NULL,
  reason       TEXT NOT NULL,
  amount       INTEGER NOT NULL,
  PRIMARY KEY (window_start, tenant, meter, reason)
) WITHOUT ROWID;
CREATE TABLE refused(           -- requests that the gateway refused
  window_start INTEGER NOT NULL,
  tenant       TEXT NOT NULL,         -- empty where nobody was known
  reason       TEXT NOT NULL,
  count        INTEGER NOT NULL,
  PRIMARY KEY (window_start, tenant, reason)
) WITHOUT ROWID;
CREATE TABLE analysis(          -- for looking at, not for billing; expires
  window_start      INTEGER NOT NULL,
  tenant            TEXT NOT NULL,
  model             TEXT NOT NULL,  -- that answered, else that was asked for; texts are empty where nothing is known
  class             TEXT NOT NULL,
  route             TEXT NOT NULL,
  feature           TEXT NOT NULL,
  prompt_version    TEXT NOT NULL,
  environment       TEXT NOT NULL,
  credential        TEXT NOT NULL,
  requests          INTEGER NOT NULL,
  input_tokens      INTEGER NOT NULL,
  output_tokens     INTEGER NOT NULL,
  cache_read_tokens INTEGER NOT NULL,
  reasoning_tokens  INTEGER NOT NULL,
  PRIMARY KEY (window_start, tenant, model, class, route, feature, prompt_version, environment, credential)
) WITHOUT ROWID;
CREATE TABLE source(            -- one worker's life
  id          INTEGER PRIMARY KEY,
  name        TEXT NOT NULL UNIQUE,
  ranges      TEXT NOT NULL,    -- numbers seen: [[1,5],[7,9]]
  announced   INTEGER NOT NULL, -- the last number it says it gave
  closed      INTEGER NOT NULL,
  spilled     INTEGER NOT NULL, -- by its own account
  accepted    INTEGER NOT NULL, -- numbers counted
  quarantined INTEGER NOT NULL, -- numbers refused for good
  duplicates  INTEGER NOT NULL, -- repeats of events
  conflicts   INTEGER NOT NULL, -- events with the id or number of another
  first_at    INTEGER NOT NULL, -- receipt of its first event
  last_at     INTEGER NOT NULL  -- and of its latest
);
CREATE TABLE quarantine(        -- events that were refused, whole
  hash     INTEGER PRIMARY KEY, -- of the bytes: the same ones are kept once
  position INTEGER NOT NULL,
  item     INTEGER NOT NULL,
  received_at INTEGER NOT NULL,
  source   TEXT,
  sequence INTEGER,
  reason   TEXT NOT NULL,
  detail   TEXT NOT NULL,
  times    INTEGER NOT NULL,
  body     BLOB NOT NULL
);
CREATE TABLE early(             -- events ahead of the clock, until their time has come
  id   BLOB PRIMARY KEY,
  time INTEGER NOT NULL,
  body BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX early_time ON early(time);
CREATE TABLE outbox(            -- what is, or will be, at the billing provider
  id          INTEGER PRIMARY KEY,
  window_start      INTEGER NOT NULL,
  tenant      TEXT NOT NULL,
  meter       TEXT NOT NULL,
  revision    INTEGER NOT NULL, -- 0 the window's sum, above it signed corrections
  value       INTEGER NOT NULL,
  account     TEXT NOT NULL,
  livemode    INTEGER NOT NULL,
  event_name  TEXT NOT NULL,
  customer    TEXT,             -- unknown while held for that reason
  identifier  TEXT UNIQUE,      -- goes with the customer
  timestamp   INTEGER NOT NULL, -- seconds since 1970, within the window
  state       TEXT NOT NULL CHECK (state IN ('pending', 'reported', 'held')),
  reason      TEXT,             -- why it is held
  detail      TEXT,             -- what the provider said last
  attempts    INTEGER NOT NULL DEFAULT 0,
  key_number  INTEGER NOT NULL DEFAULT 0, -- how many idempotency keys were used up
  created_at  INTEGER NOT NULL,
  first_attempt_at INTEGER,
  last_attempt_at  INTEGER,
  unsure_at        INTEGER,     -- the first attempt of which it is not known whether it was taken
  not_before  INTEGER NOT NULL DEFAULT 0, -- of the next attempt
  reported_at INTEGER,
  request_id  TEXT,             -- the provider's name of the call that settled it
  UNIQUE (window_start, tenant, meter, revision)
);
CREATE INDEX outbox_pending ON outbox(not_before) WHERE state = 'pending';
CREATE INDEX outbox_held ON outbox(reason) WHERE state = 'held';
CREATE TABLE billing(           -- the account rows are reported to, pinned by the first
  account  TEXT NOT NULL,
  livemode INTEGER NOT NULL
);
";

/// Prepares the connection, and creates the tables in a new file.
pub(super) fn open(db: &Connection, path: &Path, log_id: &str) -> Result<(), LedgerError> {
    db.pragma_update(None, "journal_mode", "wal")?;
    // What a crash of the machine takes from the ledger is counted again from the log, which is synced. Outbox rows must not be
    // lost: their transactions switch to FULL.
    db.pragma_update(None, "synchronous", "normal")?;
    db.pragma_update(None, "cache_size", -CACHE_KIB)?;
    db.pragma_update(None, "wal_autocheckpoint", 0)?;
    db.pragma_update(None, "journal_size_limit", 64 * 1024 * 1024)?;
    db.set_prepared_statement_cache_capacity(64);
    let found: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found > VERSION {
        return Err(LedgerError::Version { path: path.to_owned(), found, known: VERSION });
    }
    migrate(db, found, log_id)?;
    let follows: String = db.query_row("SELECT log_id FROM ledger", [], |row| row.get(0))?;
    if follows == log_id { Ok(()) } else { Err(LedgerError::ForeignLog) }
}

/// Takes a file of version `found` to the latest, wholly or not at all. 0 is a new file.
fn migrate(db: &Connection, found: i64, log_id: &str) -> Result<(), rusqlite::Error> {
    let done = usize::try_from(found).unwrap_or(0);
    if done == STEPS.len() {
        return Ok(());
    }
    let tx = db.unchecked_transaction()?;
    for (number, step) in STEPS.iter().enumerate().skip(done) {
        tx.execute_batch(step)?;
        if number == 0 {
            let sql = "INSERT INTO ledger(id, log_id, hash_key, position)
                       VALUES (lower(hex(randomblob(16))), ?1, randomblob(16), 0)";
            tx.execute(sql, [log_id])?;
        }
    }
    tx.pragma_update(None, "user_version", VERSION)?;
    tx.commit()
}

/// Compares the meters with those that were counted so far, and notes new ones.
pub(super) fn admit_meters(db: &Connection, meters: &Meters) -> Result<(), LedgerError> {
    let tx = db.unchecked_transaction()?;
    let latest: Option<i64> = tx.query_row("SELECT max(window_start) FROM usage", [], |row| row.get(0))?;
    let counted: Vec<(String, i64, String)> = tx
        .prepare("SELECT name, effective_from, definition FROM meter")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<Result<_, _>>()?;
    let now = definitions(meters);
    for (name, from, definition) in &counted {
        let same = now.iter().any(|(n, f, d)| (n, f, d) == (name, from, definition));
        if !same && latest.is_some_and(|latest| *from <= latest) {
            return Err(LedgerError::MeterChanged(name.clone()));
        }
    }
    for (name, from, _) in &now {
        let known = counted.iter().any(|(n, f, _)| (n, f) == (name, from));
        if !known && latest.is_some_and(|latest| *from <= latest) {
            return Err(LedgerError::MeterNew(name.clone()));
        }
    }
    tx.execute("DELETE FROM meter", [])?;
    for (name, from, definition) in &now {
        tx.execute(
            "INSERT INTO meter(name, effective_from, definition) VALUES (?1, ?2, ?3)",
            params![name, from, definition],
        )?;
    }
    Ok(tx.commit()?)
}

fn definitions(meters: &Meters) -> Vec<(String, i64, String)> {
    let definition = |meter: &crate::meters::Meter| {
        let from = meter.effective_from.map_or(0, |from| signed(from.as_millis()));
        let mut definition = serde_json::json!({"sum": meter.sum, "where": meter.conditions});
        if !meter.weight.is_one() {
            definition["weight"] = serde_json::json!(meter.weight);
        }
        if let Some(weights) = &meter.weights {
            definition["weights"] = serde_json::json!(weights);
        }
        (meter.name.clone(), from, definition.to_string())
    };
    meters.versions().iter().map(definition).collect()
}

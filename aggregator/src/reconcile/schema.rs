//! The tables of what the provider says about what it was sent.

/// The last comparison, and the errors that the provider reported. Times are milliseconds since 1970.
pub(crate) const TABLES: &str = "
CREATE TABLE reconciliation(    -- at most one row: the last comparison of everything
  at        INTEGER NOT NULL,
  from_at   INTEGER NOT NULL,
  to_at     INTEGER NOT NULL,
  series    INTEGER NOT NULL,
  windows   INTEGER NOT NULL,
  attention INTEGER NOT NULL,
  by_cause  TEXT NOT NULL       -- JSON: hours that differ, by cause
);
CREATE TABLE provider_event(    -- webhook events that were taken in: each counts once
  id TEXT PRIMARY KEY,
  at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX provider_event_at ON provider_event(at);
CREATE TABLE provider_error(    -- errors that the provider found after it had taken the events
  event_name TEXT NOT NULL,
  code       TEXT NOT NULL,
  errors     INTEGER NOT NULL,
  first_at   INTEGER NOT NULL,
  last_at    INTEGER NOT NULL,
  message    TEXT NOT NULL,     -- the latest, shortened
  PRIMARY KEY (event_name, code)
) WITHOUT ROWID;
CREATE TABLE refused_later(     -- rows that an error report names
  identifier TEXT PRIMARY KEY,
  code       TEXT NOT NULL,
  at         INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE suspect(           -- times of receipt in which there were more errors than were named
  event_name  TEXT NOT NULL,
  from_at     INTEGER NOT NULL,
  to_at       INTEGER NOT NULL,
  code        TEXT NOT NULL,
  compared_at INTEGER,          -- of the first comparison after it
  PRIMARY KEY (event_name, from_at, to_at, code)
) WITHOUT ROWID;
";

/// What nobody has looked at yet: errors since they were last acknowledged, and reports that could not be read.
pub(crate) const UNSEEN: &str = "
ALTER TABLE provider_error ADD COLUMN unseen INTEGER NOT NULL DEFAULT 0; -- errors since a person acknowledged them
UPDATE provider_error SET unseen = errors;
CREATE TABLE unread_report(     -- reports of the provider that could not be read, until they are, or are acknowledged
  id     TEXT PRIMARY KEY,      -- the event's, or of the body's bytes
  at     INTEGER NOT NULL,      -- of the last attempt
  detail TEXT NOT NULL
) WITHOUT ROWID;
";

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

CREATE TABLE alert(             -- what a rule says of a subject, as long as its conditions hold
  rule         TEXT NOT NULL,
  subject      TEXT NOT NULL,   -- a value of the rule's `by`, a budget and its subject, or empty
  currency     TEXT NOT NULL,   -- empty: none
  tenant       TEXT,            -- NULL: it is about no single tenant
  severity     TEXT NOT NULL,   -- warning, critical
  state        TEXT NOT NULL,   -- pending, firing
  since        INTEGER NOT NULL, -- the conditions hold since
  fired_at     INTEGER,
  value        TEXT NOT NULL,   -- a decimal
  summary      TEXT NOT NULL,
  announced    INTEGER NOT NULL DEFAULT 0, -- 1: receivers are told that it fires
  acknowledged_by TEXT,
  acknowledged_at INTEGER,
  acknowledged_why TEXT,
  PRIMARY KEY (rule, subject, currency)
) WITHOUT ROWID;
CREATE TABLE alert_change(      -- every beginning and end of an alert
  id           INTEGER PRIMARY KEY,
  at           INTEGER NOT NULL,
  rule         TEXT NOT NULL,
  subject      TEXT NOT NULL,
  currency     TEXT NOT NULL,
  tenant       TEXT,
  severity     TEXT NOT NULL,
  state        TEXT NOT NULL,   -- firing, resolved
  since        INTEGER NOT NULL,
  value        TEXT NOT NULL,
  summary      TEXT NOT NULL,
  silenced     INTEGER NOT NULL, -- 1: it was held back by a silence
  told         INTEGER NOT NULL DEFAULT 0 -- 1: its messages are in the outbox, or nobody is told
);
CREATE INDEX alert_change_untold ON alert_change(id) WHERE told = 0;
CREATE TABLE alert_silence(     -- alerts of which nobody is told until a date
  id       INTEGER PRIMARY KEY,
  rule     TEXT NOT NULL,       -- a pattern
  subject  TEXT NOT NULL,       -- a pattern
  until    INTEGER NOT NULL,
  who      TEXT NOT NULL,
  why      TEXT NOT NULL,
  at       INTEGER NOT NULL,
  ended_at INTEGER              -- it was taken back
);
CREATE INDEX alert_silence_until ON alert_silence(until);

CREATE TABLE flag(                     -- feature flags whose rules were set at run time
  name       TEXT PRIMARY KEY,
  version    INTEGER NOT NULL,         -- counts its changes
  rules      TEXT,                     -- JSON; absent while the rules of the configuration hold
  changed_at INTEGER NOT NULL,
  changed_by TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE flag_history(
  number  INTEGER PRIMARY KEY AUTOINCREMENT,
  at      INTEGER NOT NULL,
  who     TEXT NOT NULL,
  flag    TEXT NOT NULL,
  version INTEGER NOT NULL,            -- of the flag, after the change
  before  TEXT,                        -- its rules, as JSON; absent for those of the configuration
  after   TEXT
) STRICT;
CREATE INDEX flag_history_of ON flag_history(flag, number);
CREATE TRIGGER flag_history_stays BEFORE DELETE ON flag_history BEGIN SELECT raise(ABORT, 'the history only grows'); END;
CREATE TRIGGER flag_history_is_true BEFORE UPDATE ON flag_history BEGIN SELECT raise(ABORT, 'the history only grows'); END;

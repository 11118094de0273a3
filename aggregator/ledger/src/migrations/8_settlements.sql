-- Rows that a person settles. The state is new to the check of the outbox, which SQLite lets change only in its schema; the table
-- made before it has every connection read that again.
CREATE TABLE settlement(        -- held rows that were billed by other means, or are not billed: by whom, and why
  outbox    INTEGER PRIMARY KEY, -- its row
  at        INTEGER NOT NULL,
  who       TEXT NOT NULL,
  outcome   TEXT NOT NULL CHECK (outcome IN ('invoiced', 'void')),
  reference TEXT NOT NULL,      -- the invoice item, say
  why       TEXT NOT NULL
);
CREATE TRIGGER settlement_stays BEFORE DELETE ON settlement BEGIN SELECT raise(ABORT, 'settlements stay'); END;
CREATE TRIGGER settlement_is_fixed BEFORE UPDATE ON settlement BEGIN SELECT raise(ABORT, 'settlements stay'); END;
PRAGMA writable_schema = ON;
UPDATE sqlite_schema
  SET sql = replace(sql, '(''pending'', ''reported'', ''held'')', '(''pending'', ''reported'', ''held'', ''settled'')')
  WHERE type = 'table' AND name = 'outbox';
PRAGMA writable_schema = RESET;

ALTER TABLE tenant ADD COLUMN placement TEXT;       -- JSON; where it is kept apart from others
ALTER TABLE tenant ADD COLUMN owner TEXT;           -- the person or team that looks after it
ALTER TABLE tenant ADD COLUMN budgets TEXT;         -- JSON; its own amounts, by budget

CREATE TABLE provisioning(           -- tenants on their way in or out
  number     INTEGER PRIMARY KEY AUTOINCREMENT,
  tenant     TEXT NOT NULL,
  kind       TEXT NOT NULL CHECK (kind IN ('provision', 'deprovision')),
  who        TEXT NOT NULL,
  key        TEXT NOT NULL,          -- the Idempotency-Key
  request    BLOB NOT NULL,          -- SHA-256
  spec       TEXT NOT NULL,          -- JSON; what was asked for
  saga       TEXT NOT NULL,          -- JSON; the steps, as weir-provisioning writes them
  keys       TEXT NOT NULL,          -- JSON; hashes of keys that nobody may use yet, and whether a caller was told the key
  open       INTEGER NOT NULL,       -- 1 until it has ended
  started_at INTEGER NOT NULL,
  changed_at INTEGER NOT NULL,
  UNIQUE (who, key)
) STRICT;
CREATE UNIQUE INDEX provisioning_open ON provisioning(tenant) WHERE open = 1;
CREATE INDEX provisioning_of_tenant ON provisioning(tenant, number);

CREATE TABLE provisioning_journal(   -- each act, before and after it; it only grows
  number       INTEGER PRIMARY KEY AUTOINCREMENT,
  provisioning INTEGER NOT NULL REFERENCES provisioning(number),
  at           INTEGER NOT NULL,
  step         TEXT NOT NULL,
  act          TEXT NOT NULL,
  detail       TEXT
) STRICT;
CREATE INDEX journal_of_provisioning ON provisioning_journal(provisioning, number);

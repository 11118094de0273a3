CREATE TABLE alert_address(           -- where tenants are told of their own budgets
  id        INTEGER PRIMARY KEY AUTOINCREMENT,
  tenant    TEXT NOT NULL REFERENCES tenant(id),
  email     TEXT NOT NULL,
  added_by  TEXT NOT NULL,
  added_at  INTEGER NOT NULL,
  proven_at INTEGER,                  -- NULL: nothing but its code goes there
  code      BLOB,                     -- the SHA-256 of the code that proves it
  code_ends INTEGER,
  tries     INTEGER NOT NULL DEFAULT 0,
  stop      TEXT NOT NULL UNIQUE      -- names it in the link of every message that ends them
) STRICT;
CREATE UNIQUE INDEX alert_address_of_tenant ON alert_address(tenant, email);

CREATE TABLE alert_codes(             -- codes that a tenant had sent, so that it cannot write to whom it likes
  tenant TEXT PRIMARY KEY REFERENCES tenant(id),
  day    INTEGER NOT NULL,            -- since 1970
  sent   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE tenant(
  id               TEXT PRIMARY KEY,
  version          INTEGER NOT NULL,  -- counts the changes of the tenant and its keys
  state            TEXT NOT NULL CHECK (state IN ('active', 'suspended', 'archived')),
  plan             TEXT NOT NULL,
  identifiers      TEXT NOT NULL,     -- a JSON list
  stripe_customer  TEXT,
  billing_anchor   INTEGER,
  billing_interval TEXT,
  created_at       INTEGER,
  changed_at       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE key(
  tenant      TEXT NOT NULL REFERENCES tenant(id),
  id          TEXT NOT NULL,
  sha256      BLOB NOT NULL UNIQUE,   -- a revoked key stays, so that its hash never comes back
  plan        TEXT,
  environment TEXT,
  feature     TEXT,
  expires     INTEGER,
  created_at  INTEGER,
  revoked_at  INTEGER,
  PRIMARY KEY (tenant, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE revoked(                 -- of tokens and signing keys; one row
  id    INTEGER PRIMARY KEY CHECK (id = 1),
  names TEXT NOT NULL                 -- JSON
) STRICT;

CREATE TABLE history(
  number  INTEGER PRIMARY KEY AUTOINCREMENT,
  at      INTEGER NOT NULL,
  who     TEXT NOT NULL,
  tenant  TEXT NOT NULL,
  version INTEGER NOT NULL,           -- of the tenant, after the change
  act     TEXT NOT NULL,
  before  TEXT,                       -- JSON; absent for what is new
  after   TEXT                        -- JSON
) STRICT;
CREATE INDEX history_of_tenant ON history(tenant, number);
CREATE TRIGGER history_stays BEFORE DELETE ON history BEGIN SELECT raise(ABORT, 'the history only grows'); END;
CREATE TRIGGER history_is_true BEFORE UPDATE ON history BEGIN SELECT raise(ABORT, 'the history only grows'); END;

CREATE TABLE token(                   -- of the API; revoked ones stay
  name       TEXT PRIMARY KEY,
  sha256     BLOB NOT NULL UNIQUE,
  person     TEXT,
  scopes     TEXT NOT NULL,           -- JSON
  gateway    TEXT,
  created_at INTEGER NOT NULL,
  created_by TEXT NOT NULL,
  expires    INTEGER,
  revoked_at INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE answered(                -- requests with an Idempotency-Key
  who     TEXT NOT NULL,
  key     TEXT NOT NULL,
  request BLOB NOT NULL,              -- SHA-256
  answer  TEXT NOT NULL,              -- JSON, without secrets
  at      INTEGER NOT NULL,
  PRIMARY KEY (who, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX answered_at ON answered(at);

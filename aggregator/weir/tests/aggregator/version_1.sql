-- The ledger of version 1 as it was created, and a row or two in each table. Never changed: it stands for files in the field.
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

INSERT INTO ledger VALUES ('a ledger', 'a log', x'000102030405060708090a0b0c0d0e0f', 3);
INSERT INTO meter VALUES
  ('requests', 0, '{"sum":"requests","where":{"outcome":["ok","client_closed"]}}'),
  ('input_tokens', 0, '{"sum":"input_tokens","where":{"usage":["complete","estimated"]}}'),
  ('output_tokens', 0, '{"sum":"output_tokens","where":{"usage":["complete","estimated"]}}'),
  ('cache_read_tokens', 0, '{"sum":"cache_read_tokens","where":{"usage":["complete","estimated"]}}'),
  ('reasoning_tokens', 0, '{"sum":"reasoning_tokens","where":{"usage":["complete","estimated"]}}');
INSERT INTO usage VALUES (1795262400000, 'acme', 'requests', 10, 6), (1795262400000, 'acme', 'input_tokens', 100, 0);
INSERT INTO excluded VALUES (1795262400000, 'acme', 'requests', 'environment', 2);
INSERT INTO refused VALUES (1795262400000, 'acme', 'rate_limited', 7);
INSERT INTO analysis VALUES (1795262400000, 'acme', '', 'chat', '', '', '', '', '', 10, 100, 0, 0, 0);
INSERT INTO source VALUES (1, '/weir/gw-1/01010101010101010101010101010101', '[[1,3],[5,6]]', 7, 0, 0, 5, 0, 1, 0, 1795262400000, 1795262400000);
INSERT INTO quarantine VALUES (77, 2, 0, 1795262400000, NULL, NULL, 'malformed', 'no event', 1, x'7b7d');
INSERT INTO early VALUES (x'01', 1795270000000, x'7b7d');
INSERT INTO outbox(id, window_start, tenant, meter, revision, value, account, livemode, event_name, timestamp, state, created_at)
  VALUES (1, 1795262400000, 'acme', 'requests', 0, 4, 'acct_1', 0, 'weir_requests', 1795265999, 'reported', 1795266000000),
         (2, 1795262400000, 'acme', 'requests', 1, 2, 'acct_1', 0, 'weir_requests', 1795265999, 'pending', 1795266000000);
CREATE TABLE seen_20778(id BLOB PRIMARY KEY, hash INTEGER NOT NULL, position INTEGER NOT NULL, item INTEGER NOT NULL) WITHOUT ROWID;
PRAGMA user_version = 1;

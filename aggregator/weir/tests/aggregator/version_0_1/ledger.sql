-- ledger.sqlite as weir 0.1.0 left it, format 6.
PRAGMA page_size = 4096;
BEGIN TRANSACTION;
CREATE TABLE adjustment(        -- corrections by hand: why, and by whom
  outbox INTEGER PRIMARY KEY,   -- its row
  at     INTEGER NOT NULL,
  who    TEXT NOT NULL,
  why    TEXT NOT NULL
);
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
INSERT INTO "analysis" VALUES(1795773600000,'acme','gpt-4o','chat','','','','','',2,18,8,0,0);
INSERT INTO "analysis" VALUES(1795777200000,'acme','gpt-4o','chat','','','','','',1,3,4,0,0);
INSERT INTO "analysis" VALUES(1795777200000,'globex','gpt-4o','chat','','','','','',1,7,4,0,0);
CREATE TABLE anchor(            -- where a tenant's billing periods begin
  tenant   TEXT NOT NULL,
  source   TEXT NOT NULL CHECK (source IN ('tenants', 'provider')), -- what the tenants file says goes first
  at       INTEGER NOT NULL,    -- seconds: the beginning of one of them
  interval TEXT NOT NULL CHECK (interval IN ('day', 'week', 'month', 'year')),
  PRIMARY KEY (tenant, source)
) WITHOUT ROWID;
INSERT INTO "anchor" VALUES('acme','tenants',1795774800,'month');
CREATE TABLE audit(             -- what administrators had done
  id     INTEGER PRIMARY KEY,
  at     INTEGER NOT NULL,
  who    TEXT NOT NULL,         -- a token's name, or a user of the machine
  act    TEXT NOT NULL,
  detail TEXT NOT NULL
);
INSERT INTO "audit" VALUES(1,1795851048368,'gw','readings','1 accepted, 0 rejected');
INSERT INTO "audit" VALUES(2,1795851051652,'the commands of this machine','report','8 rows made, 0 reported');
CREATE TABLE billing(           -- the account rows are reported to, pinned by the first
  account  TEXT NOT NULL,
  livemode INTEGER NOT NULL
);
INSERT INTO "billing" VALUES('acct_1',0);
CREATE TABLE carry(             -- fractions of a unit that wait to become a whole one
  tenant TEXT NOT NULL,
  meter  TEXT NOT NULL,
  reason TEXT NOT NULL,         -- why it is not billed; empty if it is
  nano   INTEGER NOT NULL,      -- billionths, below a whole unit
  PRIMARY KEY (tenant, meter, reason)
) WITHOUT ROWID;
INSERT INTO "carry" VALUES('acme','storage','',500000000);
INSERT INTO "carry" VALUES('acme','tokens_in','',500000000);
INSERT INTO "carry" VALUES('globex','tokens_in','',500000000);
CREATE TABLE cut(               -- hours that were looked at for an anchor, when their first usage came: decided once
  tenant TEXT NOT NULL,
  hour   INTEGER NOT NULL,
  at     INTEGER NOT NULL,      -- where the hour is cut; the hour itself: nowhere
  PRIMARY KEY (tenant, hour)
) WITHOUT ROWID;
INSERT INTO "cut" VALUES('acme',1795773600000,1795774800000);
CREATE TABLE early(             -- events ahead of the clock, until their time has come
  id   BLOB PRIMARY KEY,
  time INTEGER NOT NULL,
  body BLOB NOT NULL
, reading INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
CREATE TABLE excluded(          -- what was measured and is not billed
  window_start INTEGER NOT NULL,
  tenant       TEXT NOT NULL,
  meter        TEXT NOT NULL,
  reason       TEXT NOT NULL,
  amount       INTEGER NOT NULL,
  PRIMARY KEY (window_start, tenant, meter, reason)
) WITHOUT ROWID;
CREATE TABLE ledger(            -- one row
  id       TEXT NOT NULL,       -- drawn once; part of every Stripe identifier
  log_id   TEXT NOT NULL,       -- the event log it follows
  hash_key BLOB NOT NULL,       -- under which events' bytes are hashed
  position INTEGER NOT NULL     -- the last record of the log that is counted
, forgotten_before INTEGER NOT NULL DEFAULT 0, settled INTEGER NOT NULL DEFAULT 0);
INSERT INTO "ledger" VALUES('5ed2add40d9deffaaebcc231a1511b15','6772a296bdd7f4d35f236c635f142ab8',X'60125F9393FC2F184716F4448997E23E',2,20743,1);
CREATE TABLE look(              -- hours that are being compared with the provider's summaries, to settle held rows
  customer   TEXT NOT NULL,
  event_name TEXT NOT NULL,
  hour       INTEGER NOT NULL,  -- seconds
  reads      INTEGER NOT NULL DEFAULT 0,
  sum        INTEGER,           -- what was read last
  read_at    INTEGER,
  next_at    INTEGER NOT NULL,  -- of the next read
  PRIMARY KEY (customer, event_name, hour)
) WITHOUT ROWID;
CREATE TABLE mapping(           -- which customer a tenant's windows go to, from when on
  tenant       TEXT NOT NULL,
  effective_at INTEGER NOT NULL, -- windows that begin at this moment or later; 0: all
  customer     TEXT,             -- none: held until there is one
  unseen       INTEGER NOT NULL DEFAULT 0, -- found after a restoring: it may have been in force before
  PRIMARY KEY (tenant, effective_at)
) WITHOUT ROWID;
INSERT INTO "mapping" VALUES('acme',0,'cus_1',0);
CREATE TABLE meter(             -- every meter that was ever counted
  name           TEXT NOT NULL,
  effective_from INTEGER NOT NULL,
  definition     TEXT NOT NULL, -- JSON
  PRIMARY KEY (name, effective_from)
) WITHOUT ROWID;
INSERT INTO "meter" VALUES('requests',0,'{"sum":"requests","where":{}}');
INSERT INTO "meter" VALUES('storage',0,'{"sum":{"reading":"storage"},"where":{}}');
INSERT INTO "meter" VALUES('tokens_in',0,'{"sum":"input_tokens","weight":"0.5","where":{}}');
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
  request_id  TEXT, kind TEXT NOT NULL DEFAULT 'usage' CHECK (kind IN ('usage', 'adjustment')), window_end INTEGER NOT NULL DEFAULT 0, period_start INTEGER NOT NULL DEFAULT 0, period_end INTEGER NOT NULL DEFAULT 0, moved INTEGER NOT NULL DEFAULT 0, in_flight INTEGER, held_at INTEGER,             -- the provider's name of the call that settled it
  UNIQUE (window_start, tenant, meter, revision)
);
INSERT INTO "outbox" VALUES(1,1795773600000,'acme','requests',0,1,'acct_1',0,'weir_requests','cus_1','weir_0f77b2158ab979a389c843a41f1dbc745299860f0cb553e8bf140342163a1fff',1795774799,'held','invoiced',NULL,0,0,1795851051648,NULL,NULL,NULL,0,NULL,NULL,'usage',1795774800000,1793096400000,1795774800000,0,NULL,1795851051648);
INSERT INTO "outbox" VALUES(2,1795774800000,'acme','requests',0,1,'acct_1',0,'weir_requests','cus_1','weir_a06d1548034277549ea8bfe7567555c1853c2a544f806148c2baa089afc42a6e',1795777199,'pending',NULL,NULL,0,0,1795851051648,NULL,NULL,NULL,0,NULL,NULL,'usage',1795777200000,1795774800000,1798366800000,0,NULL,NULL);
INSERT INTO "outbox" VALUES(3,1795777200000,'acme','requests',0,1,'acct_1',0,'weir_requests','cus_1','weir_99d8155758dfa69c9ea6b6173741d8391a07a9baaacfb4e80818624229d81b87',1795780799,'pending',NULL,NULL,0,0,1795851051648,NULL,NULL,NULL,0,NULL,NULL,'usage',1795780800000,1795774800000,1798366800000,0,NULL,NULL);
INSERT INTO "outbox" VALUES(4,1795777200000,'globex','requests',0,1,'acct_1',0,'weir_requests',NULL,NULL,1795780799,'held','no_customer',NULL,0,0,1795851051648,NULL,NULL,NULL,0,NULL,NULL,'usage',1795780800000,1793491200000,1796083200000,0,NULL,1795851051648);
INSERT INTO "outbox" VALUES(5,1795773600000,'acme','tokens_in',0,4,'acct_1',0,'weir_tokens_in','cus_1','weir_0778b385c8caf856fbfb2fa97901f6f0b4df36d4679222dca92803463f146bb2',1795774799,'held','invoiced',NULL,0,0,1795851051648,NULL,NULL,NULL,0,NULL,NULL,'usage',1795774800000,1793096400000,1795774800000,0,NULL,1795851051648);
INSERT INTO "outbox" VALUES(6,1795774800000,'acme','tokens_in',0,5,'acct_1',0,'weir_tokens_in','cus_1','weir_beee077d4659b8e89841f01279c4039528e28002601a243b475a5061cbee6d03',1795777199,'pending',NULL,NULL,0,0,1795851051648,NULL,NULL,NULL,0,NULL,NULL,'usage',1795777200000,1795774800000,1798366800000,0,NULL,NULL);
INSERT INTO "outbox" VALUES(7,1795777200000,'acme','tokens_in',0,1,'acct_1',0,'weir_tokens_in','cus_1','weir_0348ac5722f2df536cdb4fcd186d55846e12f68a8798b1540cc4cce1497928af',1795780799,'pending',NULL,NULL,0,0,1795851051648,NULL,NULL,NULL,0,NULL,NULL,'usage',1795780800000,1795774800000,1798366800000,0,NULL,NULL);
INSERT INTO "outbox" VALUES(8,1795777200000,'globex','tokens_in',0,3,'acct_1',0,'weir_tokens_in',NULL,NULL,1795780799,'held','no_customer',NULL,0,0,1795851051648,NULL,NULL,NULL,0,NULL,NULL,'usage',1795780800000,1793491200000,1796083200000,0,NULL,1795851051648);
CREATE TABLE provider_error(    -- errors that the provider found after it had taken the events
  event_name TEXT NOT NULL,
  code       TEXT NOT NULL,
  errors     INTEGER NOT NULL,
  first_at   INTEGER NOT NULL,
  last_at    INTEGER NOT NULL,
  message    TEXT NOT NULL,     -- the latest, shortened
  PRIMARY KEY (event_name, code)
) WITHOUT ROWID;
CREATE TABLE provider_event(    -- webhook events that were taken in: each counts once
  id TEXT PRIMARY KEY,
  at INTEGER NOT NULL
) WITHOUT ROWID;
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
, takes_number INTEGER NOT NULL DEFAULT 0);
INSERT INTO "quarantine" VALUES(60797542826563668,1,4,1795851048322,NULL,NULL,'malformed','missing field `specversion` at line 1 column 15',1,X'7B226E6F223A20226576656E74227D',0);
CREATE TABLE reading(           -- readings that were taken in
  id       TEXT PRIMARY KEY,
  day      INTEGER NOT NULL,    -- of its time: days since 1970-01-01
  hash     INTEGER NOT NULL,    -- of its content
  position INTEGER NOT NULL,
  item     INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO "reading" VALUES('s/1',20784,-7706517782421903889,2,0);
CREATE TABLE reconciliation(    -- at most one row: the last comparison of everything
  at        INTEGER NOT NULL,
  from_at   INTEGER NOT NULL,
  to_at     INTEGER NOT NULL,
  series    INTEGER NOT NULL,
  windows   INTEGER NOT NULL,
  attention INTEGER NOT NULL,
  by_cause  TEXT NOT NULL       -- JSON: hours that differ, by cause
);
CREATE TABLE refused(           -- requests that the gateway refused
  window_start INTEGER NOT NULL,
  tenant       TEXT NOT NULL,         -- empty where nobody was known
  reason       TEXT NOT NULL,
  count        INTEGER NOT NULL,
  PRIMARY KEY (window_start, tenant, reason)
) WITHOUT ROWID;
CREATE TABLE refused_later(     -- rows that an error report names
  identifier TEXT PRIMARY KEY,
  code       TEXT NOT NULL,
  at         INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE seen_20784(
               id BLOB PRIMARY KEY, hash INTEGER NOT NULL, position INTEGER NOT NULL, item INTEGER NOT NULL
             ) WITHOUT ROWID;
INSERT INTO "seen_20784" VALUES(X'01A21C7724E070018000000000000001',7029754495103038548,1,0);
INSERT INTO "seen_20784" VALUES(X'01A21C89746070028000000000000002',-800115614840881363,1,1);
INSERT INTO "seen_20784" VALUES(X'01A21CA97F8070038000000000000003',-7905510453330693741,1,2);
INSERT INTO "seen_20784" VALUES(X'01A21CC4F6C070058000000000000005',5320905604751369757,1,3);
CREATE TABLE sender(            -- one row: who may send
  epoch       INTEGER NOT NULL, -- one more with each process that reports; only the latest one sends
  file        TEXT NOT NULL,    -- which file this was when it last sent: a copy is another one
  restored_at INTEGER NOT NULL, -- windows that began before this may be at the provider without our knowing; 0: none
  noted_after INTEGER NOT NULL  -- the restoring after which the tenants file was read
);
INSERT INTO "sender" VALUES(2,'inode 10191152',0,0);
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
, missing INTEGER NOT NULL DEFAULT 0);
INSERT INTO "source" VALUES(1,'/weir/gw-1/6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f','[[1,3],[5,5]]',0,0,0,4,0,0,0,1795851048322,1795851048322,1);
CREATE TABLE suspect(           -- times of receipt in which there were more errors than were named
  event_name  TEXT NOT NULL,
  from_at     INTEGER NOT NULL,
  to_at       INTEGER NOT NULL,
  code        TEXT NOT NULL,
  compared_at INTEGER,          -- of the first comparison after it
  PRIMARY KEY (event_name, from_at, to_at, code)
) WITHOUT ROWID;
CREATE TABLE total(             -- running totals: what metrics show without reading the tables
  kind  TEXT NOT NULL,
  key   TEXT NOT NULL,
  value INTEGER NOT NULL,
  PRIMARY KEY (kind, key)
) WITHOUT ROWID;
INSERT INTO "total" VALUES('billable','requests',4);
INSERT INTO "total" VALUES('billable','storage',2);
INSERT INTO "total" VALUES('billable','tokens_in',13);
INSERT INTO "total" VALUES('early','events',0);
INSERT INTO "total" VALUES('held','requests',2);
INSERT INTO "total" VALUES('held','tokens_in',7);
INSERT INTO "total" VALUES('held_rows','invoiced',2);
INSERT INTO "total" VALUES('held_rows','no_customer',2);
INSERT INTO "total" VALUES('outboxed','requests',4);
INSERT INTO "total" VALUES('outboxed','tokens_in',13);
INSERT INTO "total" VALUES('pending','requests',2);
INSERT INTO "total" VALUES('pending','tokens_in',6);
INSERT INTO "total" VALUES('quarantine','bytes',15);
INSERT INTO "total" VALUES('quarantine','dropped',0);
INSERT INTO "total" VALUES('quarantine','events',1);
INSERT INTO "total" VALUES('refused','malformed',1);
INSERT INTO "total" VALUES('rows','held',4);
INSERT INTO "total" VALUES('rows','pending',4);
INSERT INTO "total" VALUES('source','accepted',4);
INSERT INTO "total" VALUES('source','conflicts',0);
INSERT INTO "total" VALUES('source','duplicates',0);
INSERT INTO "total" VALUES('source','missing',1);
INSERT INTO "total" VALUES('source','quarantined',0);
INSERT INTO "total" VALUES('source','sources',1);
INSERT INTO "total" VALUES('source','spilled',0);
CREATE TABLE usage(             -- what is billed: tenant x meter x window
  window_start INTEGER NOT NULL,
  tenant       TEXT NOT NULL,
  meter        TEXT NOT NULL,
  billable     INTEGER NOT NULL,
  outboxed     INTEGER NOT NULL DEFAULT 0, open INTEGER NOT NULL DEFAULT 1, -- how much of it stands in outbox rows
  PRIMARY KEY (window_start, tenant, meter)
) WITHOUT ROWID;
INSERT INTO "usage" VALUES(1795773600000,'acme','requests',1,1,0);
INSERT INTO "usage" VALUES(1795773600000,'acme','tokens_in',4,4,0);
INSERT INTO "usage" VALUES(1795774800000,'acme','requests',1,1,0);
INSERT INTO "usage" VALUES(1795774800000,'acme','tokens_in',5,5,0);
INSERT INTO "usage" VALUES(1795777200000,'acme','requests',1,1,0);
INSERT INTO "usage" VALUES(1795777200000,'acme','storage',2,0,1);
INSERT INTO "usage" VALUES(1795777200000,'acme','tokens_in',1,1,0);
INSERT INTO "usage" VALUES(1795777200000,'globex','requests',1,1,0);
INSERT INTO "usage" VALUES(1795777200000,'globex','tokens_in',3,3,0);
CREATE INDEX early_time ON early(time);
CREATE INDEX outbox_pending ON outbox(not_before) WHERE state = 'pending';
CREATE INDEX outbox_held ON outbox(reason) WHERE state = 'held';
CREATE TRIGGER audit_stays BEFORE DELETE ON audit BEGIN SELECT raise(ABORT, 'the audit only grows'); END;
CREATE TRIGGER audit_is_fixed BEFORE UPDATE ON audit BEGIN SELECT raise(ABORT, 'the audit only grows'); END;
CREATE INDEX quarantine_age ON quarantine(position, item);
CREATE INDEX source_age ON source(last_at);
CREATE INDEX source_trouble ON source(last_at) WHERE missing + quarantined + conflicts > 0;
CREATE INDEX outbox_open ON outbox(window_start) WHERE state <> 'reported';
CREATE TRIGGER source_comes AFTER INSERT ON source BEGIN
  UPDATE total SET value = value + CASE key WHEN 'sources' THEN 1 WHEN 'accepted' THEN new.accepted
    WHEN 'quarantined' THEN new.quarantined WHEN 'missing' THEN new.missing WHEN 'duplicates' THEN new.duplicates
    WHEN 'conflicts' THEN new.conflicts ELSE new.spilled END WHERE kind = 'source';
END;
CREATE TRIGGER source_changes AFTER UPDATE ON source BEGIN
  UPDATE total SET value = value + CASE key WHEN 'sources' THEN 0 WHEN 'accepted' THEN new.accepted - old.accepted
    WHEN 'quarantined' THEN new.quarantined - old.quarantined WHEN 'missing' THEN new.missing - old.missing
    WHEN 'duplicates' THEN new.duplicates - old.duplicates WHEN 'conflicts' THEN new.conflicts - old.conflicts
    ELSE new.spilled - old.spilled END WHERE kind = 'source';
END;
CREATE TRIGGER usage_outboxed AFTER UPDATE OF outboxed ON usage BEGIN
  INSERT INTO total VALUES ('outboxed', new.meter, new.outboxed - old.outboxed)
    ON CONFLICT DO UPDATE SET value = value + excluded.value;
END;
CREATE TRIGGER outbox_comes AFTER INSERT ON outbox BEGIN
  INSERT INTO total VALUES (new.state, new.meter, new.value), ('rows', new.state, 1)
    ON CONFLICT DO UPDATE SET value = value + excluded.value;
END;
CREATE TRIGGER outbox_changes AFTER UPDATE OF state, value ON outbox BEGIN
  INSERT INTO total VALUES (old.state, old.meter, -old.value), ('rows', old.state, -1)
    ON CONFLICT DO UPDATE SET value = value + excluded.value;
  INSERT INTO total VALUES (new.state, new.meter, new.value), ('rows', new.state, 1)
    ON CONFLICT DO UPDATE SET value = value + excluded.value;
END;
CREATE TRIGGER quarantine_comes AFTER INSERT ON quarantine BEGIN
  INSERT INTO total VALUES ('refused', new.reason, 1), ('quarantine', 'events', 1), ('quarantine', 'bytes', length(new.body))
    ON CONFLICT DO UPDATE SET value = value + excluded.value;
END;
CREATE TRIGGER quarantine_goes AFTER DELETE ON quarantine BEGIN
  INSERT INTO total VALUES ('refused', old.reason, -1), ('quarantine', 'events', -1),
                           ('quarantine', 'bytes', -length(old.body))
    ON CONFLICT DO UPDATE SET value = value + excluded.value;
END;
CREATE TRIGGER early_comes AFTER INSERT ON early BEGIN
  UPDATE total SET value = value + 1 WHERE kind = 'early';
END;
CREATE TRIGGER early_goes AFTER DELETE ON early BEGIN
  UPDATE total SET value = value - 1 WHERE kind = 'early';
END;
CREATE INDEX outbox_flying ON outbox(customer, event_name) WHERE in_flight IS NOT NULL;
CREATE INDEX outbox_series ON outbox(customer, event_name, timestamp);
CREATE TRIGGER adjustment_stays BEFORE DELETE ON adjustment BEGIN SELECT raise(ABORT, 'adjustments stay'); END;
CREATE TRIGGER adjustment_is_fixed BEFORE UPDATE ON adjustment BEGIN SELECT raise(ABORT, 'adjustments stay'); END;
CREATE INDEX cut_hour ON cut(hour);
CREATE TRIGGER outbox_held AFTER UPDATE OF state, reason ON outbox
  WHEN (old.state = 'held') <> (new.state = 'held') OR old.reason IS NOT new.reason BEGIN
  INSERT INTO total SELECT 'held_rows', old.reason, -1 WHERE old.state = 'held' AND old.reason IS NOT NULL
    ON CONFLICT DO UPDATE SET value = value + excluded.value;
  INSERT INTO total SELECT 'held_rows', new.reason, 1 WHERE new.state = 'held' AND new.reason IS NOT NULL
    ON CONFLICT DO UPDATE SET value = value + excluded.value;
END;
CREATE TRIGGER outbox_comes_held AFTER INSERT ON outbox WHEN new.state = 'held' AND new.reason IS NOT NULL BEGIN
  INSERT INTO total VALUES ('held_rows', new.reason, 1) ON CONFLICT DO UPDATE SET value = value + excluded.value;
END;
CREATE TRIGGER outbox_adjusts AFTER INSERT ON outbox WHEN new.kind = 'adjustment' BEGIN
  INSERT INTO total VALUES ('adjusted', new.meter, new.value) ON CONFLICT DO UPDATE SET value = value + excluded.value;
END;
CREATE INDEX provider_event_at ON provider_event(at);
CREATE INDEX usage_open ON usage(meter, window_start) WHERE open = 1;
CREATE TRIGGER usage_closes AFTER UPDATE OF outboxed ON usage BEGIN
  UPDATE usage SET open = (new.billable <> new.outboxed)
    WHERE window_start = new.window_start AND tenant = new.tenant AND meter = new.meter;
END;
CREATE INDEX reading_day ON reading(day);
COMMIT;
PRAGMA user_version = 6;

ALTER TABLE outbox ADD COLUMN kind TEXT NOT NULL DEFAULT 'usage' CHECK (kind IN ('usage', 'adjustment'));
ALTER TABLE outbox ADD COLUMN window_end INTEGER NOT NULL DEFAULT 0;   -- exclusive; an hour, or less at a billing anchor
ALTER TABLE outbox ADD COLUMN period_start INTEGER NOT NULL DEFAULT 0; -- the billing period it is billed in
ALTER TABLE outbox ADD COLUMN period_end INTEGER NOT NULL DEFAULT 0;   -- exclusive; 0 is not known
ALTER TABLE outbox ADD COLUMN moved INTEGER NOT NULL DEFAULT 0;        -- used in an earlier period, billed in this one
ALTER TABLE outbox ADD COLUMN in_flight INTEGER; -- the epoch of the sender whose call is under way
ALTER TABLE outbox ADD COLUMN held_at INTEGER;   -- since when it is held
UPDATE outbox SET window_end = window_start + 3600000;
UPDATE outbox SET held_at = created_at WHERE state = 'held';
CREATE INDEX outbox_flying ON outbox(customer, event_name) WHERE in_flight IS NOT NULL;
CREATE INDEX outbox_series ON outbox(customer, event_name, timestamp); -- what the provider's summaries are compared with

-- Meters that are not billed stay open for ever: they come apart from the others.
DROP INDEX usage_open;
CREATE INDEX usage_open ON usage(meter, window_start) WHERE billable <> outboxed;

CREATE TABLE adjustment(        -- corrections by hand: why, and by whom
  outbox INTEGER PRIMARY KEY,   -- its row
  at     INTEGER NOT NULL,
  who    TEXT NOT NULL,
  why    TEXT NOT NULL
);
CREATE TRIGGER adjustment_stays BEFORE DELETE ON adjustment BEGIN SELECT raise(ABORT, 'adjustments stay'); END;
CREATE TRIGGER adjustment_is_fixed BEFORE UPDATE ON adjustment BEGIN SELECT raise(ABORT, 'adjustments stay'); END;

CREATE TABLE sender(            -- one row: who may send
  epoch       INTEGER NOT NULL, -- one more with each process that reports; only the latest one sends
  file        TEXT NOT NULL,    -- which file this was when it last sent: a copy is another one
  restored_at INTEGER NOT NULL, -- windows that began before this may be at the provider without our knowing; 0: none
  noted_after INTEGER NOT NULL  -- the restoring after which the tenants file was read
);
INSERT INTO sender VALUES (0, '', 0, 0);

CREATE TABLE mapping(           -- which customer a tenant's windows go to, from when on
  tenant       TEXT NOT NULL,
  effective_at INTEGER NOT NULL, -- windows that begin at this moment or later; 0: all
  customer     TEXT,             -- none: held until there is one
  unseen       INTEGER NOT NULL DEFAULT 0, -- found after a restoring: it may have been in force before
  PRIMARY KEY (tenant, effective_at)
) WITHOUT ROWID;

CREATE TABLE anchor(            -- where a tenant's billing periods begin
  tenant   TEXT NOT NULL,
  source   TEXT NOT NULL CHECK (source IN ('tenants', 'provider')), -- what the tenants file says goes first
  at       INTEGER NOT NULL,    -- seconds: the beginning of one of them
  interval TEXT NOT NULL CHECK (interval IN ('day', 'week', 'month', 'year')),
  PRIMARY KEY (tenant, source)
) WITHOUT ROWID;
CREATE TABLE cut(               -- hours that were looked at for an anchor, when their first usage came: decided once
  tenant TEXT NOT NULL,
  hour   INTEGER NOT NULL,
  at     INTEGER NOT NULL,      -- where the hour is cut; the hour itself: nowhere
  PRIMARY KEY (tenant, hour)
) WITHOUT ROWID;
CREATE INDEX cut_hour ON cut(hour);

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

INSERT OR IGNORE INTO total
  SELECT 'held_rows', reason, count(*) FROM outbox WHERE state = 'held' GROUP BY reason;
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

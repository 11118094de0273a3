ALTER TABLE ledger ADD COLUMN forgotten_before INTEGER NOT NULL DEFAULT 0; -- ids of days before this one are gone
ALTER TABLE ledger ADD COLUMN settled INTEGER NOT NULL DEFAULT 0;          -- how often all of this was synced on purpose
UPDATE ledger SET forgotten_before = coalesce(
  (SELECT min(CAST(substr(name, 6) AS INTEGER)) FROM sqlite_schema WHERE type = 'table' AND name GLOB 'seen_[0-9]*'), 0);

CREATE TABLE carry(             -- fractions of a unit that wait to become a whole one
  tenant TEXT NOT NULL,
  meter  TEXT NOT NULL,
  reason TEXT NOT NULL,         -- why it is not billed; empty if it is
  nano   INTEGER NOT NULL,      -- billionths, below a whole unit
  PRIMARY KEY (tenant, meter, reason)
) WITHOUT ROWID;

CREATE TABLE audit(             -- what administrators had done
  id     INTEGER PRIMARY KEY,
  at     INTEGER NOT NULL,
  who    TEXT NOT NULL,         -- a token's name, or a user of the machine
  act    TEXT NOT NULL,
  detail TEXT NOT NULL
);
CREATE TRIGGER audit_stays BEFORE DELETE ON audit BEGIN SELECT raise(ABORT, 'the audit only grows'); END;
CREATE TRIGGER audit_is_fixed BEFORE UPDATE ON audit BEGIN SELECT raise(ABORT, 'the audit only grows'); END;

ALTER TABLE quarantine ADD COLUMN takes_number INTEGER NOT NULL DEFAULT 0; -- whether its number is used up by it
CREATE INDEX quarantine_age ON quarantine(position, item);
ALTER TABLE source ADD COLUMN missing INTEGER NOT NULL DEFAULT 0; -- numbers up to the last known one that were not seen
UPDATE source SET missing = max(announced, coalesce(json_extract(ranges, '$[#-1][1]'), 0)) - accepted - quarantined;
CREATE INDEX source_age ON source(last_at);
CREATE INDEX source_trouble ON source(last_at) WHERE missing + quarantined + conflicts > 0;
CREATE INDEX outbox_open ON outbox(window_start) WHERE state <> 'reported';

CREATE TABLE total(             -- running totals: what metrics show without reading the tables
  kind  TEXT NOT NULL,
  key   TEXT NOT NULL,
  value INTEGER NOT NULL,
  PRIMARY KEY (kind, key)
) WITHOUT ROWID;
INSERT INTO total
  SELECT 'source', 'sources', count(*) FROM source UNION ALL
  SELECT 'source', 'accepted', coalesce(sum(accepted), 0) FROM source UNION ALL
  SELECT 'source', 'quarantined', coalesce(sum(quarantined), 0) FROM source UNION ALL
  SELECT 'source', 'missing', coalesce(sum(missing), 0) FROM source UNION ALL
  SELECT 'source', 'duplicates', coalesce(sum(duplicates), 0) FROM source UNION ALL
  SELECT 'source', 'conflicts', coalesce(sum(conflicts), 0) FROM source UNION ALL
  SELECT 'source', 'spilled', coalesce(sum(spilled), 0) FROM source UNION ALL
  SELECT 'billable', meter, sum(billable) FROM usage GROUP BY meter UNION ALL
  SELECT 'outboxed', meter, sum(outboxed) FROM usage GROUP BY meter UNION ALL
  SELECT 'excluded', meter || ' ' || reason, sum(amount) FROM excluded GROUP BY meter, reason UNION ALL
  SELECT state, meter, sum(value) FROM outbox GROUP BY state, meter UNION ALL
  SELECT 'rows', state, count(*) FROM outbox GROUP BY state UNION ALL
  SELECT 'refused', reason, count(*) FROM quarantine GROUP BY reason UNION ALL
  SELECT 'quarantine', 'events', count(*) FROM quarantine UNION ALL
  SELECT 'quarantine', 'bytes', coalesce(sum(length(body)), 0) FROM quarantine UNION ALL
  SELECT 'quarantine', 'dropped', 0 UNION ALL
  SELECT 'early', 'events', count(*) FROM early;

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

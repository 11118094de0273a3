ALTER TABLE usage ADD COLUMN open INTEGER NOT NULL DEFAULT 1; -- 0: all of it stands in outbox rows
UPDATE usage SET open = 0 WHERE billable = outboxed;
DROP INDEX usage_open;
-- Meters that are not billed stay open for ever: they come apart from the others.
CREATE INDEX usage_open ON usage(meter, window_start) WHERE open = 1;
CREATE TRIGGER usage_closes AFTER UPDATE OF outboxed ON usage BEGIN
  UPDATE usage SET open = (new.billable <> new.outboxed)
    WHERE window_start = new.window_start AND tenant = new.tenant AND meter = new.meter;
END;

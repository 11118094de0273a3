ALTER TABLE quarantine ADD COLUMN dropped INTEGER NOT NULL DEFAULT 0; -- 1: a person let it go; it is kept and no longer told
DROP TRIGGER quarantine_goes;
CREATE TRIGGER quarantine_goes AFTER DELETE ON quarantine BEGIN
  INSERT INTO total VALUES ('refused', old.reason, old.dropped - 1), ('quarantine', 'events', -1),
                           ('quarantine', 'bytes', -length(old.body))
    ON CONFLICT DO UPDATE SET value = value + excluded.value;
END;
CREATE TRIGGER quarantine_dropped AFTER UPDATE OF dropped ON quarantine BEGIN
  INSERT INTO total VALUES ('refused', new.reason, old.dropped - new.dropped)
    ON CONFLICT DO UPDATE SET value = value + excluded.value;
END;

-- A row has a version for each change until the transaction ends, and each change of it goes through all of them: totals change once
-- for each statement, not for each row.
DROP TRIGGER early_comes ON early;
CREATE OR REPLACE FUNCTION total_early() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    UPDATE total SET value = value + (SELECT count(*) FROM added)
      WHERE kind = 'early' AND EXISTS (SELECT 1 FROM added);
  ELSE
    UPDATE total SET value = value - (SELECT count(*) FROM removed)
      WHERE kind = 'early' AND EXISTS (SELECT 1 FROM removed);
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER early_comes AFTER INSERT ON early REFERENCING NEW TABLE AS added
  FOR EACH STATEMENT EXECUTE FUNCTION total_early();
CREATE TRIGGER early_goes AFTER DELETE ON early REFERENCING OLD TABLE AS removed
  FOR EACH STATEMENT EXECUTE FUNCTION total_early();
DROP TRIGGER quarantine_comes ON quarantine;
CREATE OR REPLACE FUNCTION total_quarantine() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    PERFORM add_total(d.kind, d.key, sum(d.more)::bigint) FROM (
        SELECT 'refused' AS kind, reason AS key, 1 AS more FROM added
        UNION ALL SELECT 'quarantine', 'events', 1 FROM added
        UNION ALL SELECT 'quarantine', 'bytes', length(body) FROM added) AS d
      GROUP BY d.kind, d.key;
  ELSIF TG_OP = 'DELETE' THEN
    PERFORM add_total(d.kind, d.key, sum(d.more)::bigint) FROM (
        SELECT 'refused' AS kind, reason AS key, dropped - 1 AS more FROM removed
        UNION ALL SELECT 'quarantine', 'events', -1 FROM removed
        UNION ALL SELECT 'quarantine', 'bytes', -length(body) FROM removed) AS d
      GROUP BY d.kind, d.key;
  ELSE
    PERFORM add_total('refused', n.reason, sum(o.dropped - n.dropped)::bigint)
      FROM added AS n JOIN removed AS o USING (hash)
      WHERE n.dropped <> o.dropped GROUP BY n.reason;
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER quarantine_comes AFTER INSERT ON quarantine REFERENCING NEW TABLE AS added
  FOR EACH STATEMENT EXECUTE FUNCTION total_quarantine();
CREATE TRIGGER quarantine_goes AFTER DELETE ON quarantine REFERENCING OLD TABLE AS removed
  FOR EACH STATEMENT EXECUTE FUNCTION total_quarantine();
CREATE TRIGGER quarantine_changes AFTER UPDATE ON quarantine REFERENCING OLD TABLE AS removed NEW TABLE AS added
  FOR EACH STATEMENT EXECUTE FUNCTION total_quarantine();

DROP TRIGGER outbox_comes ON outbox;
DROP TRIGGER outbox_changes ON outbox;
CREATE OR REPLACE FUNCTION total_outbox() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    PERFORM add_total(d.of_kind, d.of_key, sum(d.more)::bigint) FROM (
        SELECT state AS of_kind, meter AS of_key, value AS more FROM added
        UNION ALL SELECT 'rows', state, 1 FROM added
        UNION ALL SELECT 'held_rows', reason, 1 FROM added WHERE state = 'held' AND reason IS NOT NULL
        UNION ALL SELECT 'adjusted', meter, value FROM added WHERE kind = 'adjustment') AS d
      GROUP BY d.of_kind, d.of_key;
  ELSE
    PERFORM add_total(d.of_kind, d.of_key, sum(d.more)::bigint) FROM (
        SELECT state AS of_kind, meter AS of_key, value AS more FROM added
        UNION ALL SELECT state, meter, -value FROM removed
        UNION ALL SELECT 'rows', state, 1 FROM added
        UNION ALL SELECT 'rows', state, -1 FROM removed
        UNION ALL SELECT 'held_rows', reason, 1 FROM added WHERE state = 'held' AND reason IS NOT NULL
        UNION ALL SELECT 'held_rows', reason, -1 FROM removed WHERE state = 'held' AND reason IS NOT NULL) AS d
      GROUP BY d.of_kind, d.of_key HAVING sum(d.more) <> 0;
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER outbox_comes AFTER INSERT ON outbox REFERENCING NEW TABLE AS added
  FOR EACH STATEMENT EXECUTE FUNCTION total_outbox();
CREATE TRIGGER outbox_changes AFTER UPDATE ON outbox REFERENCING OLD TABLE AS removed NEW TABLE AS added
  FOR EACH STATEMENT EXECUTE FUNCTION total_outbox();
